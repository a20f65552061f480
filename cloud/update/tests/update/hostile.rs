//! Lies, broken uploads, crashes, and other people's releases.

use super::*;

#[tokio::test]
async fn s2_6_a_package_counts_only_with_the_size_and_hash_that_were_announced() {
    let bench = Bench::new().await;
    let request = announcement("b2-whole", 200, 100);
    let release = bench.update.announce(MAKER, &request).await.unwrap();
    let id = &release.packages[0].package_id;
    for (sent, size) in
        [(&b""[..], true), (b"b2", true), (b"b2-whole-and-more", true), (b"b2-WHOLE", false)]
    {
        let refused = bench.upload(id, sent).await;
        assert_eq!(matches!(refused, Err(Error::Size { announced: 8, .. })), size, "{sent:?}");
        assert_eq!(matches!(refused, Err(Error::Hash)), !size, "{sent:?}");
        assert!(bench.files().is_empty());
    }
    let broken = [Ok(b"b2-".to_vec()), Err("the other end hung up")];
    let refused = bench.upload_pieces(id, broken).await;
    assert!(matches!(refused, Err(Error::CutShort(_))));
    // The whole content and then an error is not a whole package either.
    let broken = [Ok(b"b2-whole".to_vec()), Err("the other end hung up")];
    assert!(matches!(bench.upload_pieces(id, broken).await, Err(Error::CutShort(_))));
    assert!(bench.files().is_empty());
    assert_eq!(bench.check("d1", "b1", 100).await, nothing(Reason::NoPackage));
    let download = bench.update.download(&in_order(), id).await.map(drop);
    assert!(matches!(download, Err(Error::NotFound(_))));

    let release = bench.upload(id, b"b2-whole").await.unwrap();
    assert!(release.packages[0].uploaded);
    assert_eq!(bench.offer("d1", "b1", 100).await.build, "b2-whole");
    // Again is no error; a worse one afterwards takes nothing away.
    bench.upload(id, b"b2-whole").await.unwrap();
    assert!(matches!(bench.upload(id, b"b2-WHOLE").await, Err(Error::Hash)));
    let offer = bench.offer("d1", "b1", 100).await;
    assert_eq!(bench.bytes(&offer).await, b"b2-whole");
}

#[tokio::test]
async fn an_endless_upload_ends_at_the_announced_size() {
    let bench = Bench::new().await;
    let release = bench.update.announce(MAKER, &announcement("b2", 200, 100)).await.unwrap();
    let endless = stream::repeat_with(|| Ok::<_, String>(Bytes::from_static(&[0; 65536])));
    let refused = bench.update.upload(MAKER, &release.packages[0].package_id, endless).await;
    assert!(matches!(refused, Err(Error::Size { announced: 2, sent: 65536 })));
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn a_disk_without_room_refuses_before_the_bytes_come() {
    let bench = Bench::new().await;
    let mut request = announcement("b2", 200, 100);
    request.package.size = 1 << 40;
    let release = bench.update.announce(MAKER, &request).await.unwrap();
    let id = &release.packages[0].package_id;
    let refused = bench.upload_pieces(id, [Err("nothing should be read")]).await.map(drop);
    // A machine with a spare TiB reads on, and finds that nothing comes.
    assert!(matches!(refused, Err(Error::Full | Error::CutShort(_))), "{refused:?}");
    assert!(bench.files().is_empty());
}

#[tokio::test]
async fn s2_6_a_crash_leaves_whole_packages_and_nothing_else() {
    let mut bench = Bench::new().await;
    let release = bench.publish("b2", 200, 100).await;
    let unfinished = bench.update.announce(MAKER, &announcement("b3", 300, 100)).await.unwrap();
    let folder = bench.folder.path().join("updates");
    // Between the rename and the row; in the middle of the bytes; nobody knows what.
    std::fs::write(folder.join(&unfinished.packages[0].package_id), "b3").unwrap();
    std::fs::write(folder.join(".incoming/0"), "b").unwrap();
    std::fs::write(folder.join("stray"), "?").unwrap();
    bench.restart().await;
    assert_eq!(bench.files(), [folder.join(&release.packages[0].package_id)]);
    assert_eq!(bench.offer("d1", "b1", 100).await.build, "b2");
    bench.upload(&unfinished.packages[0].package_id, b"b3").await.unwrap();
    assert_eq!(bench.offer("d1", "b1", 100).await.build, "b3");
}

#[tokio::test]
async fn a_package_that_was_damaged_on_the_disk_is_an_error_not_a_short_answer() {
    let bench = Bench::new().await;
    let release = bench.publish("b2", 200, 100).await;
    let id = &release.packages[0].package_id;
    let path = bench.folder.path().join("updates").join(id);
    std::fs::write(&path, "b").unwrap();
    let download = bench.update.download(&in_order(), id).await.map(drop);
    assert!(matches!(download, Err(Error::Stored("package"))));
    std::fs::remove_file(&path).unwrap();
    let download = bench.update.download(&in_order(), id).await.map(drop);
    assert!(matches!(download, Err(Error::File { .. })));
}

#[tokio::test]
async fn a_build_is_announced_once() {
    let bench = Bench::new().await;
    let request = announcement("b2", 200, 100);
    let release = bench.update.announce(MAKER, &request).await.unwrap();
    let other = Announcement { timestamp: 201, ..request.clone() };
    for again in [&request, &other] {
        let refused = bench.update.announce(MAKER, again).await;
        let same = |id: &str| id == release.release_id;
        assert!(matches!(refused, Err(Error::ReleaseExists { release_id }) if same(&release_id)));
    }
    let beta = Announcement { channel: "beta".into(), ..request };
    bench.update.announce(MAKER, &beta).await.unwrap();
    assert_eq!(bench.update.releases(MAKER).await.unwrap().len(), 2);
}

#[tokio::test]
async fn another_makers_releases_are_not_there() {
    let bench = Bench::new().await;
    let release = bench.publish("b2", 200, 100).await;
    let (id, package_id) = (&*release.release_id, &*release.packages[0].package_id);
    let update = &bench.update;
    let empty = stream::iter([Ok::<_, String>(Bytes::new())]);
    let other = package(b"x", Some("b1"));
    for refused in [
        update.release("other", id).await.map(drop),
        update.stop("other", id).await.map(drop),
        update.resume("other", id).await.map(drop),
        update.roll_out("other", id, &wire::update::RolloutChange::default()).await.map(drop),
        update.add_package("other", id, &other).await.map(drop),
        update.delete("other", id).await,
        update.upload("other", package_id, empty).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::NotFound(_))), "{refused:?}");
    }
    assert!(update.releases("other").await.unwrap().is_empty());
    assert_eq!(update.release(MAKER, id).await.unwrap(), release);
    assert_eq!(bench.audit.0.lock().unwrap().len(), 2, "nothing was done");

    // A model of the same name, of another maker: its own releases only.
    let theirs = Standing { maker: Some("other".into()), ..in_order() };
    let answer = update.check("d1", &theirs, &has("b1", 100)).await.unwrap();
    assert_eq!(answer, nothing(Reason::UpToDate));
    let download = update.download(&theirs, package_id).await.map(drop);
    assert!(matches!(download, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn what_is_malformed_is_refused_by_name() {
    let bench = Bench::new().await;
    type Change = fn(&mut Announcement);
    let cases: [(&str, Change); 11] = [
        ("model", |a| a.model = String::new()),
        ("channel", |a| a.channel = "sta\nble".into()),
        ("build", |a| a.build = "x".repeat(257)),
        ("timestamp", |a| a.timestamp = u64::MAX),
        ("security_patch", |a| a.security_patch = "2026-11".into()),
        ("percentage", |a| a.rollout.percentage = 101),
        ("failure_percentage", |a| a.rollout.failure_percentage = 101),
        ("size", |a| a.package.size = 0),
        ("size", |a| a.package.size = u64::MAX),
        ("sha256", |a| a.package.sha256 = "00".into()),
        ("source_build", |a| a.package.source_build = Some(String::new())),
    ];
    for (due, change) in cases {
        let mut request = announcement("b2", 200, 100);
        change(&mut request);
        match bench.update.announce(MAKER, &request).await {
            Err(Error::Invalid { field, .. }) => assert_eq!(field, due),
            other => panic!("{due}: {other:?}"),
        }
    }
    let sql = "'; DROP TABLE update_releases; --";
    let check = Check { model: sql.into(), build: sql.into(), ..has("b1", 100) };
    let answer = bench.update.check(sql, &in_order(), &check).await.unwrap();
    assert_eq!(answer, nothing(Reason::UpToDate));
    let check = Check { security_patch: String::new(), ..check };
    let refused = bench.update.check("d1", &in_order(), &check).await;
    assert!(matches!(refused, Err(Error::Invalid { field: "security_patch", .. })));
    for id in ["", "..", "../cloud.db", ".incoming", sql] {
        let download = bench.update.download(&in_order(), id).await.map(drop);
        assert!(matches!(download, Err(Error::NotFound(_))), "{id}");
    }
}

#[tokio::test]
async fn tables_hold_the_device_id_and_nothing_else_of_a_device() {
    let bench = Bench::new().await;
    let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
        .bind("update_devices")
        .fetch_all(&bench.pool)
        .await
        .unwrap();
    let due = [
        "release_id",
        "device_id",
        "offered_at_ms",
        "downloaded",
        "applied",
        "outcome",
        "reason",
        "round",
    ];
    assert_eq!(columns, due);
}
