//! Commands of the program that are more than a few lines.

pub mod vm;
