//! Transfers of bytes: grids of sizes, offsets and descriptors, the routes, and the soak. `cargo test --test transfers routes::` runs
//! those of one file.

mod common;
mod grids;
mod routes;
mod soak;
