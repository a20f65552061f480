//! What goes, and what must not.

use super::*;

#[tokio::test]
async fn a_pack_goes_once_neither_of_the_last_two_heads_names_it() {
    let bench = Bench::new().await;
    let packs = [pack(&[b"a"]), pack(&[b"b"]), pack(&[b"c"])];
    for (follows, pack) in packs.iter().enumerate() {
        bench.put(pack).await.unwrap();
        bench.clock.advance(HOUR * 2);
        bench.advance(follows as u64, &[pack]).await.unwrap();
        let gone = bench.sync.sweep().await.unwrap();
        assert_eq!(gone, usize::from(follows == 2), "after head {}", follows + 1);
    }
    assert!(matches!(bench.fetch(&packs[0].blocks).await, Err(Error::NoSuchBlock(_))));
    assert_eq!(bench.missing(&packs[0].blocks).await, packs[0].blocks);
    assert_eq!(bench.fetch(&packs[1].blocks).await.unwrap(), [b"b"]);
    assert_eq!(bench.pack_files().len(), 2);
}

#[tokio::test]
async fn a_pack_of_an_upload_that_was_cut_off_waits_a_week() {
    let bench = Bench::new().await;
    let (old, new) = (pack(&[b"old"]), pack(&[b"new"]));
    bench.put(&old).await.unwrap();
    bench.advance(0, &[&old]).await.unwrap();
    bench.clock.advance(HOUR);
    bench.put(&new).await.unwrap();
    bench.clock.advance(HOUR * 24 * 7);
    assert_eq!(bench.sync.sweep().await.unwrap(), 0);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.sync.sweep().await.unwrap(), 1);
    assert_eq!(bench.missing(&new.blocks).await, new.blocks);
}

#[tokio::test]
async fn a_pack_that_a_device_asked_about_is_safe_for_an_hour() {
    let bench = Bench::new().await;
    let (one, two) = (pack(&[b"a"]), pack(&[b"b"]));
    bench.put(&one).await.unwrap();
    bench.put(&two).await.unwrap();
    bench.clock.advance(HOUR * 3);
    bench.advance(0, &[&two]).await.unwrap();
    assert!(bench.missing(&one.blocks).await.is_empty());
    bench.clock.advance(HOUR);
    assert_eq!(bench.sync.sweep().await.unwrap(), 0);
    bench.clock.advance(Duration::from_millis(1));
    assert_eq!(bench.sync.sweep().await.unwrap(), 1);
}

#[tokio::test]
async fn a_block_survives_the_sweep_of_one_of_its_packs() {
    let bench = Bench::new().await;
    let (named, other) = (pack(&[b"a", b"b"]), pack(&[b"b", b"c"]));
    bench.put(&named).await.unwrap();
    bench.put(&other).await.unwrap();
    bench.clock.advance(HOUR * 2);
    bench.advance(0, &[&named]).await.unwrap();
    assert_eq!(bench.sync.sweep().await.unwrap(), 1);
    assert_eq!(bench.fetch(&named.blocks).await.unwrap(), [b"a", b"b"]);
}

#[tokio::test]
async fn a_closed_account_leaves_nothing_and_others_stay() {
    let bench = Bench::new().await;
    let pack = pack(&[b"a"]);
    for account in [ACCOUNT, "other"] {
        bench.put_for(account, &pack).await.unwrap();
        bench.sync.advance(account, "d", snapshot_of(0, &[&pack])).await.unwrap();
    }
    bench.sync.erase(ACCOUNT).await.unwrap();
    bench.sync.erase(ACCOUNT).await.unwrap();
    assert_eq!(bench.sync.head(ACCOUNT).await.unwrap(), None);
    assert_eq!(bench.missing(&pack.blocks).await, pack.blocks);
    assert_eq!(bench.sync.usage(ACCOUNT).await.unwrap(), cloud_sync::Usage::default());
    assert!(!bench.folder.path().join("blocks").join(ACCOUNT).exists());
    assert_eq!(bench.sync.head("other").await.unwrap().unwrap().generation, 1);
    assert_eq!(bench.pack_files().len(), 1);
    for table in ["sync_blocks", "sync_packs", "sync_heads", "sync_head_packs"] {
        let sql = format!("SELECT COUNT(*) FROM {table}");
        let (rows,): (i64,) = sqlx::query_as(&sql).fetch_one(&bench.pool).await.unwrap();
        assert_eq!(rows, 1, "{table}");
    }
}
