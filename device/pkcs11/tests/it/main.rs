//! What is in front of the token, called as programs call it: through the list of functions.

mod arguments;
mod calls;
mod forks;
mod keys;
mod memory;
mod operations;
mod pins;
