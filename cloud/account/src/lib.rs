//! Accounts, sessions, devices bound to them.
