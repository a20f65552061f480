//! Killed at any moment: what was acknowledged is there, and nothing is half there.

use super::*;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};

const CHILD: &str = "SYNC_CRASH_CHILD";

/// Stores one pack after another and says each name once it is acknowledged.
#[tokio::test]
async fn child_that_stores_packs_until_it_is_killed() {
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let clock = Arc::new(ManualClock::new(UnixMillis(1)));
    let pool = pool(&folder).await;
    let sync = open(&folder, &pool, &clock).await;
    let start = u64::from_le_bytes(crypto::random_array());
    for number in 0_u64.. {
        let pack = numbered(start.wrapping_add(number));
        let pieces: Vec<_> = pack.bytes.chunks(65_536).map(Bytes::copy_from_slice).collect();
        let pieces = stream::iter(pieces).map(Ok::<_, std::io::Error>);
        sync.put_pack(ACCOUNT, pack.id, pieces).await.unwrap();
        println!("stored {}", start.wrapping_add(number));
        std::io::stdout().flush().unwrap();
    }
}

fn numbered(number: u64) -> Pack {
    let mut large = vec![0; 300_000];
    large[..8].copy_from_slice(&number.to_be_bytes());
    pack(&[&number.to_be_bytes(), &large])
}

#[tokio::test]
async fn what_was_acknowledged_outlives_a_kill_and_nothing_is_left_unfinished() {
    let mut bench = Bench::new().await;
    let mut stored = Vec::new();
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::child_that_stores_packs_until_it_is_killed", "--nocapture"])
            .env(CHILD, bench.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut number =
            || lines.find_map(|line| line.unwrap().strip_prefix("stored ")?.parse().ok());
        stored.push(number().unwrap());
        std::thread::sleep(Duration::from_millis(5 + 11 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        stored.extend(std::iter::from_fn(number));
    }
    bench.restart().await;
    assert!(stored.len() > 6);
    for number in stored {
        let pack = numbered(number);
        let blocks = bench.fetch(&pack.blocks).await.unwrap();
        assert_eq!(blocks[0], number.to_be_bytes());
    }
    let usage = bench.sync.usage(ACCOUNT).await.unwrap();
    assert_eq!(
        bench.pack_files().len() as u64,
        usage.packs,
        "files without a row, or rows without"
    );
}
