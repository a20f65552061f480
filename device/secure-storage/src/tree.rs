//! The hash tree over all objects: a leaf for each bucket of them.

use crypto::digest::Sha256;

/// A digest of a node.
pub(crate) type Hash = [u8; 32];

/// How many leaves there are. A commit rehashes one bucket and ten nodes for each object.
pub(crate) const BUCKETS: usize = 1024;
/// Bits of a bucket's number.
pub(crate) const BUCKET_BITS: u32 = BUCKETS.ilog2();

const LEAF: [u8; 1] = [0];
const NODE: [u8; 1] = [1];

/// A complete binary tree: the node at `n` has its children at `2n` and `2n + 1`; the root is at
/// 1, the leaves are the last [`BUCKETS`].
pub(crate) struct Tree(Vec<Hash>);

impl Tree {
    /// Over nothing.
    pub(crate) fn new() -> Self {
        let mut nodes = vec![leaf(&[]); 2 * BUCKETS];
        for at in (1..BUCKETS).rev() {
            nodes[at] = node(&nodes[2 * at], &nodes[2 * at + 1]);
        }
        Self(nodes)
    }

    /// Replaces a bucket's leaf and the nodes above it.
    pub(crate) fn set(&mut self, bucket: usize, leaf: Hash) {
        let mut at = BUCKETS + bucket;
        self.0[at] = leaf;
        while at > 1 {
            at /= 2;
            self.0[at] = node(&self.0[2 * at], &self.0[2 * at + 1]);
        }
    }

    /// The root.
    pub(crate) fn root(&self) -> Hash {
        self.0[1]
    }
}

/// The leaf of a bucket with this content.
pub(crate) fn leaf(content: &[u8]) -> Hash {
    hash(&[&LEAF, content])
}

fn node(left: &Hash, right: &Hash) -> Hash {
    hash(&[&NODE, left, right])
}

fn hash(parts: &[&[u8]]) -> Hash {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_counts_and_an_update_is_what_a_new_tree_would_be() {
        let mut tree = Tree::new();
        let empty = tree.root();
        for bucket in [0, 1, 511, BUCKETS - 1] {
            tree.set(bucket, leaf(b"something"));
            assert_ne!(tree.root(), empty, "bucket {bucket}");
            tree.set(bucket, leaf(&[]));
            assert_eq!(tree.root(), empty, "bucket {bucket}");
        }
        assert_ne!(leaf(&[node(&empty, &empty), empty].concat()), node(&empty, &empty));
    }
}
