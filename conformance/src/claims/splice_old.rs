//! `splice`.

use super::read_write;
use super::tools::{
    AFTER_CHANGE, ENTRIES_LENGTH, SPLICE, ZERO, all_arrived, arrived, carry, copies, entries_of, entries_to_tcp,
    note_length, note_readable, pipe,
};
use crate::claim::source::{Source, seed};
use crate::claim::{Claim, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fds::{self, Descriptor, Kind as Fd};
use crate::lab::filesystems;
use crate::lab::sinks::Kind;
use crate::lab::{FAR, FAR_OFFSET, Lab, alias, io, sockets, unnamed};
use crate::routes::Route;
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_splice::{BorrowedFd, PipeFlags, SpliceFlags, pipe2, splice};
use std::os::fd::AsFd;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("splice(2), man-pages 6.20");

/// The claim that `splice` through a pipe to one kind of sink makes no CPU copy.
macro_rules! copies_claim {
    ($id:literal, $kind:expr, $sink:literal, $holds:literal) => {
        Claim {
            statement: concat!("From a file to ", $sink, ", splice() makes no CPU copy."),
            method: "Splices a file by way of a pipe (or into it), changes the file when all has arrived, and looks at what the \
                     receiver reads. New bytes are the file's own pages, old ones were copied.",
            sources: &[seed("3.3"), seed("6.1")],
            about: &[Sysno::splice],
            lies: alias::SHARING_LIES,
            ..Claim::new($id, |lab| splice_copies(lab, $kind), |seen| Verdict::holds_if(seen.is(AFTER_CHANGE, "shared")))
        }
    };
}

fn splice_copies(lab: &Lab, kind: Kind) -> Result<Observation, Stop> {
    copies(lab, kind, |file, sink| {
        if kind == Kind::Pipe {
            let mut offset = 0;
            alias::send_all(|done| {
                let rest = alias::LENGTH - done;
                splice(file, Some(&mut offset), sink, None, rest, SpliceFlags::empty())
            })
            .setup("splice")?;
            return Ok(alias::LENGTH as u64);
        }
        carry(SPLICE, file, sink, alias::LENGTH)
    })
}

/// Claims about `splice`.
pub const CLAIMS: &[Claim] = &[
    copies_claim!("splice.copies.tcp", Kind::Tcp, "a TCP socket", true),
    copies_claim!("splice.copies.unix", Kind::Unix, "an AF_UNIX socket", true),
    copies_claim!("splice.copies.pipe", Kind::Pipe, "a pipe", true),
    copies_claim!("splice.copies.file", Kind::File, "another file", false),
    Claim {
        statement: "splice() needs a pipe at one of its ends.",
        method: "Splices between a file and a socket, two files and two sockets, then with a pipe as one end.",
        sources: &[seed("3.3"), seed("5.2"), MAN],
        about: &[Sysno::splice],
        lies: &[Lie::accepted(Sysno::splice), Lie::refused(Sysno::splice, libc::EINVAL)],
        ..Claim::new("splice.ends.pipe-needed", splice_ends_pipe_needed, |seen| {
            let without =
                ["splice(file, TCP socket)", "splice(file, other file)", "splice(TCP socket, other TCP socket)"];
            Verdict::holds_if(
                without.iter().all(|fact| seen.failed_with(fact, Errno::EINVAL))
                    && seen.succeeded("splice(file, pipe)")
                    && seen.succeeded("splice(pipe, TCP socket)"),
            )
        })
    },
    Claim {
        statement: "With a pipe at the other end, splice() takes any descriptor.",
        method: "Splices a few bytes from a descriptor of each kind into a pipe, and from a pipe into one of each kind.",
        sources: &[seed("3.3"), seed("6.1"), seed("7.3")],
        about: &[Sysno::splice],
        lies: &[Lie::accepted(Sysno::splice)],
        gates: &[ZERO],
        ..Claim::new("splice.ends.any-descriptor", splice_ends_any_descriptor, |seen| {
            let from = READABLE.iter().any(|kind| seen.failed(&from_fact(*kind)));
            let into = WRITABLE.iter().any(|kind| seen.failed(&into_fact(*kind)));
            Verdict::holds_if(!from && !into)
        })
    },
    Claim {
        statement: "Through a pipe of the default size, splice() sends a file with one system call, two crossings.",
        method: "Tries to splice a file into a TCP socket at once; the interposer counts the kernel entries of sending 1 MiB there \
                 through a pipe of 64 KiB.",
        sources: &[seed("3.3"), seed("6.1")],
        about: &[Sysno::splice],
        traced: true,
        lies: &[Lie::accepted(Sysno::splice).after(0)],
        ..Claim::new(
            "splice.entries.pipe-64k",
            |lab| splice_entries(lab, 1 << 16),
            |seen| sent_with_one_call(seen, "1 MiB through a pipe of 64 KiB"),
        )
    },
    Claim {
        statement: "Through a pipe that holds the whole file, splice() sends it with one system call, two crossings.",
        method: "Tries to splice a file into a TCP socket at once; the interposer counts the kernel entries of sending 1 MiB there \
                 through a pipe of 1 MiB.",
        sources: &[seed("3.3"), seed("6.1")],
        about: &[Sysno::splice],
        traced: true,
        lies: &[Lie::accepted(Sysno::splice).after(0)],
        resources: &[crate::claim::Resource::UserPipePages],
        ..Claim::new(
            "splice.entries.pipe-1m",
            |lab| splice_entries(lab, 1 << 20),
            |seen| sent_with_one_call(seen, "1 MiB through a pipe of 1024 KiB"),
        )
    },
    Claim {
        statement: "Zero-copy by splice() needs fewer system calls than read() and write().",
        method: "The interposer counts the kernel entries of sending 1 MiB to a TCP socket: through a default pipe, and through \
                 a buffer as large as that pipe.",
        sources: &[seed("1.2")],
        about: &[Sysno::splice, Sysno::read, Sysno::write],
        traced: true,
        lies: &[Lie::shortened(Sysno::write)],
        ..Claim::new("splice.entries.fewer-than-read-write", splice_entries_fewer_than_read_write, |seen| {
            Verdict::holds_if(seen.counted("splice, pipe of 64 KiB") < seen.counted("read and write, buffer of 64 KiB"))
        })
    },
    Claim {
        statement: "There are file systems whose files cannot be spliced.",
        method: "Splices a file of every writable file system at hand into a pipe and back, and files of /proc into a pipe.",
        sources: &[seed("5.2")],
        about: &[Sysno::splice],
        lies: &[Lie::accepted(Sysno::splice)],
        gates: &[gate(
            "5.10",
            "a file without splice code of its own is refused",
            Source::Thread("Linux commit 36e2c7421f02, which took the default code away"),
        )],
        ..Claim::new("splice.fs.some-refuse", splice_fs_some_refuse, |seen| {
            let refused = |fact: &crate::verdict::Fact| {
                fact.fact.starts_with("splice(file of") && fact.value == crate::verdict::Value::Errno(libc::EINVAL)
            };
            Verdict::holds_if(seen.facts().iter().any(refused))
        })
    },
    Claim {
        statement: "The kernel has splice().",
        method: "Calls it with descriptors that are not open: EBADF comes from the call, ENOSYS from its absence.",
        sources: &[seed("1.1"), seed("5.2"), MAN],
        about: &[Sysno::splice],
        lies: &[Lie::about(Sysno::splice, What::OtherErrno(libc::ENOSYS))],
        gates: &[gate("2.6.17", "the kernel has splice()", MAN)],
        ..Claim::new("splice.call.present", splice_call_present, |seen| {
            Verdict::holds_if(seen.failed_with("splice(-1, NULL, -1, NULL, 1, 0)", Errno::EBADF))
        })
    },
    Claim {
        statement: "The offsets of splice() are 64-bit numbers, in and out.",
        method: "Splices from behind 5 GiB of a sparse file and looks at the bytes and at the offset afterwards.",
        sources: &[seed("7.3"), MAN],
        about: &[Sysno::splice],
        lies: &[
            Lie::about(Sysno::splice, What::OffsetKept),
            Lie::returned(Sysno::splice, 0),
            Lie::about(Sysno::read, What::Garbled),
        ],
        ..Claim::new("splice.abi.offset-64-bit", splice_abi_offset_64_bit, |seen| {
            Verdict::holds_if(
                seen.counted("offset afterwards") == FAR_OFFSET + 4 && seen.is("bytes in the pipe", "the file's"),
            )
        })
    },
];

fn splice_ends_pipe_needed(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let other = lab.empty_file()?;
    let socket = Descriptor::open(lab, Fd::TcpSocket)?; // with bytes to read
    let other_socket = Descriptor::open(lab, Fd::TcpSocket)?;
    let pipe = pipe()?;
    let call = |input: std::os::fd::BorrowedFd<'_>, output: std::os::fd::BorrowedFd<'_>| {
        splice(input, None, output, None, 4, SpliceFlags::empty())
    };
    let mut seen = Observation::new();
    seen.call("splice(file, TCP socket)", call(file.as_fd(), socket.as_fd()));
    seen.call("splice(file, other file)", call(file.as_fd(), other.as_fd()));
    seen.call("splice(TCP socket, other TCP socket)", call(socket.as_fd(), other_socket.as_fd()));
    let into = call(file.as_fd(), AsFd::as_fd(&pipe.write));
    seen.call("splice(file, pipe)", into);
    let came = aside(|| sockets::readable(&pipe.read))?;
    seen.count("bytes in the pipe", came as u64);
    let out = call(AsFd::as_fd(&pipe.read), socket.as_fd());
    seen.call("splice(pipe, TCP socket)", out);
    let came = aside(|| socket.written(out.unwrap_or(0)))?.unwrap_or(0);
    seen.count("bytes at the socket's peer", came);
    Ok(seen)
}

const READABLE: &[Fd] = &[
    Fd::RegularFile,
    Fd::Memfd,
    Fd::TcpSocket,
    Fd::UdpSocket,
    Fd::UnixStream,
    Fd::Terminal,
    Fd::DevUrandom,
    Fd::DevZero,
    Fd::DevFull,
    Fd::DevNull,
    Fd::ProcVersion,
    Fd::ProcSysctl,
    Fd::Sysfs,
    Fd::ProcMaps,
    Fd::ProcStatus,
    Fd::Eventfd,
    Fd::Timerfd,
    Fd::Signalfd,
    Fd::Inotify,
    Fd::Epoll,
    Fd::Pidfd,
    Fd::Directory,
    Fd::PathOnly,
];

const WRITABLE: &[Fd] = &[
    Fd::RegularFile,
    Fd::Memfd,
    Fd::TcpSocket,
    Fd::UdpSocket,
    Fd::UnixStream,
    Fd::Terminal,
    Fd::DevNull,
    Fd::DevZero,
    Fd::DevUrandom,
    Fd::DevFull,
    Fd::AppendFile,
    Fd::Eventfd,
];

fn from_fact(kind: Fd) -> String {
    format!("splice({kind}, pipe)")
}

fn into_fact(kind: Fd) -> String {
    format!("splice(pipe, {kind})")
}

fn splice_ends_any_descriptor(lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    let into = pipe()?;
    fds::each(
        lab,
        READABLE,
        &mut seen,
        from_fact,
        |source| splice(source, None, &into.write, None, 4, SpliceFlags::NONBLOCK),
        |_source, _reported| {
            let came = sockets::readable(&into.read)?;
            io::read_full(&into.read, &mut vec![0; came]).setup("empty the pipe")?;
            Ok(Some(came as u64))
        },
    )?;
    let into_sink = |sink: &Descriptor| {
        let pipe = pipe2(PipeFlags::CLOEXEC)?;
        io::write_all(&pipe.write, b"four")?;
        splice(&pipe.read, None, sink, None, 4, SpliceFlags::NONBLOCK)
    };
    fds::each(lab, WRITABLE, &mut seen, into_fact, into_sink, Descriptor::written)?;
    Ok(seen)
}

const WITHOUT_A_PIPE: &str = "splice(file, TCP socket)";
const RECEIVED: &str = "bytes at the receiver";

fn splice_entries(lab: &Lab, pipe_size: usize) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let (near, _far) = sockets::tcp()?;
    let at_once = splice(&file, None, &near, None, alias::LENGTH, SpliceFlags::empty());
    let (entries, _, arrived) = entries_of(lab, Route::Splice { pipe: pipe_size })?;
    let mut seen = Observation::new();
    seen.call(WITHOUT_A_PIPE, at_once).push(format!("1 MiB through a pipe of {} KiB", pipe_size >> 10), entries);
    // On gVisor this fails for a pipe larger than 64 KiB: the number of bytes is right, and the bytes are others.
    let bytes = if arrived { "the file's" } else { "others" };
    seen.text(RECEIVED, bytes);
    Ok(seen)
}

fn sent_with_one_call(seen: &Observation, through_a_pipe: &str) -> Verdict {
    let one = seen.succeeded(WITHOUT_A_PIPE) || seen.counted(through_a_pipe) == 1;
    Verdict::holds_if(one && seen.is(RECEIVED, "the file's"))
}

fn splice_entries_fewer_than_read_write(lab: &Lab) -> Result<Observation, Stop> {
    let (by_splice, _, arrived) = entries_of(lab, SPLICE)?;
    all_arrived(arrived)?;
    let mut buffer = vec![0; 1 << 16];
    let (by_read_write, _) = entries_to_tcp(lab, |file, socket| {
        read_write::send(file, socket, ENTRIES_LENGTH, &mut buffer).setup("read and write")
    })?;
    let mut seen = Observation::new();
    seen.push("splice, pipe of 64 KiB", by_splice).push("read and write, buffer of 64 KiB", by_read_write);
    Ok(seen)
}

fn splice_fs_some_refuse(lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for place in filesystems::places(lab.scratch()?) {
        let name = &place.filesystem;
        let file = aside(|| {
            let file = unnamed::unnamed_file(&place.directory).setup("create a file")?;
            io::pwrite_all(&file, b"bytes", 0).setup("write the file")?;
            Ok::<_, Stop>(file)
        })?;
        let pipe = pipe()?;
        let out = splice(&file, Some(&mut 0), &pipe.write, None, 5, SpliceFlags::empty());
        seen.call(format!("splice(file of {name}, pipe)"), out);
        note_readable(&mut seen, &format!("bytes in the pipe from {name}"), &pipe.read)?;
        if out.is_ok() {
            let back = splice(&pipe.read, None, &file, Some(&mut 5), 5, SpliceFlags::empty());
            seen.call(format!("splice(pipe, file of {name})"), back);
            note_length(&mut seen, &format!("length of the file of {name}"), &file)?;
        }
    }
    for (name, kind) in [("proc, version", Fd::ProcVersion), ("proc, self/maps", Fd::ProcMaps)] {
        let pipe = pipe()?;
        let source = Descriptor::open(lab, kind)?;
        let out = splice(&source, None, &pipe.write, None, 5, SpliceFlags::empty());
        seen.call(format!("splice(file of {name}, pipe)"), out);
        note_readable(&mut seen, &format!("bytes in the pipe from {name}"), &pipe.read)?;
    }
    Ok(seen)
}

fn splice_call_present(_lab: &Lab) -> Result<Observation, Stop> {
    // SAFETY: -1 was never open.
    let none = unsafe { BorrowedFd::borrow_raw(-1) };
    let mut seen = Observation::new();
    seen.call("splice(-1, NULL, -1, NULL, 1, 0)", splice(none, None, none, None, 1, SpliceFlags::empty()));
    Ok(seen)
}

fn splice_abi_offset_64_bit(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.far_file()?;
    let pipe = pipe()?;
    let mut offset = FAR_OFFSET;
    let mut seen = Observation::new();
    let moved = splice(&file, Some(&mut offset), &pipe.write, None, 100, SpliceFlags::empty());
    seen.call("splice(file, 5 GiB, pipe, NULL, 100)", moved).count("offset afterwards", offset);
    let same = moved == Ok(4) && arrived(&pipe.read, FAR)?;
    seen.text("bytes in the pipe", if same { "the file's" } else { "others" });
    Ok(seen)
}
