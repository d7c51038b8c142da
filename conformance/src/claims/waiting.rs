//! Calls on pipes that sleep, and what wakes them.

use super::tools::{filled, full, pipe, raised, two};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::sleeper::{Caller, interrupt_with, returned};
use crate::lab::{Lab, io};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_sendfile::sendfile;
use nocopy_splice::{Pipe, SpliceFlags, splice};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread;
use syscalls::{Errno, Sysno};

const SPLICE_MAN: Source = Source::Man("splice(2), man-pages 6.20");
const GVISOR_SPLICE: Source = Source::Thread("gVisor @3c5eee1, test/syscalls/linux/splice.cc");
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
        statement: "splice() of an empty pipe sleeps until something is written to it.",
        method: WAITS,
        sources: &[SPLICE_MAN, GVISOR_SPLICE],
        about: &[Sysno::splice],
        lies: &does_not_wait(Sysno::splice),
        ..Claim::of_answers(
            "splice.waits.empty-pipe",
            |_lab| {
                let (first, second) = two()?;
                // The reader of this pipe stays open, whatever the call does.
                let first = Arc::new(first);
                let from = Arc::clone(&first);
                let caller = Caller::start(Sysno::splice, move || {
                    io::again(|| splice(&from.read, None, &second.write, None, 1, BLOCKING))
                })?;
                let mut seen = Observation::new();
                note_sleeper(&mut seen, "splice(empty pipe, pipe, 1)", caller, |_| {
                    io::write_all(&first.write, b"b").setup("write to a pipe")
                })?;
                Ok(seen)
            },
            &[
                ("splice(empty pipe, pipe, 1)", Answer::Says("sleeps")),
                ("splice(empty pipe, pipe, 1), then", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "splice() into a full pipe sleeps until a page of it has been read.",
        method: WAITS,
        sources: &[SPLICE_MAN, GVISOR_SPLICE],
        about: &[Sysno::splice],
        lies: &does_not_wait(Sysno::splice),
        resources: OF_USER,
        ..Claim::of_answers(
            "splice.waits.full-pipe",
            |lab| {
                let file = lab.file(b"b")?;
                let Pipe { read, write } = full()?;
                let caller = Caller::start(Sysno::splice, move || {
                    io::again(|| splice(&file, Some(&mut 0), &write, None, 1, BLOCKING))
                })?;
                let mut seen = Observation::new();
                note_sleeper(&mut seen, "splice(file, full pipe, 1)", caller, |_| read_page(&read))?;
                Ok(seen)
            },
            &[
                ("splice(file, full pipe, 1)", Answer::Says("sleeps")),
                ("splice(file, full pipe, 1), then", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "A signal ends a splice() that waits for room in a pipe: it fails with EINTR, and has moved nothing.",
        method: "Sends a signal, of which the handler is without SA_RESTART, to a thread that sleeps in the call.",
        sources: &[GVISOR_SPLICE, SPLICE_MAN],
        about: &[Sysno::splice],
        lies: &[Lie::refused(Sysno::splice, libc::EINTR), Lie::about(Sysno::splice, What::OtherErrno(libc::EIO))],
        exceptions: &[Exception::asked(Sysno::splice)],
        resources: OF_USER,
        ..Claim::of_answers(
            "splice.waits.interrupted",
            splice_waits_interrupted,
            &[
                ("splice(pipe, full pipe, 1)", Answer::Says("sleeps")),
                ("splice(pipe, full pipe, 1), then", Answer::Fails(Errno::EINTR)),
                ("bytes in the first pipe", Answer::Is(1)),
            ],
        )
    },
    Claim {
        statement: "Two threads that splice two pipes into each other do not wait for each other for ever.",
        method: "A thread moves bytes from one pipe to the other, another one moves them back, a hundred times: one byte, and sixteen in \
                 buffers of their own, which fill the pipe.",
        sources: &[GVISOR_SPLICE],
        about: &[Sysno::splice],
        lies: &[Lie::refused(Sysno::splice, libc::EDEADLK)],
        exceptions: &[Exception::Of(
            Sysno::splice,
            What::Skipped,
            "a byte that stays where it is is moved in the next round",
        )],
        resources: OF_USER,
        ..Claim::of_answers(
            "splice.waits.two-pipes",
            splice_waits_two_pipes,
            &[
                ("bytes moved there, of 1", Answer::Is(ROUNDS as u64)),
                ("bytes moved back, of 1", Answer::Is(ROUNDS as u64)),
                ("bytes moved there, of 16", Answer::Is(ROUNDS as u64)),
                ("bytes moved back, of 16", Answer::Is(ROUNDS as u64)),
            ],
        )
    },
    Claim {
        statement: "A read() and a splice() of the same descriptor, side by side, do not wait for each other for ever.",
        method: "One thread reads a file of 1 MiB and another one splices it, page by page, until both have come to its end.",
        sources: &[GVISOR_SPLICE],
        about: &[Sysno::splice, Sysno::read],
        lies: &[Lie::refused(Sysno::splice, libc::EDEADLK), Lie::refused(Sysno::read, libc::EDEADLK).with(2, 4096)],
        exceptions: &[
            Exception::Of(Sysno::splice, What::TooMany, BESIDE),
            Exception::Of(Sysno::splice, What::TooFew, BESIDE),
            Exception::Of(Sysno::splice, What::Skipped, BESIDE),
            Exception::Of(Sysno::splice, What::PositionKept, BESIDE),
            Exception::Of(Sysno::read, What::TooMany, BESIDE),
            Exception::Of(Sysno::read, What::TooFew, BESIDE),
            Exception::Of(Sysno::read, What::Skipped, BESIDE),
            Exception::Of(Sysno::read, What::Garbled, BESIDE),
        ],
        ..Claim::of_answers(
            "splice.waits.read-beside",
            splice_waits_read_beside,
            &[("last read(file)", Answer::Is(0)), ("last splice(file, pipe)", Answer::Is(0))],
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

const BESIDE: &str = "which of the two gets a page is chance: that both come to the end is what is asked";
/// The number of times that a byte is moved there and back.
const ROUNDS: usize = 100;

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

fn splice_waits_interrupted(_lab: &Lab) -> Result<Observation, Stop> {
    interrupt_with(libc::SIGUSR1)?;
    let source = Arc::new(filled(b"b")?);
    let from = Arc::clone(&source);
    let Pipe { read, write } = full()?;
    let caller = Caller::start(Sysno::splice, move || splice(&from.read, None, &write, None, 1, BLOCKING))?;
    let mut seen = Observation::new();
    note_sleeper(&mut seen, "splice(pipe, full pipe, 1)", caller, |caller| caller.signal(libc::SIGUSR1))?;
    super::tools::note_readable(&mut seen, "bytes in the first pipe", &source.read)?;
    drop(read);
    Ok(seen)
}

fn splice_waits_two_pipes(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    let (moved, _) = raised(libc::SIGPIPE, || [1, 16].into_iter().try_for_each(|bytes| both_ways(&mut seen, bytes)))?;
    moved?;
    Ok(seen)
}

fn both_ways(seen: &mut Observation, bytes: u64) -> Result<(), Stop> {
    let (here, there) = two()?;
    for _ in 0..bytes {
        let one = filled(b"b")?;
        // A splice uses a new buffer for each byte. A write would append to the last buffer.
        aside(|| io::again(|| splice(&one.read, None, &here.write, None, 1, BLOCKING)).setup("splice"))?;
    }
    let forth = thread::spawn(move || move_bytes(here.read, there.write));
    let back = thread::spawn(move || move_bytes(there.read, here.write));
    let mut threads = Vec::new();
    for thread in [forth, back] {
        threads.push(thread.join().map_err(|_| Stop::broken("a thread panicked"))?);
    }
    for (way, (moved, _kept)) in ["there", "back"].iter().zip(threads) {
        seen.count(format!("bytes moved {way}, of {bytes}"), moved as u64);
    }
    Ok(())
}

/// Moves [`ROUNDS`] bytes one by one, or fewer if a step fails. Returns the number of bytes.
///
/// If it stops early, it closes both ends, so that the other thread does not wait for it. If it completes, it keeps the read end
/// open, because the other thread still has bytes to move.
fn move_bytes<End: AsFd>(from: End, to: End) -> (usize, Option<End>) {
    let step = |_| io::again(|| splice(&from, None, &to, None, 1, BLOCKING));
    let moved = (0..ROUNDS).take_while(|at| step(*at) == Ok(1)).count();
    drop(to);
    (moved, (moved == ROUNDS).then_some(from))
}

fn splice_waits_read_beside(lab: &Lab) -> Result<Observation, Stop> {
    const PAGE: usize = 4096;
    let file = lab.file(&vec![b'f'; 1 << 20])?;
    let same = aside(|| file.try_clone()).setup("dup")?;
    let reader = thread::spawn(move || until_end(|| io::read(&same, &mut [0; PAGE])));
    let Pipe { read, write } = pipe()?;
    let mut drained = Ok(());
    let last = until_end(|| {
        let moved = splice(&file, None, &write, None, PAGE, BLOCKING)?;
        drained = aside(|| io::read_full(&read, &mut vec![0; moved])).map(drop);
        Ok(if drained.is_ok() { moved } else { 0 })
    });
    drained.setup("drain the pipe")?;
    let mut seen = Observation::new();
    seen.call("last splice(file, pipe)", last);
    let last = reader.join().map_err(|_| Stop::broken("a thread panicked"))?;
    seen.call("last read(file)", last);
    Ok(seen)
}

/// Makes a call until it returns 0 or fails.
fn until_end(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    while io::again(&mut call)? > 0 {}
    Ok(0)
}
