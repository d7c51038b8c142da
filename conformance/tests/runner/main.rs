//! The runner against experiments that misbehave. This program is its own supervisor, with claims of its own.
//!
//! Each experiment must end as what it is, in its time, with nothing left behind, and the next one must not notice. One that
//! this machine does not let misbehave is ignored, with the reason: it is not a pass.

mod contributing;

use conformance::claim::Claim;
use conformance::lab::Lab;
use conformance::runner::outcome::Outcome;
use conformance::runner::{Runner, supervisor};
use conformance::verdict::{Lack, Observation, Setup, Stop};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::ffi::{CString, c_int, c_ulong};
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::thread;
use std::time::Duration;

const fn claim(id: &'static str, run: fn(&Lab) -> Result<Observation, Stop>) -> Claim {
    Claim::observing(id, run)
}

/// What would let an experiment misbehave that is not let here.
const AS_ROOT: &str = "run as root";

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
        Err(Stop::untestable(Lack::Device, "no device", "make one"))
    }),
    claim("report.garbage", |_| written_to_the_report(b"garbage\n")),
    claim("report.binary", |_| {
        written_to_the_report(&[0, 0xff, b'\n', 0x80, 0, 1])
    }),
    claim("report.cut", |_| {
        written_to_the_report(br#"{"seen":[{"fact":"#)
    }),
    claim("report.twice", |_| {
        written_to_the_report(b"{\"seen\":[]}\n")
    }),
    claim("report.closed", |_| {
        let report = report()?;
        // SAFETY: its owner finds out, which is what this is about.
        unsafe { libc::close(report) };
        // And goes on.
        fs::read("/proc/self/stat").setup("read")?;
        Ok(Observation::new())
    }),
    claim("disk.full", |lab| {
        mount(lab, c"tmpfs", c"size=64k", 0)?;
        let mut file = fs::File::create(lab.scratch()?.join("large")).setup("create")?;
        let error = loop {
            match file.write_all(&[0; 4096]) {
                Ok(()) => {}
                Err(error) => break error,
            }
        };
        Err(error).setup("fill the disk")
    }),
    claim("disk.size-limit", |lab| {
        limit(libc::RLIMIT_FSIZE, 4096);
        lab.file(&[0; 8192])?;
        Ok(Observation::new())
    }),
    claim("leaves.a-mount", |lab| {
        mount(lab, c"tmpfs", c"", 0)?;
        Ok(Observation::new())
    }),
    claim("leaves.a-file", |lab| {
        fs::write(lab.scratch()?.join("left"), "bytes").setup("write")?;
        Ok(Observation::new())
    }),
    claim("leaves.a-network-namespace", |lab| {
        // As ip-netns(8) keeps one: by a mount of it on a file.
        let name = lab.scratch()?.join("left");
        fs::write(&name, "").setup("write")?;
        in_namespaces(libc::CLONE_NEWNET | libc::CLONE_NEWNS)?;
        let name = CString::new(name.as_os_str().as_bytes()).expect("a path has no zero");
        mount_at(c"/proc/self/ns/net", &name, c"", libc::MS_BIND)?;
        Ok(Observation::new())
    }),
    claim("ignores-signals", |_| {
        for signal in 1..=64 {
            // SAFETY: SIG_IGN is a valid disposition; numbers that cannot be changed are refused.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        loop {
            thread::park();
        }
    }),
    claim("child.vfork", |_| {
        // The parent is not seen to wait for anything: it stands in the call until the child is gone.
        // SAFETY: as fork, but for that: without CLONE_VM the child has its own memory.
        let pid = unsafe {
            libc::syscall(
                libc::SYS_clone,
                libc::CLONE_VFORK | libc::SIGCHLD,
                0,
                0,
                0,
                0,
            )
        };
        if pid == 0 {
            pause();
        }
        Ok(Observation::new())
    }),
    claim("child.stopped", |_| {
        child(|| {
            // SAFETY: raise takes no pointer.
            unsafe { libc::raise(libc::SIGSTOP) };
        });
        Ok(Observation::new())
    }),
    claim("child.stopped-by-ptrace", |_| {
        let pid = child(|| {
            // SAFETY: PTRACE_TRACEME and raise take no pointers.
            unsafe {
                libc::setsid();
                libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
                libc::raise(libc::SIGUSR1);
            }
        });
        // SAFETY: no status is asked for; the child stops, or it could not be traced and the signal has ended it.
        unsafe { libc::waitpid(pid, std::ptr::null_mut(), libc::WUNTRACED) };
        Ok(Observation::new())
    }),
    claim("child.daemon", |_| {
        child(|| {
            // SAFETY: setsid, signal and umask take no pointers.
            unsafe {
                libc::setsid();
                libc::signal(libc::SIGTERM, libc::SIG_IGN);
                libc::umask(0);
            }
            child(|| {});
            std::process::exit(0);
        });
        Ok(Observation::new())
    }),
    claim("child.namespace-of-its-own", |_| {
        in_namespaces(libc::CLONE_NEWPID)?;
        child(|| {
            child(|| {
                // SAFETY: setsid takes no pointer.
                unsafe { libc::setsid() };
            });
        });
        Ok(Observation::new())
    }),
    claim("changes-itself", |_| {
        std::env::set_current_dir("/proc/self").setup("chdir")?;
        limit(libc::RLIMIT_NOFILE, 3);
        limit(libc::RLIMIT_FSIZE, 0);
        limit(libc::RLIMIT_STACK, 4096);
        limit(libc::RLIMIT_CORE, 0);
        // SAFETY: umask, nice and prctl(PR_SET_NAME) take numbers, and a C string.
        unsafe {
            libc::umask(0o777);
            libc::nice(19);
            libc::prctl(libc::PR_SET_NAME, c"another".as_ptr());
            libc::prctl(libc::PR_SET_DUMPABLE, 0);
        }
        Ok(Observation::new())
    }),
    claim("kills-everybody", |_| {
        if !is_alone() {
            return Err(Stop::untestable(
                Lack::Privilege,
                "not in a PID namespace of its own: it would be the whole machine",
                AS_ROOT,
            ));
        }
        // SAFETY: kill takes no pointer; -1 is every process of this namespace but its first and the caller.
        unsafe { libc::kill(-1, libc::SIGTERM) };
        Ok(Observation::new())
    }),
    claim("stops-its-keeper", |_| {
        // SAFETY: kill takes no pointer. The first process of a PID namespace cannot be stopped from inside.
        unsafe { libc::kill(libc::getppid(), libc::SIGSTOP) };
        Ok(Observation::new())
    }),
    claim("ten-thousand-threads", |_| {
        for _ in 0..10_000 {
            let small = thread::Builder::new().stack_size(16 << 10);
            if small.spawn(thread::park).is_err() {
                break;
            }
        }
        Ok(Observation::new())
    }),
    claim("all-memory", |_| {
        limit(libc::RLIMIT_AS, 64 << 20);
        loop {
            // Not touched: address space is what is limited, and time is not what is tried.
            std::hint::black_box(Vec::<u8>::with_capacity(1 << 20)).leak();
        }
    }),
];

/// The descriptor of the experiment's report: the one pipe besides the standard ones.
fn report() -> Result<c_int, Stop> {
    let is_pipe = |fd: &c_int| {
        fs::read_link(format!("/proc/self/fd/{fd}"))
            .is_ok_and(|target| target.as_os_str().as_bytes().starts_with(b"pipe:"))
    };
    let mut pipes = (3..64).filter(is_pipe);
    match (pipes.next(), pipes.next()) {
        (Some(fd), None) => Ok(fd),
        other => Err(Stop::broken(format!(
            "pipes other than the report: {other:?}"
        ))),
    }
}

fn written_to_the_report(bytes: &[u8]) -> Result<Observation, Stop> {
    // SAFETY: the pointer and length are of `bytes`.
    let written = unsafe { libc::write(report()?, bytes.as_ptr().cast(), bytes.len()) };
    assert_eq!(written, bytes.len().cast_signed());
    Ok(Observation::new())
}

fn limit(resource: libc::__rlimit_resource_t, value: libc::rlim_t) {
    let limit = libc::rlimit {
        rlim_cur: value,
        rlim_max: value,
    };
    // SAFETY: `limit` is read during the call.
    let done = unsafe { libc::setrlimit(resource, &raw const limit) };
    assert_eq!(done, 0, "setrlimit");
}

fn pause() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// A child that does something, and then waits to be killed.
fn child(first: impl FnOnce()) -> libc::pid_t {
    // SAFETY: one thread; the child does not return.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        first();
        pause();
    }
    pid
}

/// Enters new namespaces, by way of a user namespace where that is needed.
fn in_namespaces(flags: c_int) -> Result<(), Stop> {
    let unshare = |flags| {
        // SAFETY: unshare takes no pointer.
        if unsafe { libc::unshare(flags) } == -1 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    };
    unshare(flags)
        .or_else(|_| unshare(flags | libc::CLONE_NEWUSER))
        .map_err(|error| {
            let what = format!("no namespaces can be made here: {error}");
            Stop::untestable(Lack::Privilege, what, AS_ROOT)
        })
}

/// Mounts over the experiment's own directory, where it may do so as it is: where it may not, there is nothing to leave.
fn mount(
    lab: &Lab,
    kind: &std::ffi::CStr,
    options: &std::ffi::CStr,
    flags: c_ulong,
) -> Result<(), Stop> {
    let at = CString::new(lab.scratch()?.as_os_str().as_bytes()).expect("a path has no zero");
    mount_at(kind, &at, options, flags)
}

fn mount_at(
    source: &std::ffi::CStr,
    at: &std::ffi::CStr,
    options: &std::ffi::CStr,
    flags: c_ulong,
) -> Result<(), Stop> {
    // SAFETY: all are C strings, which the kernel reads during the call.
    let done = unsafe {
        libc::mount(
            source.as_ptr(),
            at.as_ptr(),
            source.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    if done == -1 {
        let what = format!(
            "nothing can be mounted here: {}",
            io::Error::last_os_error()
        );
        Err(Stop::untestable(Lack::Privilege, what, AS_ROOT))
    } else {
        Ok(())
    }
}

/// Whether this process is surely in a PID namespace of its keeper's: the keeper is its first, the own number is one of the
/// next, and the machine has another number for it.
fn is_alone() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let numbers: Vec<u32> = status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .into_iter()
        .flat_map(str::split_whitespace)
        .filter_map(|number| number.parse().ok())
        .collect();
    let own = std::process::id();
    // SAFETY: getppid takes nothing.
    let keeper = unsafe { libc::getppid() };
    keeper == 1
        && (2..10).contains(&own)
        && numbers.len() >= 2
        && numbers.last() == Some(&own)
        && numbers[0] > own
}

/// What each of them must come to.
fn expected(id: &str, outcome: &Outcome) -> bool {
    let broken = |part: &str| matches!(outcome, Outcome::Broken(what) if what.contains(part));
    match id {
        "behaves"
        | "panics.in-a-thread"
        | "floods-stderr"
        | "prints"
        | "forks-a-hundred"
        | "leaves.a-mount"
        | "child.stopped"
        | "child.stopped-by-ptrace"
        | "child.daemon"
        | "child.namespace-of-its-own"
        | "changes-itself"
        | "kills-everybody" => matches!(outcome, Outcome::Seen(_)),
        "panics" | "traced.panics" => broken("panicked: on purpose"),
        "exits" => broken("without a report"),
        "exits.with-status" => broken("exit status 3"),
        "aborts" | "all-memory" => broken("signal 6"),
        "segfaults" => broken("signal 11"),
        "waits-for-ever" | "stops-itself" | "ignores-signals" | "child.vfork" => {
            matches!(outcome, Outcome::TimedOut(what) if what.contains("not done"))
        }
        "spins-for-ever" => matches!(outcome, Outcome::TimedOut(what) if what.contains("CPU")),
        "writes-everywhere" => broken("report"),
        "closes-everything" | "report.closed" => broken("exit status 1"),
        "report.garbage" | "report.binary" | "report.twice" => broken("more than once"),
        "report.cut" => broken("cannot be read"),
        "disk.full" => {
            matches!(outcome, Outcome::Untestable(reason) if reason.what.contains("ENOSPC"))
        }
        "disk.size-limit" => broken("signal 25"),
        "leaves.a-file" | "leaves.a-network-namespace" => broken("it left files: left"),
        // Where there are fewer to be had, or they take too long to make, that is what it comes to.
        "ten-thousand-threads" => matches!(outcome, Outcome::Seen(_) | Outcome::TimedOut(_)),
        "stops-its-keeper" => broken("keeper") || matches!(outcome, Outcome::Seen(_)),
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

/// Why the experiment could not even misbehave, if it was so.
fn refused(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Untestable(reason) if reason.remedy == AS_ROOT => Some(&reason.what),
        _ => None,
    }
}

fn run(claims: &[&Claim], scratch: &Path) -> Vec<(String, Outcome)> {
    let runner = Runner {
        program: std::env::current_exe().expect("a program has a path"),
        jobs: 4,
        cpu_seconds: 1,
        scratch: Some(scratch.to_owned()),
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
    if supervisor::is_asked_for() {
        let example = std::iter::once(&contributing::CLAIM);
        let registry: Vec<&'static Claim> = CLAIMS.iter().chain(example).collect();
        supervisor::main(&registry).expect("the supervisor serves");
        return;
    }
    let arguments = Arguments::from_args();
    // Carried by every process that the runs below start.
    let mark = format!("NOCOPY_RUNNER_TEST={}", std::process::id());
    let (name, value) = mark.split_once('=').expect("made above");
    // SAFETY: this program has one thread so far.
    unsafe { std::env::set_var(name, value) };

    let directory = tempfile::tempdir().expect("a temporary directory");
    let scratch = directory.path().to_owned();
    let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("/proc");
    let mounted = mounts();

    let mut trials: Vec<Trial> = CLAIMS
        .iter()
        .map(|claim| {
            let scratch = scratch.clone();
            Trial::ignorable_test(claim.id, move || match &run(&[claim], &scratch)[..] {
                [(id, outcome)] if expected(id, outcome) => Ok(Completion::Completed),
                [(_, outcome)] if let Some(reason) = refused(outcome) => {
                    Ok(Completion::ignored_with(reason))
                }
                other => Err(Failed::from(format!("{other:?}"))),
            })
        })
        .collect();
    trials.push(Trial::test(
        "all-together.every-claim-has-one-outcome",
        move || {
            let all: Vec<&Claim> = CLAIMS.iter().collect();
            let mut outcomes = run(&all, &scratch);
            let wrong: Vec<_> = outcomes
                .iter()
                .filter(|(id, outcome)| !expected(id, outcome) && refused(outcome).is_none())
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
    trials.extend(contributing::trials());
    let conclusion = libtest_mimic::run(&arguments, trials);
    // A runner that has returned has left nobody.
    let left = marked(&mark);
    assert!(left.is_empty(), "processes left behind: {left:?}");
    assert_eq!(mounts(), mounted, "mounts left behind");
    let files = fs::read_dir(directory.path()).expect("readdir");
    let files: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    assert!(files.is_empty(), "files left behind: {files:?}");
    drop(directory);
    conclusion.exit();
}
