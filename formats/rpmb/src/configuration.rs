//! The device configuration: who may change the write protection of the user area (JESD84-B51,
//! 6.6.22.4.6 and 7.4.5 "Secure write protect").
//!
//! Two registers of one byte each, of which only bit 0 is defined. A request to write carries the
//! register's number in its address and the value in the last byte of its data; an answer to a
//! read carries register 1 in the last byte of its data and register 2 in the one before.

use crate::BLOCK_BYTES;
use crate::frame::{Block, Frame};

/// A register of the device configuration; its number is the address of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Register {
    /// `SECURE_WP_MODE_ENABLE`: write protection changes only while the mask allows it. Kept
    /// without power.
    SecureWpModeEnable = 1,
    /// `SECURE_WP_MODE_CONFIG`: the mask, 1 while write protection may change. 0 after power-on.
    SecureWpModeConfig = 2,
}

impl Register {
    /// From the address of a request.
    #[must_use]
    pub const fn from_address(address: u16) -> Option<Self> {
        match address {
            1 => Some(Self::SecureWpModeEnable),
            2 => Some(Self::SecureWpModeConfig),
            _ => None,
        }
    }

    /// The address of a request.
    #[must_use]
    pub const fn address(self) -> u16 {
        self as u16
    }
}

/// Both registers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Configuration {
    /// [`Register::SecureWpModeEnable`].
    pub secure_wp_mode_enable: bool,
    /// [`Register::SecureWpModeConfig`].
    pub secure_wp_mode_config: bool,
}

impl Configuration {
    /// The data of an answer to a read.
    #[must_use]
    pub fn encode(self) -> Block {
        let mut data = [0; BLOCK_BYTES];
        data[BLOCK_BYTES - 1] = u8::from(self.secure_wp_mode_enable);
        data[BLOCK_BYTES - 2] = u8::from(self.secure_wp_mode_config);
        data
    }

    /// Reads the data of an answer; bits that JEDEC does not define are ignored.
    #[must_use]
    pub const fn decode(data: &Block) -> Self {
        Self {
            secure_wp_mode_enable: data[BLOCK_BYTES - 1] & 1 != 0,
            secure_wp_mode_config: data[BLOCK_BYTES - 2] & 1 != 0,
        }
    }

    /// With what a request to write says; `None` where it sets a bit that is not defined.
    pub(crate) fn with(self, register: Register, request: &Frame) -> Option<Self> {
        let (unused, value) = request.data.split_at(BLOCK_BYTES - 1);
        if value[0] > 1 || unused.iter().any(|&byte| byte != 0) {
            return None;
        }
        let value = value[0] == 1;
        Some(match register {
            Register::SecureWpModeEnable => Self { secure_wp_mode_enable: value, ..self },
            Register::SecureWpModeConfig => Self { secure_wp_mode_config: value, ..self },
        })
    }
}
