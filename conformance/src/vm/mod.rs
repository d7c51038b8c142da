//! The claims, the grids and the workspace's tests on other kernels. `on_kernel` boots these and runs this program there.

pub mod chosen;
pub mod grids;
pub mod matrix;
pub mod programs;
pub mod workspace;
