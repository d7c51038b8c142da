//! When `splice` sleeps.

use super::{BLOCKING, NONBLOCK, about_splice, sleeper};
use crate::claims::prelude::*;
use crate::lab::fuse::settings::Settings;
use crate::lab::fuse::{self, Fuse};
use crate::lab::sleeper::interrupt_with;
use nocopy_splice::splice;
use std::io::Seek;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

pub const CLAIMS: &[Claim] = &[
    about_splice("splice.waits.empty-pipe", "Between pipes, splice() from an empty one sleeps until bytes come.")
        .published(&[gvisor("splice.cc", "SpliceTest.Blocking"), kernel("fs/splice.c", "ipipe_prep")])
        .turned_by(&does_not_wait(Sysno::splice))
        .tried(|_lab, see| {
            // The reader of this pipe stays open, whatever the call does.
            let (first, Pipe { read, write }) = (pipe()?, pipe()?);
            let caller = sleeper(first.read, write, 1, BLOCKING)?;
            let wake = |_: &Caller| io::write_all(&first.write, b"b").setup("write to a pipe");
            see.sleeps("splice(empty pipe, pipe, 1)", caller, wake)?.is(1);
            see.holds("second pipe's byte", &read, b"b")?.says(AS_SENT);
            Ok(())
        }),
    about_splice(
        "splice.waits.full-pipe",
        "splice() from a file into a full pipe sleeps until a page of the pipe has been read.",
    )
    .published(&[
        gvisor("splice.cc", "SpliceTest.ToPipeWithSmallCapacityDoesNotSpin, without a reader").leaves_open(),
        kernel("fs/splice.c", "wait_for_space"),
    ])
    .turned_by(&does_not_wait(Sysno::splice))
    .sharing(&[Resource::UserPipePages])
    .tried(|lab, see| {
        let (file, Pipe { read, write }) = (lab.file(b"b")?, full()?);
        let caller = sleeper(file, write, 1, BLOCKING)?;
        let read_part = |length| io::read_full(&read, &mut vec![0; length]).map(drop).setup("read a pipe");
        if caller.sleeps()? {
            aside(|| read_part(page() - 1))?;
        }
        let call = "splice(file, full pipe, 1) after all but one byte of a page have been read";
        see.sleeps(call, caller, |_| read_part(1))?.is(1);
        Ok(())
    }),
    about_splice(
        "splice.waits.interrupted",
        "A signal with a handler without SA_RESTART ends a splice() that waits for room in a pipe: EINTR, nothing \
         moved.",
    )
    .published(&[
        gvisor("splice.cc", "SpliceTest.ToPipeWithSmallCapacityDoesNotSpin, of a file"),
        kernel("fs/splice.c", "wait_for_space, opipe_prep"),
    ])
    .turned_by(&[Lie::refused(Sysno::splice, libc::EINTR), Lie::about(Sysno::splice, What::OtherErrno(libc::EIO))])
    .sharing(&[Resource::UserPipePages])
    .tried(|lab, see| {
        interrupt_with(libc::SIGUSR1)?;
        let (pipe, file) = (filled(b"b")?, Arc::new(lab.file(b"b")?));
        let read = Arc::new(pipe.read);
        interrupted(see, "pipe", &read)?;
        see.holds("first pipe's byte", &*read, b"b")?.says(AS_SENT);
        interrupted(see, "file", &file)?;
        see.count("position of the file", aside(|| io::position(&*file)).setup("lseek")?).is(0);
        Ok(())
    }),
    about_splice(
        "splice.waits.two-pipes",
        "Two threads that splice single bytes between two pipes in opposite directions do not deadlock.",
    )
    .published(&[gvisor("splice.cc", "SpliceTest.TwoPipesCircular")])
    .turned_by(&[Lie::refused(Sysno::splice, libc::EDEADLK)])
    .except(&[Exception::Of(Sysno::splice, What::Skipped, "a byte that stays is moved in the next round")])
    .sharing(&[Resource::UserPipePages])
    .method(
        "Moves bytes there and back a hundred times: one byte, and as many as fill a pipe, each in a buffer of its \
         own.",
    )
    .tried(|_lab, see| {
        let slots = pipe_size(&pipe()?)? / page();
        let (moved, _) = raised(libc::SIGPIPE, || {
            both_ways(see, 1, "one byte")?;
            both_ways(see, slots, "a full pipe")
        })?;
        moved
    }),
    about_splice(
        "splice.waits.read-beside",
        "A read() and a splice() loop on the same open file, in two threads, do not deadlock.",
    )
    .published(&[gvisor("splice.cc", "SpliceTest.FromPipeWithConcurrentIo")])
    .about(&[Sysno::splice, Sysno::read])
    .turned_by(&[Lie::refused(Sysno::splice, libc::EDEADLK), Lie::refused(Sysno::read, libc::EDEADLK).with(2, 4096)])
    .except(&[
        by_chance(Sysno::splice, What::TooMany),
        by_chance(Sysno::splice, What::TooFew),
        by_chance(Sysno::splice, What::Skipped),
        by_chance(Sysno::splice, What::PositionKept),
        by_chance(Sysno::read, What::TooMany),
        by_chance(Sysno::read, What::TooFew),
        by_chance(Sysno::read, What::Skipped),
        by_chance(Sysno::read, What::Garbled),
    ])
    .method("Twenty times, splice() comes to the end of the file, 4096 bytes a call, while the other thread reads.")
    .tried(|lab, see| {
        let (file, Pipe { read, write }) = (lab.file(&vec![b'f'; 1 << 18])?, pipe()?);
        let same = aside(|| file.try_clone()).setup("dup")?;
        let has_ended = Arc::new(AtomicBool::new(false));
        let may_end = Arc::clone(&has_ended);
        let reader = thread::spawn(move || {
            until_end(|| io::read(&same, &mut [0; 4096]).map(|count| count + usize::from(!may_end.load(Relaxed))))
        });
        let mut ends = 0;
        for _ in 0..20 {
            aside(|| (&file).rewind()).setup("lseek")?;
            let mut drained = Ok(());
            let last = until_end(|| {
                let moved = splice(&file, None, &write, None, 4096, BLOCKING)?;
                drained = aside(|| io::read_full(&read, &mut vec![0; moved])).map(drop);
                Ok(if drained.is_ok() { moved } else { 0 })
            });
            drained.setup("drain the pipe")?;
            ends += u64::from(last == Ok(0));
        }
        has_ended.store(true, Relaxed);
        see.count("loops of splice() that came to the end of the file", ends).is(20);
        let last = reader.join().map_err(|_| Stop::broken("a thread panicked"))?;
        see.call("last read(file)", last).is(0);
        Ok(())
    }),
    about_splice(
        "splice.waits.file-read",
        "splice() from a FUSE file whose server does not answer sleeps, though file and pipe have O_NONBLOCK and the \
         call the flag.",
    )
    .published(&[
        man("open(2)", "DESCRIPTION, O_NONBLOCK"),
        man("splice(2)", "DESCRIPTION, SPLICE_F_NONBLOCK").leaves_open(),
    ])
    .turned_by(&does_not_wait(Sysno::splice))
    .modules(fuse::MODULES)
    .tried(|_lab, see| {
        let fuse = Fuse::mount(b"b", Settings { withholds_reads: true, ..Settings::default() })?;
        let file = fuse.open(File::options().read(true).custom_flags(libc::O_NONBLOCK))?;
        let Pipe { read, write } = pipe()?;
        aside(|| io::set_nonblocking(&write)).setup("O_NONBLOCK")?;
        let caller = sleeper(file, write, 1, NONBLOCK)?;
        let slept = caller.sleeps_with(|| fuse.is_asked())?;
        fuse.answer()?;
        let result = caller.join()?;
        // The errors of a read from a file whose server has ended: EIO since 7.3, which reads by way of iomap.
        if let Err(Errno::ECONNABORTED | ENOTCONN | Errno::EIO) = result {
            return Err(Stop::broken("the server of the file has ended"));
        }
        let word = if slept { SLEEPS.to_owned() } else { returned(result) };
        see.text("splice(file, pipe, 1, SPLICE_F_NONBLOCK), both with O_NONBLOCK", word).says(SLEEPS);
        see.call("splice() after the server's answer", result).is(1);
        see.holds("pipe's byte", &read, b"b")?.says(AS_SENT);
        Ok(())
    }),
];

const fn by_chance(call: Sysno, what: What) -> Exception {
    Exception::Of(call, what, "which of the two gets a part is chance: that both come to the end is what is asked")
}

/// The number of times that a byte is moved there and back.
const ROUNDS: usize = 100;

/// Interrupts a `splice` of a byte that sleeps because its pipe is full.
fn interrupted<Input>(see: &mut Observation, name: &str, input: &Arc<Input>) -> Result<(), Stop>
where
    Input: AsFd + Send + Sync + 'static,
{
    let Pipe { read: _read, write } = full()?;
    let caller = sleeper(Arc::clone(input), write, 1, BLOCKING)?;
    see.sleeps(&format!("splice({name}, full pipe, 1)"), caller, |caller| caller.signal(libc::SIGUSR1))?.fails(EINTR);
    Ok(())
}

fn both_ways(see: &mut Observation, bytes: usize, name: &str) -> Result<(), Stop> {
    let (here, there) = two()?;
    for _ in 0..bytes {
        let one = filled(b"b")?;
        // A splice uses a new buffer for each byte. A write would append to the last buffer.
        aside(|| io::again(|| splice(&one.read, None, &here.write, None, 1, BLOCKING)).setup("splice"))?;
    }
    let forth = thread::spawn(move || move_bytes(here.read, there.write));
    let back = thread::spawn(move || move_bytes(there.read, here.write));
    let mut threads = Vec::new(); // they keep the pipes open
    for (way, thread) in [("there", forth), ("back", back)] {
        threads.push((way, thread.join().map_err(|_| Stop::broken("a thread panicked"))?));
    }
    for (way, (moved, _kept)) in threads {
        see.count(format!("bytes moved {way}, of {name}"), moved as u64).is(ROUNDS);
    }
    Ok(())
}

/// Moves [`ROUNDS`] bytes one by one, or fewer if a step fails. Returns the number of bytes.
///
/// If it stops early, it closes both ends, so that the other thread does not wait for it. If it completes, it keeps the
/// read end open, because the other thread still has bytes to move.
fn move_bytes<Source: AsFd>(from: Source, to: impl AsFd) -> (usize, Option<Source>) {
    let step = |_| io::again(|| splice(&from, None, &to, None, 1, BLOCKING));
    let moved = (0..ROUNDS).take_while(|at| step(*at) == Ok(1)).count();
    drop(to);
    (moved, (moved == ROUNDS).then_some(from))
}

/// Makes a call until it returns 0 or fails.
fn until_end(mut call: impl FnMut() -> Result<usize, Errno>) -> Result<usize, Errno> {
    while io::again(&mut call)? > 0 {}
    Ok(0)
}
