//! No claim decides the same whatever the kernel did: what was seen is altered, fact by fact, and the verdict must turn.

use conformance::claim::Claim;
use conformance::claims;
use conformance::kernel::NEWEST;
use conformance::lab::filesystems::find_scratch;
use conformance::runner::Runner;
use conformance::runner::outcome::Outcome;
use conformance::verdict::{Expected, Fact, Lack, Observation, Value, Verdict};
use nocopy_host::kernel::running;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What each claim sees on this kernel, and the claims that another kernel or machine is needed for; others that cannot be tried are left out.
fn observations() -> (Vec<(&'static Claim, Observation)>, Vec<String>) {
    let runner = Runner {
        program: env!("CARGO_BIN_EXE_conformance").into(),
        jobs: 2,
        cpu_seconds: 60,
        scratch: find_scratch(None).0,
    };
    let mut seen = Vec::new();
    let mut not_here = Vec::new();
    let each = |claim: &Claim, outcome: Outcome, _: u64| match outcome {
        Outcome::Seen(observation) => {
            seen.push((
                claims::REGISTRY.find(claim.id).expect("it ran"),
                observation,
            ));
        }
        Outcome::Untestable(reason) => {
            println!("{} not tried: {reason}", claim.id);
            if matches!(reason.kind, Lack::Kernel | Lack::Device) {
                not_here.push(claim.id.to_owned());
            }
        }
        other => panic!("{}: {other:?}", claim.id),
    };
    runner
        .run(&claims::REGISTRY.all().collect::<Vec<_>>(), |_| {}, each)
        .expect("the supervisor starts");
    (seen, not_here)
}

/// Other values that a kernel could have brought about in place of this one.
fn alternatives(value: &Value) -> Vec<Value> {
    let counts = [0, 1, 2, 3, 4, 5, 16, 4096, 16384, 1000, 1 << 20, 16 << 20];
    match value {
        Value::Returned(_) | Value::Errno(_) => {
            let errnos = [
                libc::EINVAL,
                libc::EBADF,
                libc::EFAULT,
                libc::ENOSYS,
                libc::EAGAIN,
                libc::ENOPROTOOPT,
            ];
            counts
                .map(Value::Returned)
                .into_iter()
                .chain(errnos.map(Value::Errno))
                .chain([Value::Text("mapped".into())]) // where an address says nothing
                .collect()
        }
        Value::Count(count) => counts
            .into_iter()
            .chain([count + 1, count.saturating_sub(1), count / 2])
            .map(Value::Count)
            .collect(),
        Value::Text(_) => {
            let words = [
                "shared",
                "copied",
                "yes",
                "no",
                "the file's",
                "others",
                "has lost bytes",
                "still there",
                "elsewhere",
            ];
            words.map(|word| Value::Text(word.into())).to_vec()
        }
        Value::Entries(calls) => {
            let scaled = |by: fn(u64) -> u64| {
                Value::Entries(
                    calls
                        .iter()
                        .map(|(call, count)| (call.clone(), by(*count)))
                        .collect(),
                )
            };
            let one = calls
                .first()
                .map(|(call, _)| Value::Entries(vec![(call.clone(), 1)]));
            let two = calls
                .first()
                .map(|(call, _)| Value::Entries(vec![(call.clone(), 2)]));
            [scaled(|count| count * 2), Value::Entries(vec![])]
                .into_iter()
                .chain(one)
                .chain(two)
                .collect()
        }
        Value::Traced(_) => vec![],
    }
}

/// The observation with one fact changed (or with every fact changed that can be changed to the same value).
fn altered(seen: &Observation) -> Vec<Observation> {
    let with = |change: &dyn Fn(usize, &Fact) -> Value| {
        let mut other = Observation::new();
        for (index, fact) in seen.facts().iter().enumerate() {
            other.repeat(&Fact {
                value: change(index, fact),
                ..fact.clone()
            });
        }
        other
    };
    let mut all = Vec::new();
    for (changed, fact) in seen.facts().iter().enumerate() {
        for value in alternatives(&fact.value) {
            all.push(with(&|index, fact| {
                if index == changed {
                    value.clone()
                } else {
                    fact.value.clone()
                }
            }));
        }
    }
    for value in [
        Value::Returned(4),
        Value::Returned(4096),
        Value::Errno(libc::EINVAL),
    ] {
        let is_call = |fact: &Fact| matches!(fact.value, Value::Returned(_) | Value::Errno(_));
        all.push(with(&|_, fact| {
            if is_call(fact) {
                value.clone()
            } else {
                fact.value.clone()
            }
        }));
    }
    // What the claim needs.
    all.push(with(&|_, fact| match &fact.expected {
        Some(Expected::Fails(errno)) => Value::Errno(*errno),
        Some(Expected::Refused) => Value::Errno(libc::EINVAL),
        Some(Expected::Succeeds) => Value::Returned(1),
        Some(Expected::Is(number) | Expected::AtLeast(number) | Expected::AtMost(number)) => {
            Value::Count(*number)
        }
        Some(Expected::FewerThan(_)) => Value::Count(0),
        Some(Expected::Says(word)) => Value::Text(word.clone()),
        Some(Expected::SaysNot(word)) => Value::Text(format!("not {word}")),
        None => fact.value.clone(),
    }));
    // The word that must not be.
    all.push(with(&|_, fact| match &fact.expected {
        Some(Expected::SaysNot(word)) => Value::Text(word.clone()),
        _ => fact.value.clone(),
    }));
    // As where pages that were given away stay what they were, whatever is done to the file.
    all.push(with(&|_, fact| match fact.value {
        Value::Text(_) => Value::Text("as given".into()),
        _ => fact.value.clone(),
    }));
    // Both of two counts, as when two replicas are served alike.
    all.push(with(&|_, fact| match fact.value {
        Value::Count(_) => Value::Count(4096),
        _ => fact.value.clone(),
    }));
    all
}

#[test]
fn every_verdict_can_turn() {
    let (observations, not_here) = observations();
    let running = running().expect("this kernel has a release");
    for (claim, seen) in &observations {
        // Where an older kernel refuses the call there is nothing that could vary.
        if running.series >= NEWEST || claim.verdict(seen) == Verdict::Holds {
            // Some facts are of file systems that this machine may not have.
            let is_fact = |name: &&str| seen.facts().iter().any(|fact| fact.fact == *name);
            assert!(
                claim.varies.is_empty() || claim.varies.iter().any(is_fact),
                "{} has none of the facts {:?} that could vary",
                claim.id,
                claim.varies
            );
        }
    }
    // What needs a module, a program, a tracer, a device, or a call of a newer kernel, may not be had here.
    for claim in claims::REGISTRY
        .all()
        .filter(|claim| claim.modules.is_empty() && claim.programs.is_empty() && !claim.traced)
        .filter(|claim| !not_here.iter().any(|id| id == claim.id))
    {
        assert!(
            observations.iter().any(|(tried, _)| tried.id == claim.id),
            "{} could not be tried",
            claim.id
        );
    }
    // A missing fact panics in decide and is broken: not a turned verdict.
    std::panic::set_hook(Box::new(|_| {}));
    let stiff: Vec<&str> = observations
        .iter()
        .filter(|(claim, seen)| {
            let verdict = claim.verdict(seen);
            !altered(seen).iter().any(|other| {
                catch_unwind(AssertUnwindSafe(|| claim.verdict(other)))
                    .is_ok_and(|decided| decided != verdict)
            })
        })
        .map(|(claim, _)| claim.id)
        .collect();
    let _ = std::panic::take_hook();
    assert!(stiff.is_empty(), "no altered fact turns {stiff:?}");
}
