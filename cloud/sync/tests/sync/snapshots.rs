//! Packs, blocks, roots and heads that are as they should be.

use super::*;
use wire::sync::Root;

#[tokio::test]
async fn blocks_come_back_in_the_order_asked_for_out_of_any_packs() {
    let bench = Bench::new().await;
    let (one, two) = (pack(&[b"a", b"bb", b"ccc"]), pack(&[b"dddd", &[7; 1 << 20]]));
    bench.put(&one).await.unwrap();
    bench.put(&two).await.unwrap();
    let ids = [one.blocks[2], two.blocks[1], one.blocks[0], two.blocks[0], one.blocks[2]];
    let plaintexts = bench.fetch(&ids).await.unwrap();
    let expected: [&[u8]; 5] = [b"ccc", &[7; 1 << 20], b"a", b"dddd", b"ccc"];
    assert_eq!(plaintexts, expected);
    assert!(bench.fetch(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn missing_tells_what_is_not_stored_in_the_order_asked() {
    let bench = Bench::new().await;
    bench.put(&pack(&[b"a", b"b"])).await.unwrap();
    let ids: Vec<_> = (0..3000_u32).map(|n| name(&n.to_be_bytes())).collect();
    assert_eq!(bench.missing(&ids).await, ids);
    let asked = [name(b"x"), name(b"a"), name(b"y"), name(b"b")];
    assert_eq!(bench.missing(&asked).await, [name(b"x"), name(b"y")]);
    assert!(bench.missing(&[]).await.is_empty());
}

#[tokio::test]
async fn the_same_pack_twice_is_stored_once() {
    let bench = Bench::new().await;
    let pack = pack(&[b"a"]);
    bench.put(&pack).await.unwrap();
    bench.put(&pack).await.unwrap();
    assert_eq!(bench.sync.usage(ACCOUNT).await.unwrap().packs, 1);
    assert_eq!(bench.pack_files().len(), 1);
}

#[tokio::test]
async fn the_same_block_may_lie_in_several_packs() {
    let bench = Bench::new().await;
    let (one, two) = (pack(&[b"a", b"b"]), pack(&[b"b", b"c"]));
    bench.put(&one).await.unwrap();
    bench.put(&two).await.unwrap();
    assert_eq!(bench.fetch(&[name(b"b")]).await.unwrap(), [b"b"]);
    let usage = bench.sync.usage(ACCOUNT).await.unwrap();
    assert_eq!((usage.packs, usage.blocks), (2, 3));
    assert_eq!(usage.bytes as usize, one.bytes.len() + two.bytes.len());
}

#[tokio::test]
async fn accounts_do_not_see_each_others_blocks() {
    let bench = Bench::new().await;
    let pack = pack(&[b"a"]);
    bench.put_for("other", &pack).await.unwrap();
    assert_eq!(bench.missing(&pack.blocks).await, pack.blocks);
    assert!(matches!(bench.fetch(&pack.blocks).await, Err(Error::NoSuchBlock(_))));
    assert!(matches!(bench.advance(0, &[&pack]).await, Err(Error::NoSuchPack(_))));
    bench.put(&pack).await.unwrap();
    assert_eq!(bench.fetch(&pack.blocks).await.unwrap(), [b"a"]);
}

#[tokio::test]
async fn a_root_is_set_once() {
    let bench = Bench::new().await;
    assert_eq!(bench.sync.root(ACCOUNT).await.unwrap(), None);
    let root = |key: &str| Root { wrapped_id_key: key.to_owned() };
    bench.sync.create_root(ACCOUNT, &root("vault:v1:AA==")).await.unwrap();
    let again = bench.sync.create_root(ACCOUNT, &root("vault:v1:BB==")).await;
    assert!(matches!(again, Err(Error::RootExists)));
    assert_eq!(bench.sync.root(ACCOUNT).await.unwrap(), Some(root("vault:v1:AA==")));
    for bad in ["", "a b", "a\nb", "ä", &"x".repeat(1025)] {
        let refused = bench.sync.create_root("other", &root(bad)).await;
        assert!(matches!(refused, Err(Error::WrappedKey)), "{bad:?}");
    }
}

#[tokio::test]
async fn heads_follow_each_other_without_a_gap() {
    let bench = Bench::new().await;
    let (one, two) = (pack(&[b"a"]), pack(&[b"b"]));
    bench.put(&one).await.unwrap();
    bench.put(&two).await.unwrap();
    assert_eq!(bench.sync.head(ACCOUNT).await.unwrap(), None);
    assert_eq!(bench.advance(0, &[&one]).await.unwrap(), 1);
    assert_eq!(bench.advance(1, &[&one, &two]).await.unwrap(), 2);
    for follows in [0, 1, 3, u64::MAX] {
        let refused = bench.advance(follows, &[&two]).await;
        assert!(matches!(refused, Err(Error::Conflict { newest: 2, .. })), "{follows}");
    }
    let head = bench.sync.head(ACCOUNT).await.unwrap().unwrap();
    assert_eq!((head.generation, head.device_id.as_str(), head.files), (2, "device-1", 3));
    assert_eq!(head.manifest, [one.blocks[0].to_string()]);
}

#[tokio::test]
async fn an_advance_whose_answer_was_lost_may_be_sent_again() {
    let bench = Bench::new().await;
    let pack = pack(&[b"a"]);
    bench.put(&pack).await.unwrap();
    assert_eq!(bench.advance(0, &[&pack]).await.unwrap(), 1);
    bench.clock.advance(HOUR);
    assert_eq!(bench.advance(0, &[&pack]).await.unwrap(), 1);
    let other_device = bench.sync.advance(ACCOUNT, "device-2", snapshot_of(0, &[&pack])).await;
    assert!(matches!(other_device, Err(Error::Conflict { .. })));
}

#[tokio::test]
async fn of_two_devices_at_once_one_wins() {
    let bench = Bench::new().await;
    let pack = pack(&[b"a"]);
    bench.put(&pack).await.unwrap();
    let race = (0..8).map(|number| {
        let (sync, advance) = (bench.sync.clone(), snapshot_of(0, &[&pack]));
        tokio::spawn(
            async move { sync.advance(ACCOUNT, &format!("device-{number}"), advance).await },
        )
    });
    let race: Vec<_> = race.collect();
    let mut winners = 0;
    for runner in race {
        winners += usize::from(runner.await.unwrap().is_ok());
    }
    assert_eq!(winners, 1);
}

#[tokio::test]
async fn a_snapshot_needs_what_it_names() {
    let bench = Bench::new().await;
    let (stored, absent) = (pack(&[b"a"]), pack(&[b"b"]));
    bench.put(&stored).await.unwrap();
    assert!(matches!(bench.advance(0, &[&stored, &absent]).await, Err(Error::NoSuchPack(_))));
    assert!(matches!(bench.advance(0, &[]).await, Err(Error::EmptySnapshot)));
    let mut advance = snapshot_of(0, &[&stored]);
    advance.manifest.push(absent.blocks[0].to_string());
    let refused = bench.sync.advance(ACCOUNT, "d", advance.clone()).await;
    assert!(matches!(refused, Err(Error::ManifestBlock(_))));
    // Stored, but in a pack that the snapshot does not name: the sweep would take it.
    bench.put(&absent).await.unwrap();
    let refused = bench.sync.advance(ACCOUNT, "d", advance.clone()).await;
    assert!(matches!(refused, Err(Error::ManifestBlock(_))));
    advance.manifest = vec!["zz".to_owned()];
    assert!(matches!(bench.sync.advance(ACCOUNT, "d", advance).await, Err(Error::Name(_))));
    assert_eq!(bench.sync.head(ACCOUNT).await.unwrap(), None);
}

#[tokio::test]
async fn everything_outlives_a_restart() {
    let mut bench = Bench::new().await;
    let pack = pack(&[b"a", b"b"]);
    bench.put(&pack).await.unwrap();
    bench.advance(0, &[&pack]).await.unwrap();
    bench.restart().await;
    assert_eq!(bench.fetch(&pack.blocks).await.unwrap(), [b"a", b"b"]);
    assert_eq!(bench.sync.head(ACCOUNT).await.unwrap().unwrap().generation, 1);
}
