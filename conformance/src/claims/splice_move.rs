//! `SPLICE_F_MOVE` of given memory: one claim about `splice`, in the old form.

use crate::claim::source::{Source, seed};
use crate::claim::{Claim, gate};
use crate::interpose::record::aside;
use crate::lab::alias::{self, LENGTH, NEW, Sharing};
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_splice::{IoVec, PipeFlags, SpliceFlags, pipe2, splice, vmsplice_to_pipe};
use syscalls::Sysno;

const AFTER_STORE: &str = "memory changed after the transfer, receiver's bytes";

/// A claim about `splice`.
pub const CLAIMS: &[Claim] = &[Claim {
    statement: "With SPLICE_F_MOVE, splice() moves pages into a file instead of copying them.",
    method: "Gives pages to a pipe (SPLICE_F_GIFT), splices the pipe into a file with SPLICE_F_MOVE, changes the memory, and \
                 looks at the file.",
    sources: &[seed("3.3"), Source::Man("splice(2) and vmsplice(2), man-pages 6.20")],
    about: &[Sysno::splice, Sysno::vmsplice],
    lies: alias::SHARING_LIES,
    gates: &[gate("2.6.21", "SPLICE_F_MOVE does nothing", Source::Man("splice(2), man-pages 6.20"))],
    ..Claim::new("splice.flags.move-copies-into-file", splice_flags_move_copies_into_file, |seen| {
        Verdict::holds_if(seen.is(AFTER_STORE, "shared"))
    })
}];

fn splice_flags_move_copies_into_file(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.empty_file()?;
    let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
    let mut memory = alias::memory(LENGTH)?;
    let mut seen = Observation::new();
    // SAFETY: the write end of a pipe; the memory outlives the pipe.
    alias::send_all(|done| unsafe { vmsplice_to_pipe(&pipe.write, &[IoVec::new(&memory[done..])], SpliceFlags::GIFT) })
        .setup("vmsplice")?;
    alias::send_all(|done| splice(&pipe.read, None, &file, None, LENGTH - done, SpliceFlags::MOVE)).setup("splice")?;
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
