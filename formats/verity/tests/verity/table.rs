//! The line for the kernel.

use verity::{FecLayout, HashAlgorithm, HashFormat, Params, RootDigest, Table, TableFec};

fn table<'t>(params: &'t Params, options: &'t [&'t str]) -> Table<'t> {
    Table {
        data_device: "/dev/a",
        hash_device: "/dev/b",
        params,
        data_blocks: 16,
        hash_start: 1,
        root: RootDigest::new(params.algorithm(), &vec![0x5a; params.algorithm().digest_bytes()])
            .unwrap(),
        fec: None,
        options,
    }
}

#[test]
fn the_shortest_table_has_no_options_and_no_salt() {
    let params = Params::new(HashAlgorithm::Sha256, b"").unwrap();
    let line = table(&params, &[]).line().unwrap();
    let root = "5a".repeat(32);
    assert_eq!(line, format!("0 128 verity 1 /dev/a /dev/b 4096 4096 16 1 sha256 {root} -"));
}

#[test]
fn options_are_counted_in_words() {
    let params = Params::with_block_sizes(HashAlgorithm::Sha1, &[1, 0xfe], 1024, 1024).unwrap();
    let params = params.with_format(HashFormat::ChromeOs);
    let layout = FecLayout::new(1024, 18, 3).unwrap();
    let mut table = table(&params, &["restart_on_corruption", "ignore_zero_blocks"]);
    table.fec = Some(TableFec { device: "/dev/c", start: 9, layout });
    let root = "5a".repeat(20);
    let expected = format!(
        "0 32 verity 0 /dev/a /dev/b 1024 1024 16 1 sha1 {root} 01fe 10 restart_on_corruption \
         ignore_zero_blocks use_fec_from_device /dev/c fec_roots 3 fec_blocks 18 fec_start 9"
    );
    assert_eq!(table.line().unwrap(), expected);
}

#[test]
fn a_table_without_data_is_refused() {
    let params = Params::new(HashAlgorithm::Sha256, b"").unwrap();
    for data_blocks in [0, u64::MAX] {
        assert!(Table { data_blocks, ..table(&params, &[]) }.line().is_err());
    }
}
