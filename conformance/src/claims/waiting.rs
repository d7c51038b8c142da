//! Calls on pipes that sleep, and what wakes them.

use super::tools::{full, pipe, raised};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::sleeper::{Caller, returned};
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_sendfile::sendfile;
use nocopy_splice::{IoVec, Pipe, SpliceFlags, vmsplice_to_pipe};
use std::os::fd::AsFd;
use std::sync::Arc;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("pipe(7), man-pages 6.20");
const GVISOR_PIPE: Source = Source::Thread("gVisor @3c5eee1, test/syscalls/linux/pipe.cc");
const WAITS: &str =
    "Makes the call in a thread, looks into /proc until it sleeps there or has returned, and then lets it go on.";
const BLOCKING: SpliceFlags = SpliceFlags::empty();
const OF_USER: &[Resource] = &[Resource::UserPipePages];

/// The lies of a kernel that does not wait.
pub(super) const fn does_not_wait(call: Sysno) -> [Lie; 2] {
    [Lie::refused(call, libc::EAGAIN), Lie::about(call, What::Undone(0))]
}

/// Claims about calls that wait.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "A write() into a full pipe sleeps until a page of the pipe has been read.",
        method: WAITS,
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/pipe2/pipe2_04.c")],
        about: &[Sysno::write],
        lies: &does_not_wait(Sysno::write),
        resources: OF_USER,
        ..Claim::of_answers(
            "pipe.write.full-sleeps",
            |_lab| {
                let Pipe { read, write } = full()?;
                let caller = Caller::start(Sysno::write, move || io::again(|| io::write(&write, b"b")))?;
                let mut seen = Observation::new();
                note_sleeper(&mut seen, "write(full pipe, 1)", caller, |_| read_page(&read))?;
                Ok(seen)
            },
            &[("write(full pipe, 1)", Answer::Says("sleeps")), ("write(full pipe, 1), then", Answer::Is(1))],
        )
    },
    Claim {
        statement: "When the last reader goes, a write() that sleeps fails with EPIPE if nothing was taken, and returns what was; \
                    SIGPIPE comes with both.",
        method: "Writes a byte into a full pipe, and 128 KiB into an empty one, in threads that sleep there when the read end is closed.",
        sources: &[GVISOR_PIPE, Source::Measured],
        about: &[Sysno::write],
        lies: &[Lie::refused(Sysno::write, libc::EAGAIN), Lie::about(Sysno::write, What::Swallowed(libc::SIGPIPE))],
        exceptions: &[Exception::Of(
            Sysno::write,
            What::Shortened,
            "half of 128 KiB is what the pipe holds: the call does not sleep",
        )],
        resources: OF_USER,
        ..Claim::of_answers(
            "pipe.close.wakes-writer",
            pipe_close_wakes_writer,
            &[
                ("write(full pipe, 1)", Answer::Says("sleeps")),
                ("write(full pipe, 1), then", Answer::Fails(Errno::EPIPE)),
                ("signals with it", Answer::Is(1)),
                ("write(pipe, 128 KiB)", Answer::Says("sleeps")),
                ("write(pipe, 128 KiB), then", Answer::Is(1 << 16)),
                ("signals with that", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "All readers that sleep are woken when the last writer of a pipe closes it: each of them gets 0.",
        method: "Three threads that sleep in read() when the only write end is closed.",
        sources: &[Source::Thread(
            "Linux 5.6, commit 6551d5c56eb0; LTP @6958277, testcases/kernel/syscalls/pipe/pipe13.c",
        )],
        about: &[Sysno::read],
        lies: &does_not_wait(Sysno::read),
        ..Claim::of_answers(
            "pipe.close.wakes-readers",
            pipe_close_wakes_readers,
            &[
                ("readers asleep", Answer::Is(3)),
                ("first read(pipe, 1), then", Answer::Is(0)),
                ("second read(pipe, 1), then", Answer::Is(0)),
                ("third read(pipe, 1), then", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "vmsplice() into a full pipe sleeps until a page of it has been read.",
        method: WAITS,
        sources: &[
            Source::Man("vmsplice(2), man-pages 6.20"),
            Source::Thread("LTP @6958277, testcases/kernel/syscalls/vmsplice/vmsplice04.c"),
        ],
        about: &[Sysno::vmsplice],
        lies: &does_not_wait(Sysno::vmsplice),
        resources: OF_USER,
        ..Claim::of_answers(
            "vmsplice.waits.full-pipe",
            |_lab| {
                static BYTE: [u8; 1] = *b"b";
                let Pipe { read, write } = full()?;
                let caller = Caller::start(Sysno::vmsplice, move || {
                    // SAFETY: the byte is never changed and always there.
                    io::again(|| unsafe { vmsplice_to_pipe(&write, &[IoVec::new(&BYTE)], BLOCKING) })
                })?;
                let mut seen = Observation::new();
                note_sleeper(&mut seen, "vmsplice(full pipe, 1)", caller, |_| read_page(&read))?;
                Ok(seen)
            },
            &[("vmsplice(full pipe, 1)", Answer::Says("sleeps")), ("vmsplice(full pipe, 1), then", Answer::Is(1))],
        )
    },
    Claim {
        statement: "sendfile() into a full pipe sleeps until a page of it has been read.",
        method: WAITS,
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/sendfile.cc")],
        about: &[Sysno::sendfile],
        lies: &does_not_wait(Sysno::sendfile),
        resources: OF_USER,
        ..Claim::of_answers(
            "sendfile.waits.full-pipe",
            |lab| {
                let file = lab.file(b"b")?;
                let Pipe { read, write } = full()?;
                let caller =
                    Caller::start(Sysno::sendfile, move || io::again(|| sendfile(&write, &file, Some(&mut 0), 1)))?;
                let mut seen = Observation::new();
                note_sleeper(&mut seen, "sendfile(full pipe, file, 1)", caller, |_| read_page(&read))?;
                Ok(seen)
            },
            &[
                ("sendfile(full pipe, file, 1)", Answer::Says("sleeps")),
                ("sendfile(full pipe, file, 1), then", Answer::Is(1)),
            ],
        )
    },
];

/// Notes whether a call sleeps, and its result after `wake`.
fn note_sleeper(
    seen: &mut Observation,
    what: &str,
    caller: Caller,
    wake: impl FnOnce(&Caller) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let sleeps = caller.sleeps()?;
    aside(|| wake(&caller))?;
    note_end(seen, what, sleeps, caller)
}

/// Notes whether a call was seen asleep, and its result.
pub(super) fn note_end(seen: &mut Observation, what: &str, slept: bool, caller: Caller) -> Result<(), Stop> {
    note_result(seen, what, slept, caller.join()?);
    Ok(())
}

/// Notes whether a call slept, and its result.
pub(super) fn note_result(seen: &mut Observation, what: &str, slept: bool, result: Result<usize, Errno>) {
    let word = if slept { "sleeps".to_owned() } else { returned(result) };
    seen.text(what, word).call(format!("{what}, then"), result);
}

fn read_page(pipe: &impl AsFd) -> Result<(), Stop> {
    io::read_full(pipe, &mut [0; 4096]).setup("read a pipe")?;
    Ok(())
}

fn pipe_close_wakes_writer(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    let (noted, signals) = raised(libc::SIGPIPE, || {
        let Pipe { read, write } = full()?;
        let caller = Caller::start(Sysno::write, move || io::again(|| io::write(&write, b"b")))?;
        note_sleeper(&mut seen, "write(full pipe, 1)", caller, |_| {
            drop(read);
            Ok(())
        })
    })?;
    noted?;
    seen.count("signals with it", signals);
    let (noted, signals) = raised(libc::SIGPIPE, || {
        let Pipe { read, write } = pipe()?;
        let caller = Caller::start(Sysno::write, move || io::again(|| io::write(&write, &vec![0; 1 << 17])))?;
        let sleeps = caller.sleeps_with(|| Ok(aside(|| sockets::readable(&read))? == 1 << 16))?;
        drop(read);
        note_end(&mut seen, "write(pipe, 128 KiB)", sleeps, caller)
    })?;
    noted?;
    seen.count("signals with that", signals);
    Ok(seen)
}

fn pipe_close_wakes_readers(_lab: &Lab) -> Result<Observation, Stop> {
    const NAMES: [&str; 3] = ["first", "second", "third"];
    let Pipe { read, write } = pipe()?;
    let read = Arc::new(read);
    let mut readers = Vec::new();
    for _ in NAMES {
        let read = Arc::clone(&read);
        readers.push(Caller::start(Sysno::read, move || io::again(|| io::read(&*read, &mut [0])))?);
    }
    let mut asleep = 0;
    for reader in &readers {
        asleep += u64::from(reader.sleeps()?);
    }
    drop(write);
    let mut seen = Observation::new();
    seen.count("readers asleep", asleep);
    for (name, reader) in NAMES.iter().zip(readers) {
        seen.call(format!("{name} read(pipe, 1), then"), reader.join()?);
    }
    Ok(seen)
}
