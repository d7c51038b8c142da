//! A run: its results, their stored form, what every kernel did before, and what is red.

pub mod jsonl;
pub mod record;
pub mod recorded;
pub mod red;
pub mod stored;
pub mod table;
pub mod text;
