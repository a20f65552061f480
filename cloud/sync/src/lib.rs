//! Encrypted block storage and snapshots.
