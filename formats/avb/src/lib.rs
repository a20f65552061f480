//! Android Verified Boot 2.0: vbmeta, footers, descriptors, slot verification.
