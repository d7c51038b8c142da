//! Redis and Valkey: files that are sent to a replica without a copy, and append-only files that are built from files.

pub mod aof;
pub mod bench;
pub mod dialogue;
pub mod rdb;
mod replica;
pub mod serve;
pub mod stop;
