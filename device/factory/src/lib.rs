//! Manufacture: keys, certificates, fuses and the signed flash image.
