//! The modem's firmware: the device's only way to the network.
//!
//! Speaks HTTP on `/run/radio.sock`: `CONNECT host:port` (RFC 9110, 9.3.6) opens a connection to
//! one of the hosts that the board allows, `GET /position` tells where the device is. A thread
//! for each connection and direction; nothing wakes up while nothing happens.

pub mod relay;
pub mod request;
pub mod sandbox;
