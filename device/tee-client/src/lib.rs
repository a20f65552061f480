//! How the REE calls trusted applications.
