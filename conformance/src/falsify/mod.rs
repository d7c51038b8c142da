//! Shows for every claim that its verdict could be a different one: applies lies to its experiment and looks at the verdict.
//!
//! Each experiment first runs without lies, and every call is recorded. Then it runs with one lie per run. There are four kinds:
//!
//! | kind | origin | required result |
//! |---|---|---|
//! | contradicting | named by the claim: the behaviour of a kernel on which the opposite is true | the verdict turns |
//! | blunt | derived: a call of its subject fails, succeeds, is not made, or returns other data | noticed: a fact differs, or no verdict |
//! | tolerable | derived: such a call is delayed, interrupted or does half, where the interface allows that | the verdict stays |
//! | set-up | derived: any other call is refused; one whose effect can be read back is not made, or halved | the same verdict, or none |
//!
//! A claim that no contradicting lie turns is unfalsifiable: red.

pub mod model;

use crate::claim::{Claim, Exception};
use crate::falsify::model::{Effect, Examined, Extent, Kind, Trial, listed};
use crate::interpose::derive;
use crate::interpose::derive::{places, places_of};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::Made;
use crate::run::record::Record;
use crate::runner::order::{Interposed, Limits, Report};
use crate::runner::{Runner, Task};
use crate::verdict::{Fact, Observation, Value, Word};
use nocopy_host::kernel::Release;
use std::collections::{BTreeSet, HashSet};
use std::io;
use syscalls::Sysno;

/// Limits of a run with a derived lie: some lies make an experiment wait for ever.
const LIED_TO: Limits = Limits { cpu_seconds: 3, wall_seconds: 4 };

/// Limits of a run with a lie about set-up: an experiment of less than a second, which may also wait for ever. A run that does not
/// end turns no verdict.
const LIED_TO_ABOUT_SET_UP: Limits = Limits { cpu_seconds: 2, wall_seconds: 2 };

/// Limits of the same run for a claim that starts servers.
const LIED_TO_WITH_SERVERS: Limits = Limits { cpu_seconds: 6, wall_seconds: 8 };

/// Examines `claims`; `progress` is called after each run with a lie, with the number of runs done and of all runs.
///
/// # Errors
///
/// If the runner cannot be started.
pub fn examine(
    runner: &Runner,
    claims: &[&'static Claim],
    running: &Release,
    extent: Extent,
    mut progress: impl FnMut(usize, usize),
) -> io::Result<Vec<Examined>> {
    // Three times, because facts that differ between runs without lies show nothing about a lie. One of them runs without the tracer
    // that applies lies later: the tracer itself must not change the facts.
    let truthful = |claim: &&'static Claim| {
        [Interposed::Recorder, Interposed::Recorder, Interposed::AsClaimed].map(|interposed| Task {
            claim,
            interposed,
            limits: None,
        })
    };
    let tasks: Vec<Task<'_>> = claims.iter().flat_map(truthful).collect();
    let mut reports = collect(runner, &tasks, |_| {})?.into_iter();
    let mut next = || reports.next().expect("three per claim");
    let truths: Vec<Truth> = claims.iter().map(|claim| Truth::of(claim, [next(), next(), next()], running)).collect();

    let mut told: Vec<(usize, Lie, Kind)> = Vec::new();
    for (index, (claim, truth)) in claims.iter().zip(&truths).enumerate() {
        if truth.unstable.is_none() && matches!(truth.record.verdict, Word::Holds | Word::Refuted) {
            let holds = truth.record.verdict == Word::Holds;
            let lies = lies(claim, &truth.calls, holds, extent);
            told.extend(lies.into_iter().map(|(lie, kind)| (index, lie, kind)));
        }
    }
    let tasks: Vec<Task<'_>> = told
        .iter()
        .map(|(index, lie, kind)| Task {
            claim: claims[*index],
            interposed: Interposed::Liar(*lie),
            limits: match kind {
                Kind::SetUp if !claims[*index].programs.is_empty() => Some(LIED_TO_WITH_SERVERS),
                Kind::SetUp => Some(LIED_TO_ABOUT_SET_UP),
                Kind::Blunt => Some(LIED_TO),
                Kind::Contradicting | Kind::Tolerable => None,
            },
        })
        .collect();
    let mut done = 0;
    let reports = collect(runner, &tasks, |_| {
        done += 1;
        progress(done, told.len());
    })?;

    let mut examined: Vec<Examined> = claims
        .iter()
        .zip(&truths)
        .map(|(claim, truth)| Examined {
            id: claim.id.to_owned(),
            verdict: truth.record.verdict,
            why: truth.unstable.clone().or_else(|| sentence(&truth.record)),
            controls: has_controls(claim),
            lacking: truth.record.verdict == Word::Refuted && is_excused_where_refuted(claim),
            trials: Vec::new(),
        })
        .collect();
    for ((index, lie, kind), report) in told.into_iter().zip(reports) {
        let claim = claims[index];
        let (effect, said) = truths[index].compare(claim, report, running);
        let excepted = match kind {
            Kind::SetUp => is_listed(claim, &lie),
            _ => claim.exceptions.iter().any(|one| one.covers(&lie)),
        };
        examined[index].trials.push(Trial { lie, kind, effect, said, excepted });
    }
    Ok(examined)
}

fn is_listed(claim: &Claim, lie: &Lie) -> bool {
    listed().iter().any(|one| one.covers(claim.id, lie))
}

fn is_excused_where_refuted(claim: &Claim) -> bool {
    let is_one = |exception: &Exception| matches!(exception, Exception::Lacking(_));
    claim.exceptions.iter().any(is_one)
}

fn has_controls(claim: &Claim) -> bool {
    let is_one = |exception: &Exception| matches!(exception, Exception::Controls(_));
    claim.exceptions.iter().any(is_one)
}

/// Runs tasks, and returns their reports in the tasks' order.
fn collect(runner: &Runner, tasks: &[Task<'_>], mut each: impl FnMut(usize)) -> io::Result<Vec<Report>> {
    let mut reports: Vec<Option<Report>> = tasks.iter().map(|_| None).collect();
    runner.run_tasks(
        tasks,
        |_| {},
        |index, report| {
            reports[index] = Some(report);
            each(index);
        },
    )?;
    Ok(reports.into_iter().map(|report| report.expect("every task has one report")).collect())
}

/// The result of an experiment without lies.
struct Truth {
    record: Record,
    /// The facts that the runs without lies have in common.
    stable: Vec<Fact>,
    /// The facts whose numbers or words differ between the runs without lies.
    varying: Vec<Fact>,
    calls: Vec<Made>,
    /// Why two runs without lies do not agree.
    unstable: Option<String>,
}

impl Truth {
    fn of(claim: &Claim, reports: [Report; 3], running: &Release) -> Self {
        let [mut first, second, plain] = reports;
        let calls = std::mem::take(&mut first.calls);
        let [record, second, plain] =
            [first, second, plain].map(|report| Record::of(claim, report.outcome, 0, running));
        let words = [&plain, &record, &second].map(|record| record.verdict.text());
        let why = [&plain, &record, &second].map(|record| match &record.failure {
            Some(failure) => format!("{} ({failure})", record.verdict.text()),
            None => record.verdict.text().to_owned(),
        });
        let unstable = if words[1] != words[2] {
            Some(format!("one run says {}, the next {}", why[1], why[2]))
        } else if words[0] != words[1] {
            Some(format!("{}, but {} under a tracer", why[0], why[1]))
        } else {
            None
        };
        // A fact that may vary is not stable because three runs agreed.
        let in_all = |fact: &Fact| {
            !claim.varies.contains(&fact.fact.as_str())
                && [&second, &plain].iter().all(|other| facts(other.observation.as_ref()).contains(fact))
        };
        let (stable, varying) = facts(record.observation.as_ref()).iter().cloned().partition(in_all);
        // A claim with controls is reported as it is without a tracer.
        let record = if has_controls(claim) { plain } else { record };
        Self { record, stable, varying, calls, unstable }
    }

    fn compare(&self, claim: &Claim, report: Report, running: &Release) -> (Effect, Option<String>) {
        let told = report.told;
        let record = Record::of(claim, report.outcome, 0, running);
        if told == 0 {
            return (Effect::NotTold, None);
        }
        let seen = facts(record.observation.as_ref());
        let effect = match record.verdict {
            Word::Broken => Effect::Stopped,
            Word::TimeOut | Word::NotReached => Effect::TimedOut,
            Word::Untestable => Effect::Untestable,
            word if word != self.record.verdict => Effect::Turned,
            _ if self.stable.iter().all(|fact| seen.contains(fact))
                && self.varying.iter().all(|fact| seen.iter().any(|other| is_alike(fact, other)))
                && seen.len() == facts(self.record.observation.as_ref()).len() =>
            {
                Effect::Unnoticed
            }
            _ => Effect::Seen,
        };
        (effect, sentence(&record))
    }
}

/// Whether two facts differ at most in a number or a word. A failed call and a successful one are not alike, nor are two different errnos.
fn is_alike(one: &Fact, other: &Fact) -> bool {
    let values = (&one.value, &other.value);
    let same = match values {
        (Value::Errno(one), Value::Errno(other)) => one == other,
        (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
    };
    same && one.fact == other.fact
}

fn facts(seen: Option<&Observation>) -> &[Fact] {
    seen.map_or(&[], Observation::facts)
}

/// Why there is no verdict.
fn sentence(record: &Record) -> Option<String> {
    let reason = record.reason.as_ref().map(ToString::to_string);
    record.failure.clone().or(reason)
}

/// The lies that are applied to a claim.
fn lies(claim: &Claim, calls: &[Made], holds: bool, extent: Extent) -> Vec<(Lie, Kind)> {
    let contradicting = claim.lies.iter().filter(|lie| lie.applies(calls, holds));
    let mut told: Vec<(Lie, Kind)> = contradicting.map(|lie| (*lie, Kind::Contradicting)).collect();
    let named: HashSet<_> = claim.lies.iter().map(|lie| (lie.call.id(), std::mem::discriminant(&lie.what))).collect();
    let mut derived: Vec<(Lie, Kind)> = claim
        .about
        .iter()
        .flat_map(|call| places(*call, calls))
        .flat_map(|(place, made)| derive::about_subject(place, &made))
        .map(|lie| (lie, if lie.is_tolerable() { Kind::Tolerable } else { Kind::Blunt }))
        // A lie that contradicts the claim is not tolerable to it. An additional call is not tolerable to a claim that counts calls.
        .filter(|(lie, kind)| {
            let is_named = named.contains(&(lie.call.id(), std::mem::discriminant(&lie.what)));
            let adds_a_call = matches!(lie.what, What::Interrupted | What::Shortened);
            !(*kind == Kind::Tolerable && (is_named || (claim.traced && adds_a_call)))
        })
        .collect();
    let mut set_up: Vec<(Lie, Kind)> = set_up_lies(claim, calls).into_iter().map(|lie| (lie, Kind::SetUp)).collect();
    match extent {
        Extent::Whole => {}
        Extent::Guest => set_up = set_up.into_iter().step_by(3).collect(),
        Extent::Sampled(count) => {
            derived = spread(derived, count);
            let (kept, others) = set_up.into_iter().partition(|(lie, _)| is_listed(claim, lie));
            set_up = kept;
            set_up.extend(spread(others, count.div_ceil(6)));
        }
    }
    told.extend(derived);
    told.extend(set_up);
    told
}

/// At most `count` of them, evenly spread over all: the same sample every time, with every kind of lie in it.
fn spread<T>(all: Vec<T>, count: usize) -> Vec<T> {
    let step = all.len().div_ceil(count.max(1)).max(1);
    all.into_iter().step_by(step).collect()
}

/// The lies about calls that the claim is not about: its set-up and its checks.
fn set_up_lies(claim: &Claim, calls: &[Made]) -> Vec<Lie> {
    // If a lie ends a server of NFS, the kernel waits for the server, and the wait cannot be ended.
    if claim.modules.contains(&"nfsd") {
        return Vec::new();
    }
    let kinds: BTreeSet<(u64, bool)> = calls.iter().map(|made| (made.number, made.aside)).collect();
    let mut lies = Vec::new();
    for (number, aside) in kinds {
        let Some(call) = usize::try_from(number).ok().and_then(Sysno::new) else {
            continue;
        };
        let is_subject = claim.about.contains(&call) || claim.lies.iter().any(|lie| lie.call == call);
        let observes = !aside && (is_subject || OBSERVING.contains(&call));
        if observes || MACHINERY.contains(&call) {
            continue;
        }
        let places = places_of(call, calls, aside);
        for (at, (place, made)) in places.iter().enumerate() {
            let thread = |at: usize| places.get(at).map(|(_, made)| made.thread);
            let is_first = at.checked_sub(1).and_then(thread) != Some(made.thread);
            let is_last = thread(at + 1) != Some(made.thread);
            let refusals = match (is_first, is_last) {
                (true, true) => &REFUSALS[..],
                (true, false) => &REFUSALS[..1],
                (false, true) => &REFUSALS[1..],
                // Calls between them have no lie.
                (false, false) => continue,
            };
            lies.extend(derive::about_set_up(*place, made, refusals));
        }
    }
    if claim.programs.is_empty() { lies } else { spread(lies, WITH_PROGRAMS) }
}

/// The errnos of a refused set-up: from a filter, and from a kernel in trouble. Of several calls, the first gets one, the last the
/// other.
const REFUSALS: [i32; 2] = [libc::EPERM, libc::EIO];
/// The number of lies about set-up for a claim that starts servers, which takes seconds.
const WITH_PROGRAMS: usize = 6;

/// Calls by which an experiment sees what arrived. Their result is the observation, so a lie about them is a lie about the kernel.
const OBSERVING: &[Sysno] =
    &[Sysno::read, Sysno::pread64, Sysno::readv, Sysno::preadv, Sysno::recvfrom, Sysno::recvmsg];

/// Calls of the language's runtime: memory, threads, signals, and closing of descriptors.
const MACHINERY: &[Sysno] = &[
    Sysno::brk,
    Sysno::clock_nanosleep,
    Sysno::clone,
    Sysno::clone3,
    Sysno::close,
    Sysno::exit,
    Sysno::exit_group,
    Sysno::futex,
    Sysno::getpid,
    Sysno::getrandom,
    Sysno::gettid,
    Sysno::membarrier,
    Sysno::munmap,
    Sysno::nanosleep,
    Sysno::rseq,
    Sysno::rt_sigaction,
    Sysno::rt_sigprocmask,
    Sysno::rt_sigreturn,
    Sysno::sched_getaffinity,
    Sysno::sched_yield,
    Sysno::set_robust_list,
    Sysno::set_tid_address,
    Sysno::sigaltstack,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::falsify::model::{MOST_LISTED, Score, Share, score};
    use crate::interpose::lie::Which;
    use rstest::rstest;

    fn made(thread: u32, call: Sysno, result: i64) -> Made {
        Made { thread, number: call as u64, arguments: [3, 0x1000, 64, 0, 0, 0], result, aside: false }
    }

    fn trial(kind: Kind, effect: Effect) -> Trial {
        Trial { lie: Lie::skipped(Sysno::read), kind, effect, said: None, excepted: false }
    }

    fn examined(trials: Vec<Trial>) -> Examined {
        Examined { id: "a.b.c".into(), verdict: Word::Holds, why: None, controls: false, lacking: false, trials }
    }

    #[rstest]
    #[case(Kind::Contradicting, Effect::Turned, true)]
    #[case(Kind::Contradicting, Effect::Untestable, false)]
    #[case(Kind::Contradicting, Effect::Stopped, false)]
    #[case(Kind::Contradicting, Effect::TimedOut, false)]
    #[case(Kind::Contradicting, Effect::Seen, false)]
    #[case(Kind::Contradicting, Effect::Unnoticed, false)]
    #[case(Kind::Blunt, Effect::Unnoticed, false)]
    #[case(Kind::Blunt, Effect::Seen, true)]
    #[case(Kind::Blunt, Effect::Stopped, true)]
    #[case(Kind::Tolerable, Effect::Unnoticed, true)]
    #[case(Kind::Tolerable, Effect::Seen, true)]
    #[case(Kind::Tolerable, Effect::Turned, false)]
    #[case(Kind::Tolerable, Effect::Untestable, false)]
    #[case(Kind::Tolerable, Effect::Stopped, false)]
    #[case(Kind::Tolerable, Effect::TimedOut, false)]
    #[case(Kind::SetUp, Effect::Turned, false)]
    #[case(Kind::SetUp, Effect::Stopped, true)]
    #[case(Kind::SetUp, Effect::Untestable, true)]
    #[case(Kind::SetUp, Effect::Seen, true)]
    #[case(Kind::SetUp, Effect::Unnoticed, true)]
    fn what_must_come_of_a_lie(#[case] kind: Kind, #[case] effect: Effect, #[case] good: bool) {
        assert_eq!(trial(kind, effect).is_good(), good);
    }

    #[test]
    fn a_claim_that_nothing_turns_is_red_and_counts() {
        let turned = || trial(Kind::Contradicting, Effect::Turned);
        assert_eq!(examined(vec![turned()]).red(), Vec::<String>::new());

        let stiff = examined(vec![trial(Kind::Blunt, Effect::Turned)]);
        assert!(stiff.red()[0].contains("unfalsifiable"), "{:?}", stiff.red());
        let untold = examined(vec![trial(Kind::Contradicting, Effect::NotTold)]);
        assert!(untold.red()[0].contains("unfalsifiable"), "{:?}", untold.red());

        let unnoticed = examined(vec![turned(), trial(Kind::Blunt, Effect::Unnoticed)]);
        assert_eq!(unnoticed.red().len(), 1);
        let excepted = Trial { excepted: true, ..trial(Kind::Blunt, Effect::Unnoticed) };
        let excused = examined(vec![turned(), excepted]);
        assert!(excused.red().is_empty());

        let score = score(&[stiff, unnoticed, excused]);
        assert_eq!(score.falsifiable, Share { good: 2, all: 3 });
        assert_eq!(score.contradicting, Share { good: 2, all: 2 });
        assert_eq!(score.blunt, Share { good: 1, all: 2 });
        assert_eq!(score.tolerable, Share::default());
    }

    #[test]
    fn controls_stand_for_lies_and_an_untried_claim_for_nothing() {
        let controlled =
            Examined { controls: true, why: Some("refuted, but holds under a tracer".into()), ..examined(vec![]) };
        assert!(controlled.red().is_empty());
        let untried = Examined { verdict: Word::Untestable, ..examined(vec![]) };
        assert!(untried.red().is_empty());
        assert_eq!(score(&[untried]), Score::default());
        let broken = Examined { verdict: Word::Broken, ..examined(vec![]) };
        assert_eq!(broken.red().len(), 1);
        let perturbed = Examined {
            why: Some("refuted, but holds under a tracer".into()),
            ..examined(vec![trial(Kind::Contradicting, Effect::Turned)])
        };
        assert_eq!(perturbed.red().len(), 1);
    }

    #[test]
    fn facts_that_vary_in_a_number_are_alike() {
        let fact = |value| Fact { fact: "call".into(), value, expected: None };
        let [one, two] = [1, 2].map(|number| fact(Value::Returned(number)));
        let [bad, worse] = [libc::EINVAL, libc::EIO].map(|errno| fact(Value::Errno(errno)));
        assert!(is_alike(&one, &two) && is_alike(&bad, &bad));
        assert!(!is_alike(&one, &bad) && !is_alike(&bad, &worse));
        let other = Fact { fact: "other call".into(), ..one.clone() };
        assert!(!is_alike(&one, &other));
    }

    #[test]
    fn lies_are_told_at_the_first_two_and_the_last_call_of_each_thread() {
        let mut calls: Vec<Made> = (0..5).map(|_| made(0, Sysno::read, 8)).collect();
        calls.insert(1, made(1, Sysno::read, 8));
        calls.insert(2, made(0, Sysno::write, 8));
        let places: Vec<Which> = places(Sysno::read, &calls).into_iter().map(|(lie, _)| lie.which).collect();
        let one = |thread, after| Which::One { thread, after };
        assert_eq!(places, [one(0, 0), one(0, 1), one(0, 4), one(1, 0)]);
    }

    #[test]
    fn the_allocators_mappings_are_not_lied_about() {
        let anonymous = Made { arguments: [0, 4096, 3, 0x22, u64::from(u32::MAX), 0], ..made(0, Sysno::mmap, 0x7000) };
        let file = Made { arguments: [0, 4096, 1, 2, 5, 0], ..anonymous };
        let places = places(Sysno::mmap, &[anonymous, file, anonymous]);
        let which: Vec<Which> = places.iter().map(|(lie, _)| lie.which).collect();
        assert_eq!(which, [Which::One { thread: 0, after: 1 }]);
    }

    #[rstest]
    // A success can be refused, skipped, or be of too few bytes; it cannot be of more bytes than were asked for.
    #[case(made(0, Sysno::read, 64), What::TooFew, true)]
    #[case(made(0, Sysno::read, 64), What::TooMany, false)]
    #[case(made(0, Sysno::read, 8), What::TooMany, true)]
    #[case(made(0, Sysno::read, 64), What::Skipped, true)]
    #[case(made(0, Sysno::read, 64), What::Accepted, false)]
    #[case(made(0, Sysno::read, 64), What::Shortened, true)]
    #[case(made(0, Sysno::read, 1), What::Shortened, false)]
    #[case(made(0, Sysno::read, 0), What::TooFew, false)]
    // A failure can be another one, or a success.
    #[case(made(0, Sysno::read, -22), What::Accepted, true)]
    #[case(made(0, Sysno::read, -22), What::OtherErrno(libc::EIO), true)]
    #[case(made(0, Sysno::read, -22), What::OtherErrno(libc::EINVAL), false)]
    #[case(made(0, Sysno::read, -22), What::Skipped, false)]
    // sendfile() has no EINTR in its manual page.
    #[case(made(0, Sysno::read, 64), What::Interrupted, true)]
    #[case(made(0, Sysno::sendfile, 64), What::Interrupted, false)]
    fn what_is_told_of_a_call(#[case] made: Made, #[case] what: What, #[case] told: bool) {
        let call = Sysno::new(usize::try_from(made.number).expect("small")).expect("a call");
        let [(place, at)] = &places(call, &[made])[..] else { panic!("one call, one place") };
        assert_eq!(derive::about_subject(*place, at).iter().any(|lie| lie.what == what), told);
    }

    const CLAIM: Claim = Claim {
        about: &[Sysno::read],
        lies: &[
            Lie::shortened(Sysno::read),
            Lie::refused(Sysno::read, libc::EIO).where_it(false),
            Lie::accepted(Sysno::read),
        ],
        ..Claim::observing("a.b.c", |_| Ok(Observation::new()))
    };

    #[test]
    fn what_contradicts_is_told_where_it_does_and_not_again_as_tolerable() {
        let calls = [made(0, Sysno::read, 64)];
        let told = lies(&CLAIM, &calls, true, Extent::Whole);
        let contradicting: Vec<&Lie> =
            told.iter().filter(|(_, kind)| *kind == Kind::Contradicting).map(|(lie, _)| lie).collect();
        assert_eq!(contradicting, [&Lie::shortened(Sysno::read)]);
        let tolerable = |what| told.iter().any(|(lie, kind)| *kind == Kind::Tolerable && lie.what == what);
        assert!(tolerable(What::Delayed) && tolerable(What::Interrupted));
        assert!(!tolerable(What::Shortened));
        let refuted = lies(&CLAIM, &calls, false, Extent::Whole);
        assert!(refuted.contains(&(CLAIM.lies[1], Kind::Contradicting)));
        let traced = Claim { traced: true, ..CLAIM };
        let told = lies(&traced, &calls, true, Extent::Whole);
        assert!(!told.iter().any(|(lie, _)| lie.what == What::Interrupted));
    }

    #[test]
    fn what_a_claim_is_not_about_is_refused_and_what_can_be_read_back_is_left_undone() {
        let aside = |call, result| Made { aside: true, ..made(0, call, result) };
        let calls = [
            made(0, Sysno::read, 64),
            made(0, Sysno::pread64, 64),
            made(0, Sysno::setsockopt, 0),
            aside(Sysno::read, 64),
            aside(Sysno::write, 64),
            aside(Sysno::mincore, -i64::from(libc::ENOMEM)),
            aside(Sysno::futex, 0),
        ];
        let told = set_up_lies(&CLAIM, &calls);
        let whats = |call: Sysno, aside: bool| -> Vec<What> {
            let of_it = told.iter().filter(|lie| lie.call == call && lie.aside == aside);
            of_it.map(|lie| lie.what).collect()
        };
        let [eperm, eio] = [libc::EPERM, libc::EIO].map(What::Refused);
        // Calls that the claim is about, calls that show what came, and calls of the language's runtime are not set-up.
        assert_eq!(whats(Sysno::read, false), []);
        assert_eq!(whats(Sysno::pread64, false), []);
        assert_eq!(whats(Sysno::futex, true), []);
        assert_eq!(whats(Sysno::setsockopt, false), [eperm, eio, What::Undone(0)]);
        assert_eq!(whats(Sysno::read, true), [eperm, eio, What::Shortened]);
        assert_eq!(whats(Sysno::write, true), [eperm, eio, What::Shortened, What::Undone(0)]);
        let others = [libc::EPERM, libc::EIO].map(What::OtherErrno);
        assert_eq!(whats(Sysno::mincore, true), others);
    }

    #[test]
    fn the_list_of_turned_claims_is_short_and_of_claims_that_there_are() {
        let claims: BTreeSet<&str> = listed().iter().map(|one| one.claim.as_str()).collect();
        assert!(claims.len() <= MOST_LISTED, "{} claims", claims.len());
        let mut seen = BTreeSet::new();
        for one in listed() {
            assert!(crate::claims::REGISTRY.find(&one.claim).is_some(), "{one:?}");
            assert!(one.call.parse::<Sysno>().is_ok(), "{one:?}");
            assert!(!one.because.is_empty(), "{one:?}");
            assert!(seen.insert((&one.claim, &one.call, one.aside)), "{one:?}");
        }
    }

    #[test]
    fn a_sample_is_the_same_every_time_and_has_what_contradicts() {
        let calls = [made(0, Sysno::read, 64)];
        let whole = lies(&CLAIM, &calls, true, Extent::Whole);
        let sample = lies(&CLAIM, &calls, true, Extent::Sampled(3));
        assert_eq!(sample, lies(&CLAIM, &calls, true, Extent::Sampled(3)));
        assert!(sample.len() <= 4 && sample.len() < whole.len());
        assert_eq!(sample[0].1, Kind::Contradicting);
        assert!(sample.iter().all(|told| whole.contains(told)));
    }
}
