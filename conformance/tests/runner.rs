//! The runner against experiments that misbehave. This program is its own supervisor, with claims of its own.
//!
//! Each experiment must end as what it is, in its time, with nothing left behind, and the next one must not notice.

use conformance::claim::Claim;
use conformance::lab::Lab;
use conformance::runner::{Outcome, Runner, SUPERVISE, supervisor};
use conformance::verdict::{Observation, Stop, Verdict};
use libtest_mimic::{Arguments, Failed, Trial};
use std::io::Write;
use std::path::Path;
use std::thread;
use std::time::Duration;

const fn claim(id: &'static str, run: fn(&Lab) -> Result<Observation, Stop>) -> Claim {
    Claim::new(id, run, |_| Verdict::Holds)
}

const CLAIMS: &[Claim] = &[
    claim("behaves", |_| Ok(Observation::new())),
    claim("panics", |_| panic!("on purpose")),
    claim("panics.in-a-thread", |_| {
        let _ = thread::spawn(|| panic!("on purpose")).join();
        Ok(Observation::new())
    }),
    claim("exits", |_| std::process::exit(0)),
    claim("exits.with-status", |_| std::process::exit(3)),
    claim("aborts", |_| std::process::abort()),
    claim("segfaults", |_| {
        // SAFETY: it is not, on purpose: the process ends here.
        unsafe { std::ptr::without_provenance_mut::<u8>(16).write_volatile(1) };
        Ok(Observation::new())
    }),
    claim("waits-for-ever", |_| {
        loop {
            thread::park();
        }
    }),
    claim("spins-for-ever", |_| {
        let mut turns = 0_u64;
        loop {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
    }),
    claim("floods-stderr", |_| {
        for _ in 0..10_000 {
            let _ = std::io::stderr().write_all(&[b'x'; 1000]);
        }
        Ok(Observation::new())
    }),
    claim("prints", |_| {
        println!("{{\"outcome\": \"garbage for the supervisor\"}}");
        Ok(Observation::new())
    }),
    claim("writes-everywhere", |_| {
        for fd in 3..64 {
            // SAFETY: writes a static; whatever the descriptor is, it is this process's.
            unsafe { libc::write(fd, c"garbage\n".as_ptr().cast(), 8) };
        }
        Ok(Observation::new())
    }),
    claim("closes-everything", |_| {
        for fd in 0..64 {
            // SAFETY: this process ends right after.
            unsafe { libc::close(fd) };
        }
        Ok(Observation::new())
    }),
    claim("forks-a-hundred", |_| {
        for _ in 0..100 {
            // SAFETY: one thread; the child waits to be killed.
            if unsafe { libc::fork() } == 0 {
                // SAFETY: setsid and pause take no pointers. A session of its own: no group kill reaches it.
                unsafe {
                    libc::setsid();
                    loop {
                        libc::pause();
                    }
                }
            }
        }
        Ok(Observation::new())
    }),
    claim("kills-its-group", |_| {
        // SAFETY: kill takes no pointer; 0 is the caller's own group.
        unsafe { libc::kill(0, libc::SIGKILL) };
        Ok(Observation::new())
    }),
    claim("kills-its-parent", |_| {
        // SAFETY: kill takes no pointer. In a PID namespace the parent is process 1, which ignores its children's signals.
        unsafe { libc::kill(libc::getppid(), libc::SIGKILL) };
        loop {
            thread::sleep(Duration::from_millis(10));
        }
    }),
    claim("stops-itself", |_| {
        // SAFETY: raise takes no pointer.
        unsafe { libc::raise(libc::SIGSTOP) };
        Ok(Observation::new())
    }),
    Claim {
        traced: true,
        ..claim("traced.panics", |lab| {
            let _ = lab.entries(|| panic!("on purpose"));
            Ok(Observation::new())
        })
    },
    Claim {
        traced: true,
        ..claim("traced.leaves-threads", |lab| {
            for _ in 0..4 {
                thread::spawn(|| {
                    loop {
                        thread::park();
                    }
                });
            }
            // SAFETY: getppid takes nothing.
            let (entries, _) = lab.entries(|| unsafe { libc::getppid() });
            let mut seen = Observation::new();
            seen.push("one call", entries);
            Ok(seen)
        })
    },
    claim("counts-without-tracer", |lab| {
        let (entries, ()) = lab.entries(|| ());
        let mut seen = Observation::new();
        seen.push("nothing", entries);
        Ok(seen)
    }),
    claim("cannot-be-tried", |_| {
        Err(Stop::untestable(
            conformance::verdict::Lack::Device,
            "no device",
            "make one",
        ))
    }),
];

/// What each of them must come to.
fn expected(id: &str, outcome: &Outcome) -> bool {
    let broken = |part: &str| matches!(outcome, Outcome::Broken(what) if what.contains(part));
    match id {
        "behaves" | "panics.in-a-thread" | "floods-stderr" | "prints" | "forks-a-hundred" => {
            matches!(outcome, Outcome::Seen(_))
        }
        "panics" | "traced.panics" => broken("panicked: on purpose"),
        "exits" => broken("without a report"),
        "exits.with-status" => broken("exit status 3"),
        "aborts" => broken("signal 6"),
        "segfaults" => broken("signal 11"),
        "waits-for-ever" | "stops-itself" => {
            matches!(outcome, Outcome::TimedOut(what) if what.contains("not done"))
        }
        "spins-for-ever" => matches!(outcome, Outcome::TimedOut(what) if what.contains("CPU")),
        "writes-everywhere" => broken("report"),
        "closes-everything" => broken("exit status 1"),
        "kills-its-group" => broken("signal 9"),
        // With a PID namespace the keeper cannot be killed from inside; without one the supervisor notices its end.
        "kills-its-parent" => broken("keeper") || matches!(outcome, Outcome::TimedOut(_)),
        "traced.leaves-threads" => {
            matches!(outcome, Outcome::Seen(seen) if seen.counted("one call") == 1)
                || matches!(outcome, Outcome::Untestable(_))
        }
        "counts-without-tracer" => broken("marked as traced"),
        "cannot-be-tried" => matches!(outcome, Outcome::Untestable(_)),
        _ => false,
    }
}

/// Processes that carry the mark of this run in their environment, other than this one.
fn marked(mark: &str) -> Vec<String> {
    let own = std::process::id().to_string();
    let entries = std::fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    pids.filter(|pid| *pid != own && pid.starts_with(|first: char| first.is_ascii_digit()))
        .filter(|pid| {
            let environment =
                std::fs::read(Path::new("/proc").join(pid).join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
        })
        .collect()
}

fn run(claims: &[&Claim]) -> Vec<(String, Outcome)> {
    let runner = Runner {
        program: std::env::current_exe().expect("a program has a path"),
        jobs: 4,
        cpu_seconds: 1,
        scratch: None,
    };
    let mut outcomes = Vec::new();
    runner
        .run(
            claims,
            |_| {},
            |claim, outcome, _| outcomes.push((claim.id.to_owned(), outcome)),
        )
        .expect("the supervisor starts");
    outcomes
}

fn main() {
    if std::env::args()
        .nth(1)
        .is_some_and(|first| first == SUPERVISE)
    {
        let registry: Vec<&'static Claim> = CLAIMS.iter().collect();
        supervisor::main(&registry).expect("the supervisor serves");
        return;
    }
    let arguments = Arguments::from_args();
    // Carried by every process that the runs below start.
    let mark = format!("NOCOPY_RUNNER_TEST={}", std::process::id());
    let (name, value) = mark.split_once('=').expect("made above");
    // SAFETY: this program has one thread so far.
    unsafe { std::env::set_var(name, value) };

    let mut trials: Vec<Trial> = CLAIMS
        .iter()
        .map(|claim| {
            Trial::test(claim.id, move || match &run(&[claim])[..] {
                [(id, outcome)] if expected(id, outcome) => Ok(()),
                other => Err(Failed::from(format!("{other:?}"))),
            })
        })
        .collect();
    trials.push(Trial::test(
        "all-together.every-claim-has-one-outcome",
        || {
            let all: Vec<&Claim> = CLAIMS.iter().collect();
            let mut outcomes = run(&all);
            let wrong: Vec<_> = outcomes
                .iter()
                .filter(|(id, outcome)| !expected(id, outcome))
                .collect();
            if !wrong.is_empty() {
                return Err(format!("{wrong:?}").into());
            }
            outcomes.sort_by(|a, b| a.0.cmp(&b.0));
            let mut ids: Vec<&str> = CLAIMS.iter().map(|claim| claim.id).collect();
            ids.sort_unstable();
            let seen: Vec<&str> = outcomes.iter().map(|(id, _)| id.as_str()).collect();
            if seen == ids {
                Ok(())
            } else {
                Err(format!("{seen:?}").into())
            }
        },
    ));
    let conclusion = libtest_mimic::run(&arguments, trials);
    // A runner that has returned has left nobody.
    let left = marked(&mark);
    assert!(left.is_empty(), "processes left behind: {left:?}");
    conclusion.exit();
}
