//! What smart cards speak: command and response APDUs, short and extended (ISO/IEC 7816-3, 12.1),
//! command chaining and GET RESPONSE (ISO/IEC 7816-4, 5.3), and BER-TLV data objects (5.2.2).
//!
//! Both sides are here: a card decodes commands, joins chains and hands long answers out in pieces;
//! a host encodes commands and splits them. Not covered: secure messaging, logical channels other
//! than the basic one, ENVELOPE.
//!
//! ```
//! use iso7816::{Command, Ne};
//! let select = Command::new(0x00, 0xA4, 0x04, 0x00).with_data(&[0xA0, 0x00]).with_ne(Ne::SHORT);
//! let bytes = select.encode().unwrap();
//! assert_eq!(bytes, [0x00, 0xA4, 0x04, 0x00, 0x02, 0xA0, 0x00, 0x00]);
//! assert_eq!(Command::decode(&bytes).unwrap(), select);
//! ```

mod chain;
mod command;
mod response;
pub mod tlv;

pub use chain::{Chain, ChainError, Outbox, Step, split};
pub use command::{CHAINED, Command, CommandError, Ne};
pub use response::{Response, ResponseError, Status};

/// SELECT (7816-4, 11.2.2).
pub const SELECT: u8 = 0xA4;
/// GET RESPONSE (7816-4, 11.7.1).
pub const GET_RESPONSE: u8 = 0xC0;
