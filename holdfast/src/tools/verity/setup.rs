//! From options and superblock to what is where.

pub(crate) use super::area::Access;
use super::area::Area;
use super::{Image, Root, Shape};
use crate::exit::{Lacking, Misused};
use anyhow::{Result, anyhow};
use std::fmt::Display;
use std::path::Path;
use verity::{
    FecLayout, Geometry, HashAlgorithm, HashFormat, Params, RootDigest, SUPERBLOCK_BYTES,
    Superblock,
};

/// Bytes of salt where none is asked for.
const SALT_BYTES: usize = 32;

/// An image with its tree and perhaps parity: open, and known to fit one another.
pub(crate) struct Setup {
    pub(crate) params: Params,
    pub(crate) geometry: Geometry,
    pub(crate) superblock: Option<Superblock>,
    pub(crate) data: Area,
    /// The tree, without its superblock.
    pub(crate) hash: Area,
    /// Where superblock and tree begin.
    hash_offset: u64,
    pub(crate) fec: Option<Fec>,
}

/// Where the parity is.
pub(crate) struct Fec {
    pub(crate) area: Area,
    roots: u32,
    in_data: bool,
    in_hash: bool,
}

impl Setup {
    /// For a tree that is to be made. Salt and UUID are random where none is given. Writes the
    /// superblock.
    pub(crate) fn to_build(image: &Image, shape: &Shape, uuid: Option<&str>) -> Result<Self> {
        let salt = match &shape.salt {
            Some(salt) => unhex_salt(salt)?,
            None => crypto::random_array::<SALT_BYTES>().to_vec(),
        };
        let params = params(shape, &salt)?;
        let data = Area::open(&image.data, Access::Read)?;
        let data_blocks = data_blocks(&data, shape)?;
        let superblock = match shape.no_superblock {
            true => None,
            false => Some(Superblock::new(&params, data_blocks, uuid_or_random(uuid)?)),
        };
        let hash = Area::open(&image.hash, Access::Make)?;
        let setup = Self::fit(params, data_blocks, superblock, data, hash, shape, Access::Make)?;
        if let Some(superblock) = &setup.superblock {
            let whole = Area::open(&image.hash, Access::Write)?;
            whole.write(shape.hash_offset, &superblock.encode()?)?;
            // As veritysetup, which writes whole blocks: a tree may be empty.
            let block = setup.params.hash_block_bytes() as u64;
            whole.grow((shape.hash_offset + SUPERBLOCK_BYTES as u64).next_multiple_of(block))?;
        }
        Ok(setup)
    }

    /// For a tree that is there.
    pub(crate) fn to_read(image: &Image, shape: &Shape, access: Access) -> Result<Self> {
        let data = Area::open(&image.data, access)?;
        let hash = Area::open(&image.hash, access)?;
        if shape.no_superblock {
            let salt = shape.salt.as_deref().map_or_else(|| Ok(Vec::new()), unhex_salt)?;
            let blocks = data_blocks(&data, shape)?;
            return Self::fit(params(shape, &salt)?, blocks, None, data, hash, shape, access);
        }
        let mut bytes = [0; SUPERBLOCK_BYTES];
        hash.read(shape.hash_offset, &mut bytes)?;
        let at = || format!("{} at byte {}", image.hash.display(), shape.hash_offset);
        let superblock =
            Superblock::decode(&bytes).map_err(|error| anyhow!("{}: {error}", at()))?;
        let (params, blocks) = (superblock.params()?, superblock.data_blocks);
        Self::fit(params, blocks, Some(superblock), data, hash, shape, access)
    }

    fn fit(
        params: Params,
        data_blocks: u64,
        superblock: Option<Superblock>,
        data: Area,
        hash: Area,
        shape: &Shape,
        access: Access,
    ) -> Result<Self> {
        let block = params.data_block_bytes() as u64;
        let data_bytes = data_blocks.checked_mul(block);
        let data_bytes = data_bytes.ok_or_else(|| misused("--data-blocks is too large"))?;
        if data_bytes > data.file_bytes()? {
            let have = data.file_bytes()?;
            return Err(anyhow!("the image has {have} bytes; {data_bytes} are to be protected"));
        }
        let geometry = Geometry::new(&params, data_bytes).map_err(misused)?;
        let start = tree_start(&params, shape, superblock.is_some())?;
        let same = data.is_of(&hash)?;
        if same && shape.hash_offset < data_bytes {
            return Err(misused(
                "the tree would lie in the image: see --hash-offset, --data-blocks",
            ));
        }
        let hash = hash.from(start);
        let fec = shape.fec_device.as_deref();
        let fec = fec.map(|path| open_fec(path, shape, &data, &hash, access)).transpose()?;
        let hash_offset = shape.hash_offset;
        let setup = Self { params, geometry, superblock, data, hash, hash_offset, fec };
        setup.refuse_overlaps()?;
        Ok(setup)
    }

    /// Parity in the file of image or tree lies behind them.
    fn refuse_overlaps(&self) -> Result<()> {
        let Some(fec) = &self.fec else { return Ok(()) };
        let at = fec.area.start();
        if self.params.data_block_bytes() != self.params.hash_block_bytes() {
            return Err(misused(verity::Error::FecBlockSizes));
        }
        // Roots and sizes are known to be possible before anything is written.
        self.fec_layout(fec)?;
        if !at.is_multiple_of(self.params.data_block_bytes() as u64) {
            return Err(misused("--fec-offset is not a multiple of the block size"));
        }
        if fec.in_data && at < self.geometry.data_bytes() {
            return Err(misused("the parity would lie in the image: see --fec-offset"));
        }
        if fec.in_hash && at < self.tree_end() {
            return Err(misused("the parity would lie in the tree: see --fec-offset"));
        }
        Ok(())
    }

    /// Where the tree ends in its file.
    fn tree_end(&self) -> u64 {
        self.hash.start() + self.geometry.tree_bytes() as u64
    }

    /// How the parity is laid out, for the tree as it is now: as veritysetup does it, parity
    /// covers the file of the tree to its end, or to the parity where that is in the same file.
    pub(crate) fn fec_layout(&self, fec: &Fec) -> Result<FecLayout> {
        let block = self.params.data_block_bytes();
        let end = if fec.in_hash { fec.area.start() } else { self.hash.file_bytes()? };
        let behind = end.saturating_sub(self.hash.start()) / block as u64;
        let blocks = self.geometry.data_blocks().checked_add(behind);
        let blocks = blocks.ok_or_else(|| misused("the image is too large"))?;
        let block = u32::try_from(block)?;
        FecLayout::new(block, blocks, fec.roots).map_err(misused)
    }

    /// Blocks that the parity covers and its layout, checked against the file that has it.
    pub(crate) fn fec_layout_of_file(&self, fec: &Fec) -> Result<FecLayout> {
        let layout = self.fec_layout(fec)?;
        let need = fec.area.start().saturating_add(layout.parity_bytes());
        let have = fec.area.file_bytes()?;
        if have < need {
            return Err(anyhow!("the parity ends at byte {need}; its file has {have}"));
        }
        Ok(layout)
    }

    /// The root hash that is trusted.
    pub(crate) fn root(&self, root: &Root) -> Result<RootDigest> {
        let text = match (&root.root, &root.root_hash_file) {
            (Some(text), _) => text.clone(),
            (None, Some(file)) => std::fs::read_to_string(file)
                .map_err(|error| Lacking(format!("{}: {error}", file.display())))?,
            (None, None) => return Err(misused("a root hash is needed")),
        };
        let bytes =
            unhex(text.trim()).ok_or_else(|| misused("the root hash is not hexadecimal"))?;
        RootDigest::new(self.params.algorithm(), &bytes).map_err(misused)
    }

    /// Where the tree begins, in hash blocks.
    pub(crate) fn hash_start(&self) -> u64 {
        self.hash.start() / self.params.hash_block_bytes() as u64
    }

    /// Where superblock and tree begin, in bytes.
    pub(crate) const fn hash_offset(&self) -> u64 {
        self.hash_offset
    }
}

fn open_fec(path: &Path, shape: &Shape, data: &Area, hash: &Area, access: Access) -> Result<Fec> {
    let area = Area::open(path, access)?;
    let (in_data, in_hash) = (area.is_of(data)?, area.is_of(hash)?);
    Ok(Fec { area: area.from(shape.fec_offset), roots: shape.fec_roots, in_data, in_hash })
}

fn params(shape: &Shape, salt: &[u8]) -> Result<Params> {
    let algorithm = HashAlgorithm::from_name(&shape.algorithm)
        .ok_or_else(|| misused(verity::Error::HashAlgorithm(shape.algorithm.clone())))?;
    let format = HashFormat::from_number(shape.format)
        .ok_or_else(|| misused(verity::Error::HashFormat(shape.format)))?;
    let (data, hash) = (shape.data_block_size, shape.hash_block_size);
    let params = Params::with_block_sizes(algorithm, salt, data, hash).map_err(misused)?;
    Ok(params.with_format(format))
}

/// Blocks of the image: as asked for, or all. What is no whole block would not be protected.
fn data_blocks(data: &Area, shape: &Shape) -> Result<u64> {
    if let Some(blocks) = shape.data_blocks {
        return Ok(blocks);
    }
    let bytes = data.file_bytes()?;
    let (block, rest) =
        (u64::from(shape.data_block_size), bytes % u64::from(shape.data_block_size));
    if rest != 0 {
        let whole = bytes / block;
        return Err(anyhow!(
            "the last {rest} bytes of the image are no whole block and would not be protected: \
             pad it to a multiple of {block}, or say --data-blocks {whole}"
        ));
    }
    Ok(bytes / block)
}

/// The first byte of the tree: behind the superblock at the next hash block.
fn tree_start(params: &Params, shape: &Shape, superblock: bool) -> Result<u64> {
    let block = params.hash_block_bytes() as u64;
    let unit = if superblock { SUPERBLOCK_BYTES as u64 } else { block };
    if !shape.hash_offset.is_multiple_of(unit) {
        return Err(misused(format!("--hash-offset is not a multiple of {unit}")));
    }
    let behind = shape.hash_offset.checked_add(if superblock { unit } else { 0 });
    let start = behind.and_then(|start| start.checked_next_multiple_of(block));
    start.ok_or_else(|| misused("--hash-offset is too large"))
}

fn unhex_salt(salt: &str) -> Result<Vec<u8>> {
    if salt == "-" {
        return Ok(Vec::new());
    }
    unhex(salt).ok_or_else(|| misused("--salt is not hexadecimal"))
}

fn uuid_or_random(uuid: Option<&str>) -> Result<[u8; 16]> {
    let Some(text) = uuid else {
        let mut uuid = crypto::random_array::<16>();
        // Version 4, variant 1 (RFC 9562, 5.4).
        uuid[6] = uuid[6] & 0x0f | 0x40;
        uuid[8] = uuid[8] & 0x3f | 0x80;
        return Ok(uuid);
    };
    let parts: Vec<&str> = text.split('-').collect();
    let shaped = parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12]);
    let bytes = unhex(&parts.concat()).filter(|_| shaped);
    bytes.and_then(|it| it.try_into().ok()).ok_or_else(|| misused("--uuid is not a UUID"))
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2);
    pairs.map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let written = std::fs::write(path, bytes);
    Ok(written.map_err(|error| Lacking(format!("{}: {error}", path.display())))?)
}

fn misused(what: impl Display) -> anyhow::Error {
    Misused(what.to_string()).into()
}
