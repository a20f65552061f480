use super::*;
use proptest::prelude::*;

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a path")
}

fn entry(text: &str, kind: Kind) -> Entry {
    let attributes = Attributes { mode: 0o644, mtime_s: -5, mtime_ns: 999_999_999 };
    Entry { path: path(text), attributes, kind }
}

fn file(size: u64, pieces: Vec<Piece>) -> Kind {
    Kind::File { size, pieces }
}

fn sample() -> Manifest {
    let block = Piece::Block { id: BlockId([1; 32]), pack: 0 };
    Manifest {
        root: Attributes { mode: 0o755, ..Attributes::default() },
        packs: vec![PackId([9; 32])],
        entries: vec![
            entry("a", Kind::Directory),
            entry("a/f", file((3 << 20) + 1, vec![block, Piece::Hole(2), block])),
            entry("a/l", Kind::Symlink { target: b"/etc/\xff".to_vec() }),
            entry("a.txt", file(0, vec![])),
            entry("b", Kind::Hardlink { target: path("a/f") }),
        ],
    }
}

fn fault(change: impl FnOnce(&mut Manifest)) -> Fault {
    let mut manifest = sample();
    change(&mut manifest);
    match Manifest::decode(&manifest.encode()) {
        Err(DecodeError::Entry { fault, .. }) => fault,
        other => panic!("expected a fault, got {other:?}"),
    }
}

#[test]
fn s5_2_a_manifest_survives_encoding() {
    let manifest = sample();
    assert_eq!(Manifest::decode(&manifest.encode()), Ok(manifest.clone()));
    assert_eq!((manifest.files(), manifest.bytes()), (2, (3 << 20) + 1));
    assert_eq!(Manifest::decode(&Manifest::default().encode()), Ok(Manifest::default()));
}

#[test]
fn refuses_entries_that_leave_the_tree_or_break_the_order() {
    assert_eq!(fault(|m| m.entries.swap(0, 3)), Fault::Order);
    assert_eq!(fault(|m| m.entries[3] = m.entries[2].clone()), Fault::Order);
    assert_eq!(fault(|m| m.entries[0].path = TreePath::root()), Fault::Order);
    assert_eq!(fault(|m| drop(m.entries.remove(0))), Fault::Orphan);
    let under_a_file = |m: &mut Manifest| m.entries[4].path = path("a.txt/x");
    assert_eq!(fault(under_a_file), Fault::Orphan);
}

#[test]
fn refuses_fields_out_of_range() {
    let kind = |at: usize, kind: Kind| fault(move |m| m.entries[at].kind = kind);
    let block = |pack| Piece::Block { id: BlockId([1; 32]), pack };
    assert_eq!(kind(3, file(1, vec![])), Fault::Field("pieces"));
    assert_eq!(kind(3, file(0, vec![Piece::Hole(0)])), Fault::Field("pieces"));
    assert_eq!(kind(3, file(2 << 20, vec![Piece::Hole(1); 2])), Fault::Field("pieces"));
    assert_eq!(kind(3, file(1, vec![Piece::Hole(u64::MAX), block(0)])), Fault::Field("pieces"));
    assert_eq!(kind(3, file(u64::MAX, vec![Piece::Hole(1 << 44)])), Fault::Field("pieces"));
    assert_eq!(kind(3, file(1, vec![block(1)])), Fault::Field("pack"));
    assert_eq!(kind(2, Kind::Symlink { target: vec![] }), Fault::Field("target"));
    assert_eq!(kind(4, Kind::Hardlink { target: path("a") }), Fault::Link);
    assert_eq!(kind(4, Kind::Hardlink { target: path("z") }), Fault::Link);
    assert_eq!(fault(|m| m.entries[1].attributes.mode = 0o10_000), Fault::Field("mode"));
    let late = |m: &mut Manifest| m.entries[1].attributes.mtime_ns = 1_000_000_000;
    assert_eq!(fault(late), Fault::Field("nanoseconds"));
}

#[test]
fn refuses_other_formats_and_bytes_left_over() {
    let good = sample().encode();
    assert!(Manifest::decode(&[&good[..], &[0]].concat()).is_err());
    for length in 0..good.len() {
        assert!(Manifest::decode(&good[..length]).is_err(), "{length}");
    }
    let mut later = good;
    let version_at = 1 + 1 + NAME.len();
    assert_eq!(later[version_at], 1);
    later[version_at] = 2;
    assert_eq!(Manifest::decode(&later), Err(DecodeError::Format(2)));
}

proptest! {
    #[test]
    fn never_panics_on_altered_bytes(at in 0_usize..400, to: u8) {
        let mut bytes = sample().encode();
        let at = at % bytes.len();
        bytes[at] = to;
        let _ = Manifest::decode(&bytes);
    }
}
