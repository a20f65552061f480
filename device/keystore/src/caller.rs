//! Who asks: what the kernel says about the process at the other end.

use crate::error::Error;
use keystore_client::api::Namespace;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Whose keys are meant by an alias.
    pub namespace: Namespace,
    /// The system's root, or the user that the system runs as. It may move keys between
    /// namespaces, hand in auth tokens and read the audit log. It uses no key of others.
    pub is_system: bool,
}

impl Caller {
    /// A program of this user, with the label that the kernel gave it.
    #[must_use]
    pub fn new(uid: u32, label: Option<String>, is_system: bool) -> Self {
        Self { namespace: Namespace { uid, label }, is_system }
    }

    /// Refuses everybody but the system.
    pub fn must_be_system(&self) -> Result<(), Error> {
        if self.is_system {
            return Ok(());
        }
        Err(Error::permission("this is for the device's own user and its root"))
    }
}

/// A label as the database has it.
pub(crate) fn label(namespace: &Namespace) -> &str {
    namespace.label.as_deref().unwrap_or_default()
}

/// A namespace as the database has it.
pub(crate) fn namespace(uid: i64, label: String) -> Namespace {
    let uid = u32::try_from(uid).unwrap_or(u32::MAX);
    Namespace { uid, label: (!label.is_empty()).then_some(label) }
}
