//! The liar: each lie is seen by the experiment as it says, and by nobody else. This program is its own supervisor, with
//! experiments of its own.

use conformance::claim::Claim;
use conformance::interpose::lie::{Field, Lie, What, Which};
use conformance::interpose::record::aside;
use conformance::lab::{Lab, io, map_file, open, privilege, sockets};
use conformance::runner::order::{Interposed, Report};
use conformance::runner::outcome::Outcome;
use conformance::runner::{Runner, Task, supervisor};
use conformance::verdict::{Observation, Setup, Stop, Value};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use nocopy_msg_zerocopy::{Message, SendFlags, enable, messages, recv_error_queue, send_zerocopy};
use nocopy_sendfile::sendfile;
use nocopy_splice::{PipeFlags, pipe2};
use std::io::{Seek, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use syscalls::{Errno, Sysno};

const fn claim(id: &'static str, run: fn(&Lab) -> Result<Observation, Stop>) -> Claim {
    Claim::observing(id, run)
}

const CLAIMS: &[Claim] = &[
    claim("pipe", pipe),
    claim("file", file),
    claim("completion", completion),
    claim("option", option),
    claim("threads", threads),
    claim("child", child),
    claim("broken-pipe", broken_pipe),
    claim("clock", clock),
    claim("aside", writes_aside),
    claim("helpers", helpers),
];

/// Eight bytes through a pipe: two writes and a read, and an option that fails.
fn pipe(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe2(PipeFlags::NONBLOCK).setup("pipe2")?;
    let (read, write) = (AsFd::as_fd(&pipe.read), AsFd::as_fd(&pipe.write));
    let mut seen = Observation::new();
    seen.call("first write", io::write(&write, b"OOOO"));
    seen.call("second write", io::write(&write, b"OOOO"));
    let mut buffer = [0; 16];
    seen.call("read", io::read(&read, &mut buffer));
    let text = String::from_utf8_lossy(&buffer)
        .trim_end_matches('\0')
        .to_owned();
    seen.text("bytes", text);
    seen.call("write to the read end", io::write(&read, b"four"));
    Ok(seen)
}

/// A byte is written to a pipe, three times, the second of them aside.
fn writes_aside(_lab: &Lab) -> Result<Observation, Stop> {
    let (_read, write) = std::io::pipe().setup("pipe")?;
    let mut seen = Observation::new();
    seen.call("first write", io::write(&write, b"O"));
    seen.call("write aside", aside(|| io::write(&write, b"O")));
    seen.call("last write", io::write(&write, b"O"));
    Ok(seen)
}

/// The lab's helpers whose effect another call shows.
fn helpers(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(b"bytes")?;
    let memfd = open::sealed_memfd(0)?;
    let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
    let mut seen = Observation::new();
    seen.call("truncate", io::truncate(&file, 3).map(|()| 0))
        .call("seek", io::seek(&file, 2).map(|()| 0))
        .call("seal", io::seal(&memfd, libc::F_SEAL_GROW).map(|()| 0))
        .call("resize", io::resize_pipe(&pipe.write, 8192))
        .call("whole", io::write_whole(&pipe.write, b"whole").map(|()| 0));
    let nonblocking = io::set_nonblocking(&pipe.read);
    seen.call("set O_NONBLOCK", nonblocking.map(|()| 0));
    // Last: what the process may do in a namespace of its own is another question.
    let entered = privilege::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWUTS);
    seen.call("enter a namespace", entered.map(|()| 0));
    Ok(seen)
}

/// A file, mapped, sent and looked at.
fn file(lab: &Lab) -> Result<Observation, Stop> {
    let mut file = lab.file(&[b'O'; 4096])?;
    let mapping = map_file(&file, 4096).setup("mmap")?;
    let (near, _far) = sockets::tcp()?;
    let mut seen = Observation::new();
    let mut offset = 8;
    seen.call(
        "sendfile at 8",
        sendfile(&near, &file, Some(&mut offset), 16),
    );
    seen.count("offset", offset);
    seen.call("sendfile at the position", sendfile(&near, &file, None, 16));
    seen.count("position", file.stream_position().setup("lseek")?);
    seen.call("pwrite", io::pwrite(&file, b"N", 0));
    let mut first = [0; 1];
    let read = mapping.read_at(0, &mut first).setup("read the mapping")?;
    seen.count("bytes of the mapping", read as u64)
        .text("mapping", char::from(first[0]));
    Ok(seen)
}

/// A send with `MSG_ZEROCOPY` and two looks at the error queue.
fn completion(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    let zerocopy = enable(&near).setup("SO_ZEROCOPY")?;
    // SAFETY: a static is never freed.
    let sent = unsafe { send_zerocopy(zerocopy, b"static", SendFlags::empty()) };
    let mut seen = Observation::new();
    seen.call("send", sent);
    if sent.is_ok() {
        sockets::wait_for_arrival(&far, sent.unwrap_or(0))?;
        io::wait_for_error_queue(near.as_fd()).setup("poll")?;
    }
    for name in ["first", "second"] {
        let mut control = [0; 256];
        let received = recv_error_queue(near.as_fd(), &mut control);
        seen.call(
            name,
            received.map(|received| received.flags.bits() as usize),
        );
        for message in messages(&control[..received.map_or(0, |received| received.control_len)]) {
            if let Ok(Message::Completion(range)) = message {
                let copied = if range.copied { "copied" } else { "not copied" };
                seen.text(
                    format!("{name} range"),
                    format!("{} to {}, {copied}", range.lo, range.hi),
                );
            }
        }
    }
    Ok(seen)
}

fn option(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far) = sockets::tcp()?;
    let mut seen = Observation::new();
    let on = sockets::set_option(&near, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
    seen.call("set", on.map(|()| 0));
    let is_on = sockets::get_option(&near, libc::SOL_SOCKET, libc::SO_KEEPALIVE);
    seen.call(
        "get",
        is_on.map(|value| usize::try_from(value).unwrap_or(99)),
    );
    Ok(seen)
}

/// The same call by two threads.
fn threads(_lab: &Lab) -> Result<Observation, Stop> {
    let (_read, write) = std::io::pipe().setup("pipe")?;
    let mut seen = Observation::new();
    seen.call("here", io::write(&write, b"1"));
    let there = std::thread::scope(|scope| scope.spawn(|| io::write(&write, b"2")).join());
    seen.call(
        "there",
        there.map_err(|_| Stop::broken("a thread panicked"))?,
    );
    Ok(seen)
}

/// The same call by a child.
fn child(_lab: &Lab) -> Result<Observation, Stop> {
    let (_read, write) = std::io::pipe().setup("pipe")?;
    let mut seen = Observation::new();
    // SAFETY: one thread; the child makes one call and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let status = io::write(&write, b"2").map_or(99, |count| i32::try_from(count).unwrap_or(98));
        // SAFETY: ends this process.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to an int, written during the call.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    seen.call("here", io::write(&write, b"1"));
    let number = |status: libc::c_int| u64::try_from(status).unwrap_or(0);
    if libc::WIFSIGNALED(status) {
        seen.count("child ended by signal", number(libc::WTERMSIG(status)));
    } else {
        seen.count("there", number(libc::WEXITSTATUS(status)));
    }
    Ok(seen)
}

/// A write that raises `SIGPIPE`, in a child.
fn broken_pipe(_lab: &Lab) -> Result<Observation, Stop> {
    let (read, write) = std::io::pipe().setup("pipe")?;
    drop(read);
    // SAFETY: one thread; the child makes one call and ends.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let errno = io::write(&write, b"2").err().map_or(0, Errno::into_raw);
        // SAFETY: ends this process.
        unsafe { libc::_exit(errno) };
    }
    let mut status = 0;
    // SAFETY: the pointer is to an int, written during the call.
    unsafe { libc::waitpid(pid, &raw mut status, 0) };
    let mut seen = Observation::new();
    if libc::WIFSIGNALED(status) {
        seen.text("end", format!("signal {}", libc::WTERMSIG(status)));
    } else {
        seen.text("end", format!("errno {}", libc::WEXITSTATUS(status)));
    }
    Ok(seen)
}

/// How long a call takes, in whole milliseconds.
fn clock(_lab: &Lab) -> Result<Observation, Stop> {
    let (_read, mut write) = std::io::pipe().setup("pipe")?;
    let before = Instant::now();
    write.write_all(b"1").setup("write")?;
    let mut seen = Observation::new();
    let waited = before.elapsed() >= Duration::from_millis(2);
    seen.text("took 2 ms", if waited { "yes" } else { "no" });
    Ok(seen)
}

/// What an experiment sees when it is told a lie: facts that are then so, and how often the liar says it lied.
struct Case {
    name: &'static str,
    claim: &'static str,
    lie: Option<Lie>,
    facts: &'static [(&'static str, Expected)],
    told: u64,
}

#[derive(Clone, Copy)]
enum Expected {
    Returned(u64),
    Errno(i32),
    Count(u64),
    Text(&'static str),
}

impl Expected {
    fn value(self) -> Value {
        match self {
            Self::Returned(number) => Value::Returned(number),
            Self::Errno(number) => Value::Errno(number),
            Self::Count(count) => Value::Count(count),
            Self::Text(text) => Value::Text(text.into()),
        }
    }
}

const fn returned(number: u64) -> Expected {
    Expected::Returned(number)
}

const fn errno(number: i32) -> Expected {
    Expected::Errno(number)
}

const fn case(
    name: &'static str,
    claim: &'static str,
    lie: Lie,
    told: u64,
    facts: &'static [(&'static str, Expected)],
) -> Case {
    Case {
        name,
        claim,
        lie: Some(lie),
        facts,
        told,
    }
}

const EPIPE: i32 = libc::EPIPE;

/// A helper's call that is not made, and reported to have returned this: the helper says so.
const fn undone(facts: &'static [(&'static str, Expected)], call: Sysno, returned: i64) -> Case {
    let lie = Lie::about(call, What::Undone(returned)).after(0);
    case(facts[0].0, "helpers", lie, 1, facts)
}

const CASES: &[Case] = &[
    case(
        "aside.only-what-is-made-aside",
        "aside",
        Lie::refused(Sysno::write, EPIPE).aside(),
        1,
        &[
            ("first write", returned(1)),
            ("write aside", errno(EPIPE)),
            ("last write", returned(1)),
        ],
    ),
    case(
        "aside.is-counted-by-itself",
        "aside",
        Lie::refused(Sysno::write, EPIPE).after(1),
        1,
        &[
            ("first write", returned(1)),
            ("write aside", returned(1)),
            ("last write", errno(EPIPE)),
        ],
    ),
    case(
        "aside.the-second-of-one",
        "aside",
        Lie::refused(Sysno::write, EPIPE).aside().after(1),
        0,
        &[("write aside", returned(1))],
    ),
    undone(&[("truncate", errno(libc::EIO))], Sysno::ftruncate, 0),
    undone(&[("seek", errno(libc::EIO))], Sysno::lseek, 2),
    Case {
        lie: Some(Lie::about(Sysno::fcntl, What::Undone(8192)).with(1, libc::F_SETPIPE_SZ as u64)),
        ..undone(&[("resize", errno(libc::EIO))], Sysno::fcntl, 8192)
    },
    Case {
        lie: Some(Lie::about(Sysno::fcntl, What::Undone(0)).with(1, libc::F_SETFL as u64)),
        ..undone(&[("set O_NONBLOCK", errno(libc::EIO))], Sysno::fcntl, 0)
    },
    Case {
        lie: Some(Lie::about(Sysno::fcntl, What::Undone(0)).with(1, libc::F_ADD_SEALS as u64)),
        ..undone(&[("seal", errno(libc::EIO))], Sysno::fcntl, 0)
    },
    undone(
        &[("enter a namespace", errno(libc::EIO))],
        Sysno::unshare,
        0,
    ),
    case(
        "helper.write-whole",
        "helpers",
        Lie::shortened(Sysno::write),
        1,
        &[("whole", errno(libc::EIO))],
    ),
    Case {
        name: "truth.pipe",
        claim: "pipe",
        lie: None,
        told: 0,
        facts: &[
            ("first write", returned(4)),
            ("read", returned(8)),
            ("bytes", Expected::Text("OOOOOOOO")),
            ("write to the read end", errno(libc::EBADF)),
        ],
    },
    case(
        "refused.every",
        "pipe",
        Lie::refused(Sysno::write, EPIPE),
        3,
        &[
            ("first write", errno(EPIPE)),
            ("second write", errno(EPIPE)),
            ("write to the read end", errno(EPIPE)),
        ],
    ),
    case(
        "refused.the-second",
        "pipe",
        Lie::refused(Sysno::write, EPIPE).after(1),
        1,
        &[
            ("first write", returned(4)),
            ("second write", errno(EPIPE)),
            ("read", returned(4)),
        ],
    ),
    case(
        "refused.by-argument",
        "pipe",
        Lie::refused(Sysno::write, EPIPE).with(2, 5),
        0,
        &[("first write", returned(4))],
    ),
    case(
        "accepted",
        "pipe",
        Lie::accepted(Sysno::write),
        1,
        &[
            ("first write", returned(4)),
            ("write to the read end", returned(4)),
        ],
    ),
    case(
        "other-errno",
        "pipe",
        Lie::about(Sysno::write, What::OtherErrno(EPIPE)),
        1,
        &[
            ("second write", returned(4)),
            ("write to the read end", errno(EPIPE)),
        ],
    ),
    case(
        "skipped",
        "pipe",
        Lie::skipped(Sysno::write).after(1),
        1,
        &[
            ("second write", returned(4)),
            ("read", returned(4)),
            ("bytes", Expected::Text("OOOO")),
        ],
    ),
    case(
        "returned",
        "pipe",
        Lie::returned(Sysno::write, 77).after(0),
        1,
        &[("first write", returned(77)), ("read", returned(8))],
    ),
    case(
        "too-many",
        "pipe",
        Lie::about(Sysno::read, What::TooMany),
        1,
        &[("read", returned(9))],
    ),
    case(
        "too-few",
        "pipe",
        Lie::about(Sysno::read, What::TooFew),
        1,
        &[("read", returned(7))],
    ),
    case(
        "bytes",
        "pipe",
        Lie::bytes(Sysno::read, b'O', b'N'),
        1,
        &[("bytes", Expected::Text("NNNNNNNN"))],
    ),
    case(
        "bytes.without-effect",
        "pipe",
        Lie::bytes(Sysno::read, b'x', b'N'),
        0,
        &[("bytes", Expected::Text("OOOOOOOO"))],
    ),
    case(
        "garbled",
        "pipe",
        Lie::about(Sysno::read, What::Garbled),
        1,
        &[("bytes", Expected::Text("MOOOOOOO"))],
    ),
    case(
        "interrupted",
        "pipe",
        Lie::about(Sysno::read, What::Interrupted),
        1,
        &[("read", errno(libc::EINTR)), ("second write", returned(4))],
    ),
    case(
        "shortened.count",
        "pipe",
        Lie::shortened(Sysno::write).after(0),
        1,
        &[("first write", returned(2)), ("read", returned(6))],
    ),
    case(
        "shortened.message",
        "completion",
        Lie::shortened(Sysno::sendto),
        1,
        &[("send", returned(3))],
    ),
    case(
        "offset-kept",
        "file",
        Lie::about(Sysno::sendfile, What::OffsetKept),
        1,
        &[
            ("sendfile at 8", returned(16)),
            ("offset", Expected::Count(8)),
            ("position", Expected::Count(16)),
        ],
    ),
    case(
        "position-kept",
        "file",
        Lie::about(Sysno::sendfile, What::PositionKept).after(1),
        1,
        &[
            ("offset", Expected::Count(24)),
            ("sendfile at the position", returned(16)),
            ("position", Expected::Count(0)),
        ],
    ),
    case(
        "unshared",
        "file",
        Lie::about(Sysno::mmap, What::Unshared),
        1,
        &[("pwrite", returned(1)), ("mapping", Expected::Text("O"))],
    ),
    case(
        "completion.truth",
        "completion",
        Lie::completion(Field::High, 0),
        0,
        &[
            ("first range", Expected::Text("0 to 0, copied")),
            ("second", errno(libc::EAGAIN)),
        ],
    ),
    case(
        "completion.code",
        "completion",
        Lie::completion(Field::Code, 0),
        1,
        &[("first range", Expected::Text("0 to 0, not copied"))],
    ),
    case(
        "completion.high",
        "completion",
        Lie::completion(Field::High, 5),
        1,
        &[("first range", Expected::Text("0 to 5, copied"))],
    ),
    case(
        "completion.shifted",
        "completion",
        Lie::about(Sysno::recvmsg, What::IdsShifted(2)),
        1,
        &[("first range", Expected::Text("2 to 2, copied"))],
    ),
    case(
        "completion.forged",
        "completion",
        Lie::about(Sysno::recvmsg, What::CompletionForged(9)),
        1,
        &[
            ("first range", Expected::Text("0 to 0, copied")),
            ("second range", Expected::Text("9 to 9, not copied")),
        ],
    ),
    case(
        "message-flags",
        "completion",
        Lie::about(Sysno::recvmsg, What::MessageFlags(libc::MSG_CTRUNC)).after(0),
        1,
        &[(
            "first",
            // The kernel repeats the one that was asked for.
            returned((libc::MSG_ERRQUEUE | libc::MSG_CTRUNC | libc::MSG_CMSG_CLOEXEC) as u64),
        )],
    ),
    case(
        "option.silently-not-set",
        "option",
        Lie::skipped(Sysno::setsockopt).with(2, 9),
        1,
        &[("set", returned(0)), ("get", returned(0))],
    ),
    case(
        "output",
        "option",
        Lie::about(
            Sysno::getsockopt,
            What::Output {
                argument: 3,
                value: 7,
            },
        ),
        1,
        &[("set", returned(0)), ("get", returned(7))],
    ),
    case(
        "threads.the-second",
        "threads",
        Lie {
            which: Which::One {
                thread: 1,
                after: 0,
            },
            ..Lie::refused(Sysno::write, EPIPE)
        },
        1,
        &[("here", returned(1)), ("there", errno(EPIPE))],
    ),
    case(
        "threads.the-first",
        "threads",
        Lie::refused(Sysno::write, EPIPE).after(0),
        1,
        &[("here", errno(EPIPE)), ("there", returned(1))],
    ),
    case(
        "child",
        "child",
        Lie {
            which: Which::One {
                thread: 1,
                after: 0,
            },
            ..Lie::refused(Sysno::write, EPIPE)
        },
        1,
        &[("here", returned(1)), ("there", Expected::Count(99))],
    ),
    Case {
        name: "truth.signal",
        claim: "broken-pipe",
        lie: None,
        told: 0,
        facts: &[("end", Expected::Text("signal 13"))],
    },
    case(
        "swallowed",
        "broken-pipe",
        Lie::about(Sysno::write, What::Swallowed(libc::SIGPIPE)),
        1,
        &[("end", Expected::Text("errno 32"))],
    ),
    case(
        "raised",
        "child",
        Lie {
            which: Which::One {
                thread: 1,
                after: 0,
            },
            ..Lie::about(Sysno::write, What::Raised(libc::SIGTERM))
        },
        1,
        &[("child ended by signal", Expected::Count(15))],
    ),
    case(
        "delayed",
        "clock",
        Lie::about(Sysno::write, What::Delayed),
        1,
        &[("took 2 ms", Expected::Text("yes"))],
    ),
];

fn run(tasks: &[Task<'_>]) -> Vec<Report> {
    let runner = Runner {
        program: std::env::current_exe().expect("a program has a path"),
        jobs: 2,
        cpu_seconds: 10,
        scratch: Some(std::env::temp_dir()),
    };
    let mut reports: Vec<Option<Report>> = tasks.iter().map(|_| None).collect();
    runner
        .run_tasks(tasks, |_| {}, |index, report| reports[index] = Some(report))
        .expect("the supervisor starts");
    reports
        .into_iter()
        .map(|report| report.expect("one per task"))
        .collect()
}

fn tell(claim: &str, interposed: Interposed) -> Report {
    let claim = CLAIMS
        .iter()
        .find(|known| known.id == claim)
        .expect("a claim of this file");
    run(&[Task {
        claim,
        interposed,
        limits: None,
    }])
    .remove(0)
}

fn check(case: &Case) -> Result<Completion, Failed> {
    let interposed = case.lie.map_or(Interposed::AsClaimed, Interposed::Liar);
    let report = tell(case.claim, interposed);
    if let (Outcome::Untestable(reason), false) = (&report.outcome, has_memory_files()) {
        return Ok(Completion::ignored_with(reason.what.clone()));
    }
    let Outcome::Seen(seen) = &report.outcome else {
        return Err(format!("{:?}", report.outcome).into());
    };
    for (fact, expected) in case.facts {
        let value = expected.value();
        if seen.value(fact) != &value {
            return Err(format!("{fact}: {value:?} expected in: {seen}").into());
        }
    }
    if report.told != case.told {
        return Err(format!("told {} times, not {}: {seen}", report.told, case.told).into());
    }
    Ok(Completion::Completed)
}

/// Whether the kernel has `memfd_create`, of 3.17.
fn has_memory_files() -> bool {
    // SAFETY: no name is read from this address: it is refused, and the call is there, or not.
    let called = unsafe { syscalls::syscall!(Sysno::memfd_create, 0, 0) };
    called != Err(Errno::ENOSYS)
}

/// What the recorder writes down is what the experiment did, with what is done aside marked, and without what is done after it.
fn recorded() -> Result<(), Failed> {
    let report = tell("pipe", Interposed::Recorder);
    let made = |number: Sysno| {
        let calls = report
            .calls
            .iter()
            .filter(move |made| made.number == number as u64);
        calls.map(|made| made.result).collect::<Vec<_>>()
    };
    let (writes, reads) = (made(Sysno::write), made(Sysno::read));
    let expected = (vec![4, 4, -i64::from(libc::EBADF)], vec![8]);
    if (&writes, &reads) != (&expected.0, &expected.1) {
        return Err(format!("writes {writes:?}, reads {reads:?}").into());
    }
    // The file is made and filled aside.
    let calls = tell("file", Interposed::Recorder).calls;
    let mut writes = calls
        .iter()
        .filter(|made| made.number == Sysno::write as u64);
    if !writes.next().is_some_and(|made| made.aside) || !writes.all(|made| made.aside) {
        return Err("what is done aside was written down as the experiment's".into());
    }
    Ok(())
}

fn main() {
    if supervisor::is_asked_for() {
        let registry: Vec<&'static Claim> = CLAIMS.iter().collect();
        supervisor::main(&registry).expect("the supervisor serves");
        return;
    }
    let arguments = Arguments::from_args();
    let mut trials: Vec<Trial> = CASES
        .iter()
        .map(|case| Trial::ignorable_test(case.name, move || check(case)))
        .collect();
    trials.push(Trial::test("recorder", recorded));
    libtest_mimic::run(&arguments, trials).exit();
}
