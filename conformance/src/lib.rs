//! Decides claims about Linux zero-copy I/O on the running kernel.
//!
//! A [`claim`](claim::Claim) is a published sentence about `sendfile`, `splice`, `mmap`, `MSG_ZEROCOPY` or their neighbours, stated
//! as its source asserts it. The modules, in the order in which data flows:
//!
//! 1. [`claims`]: the registry. Each claim has an experiment, made with the [`lab`] and the routes of [`nocopy_transfer`].
//! 2. [`runner`]: runs every experiment in a separate process, with the [`interpose`]r if kernel entries are counted.
//! 3. The experiment's [`Observation`](verdict::Observation) is what the kernel did. The claim's pure `decide` turns it into a
//!    [`Verdict`](verdict::Verdict): holds, refuted or untestable.
//! 4. The [`Judgement`](verdict::Judgement) compares the verdict with what was measured on kernels around this one
//!    ([`kernel`]).
//! 5. [`run`]: the results, their stored form (JSON Lines), the results of every kernel of the matrix ([`run::recorded`]), and the
//!    red ones.
//! 6. [`report`]: prints results for people and for programs. [`pages`]: prints the registry: the catalogue, the versions that no
//!    measured kernel brackets, the coverage of other test suites. [`seed`] lists the statements of the source document in the
//!    document's order.
//!
//! Data flows one way: no file, module or package is in a circle with another, and the registry is passed to the code that needs it.
//! A test of `conformance/tools` checks this.
//!
//! To add a claim, add an entry to the file of its interface in [`claims`]: `docs/claims.md` walks through one.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the claims are about 64-bit Linux");

pub mod bench;
pub mod claim;
pub mod claims;
pub mod falsify;
pub mod fixtures;
pub mod foreign;
pub mod grids;
pub mod interpose;
pub mod kernel;
pub mod known;
pub mod lab;
pub mod ledger;
pub mod pages;
pub mod redis;
pub mod report;
pub mod run;
pub mod runner;
pub mod seed;
pub mod site;
pub mod soak;
pub mod surveys;
pub mod verdict;
#[cfg(feature = "vm")]
pub mod vm;
pub mod ways;
