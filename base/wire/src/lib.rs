//! The messages between device and cloud.
