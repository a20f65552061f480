//! What a flash image is made of: GPT, Android boot image, newc cpio, A/B metadata in misc.
