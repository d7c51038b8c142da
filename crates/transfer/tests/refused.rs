//! Every call of every way, refused with every errno: at the first call, in the middle, and with bytes in the pipe.
//!
//! After an errno of the fall-back set, the sink gets all bytes, in order and once. After any other, the outcome says exactly how
//! many it took, and the rest is where the source had it or in the caller's hands.

mod common;
#[path = "common/filter.rs"]
mod filter;

use common::{From, MESSAGE, To, pattern, sink, source};
use filter::Filter;
use nocopy_transfer::{
    Ended, Errno, Error, Outcome, Reason, Request, Stability, State, Sysno, choice, copy_range,
    fallback, forget_refusals,
};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::thread;

const LENGTH: usize = (1 << 20) + 74_711;

/// What is refused, from which moment on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Sendfile,
    CopyFileRange,
    /// Both calls, or the only one.
    Splice,
    /// That into the sink.
    SpliceOut,
    /// From the source, by a copy.
    Read,
    /// To the sink, by a copy.
    Write,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    First,
    Middle,
}

/// Errnos that no table has: news of the bytes, of the peer or of the disk.
const OTHERS: [Errno; 9] = [
    Errno::EPIPE,
    Errno::ECONNRESET,
    Errno::ENOSPC,
    Errno::EDQUOT,
    Errno::EIO,
    Errno::ENOMEM,
    Errno::EFBIG,
    Errno::ENOBUFS,
    Errno::EFAULT,
];

fn number_of(fd: &OwnedFd) -> u32 {
    u32::try_from(fd.as_raw_fd()).expect("an open descriptor")
}

/// One case, in a thread of its own: filters cannot be taken back.
fn refused(from: From, to: To, call: Call, errno: Errno, moment: Moment) -> bool {
    thread::spawn(move || in_this_thread(from, to, call, errno, moment))
        .join()
        .expect("the case")
}

#[allow(clippy::too_many_lines, reason = "one case from its begin to its end")]
fn in_this_thread(from: From, to: To, call: Call, errno: Errno, moment: Moment) -> bool {
    static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(LENGTH));
    let content = &*CONTENT;
    let what = format!("{from:?} to {to:?}, {call:?}, {errno}, {moment:?}");
    let near = source(from, content);
    let (out, far) = sink(to, LENGTH);
    // All of a file is here, and a stream's bytes come.
    let is_copy = matches!(call, Call::Read | Call::Write);
    let stability = if is_copy {
        Stability::Snapshot
    } else {
        Stability::Shared
    };
    let mut request = Request::new(stability).at_most(LENGTH as u64);
    if to == To::Datagrams {
        request = request.messages(MESSAGE);
    }
    let mut transfer = request.begin(&near, &out).expect("what it needs");
    let mut before = 0;
    if moment == Moment::Middle {
        assert_eq!(transfer.advance(300_000), State::Budget, "{what}");
        before = transfer.taken();
    }
    let (number, argument) = match call {
        Call::Sendfile => (Sysno::sendfile, None),
        Call::CopyFileRange => (Sysno::copy_file_range, None),
        Call::Splice => (Sysno::splice, None),
        Call::SpliceOut => (Sysno::splice, Some((2, number_of(&out)))),
        Call::Read => (Sysno::read, Some((0, number_of(&near)))),
        Call::Write if matches!(to, To::Tcp | To::Unix | To::Datagrams) => {
            (Sysno::sendto, Some((0, number_of(&out))))
        }
        Call::Write => (Sysno::write, Some((0, number_of(&out)))),
    };
    Filter {
        call: number,
        errno: errno.into_raw(),
        argument,
    }
    .install();
    transfer.drive();
    let parts = transfer.into_parts();
    let outcome = parts.outcome;
    let what = format!("{what}: {outcome}");
    let is_met = |reason: &Reason| *reason == Reason::Errno(number, errno);
    // A memfd and a file are on two file systems; old kernels have no such call.
    let is_natural = |reason: &Reason| {
        let Reason::Errno(Sysno::copy_file_range, errno) = reason else {
            return *reason == Reason::Remembered;
        };
        matches!(*errno, Errno::EXDEV | Errno::ENOSYS)
    };
    let is_expected = |reason: &Reason| is_met(reason) || is_natural(reason);
    let mut whole = Vec::new();
    if fallback::is_refusal(number, errno) {
        assert_eq!(
            (outcome.ended, outcome.bytes, outcome.held),
            (Ended::Complete, LENGTH as u64, 0),
            "{what}"
        );
        for refusal in &outcome.refusals {
            assert!(is_expected(&refusal.reason), "{what}");
        }
    } else if outcome.ended == Ended::Complete {
        assert!(
            outcome
                .refusals
                .iter()
                .all(|refusal| is_natural(&refusal.reason)),
            "{what}"
        );
    } else {
        assert_eq!(outcome.ended, Ended::Failed(number, errno), "{what}");
        assert_eq!(
            (outcome.bytes, outcome.held),
            (before, parts.held.len() as u64),
            "{what}"
        );
        // What the sink did not take: first what was given back, then what the source still has.
        whole = parts.held;
        // Where reading is refused, nothing more can be read.
        if call != Call::Read {
            File::from(near)
                .read_to_end(&mut whole)
                .expect("the rest of the source");
        }
    }
    let was_met =
        outcome.ended != Ended::Complete || outcome.refusals.iter().any(|it| is_met(&it.reason));
    if outcome.ended == Ended::Complete {
        if let Some(bytes) = far.received(out) {
            assert!(bytes == *content, "other bytes arrived: {what}");
        }
    } else {
        let rest = &content[usize::try_from(before).expect("a length")..];
        let rest = if call == Call::Read {
            &rest[..whole.len()]
        } else {
            rest
        };
        assert!(whole == rest, "the rest is another: {what}");
    }
    was_met
}

/// The cases share what the process remembers.
static TURN: Mutex<()> = Mutex::new(());

/// A case in a thread of its own, since filters cannot be taken back, and with nothing that another case makes the process remember.
fn in_turn(case: impl FnOnce() + Send + 'static) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    forget_refusals();
    thread::spawn(case).join().expect("the case");
    forget_refusals();
}

fn matrix(calls: &[Call], errnos: &[Errno]) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut cases, mut met) = (0, 0);
    for from in common::SOURCES {
        for to in common::SINKS {
            for call in calls {
                for errno in errnos {
                    for moment in [Moment::First, Moment::Middle] {
                        forget_refusals();
                        cases += 1;
                        met += usize::from(refused(from, to, *call, *errno, moment));
                    }
                }
            }
        }
    }
    forget_refusals();
    println!("{cases} cases; the refused call was made in {met}");
    // Every fifth pair of call and sink, at least, has such a call.
    assert!(
        met * 5 > cases,
        "only {met} of {cases} made the call that was refused"
    );
}

const JOINING: [Call; 4] = [
    Call::Sendfile,
    Call::CopyFileRange,
    Call::Splice,
    Call::SpliceOut,
];

fn of_the_table() -> Vec<Errno> {
    let mut errnos: Vec<_> = fallback::TABLE.iter().map(|line| line.errno).collect();
    errnos.sort_unstable_by_key(|errno| errno.into_raw());
    errnos.dedup();
    errnos
}

#[test]
fn after_an_errno_of_the_table_all_bytes_arrive() {
    matrix(&JOINING, &of_the_table());
}

#[test]
fn after_any_other_errno_the_rest_is_known() {
    matrix(&JOINING, &OTHERS);
}

/// There is nothing after read and write.
#[test]
fn a_copy_that_fails_is_a_failure_whatever_the_errno() {
    matrix(
        &[Call::Read, Call::Write],
        &[of_the_table(), OTHERS.to_vec()].concat(),
    );
}

#[test]
fn a_missing_call_is_asked_for_once() {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    forget_refusals();
    let reasons = thread::spawn(|| {
        refuse(Sysno::sendfile, Errno::ENOSYS);
        [(), ()].map(|()| {
            let near = source(From::File, &pattern(70_000));
            let (out, far) = sink(To::Tcp, 70_000);
            let request = Request::new(Stability::Shared).range(0, 70_000);
            let outcome = request.begin(&near, &out).expect("what it needs").run();
            assert!(far.received(out) == Some(pattern(70_000)));
            outcome
                .refusals
                .iter()
                .map(|refusal| refusal.reason)
                .collect::<Vec<_>>()
        })
    });
    let [first, second] = reasons.join().expect("the case");
    assert_eq!(first, [Reason::Errno(Sysno::sendfile, Errno::ENOSYS)]);
    assert_eq!(second, [Reason::Remembered]);
    forget_refusals();
}

/// A large file is cloned where the file system can. Each errno of the call: at the first byte, and after what others have copied.
#[test]
fn a_refused_clone_loses_nothing() {
    const LARGE: usize = (17 << 20) + 4711;
    const REQUEST: u32 = 0x4020_940D; // FICLONERANGE
    static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(LARGE + 5000));
    let errnos = [of_the_table(), OTHERS.to_vec()].concat();
    let cases = errnos
        .iter()
        .flat_map(|errno| [None, Some(0), Some(5000)].map(|range| (*errno, range)));
    for (errno, range) in cases {
        in_turn(move || {
            let near = source(From::File, &CONTENT);
            let (out, far) = sink(To::File, LARGE);
            Filter {
                call: Sysno::ioctl,
                errno: errno.into_raw(),
                argument: Some((1, REQUEST)),
            }
            .install();
            let request = Request::new(Stability::Snapshot);
            // Without a length, the first 16 MiB are copied before the source is known to be large.
            let (request, start, first) = match range {
                Some(start) => (request.range(start, LARGE as u64), start, 0_u64),
                None => (request, 0, 16 << 20),
            };
            let outcome = request.begin(&near, &out).expect("what it needs").run();
            let what = format!("{errno}, {range:?}: {outcome}");
            let is_met = outcome
                .refusals
                .iter()
                .any(|it| it.reason == Reason::Errno(Sysno::ioctl, errno));
            if fallback::is_refusal(Sysno::ioctl, errno) {
                let length = range.map_or(CONTENT.len(), |_| LARGE);
                assert_eq!(
                    (outcome.bytes, outcome.held, is_met),
                    (length as u64, 0, true),
                    "{what}"
                );
                let from = usize::try_from(start).expect("small");
                assert!(
                    far.received(out).as_deref() == Some(&CONTENT[from..from + length]),
                    "{what}"
                );
            } else {
                assert_eq!(outcome.ended, Ended::Failed(Sysno::ioctl, errno), "{what}");
                // Without copy_file_range, sendfile has sent the first MiB.
                let is_first =
                    outcome.bytes == first || range.is_none() && outcome.bytes == 1 << 20;
                assert!(is_first && outcome.held == 0, "{what}");
            }
        });
    }
}

/// What a row of the table has before read and write can be refused, all of it, one after the other.
#[test]
fn with_everything_refused_it_is_read_and_written() {
    in_turn(|| {
        for call in [Sysno::sendfile, Sysno::splice, Sysno::copy_file_range] {
            refuse(call, Errno::EPERM);
        }
        for from in common::SOURCES {
            for to in [To::Tcp, To::Pipe, To::File] {
                let near = source(from, &pattern(LENGTH));
                let (out, far) = sink(to, LENGTH);
                let outcome = Request::new(Stability::Shared)
                    .begin(&near, &out)
                    .expect("what it needs")
                    .run();
                assert!(
                    far.received(out) == Some(pattern(LENGTH)),
                    "{from:?} to {to:?}: {outcome}"
                );
                let row = choice::row(
                    outcome.kinds.expect("chosen").0,
                    outcome.kinds.expect("chosen").1,
                );
                let others = row.shared.iter().filter(|step| step.least == 0).count() - 1;
                assert_eq!(
                    outcome.refusals.len(),
                    others,
                    "{from:?} to {to:?}: {outcome}"
                );
            }
        }
    });
}

/// A small range of a file, as one call or as a transfer that an event loop advances.
fn small_range(
    is_call: bool,
    near: &File,
    length: usize,
    out: &UnixStream,
) -> Result<Outcome, Error> {
    let request = Request::new(Stability::Shared).range(0, length as u64);
    if is_call {
        copy_range(near, 0, length as u64, out, Stability::Shared)
    } else {
        request.begin(near, out)?.complete()
    }
}

/// A case of [`small_range`], in both of its forms.
fn in_each_form(case: impl Fn(bool) + Copy + Send + 'static) {
    for is_call in [true, false] {
        in_turn(move || case(is_call));
    }
}

/// A small range of a file is one call, and what that returns is not forgotten: the rest goes another way, or the error is the one.
#[test]
fn the_only_call_of_a_small_range_is_refused() {
    const SMALL: usize = 300_000;
    for errno in [of_the_table(), OTHERS.to_vec()].concat() {
        in_each_form(move |is_call| {
            let near = File::from(source(From::File, &pattern(SMALL)));
            let (out, far) = UnixStream::pair().expect("a pair");
            let reader = thread::spawn(move || {
                let mut bytes = Vec::new();
                { far }.read_to_end(&mut bytes).map(|_| bytes)
            });
            refuse(Sysno::sendfile, errno);
            let copied = small_range(is_call, &near, SMALL, &out);
            drop(out);
            let bytes = reader.join().expect("the reader").expect("bytes");
            if fallback::is_refusal(Sysno::sendfile, errno) {
                let outcome = copied.expect("a copy");
                assert!(bytes == pattern(SMALL), "{outcome}");
                assert_eq!(
                    outcome.refusals[0].reason,
                    Reason::Errno(Sysno::sendfile, errno)
                );
                assert_eq!(
                    (outcome.refusals.len(), outcome.bytes),
                    (1, SMALL as u64),
                    "{outcome}"
                );
            } else {
                let error = copied.expect_err("it is refused");
                assert_eq!((error.errno(), bytes.len()), (Some(errno), 0), "{error}");
            }
        });
    }
}

/// The socket takes a part of it, and must be waited for.
#[test]
fn the_first_call_of_a_small_range_is_short() {
    in_each_form(|is_call| {
        let near = File::from(source(From::File, &pattern(900_000)));
        let (out, far) = UnixStream::pair().expect("a pair");
        out.set_nonblocking(true).expect("set");
        let reader = thread::spawn(move || {
            thread::sleep(std::time::Duration::from_millis(20));
            let mut bytes = Vec::new();
            { far }.read_to_end(&mut bytes).map(|_| bytes)
        });
        let outcome = small_range(is_call, &near, 900_000, &out).expect("a copy");
        drop(out);
        assert_eq!(
            (outcome.bytes, outcome.segments.len()),
            (900_000, 1),
            "{outcome}"
        );
        assert!(reader.join().expect("the reader").expect("bytes") == pattern(900_000));
    });
}

/// What asks the kernel about a descriptor.
const QUESTIONS: [Sysno; 4] = [
    Sysno::fstat,
    Sysno::newfstatat,
    Sysno::fcntl,
    Sysno::getsockopt,
];

/// A small range that is sent whole asks nothing; one that is not asks, and an answer that fails is reported with the exact count.
#[test]
fn a_small_range_asks_the_kernel_only_after_its_call() {
    in_each_form(|is_call| {
        let near = File::from(source(From::File, &pattern(900_000)));
        let (out, far) = UnixStream::pair().expect("a pair");
        out.set_nonblocking(true).expect("set");
        for call in QUESTIONS {
            refuse(call, Errno::EUCLEAN);
        }
        let outcome = small_range(is_call, &near, 5000, &out).expect("no question");
        assert_eq!((outcome.bytes, outcome.ended), (5000, Ended::Complete));
        let error = small_range(is_call, &near, 900_000, &out).expect_err("a question");
        assert_eq!(error.errno(), Some(Errno::EUCLEAN), "{error}");
        drop(out);
        let mut bytes = Vec::new();
        { far }.read_to_end(&mut bytes).expect("bytes");
        let taken = bytes.len() - 5000;
        assert!(taken > 0 && bytes == [pattern(5000), pattern(900_000)[..taken].to_vec()].concat());
        let Error::Stopped(stopped) = error else {
            panic!("{error}")
        };
        assert_eq!(stopped.outcome.bytes, taken as u64);
    });
}

/// A type that was made of another kind of socket: where the first call is refused, nothing is sent in messages of any size.
#[test]
fn a_stream_by_its_type_alone_gets_no_messages_of_any_size() {
    in_each_form(|is_call| {
        let near = File::from(source(From::File, &pattern(5000)));
        let (out, far) = UnixDatagram::pair().expect("a pair");
        let out = UnixStream::from(OwnedFd::from(out));
        refuse(Sysno::sendfile, Errno::EINVAL);
        let error = small_range(is_call, &near, 5000, &out).expect_err("it has messages");
        assert!(matches!(error, Error::NeedsMessageSize), "{error}");
        far.set_nonblocking(true).expect("set");
        let nothing = far.recv(&mut [0; 10]).expect_err("no message");
        assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
    });
}

/// An error that the kernel reports once is reported, whatever can be asked afterwards.
#[test]
fn the_errno_of_the_only_call_is_not_replaced() {
    in_each_form(|is_call| {
        let near = File::from(source(From::File, &pattern(5000)));
        let (out, _far) = UnixStream::pair().expect("a pair");
        refuse(Sysno::sendfile, Errno::ECONNRESET);
        for call in QUESTIONS {
            refuse(call, Errno::EUCLEAN);
        }
        let error = small_range(is_call, &near, 5000, &out).expect_err("it is reset");
        assert_eq!(error.errno(), Some(Errno::ECONNRESET), "{error}");
    });
}

/// Ways that are remembered as missing are noted for each turn of a long transfer, but not for ever.
#[test]
fn what_is_noted_of_refusals_is_bounded() {
    in_turn(|| {
        let content = pattern(8 << 20);
        let near = File::from(source(From::File, &content));
        let (out, far) = UnixStream::pair().expect("a pair");
        out.set_nonblocking(true).expect("set");
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            { far }.read_to_end(&mut bytes).map(|_| bytes)
        });
        refuse(Sysno::sendfile, Errno::ENOSYS);
        refuse(Sysno::splice, Errno::ENOSYS);
        let request = Request::new(Stability::Shared).range(0, content.len() as u64);
        let mut transfer = request.begin(&near, &out).expect("what it needs");
        loop {
            match transfer.advance(20_000) {
                State::Ended => break,
                State::Budget => {}
                State::Waits(wait) => transfer.wait(wait).expect("a poll"),
            }
        }
        let outcome = transfer.outcome();
        drop(out);
        assert!(reader.join().expect("the reader").expect("bytes") == content);
        assert!(outcome.refusals.len() < 100, "{}", outcome.refusals.len());
    });
}

/// A descriptor with `O_APPEND` is refused by `splice`, which says nothing of others of its kind.
#[test]
fn one_descriptor_does_not_turn_a_way_off() {
    in_turn(|| {
        let through = |appends: bool| {
            let (read, mut write) = std::io::pipe().expect("a pipe");
            let (out, mut far) = UnixStream::pair().expect("a pair");
            if appends {
                let flags = rustix::fs::fcntl_getfl(&out).expect("flags");
                rustix::fs::fcntl_setfl(&out, flags | rustix::fs::OFlags::APPEND).expect("set");
            }
            write.write_all(b"12345").expect("room");
            drop(write);
            let request = Request::new(Stability::Shared);
            let outcome = request.begin(&read, &out).expect("what it needs").run();
            drop(out);
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).expect("bytes");
            assert_eq!(bytes, b"12345");
            outcome
        };
        let refused = through(true);
        assert!(!refused.refusals.is_empty(), "{refused}");
        let outcome = through(false);
        assert!(outcome.refusals.is_empty(), "{outcome}");
    });
}

fn refuse(call: Sysno, errno: Errno) {
    Filter {
        call,
        errno: errno.into_raw(),
        argument: None,
    }
    .install();
}
