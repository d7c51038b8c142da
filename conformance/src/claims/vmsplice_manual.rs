//! `vmsplice`: ends, vectors, flags and errors in its manual page, and behaviour beyond it.

use super::tools::{full, note_readable, pipe, raised};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::alias::{self, LENGTH, NEW, OLD, Sharing};
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::io::{self, NO_FD, NOWHERE, argument, ask};
use crate::lab::{Lab, map_file, sockets};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_host::process::{self, Ended};
use nocopy_mmap::PrivateAnonymous;
use nocopy_splice::{IoVec, IoVecMut, Pipe, PipeFlags, SpliceFlags, pipe2, vmsplice_from_pipe, vmsplice_to_pipe};
use std::os::fd::AsRawFd;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("vmsplice(2), man-pages 6.20");
const VMSPLICE: &[Sysno] = &[Sysno::vmsplice];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::vmsplice);
const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;

/// Claims about the results of `vmsplice`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "vmsplice() to a descriptor that is not open, or is no pipe, fails with EBADF.",
        sources: &[MAN, Source::Thread("LTP vmsplice02")],
        about: VMSPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "vmsplice.errors.ebadf",
            vmsplice_errors_ebadf,
            &[
                ("vmsplice(-1)", Answer::Fails(Errno::EBADF)),
                ("vmsplice(file)", Answer::Fails(Errno::EBADF)),
                ("vmsplice(TCP socket)", Answer::Fails(Errno::EBADF)),
            ],
        )
    },
    Claim {
        statement: "vmsplice() of nothing to a descriptor that is no pipe fails with EBADF.",
        sources: &[MAN],
        about: VMSPLICE,
        lies: &[Lie::refused(Sysno::vmsplice, libc::EBADF)],
        ..Claim::of_answers(
            "vmsplice.length.zero-no-pipe",
            vmsplice_length_zero_no_pipe,
            &[
                ("vmsplice(file, no buffers)", Answer::Fails(Errno::EBADF)),
                ("vmsplice(file, an empty buffer)", Answer::Fails(Errno::EBADF)),
            ],
        )
    },
    Claim {
        statement: "vmsplice() takes 1024 buffers and fails with EINVAL for one more.",
        sources: &[MAN, Source::Thread("LTP vmsplice02")],
        about: VMSPLICE,
        lies: OTHERWISE,
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "vmsplice.vectors.maximum",
            vmsplice_vectors_maximum,
            &[
                ("vmsplice(pipe, 1024 buffers)", Answer::Succeeds),
                ("vmsplice(pipe, 1025 buffers)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "With SPLICE_F_GIFT, memory that is not aligned to pages, or no multiple of one, fails with EINVAL.",
        sources: &[MAN],
        about: VMSPLICE,
        lies: &[Lie::refused(Sysno::vmsplice, libc::EINVAL)],
        exceptions: &[Exception::Of(Sysno::vmsplice, What::Shortened, "half of an unaligned gift is one, too")],
        ..Claim::of_answers(
            "vmsplice.gift.alignment",
            vmsplice_gift_alignment,
            &[("vmsplice(pipe, 100 bytes in a page, SPLICE_F_GIFT)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "With SPLICE_F_NONBLOCK, vmsplice() into a full pipe, and out of an empty one, fails with EAGAIN.",
        sources: &[MAN],
        about: VMSPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "vmsplice.flags.nonblock",
            vmsplice_flags_nonblock,
            &[
                ("vmsplice(full pipe, SPLICE_F_NONBLOCK)", Answer::Fails(Errno::EAGAIN)),
                ("vmsplice(empty pipe, SPLICE_F_NONBLOCK)", Answer::Fails(Errno::EAGAIN)),
            ],
        )
    },
    Claim {
        statement: "An unknown flag of vmsplice() fails with EINVAL.",
        sources: &[Source::Thread("Linux 7.3, fs/splice.c, vmsplice"), Source::Measured],
        about: VMSPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "vmsplice.flags.unknown",
            vmsplice_flags_unknown,
            &[("vmsplice(pipe, 0x10)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "A bad address, of the vector or of a buffer, fails with EFAULT.",
        sources: &[Source::Thread("LTP vmsplice02; Linux 7.3, fs/splice.c"), Source::Measured],
        about: VMSPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "vmsplice.errors.efault",
            vmsplice_errors_efault,
            &[
                ("vmsplice(pipe, vector at a bad address)", Answer::Fails(Errno::EFAULT)),
                ("vmsplice(pipe, buffer at a bad address)", Answer::Fails(Errno::EFAULT)),
                ("vmsplice(pipe, mapping behind the end of its file)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "vmsplice() into a pipe without readers raises SIGPIPE and fails with EPIPE.",
        sources: &[Source::Measured],
        about: VMSPLICE,
        lies: &[
            Lie::about(Sysno::vmsplice, What::OtherErrno(libc::ENOLINK)),
            Lie::about(Sysno::vmsplice, What::Swallowed(libc::SIGPIPE)),
        ],
        ..Claim::of_answers(
            "vmsplice.errors.sigpipe",
            vmsplice_errors_sigpipe,
            &[("vmsplice(pipe without readers)", Answer::Fails(Errno::EPIPE)), ("signals raised", Answer::Is(1))],
        )
    },
    Claim {
        statement: "More memory than the pipe has room for is taken in part, up to 65536 bytes, with SPLICE_F_NONBLOCK.",
        sources: &[Source::Thread("LTP vmsplice01"), Source::Measured],
        about: VMSPLICE,
        lies: &[Lie::returned(Sysno::vmsplice, 192 << 10), Lie::refused(Sysno::vmsplice, libc::EAGAIN)],
        exceptions: &[Exception::Of(Sysno::vmsplice, What::Shortened, "how much one call takes is what is claimed")],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "vmsplice.length.pipe-room",
            vmsplice_length_pipe_room,
            &[("vmsplice(pipe, 192 KiB, SPLICE_F_NONBLOCK)", Answer::Is(65536))],
        )
    },
    Claim {
        statement: "Memory that is unmapped after vmsplice() stays in the pipe as it was.",
        sources: &[Source::Measured],
        about: VMSPLICE,
        lies: &[Lie::bytes(Sysno::read, OLD, 0)],
        ..Claim::of_answers(
            "vmsplice.memory.unmapped",
            vmsplice_memory_unmapped,
            &[("bytes in the pipe", Answer::Says("the memory's"))],
        )
    },
    Claim {
        statement: "vmsplice() from a pipe copies: the memory is not the pipe's pages.",
        method: "Gives four pages to a pipe, takes them out by vmsplice() at its read end, changes the given memory, and looks at the \
                 taken.",
        sources: &[MAN, Source::Thread("LTP vmsplice03")],
        about: VMSPLICE,
        lies: &[Lie::refused(Sysno::vmsplice, libc::EBADF)],
        ..Claim::of_answers(
            "vmsplice.read-end.copies",
            vmsplice_read_end_copies,
            &[("vmsplice(read end)", Answer::Succeeds), ("memory changed, what was taken out", Answer::Says("copied"))],
        )
    },
    Claim {
        statement: "What a child has given to a pipe by vmsplice(), of memory it shares with its parent since fork(), does not change with \
                    the parent's memory.",
        method: "A child gives inherited memory to a pipe, unmaps it and ends; the parent changes its memory and reads the pipe.",
        sources: &[Source::Thread("CVE-2020-29374; Linux 7.3, tools/testing/selftests/mm/cow.c")],
        about: VMSPLICE,
        lies: &[Lie::bytes(Sysno::read, OLD, NEW)],
        ..Claim::of_answers(
            "vmsplice.memory.child-gives",
            vmsplice_memory_child_gives,
            &[("parent's memory changed, pipe's bytes", Answer::Says("copied"))],
        )
    },
    Claim {
        statement: "What the caller stores after vmsplice() is what a reader of the pipe gets, also when it has forked in between.",
        method: "Gives memory to a pipe, forks a child that waits, changes the memory, and reads the pipe. The same without a child is \
                 the control.",
        sources: &[MAN],
        about: VMSPLICE,
        lies: &[Lie::bytes(Sysno::read, OLD, NEW)],
        ..Claim::new("vmsplice.memory.forked", vmsplice_memory_forked, |seen| {
            if !seen.is("memory changed without a fork, pipe's bytes", "shared") {
                return Verdict::Refuted;
            }
            Verdict::holds_if(seen.is("memory changed after a fork, pipe's bytes", "shared"))
        })
    },
    Claim {
        statement: "Memory of memfd_secret() cannot be given to a pipe: EFAULT.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/mm/memfd_secret.c")],
        about: VMSPLICE,
        lies: OTHERWISE,
        exceptions: &[Exception::asked(Sysno::vmsplice)],
        ..Claim::of_answers(
            "vmsplice.memory.secret",
            |_lab| {
                let pipe = pipe()?;
                let vector = [super::tools::secret_page()?, 1];
                let vector = vector.as_ptr().expose_provenance();
                // SAFETY: the vector is read during the call; the page stays mapped until the process ends.
                let done = unsafe { ask(Sysno::vmsplice, [argument(&pipe.write), vector, 1, 2, 0, 0]) };
                let mut seen = Observation::new();
                seen.call("vmsplice(pipe, secret memory)", done);
                Ok(seen)
            },
            &[("vmsplice(pipe, secret memory)", Answer::Fails(Errno::EFAULT))],
        )
    },
];

/// Calls `vmsplice` with one buffer, whose memory must be freed after its pipe.
pub(super) fn give(to: &impl std::os::fd::AsFd, bytes: &[u8], flags: SpliceFlags) -> Result<usize, Errno> {
    // SAFETY: experiments read or drop the pipe before they free the memory.
    unsafe { vmsplice_to_pipe(to.as_fd(), &[IoVec::new(bytes)], flags) }
}

fn vmsplice_errors_ebadf(lab: &Lab) -> Result<Observation, Stop> {
    let memory = alias::memory(4096)?;
    let vector = [memory.as_ptr().expose_provenance(), 1];
    let vector = vector.as_ptr().expose_provenance();
    let mut seen = Observation::new();
    // SAFETY: the vector names a byte that outlives the call; there is no pipe to keep it.
    let none = unsafe { ask(Sysno::vmsplice, [NO_FD, vector, 1, 2, 0, 0]) };
    seen.call("vmsplice(-1)", none)
        .call("vmsplice(file)", give(&lab.empty_file()?, &memory[..1], NONBLOCK))
        .call("vmsplice(TCP socket)", give(&Descriptor::open(lab, Fd::TcpSocket)?, &memory[..1], NONBLOCK));
    Ok(seen)
}

fn vmsplice_length_zero_no_pipe(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    let mut seen = Observation::new();
    // SAFETY: no buffer, nothing to keep.
    let none = unsafe { vmsplice_to_pipe(&file, &[], NONBLOCK) };
    seen.call("vmsplice(file, no buffers)", none).call("vmsplice(file, an empty buffer)", give(&file, b"", NONBLOCK));
    Ok(seen)
}

fn vmsplice_vectors_maximum(_lab: &Lab) -> Result<Observation, Stop> {
    let memory = alias::memory(4096)?;
    let vector = [memory.as_ptr().expose_provenance(), 1].repeat(1025);
    let address = vector.as_ptr().expose_provenance();
    let mut seen = Observation::new();
    for count in [1024, 1025] {
        let pipe = pipe()?;
        // SAFETY: the vector names bytes that outlive the pipe.
        let done = unsafe { ask(Sysno::vmsplice, [argument(&pipe.write), address, count, 2, 0, 0]) };
        seen.call(format!("vmsplice(pipe, {count} buffers)"), done);
        note_readable(&mut seen, &format!("bytes of {count} buffers"), &pipe.read)?;
    }
    Ok(seen)
}

fn vmsplice_gift_alignment(_lab: &Lab) -> Result<Observation, Stop> {
    let memory = alias::memory(4096)?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    seen.call(
        "vmsplice(pipe, 100 bytes in a page, SPLICE_F_GIFT)",
        give(&pipe.write, &memory[8..108], SpliceFlags::GIFT),
    );
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn vmsplice_flags_nonblock(_lab: &Lab) -> Result<Observation, Stop> {
    let memory = alias::memory(4096)?;
    let (full, empty) = (full()?, pipe()?);
    let mut seen = Observation::new();
    seen.call("vmsplice(full pipe, SPLICE_F_NONBLOCK)", give(&full.write, &memory[..1], NONBLOCK));
    let mut taken = [0; 1];
    // SAFETY: the read end of a pipe: the kernel writes the buffer during the call.
    let done = unsafe { vmsplice_from_pipe(&empty.read, &mut [IoVecMut::new(&mut taken)], NONBLOCK) };
    seen.call("vmsplice(empty pipe, SPLICE_F_NONBLOCK)", done);
    Ok(seen)
}

fn vmsplice_flags_unknown(_lab: &Lab) -> Result<Observation, Stop> {
    let memory = alias::memory(4096)?;
    let pipe = pipe()?;
    let vector = [memory.as_ptr().expose_provenance(), 1];
    let vector = vector.as_ptr().expose_provenance();
    // SAFETY: the vector names a byte that outlives the pipe.
    let done = unsafe { ask(Sysno::vmsplice, [argument(&pipe.write), vector, 1, 0x10, 0, 0]) };
    let mut seen = Observation::new();
    seen.call("vmsplice(pipe, 0x10)", done);
    Ok(seen)
}

fn vmsplice_errors_efault(lab: &Lab) -> Result<Observation, Stop> {
    let pipe = pipe()?;
    let call = |vector: usize| {
        // SAFETY: nothing that the kernel could keep is mapped at either address.
        unsafe { ask(Sysno::vmsplice, [argument(&pipe.write), vector, 1, 2, 0, 0]) }
    };
    let mut seen = Observation::new();
    seen.call("vmsplice(pipe, vector at a bad address)", call(NOWHERE));
    let vector = [NOWHERE, 1];
    seen.call("vmsplice(pipe, buffer at a bad address)", call(vector.as_ptr().expose_provenance()));
    let file = lab.file(&[OLD; 4096])?;
    let mapping = map_file(&file, 4096).setup("mmap")?;
    aside(|| io::truncate(&file, 0)).setup("ftruncate")?;
    let vector = [mapping.as_ptr().expose_provenance(), 1];
    seen.call("vmsplice(pipe, mapping behind the end of its file)", call(vector.as_ptr().expose_provenance()));
    Ok(seen)
}

fn vmsplice_errors_sigpipe(_lab: &Lab) -> Result<Observation, Stop> {
    let memory = alias::memory(4096)?;
    let pipe = pipe()?;
    drop(pipe.read);
    let mut seen = Observation::new();
    let (done, signals) = raised(libc::SIGPIPE, || give(&pipe.write, &memory[..1], NONBLOCK))?;
    seen.call("vmsplice(pipe without readers)", done).count("signals raised", signals);
    Ok(seen)
}

fn vmsplice_length_pipe_room(_lab: &Lab) -> Result<Observation, Stop> {
    let memory = alias::memory(192 << 10)?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    seen.call("vmsplice(pipe, 192 KiB, SPLICE_F_NONBLOCK)", give(&pipe.write, &memory, NONBLOCK));
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}

fn vmsplice_memory_unmapped(_lab: &Lab) -> Result<Observation, Stop> {
    let memory = alias::memory(LENGTH)?;
    let pipe = pipe()?;
    alias::send_all(|done| give(&pipe.write, &memory[done..], NONBLOCK)).setup("vmsplice")?;
    drop(memory);
    let mut bytes = vec![0; LENGTH];
    io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
    let left = aside(|| sockets::readable(&pipe.read))?;
    let mut seen = Observation::new();
    let same = bytes == [OLD; LENGTH];
    seen.text("bytes in the pipe", if same { "the memory's" } else { "others" })
        .count("bytes left in the pipe", left as u64);
    Ok(seen)
}

fn vmsplice_read_end_copies(_lab: &Lab) -> Result<Observation, Stop> {
    let mut given = alias::memory(LENGTH)?;
    let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
    aside(|| alias::send_all(|done| give(&pipe.write, &given[done..], NONBLOCK))).setup("vmsplice")?;
    let mut taken = PrivateAnonymous::new(LENGTH).setup("mmap")?;
    let mut done = 0;
    let mut seen = Observation::new();
    while done < LENGTH {
        // SAFETY: the read end of a pipe: the kernel writes the buffer during the call.
        let part = unsafe { vmsplice_from_pipe(&pipe.read, &mut [IoVecMut::new(&mut taken[done..])], NONBLOCK) };
        match part {
            Ok(count @ 1..) => done += count,
            other => {
                seen.call("vmsplice(read end)", other);
                break;
            }
        }
    }
    if done == LENGTH {
        seen.call("vmsplice(read end)", Ok(LENGTH));
    }
    given.fill(NEW);
    let what = Sharing::of(&taken[..done]).map_or_else(|_| "other".into(), |what| what.to_string());
    seen.text("memory changed, what was taken out", what);
    Ok(seen)
}

/// A child of the experiment, which runs `inside` and ends. It exits with 0 if `inside` returns true.
fn child(inside: impl FnOnce() -> bool) -> Result<libc::pid_t, Stop> {
    process::fork(|| process::exit(i32::from(!inside()))).setup("fork")
}

/// A child that has a copy of the current memory. It closes its copy of the pipe's write end, and calls `then` after the parent
/// has closed the other copy.
pub(super) fn child_that_waits(hold: &Pipe, then: impl FnOnce()) -> Result<libc::pid_t, Stop> {
    let write = hold.write.as_raw_fd();
    aside(|| {
        child(|| {
            // SAFETY: the descriptor belongs to the child.
            let closed = unsafe { libc::close(write) } == 0;
            let waited = io::again(|| io::read(&hold.read, &mut [0])) == Ok(0);
            then();
            closed && waited
        })
    })
}

/// Waits for the child's end.
pub(super) fn ended(pid: libc::pid_t) -> Result<(), Stop> {
    match process::wait(pid) {
        Ended::Exited(0) => Ok(()),
        other => Err(Stop::broken(format!("the child: {other}"))),
    }
}

/// Reads the pipe, and decides whether its bytes have changed with the memory.
pub(super) fn taken(pipe: &nocopy_splice::Pipe) -> Result<Sharing, Stop> {
    let mut bytes = vec![0; LENGTH];
    let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
    match aside(|| sockets::readable(&pipe.read))? {
        0 => Sharing::of(&bytes[..count]),
        more => Err(Stop::broken(format!("{more} bytes more are in the pipe than were given"))),
    }
}

fn vmsplice_memory_child_gives(_lab: &Lab) -> Result<Observation, Stop> {
    let mut memory = alias::memory(LENGTH)?;
    let pipe = pipe()?;
    let (address, length) = (memory.as_mut_ptr(), memory.len());
    // Checks that the call exists.
    aside(|| give(&super::tools::pipe()?.write, &[OLD], NONBLOCK).setup("vmsplice"))?;
    let pid = aside(|| {
        child(|| {
            let given = alias::send_all(|done| give(&pipe.write, &memory[done..], NONBLOCK));
            // SAFETY: the mapping belongs to the child, which ends without using it.
            given.is_ok() && unsafe { libc::munmap(address.cast(), length) } == 0
        })
    })?;
    aside(|| ended(pid))?;
    memory.fill(NEW);
    let mut seen = Observation::new();
    seen.text("parent's memory changed, pipe's bytes", taken(&pipe)?);
    Ok(seen)
}

fn vmsplice_memory_forked(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for forks in [false, true] {
        let mut memory = alias::memory(LENGTH)?;
        let pipe = pipe()?;
        let hold = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
        alias::send_all(|done| give(&pipe.write, &memory[done..], NONBLOCK)).setup("vmsplice")?;
        let pid = if forks { Some(child_that_waits(&hold, || {})?) } else { None };
        memory.fill(NEW);
        drop(hold.write);
        let when = if forks { "after a fork" } else { "without a fork" };
        seen.text(format!("memory changed {when}, pipe's bytes"), taken(&pipe)?);
        if let Some(pid) = pid {
            aside(|| ended(pid))?;
        }
    }
    Ok(seen)
}
