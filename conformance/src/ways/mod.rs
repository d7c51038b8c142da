//! Ways of sending, as the ledger counts them and the benchmark times them.

pub mod methods;
pub mod sinks;
pub mod uring;
