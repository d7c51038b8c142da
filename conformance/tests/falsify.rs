//! Every claim is lied to: `cargo test --test falsify splice.`
//!
//! A test passes if each of the claim's contradicting lies turns its verdict, and a sample of the derived lies comes out as its
//! kind demands (the same sample every time; `just falsify` tells them all). No lie about its set-up turns it, but for the calls that
//! fixtures/falsify/turned.toml lists: those have to turn it. A claim that cannot be tried here is ignored.
//!
//! The claims are examined many at a time. One at a time, an experiment that a lie makes wait leaves the processors idle.

use conformance::claim::Claim;
use conformance::claims;
use conformance::falsify::examine;
use conformance::falsify::model::{Examined, Extent};
use conformance::lab::filesystems::find_scratch;
use conformance::runner::Runner;
use conformance::verdict::Word;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nocopy_host::kernel;
use std::sync::{Arc, OnceLock};
use std::thread;

/// How many of the derived lies a claim is told.
const SAMPLE: usize = 6;
/// How many claims are examined together. The results of one group are shown while the next one is examined.
const GROUP: usize = 100;

/// What the examination of some claims has found, in their order.
type Found = OnceLock<Result<Vec<Examined>, String>>;

fn main() {
    let mut arguments = Arguments::from_args();
    let is_named = |id: &str, name: &str| {
        if arguments.exact {
            id == name
        } else {
            id.contains(name)
        }
    };
    let is_selected = |claim: &&Claim| {
        let mut filters = arguments.filter.iter();
        filters.all(|name| is_named(claim.id, name))
            && !arguments.skip.iter().any(|name| is_named(claim.id, name))
    };
    let selected: Vec<&'static Claim> = claims::REGISTRY.all().filter(is_selected).collect();
    let groups: Vec<(Vec<&'static Claim>, Arc<Found>)> = selected
        .chunks(GROUP)
        .map(|group| (group.to_vec(), Arc::default()))
        .collect();
    let trials = groups.iter().flat_map(|(group, found)| {
        group.iter().enumerate().map(|(index, claim)| {
            let found = Arc::clone(found);
            Trial::ignorable_test(claim.id, move || judge(found.wait(), index))
        })
    });
    let trials: Vec<Trial> = trials.collect();
    if !arguments.list {
        thread::spawn(move || {
            for (group, found) in groups {
                let examined = examine_all(&group).map_err(|failed| failed.to_string());
                found.set(examined).expect("set once");
            }
        });
    }
    // They only wait: a second thread would show them in another order.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
}

fn examine_all(claims: &[&'static Claim]) -> std::io::Result<Vec<Examined>> {
    let runner = Runner {
        program: env!("CARGO_BIN_EXE_conformance").into(),
        jobs: 4 * thread::available_parallelism()?.get(),
        cpu_seconds: 60,
        scratch: find_scratch(None).0,
    };
    let release = kernel::running().map_err(std::io::Error::other)?;
    let extent = Extent::Sampled(SAMPLE);
    examine(&runner, claims, &release, extent, |_, _| {})
}

fn judge(found: &Result<Vec<Examined>, String>, index: usize) -> Result<Completion, Failed> {
    let examined = found.as_ref()?;
    let examined = examined.get(index).ok_or("no result")?;
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
        let why = examined.why.clone().unwrap_or_default();
        Ok(Completion::ignored_with(why))
    } else {
        Ok(Completion::Completed)
    }
}
