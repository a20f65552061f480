//! CE and DE areas: per-file encryption, and the userdata partition.
