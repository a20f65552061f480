//! Messages to devices.
