//! Grids: sizes × offsets × targets for the transfers, and every kind of descriptor in every place of every call.

use crate::common::{Receiver, lab, page_size, position, set_nonblocking, wait_for};
use conformance::lab::fds::{self, Descriptor, Kind};
use conformance::lab::sinks::{Kind as SinkKind, Sink};
use conformance::lab::{Lab, io, pattern};
use conformance::verdict::{Stop, errno_name};
use nocopy_sendfile::sendfile;
use nocopy_splice::{
    Errno, Pipe, PipeFlags, SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe2, splice, tee,
};
use rstest::rstest;
use serial_test::{parallel, serial};
use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;

// Sizes × offsets × targets.

/// Where in the file a transfer starts.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// No offset: the file position, which is 0.
    Position,
    /// This offset.
    At(u64),
    /// The size and this many bytes.
    End(i64),
}

impl Start {
    /// The offset to pass, if any.
    fn offset(self, size: usize) -> Option<u64> {
        match self {
            Self::Position => None,
            Self::At(offset) => Some(offset),
            // The byte before the end of an empty file does not exist: then it is the end.
            Self::End(more) => Some((size as u64).saturating_add_signed(more)),
        }
    }
}

/// A file that is being sent, and what of it has been.
struct Transfer {
    content: Vec<u8>,
    file: File,
    /// As passed at first.
    given: Option<u64>,
    /// As it is now.
    offset: Option<u64>,
    sent: usize,
}

impl Transfer {
    fn new(lab: &Lab, size: usize, start: Start) -> Self {
        let given = start.offset(size);
        let content = pattern(size);
        Self {
            file: lab.file(&content).expect("a file"),
            content,
            given,
            offset: given,
            sent: 0,
        }
    }

    fn start(&self) -> usize {
        let start = usize::try_from(self.given.unwrap_or(0)).expect("64 bits");
        start.min(self.content.len())
    }

    fn all(&self) -> &[u8] {
        &self.content[self.start()..]
    }

    fn left(&self) -> usize {
        self.all().len() - self.sent
    }

    /// What an empty pipe takes of the rest: its slots hold a page of the file each, the first one perhaps a part.
    fn fits(&self, capacity: usize) -> usize {
        let into_page = (self.start() + self.sent) % page_size();
        self.left().min(capacity - into_page)
    }

    /// Notes a call that moved so many bytes. The in-out offset or else the file position has moved by them, the other has not.
    #[track_caller]
    fn moved(&mut self, count: usize) {
        assert!(count <= self.left(), "{count} of {} bytes", self.left());
        self.sent += count;
        let sent = self.sent as u64;
        assert_eq!(self.offset, self.given.map(|given| given + sent), "offset");
        let at = if self.given.is_some() { 0 } else { sent };
        assert_eq!(position(&self.file), at, "position");
    }
}

/// More than any file of the grid has.
const MORE: usize = 1 << 21;

/// The target of a transfer, which never waits: what arrives is taken out between two calls.
struct Target {
    near: OwnedFd,
    receiver: Option<Receiver>,
    capacity: Option<usize>,
}

impl Target {
    fn open(lab: &Lab, kind: SinkKind) -> Self {
        let (near, far) = Sink::open(lab, kind).expect("a sink").into_ends();
        set_nonblocking(&near);
        Self {
            capacity: fcntl_getpipe_size(&near).ok(),
            near,
            receiver: far.map(Receiver::new),
        }
    }

    /// Takes out all that was sent, so that there is room.
    fn take(&mut self, sent: usize) {
        if let Some(receiver) = &mut self.receiver {
            receiver.take_until(sent, &self.near);
        }
    }

    /// Waits for room, after everything has been taken out: a TCP peer may not have acknowledged it yet.
    fn wait_for_room(&self) {
        wait_for(&self.near, libc::POLLOUT);
    }

    /// All bytes that arrived, when nothing more can.
    fn into_bytes(self) -> Vec<u8> {
        match self.receiver {
            Some(receiver) => receiver.ends_after(self.near),
            None => whole(&self.near),
        }
    }
}

/// All bytes of a file.
fn whole(file: &OwnedFd) -> Vec<u8> {
    let clone = File::from(file.try_clone().expect("dup"));
    let length = clone.metadata().expect("fstat").len();
    let mut bytes = vec![0; usize::try_from(length).expect("64 bits") + 1];
    let mut read = 0;
    while let count @ 1.. = io::pread(file, &mut bytes[read..], read as u64).expect("pread") {
        read += count;
    }
    bytes.truncate(read);
    bytes
}

#[rstest]
#[parallel(pipe_pages)]
fn sendfile_sends_what_the_file_has_from_the_offset_on(
    #[values(SinkKind::File, SinkKind::Unix, SinkKind::Tcp, SinkKind::Pipe)] sink: SinkKind,
    #[values(0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20)] size: usize,
    #[values(
        Start::Position,
        Start::At(0),
        Start::At(1),
        Start::At(4095),
        Start::At(4096),
        Start::End(-1),
        Start::End(0),
        Start::End(1)
    )]
    start: Start,
) {
    let lab = lab();
    let mut transfer = Transfer::new(&lab, size, start);
    let mut target = Target::open(&lab, sink);
    loop {
        target.take(transfer.sent);
        let offset = transfer.offset.as_mut();
        match sendfile(&target.near, &transfer.file, offset, MORE) {
            Ok(0) => break,
            Ok(count) => {
                match (sink, target.capacity) {
                    // A file takes all at once.
                    (SinkKind::File, _) => assert_eq!(count, transfer.left()),
                    // Where the pages are copied, as before Linux 5.12, they need not keep their places in the slots.
                    (SinkKind::Pipe, Some(capacity)) => assert!(
                        (transfer.fits(capacity)..=transfer.left().min(capacity)).contains(&count),
                        "{count} bytes in an empty pipe"
                    ),
                    _ => {}
                }
                transfer.moved(count);
            }
            Err(Errno::EAGAIN) => {
                assert!(matches!(sink, SinkKind::Tcp | SinkKind::Unix));
                transfer.moved(0);
                target.wait_for_room();
            }
            Err(errno) => panic!("{errno:?}"),
        }
    }
    assert_eq!(transfer.left(), 0, "0 is the end of the file");
    transfer.moved(0);
    assert!(target.into_bytes() == transfer.all(), "other bytes arrived");
}

/// Moves a file through the pipe into the target, and checks every count on the way.
#[track_caller]
fn splice_through(pipe: &Pipe, transfer: &mut Transfer, target: &mut Target) {
    let flags = SpliceFlags::NONBLOCK;
    let capacity = fcntl_getpipe_size(&pipe.write).expect("F_GETPIPE_SZ");
    let pipe_to_file = target.receiver.is_none();
    loop {
        let offset = transfer.offset.as_mut();
        let held = splice(&transfer.file, offset, &pipe.write, None, MORE, flags);
        assert_eq!(held, Ok(transfer.fits(capacity)), "into an empty pipe");
        let Ok(mut held @ 1..) = held else { break };
        transfer.moved(held);
        while held > 0 {
            target.take(transfer.sent - held);
            match splice(&pipe.read, None, &target.near, None, MORE, flags) {
                Ok(count) => {
                    assert!((1..=held).contains(&count), "{count} of {held} bytes");
                    assert!(count == held || !pipe_to_file, "a file takes all at once");
                    held -= count;
                }
                Err(Errno::EAGAIN) => {
                    assert!(!pipe_to_file);
                    target.wait_for_room();
                }
                Err(errno) => panic!("{errno:?}"),
            }
        }
    }
    assert_eq!(transfer.left(), 0, "0 is the end of the file");
    transfer.moved(0);
    let empty = splice(&pipe.read, None, &target.near, None, 1, flags);
    assert_eq!(empty, Err(Errno::EAGAIN), "the pipe is empty and open");
}

#[rstest]
#[parallel(pipe_pages)]
fn splice_moves_what_the_file_has_from_the_offset_on(
    #[values(SinkKind::File, SinkKind::Unix, SinkKind::Tcp, SinkKind::Pipe)] sink: SinkKind,
    #[values(0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20)] size: usize,
    #[values(
        Start::Position,
        Start::At(0),
        Start::At(1),
        Start::At(4095),
        Start::At(4096),
        Start::End(-1),
        Start::End(0),
        Start::End(1)
    )]
    start: Start,
) {
    let lab = lab();
    let mut transfer = Transfer::new(&lab, size, start);
    let mut target = Target::open(&lab, sink);
    let pipe = pipe2(PipeFlags::CLOEXEC).expect("pipe");
    splice_through(&pipe, &mut transfer, &mut target);
    assert!(target.into_bytes() == transfer.all(), "other bytes arrived");
}

/// The pages of all pipes of a user are counted together, so those who want large ones take turns.
#[rstest]
#[serial(pipe_pages)]
fn one_splice_fills_a_pipe_of_any_size(
    #[values(1, 2, 4, 16, 64, 256)] pages: usize,
    #[values(65536, 65537, 1 << 20)] size: usize,
    #[values(Start::Position, Start::At(1), Start::At(4096))] start: Start,
) {
    let lab = lab();
    let mut transfer = Transfer::new(&lab, size, start);
    let mut target = Target::open(&lab, SinkKind::File);
    let pipe = pipe2(PipeFlags::CLOEXEC).expect("pipe");
    let asked = pages * page_size();
    match fcntl_setpipe_size(&pipe.write, asked) {
        Ok(capacity) => assert_eq!(capacity, asked),
        // Another process of this user has many pipes, or the system allows only small ones.
        Err(Errno::EPERM) => report(&format!("a pipe of {asked} bytes: EPERM")),
        Err(errno) => panic!("F_SETPIPE_SZ: {errno:?}"),
    }
    splice_through(&pipe, &mut transfer, &mut target);
    assert!(target.into_bytes() == transfer.all(), "other bytes arrived");
}

// Kinds of descriptors × calls.

/// The place of the descriptor in a call. The other descriptor is one that the call works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    SendfileSource,
    SendfileTarget,
    SpliceSource,
    SpliceTarget,
    TeeSource,
    TeeTarget,
}

/// What a call may answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// Success, on all kernels.
    Works,
    /// This errno, on all kernels.
    Fails(Errno),
    /// It differs between kernels, or nobody has measured it: success if that is said, or one of these.
    Either {
        works: bool,
        errnos: &'static [Errno],
    },
}

/// 5.10 or 6.1 do not have it, later kernels do.
const SINCE_LATER: Expected = Expected::Either {
    works: true,
    errnos: &[Errno::EINVAL],
};

/// The manual's answer to a descriptor that the call is not for; for these kinds no table names it.
const REFUSED: Expected = Expected::Either {
    works: false,
    errnos: &[Errno::EINVAL, Errno::EBADF],
};

const EINVAL: Expected = Expected::Fails(Errno::EINVAL);
const EBADF: Expected = Expected::Fails(Errno::EBADF);

/// The kinds of which [`expected`] knows the answers. Those of all kinds stand in the recorded grids.
const KNOWN: &[Kind] = &[
    Kind::RegularFile,
    Kind::AppendFile,
    Kind::Memfd,
    Kind::PathOnly,
    Kind::Directory,
    Kind::PipeRead,
    Kind::PipeWrite,
    Kind::TcpSocket,
    Kind::UdpSocket,
    Kind::UnixStream,
    Kind::Eventfd,
    Kind::Timerfd,
    Kind::Signalfd,
    Kind::Inotify,
    Kind::Epoll,
    Kind::Pidfd,
    Kind::DevNull,
    Kind::DevZero,
    Kind::DevFull,
    Kind::DevUrandom,
    Kind::Terminal,
    Kind::ProcMaps,
    Kind::ProcStatus,
    Kind::ProcVersion,
    Kind::ProcSysctl,
    Kind::Sysfs,
];

/// What Linux 5.10 to 7.3 answer.
#[expect(
    clippy::match_same_arms,
    reason = "a table: one row for each reason, not for each answer"
)]
fn expected(place: Place, kind: Kind) -> Expected {
    use Expected::Works;
    use Kind as K;
    use Place as P;
    match (place, kind) {
        // The modes are looked at first: O_PATH has none, each end of a pipe has one.
        (_, K::PathOnly) => EBADF,
        (P::SendfileSource | P::SpliceSource | P::TeeSource, K::PipeWrite) => EBADF,
        (P::SendfileTarget | P::SpliceTarget | P::TeeTarget, K::PipeRead) => EBADF,
        // Opened for reading only.
        (
            P::SendfileTarget | P::SpliceTarget | P::TeeTarget,
            K::Directory | K::ProcMaps | K::ProcStatus | K::ProcVersion | K::ProcSysctl | K::Sysfs,
        ) => EBADF,

        // tee is for pipes.
        (P::TeeSource, K::PipeRead) | (P::TeeTarget, K::PipeWrite) => Works,
        // Whether these were opened for writing is the kernel's choice.
        (P::TeeTarget, K::Timerfd | K::Signalfd | K::Inotify | K::Epoll | K::Pidfd) => REFUSED,
        (P::TeeSource | P::TeeTarget, _) => EINVAL,

        // Files, as sources and targets.
        (_, K::RegularFile | K::Memfd) => Works,
        (P::SendfileSource | P::SpliceSource, K::AppendFile) => Works,
        (P::SendfileTarget | P::SpliceTarget, K::AppendFile) => EINVAL,
        (P::SendfileSource | P::SpliceSource, K::Directory) => EINVAL,

        // splice takes streams and datagrams, sendfile takes what can seek.
        (P::SpliceSource, K::PipeRead | K::TcpSocket | K::UdpSocket | K::UnixStream) => Works,
        (P::SpliceSource, K::Terminal) => Works,
        (
            P::SendfileSource,
            K::PipeRead | K::TcpSocket | K::UdpSocket | K::UnixStream | K::Terminal,
        ) => EINVAL,
        (
            P::SendfileTarget | P::SpliceTarget,
            K::PipeWrite | K::TcpSocket | K::UdpSocket | K::UnixStream | K::Terminal,
        ) => Works,

        // Descriptors of events have no bytes to move.
        (
            P::SendfileSource | P::SpliceSource,
            K::Eventfd | K::Timerfd | K::Signalfd | K::Inotify | K::Epoll,
        ) => EINVAL,
        (P::SendfileTarget | P::SpliceTarget, K::Eventfd) => EINVAL,
        (P::SendfileTarget | P::SpliceTarget, K::Timerfd | K::Signalfd | K::Inotify | K::Epoll) => {
            REFUSED
        }
        (P::SendfileSource | P::SendfileTarget | P::SpliceSource | P::SpliceTarget, K::Pidfd) => {
            REFUSED
        }

        // Devices.
        (P::SendfileSource | P::SpliceSource, K::DevNull) => EINVAL,
        (P::SendfileTarget | P::SpliceTarget, K::DevNull) => Works,
        (P::SendfileTarget | P::SpliceTarget, K::DevFull) => EINVAL, // not ENOSPC
        (P::SendfileSource | P::SpliceSource, K::DevFull) => SINCE_LATER,
        (_, K::DevZero) => SINCE_LATER,
        (P::SendfileSource, K::DevUrandom) => SINCE_LATER,
        (P::SpliceSource | P::SendfileTarget | P::SpliceTarget, K::DevUrandom) => Works,

        // Files that the kernel makes up: one by one.
        (P::SendfileSource | P::SpliceSource, K::ProcMaps | K::ProcStatus) => EINVAL,
        (P::SendfileSource | P::SpliceSource, K::ProcVersion | K::ProcSysctl | K::Sysfs) => Works,
        _ => panic!("nothing is written down here about {kind}"),
    }
}

/// The kinds that any Linux has, whatever a container hides: these may not go untested.
fn is_everywhere(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::DevNull
            | Kind::DevZero
            | Kind::DevFull
            | Kind::DevUrandom
            | Kind::Terminal
            | Kind::Pidfd // refused by some seccomp filters
            | Kind::ProcMaps
            | Kind::ProcStatus
            | Kind::ProcVersion
            | Kind::ProcSysctl
            | Kind::Sysfs
    )
}

const BYTES: &[u8] = b"sixteen bytes..\n";

/// Makes the call with the descriptor in its place, and gives what it returned and the bytes that can be seen to have moved.
///
/// No call waits. The lab gives every source something to read and every target room. The pipe on the other side is either new and
/// empty (a target) or holds [`BYTES`] (a source), and each call asks for no more than those.
fn call(lab: &Lab, place: Place, descriptor: &Descriptor) -> (Result<usize, Errno>, Vec<u8>) {
    let flags = SpliceFlags::NONBLOCK;
    let len = BYTES.len();
    let pipe = pipe2(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("pipe");
    if matches!(place, Place::SpliceTarget | Place::TeeTarget) {
        assert_eq!(io::write(&pipe.write, BYTES), Ok(len));
    }
    let in_pipe = || {
        let mut bytes = vec![0; 2 * len];
        let count = io::read(&pipe.read, &mut bytes).unwrap_or(0);
        bytes.truncate(count);
        bytes
    };
    match place {
        Place::SendfileSource => {
            let file = lab.empty_file().expect("a file");
            let result = sendfile(&file, descriptor, None, len);
            (result, whole(&file.into()))
        }
        Place::SendfileTarget => {
            let file = lab.file(BYTES).expect("a file");
            let result = sendfile(descriptor, &file, None, len);
            let moved = usize::try_from(position(&file)).expect("64 bits");
            (result, BYTES[..moved].to_vec())
        }
        Place::SpliceSource => {
            let result = splice(descriptor, None, &pipe.write, None, len, flags);
            (result, in_pipe())
        }
        Place::SpliceTarget => {
            let result = splice(&pipe.read, None, descriptor, None, len, flags);
            // What is not in the pipe any more was moved.
            (result, BYTES[..len - in_pipe().len()].to_vec())
        }
        Place::TeeSource => {
            let result = tee(descriptor, &pipe.write, len, flags);
            (result, in_pipe())
        }
        Place::TeeTarget => {
            let result = tee(&pipe.read, descriptor, len, flags);
            assert_eq!(in_pipe(), BYTES, "tee leaves the bytes where they are");
            let moved = result.unwrap_or(0);
            (result, BYTES[..moved].to_vec())
        }
    }
}

/// What `read(2)` gives from a descriptor of the same kind: what a working call must move.
fn content(lab: &Lab, place: Place, kind: Kind) -> Option<Vec<u8>> {
    match place {
        Place::SendfileTarget | Place::SpliceTarget | Place::TeeTarget => Some(BYTES.to_vec()),
        _ if kind == Kind::DevUrandom => None,
        _ => {
            let descriptor = Descriptor::open(lab, kind).expect("opened before");
            let mut bytes = vec![0; BYTES.len()];
            let count = io::read(&descriptor, &mut bytes).expect("it can be read");
            bytes.truncate(count);
            Some(bytes)
        }
    }
}

/// Says it whether or not the harness shows the output of tests that pass.
fn report(line: &str) {
    writeln!(std::io::stderr(), "{line}").expect("standard error");
}

/// Whether the answer is the expected one.
fn agrees(expected: Expected, result: Result<usize, Errno>) -> bool {
    match (expected, result) {
        (Expected::Works, Ok(_)) => true,
        (Expected::Fails(errno), Err(seen)) => seen == errno,
        (Expected::Either { works, .. }, Ok(_)) => works,
        (Expected::Either { errnos, .. }, Err(seen)) => errnos.contains(&seen),
        _ => false,
    }
}

#[rstest]
#[parallel(pipe_pages)]
fn every_kind_of_descriptor_is_taken_or_refused_as_known(
    #[values(
        Place::SendfileSource,
        Place::SendfileTarget,
        Place::SpliceSource,
        Place::SpliceTarget,
        Place::TeeSource,
        Place::TeeTarget
    )]
    place: Place,
) {
    let lab = lab();
    let mut wrong = Vec::new();
    let mut tested = 0;
    for &kind in KNOWN {
        let descriptor = match Descriptor::open(&lab, kind) {
            Ok(descriptor) => descriptor,
            Err(Stop::Untestable(reason)) => {
                report(&format!("{place:?} × {kind}: untested, {reason}"));
                if is_everywhere(kind) {
                    wrong.push(format!("{kind}: untested, {reason}"));
                }
                continue;
            }
            Err(stop) => panic!("{kind}: {stop:?}"),
        };
        tested += 1;
        let (result, moved) = call(&lab, place, &descriptor);
        let seen = match result {
            Ok(count) => format!("{count}"),
            Err(errno) => errno_name(errno.into_raw()),
        };
        let expected = expected(place, kind);
        if !agrees(expected, result) {
            wrong.push(format!("{kind}: {seen}, expected {expected:?}"));
        } else if let Ok(count) = result {
            let content = content(&lab, place, kind);
            let same = content.is_none_or(|content| content == moved);
            if count == 0 || count != moved.len() || !same {
                wrong.push(format!("{kind}: {seen} and moved {moved:?}"));
            }
        } else if !moved.is_empty() {
            wrong.push(format!("{kind}: {seen} and yet moved {moved:?}"));
        }
        println!("{place:?} × {kind}: {seen}");
    }
    println!("{place:?}: {tested} of {} kinds tested", KNOWN.len());
    assert!(wrong.is_empty(), "{place:?}\n{}", wrong.join("\n"));
}

/// A kind that this table forgets, or that the lab does, would be a hole in the grid.
#[test]
fn the_kinds_are_all_different_and_most_are_everywhere() {
    for (at, kind) in KNOWN.iter().enumerate() {
        assert!(!KNOWN[..at].contains(kind), "{kind} twice");
    }
    let everywhere = KNOWN.iter().filter(|kind| is_everywhere(**kind)).count();
    assert!(everywhere >= 15, "only {everywhere} kinds must be tested");
}

#[test]
#[parallel]
fn of_two_kinds_one_is_a_pipe_or_splice_refuses() {
    let lab = lab();
    let is_pipe = |descriptor: &Descriptor| {
        let status = io::status(descriptor).expect("a descriptor");
        status.st_mode & libc::S_IFMT == libc::S_IFIFO
    };
    let open: Vec<(Kind, Descriptor)> = fds::ALL
        .iter()
        .filter_map(|kind| Some((*kind, Descriptor::open(&lab, *kind).ok()?)))
        .filter(|(_, descriptor)| !is_pipe(descriptor))
        .collect();
    assert!(open.len() > 30, "{} kinds can be made here", open.len());
    for (from, input) in &open {
        for (to, output) in &open {
            let moved = splice(input, None, output, None, 1, SpliceFlags::NONBLOCK);
            assert!(
                matches!(moved, Err(Errno::EINVAL | Errno::EBADF)),
                "splice({from}, {to}): {moved:?}"
            );
        }
    }
}
