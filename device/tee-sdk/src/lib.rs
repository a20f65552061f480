//! What a trusted application may use.
