//! Ways of sending that the ledger counts and the benchmark times.

pub mod methods;
pub mod sinks;
pub mod uring;
