//! The dm-verity table on the kernel's command line, as avbtool writes it:
//! `dm="1 vroot none ro 1,0 SECTORS verity 1 PARTUUID=DATA PARTUUID=HASH 4096 4096 BLOCKS
//! HASH_START sha256 ROOT SALT …" root=/dev/dm-0`.

use board::argument::unhex;
use bootimg::gpt::Guid;
use verity::{BLOCK_BYTES, HashAlgorithm, Params, RootDigest};

/// What protects the system's partition.
pub struct VerityTable {
    /// The partition with the data, and the tree behind it.
    pub partition: Guid,
    /// Bytes of the data.
    pub data_bytes: u64,
    /// Hash function, block sizes, salt.
    pub params: Params,
    /// What the tree must lead up to.
    pub root: RootDigest,
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's command line has no good dm-verity table: {0}")]
pub struct TableError(&'static str);

impl VerityTable {
    /// Finds the table in a command line.
    pub fn find(cmdline: &str) -> Result<Self, TableError> {
        let (_, rest) = cmdline.split_once("dm=\"").ok_or(TableError("no dm= option"))?;
        let (table, _) = rest.split_once('"').ok_or(TableError("the dm= option does not end"))?;
        let fields: Vec<&str> = table.split(' ').collect();
        let Some(
            [
                "1",
                "vroot",
                "none",
                "ro",
                "1,0",
                sectors,
                "verity",
                "1",
                data,
                hash,
                "4096",
                "4096",
                blocks,
                start,
                function,
                root,
                salt,
            ],
        ) = fields.first_chunk::<17>()
        else {
            return Err(TableError("it is not one verity target with blocks of 4096 bytes"));
        };
        let data_blocks: u64 = blocks.parse().map_err(|_| TableError("not a number of blocks"))?;
        let data_bytes =
            data_blocks.checked_mul(BLOCK_BYTES.into()).ok_or(TableError("too large"))?;
        if data != hash || start != blocks || *sectors != (data_bytes / 512).to_string() {
            return Err(TableError("the tree does not follow the data"));
        }
        let guid = data.strip_prefix("PARTUUID=").ok_or(TableError("no PARTUUID"))?;
        let function = HashAlgorithm::from_name(function).ok_or(TableError("hash function"))?;
        let bytes = |text: &str| unhex(text).ok_or(TableError("not hexadecimal"));
        let (root, salt) = (bytes(root)?, bytes(salt)?);
        Ok(Self {
            partition: guid.parse().map_err(|_| TableError("not a GUID"))?,
            data_bytes,
            params: Params::new(function, &salt).map_err(|_| TableError("salt"))?,
            root: RootDigest::new(function, &root).map_err(|_| TableError("root digest"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(blocks: &str, start: &str) -> String {
        let root = "ab".repeat(32);
        let id = "PARTUUID=01010101-0101-0101-0101-010101010101";
        format!(
            "androidboot.x=y dm=\"1 vroot none ro 1,0 24 verity 1 {id} {id} 4096 4096 {blocks} \
             {start} sha256 {root} 0102 2 restart_on_corruption ignore_zero_blocks\" root=/dev/dm-0"
        )
    }

    #[test]
    fn finds_what_avbtool_writes() {
        let found = VerityTable::find(&table("3", "3")).unwrap();
        assert_eq!(found.partition, Guid::from_bytes([1; 16]));
        assert_eq!((found.data_bytes, found.root.as_bytes()), (12_288, &[0xab; 32][..]));
    }

    #[test]
    fn refuses_other_tables() {
        let good = table("3", "3");
        for bad in [
            String::new(),
            table("4", "4"),
            table("3", "4"),
            table("18446744073709551615", "18446744073709551615"),
            good.replace("sha256", "md5"),
            good.replace("4096 4096", "1024 4096"),
            good.replace(" 0102 ", " 010 "),
            good.replace("ro 1,0", "ro 2,0"),
            good.replace("\" root", " root"),
        ] {
            assert!(VerityTable::find(&bad).is_err(), "{bad}");
        }
    }
}
