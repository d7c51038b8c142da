//! Memory that `vmsplice` and `splice` move through a pipe.

use super::{BLOCKING, give, memory_of};
use crate::claims::prelude::*;
use nocopy_splice::splice;

pub const CLAIMS: &[Claim] = &[claim(
    "vmsplice.moves.piecewise",
    "Memory twice the size of a pipe goes through it into a file in pieces, by vmsplice(), splice() and poll().",
)
.published(&[ltp("vmsplice01.c", "vmsplice_test, check_file")])
.about(&[Sysno::vmsplice, Sysno::splice, Sysno::ppoll])
.turned_by(&[Lie::refused(Sysno::vmsplice, libc::EINVAL), Lie::about(Sysno::vmsplice, What::TooMany)])
.method("Gives memory while poll() reports room, and else splices what is in the pipe into a file.")
.sharing(&[Resource::UserPipePages])
.tried(|lab, see| {
    let (pipe, file) = (pipe()?, lab.empty_file()?);
    let bytes = pattern(2 * pipe_size(&pipe)?);
    let memory = memory_of(&bytes)?;
    let (mut given, mut taken, mut full) = (0, 0, 0);
    let mut last = Ok(0);
    while taken < bytes.len() {
        let gives = given < bytes.len() && has_room(&pipe)?;
        last = if gives {
            io::again(|| give(&pipe.write, &memory[given..], BLOCKING))
        } else {
            full += u64::from(given < bytes.len());
            let queued = given - taken;
            let flags = SpliceFlags::NONBLOCK;
            io::until_done(queued, |done| splice(&pipe.read, None, &file, None, queued - done, flags))
        };
        match last {
            Ok(count @ 1..) if gives => given += count,
            Ok(count @ 1..) => taken += count,
            // A step that does nothing would be repeated for ever.
            _ => break,
        }
    }
    see.call("last call", last).succeeds();
    see.count("times that poll() saw no room", full);
    let mut there = vec![0; bytes.len() + 1];
    let length = io::pread_full(&file, &mut there, 0).setup("read the file")?;
    see.count("bytes in the file", length as u64).is(bytes.len());
    see.text("file's bytes", as_sent(there[..length] == *bytes)).says(AS_SENT);
    see.readable("bytes left in the pipe", &pipe.read)?.is(0);
    Ok(())
})];

fn has_room(pipe: &Pipe) -> Result<bool, Stop> {
    let (answer, events) = io::ppoll(&pipe.write, libc::POLLOUT, 0);
    let ready = answer.setup("ppoll")? == 1;
    if ready != (events & libc::POLLOUT != 0) {
        return Err(Stop::broken("ppoll() counts what it does not name"));
    }
    Ok(ready)
}
