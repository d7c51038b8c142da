//! `splice`: ends, offsets, flags and errors in its manual page, and behaviour beyond it.

use super::tools::{filled, note_readable, pipe};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::{Lab, open};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_splice::{SpliceFlags, splice};
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("splice(2), man-pages 6.20");
const SPLICE: &[Sysno] = &[Sysno::splice];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::splice);
const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;

/// The claim that a kind of descriptor can be spliced into a pipe.
macro_rules! source_claim {
    ($id:literal, $kind:expr, $name:literal, $finds:expr, $lies:expr) => {
        Claim {
            statement: concat!("A pipe can be filled by splice() from ", $name, "."),
            sources: &[
                Source::Thread("Linux 5.10, commit 36e2c7421f02: no splice without splice_read"),
                Source::Thread("LTP splice06, splice07; kselftest splice/"),
            ],
            about: SPLICE,
            lies: $lies,
            ..Claim::of_answers($id, |lab| splice_from(lab, $kind), &[("splice(source, pipe)", Answer::Is(1))])
        }
    };
}

/// The claim that a pipe can be spliced into a kind of descriptor.
macro_rules! sink_claim {
    ($id:literal, $kind:expr, $name:literal, $finds:expr, $lies:expr) => {
        Claim {
            statement: concat!("splice() empties a pipe into ", $name, "."),
            sources: &[Source::Thread("LTP splice07"), Source::Measured],
            about: SPLICE,
            lies: $lies,
            ..Claim::of_answers($id, |lab| splice_into(lab, $kind), &[("splice(pipe, sink)", Answer::Is(1))])
        }
    };
}

const TAKEN: &[Lie] = &[Lie::refused(Sysno::splice, libc::EINVAL)];
const REFUSED: &[Lie] = &[Lie::accepted(Sysno::splice)];
/// Lies for a claim that holds on some kernels only.
const EITHER: &[Lie] = &[Lie::refused(Sysno::splice, libc::EINVAL).where_it(true), Lie::accepted(Sysno::splice)];

/// Claims about the results of `splice`.
pub const CLAIMS: &[Claim] = &[
    source_claim!("splice.source.regular-file", Fd::RegularFile, "a regular file", always(true), TAKEN),
    source_claim!("splice.source.memfd", Fd::Memfd, "a memfd", always(true), TAKEN),
    source_claim!("splice.source.tcp", Fd::TcpSocket, "a TCP socket", always(true), TAKEN),
    source_claim!("splice.source.udp", Fd::UdpSocket, "a UDP socket", always(true), TAKEN),
    source_claim!("splice.source.unix-stream", Fd::UnixStream, "an AF_UNIX stream socket", always(true), TAKEN),
    source_claim!("splice.source.terminal", Fd::Terminal, "a terminal", always(true), TAKEN),
    source_claim!("splice.source.urandom", Fd::DevUrandom, "/dev/urandom", always(true), TAKEN),
    source_claim!("splice.source.proc-version", Fd::ProcVersion, "/proc/version", always(true), TAKEN),
    source_claim!("splice.source.sysctl", Fd::ProcSysctl, "a sysctl file", always(true), TAKEN),
    source_claim!("splice.source.sysfs", Fd::Sysfs, "a sysfs file", always(true), TAKEN),
    source_claim!(
        "splice.source.dev-zero",
        Fd::DevZero,
        "/dev/zero",
        &[between((5, 10), (6, 1), false), between((6, 12), (7, 3), true)],
        EITHER
    ),
    source_claim!(
        "splice.source.dev-full",
        Fd::DevFull,
        "/dev/full",
        &[between((5, 10), (6, 1), false), between((6, 12), (7, 3), true)],
        EITHER
    ),
    source_claim!("splice.source.dev-null", Fd::DevNull, "/dev/null", always(false), REFUSED),
    source_claim!("splice.source.proc-maps", Fd::ProcMaps, "/proc/self/maps", always(false), REFUSED),
    source_claim!("splice.source.proc-status", Fd::ProcStatus, "/proc/self/status", always(false), REFUSED),
    source_claim!("splice.source.eventfd", Fd::Eventfd, "an eventfd", always(false), REFUSED),
    source_claim!("splice.source.timerfd", Fd::Timerfd, "a timerfd", always(false), REFUSED),
    source_claim!("splice.source.signalfd", Fd::Signalfd, "a signalfd", always(false), REFUSED),
    source_claim!("splice.source.inotify", Fd::Inotify, "an inotify descriptor", always(false), REFUSED),
    source_claim!("splice.source.epoll", Fd::Epoll, "an epoll descriptor", always(false), REFUSED),
    source_claim!("splice.source.directory", Fd::Directory, "a directory", always(false), REFUSED),
    sink_claim!("splice.sink.regular-file", Fd::RegularFile, "a regular file", always(true), TAKEN),
    sink_claim!("splice.sink.memfd", Fd::Memfd, "a memfd", always(true), TAKEN),
    sink_claim!("splice.sink.tcp", Fd::TcpSocket, "a TCP socket", always(true), TAKEN),
    sink_claim!("splice.sink.udp", Fd::UdpSocket, "a UDP socket", always(true), TAKEN),
    sink_claim!("splice.sink.unix-stream", Fd::UnixStream, "an AF_UNIX stream socket", always(true), TAKEN),
    sink_claim!("splice.sink.terminal", Fd::Terminal, "a terminal", always(true), TAKEN),
    sink_claim!("splice.sink.dev-null", Fd::DevNull, "/dev/null", always(true), TAKEN),
    sink_claim!("splice.sink.urandom", Fd::DevUrandom, "/dev/urandom", always(true), TAKEN),
    sink_claim!(
        "splice.sink.dev-zero",
        Fd::DevZero,
        "/dev/zero",
        &[between((5, 10), (6, 1), false), between((6, 12), (7, 3), true)],
        EITHER
    ),
    sink_claim!("splice.sink.eventfd", Fd::Eventfd, "an eventfd", always(false), REFUSED),
    Claim {
        statement: "splice() of a pipe into /dev/full fails with ENOSPC, as write() does.",
        sources: &[Source::Man("full(4), man-pages 6.20"), Source::Thread("coreutils/coreutils#277")],
        about: SPLICE,
        lies: &[Lie::about(Sysno::splice, What::OtherErrno(libc::ENOSPC))],
        ..Claim::of_answers(
            "splice.sink.dev-full",
            |lab| splice_into(lab, Fd::DevFull),
            &[("splice(pipe, sink)", Answer::Fails(Errno::ENOSPC))],
        )
    },
    Claim {
        statement: "splice() of a pipe into a file with O_APPEND fails with EINVAL.",
        sources: &[MAN, Source::Thread("mre/fcat#10; axboe/liburing#291")],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.sink.append",
            |lab| splice_into(lab, Fd::AppendFile),
            &[("splice(pipe, sink)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "splice() of a pipe into itself fails with EINVAL.",
        sources: &[MAN, Source::Thread("gVisor splice.cc, SamePipe")],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.ends.same-pipe",
            splice_ends_same_pipe,
            &[("splice(pipe, same pipe)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "Both ends of splice() can be pipes.",
        sources: &[MAN, Source::Thread("LTP splice04")],
        about: SPLICE,
        lies: TAKEN,
        ..Claim::of_answers(
            "splice.ends.two-pipes",
            splice_ends_two_pipes,
            &[("splice(pipe, other pipe)", Answer::Is(1)), ("bytes in the other pipe", Answer::Is(1))],
        )
    },
    Claim {
        statement: "O_APPEND set on another descriptor of the same open file makes splice() into it fail.",
        method: "Sets O_APPEND on a duplicate, as a shared terminal or log has it set by somebody else, and splices.",
        sources: &[Source::Thread("axboe/liburing#291; golang/go#60181")],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.sink.append-by-another",
            splice_sink_append_by_another,
            &[
                ("splice(pipe, file) before", Answer::Is(1)),
                ("splice(pipe, file) afterwards", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
];

fn splice_from(lab: &Lab, kind: Fd) -> Result<Observation, Stop> {
    let source = Descriptor::open(lab, kind)?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    seen.text("source", kind);
    seen.call("splice(source, pipe)", splice(&source, None, &pipe.write, None, 1, NONBLOCK));
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn splice_into(lab: &Lab, kind: Fd) -> Result<Observation, Stop> {
    let sink = Descriptor::open(lab, kind)?;
    let pipe = filled(b"b")?;
    let mut seen = Observation::new();
    seen.text("sink", kind);
    seen.call("splice(pipe, sink)", splice(&pipe.read, None, &sink, None, 1, NONBLOCK));
    note_readable(&mut seen, "bytes left in the pipe", &pipe.read)?;
    Ok(seen)
}

fn splice_ends_same_pipe(_lab: &Lab) -> Result<Observation, Stop> {
    let pipe = filled(b"b")?;
    let mut seen = Observation::new();
    seen.call("splice(pipe, same pipe)", splice(&pipe.read, None, &pipe.write, None, 1, NONBLOCK));
    Ok(seen)
}

fn splice_ends_two_pipes(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = (filled(b"b")?, pipe()?);
    let mut seen = Observation::new();
    seen.call("splice(pipe, other pipe)", splice(&first.read, None, &second.write, None, 1, NONBLOCK));
    note_readable(&mut seen, "bytes in the other pipe", &second.read)?;
    Ok(seen)
}

fn splice_sink_append_by_another(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    let pipe = filled(b"bb")?;
    let call = || splice(&pipe.read, None, &file, None, 1, NONBLOCK);
    let mut seen = Observation::new();
    seen.call("splice(pipe, file) before", call());
    let another = aside(|| file.try_clone()).setup("dup")?;
    open::set_status_flags(&another, libc::O_APPEND)?;
    seen.call("splice(pipe, file) afterwards", call());
    note_readable(&mut seen, "bytes left in the pipe", &pipe.read)?;
    Ok(seen)
}
