//! What the kernel's command line says of dm-verity: the table, as avbtool writes it, and beside
//! it the mode and the digest of the parity.
//!
//! `dm="1 vroot none ro 1,0 SECTORS verity 1 PARTUUID=DATA PARTUUID=HASH 4096 4096 BLOCKS
//! HASH_START sha256 ROOT SALT N MODE ignore_zero_blocks [use_fec_from_device PARTUUID=FEC
//! fec_roots ROOTS fec_blocks COVERED fec_start START]" root=/dev/dm-0`.

use board::argument::unhex;
use board::verity::{PARITY_OPTION, VerityMode};
use bootimg::gpt::Guid;
use verity::{BLOCK_BYTES, FecLayout, Geometry, HashAlgorithm, Params, RootDigest};

/// libavb's words for what holds in this boot.
const MODE_OPTION: &str = "androidboot.veritymode=";
const MANAGED_OPTION: &str = "androidboot.veritymode.managed=yes";

/// What protects the system's partition.
pub struct VerityTable {
    /// The partition with the data, the tree behind it, and the parity behind that.
    pub partition: Guid,
    /// Bytes of the data.
    pub data_bytes: u64,
    /// Hash function, block sizes, salt.
    pub params: Params,
    /// What the tree must lead up to.
    pub root: RootDigest,
    /// Forward error correction, where there is some.
    pub parity: Option<Parity>,
    /// What a bad block leads to.
    pub mode: VerityMode,
    /// Whether an earlier boot of this system found a bad block (libavb's managed mode).
    pub known_corrupt: bool,
}

/// Parity right behind the tree, over data and tree.
pub struct Parity {
    /// Where it is and what it covers.
    pub layout: FecLayout,
    /// What it was when it was signed.
    pub sha256: [u8; 32],
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's command line has no good dm-verity table: {0}")]
pub struct TableError(&'static str);

impl VerityTable {
    /// Finds it in a command line.
    pub fn find(cmdline: &str) -> Result<Self, TableError> {
        let (_, rest) = cmdline.split_once("dm=\"").ok_or(TableError("no dm= option"))?;
        let (table, _) = rest.split_once('"').ok_or(TableError("the dm= option does not end"))?;
        let fields: Vec<&str> = table.split(' ').collect();
        let Some((
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
            optional,
        )) = fields.split_first_chunk::<17>()
        else {
            return Err(TableError("it is not one verity target with blocks of 4096 bytes"));
        };
        let data_blocks = number(blocks)?;
        let data_bytes =
            data_blocks.checked_mul(BLOCK_BYTES.into()).ok_or(TableError("too large"))?;
        if data != hash || start != blocks || *sectors != (data_bytes / 512).to_string() {
            return Err(TableError("the tree does not follow the data"));
        }
        let guid = data.strip_prefix("PARTUUID=").ok_or(TableError("no PARTUUID"))?;
        let function = HashAlgorithm::from_name(function).ok_or(TableError("hash function"))?;
        let bytes = |text: &str| unhex(text).ok_or(TableError("not hexadecimal"));
        let (root, salt) = (bytes(root)?, bytes(salt)?);
        let params = Params::new(function, &salt).map_err(|_| TableError("salt"))?;
        let covered = Geometry::new(&params, data_bytes)
            .map(|geometry| data_blocks.saturating_add(geometry.tree_blocks()))
            .map_err(|_| TableError("its size"))?;
        Ok(Self {
            partition: guid.parse().map_err(|_| TableError("not a GUID"))?,
            data_bytes,
            params,
            root: RootDigest::new(function, &root).map_err(|_| TableError("root digest"))?,
            parity: parity(optional, data, covered, cmdline)?,
            mode: mode(cmdline)?,
            known_corrupt: cmdline.split(' ').any(|option| option == MANAGED_OPTION)
                && mode(cmdline)? == VerityMode::Eio,
        })
    }
}

fn number(text: &str) -> Result<u64, TableError> {
    text.parse().map_err(|_| TableError("not a number of blocks"))
}

/// The optional arguments: their count, then they.
fn parity(
    optional: &[&str],
    data: &str,
    covered: u64,
    cmdline: &str,
) -> Result<Option<Parity>, TableError> {
    let (count, optional) = optional.split_first().ok_or(TableError("no optional arguments"))?;
    if *count != optional.len().to_string() {
        return Err(TableError("the optional arguments are not as many as it says"));
    }
    let fec = match optional {
        [_mode, "ignore_zero_blocks"] => return Ok(None),
        [_mode, "ignore_zero_blocks", "use_fec_from_device", fec @ ..] => fec,
        _ => return Err(TableError("optional arguments that this kernel does not know")),
    };
    let [device, "fec_roots", roots, "fec_blocks", blocks, "fec_start", start] = fec else {
        return Err(TableError("the arguments of forward error correction"));
    };
    if *device != data || number(blocks)? != covered || number(start)? != covered {
        return Err(TableError("the parity does not follow the tree"));
    }
    let roots = roots.parse().map_err(|_| TableError("fec_roots"))?;
    let sha256 = cmdline.split(' ').find_map(|option| option.strip_prefix(PARITY_OPTION));
    let sha256 = sha256.and_then(unhex).and_then(|digest| digest.try_into().ok());
    Ok(Some(Parity {
        layout: FecLayout::new(BLOCK_BYTES, covered, roots).map_err(|_| TableError("fec_roots"))?,
        sha256: sha256.ok_or(TableError(
            "nobody vouches for the parity: add holdfast.system_fec_sha256=… to the signed \
             command line, or leave the parity out",
        ))?,
    }))
}

/// libavb writes its options behind the signed ones: the last one counts.
fn mode(cmdline: &str) -> Result<VerityMode, TableError> {
    let mode = cmdline.rsplit(' ').find_map(|option| option.strip_prefix(MODE_OPTION));
    let mode = mode.ok_or(TableError("no androidboot.veritymode"))?;
    VerityMode::from_name(mode).ok_or(TableError("a mode that this kernel does not know"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "PARTUUID=01010101-0101-0101-0101-010101010101";
    const PLAIN: &str = "2 restart_on_corruption ignore_zero_blocks";

    fn table(blocks: &str, start: &str, optional: &str) -> String {
        let root = "ab".repeat(32);
        format!(
            "androidboot.x=y dm=\"1 vroot none ro 1,0 24 verity 1 {ID} {ID} 4096 4096 {blocks} \
             {start} sha256 {root} 0102 {optional}\" root=/dev/dm-0 holdfast.system_fec_sha256={} \
             androidboot.veritymode=enforcing androidboot.veritymode.managed=yes",
            "cd".repeat(32)
        )
    }

    /// Three blocks of data and one of the tree.
    fn with_parity() -> String {
        let fec = format!("use_fec_from_device {ID} fec_roots 2 fec_blocks 4 fec_start 4");
        table("3", "3", &format!("10 restart_on_corruption ignore_zero_blocks {fec}"))
    }

    #[test]
    fn finds_what_avbtool_writes() {
        let found = VerityTable::find(&table("3", "3", PLAIN)).unwrap();
        assert_eq!(found.partition, Guid::from_bytes([1; 16]));
        assert_eq!((found.data_bytes, found.root.as_bytes()), (12_288, &[0xab; 32][..]));
        assert!(found.parity.is_none() && !found.known_corrupt);
        assert_eq!(found.mode, VerityMode::Enforcing);
        let parity = VerityTable::find(&with_parity()).unwrap().parity.unwrap();
        assert_eq!((parity.layout.blocks(), parity.layout.roots()), (4, 2));
        assert_eq!(parity.sha256, [0xcd; 32]);
    }

    #[test]
    fn the_last_mode_counts_and_a_managed_one_knows_of_corruption() {
        let eio = format!("{} androidboot.veritymode=eio", table("3", "3", PLAIN));
        let found = VerityTable::find(&eio).unwrap();
        assert_eq!((found.mode, found.known_corrupt), (VerityMode::Eio, true));
        let chosen = eio.replace(MANAGED_OPTION, "");
        assert!(!VerityTable::find(&chosen).unwrap().known_corrupt);
    }

    #[test]
    fn refuses_other_tables() {
        let (good, fec) = (table("3", "3", PLAIN), with_parity());
        for bad in [
            String::new(),
            table("4", "4", PLAIN),
            table("3", "4", PLAIN),
            table("18446744073709551615", "18446744073709551615", PLAIN),
            table("3", "3", "2 restart_on_corruption"),
            table("3", "3", "1 restart_on_corruption"),
            good.replace("sha256", "md5"),
            good.replace("4096 4096", "1024 4096"),
            good.replace(" 0102 ", " 010 "),
            good.replace("ro 1,0", "ro 2,0"),
            good.replace("\" root", " root"),
            good.replace("veritymode=enforcing", "veritymode=logging"),
            good.replace("veritymode=enforcing", ""),
            fec.replace("fec_roots 2", "fec_roots 1"),
            fec.replace("fec_blocks 4", "fec_blocks 3"),
            fec.replace("fec_start 4", "fec_start 5"),
            fec.replace(" 10 restart", " 2 restart"),
            fec.replace("cdcd", "cd"),
            fec.replace(PARITY_OPTION, "x="),
        ] {
            assert!(VerityTable::find(&bad).is_err(), "{bad}");
        }
    }
}
