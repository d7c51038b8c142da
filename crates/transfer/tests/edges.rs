//! What a copy meets: ends, positions, files that change, urgent bytes, signals, peers that go away, pipes that are used up.

mod common;

use common::{From, MESSAGE, To, file, memfd, pattern, set_nonblocking, sink, source, tcp};
use nocopy_transfer::{
    Ended, Errno, Error, Outcome, Pool, Reason, Request, Route, Sender, Stability, State, Sysno,
    Transfer, WHOLE, Wait, copy, copy_range, delivery,
};
use rustix::fs::SealFlags;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

const SHARED: Stability = Stability::Shared;
const LENGTH: usize = (3 << 20) + 4711;

fn routes(outcome: &Outcome) -> Vec<&'static str> {
    outcome
        .segments
        .iter()
        .map(|segment| segment.route.name())
        .collect()
}

#[test]
fn a_copy_moves_the_position_and_a_range_does_not() {
    let content = pattern(100_000);
    let mut from = file(&content);
    from.seek(SeekFrom::Start(1000)).expect("a file");
    let mut to = file(b"before");
    to.seek(SeekFrom::End(0)).expect("a file");
    let outcome = copy_range(&from, 500, 200, &to, SHARED).expect("a copy");
    assert_eq!(
        (outcome.bytes, from.stream_position().expect("a file")),
        (200, 1000)
    );
    let outcome = copy(&from, &to, SHARED).expect("a copy");
    assert_eq!(
        (outcome.bytes, from.stream_position().expect("a file")),
        (99_000, 100_000)
    );
    assert_eq!(to.stream_position().expect("a file"), 6 + 200 + 99_000);
    to.rewind().expect("a file");
    let mut bytes = Vec::new();
    to.read_to_end(&mut bytes).expect("a file");
    assert!(bytes == [b"before", &content[500..700], &content[1000..]].concat());
}

/// A transfer that waits holds nothing of a file: it can be dropped, and the position is that of the first byte that was not taken.
#[test]
fn a_copy_of_a_file_that_is_dropped_loses_nothing() {
    for stability in [SHARED, Stability::Snapshot] {
        let mut from = file(&pattern(8 << 20));
        let (out, far) = UnixStream::pair().expect("a pair");
        out.set_nonblocking(true).expect("set");
        let mut transfer = Request::new(stability)
            .at_most(8 << 20)
            .begin(&from, &out)
            .expect("what it needs");
        assert_eq!(transfer.advance(u64::MAX), State::Waits(Wait::Sink));
        let taken = transfer.taken();
        drop(transfer);
        assert_eq!(from.stream_position().expect("a file"), taken);
        drop(out);
        let mut bytes = Vec::new();
        { far }.read_to_end(&mut bytes).expect("bytes");
        assert!(bytes == pattern(8 << 20)[..bytes.len()] && bytes.len() as u64 == taken);
    }
}

#[test]
fn ranges_at_the_largest_offsets_are_no_overflow() {
    let from = file(&pattern(100));
    for (offset, length) in [
        (0, u64::MAX),
        (u64::MAX, u64::MAX),
        (u64::MAX, 0),
        (i64::MAX as u64, u64::MAX),
        (50, u64::MAX - 1),
    ] {
        for to in [To::Unix, To::File, To::Append, To::Pipe] {
            for stability in [SHARED, Stability::Snapshot] {
                let (out, _far) = sink(to, 0);
                let copied = copy_range(&from, offset, length, &out, stability);
                // Beyond what an offset can be, the kernel refuses it.
                let bytes = copied.map_or(0, |outcome| outcome.bytes);
                assert_eq!(
                    bytes,
                    100_u64.saturating_sub(offset),
                    "{offset}, {length}, {to:?}"
                );
            }
        }
        let (out, _far) = sink(To::Unix, 0);
        for route in Route::ALL {
            if let Ok(transfer) = Transfer::by(*route, &from, offset, length, &out) {
                transfer.run();
            }
        }
    }
}

#[test]
fn a_range_past_the_end_is_the_rest() {
    let from = file(&pattern(10_000));
    let (out, far) = sink(To::Tcp, 1000);
    let outcome = copy_range(&from, 9000, 100_000, &out, SHARED).expect("a copy");
    assert_eq!((outcome.ended, outcome.bytes), (Ended::SourceEnded, 1000));
    assert!(far.received(out) == Some(pattern(10_000)[9000..].to_vec()));
    let (out, _far) = sink(To::File, 0);
    let outcome = copy_range(&from, 20_000, 5, &out, SHARED).expect("a copy");
    assert_eq!((outcome.ended, outcome.bytes), (Ended::SourceEnded, 0));
}

/// A file without a size, which neither `copy_file_range` nor `sendfile` reads.
#[test]
fn a_file_of_proc_is_read() {
    for to in [To::File, To::Tcp, To::Pipe, To::Append] {
        for _ in 0..2 {
            let from = File::open("/proc/self/maps").expect("it is there");
            let (out, far) = sink(to, 10 << 20);
            let outcome = copy(&from, &out, SHARED).expect("a copy");
            let bytes = far.received(out).expect("bytes");
            assert_eq!(outcome.bytes, bytes.len() as u64, "{to:?}: {outcome}");
            assert!(
                bytes.len() > 100 && bytes.ends_with(b"\n"),
                "{to:?}: {outcome}"
            );
            assert_eq!(routes(&outcome), ["read-write"], "{to:?}: {outcome}");
        }
    }
}

#[test]
fn a_directory_is_an_error_and_nothing_is_lost() {
    let from = File::open("/").expect("a directory");
    let (out, _far) = sink(To::Tcp, 0);
    let error = copy(&from, &out, SHARED).expect_err("a directory has no bytes");
    assert_eq!(error.errno(), Some(Errno::EISDIR), "{error}");
}

/// Two ranges that overlap: no route may copy what it has just written, for ever.
#[test]
fn a_file_is_not_copied_over_itself() {
    let content = pattern(100_000);
    let mut from = file(&content);
    let again = |append| {
        let path = format!("/proc/self/fd/{}", from.as_raw_fd());
        File::options()
            .write(true)
            .append(append)
            .open(path)
            .expect("the file again")
    };
    let (same, appended) = (again(false), again(true));
    (&same).seek(SeekFrom::Start(10)).expect("a file");
    // By their types, and where only the kernel knows what they are.
    let unknown = OwnedFd::from(same.try_clone().expect("dup"));
    for error in [
        copy_range(&from, 0, 100_000, &same, SHARED),
        copy_range(&from, 0, 100_000, &same, Stability::Snapshot),
        copy_range(&from, 0, 100_000, &unknown, SHARED),
        copy(&from, &same, SHARED),
        copy(&from, &appended, SHARED),
        {
            (&same).seek(SeekFrom::End(0)).expect("a file");
            copy(&from, &same, SHARED) // it would never end
        },
    ] {
        let error = error.expect_err("they overlap");
        assert_eq!(error.errno(), Some(Errno::EINVAL), "{error}");
    }
    from.rewind().expect("a file");
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).expect("a file");
    assert!(bytes == content);
    // Ranges apart from each other are copied.
    (&same).seek(SeekFrom::Start(50_000)).expect("a file");
    copy_range(&from, 0, 50_000, &same, SHARED).expect("a copy");
    copy_range(&from, 0, 10, &appended, SHARED).expect("a copy");
    from.rewind().expect("a file");
    bytes.clear();
    from.read_to_end(&mut bytes).expect("a file");
    assert!(bytes == [&content[..50_000], &content[..50_000], &content[..10]].concat());
}

#[test]
fn a_source_that_shrinks_ends_it() {
    let from = file(&pattern(LENGTH));
    let (near, far) = tcp();
    let near = OwnedFd::from(near);
    set_nonblocking(&near);
    let request = Request::new(SHARED).range(0, LENGTH as u64).look_back();
    let mut transfer = request.begin(&from, &near).expect("what it needs");
    assert_eq!(transfer.advance(200_000), State::Budget);
    from.set_len(100_003).expect("a file");
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        { far }.read_to_end(&mut bytes).map(|_| bytes)
    });
    transfer.drive();
    let outcome = transfer.outcome();
    assert_eq!(
        (outcome.ended, outcome.shrank_to),
        (Ended::SourceEnded, Some(100_003)),
        "{outcome}"
    );
    drop(near);
    let bytes = reader.join().expect("the reader").expect("bytes");
    assert_eq!(bytes.len() as u64, outcome.bytes);
    assert!(bytes[..100_003] == pattern(LENGTH)[..100_003]);
}

#[test]
fn a_growing_file_is_copied_as_far_as_it_is() {
    let mut from = file(&pattern(10_000));
    let (out, _far) = sink(To::Unix, 20_000);
    assert_eq!(copy(&from, &out, SHARED).expect("a copy").bytes, 10_000);
    from.write_all(b"more").expect("room");
    from.seek(SeekFrom::End(-4)).expect("a file");
    assert_eq!(copy(&from, &out, SHARED).expect("a copy").bytes, 4);
}

#[test]
fn what_cannot_change_is_sent_without_a_copy_of_a_memfd() {
    let taken = |seals| {
        let from = memfd(&pattern(LENGTH));
        rustix::fs::fcntl_add_seals(&from, seals).expect("seals");
        let (out, far) = sink(To::Pipe, LENGTH);
        let outcome =
            copy_range(&from, 0, LENGTH as u64, &out, Stability::Snapshot).expect("a copy");
        assert!(far.received(out) == Some(pattern(LENGTH)));
        outcome.is_shared()
    };
    assert!(taken(SealFlags::WRITE | SealFlags::SHRINK));
    assert!(!taken(SealFlags::WRITE), "it can be cut off");
    assert!(
        !taken(SealFlags::SHRINK | SealFlags::GROW),
        "it can be written to"
    );
}

/// `splice` returns 0 at an urgent byte, as at the end: what follows is not lost.
#[test]
fn an_urgent_byte_is_not_the_end() {
    let (near, mut far) = tcp();
    let (out, out_far) = sink(To::Unix, 100);
    let writer = thread::spawn(move || {
        far.write_all(b"before").expect("room");
        thread::sleep(Duration::from_millis(50));
        // SAFETY: one byte that is read during the call.
        let sent = unsafe { libc::send(far.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        assert_eq!(sent, 1);
        thread::sleep(Duration::from_millis(50));
        far.write_all(b"after").expect("room");
        thread::sleep(Duration::from_millis(50));
        far.write_all(b"more").expect("room");
    });
    let outcome = copy(&near, &out, SHARED).expect("a copy");
    writer.join().expect("the writer");
    assert_eq!(
        out_far.received(out).as_deref(),
        Some(b"beforeaftermore".as_slice()),
        "{outcome}"
    );
    assert!(
        outcome
            .refusals
            .iter()
            .all(|it| it.reason == Reason::Nothing(Sysno::splice)),
        "{outcome}"
    );
}

/// A socket that does not block gets `EAGAIN` from `splice` at an urgent byte, though more is there: no loop, and nothing is lost.
#[test]
fn an_urgent_byte_is_no_reason_to_wait() {
    for to in [To::Unix, To::Tcp, To::Pipe] {
        let (near, mut far) = tcp();
        let near = OwnedFd::from(near);
        set_nonblocking(&near);
        let (out, out_far) = sink(to, 100);
        set_nonblocking(&out);
        let mut transfer = Request::new(SHARED)
            .begin(&near, &out)
            .expect("what it needs");
        // One after the other: of two urgent bytes that have not been passed, the first becomes an ordinary one.
        for round in 0..200 {
            far.write_all(b"ab").expect("room");
            // SAFETY: one byte that is read during the call.
            let sent =
                unsafe { libc::send(far.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
            assert_eq!(sent, 1, "{round}");
            far.write_all(b"cd").expect("room");
            let mut turns = 0;
            while transfer.taken() < 4 * (round + 1) {
                turns += 1;
                assert!(turns < 5000, "{to:?}, {round}: {} bytes", transfer.taken());
                if let State::Waits(_) = transfer.advance(u64::MAX) {
                    thread::sleep(Duration::from_micros(200));
                }
            }
        }
        drop(far);
        transfer.drive();
        let outcome = transfer.outcome();
        assert_eq!(
            (outcome.ended, outcome.bytes),
            (Ended::Complete, 800),
            "{outcome}"
        );
        assert!(
            outcome.refusals.len() <= 65 && outcome.segments.len() <= 66,
            "{outcome}"
        );
        assert_eq!(outcome.segments.iter().map(|it| it.bytes).sum::<u64>(), 800);
        assert!(out_far.received(out) == Some(b"abcd".repeat(200)), "{to:?}");
    }
}

/// Datagrams that are read with too short a buffer are cut.
#[test]
fn a_source_with_messages_is_refused() {
    let (near, _far) = UnixDatagram::pair().expect("a pair");
    let refused = copy(&near, &file(b""), SHARED);
    assert!(matches!(refused, Err(Error::SourceHasMessages)));
    let refused = copy(&OwnedFd::from(near), &file(b""), SHARED);
    assert!(matches!(refused, Err(Error::SourceHasMessages)));
}

/// A snapshot is one also where the type is `File` and the descriptor a pipe, to which `splice` gives pages away.
#[test]
fn a_snapshot_into_a_file_that_is_a_pipe_is_a_copy() {
    let near = source(From::Pipe, &pattern(10_000));
    let (out, far) = sink(To::Pipe, 10_000);
    let out = File::from(out);
    let outcome = copy(&near, &out, Stability::Snapshot).expect("a copy");
    assert_eq!(routes(&outcome), ["read-write"], "{outcome}");
    assert!(far.received(out.into()) == Some(pattern(10_000)));
}

/// Bytes of what has no position, though `lseek` succeeds on it, are given back.
#[test]
fn what_an_eventfd_has_given_is_kept() {
    // SAFETY: two numbers; the descriptor is new.
    let counter = unsafe { OwnedFd::from_raw_fd(libc::eventfd(42, libc::EFD_NONBLOCK)) };
    let (_read, write) = std::io::pipe().expect("a pipe");
    let write = OwnedFd::from(write);
    set_nonblocking(&write);
    while rustix::io::write(&write, &[0; 4096]).is_ok() {}
    let mut transfer = Request::new(SHARED)
        .begin(&counter, &write)
        .expect("what it needs");
    assert_eq!(transfer.advance(u64::MAX), State::Waits(Wait::Sink));
    let parts = transfer.into_parts();
    assert_eq!(
        (parts.held, parts.outcome.held),
        (42_u64.to_ne_bytes().to_vec(), 8)
    );
}

#[test]
fn a_peer_that_goes_away_is_an_error_with_the_rest() {
    for from in common::SOURCES {
        let content = pattern(8 << 20);
        let near = source(from, &content);
        let (out, mut far) = UnixStream::pair().expect("a pair");
        let reader = thread::spawn(move || {
            let mut bytes = vec![0; 1 << 20];
            far.read_exact(&mut bytes).expect("bytes");
            bytes
        });
        let error = copy(&near, &out, SHARED).expect_err("nobody reads the rest");
        // With bytes of ours unread, a peer resets the connection.
        assert!(
            matches!(error.errno(), Some(Errno::EPIPE | Errno::ECONNRESET)),
            "{from:?}: {error}"
        );
        let Error::Stopped(stopped) = error else {
            panic!("{error}")
        };
        let taken = usize::try_from(stopped.outcome.bytes).expect("a length");
        assert!(
            taken >= 1 << 20 && taken < content.len(),
            "{from:?}: {}",
            stopped.outcome
        );
        assert!(reader.join().expect("the reader") == content[..1 << 20]);
        let mut rest = stopped.held;
        assert_eq!(stopped.outcome.held, rest.len() as u64);
        File::from(near)
            .read_to_end(&mut rest)
            .expect("the rest of the source");
        assert!(rest == content[taken..], "{from:?}: {}", stopped.outcome);
    }
}

#[test]
fn a_timeout_is_an_error_and_not_a_wait() {
    let (out, _far) = UnixStream::pair().expect("a pair");
    out.set_write_timeout(Some(Duration::from_millis(1)))
        .expect("an option");
    let error = copy(&file(&pattern(LENGTH)), &out, SHARED).expect_err("nobody reads");
    assert_eq!(error.errno(), Some(Errno::EAGAIN), "{error}");
    let (near, _far) = UnixStream::pair().expect("a pair");
    near.set_read_timeout(Some(Duration::from_millis(1)))
        .expect("an option");
    let (out, _reader) = sink(To::File, 0);
    let error = copy(&near, &out, SHARED).expect_err("nobody writes");
    assert_eq!(error.errno(), Some(Errno::EAGAIN), "{error}");
}

/// `EAGAIN` of a splice into the caller's pipe does not say which end it is about.
#[test]
fn each_end_is_waited_for() {
    let (near, mut far) = UnixStream::pair().expect("a pair");
    let (mut read, write) = std::io::pipe().expect("a pipe");
    nocopy_splice::fcntl_setpipe_size(&write, 4096).expect("a size");
    let (near, write) = (OwnedFd::from(near), OwnedFd::from(write));
    set_nonblocking(&near);
    set_nonblocking(&write);
    let mut transfer = Request::new(SHARED)
        .begin(&near, &write)
        .expect("what it needs");
    assert_eq!(transfer.advance(u64::MAX), State::Waits(Wait::Source));
    far.write_all(&pattern(100_000)).expect("room");
    assert_eq!(transfer.advance(u64::MAX), State::Waits(Wait::Sink));
    let mut bytes = vec![0; 1 << 20];
    let mut at = read.read(&mut bytes).expect("bytes");
    drop(far);
    while transfer.advance(u64::MAX) != State::Ended {
        at += read.read(&mut bytes[at..]).expect("bytes");
    }
    assert_eq!(transfer.outcome().ended, Ended::Complete);
    drop(write);
    bytes.truncate(at);
    read.read_to_end(&mut bytes).expect("bytes");
    assert!(bytes == pattern(100_000));
}

#[test]
fn messages_have_the_size_that_was_asked_for() {
    let (near, far) = UnixDatagram::pair().expect("a pair");
    let from = file(&pattern(2 * MESSAGE + 1));
    assert!(matches!(
        copy(&from, &near, SHARED),
        Err(Error::NeedsMessageSize)
    ));
    // Also where only the kernel knows what the descriptor is.
    let near = OwnedFd::from(near);
    assert!(matches!(
        copy(&from, &near, SHARED),
        Err(Error::NeedsMessageSize)
    ));
    let outcome = Request::new(SHARED)
        .messages(MESSAGE)
        .begin(&from, &near)
        .expect("what it needs")
        .run();
    assert_eq!(outcome.bytes, 2 * MESSAGE as u64 + 1);
    let mut message = [0; 2 * MESSAGE];
    let sizes = [(); 3].map(|()| far.recv(&mut message).expect("a message"));
    assert_eq!(sizes, [MESSAGE, MESSAGE, 1]);
}

/// A stream that comes in small pieces still makes whole messages, also if one end must be waited for.
#[test]
fn messages_are_filled_from_small_pieces() {
    let (near, mut far) = UnixStream::pair().expect("a pair");
    let near = OwnedFd::from(near);
    set_nonblocking(&near);
    let (out, reader) = sink(To::Datagrams, 10 * MESSAGE);
    set_nonblocking(&out);
    let writer = thread::spawn(move || {
        for piece in pattern(10 * MESSAGE).chunks(77) {
            far.write_all(piece).expect("room");
            thread::yield_now();
        }
    });
    let mut transfer = Request::new(SHARED)
        .messages(MESSAGE)
        .begin(&near, &out)
        .expect("what it needs");
    transfer.drive();
    writer.join().expect("the writer");
    assert_eq!(transfer.outcome().ended, Ended::Complete);
    assert!(reader.received(out) == Some(pattern(10 * MESSAGE)));
}

#[test]
fn without_a_pipe_it_is_copied() {
    let none = Arc::new(Pool::new(0));
    for from in [From::Tcp, From::File] {
        let near = source(from, &pattern(LENGTH));
        let (out, far) = sink(To::Tcp, LENGTH);
        let outcome = Request::new(SHARED)
            .at_most(LENGTH as u64)
            .pool(&none)
            .begin(&near, &out)
            .expect("begun")
            .run();
        assert_eq!(outcome.refusals[0].reason, Reason::NoPipe, "{outcome}");
        assert_eq!(
            routes(&outcome),
            [if from == From::Tcp {
                "read-write"
            } else {
                "sendfile"
            }]
        );
        assert!(far.received(out) == Some(pattern(LENGTH)));
    }
    assert_eq!(none.capacity(), 0);
}

/// Two transfers that hold bytes have two pipes; when they are through, both are in the pool again.
#[test]
fn a_pipe_is_lent_to_one_transfer_and_comes_back_empty() {
    let pool = Arc::new(Pool::new((2 << 20) + (64 << 10)));
    let stuck = |content: &[u8]| {
        let near = source(From::Unix, content);
        let (out, far) = tcp();
        let out = OwnedFd::from(out);
        set_nonblocking(&out);
        let mut transfer = Request::new(SHARED)
            .pool(&pool)
            .begin(near, out)
            .expect("begun");
        while transfer.advance(u64::MAX) != State::Waits(Wait::Sink) {}
        (transfer, far)
    };
    let content = pattern(16 << 20);
    let (first, first_far) = stuck(&content);
    let (second, _second_far) = stuck(&content);
    assert_eq!(pool.capacity(), 2 << 20);
    let (third, _third_far) = stuck(&content);
    assert_eq!(
        pool.capacity(),
        (2 << 20) + (64 << 10),
        "the last one is small"
    );
    let fourth = stuck(&content).0.outcome();
    assert!(
        fourth.refusals.iter().any(|it| it.reason == Reason::NoPipe),
        "{fourth}"
    );

    // Who asks gets the bytes, and the pipe is empty then.
    let parts = second.into_parts();
    assert!(!parts.held.is_empty() && parts.outcome.held == parts.held.len() as u64);
    let at = usize::try_from(parts.outcome.bytes).expect("a length");
    assert!(parts.held == content[at..at + parts.held.len()]);
    let mut next = vec![0; 1000];
    File::from(parts.source)
        .read_exact(&mut next)
        .expect("more");
    let at = at + parts.held.len();
    assert!(next == content[at..at + 1000]);
    assert_eq!(pool.capacity(), (2 << 20) + (64 << 10));
    // What is dropped with bytes in its pipe takes the pipe along.
    drop(third);
    assert_eq!(pool.capacity(), 2 << 20);

    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        { first_far }.read_to_end(&mut bytes).map(|_| bytes)
    });
    let mut first = first;
    first.drive();
    assert_eq!(first.into_parts().outcome.ended, Ended::Complete);
    assert!(reader.join().expect("the reader").expect("bytes") == content);
    assert_eq!(pool.capacity(), 2 << 20, "both are idle");
}

/// Signals all the time: each call may end early or with `EINTR`.
#[test]
fn signals_lose_nothing() {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    extern "C" fn count(_: libc::c_int) {
        COUNT.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: an empty action, and a handler that only counts. Without SA_RESTART, calls end with EINTR.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(libc::c_int) as usize;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()),
            0
        );
    }
    for from in common::SOURCES {
        for to in [To::Tcp, To::Unix, To::Pipe] {
            let near = source(from, &pattern(8 << 20));
            let (out, far) = sink(to, 8 << 20);
            // SAFETY: the own thread.
            let this = unsafe { libc::pthread_self() };
            let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
            let sender = thread::spawn({
                let stop = Arc::clone(&stop);
                move || {
                    while !stop.load(Ordering::Relaxed) {
                        // SAFETY: the thread waits for this one.
                        unsafe { libc::pthread_kill(this, libc::SIGUSR1) };
                        thread::sleep(Duration::from_micros(50));
                    }
                }
            });
            let request = Request::new(SHARED).at_most(8 << 20);
            let outcome = request
                .begin(&near, &out)
                .expect("what it needs")
                .complete();
            stop.store(true, Ordering::Relaxed);
            sender.join().expect("the sender");
            let outcome = outcome.expect("a copy");
            assert_eq!(outcome.bytes, 8 << 20, "{from:?} to {to:?}: {outcome}");
            assert!(
                far.received(out) == Some(pattern(8 << 20)),
                "{from:?} to {to:?}: {outcome}"
            );
        }
    }
    assert!(COUNT.load(Ordering::Relaxed) > 0);
}

/// The type of a descriptor can be wrong: then the kernel's answer counts, also for what is large enough to be cloned.
#[test]
fn a_file_that_is_a_stream_is_one_of_any_size() {
    for length in [LENGTH, 16 << 20] {
        let content = pattern(length);
        for from in [From::Pipe, From::Tcp, From::Unix] {
            let near = File::from(source(from, &content));
            let (out, far) = sink(To::File, length);
            let request = Request::new(SHARED).at_most(length as u64);
            let outcome = request.begin(&near, &out).expect("begun").run();
            assert_eq!(outcome.ended, Ended::Complete, "{from:?}: {outcome}");
            assert_eq!(outcome.refusals, [], "{from:?}: {outcome}");
            assert!(far.received(out).as_ref() == Some(&content), "{from:?}");
        }
        for to in [To::Pipe, To::Tcp, To::Unix] {
            let (out, far) = sink(to, length);
            let out = File::from(out);
            let near = file(&content);
            let outcome = copy_range(&near, 0, length as u64, &out, SHARED).expect("a copy");
            assert_eq!(outcome.bytes, length as u64, "{to:?}: {outcome}");
            let received = far.received(out.into());
            assert!(received.as_ref() == Some(&content), "{to:?}: {outcome}");
        }
    }
}

/// Messages are refused whatever the type says: a read that is too short would lose the rest of one.
#[test]
fn messages_are_no_stream() {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: two numbers that are written during the call.
    let made = unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) };
    assert_eq!(made, 0);
    // SAFETY: made above.
    let [near, far] = ends.map(|end| unsafe { UnixStream::from_raw_fd(end) });
    (&far).write_all(&[1; 1000]).expect("room");
    let (out, _reader) = sink(To::Unix, 0);
    let refused = Request::new(SHARED).begin(&near, &out);
    assert!(
        matches!(refused, Err(Error::SourceHasMessages)),
        "{refused:?}"
    );
    let refused = copy(&file(b"1234"), &near, SHARED).expect_err("messages");
    assert!(matches!(refused, Error::NeedsMessageSize), "{refused}");
    let udp = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    assert_eq!(delivery::confirm(&udp), Err(Errno::EOPNOTSUPP));
}

/// Sinks that nobody reads do not use up the pool: of a range of a file, nothing is held for them.
#[test]
fn stalled_ranges_hold_no_pipes() {
    const LARGE: u64 = 8 << 20;
    let pool = Arc::new(Pool::new(4 << 20));
    let content = pattern(8 << 20);
    let near = file(&content);
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let (out, far) = UnixStream::pair().expect("a pair");
        out.set_nonblocking(true).expect("set");
        let request = Request::new(SHARED).pool(&pool).range(0, LARGE);
        let mut transfer = request.begin(&near, out).expect("begun");
        assert_eq!(transfer.advance(u64::MAX), State::Waits(Wait::Sink));
        stalled.push((transfer, far));
    }
    let other = source(From::Unix, &pattern(10_000));
    let (out, _far) = sink(To::Tcp, 10_000);
    let request = Request::new(SHARED).pool(&pool);
    let outcome = request.begin(&other, &out).expect("begun").run();
    assert_eq!(routes(&outcome), ["splice"], "{outcome}");
    // They go on where they were.
    for (mut transfer, mut far) in stalled {
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            far.read_to_end(&mut bytes).map(|_| bytes)
        });
        transfer.drive();
        let parts = transfer.into_parts();
        drop(parts.sink);
        assert_eq!(parts.outcome.bytes, LARGE, "{}", parts.outcome);
        let bytes = reader.join().expect("the reader").expect("bytes");
        assert!(bytes == content, "{}", parts.outcome);
    }
}

/// What one descriptor refuses is not held against others before another way has moved bytes.
#[test]
fn a_bad_descriptor_spoils_nothing() {
    let path = std::env::temp_dir().join(format!("nocopy-bad-{}", std::process::id()));
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("a listener");
    std::fs::remove_file(&path).expect("removed");
    let (out, _far) = sink(To::Pipe, 0);
    assert!(copy(&OwnedFd::from(listener), &out, SHARED).is_err());
    let near = source(From::Unix, &pattern(10_000));
    let (out, far) = sink(To::Pipe, 10_000);
    let outcome = copy(&near, &out, SHARED).expect("a copy");
    assert_eq!(routes(&outcome), ["splice"], "{outcome}");
    assert!(far.received(out) == Some(pattern(10_000)));
}

/// Exactly what overlaps is refused, and a pipe is not copied to itself.
#[test]
fn only_what_overlaps_is_refused() {
    let (read, mut write) = std::io::pipe().expect("a pipe");
    write.write_all(b"12345").expect("room");
    let error = copy(&read, &write, SHARED).expect_err("for ever");
    assert!(error.to_string().contains("overlapping"), "{error}");
    // To the beginning of the same file.
    let of = |from: u64, length: u64| {
        let near = file(&pattern(8192));
        let path = format!("/proc/self/fd/{}", near.as_raw_fd());
        let out = File::options().write(true).open(path).expect("opened");
        let request = Request::new(SHARED).range(from, length);
        request.begin(&near, &out).expect("begun").run()
    };
    // It ends where it begins.
    assert_eq!(of(4096, u64::MAX).bytes, 4096);
    assert_eq!(of(4096, 8192).bytes, 4096);
    // Nothing is left of the source.
    assert_eq!(of(8192, u64::MAX).ended, Ended::SourceEnded);
    assert_eq!(of(4000, u64::MAX).ended, Ended::Overlaps);
}

/// A range that reaches past the largest offset ends where the file does, by each route.
#[test]
fn a_range_can_be_longer_than_any_file() {
    for route in [Route::Sendfile, Route::ReadWrite { buffer: 1000 }] {
        let (out, _far) = sink(To::Unix, 5);
        let transfer = Transfer::by(route, file(b"12345"), 0, u64::MAX, &out);
        let outcome = transfer.expect("begun").run();
        let expected = (5, Ended::SourceEnded);
        assert_eq!((outcome.bytes, outcome.ended), expected, "{route}");
    }
    let (out, _far) = sink(To::Unix, 0);
    let end = i64::MAX.cast_unsigned() - 1;
    let outcome = copy_range(&file(b"12345"), end, 10, &out, Stability::Snapshot);
    let outcome = outcome.expect("its end");
    assert_eq!((outcome.bytes, outcome.ended), (0, Ended::SourceEnded));
}

/// A size that nobody has memory for is an error, not a panic.
#[test]
fn a_buffer_of_any_size_can_be_asked_for() {
    let (out, _far) = sink(To::Unix, 0);
    let route = Route::ReadWrite { buffer: WHOLE };
    let by = |length| {
        Transfer::by(route, file(b"123"), 0, length, &out)
            .expect("a file")
            .run()
    };
    assert_eq!(
        by(u64::MAX).ended,
        Ended::Failed(Sysno::mmap, Errno::ENOMEM)
    );
    assert_eq!(by(3).bytes, 3);
}

#[test]
fn a_peer_that_has_read_all_is_confirmed() {
    let (out, far) = sink(To::Tcp, 1000);
    copy(&file(&pattern(1000)), &out, SHARED).expect("a copy");
    assert_eq!(delivery::confirm(&out), Ok(delivery::Delivery::All));
    assert_eq!(delivery::unacknowledged(&out), Ok(0));
    assert!(far.received(out) == Some(pattern(1000)));
}

#[test]
fn errors_and_outcomes_are_readable() {
    let (out, _far) = sink(To::Unix, 3);
    let outcome = Request::new(SHARED)
        .begin(&file(b"123"), &out)
        .expect("begun")
        .run();
    assert_eq!(outcome.to_string(), "3 bytes, 3 by sendfile (shared)");
    assert_eq!(outcome.result(), Ok(3));
    let error =
        copy(&File::open("/").expect("a directory"), &file(b""), SHARED).expect_err("a directory");
    let io = std::io::Error::from(error);
    assert_eq!(io.kind(), std::io::ErrorKind::IsADirectory);
    assert_eq!(
        Error::NeedsMessageSize.to_string(),
        "the sink has messages: name their size"
    );
    assert!("teleport".parse::<Route>().is_err());
}

/// A device, whose offset `sendfile` does not move: each byte that the sink took is counted.
#[test]
fn a_device_in_a_file_s_type_is_counted() {
    for is_call in [true, false] {
        let zero = File::open("/dev/zero").expect("a device");
        let (near, mut far) = tcp();
        let bytes = if is_call {
            let outcome = copy_range(&zero, 0, 5000, &near, SHARED).expect("a copy");
            outcome.bytes
        } else {
            let request = Request::new(SHARED).range(0, 5000);
            let mut transfer = request.begin(&zero, &near).expect("what it needs");
            while transfer.advance(1300) != State::Ended {}
            let outcome = transfer.outcome();
            assert_eq!(outcome.ended, Ended::Complete, "{outcome}");
            outcome.bytes
        };
        drop(near);
        let mut read = Vec::new();
        far.read_to_end(&mut read).expect("bytes");
        assert_eq!((bytes, read.len()), (5000, 5000));
    }
    let zero = File::open("/dev/zero").expect("a device");
    let (near, mut far) = tcp();
    let outcome = Transfer::by(Route::Sendfile, &zero, 0, 5000, &near)
        .expect("it begins")
        .run();
    drop(near);
    let mut read = Vec::new();
    far.read_to_end(&mut read).expect("bytes");
    assert_eq!(outcome.bytes, read.len() as u64, "{outcome}");
}

/// Messages have their size, also in a stream's type; a source with messages is refused by the documented error.
#[test]
fn messages_in_a_stream_s_type() {
    let seqpacket = || {
        let kind = rustix::net::SocketType::SEQPACKET;
        let family = rustix::net::AddressFamily::UNIX;
        let flags = rustix::net::SocketFlags::CLOEXEC;
        let (near, far) = rustix::net::socketpair(family, kind, flags, None).expect("a pair");
        (UnixStream::from(near), UnixStream::from(far))
    };
    let (near, mut far) = seqpacket();
    let request = Request::new(SHARED).range(0, 5000).messages(1000);
    let outcome = request
        .begin(&file(&pattern(5000)), &near)
        .expect("what it needs")
        .run();
    assert_eq!(outcome.bytes, 5000);
    let mut message = [0; 6000];
    for _ in 0..5 {
        assert_eq!(far.read(&mut message).expect("a message"), 1000);
    }
    let (near, _far) = seqpacket();
    let source = File::from(OwnedFd::from(near));
    let (out, _reader) = tcp();
    let refused = copy_range(&source, 0, 100, &out, SHARED).expect_err("it has messages");
    assert!(matches!(refused, Error::SourceHasMessages), "{refused}");
}

/// A range past the largest offset ends where the source does.
#[test]
fn a_range_past_the_largest_offset_is_not_complete() {
    let largest = i64::MAX as u64;
    for (offset, length) in [
        (largest, 100),
        (largest - 10, 100),
        (largest - 10, u64::MAX),
    ] {
        for stability in [SHARED, Stability::Snapshot] {
            let (near, _far) = tcp();
            let outcome = copy_range(&file(b"12345"), offset, length, &near, stability);
            let outcome = outcome.expect("nothing is there");
            assert_eq!(
                (outcome.bytes, outcome.ended),
                (0, Ended::SourceEnded),
                "{offset}"
            );
        }
    }
}

/// What somebody else has left in the error queue is reported by every poll, and is nothing to wait for.
#[test]
fn an_error_queue_that_nobody_reads_is_no_busy_loop() {
    let (near, far) = tcp();
    let ring_of_another = OwnedFd::from(near.try_clone().expect("dup"));
    let mut sender = Sender::new(ring_of_another).expect("a sink");
    sender.push(vec![7; 100_000]).expect("room");
    sender.send().expect("it is sent");
    let mut bytes = vec![0; 100_000];
    (&far).read_exact(&mut bytes).expect("bytes");
    std::mem::forget(sender); // its completion stays
    near.set_nonblocking(true).expect("set");
    let content = pattern(32 << 20);
    let source = file(&content);
    let request = Request::new(SHARED).range(0, content.len() as u64);
    let mut transfer = request.begin(&source, &near).expect("what it needs");
    // Nobody reads: it waits, a thousand times a second at most. A busy loop is a hundred times as fast.
    let end = std::time::Instant::now() + Duration::from_millis(100);
    let mut waits = 0;
    while std::time::Instant::now() < end {
        if let State::Waits(wait) = transfer.advance(u64::MAX) {
            transfer.wait(wait).expect("a poll");
            waits += 1;
        }
    }
    assert!(0 < waits && waits <= 200, "{waits}");
}
