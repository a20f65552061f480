//! The dm-verity table: the line that sets up a device (`dmsetup create --table`).
//!
//! Follows `Documentation/admin-guide/device-mapper/verity.rst`, "Construction Parameters".

use crate::{Error, FecLayout, Geometry, Params, RootDigest};

/// A table with one verity target from sector 0 on.
#[derive(Clone)]
pub struct Table<'t> {
    /// The device with the data: a path, major:minor, or PARTUUID=….
    pub data_device: &'t str,
    /// The device with the tree.
    pub hash_device: &'t str,
    /// Hash function, salt, block sizes, format.
    pub params: &'t Params,
    /// Blocks of the data.
    pub data_blocks: u64,
    /// Where the tree begins on its device, in hash blocks.
    pub hash_start: u64,
    /// The root digest.
    pub root: RootDigest,
    /// Where the parity is.
    pub fec: Option<TableFec<'t>>,
    /// Other optional arguments, as `restart_on_corruption` or `ignore_zero_blocks`.
    pub options: &'t [&'t str],
}

/// Forward error correction in a table.
#[derive(Debug, Clone, Copy)]
pub struct TableFec<'t> {
    /// The device with the parity.
    pub device: &'t str,
    /// Where it begins there, in blocks.
    pub start: u64,
    /// What it covers.
    pub layout: FecLayout,
}

impl Table<'_> {
    /// The line, without a line end.
    pub fn line(&self) -> Result<String, Error> {
        let salt = match self.params.salt() {
            [] => "-".to_owned(),
            salt => hex(salt),
        };
        let mut line = format!(
            "0 {} verity {} {} {} {} {} {} {} {} {} {salt}",
            self.sectors()?,
            self.params.format().number(),
            self.data_device,
            self.hash_device,
            self.params.data_block_bytes(),
            self.params.hash_block_bytes(),
            self.data_blocks,
            self.hash_start,
            self.params.algorithm().name(),
            hex(self.root.as_bytes()),
        );
        let optional = self.optional();
        if !optional.is_empty() {
            line += &format!(" {} {}", optional.len(), optional.join(" "));
        }
        Ok(line)
    }

    /// Sectors of 512 bytes that the device has.
    pub fn sectors(&self) -> Result<u64, Error> {
        let block = self.params.data_block_bytes() as u64;
        let bytes = self.data_blocks.checked_mul(block).ok_or(Error::TooLarge(u64::MAX))?;
        Geometry::new(self.params, bytes).map(|_| bytes / 512)
    }

    fn optional(&self) -> Vec<String> {
        let mut optional: Vec<String> = self.options.iter().map(|&it| it.to_owned()).collect();
        if let Some(fec) = &self.fec {
            optional.extend(["use_fec_from_device".to_owned(), fec.device.to_owned()]);
            let numbers = [
                ("fec_roots", fec.layout.roots() as u64),
                ("fec_blocks", fec.layout.blocks()),
                ("fec_start", fec.start),
            ];
            optional.extend(numbers.iter().flat_map(|(key, n)| [(*key).into(), n.to_string()]));
        }
        optional
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
