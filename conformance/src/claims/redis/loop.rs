//! `sendfile` in an event loop.

use crate::claims::prelude::*;
use nocopy_sendfile::sendfile;

pub const CLAIMS: &[Claim] = &[claim(
    "redis.loop.whole-file",
    "On a non-blocking TCP socket, one sendfile() of a whole file of 8 MiB sends more than one of 16 KiB.",
)
.published(&[MEASURED])
.about(&[Sysno::sendfile])
.turned_by(&[Lie::returned(Sysno::sendfile, 16 << 10)])
.varying(&["sendfile(non-blocking socket, whole file)"])
.tried(|lab, see| {
    const PIECE: usize = 16 << 10;
    let content = pattern(8 << 20);
    let file = lab.file(&content)?;
    for (name, most) in [("16 KiB", PIECE), ("whole file", content.len())] {
        // The peer does not read yet, so the count is at most the room in the sockets.
        let (near, far) = sockets::tcp()?;
        aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
        let mut offset = 0;
        let mut send = |length| sendfile(&near, &file, Some(&mut offset), length);
        let sent =
            if most == PIECE { io::until_done(PIECE, |done| send(PIECE - done)) } else { io::again(|| send(most)) };
        let call = see.call(format!("sendfile(non-blocking socket, {name})"), sent);
        if most == PIECE {
            call.is(PIECE)
        } else {
            call.at_least(PIECE + 1)
        };
        drop(near);
        let received = drained(drain(far.into()))?;
        let is_so = sent == Ok(received.len()) && offset == received.len() as u64 && content.starts_with(&received);
        see.whether(format!("{name}: the peer receives these bytes and no others"), is_so).says("yes");
    }
    Ok(())
})];
