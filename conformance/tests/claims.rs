//! One test per claim, visible by its id: `cargo test --test claims splice.`
//!
//! A test passes if the experiment could be decided and did not contradict what was measured on this kernel's series. A claim
//! that cannot be tried here is reported as ignored, with the reason: it is not a pass.

use conformance::claims;
use conformance::lab::filesystems::find_scratch;
use conformance::run::record::Record;
use conformance::runner::Runner;
use conformance::verdict::{Judgement, Word};
use libtest_mimic::{Arguments, Completion, Trial};
use nocopy_host::kernel::running;

fn main() {
    let arguments = Arguments::from_args();
    let trials = claims::REGISTRY
        .all()
        .map(|claim| {
            Trial::ignorable_test(claim.id, move || {
                let release = running()?;
                let runner = Runner {
                    program: env!("CARGO_BIN_EXE_conformance").into(),
                    jobs: 1,
                    cpu_seconds: 60,
                    scratch: find_scratch(None).0,
                };
                let mut records = Vec::new();
                runner.run(
                    &[claim],
                    |_lost| {},
                    |claim, outcome, milliseconds| {
                        records.push(Record::of(claim, outcome, milliseconds, &release));
                    },
                )?;
                let [record] = &records[..] else {
                    return Err(format!("{} results", records.len()).into());
                };
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
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit();
}
