//! `splice`.

use super::tools::{
    AFTER_CHANGE, ENTRIES_LENGTH, SPLICE, ZERO, all_arrived, arrived, carry, copies, entries_of, entries_to_tcp,
    note_length, note_readable, pipe,
};
use crate::claim::source::{Source, seed};
use crate::claim::{Claim, Exception, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fds::{self, Descriptor, Kind as Fd};
use crate::lab::filesystems;
use crate::lab::sinks::{Kind, Sink};
use crate::lab::{FAR, FAR_OFFSET, Lab, alias, io, pattern, sockets, unnamed};
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
        statement: "splice(file, NULL, socket, NULL, size, SPLICE_F_MOVE), as in the sample, sends a file to a socket.",
        method: "Makes the call with the sample's arguments. With a pipe in between the same data goes through.",
        sources: &[seed("3.3")],
        about: &[Sysno::splice],
        lies: &[Lie::accepted(Sysno::splice).after(0)],
        ..Claim::new("splice.sample.file-to-socket", splice_sample_file_to_socket, |seen| {
            Verdict::holds_if(seen.succeeded("splice(file, NULL, socket, NULL, 16384, SPLICE_F_MOVE)"))
        })
    },
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
        statement: "splice() moves data: the source does not have it afterwards.",
        method: "Splices a file into a pipe and reads the file again; for contrast, splices that pipe into another.",
        sources: &[seed("3.3")],
        about: &[Sysno::splice],
        lies: &[Lie::bytes(Sysno::pread64, alias::OLD, 0)],
        ..Claim::new("splice.moves.out-of-file", splice_moves_out_of_file, |seen| {
            Verdict::holds_if(!seen.is("file afterwards", "has the bytes"))
        })
    },
    Claim {
        statement: "splice() from a pipe takes the data out of it.",
        method: "Splices from one pipe to another and counts what is left.",
        sources: &[seed("3.3"), MAN],
        about: &[Sysno::splice],
        lies: &[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 5 })],
        ..Claim::new("splice.moves.out-of-pipe", splice_moves_out_of_pipe, |seen| {
            let moved = seen.returned("splice(pipe, other pipe)");
            let left = seen.counted("bytes left in the first pipe");
            let came = seen.counted("bytes in the second pipe");
            Verdict::holds_if(moved == Some(came) && came > 0 && left + came == 5)
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
        statement: "A pipe and two splice() calls of the whole length, as in the sample, send a file that fits into the pipe.",
        method: "Makes the sample's calls for 16 KiB and reads what arrives.",
        sources: &[seed("5.2")],
        about: &[Sysno::splice, Sysno::pipe2],
        lies: &[Lie::shortened(Sysno::splice), Lie::refused(Sysno::splice, libc::EINVAL)],
        ..Claim::new(
            "splice.sample.two-steps",
            |lab| two_steps(lab, alias::LENGTH),
            |seen| Verdict::holds_if(whole(seen)),
        )
    },
    Claim {
        statement: "A pipe and two splice() calls of the whole length, as in the sample, send a file of any size.",
        method: "Makes the sample's calls for 1 MiB with a pipe of the default size.",
        sources: &[seed("5.2")],
        about: &[Sysno::splice, Sysno::pipe2],
        exceptions: &[Exception::Controls(
            "no lie makes a pipe larger; the same experiment with a file that fits holds (splice.sample.two-steps)",
        )],
        ..Claim::new(
            "splice.sample.two-steps-large",
            |lab| two_steps(lab, 1 << 20),
            |seen| Verdict::holds_if(whole(seen)),
        )
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
        statement: "Into a pipe, the length of splice() is a bound that may be any number.",
        method: "Splices a file of 16 bytes into a pipe, with its length and with the largest number as length.",
        sources: &[Source::Thread("tokio-splice, issue 2: such a length was taken on Linux 6.5 and is refused on 6.8")],
        about: &[Sysno::splice],
        lies: &[Lie::refused(Sysno::splice, libc::EINVAL).where_it(true), Lie::accepted(Sysno::splice).where_it(false)],
        gates: &[gate(
            "6.8",
            "into a pipe, splice() refuses a length above SSIZE_MAX",
            Source::Thread("tokio-splice, issue 2"),
        )],
        ..Claim::new("splice.length.any-number", splice_length_any_number, |seen| {
            Verdict::holds_if(seen.succeeded(LARGEST))
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

fn splice_sample_file_to_socket(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let (near, far) = sockets::tcp()?;
    let mut seen = Observation::new();
    seen.call(
        "splice(file, NULL, socket, NULL, 16384, SPLICE_F_MOVE)",
        splice(&file, None, &near, None, alias::LENGTH, SpliceFlags::MOVE),
    );
    let through_a_pipe = carry(SPLICE, &file, &near, alias::LENGTH)?;
    seen.count("bytes sent through a pipe", through_a_pipe);
    if !arrived(&far, &[alias::OLD; alias::LENGTH])? {
        return Err(Stop::broken("the receiver got other bytes"));
    }
    Ok(seen)
}

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
        read_and_write(file, socket, ENTRIES_LENGTH, &mut buffer).setup("read and write")
    })?;
    let mut seen = Observation::new();
    seen.push("splice, pipe of 64 KiB", by_splice).push("read and write, buffer of 64 KiB", by_read_write);
    Ok(seen)
}

fn splice_moves_out_of_file(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    let moved = splice(&file, Some(&mut 0), &pipe.write, None, alias::LENGTH, SpliceFlags::MOVE);
    seen.call("splice(file, pipe, SPLICE_F_MOVE)", moved);
    let came = aside(|| sockets::readable(&pipe.read))?;
    seen.count("bytes in the pipe", came as u64);
    if came == 0 {
        return Err(Stop::broken("nothing was moved"));
    }
    let mut bytes = vec![0; alias::LENGTH];
    let left = io::pread_full(&file, &mut bytes, 0).setup("read the file")?;
    let kept = left == alias::LENGTH && bytes == [alias::OLD; alias::LENGTH];
    seen.text("file afterwards", if kept { "has the bytes" } else { "has lost bytes" });
    Ok(seen)
}

fn splice_moves_out_of_pipe(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = (pipe()?, pipe()?);
    io::write_all(&first.write, b"bytes").setup("write to a pipe")?;
    let mut seen = Observation::new();
    seen.call("splice(pipe, other pipe)", splice(&first.read, None, &second.write, None, 5, SpliceFlags::empty()));
    seen.count("bytes left in the first pipe", sockets::readable(&first.read)? as u64);
    seen.count("bytes in the second pipe", sockets::readable(&second.read)? as u64);
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

/// The sample's calls: `splice` of `length` into a new pipe, then `splice` of `length` out of it.
fn two_steps(lab: &Lab, length: usize) -> Result<Observation, Stop> {
    let content = pattern(length);
    let file = lab.file(&content)?;
    let sink = Sink::open(lab, Kind::Tcp)?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    seen.count("length", length as u64);
    let into = splice(&file, None, &pipe.write, None, length, SpliceFlags::MOVE);
    let out = splice(&pipe.read, None, &sink, None, length, SpliceFlags::MOVE);
    seen.call("splice(file, NULL, pipe, NULL, length, SPLICE_F_MOVE)", into);
    seen.call(SECOND_STEP, out);
    let count = out.unwrap_or(0);
    if sink.take(count)? != content[..count] {
        return Err(Stop::broken("the receiver got other bytes"));
    }
    Ok(seen)
}

const SECOND_STEP: &str = "splice(pipe, NULL, socket, NULL, length, SPLICE_F_MOVE)";

/// Whether the sample's two calls sent the whole length.
fn whole(seen: &Observation) -> bool {
    seen.returned(SECOND_STEP) == Some(seen.counted("length"))
}

fn splice_call_present(_lab: &Lab) -> Result<Observation, Stop> {
    // SAFETY: -1 was never open.
    let none = unsafe { BorrowedFd::borrow_raw(-1) };
    let mut seen = Observation::new();
    seen.call("splice(-1, NULL, -1, NULL, 1, 0)", splice(none, None, none, None, 1, SpliceFlags::empty()));
    Ok(seen)
}

const LARGEST: &str = "splice(file, pipe, SIZE_MAX)";

fn splice_length_any_number(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&pattern(16))?;
    let mut seen = Observation::new();
    for (fact, length, bytes) in
        [("splice(file, pipe, 16)", 16, "bytes in the pipe"), (LARGEST, usize::MAX, "bytes in the other pipe")]
    {
        let pipe = pipe()?;
        let mut offset = 0;
        seen.call(fact, splice(&file, Some(&mut offset), &pipe.write, None, length, SpliceFlags::empty()));
        seen.count(bytes, sockets::readable(&pipe.read)? as u64);
        seen.count(format!("offset after {fact}"), offset);
    }
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

/// Sends `length` bytes of `file`, from its position, through `buffer`. This is the sample's loop, with `read` in place of
/// `pread`.
fn read_and_write(file: &impl AsFd, sink: &impl AsFd, length: usize, buffer: &mut [u8]) -> Result<u64, Errno> {
    let mut filled = 0..0;
    io::until_done(length, |done| {
        if filled.is_empty() {
            let wanted = buffer.len().min(length - done);
            filled = 0..io::read(file, &mut buffer[..wanted])?;
        }
        let count = io::write(sink, &buffer[filled.clone()])?;
        filled.start += count;
        Ok(count)
    })
    .map(|done| done as u64)
}
