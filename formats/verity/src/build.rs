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
    /// The digests of the data, where they don't lie in the tree one behind the other.
    loose: Vec<u8>,
}

impl<'p> TreeBuilder<'p> {
    /// A builder for the tree over `data_bytes`.
    pub fn new(params: &'p Params, data_bytes: u64) -> Result<Self, Error> {
        let geometry = Geometry::new(params, data_bytes)?;
        let zeros = |bytes: usize| {
            let mut zeros = Vec::new();
            zeros.try_reserve_exact(bytes).map_err(|_| Error::TooLarge(data_bytes))?;
            zeros.resize(bytes, 0);
            Ok(zeros)
        };
        let tree = zeros(geometry.tree_bytes())?;
        let loose = if params.is_dense() && !geometry.levels().is_empty() {
            Vec::new()
        } else {
            let blocks = usize::try_from(geometry.data_blocks()).ok();
            let bytes = blocks.and_then(|it| it.checked_mul(params.algorithm().digest_bytes()));
            zeros(bytes.ok_or(Error::TooLarge(data_bytes))?)?
        };
        Ok(Self { params, geometry, tree, loose })
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

    /// The digests of all data blocks, one behind the other: split it among threads with
    /// `split_at_mut` or `chunks_mut`.
    pub fn leaves(&mut self) -> &mut [u8] {
        match self.geometry.levels().first() {
            Some(level) if self.params.is_dense() => {
                let size = self.params.algorithm().digest_bytes();
                let bytes = usize::try_from(level.digests).expect("the tree is in memory") * size;
                &mut self.tree[level.offset..level.offset + bytes]
            }
            _ => &mut self.loose,
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
        let Some(leaves) = self.geometry.levels().first() else {
            return std::mem::take(&mut self.loose);
        };
        let (params, size) = (self.params, self.params.algorithm().digest_bytes());
        let block_bytes = params.hash_block_bytes();
        let digests = self.loose.chunks(params.digests_per_block() * size);
        for (digests, block) in digests.zip(self.tree[leaves.offset..].chunks_mut(block_bytes)) {
            params.pack(digests, block);
        }
        for (level, pair) in (1..).zip(self.geometry.levels().windows(2)) {
            let [below, above] = [pair[0], pair[1]];
            // Upper levels lie before lower ones, so the tree splits between them.
            let (upper, lower) = self.tree.split_at_mut(below.offset);
            let blocks = usize::try_from(below.blocks).expect("the tree is in memory");
            let families =
                lower[..blocks * block_bytes].chunks(params.digests_per_block() * block_bytes);
            let parents = upper[above.offset..].chunks_exact_mut(block_bytes);
            for (children, parent) in families.zip(parents) {
                params.hash_family(level, 0, children, parent);
            }
        }
        let mut root = vec![0; size];
        params.hash_block(&self.tree[..block_bytes], block_bytes, &mut root);
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
