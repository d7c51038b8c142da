//! A run: its results, their stored form, the records of every kernel, and the conditions for red.

#![forbid(unsafe_code)]

pub mod answer;
pub mod jsonl;
pub mod record;
pub mod recorded;
pub mod red;
pub mod stored;
pub mod table;
pub mod text;
