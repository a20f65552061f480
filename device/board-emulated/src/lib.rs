//! The emulated board: one process that is the silicon of one device.
//!
//! It holds what only silicon has (fuses, HUK, RPMB chip: [`silicon`]), is the boot ROM
//! ([`rom`]), the power button ([`device`]), the trusted screen and its keys ([`screen`]), and the
//! place where the modem's firmware runs ([`radio`]). The device's programs reach it through the
//! descriptors that it gives to the first of them, and through nothing else. The host's root can
//! read all of it: he is the attacker with the soldering iron.

pub mod backend;
pub mod control;
pub mod device;
pub mod fuses;
pub mod phone_screen;
pub mod places;
pub mod radio;
pub mod restarts;
pub mod rom;
pub mod rpmb_store;
pub mod screen;
pub mod secret_memory;
pub mod silicon;
pub mod sockets;
pub mod status;
pub mod trusted_screen;
pub mod wiping;
