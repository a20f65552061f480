//! What must be refused.

use super::*;
use snapshot::block::PackId;

/// Sends bytes under the name that they hash to.
async fn put_bytes(bench: &Bench, bytes: &[u8]) -> Result<(), Error> {
    let pieces: Vec<_> = bytes.chunks(100_000).map(Bytes::copy_from_slice).collect();
    let pieces = stream::iter(pieces).map(Ok::<_, std::io::Error>);
    let name = PackId(crypto::digest::sha256(bytes));
    bench.sync.put_pack(ACCOUNT, name, pieces).await
}

async fn assert_untouched(bench: &Bench) {
    assert!(bench.pack_files().is_empty(), "{:?}", bench.pack_files());
    assert_eq!(bench.sync.usage(ACCOUNT).await.unwrap().packs, 0);
}

#[tokio::test]
async fn a_pack_that_is_malformed_anywhere_is_refused() {
    let bench = Bench::new().await;
    let good = pack(&[b"a", b"b"]).bytes;
    let mut cases = vec![Vec::new(), b"HFPK".to_vec(), vec![0; 4096], [&good[..], b"x"].concat()];
    cases.extend((0..good.len()).step_by(7).map(|length| good[..length].to_vec()));
    let head = 7 + WRAPPED.len();
    for (at, value) in [(0, b'X'), (4, 2), (5, 0xff), (head + 32, 0xff), (head + 35, 0)] {
        let mut altered = good.clone();
        altered[at] = value;
        cases.push(altered);
    }
    let block = &good[head..head + 32 + 4 + 29];
    cases.push([&good[..head], block, block].concat());
    for case in cases {
        let refused = put_bytes(&bench, &case).await;
        assert!(matches!(refused, Err(Error::Pack(_))), "{} bytes: {refused:?}", case.len());
    }
    assert_untouched(&bench).await;
}

#[tokio::test]
async fn a_pack_under_another_name_is_refused() {
    let bench = Bench::new().await;
    let mut pack = pack(&[b"a"]);
    *pack.bytes.last_mut().unwrap() ^= 1;
    assert!(matches!(bench.put(&pack).await, Err(Error::PackName { .. })));
    assert_untouched(&bench).await;
}

#[tokio::test]
async fn a_pack_that_never_ends_is_refused_at_the_limit() {
    let bench = Bench::new().await;
    let head = pack(&[b"a"]).bytes;
    let block = |number: u64| {
        let mut block = vec![0; 36 + (1 << 20)];
        block[..8].copy_from_slice(&number.to_be_bytes());
        block[32..36].copy_from_slice(&(1_u32 << 20).to_be_bytes());
        Ok::<_, std::io::Error>(Bytes::from(block))
    };
    let drawn = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = drawn.clone();
    let endless = stream::iter(0_u64..).map(move |number| {
        counter.store(number, std::sync::atomic::Ordering::SeqCst);
        block(number)
    });
    let pieces = stream::iter([Ok(Bytes::from(head))]).chain(endless);
    let refused = bench.sync.put_pack(ACCOUNT, PackId([0; 32]), pieces).await;
    assert!(matches!(refused, Err(Error::Pack(snapshot::pack::Error::TooLong))));
    assert!(drawn.load(std::sync::atomic::Ordering::SeqCst) < 64 + 40);
    assert_untouched(&bench).await;
}

#[tokio::test]
async fn a_sender_that_breaks_off_leaves_nothing() {
    let bench = Bench::new().await;
    let pack = pack(&[&[1; 100_000]]);
    let half = Ok(Bytes::copy_from_slice(&pack.bytes[..50_000]));
    let broken = Err(std::io::Error::other("the connection broke"));
    let refused = bench.sync.put_pack(ACCOUNT, pack.id, stream::iter([half, broken])).await;
    assert!(matches!(refused, Err(Error::CutShort(_))));
    assert_untouched(&bench).await;
}

#[tokio::test]
async fn names_of_accounts_cannot_leave_the_folder() {
    let bench = Bench::new().await;
    let pack = pack(&[b"a"]);
    for account in ["", ".", "..", "../x", "/", "a/b", ".incoming"] {
        assert!(matches!(bench.put_for(account, &pack).await, Err(Error::Account)), "{account}");
        assert!(matches!(bench.sync.erase(account).await, Err(Error::Account)), "{account}");
        assert!(matches!(bench.sync.head(account).await, Err(Error::Account)), "{account}");
    }
}

#[tokio::test]
async fn lists_of_names_are_whole_and_not_too_long() {
    let bench = Bench::new().await;
    for length in [1, 31, 33, 32 * 16_385] {
        let refused = bench.sync.missing(ACCOUNT, &vec![0; length]).await;
        assert!(matches!(refused, Err(Error::Names(_))), "{length}");
    }
    let most = bench.sync.missing(ACCOUNT, &vec![0; 32 * 16_384]).await.unwrap();
    assert_eq!(most.len(), 32 * 16_384);
}

#[tokio::test]
async fn a_pack_that_was_lost_or_shortened_on_the_disk_is_an_error_and_no_wrong_answer() {
    let bench = Bench::new().await;
    let pack = pack(&[b"a", &[1; 1000]]);
    bench.put(&pack).await.unwrap();
    let file = bench.pack_files().remove(0);
    std::fs::File::options().write(true).open(&file).unwrap().set_len(200).unwrap();
    let pieces = bench.sync.blocks(ACCOUNT, &pack.blocks).await.unwrap();
    let pieces: Vec<_> = pieces.collect().await;
    assert!(pieces.last().unwrap().is_err());
    std::fs::remove_file(&file).unwrap();
    assert!(bench.sync.blocks(ACCOUNT, &pack.blocks).await.is_err());
}
