//! What is in front of the token, called as programs call it: through the list of functions.

mod arguments;
mod calls;
mod derived;
mod forks;
mod keys;
mod memory;
mod messages;
mod operations;
mod pins;
