//! Decides claims about Linux zero-copy I/O on the running kernel.
//!
//! A [`claim`](claim::Claim) is a sentence that somebody published about `sendfile`, `splice`, `mmap`, `MSG_ZEROCOPY` and
//! their neighbours, stated as its source asserts it. Read on in the order in which data flows:
//!
//! 1. [`claims`]: the registry. Each claim has an experiment, made with the [`lab`] and the [`routes`].
//! 2. [`runner`]: runs every experiment in a process of its own, with the [`interpose`]r where kernel entries are counted.
//! 3. The experiment's [`Observation`](verdict::Observation) is what the kernel did. The claim's pure `decide` makes it a
//!    [`Verdict`](verdict::Verdict): holds, refuted or untestable.
//! 4. The [`Judgement`](verdict::Judgement) compares the verdict with what was measured on kernels around this one
//!    ([`kernel`]).
//! 5. [`run`]: the results, their stored form (JSON Lines), what every kernel of the matrix did ([`run::recorded`]), and what is red.
//! 6. [`report`]: what is made of results, for people and for programs. [`pages`]: what is made of the registry: the catalogue, the
//!    versions that no measured kernel brackets, the coverage of other test suites. [`seed`] puts the source document's statements
//!    in their own order.
//!
//! Data flows one way: no file, module or package is in a circle with another, and the registry is passed to what needs it. A test
//! of `conformance/tools` says so.
//!
//! To add a claim, add an entry to the file of its interface in [`claims`]: `docs/claims.md` walks through one.

#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
compile_error!("the claims are about 64-bit Linux");

pub mod bench;
pub mod claim;
pub mod claims;
pub mod falsify;
pub mod foreign;
pub mod grids;
pub mod input;
pub mod interpose;
pub mod interrupt;
pub mod kernel;
pub mod lab;
pub mod ledger;
pub mod pages;
pub(crate) mod process;
pub mod redis;
pub mod replace;
pub mod report;
pub mod routes;
pub mod run;
pub mod runner;
pub mod seed;
pub mod soak;
pub mod surveys;
pub mod verdict;
#[cfg(feature = "vm")]
pub mod vm;
pub mod ways;
