//! One guest for many commands: a process keeps it as long as the program lives that started the first command.
//!
//! ```text
//! cargo test ─┬─ on-kernel --keep (test program 1) ──┐
//!             ├─ on-kernel --keep (test program 2) ──┼── socket ── keeper ══ guest
//!             └─ ...                                 ┘
//! ```
//!
//! The first command starts the keeper, which boots the guest; the others find it by the name of its socket: their parent, their
//! user, and the machine that they want. When the parent ends, the keeper kills the guest and ends. If it is killed itself, the
//! guest dies with it, and the next command starts another one.

mod client;
mod keeper;
mod order;

pub use client::{Outcome, run};
pub use keeper::main;
pub use order::KEEP;
