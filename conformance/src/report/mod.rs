//! Reports of results: for a terminal, a page, or another program.

#![forbid(unsafe_code)]

pub mod diff;
pub mod human;
pub mod json;
pub mod junit;
pub mod kcidb;
pub mod ktap;
pub mod markdown;
