//! The ringleader program.
fn main() {}
