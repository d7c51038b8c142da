//! Redis and Valkey: what can be sent to a replica without a copy, and put together as an append-only file.

pub mod aof;
pub mod bench;
pub mod rdb;
mod replica;
pub mod serve;
pub mod stop;
