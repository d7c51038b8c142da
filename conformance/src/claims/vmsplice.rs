//! `vmsplice`.

use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Resource};
use crate::interpose::lie::Lie;
use crate::interpose::record::aside;
use crate::lab::alias::{self, LENGTH, NEW, Sharing};
use crate::lab::sinks::{Kind, Sink};
use crate::lab::{Lab, io, pattern, sockets};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_splice::{IoVec, Pipe, PipeFlags, SpliceFlags, pipe2, splice, vmsplice_to_pipe};
use std::os::fd::AsFd;
use syscalls::{Errno, Sysno};

const AFTER_STORE: &str = "memory changed after the transfer, receiver's bytes";

/// The claim that `vmsplice` and `splice` from memory to one kind of sink make no CPU copy.
macro_rules! copies_claim {
    ($id:literal, $kind:expr, $sink:literal, $finds:expr) => {
        Claim {
            statement: concat!("From user memory to ", $sink, ", vmsplice() and splice() make no CPU copy."),
            method: "Sends memory by way of a pipe (or into it), changes the memory when all has arrived, and looks at what the \
                     receiver reads. New bytes are the sender's own pages, old ones were copied.",
            sources: &[Source::Man("vmsplice(2), man-pages 6.20"), Source::Measured],
            about: &[Sysno::vmsplice, Sysno::splice],
            lies: alias::SHARING_LIES,
            ..Claim::new($id, |lab| copies(lab, $kind), |seen| Verdict::holds_if(seen.is(AFTER_STORE, "shared")))
        }
    };
}

/// Claims about `vmsplice`.
pub const CLAIMS: &[Claim] = &[
    copies_claim!("vmsplice.copies.tcp", Kind::Tcp, "a TCP socket", always(true)),
    copies_claim!("vmsplice.copies.unix", Kind::Unix, "an AF_UNIX socket", always(true)),
    copies_claim!("vmsplice.copies.pipe", Kind::Pipe, "a pipe", always(true)),
    copies_claim!("vmsplice.copies.file", Kind::File, "a file", always(false)),
    Claim {
        statement: "More memory than a pipe holds goes through it piece by piece: poll() says when there is room again.",
        method: "Gives 128 KiB to a pipe of 64 KiB with SPLICE_F_NONBLOCK, and splices the pipe into a file when poll() says that \
                 there is no room.",
        sources: &[Source::Thread("LTP @6958277, testcases/kernel/syscalls/vmsplice/vmsplice01.c")],
        about: &[Sysno::vmsplice, Sysno::splice, Sysno::poll],
        lies: &[Lie::refused(Sysno::vmsplice, libc::EINVAL), Lie::returned(Sysno::vmsplice, 1 << 17)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "vmsplice.moves.piecewise",
            piecewise,
            &[
                ("last call", Answer::Succeeds),
                ("times that poll() saw no room", Answer::Is(1)),
                ("bytes in the file", Answer::Is(PIECES as u64)),
                ("file's bytes", Answer::Says("those of the memory")),
                ("bytes left in the pipe", Answer::Is(0)),
            ],
        )
    },
];

/// Sends memory through `pipe`. The pipe must be empty, and is empty again after a success.
///
/// # Safety
///
/// The kernel keeps references to the pages of `bytes` after the return, while the data is in a queue, and does not report when
/// it drops them. The memory must not be freed before the receiver has read everything. It may be changed, which is the subject
/// of some experiments.
unsafe fn through(bytes: &[u8], sink: &impl AsFd, pipe: &Pipe) -> Result<u64, Errno> {
    let mut queued = 0;
    let sent = io::until_done(bytes.len(), |done| {
        if queued == 0 {
            let rest = [IoVec::new(&bytes[done..])];
            // SAFETY: the write end of a pipe; the caller keeps the memory.
            queued = unsafe { vmsplice_to_pipe(&pipe.write, &rest, SpliceFlags::empty()) }?;
        }
        let count = splice(&pipe.read, None, sink, None, queued, SpliceFlags::empty())?;
        queued -= count;
        Ok(count)
    });
    sent.map(|done| done as u64)
}

fn copies(lab: &Lab, kind: Kind) -> Result<Observation, Stop> {
    let sink = Sink::open(lab, kind)?;
    let mut memory = alias::memory(LENGTH)?;
    if kind == Kind::Pipe {
        // SAFETY: the write end of a pipe; the memory is freed after all has been read.
        alias::send_all(|done| unsafe {
            vmsplice_to_pipe(&sink, &[IoVec::new(&memory[done..])], SpliceFlags::empty())
        })
        .setup("vmsplice")?;
    } else {
        let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
        // SAFETY: as above.
        let sent = unsafe { through(&memory, &sink, &pipe) };
        alias::all_sent(sent.setup("vmsplice")?)?;
        let left = aside(|| sockets::readable(&pipe.read))?;
        if left > 0 {
            return Err(Stop::broken(format!("{left} bytes are left in the pipe")));
        }
    }
    sink.settle(LENGTH)?;
    memory.fill(NEW);
    let mut seen = Observation::new();
    seen.text("sink", kind).text(AFTER_STORE, Sharing::of(&sink.take(LENGTH)?)?);
    Ok(seen)
}

/// Twice what a pipe holds, in bytes.
const PIECES: usize = 1 << 17;

fn piecewise(lab: &Lab) -> Result<Observation, Stop> {
    let mut memory = alias::memory(PIECES)?;
    memory.copy_from_slice(&pattern(PIECES));
    let file = lab.empty_file()?;
    let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
    let (mut given, mut taken, mut full) = (0, 0, 0);
    let mut last = Ok(0);
    while taken < PIECES {
        let gives = given < PIECES && has_room(&pipe)?;
        let moved = if gives {
            let rest = [IoVec::new(&memory[given..])];
            // SAFETY: the write end of a pipe; the memory is not changed any more, and outlives the pipe.
            io::again(|| unsafe { vmsplice_to_pipe(&pipe.write, &rest, SpliceFlags::NONBLOCK) })
        } else {
            full += u64::from(given < PIECES);
            let queued = given - taken;
            io::until_done(queued, |done| splice(&pipe.read, None, &file, None, queued - done, SpliceFlags::NONBLOCK))
        };
        last = moved;
        match moved {
            Ok(count @ 1..) if gives => given += count,
            Ok(count @ 1..) => taken += count,
            // A step that does nothing would be repeated for ever.
            _ => break,
        }
    }
    let mut bytes = vec![0; PIECES + 1];
    let length = io::pread_full(&file, &mut bytes, 0).setup("read the file")?;
    let same = bytes[..length] == memory[..];
    let mut seen = Observation::new();
    seen.call("last call", last)
        .count("times that poll() saw no room", full)
        .count("bytes in the file", length as u64)
        .text("file's bytes", if same { "those of the memory" } else { "others" })
        .count("bytes left in the pipe", aside(|| sockets::readable(&pipe.read))? as u64);
    Ok(seen)
}

fn has_room(pipe: &Pipe) -> Result<bool, Stop> {
    let (answer, events) = io::poll(&pipe.write, libc::POLLOUT, 0);
    let ready = answer.setup("poll")? == 1;
    if ready != (events & libc::POLLOUT != 0) {
        return Err(Stop::broken("poll() counts what it does not name"));
    }
    Ok(ready)
}
