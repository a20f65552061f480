//! Power goes at every operation: what is left is what was acknowledged, or that and what was
//! under way.

use crate::behaviour::change;
use crate::disk::{Disk, Platter};
use crate::*;
use proptest::prelude::*;

/// Numbers that depend on a seed only.
fn dice(mut seed: u64) -> impl FnMut() -> usize {
    move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    }
}

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Change>),
    Compact,
}

/// Does `steps` until power goes; gives what must be there and what may be.
fn run(disk: &Disk, steps: &[Step]) -> Option<(Model, Model)> {
    let Ok(mut store) = open(disk) else { return None };
    let mut model = state(&store).ok()?;
    for step in steps {
        match step {
            Step::Commit(changes) => {
                let Some(next) = changed(&model, A, changes) else { continue };
                if let Err(error) = commit(&mut store, A, changes.clone()) {
                    assert!(matches!(error, Error::Unreachable(_)), "{error}");
                    return Some((model, next));
                }
                model = next;
            }
            Step::Compact => {
                if now(store.compact()).is_err() {
                    return Some((model.clone(), model));
                }
            }
        }
        if disk.is_off() {
            break;
        }
    }
    Some((model.clone(), model))
}

/// Cuts power at every operation of `steps`, several ways each; then goes on from there.
fn cut_everywhere(platter: &Platter, steps: &[Step], ways: u64) -> u32 {
    for at in 0.. {
        let disk = Disk::of(platter.clone());
        disk.lose_power_after(at);
        let Some((acknowledged, under_way)) = run(&disk, steps) else { continue };
        if !disk.is_off() {
            return at;
        }
        for way in 0..ways {
            let disk = Disk::of(disk.after_power_cut(dice(u64::from(at) * 1000 + way)));
            let mut store = open(&disk).unwrap_or_else(|error| panic!("cut {at}.{way}: {error}"));
            let found = state(&store).unwrap();
            assert!(found == acknowledged || found == under_way, "cut {at}.{way}");
            // It goes on, and what it found stays.
            commit(&mut store, B, vec![put("after", b"the cut")]).unwrap();
            now(store.compact()).unwrap();
            let mut expected = found;
            expected.insert((B, "after".into()), b"the cut".to_vec());
            assert_eq!(state(&open(&disk).unwrap()).unwrap(), expected, "cut {at}.{way}");
        }
    }
    unreachable!("the steps end")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn s3_1_2_a_power_cut_at_any_operation_leaves_what_was_acknowledged(
        changes in proptest::collection::vec(proptest::collection::vec(change(), 1..3), 2..7),
        compacts in proptest::collection::vec(0..4_u8, 7),
    ) {
        let mut steps = Vec::new();
        for (changes, compact) in changes.into_iter().zip(compacts) {
            steps.push(Step::Commit(changes));
            if compact == 0 {
                steps.push(Step::Compact);
            }
        }
        steps.push(Step::Commit(vec![put("last", b"one")]));
        let cuts = cut_everywhere(&Platter::default(), &steps, 3);
        prop_assert!(cuts >= 3);
    }
}

#[test]
fn s3_1_2_a_power_cut_while_segments_are_emptied_loses_nothing() {
    let disk = Disk::default();
    let mut store = open(&disk).unwrap();
    // Three segments, of which little counts.
    for at in 0..40_u8 {
        commit(&mut store, A, vec![put(&format!("{}", at % 4), &[at; 60_000])]).unwrap();
        if at % 10 == 0 {
            commit(&mut store, A, vec![put(&format!("keep {at}"), &[at; 20_000])]).unwrap();
        }
    }
    drop(store);
    let steps =
        [Step::Compact, Step::Commit(vec![put("0", b"new"), delete("keep 10")]), Step::Compact];
    let cuts = cut_everywhere(&disk.platter(), &steps, 4);
    assert!(cuts > 12, "{cuts}");
}

#[test]
fn an_anchor_whose_write_failed_decides_what_holds() {
    for happened in [false, true] {
        let disk = Disk::default();
        let mut store = open(&disk).unwrap();
        commit(&mut store, A, vec![put("a", b"1")]).unwrap();
        // The next commit's file write goes through; its anchor is the operation that is cut.
        disk.lose_power_after(1);
        let failed = commit(&mut store, A, vec![put("a", b"2")]);
        assert!(matches!(failed, Err(Error::Unreachable(_))));
        assert!(store.is_doubtful());
        let refused = commit(&mut store, A, vec![put("b", b"3")]);
        assert!(matches!(refused, Err(Error::Unreachable(_))));
        let disk = Disk::of(disk.after_power_cut(|| usize::from(happened)));
        let found = read(&open(&disk).unwrap(), &A, "a").unwrap();
        assert_eq!(found, if happened { b"2" } else { b"1" });
    }
}
