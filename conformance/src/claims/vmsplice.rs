//! `vmsplice`.

use crate::claim::{Claim, Source, always, gate, seed};
use crate::interpose::record::aside;
use crate::lab::alias::{self, LENGTH, NEW, Sharing};
use crate::lab::sinks::{Kind, Sink};
use crate::lab::{Lab, io, sockets};
use crate::routes;
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_splice::{IoVec, PipeFlags, SpliceFlags, pipe2, splice, vmsplice_to_pipe};
use syscalls::Sysno;

const AFTER_STORE: &str = "memory changed after the transfer, receiver's bytes";

/// The claim that `vmsplice` and `splice` from memory to one kind of sink make no CPU copy.
macro_rules! copies_claim {
    ($id:literal, $kind:expr, $sink:literal, $finds:expr) => {
        Claim {
            statement: concat!("From user memory to ", $sink, ", vmsplice() and splice() make no CPU copy."),
            method: "Sends memory by way of a pipe (or into it), changes the memory when all has arrived, and looks at what the \
                     receiver reads. New bytes are the sender's own pages, old ones were copied.",
            sources: &[Source::Man("vmsplice(2), man-pages 6.20"), Source::Measured],
            finds: $finds,
            about: &[Sysno::vmsplice, Sysno::splice],
            lies: alias::SHARING_LIES,
            ..Claim::new($id, |lab| copies(lab, $kind), |seen| Verdict::holds_if(seen.is(AFTER_STORE, "shared")))
        }
    };
}

/// Claims about `vmsplice`.
pub const CLAIMS: &[Claim] = &[
    copies_claim!(
        "vmsplice.copies.tcp",
        Kind::Tcp,
        "a TCP socket",
        always(true)
    ),
    copies_claim!(
        "vmsplice.copies.unix",
        Kind::Unix,
        "an AF_UNIX socket",
        always(true)
    ),
    copies_claim!("vmsplice.copies.pipe", Kind::Pipe, "a pipe", always(true)),
    copies_claim!("vmsplice.copies.file", Kind::File, "a file", always(false)),
    Claim {
        statement: "With SPLICE_F_MOVE, splice() moves pages into a file instead of copying them.",
        method: "Gives pages to a pipe (SPLICE_F_GIFT), splices the pipe into a file with SPLICE_F_MOVE, changes the memory, and \
                 looks at the file.",
        sources: &[
            seed("3.3"),
            Source::Man("splice(2) and vmsplice(2), man-pages 6.20"),
        ],
        finds: always(false),
        about: &[Sysno::splice, Sysno::vmsplice],
        lies: alias::SHARING_LIES,
        gates: &[gate(
            "2.6.21",
            "SPLICE_F_MOVE does nothing",
            Source::Man("splice(2), man-pages 6.20"),
        )],
        ..Claim::new(
            "splice.flags.move-copies-into-file",
            splice_flags_move_copies_into_file,
            |seen| Verdict::holds_if(seen.is(AFTER_STORE, "shared")),
        )
    },
];

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
        let sent = unsafe { routes::vmsplice::send(&memory, &sink, &pipe) };
        alias::all_sent(sent.setup("vmsplice")?)?;
        let left = aside(|| sockets::readable(&pipe.read))?;
        if left > 0 {
            return Err(Stop::broken(format!("{left} bytes are left in the pipe")));
        }
    }
    sink.settle(LENGTH)?;
    memory.fill(NEW);
    let mut seen = Observation::new();
    seen.text("sink", kind)
        .text(AFTER_STORE, Sharing::of(&sink.take(LENGTH)?)?);
    Ok(seen)
}

fn splice_flags_move_copies_into_file(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
    let mut memory = alias::memory(LENGTH)?;
    let mut seen = Observation::new();
    // SAFETY: the write end of a pipe; the memory outlives the pipe.
    alias::send_all(|done| unsafe {
        vmsplice_to_pipe(
            &pipe.write,
            &[IoVec::new(&memory[done..])],
            SpliceFlags::GIFT,
        )
    })
    .setup("vmsplice")?;
    alias::send_all(|done| {
        splice(
            &pipe.read,
            None,
            &file,
            None,
            LENGTH - done,
            SpliceFlags::MOVE,
        )
    })
    .setup("splice")?;
    memory.fill(NEW);
    let mut bytes = vec![0; LENGTH];
    let left = aside(|| sockets::readable(&pipe.read))?;
    if left > 0 {
        return Err(Stop::broken(format!("{left} bytes are left in the pipe")));
    }
    let length = io::pread_full(&file, &mut bytes, 0).setup("read the file")?;
    seen.count("bytes in the file", length as u64);
    seen.text(AFTER_STORE, Sharing::of(&bytes)?);
    Ok(seen)
}
