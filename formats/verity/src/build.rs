//! Making a tree.

use crate::{Error, Geometry, Params, RootDigest};

/// Makes a tree from digests of data blocks that were computed in any order, on any core.
///
/// Take ranges from [`Geometry::split`]; for each, write the output of
/// [`TreeBuilder::hash_blocks`] to [`TreeBuilder::leaves`]; then [`TreeBuilder::finish`].
pub struct TreeBuilder<'p> {
    params: &'p Params,
    geometry: Geometry,
    tree: Vec<u8>,
    single: Vec<u8>,
}

impl<'p> TreeBuilder<'p> {
    /// A builder for the tree over `data_bytes`.
    pub fn new(params: &'p Params, data_bytes: u64) -> Result<Self, Error> {
        let geometry = Geometry::new(params, data_bytes)?;
        let mut tree = Vec::new();
        tree.try_reserve_exact(geometry.tree_bytes()).map_err(|_| Error::TooLarge(data_bytes))?;
        tree.resize(geometry.tree_bytes(), 0);
        let single = vec![0; params.algorithm().digest_bytes()];
        Ok(Self { params, geometry, tree, single })
    }

    /// The shape of the tree.
    #[must_use]
    pub const fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Hashes the data blocks from `first` on. `data` holds whole blocks, but for the last one
    /// of the image. `digests` is as long as the digests of these blocks.
    pub fn hash_blocks(
        params: &Params,
        geometry: &Geometry,
        first: u64,
        data: &[u8],
        digests: &mut [u8],
    ) -> Result<(), Error> {
        let blocks = check_range(params, geometry, first, data)?;
        let size = params.algorithm().digest_bytes();
        if digests.len() as u64 != blocks * size as u64 {
            return Err(Error::Range { first, bytes: data.len() as u64 });
        }
        let block_bytes = params.data_block_bytes();
        for (block, digest) in data.chunks(block_bytes).zip(digests.chunks_exact_mut(size)) {
            params.hash_block(block, block_bytes, digest);
        }
        Ok(())
    }

    /// The digests of all data blocks: split it among threads with `split_at_mut` or
    /// `chunks_mut`.
    pub fn leaves(&mut self) -> &mut [u8] {
        match self.geometry.levels().first() {
            Some(level) => {
                let size = self.params.algorithm().digest_bytes();
                let bytes = usize::try_from(level.digests).expect("the tree is in memory") * size;
                &mut self.tree[level.offset..level.offset + bytes]
            }
            None => &mut self.single,
        }
    }

    /// Computes the levels above the leaves. Gives the tree and its root digest.
    #[must_use]
    pub fn finish(mut self) -> (Vec<u8>, RootDigest) {
        let root = self.raise();
        let root = RootDigest::new(self.params.algorithm(), &root)
            .expect("the hash function gave the digest");
        (self.tree, root)
    }

    fn raise(&mut self) -> Vec<u8> {
        let size = self.params.algorithm().digest_bytes();
        let block_bytes = self.params.hash_block_bytes();
        for pair in self.geometry.levels().windows(2) {
            let [below, above] = [pair[0], pair[1]];
            // Upper levels lie before lower ones, so the tree splits between them.
            let (upper, lower) = self.tree.split_at_mut(below.offset);
            let blocks = usize::try_from(below.blocks).expect("the tree is in memory");
            let digests = upper[above.offset..].chunks_exact_mut(size);
            for (block, digest) in lower.chunks(block_bytes).take(blocks).zip(digests) {
                self.params.hash_block(block, block_bytes, digest);
            }
        }
        if self.geometry.levels().is_empty() {
            return std::mem::take(&mut self.single);
        }
        let mut root = vec![0; size];
        self.params.hash_block(&self.tree[..block_bytes], block_bytes, &mut root);
        root
    }
}

/// Checks that `data` is whole blocks of the image from block `first` on; gives how many.
pub(crate) fn check_range(
    params: &Params,
    geometry: &Geometry,
    first: u64,
    data: &[u8],
) -> Result<u64, Error> {
    let bytes = data.len() as u64;
    let out_of_range = Error::Range { first, bytes };
    let block_bytes = params.data_block_bytes() as u64;
    let start = first.checked_mul(block_bytes).filter(|&start| start < geometry.data_bytes());
    let left = geometry.data_bytes() - start.ok_or_else(|| out_of_range.clone())?;
    if bytes > left || (bytes < left && !bytes.is_multiple_of(block_bytes)) {
        return Err(out_of_range);
    }
    Ok(bytes.div_ceil(block_bytes))
}

/// Builds the tree over `data` on this thread.
pub fn build(params: &Params, data: &[u8]) -> Result<(Vec<u8>, RootDigest), Error> {
    let mut builder = TreeBuilder::new(params, data.len() as u64)?;
    let geometry = builder.geometry().clone();
    TreeBuilder::hash_blocks(params, &geometry, 0, data, builder.leaves())?;
    Ok(builder.finish())
}
