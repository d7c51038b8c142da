//! One test per claim, visible by its id: `cargo test --test claims splice.`
//!
//! A test passes if the experiment could be decided and did not contradict what was measured on this kernel's series. A claim
//! that cannot be tried here is reported as ignored, with the reason: it is not a pass.
//!
//! One run decides all of them, as `conformance check` does.

use conformance::claim::Claim;
use conformance::claims;
use conformance::lab::filesystems::find_scratch;
use conformance::run::record::Record;
use conformance::runner::Runner;
use conformance::verdict::{Judgement, Word};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nocopy_host::kernel;
use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

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
    let selected = claims::REGISTRY.all().filter(is_selected);
    let (waiting, trials): (Vec<_>, Vec<_>) = selected
        .map(|claim| {
            let (decided, record) = channel();
            let trial = Trial::ignorable_test(claim.id, move || judge(&record));
            ((claim, decided), trial)
        })
        .unzip();
    if !arguments.list {
        // Dropped senders end the wait of the tests that have no record.
        thread::spawn(move || decide(&waiting).expect("the runner runs"));
    }
    // They only wait: a second thread would show them in another order.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, trials).exit();
}

/// Decides the claims, and sends each record to its test.
fn decide(waiting: &[(&'static Claim, Sender<Record>)]) -> io::Result<()> {
    let release = kernel::running().map_err(io::Error::other)?;
    let runner = Runner {
        program: env!("CARGO_BIN_EXE_conformance").into(),
        jobs: thread::available_parallelism()?.get(),
        cpu_seconds: 60,
        scratch: find_scratch(None).0,
    };
    let claims: Vec<&Claim> = waiting.iter().map(|(claim, _)| *claim).collect();
    runner.run(
        &claims,
        |_lost| {},
        |claim, outcome, milliseconds| {
            let record = Record::of(claim, outcome, milliseconds, &release);
            for (_, decided) in waiting.iter().filter(|(other, _)| other.id == claim.id) {
                let _ = decided.send(record.clone());
            }
        },
    )
}

fn judge(record: &Receiver<Record>) -> Result<Completion, Failed> {
    let record = record.recv().map_err(|_| "no result")?;
    match (record.verdict, record.judgement) {
        (Word::Broken | Word::TimeOut, _) => Err(format!(
            "{}: {}",
            record.verdict.text(),
            record.failure.as_deref().unwrap_or_default()
        )
        .into()),
        (Word::Untestable, _) => {
            let reason = record.reason.as_ref().map(ToString::to_string);
            Ok(Completion::ignored_with(reason.unwrap_or_default()))
        }
        (_, Some(Judgement::Changed)) => Err(format!(
            "{} here, otherwise before: {:?}",
            record.verdict.text(),
            record.observation
        )
        .into()),
        _ => Ok(Completion::Completed),
    }
}
