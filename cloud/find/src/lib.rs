//! Find device and activation lock.
