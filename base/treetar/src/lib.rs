//! A folder as a tar archive.
