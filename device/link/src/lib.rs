//! The device's end of the cloud: sync, push, find.
