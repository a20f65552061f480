//! What can be wrong.

/// Why a policy, a key, content or a name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Its length is none that it can have.
    #[error("{what}: {length} bytes")]
    Length {
        /// What.
        what: &'static str,
        /// Its length.
        length: usize,
    },
    /// A field has a value that it can't have.
    #[error("{field}: {value} is no value of it")]
    Field {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u8,
    },
    /// A field has a value that the kernel knows and this crate does not.
    #[error("{field}: {value} is not supported")]
    Unsupported {
        /// Which field.
        field: &'static str,
        /// Its value.
        value: u8,
    },
    /// The master key is another one's: its identifier is not the policy's.
    #[error("the master key is not the policy's")]
    OtherKey,
    /// A name that is empty, longer than its place, or has bytes behind its end.
    #[error("this is no encrypted name")]
    Name,
}
