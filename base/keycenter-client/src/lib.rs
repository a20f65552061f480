//! How a program asks the Key Center (Vault Transit HTTP API).
