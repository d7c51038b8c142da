//! `splice`: the owner of spliced pages, the bytes that arrive, and the bytes left in the pipe after an error.

use super::sendfile_content::{COREUTILS_277, until_refused};
use super::tools::{filled, note_length, note_readable, pipe, reopen};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fuse::{self, Fuse};
use crate::lab::sleeper::{Caller, returned};
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, io, mounts, sockets};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_splice::{SpliceFlags, splice};
use std::fs::File;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("splice(2), man-pages 6.20");
const SPLICE: &[Sysno] = &[Sysno::splice];
const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;

/// Claims about the bytes that `splice` moves.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "What is written into a pipe behind a page of a file goes into a page of its own: the file stays as it is.",
        method: "Fills a pipe with whole pages and empties it, splices a byte of a file that is open for reading only into it, writes \
                 into the pipe, and reads the file.",
        sources: &[Source::Thread("CVE-2022-0847; LTP @6958277, testcases/kernel/security/dirtypipe/dirtypipe.c")],
        about: SPLICE,
        lies: &[Lie::bytes(Sysno::pread64, b'f', b'w')],
        ..Claim::of_answers(
            "splice.sharing.written-behind",
            splice_sharing_written_behind,
            &[("file", Answer::Says("unchanged")), ("pipe's bytes", Answer::Says("fwwww"))],
        )
    },
    Claim {
        statement: "Spliced to an offset behind a file's end, bytes leave a hole before them, and the position stays.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/splice.cc")],
        about: SPLICE,
        lies: &[Lie::skipped(Sysno::splice), Lie::about(Sysno::splice, What::OffsetKept)],
        ..Claim::of_answers(
            "splice.offset.hole",
            |lab| {
                let file = lab.empty_file()?;
                let pipe = filled(b"bytes")?;
                let mut offset = 5000;
                let done =
                    io::until_done(5, |done| splice(&pipe.read, None, &file, Some(&mut offset), 5 - done, NONBLOCK));
                let mut seen = Observation::new();
                seen.call("splice(pipe, empty file at 5000)", done);
                seen.count("offset afterwards", offset);
                let mut bytes = vec![1; 5005];
                let count = io::pread_full(&file, &mut bytes, 0).setup("read the file")?;
                let is_hole = count == 5005 && bytes[..5000] == [0; 5000] && bytes[5000..] == *b"bytes";
                seen.text("file", if is_hole { "zeros and the bytes" } else { "others" });
                Ok(seen)
            },
            &[
                ("splice(pipe, empty file at 5000)", Answer::Is(5)),
                ("offset afterwards", Answer::Is(5005)),
                ("file", Answer::Says("zeros and the bytes")),
            ],
        )
    },
    Claim {
        statement: "When the socket fails, what was spliced into the pipe for it is lost.",
        method: "Splices bytes into a pipe, closes the peer, splices the pipe into the socket, and looks into the pipe.",
        sources: &[Source::Thread("haproxy/haproxy#2505, where they stayed and went to the next"), Source::Measured],
        about: SPLICE,
        lies: &[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 })],
        ..Claim::new(
            "splice.errors.left-in-pipe",
            |lab| {
                let file = lab.file(b"bytes")?;
                let pipe = pipe()?;
                io::all_done(5, |done| splice(&file, None, &pipe.write, None, 5 - done, NONBLOCK)).setup("splice")?;
                let (near, far) = std::os::unix::net::UnixStream::pair().setup("socketpair")?;
                drop(far);
                let (done, _) =
                    super::tools::raised(libc::SIGPIPE, || splice(&pipe.read, None, &near, None, 5, NONBLOCK))?;
                let mut seen = Observation::new();
                seen.call("splice(pipe, socket without peer)", done);
                seen.count("bytes left in the pipe", sockets::readable(&pipe.read)? as u64);
                Ok(seen)
            },
            |seen| {
                Verdict::holds_if(
                    seen.failed_with("splice(pipe, socket without peer)", Errno::EPIPE)
                        && seen.counted("bytes left in the pipe") == 0,
                )
            },
        )
    },
    Claim {
        statement: "When the target's disk gets full, splice() returns what there was room for, and the next one fails with ENOSPC: the \
                    rest stays in the pipe.",
        method: "Splices a pipe with 64 KiB into a file on a tmpfs of 40 KiB, until a call fails.",
        sources: &[COREUTILS_277],
        about: SPLICE,
        lies: &[Lie::about(Sysno::splice, What::OtherErrno(libc::EINVAL)), Lie::returned(Sysno::splice, 1 << 16)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "splice.errors.enospc",
            |_lab| spliced_until_refused(ON_FULL, &mounts::empty_file_within(c"40k")?),
            &refused_after_40k(ON_FULL, Errno::ENOSPC),
        )
    },
    Claim {
        statement: "When the user's quota is used up, splice() returns what there was room for, and the next one fails with EDQUOT: \
                    the rest stays in the pipe.",
        method: "Splices a pipe with 64 KiB into a file whose server, of the experiment's own, takes 40 KiB and has a quota then, until a call \
                 fails.",
        sources: &[Source::Man("write(2), man-pages 6.20"), Source::Measured],
        about: SPLICE,
        modules: fuse::MODULES,
        lies: &[Lie::about(Sysno::splice, What::OtherErrno(libc::ENOSPC)), Lie::returned(Sysno::splice, 1 << 16)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "splice.errors.edquot",
            |_lab| spliced_until_refused(OVER_QUOTA, &Fuse::with_quota(40 << 10)?.1),
            &refused_after_40k(OVER_QUOTA, Errno::EDQUOT),
        )
    },
    Claim {
        statement: "splice() to a TCP socket sends at once what is in the pipe, whatever its flags.",
        method: "Splices ten bytes into a socket with SPLICE_F_MORE and without, and asks how many are not sent yet (SIOCOUTQNSD). Held \
                 bytes go after 200 ms, so the first try that still sees them decides, of ten.",
        sources: &[
            Source::Thread("golang/go#10948 and daeuniverse/dae#1115, which set the flag on the last piece"),
            Source::Measured,
        ],
        about: SPLICE,
        lies: &[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 }).with(1, sockets::SIOCOUTQNSD)],
        ..Claim::new("splice.flags.more-holds", splice_flags_more_holds, |seen| {
            Verdict::holds_if(seen.counted("bytes held with SPLICE_F_MORE") == 0)
        })
    },
    Claim {
        statement: "With SPLICE_F_NONBLOCK, splice() from a socket that has nothing fails with EAGAIN.",
        method: "Splices from an empty TCP socket without O_NONBLOCK in a thread, until it has returned or sleeps in the call.",
        sources: &[Source::Thread("golang/go#59041"), MAN],
        about: SPLICE,
        lies: &[Lie::refused(Sysno::splice, libc::EAGAIN)],
        exceptions: &[Exception::asked(Sysno::splice)],
        ..Claim::of_answers(
            "splice.flags.nonblock-tcp",
            splice_flags_nonblock_tcp,
            &[("splice(empty TCP socket, pipe, SPLICE_F_NONBLOCK)", Answer::Says("EAGAIN"))],
        )
    },
];

/// The name of the fact for a target without room.
const ON_FULL: &str = "last splice(pipe, full tmpfs)";
const OVER_QUOTA: &str = "last splice(pipe, file at its quota)";

/// The expected facts if a target has taken 40 KiB and is then full.
const fn refused_after_40k(last: &'static str, errno: Errno) -> [(&'static str, Answer); 4] {
    [
        ("returned in all", Answer::Is(40 << 10)),
        (last, Answer::Fails(errno)),
        ("bytes left in the pipe", Answer::Is(24 << 10)),
        ("bytes in the target", Answer::Is(40 << 10)),
    ]
}

/// Splices from a pipe with 64 KiB until a call fails.
fn spliced_until_refused(last: &str, target: &File) -> Result<Observation, Stop> {
    let pipe = super::tools::full()?;
    let (moved, refused) =
        until_refused(1 << 16, |done| splice(&pipe.read, None, target, None, (1 << 16) - done, NONBLOCK));
    let mut seen = Observation::new();
    seen.count("returned in all", moved as u64).call(last, refused);
    note_readable(&mut seen, "bytes left in the pipe", &pipe.read)?;
    note_length(&mut seen, "bytes in the target", target)?;
    Ok(seen)
}

fn splice_sharing_written_behind(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[b'f'; 4096])?;
    let read_only = reopen(&file, File::options().read(true))?;
    let pipe = pipe()?;
    aside(|| {
        for _ in 0..16 {
            io::write_all(&pipe.write, &[b'p'; 4096]).setup("fill the pipe")?;
        }
        io::read_full(&pipe.read, &mut vec![0; 1 << 16]).setup("empty the pipe")
    })?;
    io::all_done(1, |_| splice(&read_only, Some(&mut 0), &pipe.write, None, 1, NONBLOCK)).setup("splice")?;
    io::write_all(&pipe.write, b"wwww").setup("write to the pipe")?;
    let mut now = [0; 4096];
    io::pread_full(&file, &mut now, 0).setup("read the file")?;
    let mut seen = Observation::new();
    seen.text("file", if now == [b'f'; 4096] { "unchanged" } else { "changed" });
    let mut bytes = [0; 5];
    io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
    seen.text("pipe's bytes", String::from_utf8_lossy(&bytes));
    Ok(seen)
}

fn splice_flags_more_holds(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    // Data that Nagle's algorithm would hold back is not the subject.
    let mut arrived = 0;
    let mut held = |flags: SpliceFlags| -> Result<usize, Stop> {
        let pipe = filled(b"ten bytes!")?;
        io::all_done(10, |done| splice(&pipe.read, None, &near, None, 10 - done, flags | NONBLOCK)).setup("splice")?;
        let unsent = sockets::unsent(&near)?;
        arrived += 10;
        sockets::wait_for_arrival(&far, arrived)?;
        wait_until(|| Ok(aside(|| sockets::unacknowledged(&near))? == 0))?;
        Ok(unsent)
    };
    let mut seen = Observation::new();
    seen.count("bytes held without", held(SpliceFlags::empty())? as u64);
    let mut with = 0;
    for _ in 0..10 {
        with = held(SpliceFlags::MORE)?;
        if with > 0 {
            break;
        }
    }
    seen.count("bytes held with SPLICE_F_MORE", with as u64);
    Ok(seen)
}

fn splice_flags_nonblock_tcp(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    let pipe = pipe()?;
    let write = pipe.write;
    let caller = Caller::start(Sysno::splice, move || splice(&near, None, &write, None, 1, NONBLOCK))?;
    let blocked = caller.sleeps()?;
    // Data arrives now, so that the call ends.
    aside(|| io::write_all(&far, b"b")).setup("write")?;
    let returned = returned(caller.join()?);
    let mut seen = Observation::new();
    seen.text("in the end", &returned);
    let what = if blocked { "blocked" } else { &returned };
    seen.text("splice(empty TCP socket, pipe, SPLICE_F_NONBLOCK)", what);
    Ok(seen)
}
