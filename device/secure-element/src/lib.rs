//! Secure elements as the device uses them (SPEC S3.3.2): [`SecureElement`] carries commands, whatever
//! is behind it; [`pcsc`] reaches any card in a reader of pcscd, [`socket`] the emulated element
//! behind its own socket; [`Piv`] is the host's side of the PIV application on top of either.

mod management;
pub mod pcsc;
mod piv;
pub mod socket;

pub use management::{ManagementKey, ManagementKind};
pub use piv::{
    ATTESTATION_CERTIFICATE, CARD_AUTHENTICATION, IDENTITY, PRINTED, PinPolicy, Piv, PivError,
    SIGNATURE,
};

use std::io;

/// Why an element can't be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ElementError {
    /// The wire to it is broken, or was never there.
    #[error("the secure element can't be reached: {0}")]
    Io(#[from] io::Error),
    /// pcscd refused.
    #[error("pcscd refused: {0}")]
    Pcsc(#[from] pcsc::Refused),
    /// No reader of that name has a card in it.
    #[error("no reader {name:?} with a card; there are: {there}")]
    NoCard {
        /// The name that was looked for; a part of it is enough.
        name: String,
        /// The readers that are there.
        there: String,
    },
    /// What came is no answer.
    #[error("the secure element's answer is malformed: {0}")]
    Malformed(&'static str),
}

/// A secure element that this program has alone.
pub trait SecureElement {
    /// A command APDU in, its response APDU out.
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ElementError>;
}

impl<T: SecureElement + ?Sized> SecureElement for Box<T> {
    fn transmit(&mut self, command: &[u8]) -> Result<Vec<u8>, ElementError> {
        (**self).transmit(command)
    }
}
