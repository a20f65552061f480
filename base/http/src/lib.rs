//! HTTP over TLS with a pinned CA: the client and the listener that every service uses.
