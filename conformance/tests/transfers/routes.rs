//! Every route to every sink that it has, whole and under faults: what was reported as taken is what arrives.

use crate::common;
use conformance::lab::{io, pattern};
use nocopy_transfer::delivery::{self, Delivery};
use nocopy_transfer::{Ended, Outcome, Route, State, Transfer, WHOLE, Wait};
use rstest::rstest;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};
use syscalls::{Errno, Sysno};

/// What is sent: no multiple of a page, and more than any queue here takes.
const LENGTH: usize = (3 << 20) + 4711;
/// Where the range begins: neither at a page nor at a window.
const START: usize = 70_001;

const READ_WRITE: Route = Route::ReadWrite { buffer: 10_000 };
const MMAP_WRITE: Route = Route::MmapWrite { window: 200_000 };
const SPLICE: Route = Route::Splice { pipe: 1 << 14 };
const VMSPLICE: Route = Route::Vmsplice {
    window: 300_000,
    pipe: 1 << 16,
};
const ZEROCOPY: Route = Route::MsgZerocopy {
    window: 400_000,
    chunk: 50_000,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sink {
    Tcp,
    Unix,
    Pipe,
    File,
}

/// A sink and the receiver's end, which is none for a file.
fn open(sink: Sink) -> (OwnedFd, Option<File>) {
    match sink {
        Sink::Tcp => {
            let (near, far) = tcp();
            (near.into(), Some(OwnedFd::from(far).into()))
        }
        Sink::Unix => {
            let (near, far) = UnixStream::pair().expect("a pair");
            (near.into(), Some(OwnedFd::from(far).into()))
        }
        Sink::Pipe => {
            let (read, write) = std::io::pipe().expect("a pipe");
            (write.into(), Some(OwnedFd::from(read).into()))
        }
        Sink::File => (source(b"").into(), None),
    }
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let near = TcpStream::connect(listener.local_addr().expect("its address")).expect("connected");
    (near, listener.accept().expect("accepted").0)
}

fn source(content: &[u8]) -> File {
    common::lab().file(content).expect("a file")
}

fn read_all(far: Option<File>) -> Option<JoinHandle<Vec<u8>>> {
    far.map(|mut far| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = far.read_to_end(&mut bytes); // a reset ends it, too
            bytes
        })
    })
}

fn received(near: OwnedFd, reader: Option<JoinHandle<Vec<u8>>>) -> Vec<u8> {
    if let Some(reader) = reader {
        drop(near);
        return reader.join().expect("the receiver");
    }
    let mut file = File::from(near);
    let mut bytes = Vec::new();
    file.rewind().expect("a file");
    file.read_to_end(&mut bytes).expect("the sink's bytes");
    bytes
}

fn complete(route: Route, outcome: &Outcome) {
    assert_eq!(outcome.ended, Ended::Complete);
    assert_eq!(outcome.bytes, LENGTH as u64);
    assert_eq!(outcome.held, 0);
    assert_eq!(outcome.shrank_to, None);
    assert_eq!(outcome.result(), Ok(LENGTH as u64));
    let notified = outcome.notified;
    assert_eq!(
        notified.is_some(),
        matches!(route, Route::MsgZerocopy { .. })
    );
    assert_eq!(notified.map_or(0, |notified| notified.outstanding), 0);
}

#[rstest]
#[case::read_write(READ_WRITE, &[Sink::Tcp, Sink::Unix, Sink::Pipe, Sink::File])]
#[case::mmap_write(MMAP_WRITE, &[Sink::Tcp, Sink::Unix, Sink::Pipe, Sink::File])]
#[case::sendfile(Route::Sendfile, &[Sink::Tcp, Sink::Unix, Sink::Pipe, Sink::File])]
#[case::splice(SPLICE, &[Sink::Tcp, Sink::Unix, Sink::Pipe, Sink::File])]
#[case::vmsplice(VMSPLICE, &[Sink::Tcp, Sink::Unix, Sink::Pipe, Sink::File])]
#[case::msg_zerocopy(ZEROCOPY, &[Sink::Tcp])]
#[case::copy_file_range(Route::CopyFileRange, &[Sink::File])]
fn a_range_arrives(
    #[case] route: Route,
    #[case] sinks: &[Sink],
    #[values(false, true)] by_and_by: bool,
) {
    let content = pattern(START + LENGTH + 5000);
    for sink in sinks {
        let mut file = source(&content);
        file.seek(std::io::SeekFrom::Start(17)).expect("a file");
        let (near, far) = open(*sink);
        if by_and_by {
            io::set_nonblocking(&near).expect("O_NONBLOCK");
        }
        let reader = read_all(far);
        let mut transfer = Transfer::by(route, &file, START as u64, LENGTH as u64, &near)
            .expect("what the route needs");
        if by_and_by {
            let mut turns = 0;
            loop {
                turns += 1;
                match transfer.advance(100_000) {
                    State::Ended => break,
                    State::Budget => {}
                    State::Waits(wait) => transfer.wait(wait).expect("poll"),
                }
            }
            assert!(
                turns > LENGTH / 100_000,
                "{route} to {sink:?}: {turns} turns"
            );
        } else {
            transfer.drive();
        }
        complete(route, &transfer.outcome());
        assert_eq!(file.stream_position().expect("a file"), 17);
        let bytes = received(near, reader);
        assert!(
            bytes == content[START..START + LENGTH],
            "{route} to {sink:?}"
        );
    }
}

/// Routes to a TCP socket, and what they hold when it takes no more.
#[rstest]
#[case(READ_WRITE)]
#[case(MMAP_WRITE)]
#[case(Route::Sendfile)]
#[case(SPLICE)]
#[case(VMSPLICE)]
#[case(ZEROCOPY)]
fn a_peer_that_dies_ends_it_and_the_loss_is_told(#[case] route: Route) {
    let content = pattern(LENGTH << 2);
    let file = source(&content);
    let (near, mut far) = tcp();
    io::set_nonblocking(&near).expect("O_NONBLOCK");
    let mut transfer =
        Transfer::by(route, &file, 0, content.len() as u64, &near).expect("what the route needs");
    while transfer.advance(u64::MAX) != State::Waits(Wait::Sink) {
        transfer.wait(Wait::Completions).expect("poll");
    }
    let mut some = [0; 1000];
    far.read_exact(&mut some).expect("some bytes");
    assert!(some == content[..1000]);
    drop(far); // with bytes unread: a reset
    transfer.drive();
    let outcome = transfer.outcome();
    let Ended::Failed(_, Errno::EPIPE | Errno::ECONNRESET) = outcome.ended else {
        panic!("{route}: {outcome:?}");
    };
    assert!(outcome.bytes > 1000 && outcome.bytes < content.len() as u64);
    let lost = delivery::confirm(&near).expect("a socket");
    assert!(matches!(lost, Delivery::Broken(_)), "{route}: {lost:?}");
}

#[rstest]
#[case(READ_WRITE)]
#[case(MMAP_WRITE)]
#[case(Route::Sendfile)]
#[case(SPLICE)]
#[case(VMSPLICE)]
#[case(ZEROCOPY)]
fn a_source_that_shrinks_ends_it_and_what_may_be_zeros_is_told(#[case] route: Route) {
    let content = pattern(LENGTH);
    let file = source(&content);
    let (near, far) = tcp();
    io::set_nonblocking(&near).expect("O_NONBLOCK");
    let mut transfer =
        Transfer::by(route, &file, 0, LENGTH as u64, &near).expect("what the route needs");
    assert_eq!(transfer.advance(200_000), State::Budget);
    let kept = 100_003;
    file.set_len(kept).expect("a file");
    let reader = read_all(Some(OwnedFd::from(far).into()));
    transfer.drive();
    let outcome = transfer.outcome();
    assert_eq!(outcome.ended, Ended::SourceEnded, "{route}");
    let shrank_to = (!route.takes_a_copy()).then_some(kept);
    assert_eq!(outcome.shrank_to, shrank_to, "{route}");
    let bytes = received(near.into(), reader);
    assert_eq!(bytes.len() as u64, outcome.bytes, "{route}");
    let sure = usize::try_from(outcome.shrank_to.unwrap_or(outcome.bytes)).expect("a length");
    assert!(bytes[..sure] == content[..sure], "{route}");
}

#[rstest]
#[case(READ_WRITE)]
#[case(MMAP_WRITE)]
#[case(Route::Sendfile)]
#[case(SPLICE)]
#[case(VMSPLICE)]
#[case(ZEROCOPY)]
fn a_range_beyond_the_end_is_the_rest_of_the_file(#[case] route: Route) {
    let content = pattern(10_000);
    let file = source(&content);
    let (near, far) = tcp();
    let reader = read_all(Some(OwnedFd::from(far).into()));
    let transfer = Transfer::by(route, &file, 9000, 100_000, &near).expect("what it needs");
    let outcome = transfer.run();
    let bytes = received(near.into(), reader);
    assert!(bytes.len() as u64 == outcome.bytes, "{route}");
    assert!(bytes[..1000] == content[9000..], "{route}");
    assert_eq!(outcome.ended, Ended::SourceEnded, "{route}");
    assert_eq!((bytes.len(), outcome.shrank_to), (1000, None), "{route}");
}

#[test]
fn what_is_dropped_halfway_is_told() {
    let content = pattern(LENGTH << 2);
    let file = source(&content);
    for (route, holds) in [(READ_WRITE, true), (SPLICE, true), (Route::Sendfile, false)] {
        let (near, _far) = tcp();
        io::set_nonblocking(&near).expect("O_NONBLOCK");
        let mut transfer =
            Transfer::by(route, &file, 0, content.len() as u64, &near).expect("what it needs");
        assert_eq!(transfer.advance(u64::MAX), State::Waits(Wait::Sink));
        let outcome = transfer.outcome();
        assert_eq!(outcome.ended, Ended::Abandoned);
        assert_eq!(outcome.held > 0, holds, "{route}: {outcome:?}");
    }
}

fn sent_to_appended(route: Route, file: &File) -> Ended {
    let target = source(b"");
    let appended = std::fs::OpenOptions::new()
        .append(true)
        .open(format!("/proc/self/fd/{}", target.as_raw_fd()))
        .expect("the file again");
    let transfer = Transfer::by(route, file, 0, 100, &appended).expect("what it needs");
    transfer.run().ended
}

#[test]
fn a_sink_that_cannot_be_one_is_told_by_the_call() {
    let file = source(&pattern(100));
    let einval = Ended::Failed(Sysno::sendfile, Errno::EINVAL);
    assert_eq!(sent_to_appended(Route::Sendfile, &file), einval);
    let (near, _far) = UnixStream::pair().expect("a pair");
    let begun = Transfer::by(ZEROCOPY, &file, 0, 100, &near).map(drop);
    assert!(matches!(begun, Err(errno) if [Errno::EOPNOTSUPP, Errno::new(524)].contains(&errno)));
}

#[test]
fn copy_file_range_does_not_append() {
    let ebadf = Ended::Failed(Sysno::copy_file_range, Errno::EBADF);
    let file = source(&pattern(100));
    assert_eq!(sent_to_appended(Route::CopyFileRange, &file), ebadf);
}

#[test]
fn a_pipe_tells_what_its_readers_left() {
    let (read, mut write) = std::io::pipe().expect("a pipe");
    write.write_all(&[7; 300]).expect("room");
    let mut some = [0; 100];
    io::read_full(&read, &mut some).expect("some bytes");
    drop(read);
    assert_eq!(delivery::confirm(&write), Ok(Delivery::Unread(200)));
}

#[test]
fn a_timeout_of_a_blocking_socket_is_no_reason_to_wait() {
    let file = source(&pattern(LENGTH));
    let (near, _far) = UnixStream::pair().expect("a pair");
    let soon = std::time::Duration::from_millis(1);
    near.set_write_timeout(Some(soon)).expect("an option");
    let transfer = Transfer::by(READ_WRITE, &file, 0, LENGTH as u64, &near);
    let outcome = transfer.expect("what it needs").run();
    assert_eq!(outcome.ended, Ended::Failed(Sysno::write, Errno::EAGAIN));
}

#[test]
fn names_are_read_back() {
    for route in Route::ALL {
        assert_eq!(route.name().parse(), Ok(*route));
    }
    let error = "teleport".parse::<Route>().expect_err("no such route");
    assert!(error.contains("teleport") && error.contains("sendfile"));
    assert_eq!(Route::ALL[1], Route::MmapWrite { window: WHOLE });
}

/// Of two transfers on one socket each counts its own sends, though the first was left with sends outstanding.
#[test]
fn a_second_zerocopy_transfer_counts_its_own_completions() {
    let (near, far) = tcp();
    near.set_nonblocking(true).expect("set");
    let content = pattern(32 << 20);
    let file = source(&content);
    let mut first =
        Transfer::by(ZEROCOPY, &file, 0, content.len() as u64, &near).expect("what it needs");
    while first.advance(content.len() as u64) == State::Budget {}
    let first = first.outcome();
    assert_eq!(first.ended, Ended::Abandoned, "its socket is full");
    let left = first.notified.expect("it is by MSG_ZEROCOPY");
    assert!(left.outstanding > 0, "{left:?}");
    // Whose completions come next is not known without the first one's count.
    let begun = Transfer::by(ZEROCOPY, &file, first.bytes, 1, &near).map(drop);
    assert_eq!(begun.err(), Some(Errno::EBUSY));
    let reader = read_all(Some(OwnedFd::from(far).into()));
    let length = content.len() as u64 - first.bytes;
    let mut second = Transfer::by_after(&first, ZEROCOPY, &file, first.bytes, length, &near)
        .expect("what it needs");
    second.drive();
    let second = second.outcome();
    assert_eq!((second.ended, second.bytes), (Ended::Complete, length));
    let own = second.notified.expect("it is by MSG_ZEROCOPY");
    assert_eq!(own.outstanding, 0);
    assert!(own.copied <= own.sends, "{own:?}");
    assert_eq!(
        own.next_id,
        left.next_id + u32::try_from(own.sends).expect("few")
    );
    // Not one is left in the queue: those of the first came before.
    let queued = conformance::lab::completions::Completions::now(&near).expect("read");
    assert_eq!(queued.count(), 0);
    assert!(
        received(near.into(), reader) == content,
        "other bytes arrived"
    );
}
