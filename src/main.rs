//! The command line of aloud.

fn main() {}
