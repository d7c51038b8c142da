//! Every claim is lied to: `cargo test --test falsify splice.`
//!
//! A test passes if each of the claim's contradicting lies turns its verdict, and a sample of the derived lies comes out as its
//! kind demands (the same sample every time; `just falsify` tells them all). No lie about its set-up turns it, but for the calls that
//! fixtures/falsify/turned.toml lists: those have to turn it. A claim that cannot be tried here is ignored.

use conformance::claims;
use conformance::falsify::examine;
use conformance::falsify::model::Extent;
use conformance::lab::filesystems::find_scratch;
use conformance::runner::Runner;
use conformance::verdict::Word;
use libtest_mimic::{Arguments, Completion, Trial};
use nocopy_host::kernel::running;

/// How many of the derived lies a claim is told.
const SAMPLE: usize = 6;

fn main() {
    let arguments = Arguments::from_args();
    let trials = claims::REGISTRY.all().map(|claim| {
        Trial::ignorable_test(claim.id, move || {
            let runner = Runner {
                program: env!("CARGO_BIN_EXE_conformance").into(),
                jobs: 4,
                cpu_seconds: 60,
                scratch: find_scratch(None).0,
            };
            let release = running()?;
            let extent = Extent::Sampled(SAMPLE);
            let examined = examine(&runner, &[claim], &release, extent, |_, _| {})?;
            let [examined] = &examined[..] else {
                return Err(format!("{} results", examined.len()).into());
            };
            let mut red = examined.red();
            red.extend(examined.stale().into_iter().map(|one| {
                format!(
                    "no lie about {}() turns it any more: strike it out of fixtures/falsify/turned.toml",
                    one.call
                )
            }));
            if !red.is_empty() {
                Err(red.join("; ").into())
            } else if examined.verdict == Word::Untestable {
                Ok(Completion::ignored_with(
                    examined.why.clone().unwrap_or_default(),
                ))
            } else {
                Ok(Completion::Completed)
            }
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
