//! The file position that `sendfile` moves if the target takes a part.

use super::{about_sendfile, arrives, lie, position, sendfile};
use crate::claims::prelude::*;

const TAKEN: &str = "bytes taken";

pub const CLAIMS: &[Claim] = &[about_sendfile(
    "sendfile.position.partial",
    "If a TCP socket takes only a part, the file position moves by that part.",
)
.published(&[
    thread("asterinas/asterinas#3226", "the file position of the source has to move by the bytes that were written"),
    man("sendfile(2)", "DESCRIPTION").leaves_open(),
])
.turned_by(&[lie(What::TooMany), lie(What::TooFew)])
.varying(&[TAKEN])
.method("Sends by the file position to a TCP socket with O_NONBLOCK whose peer does not read.")
.tried(|lab, see| {
    let content = pattern(4 << 20);
    let source = lab.file(&content)?;
    let (near, far) = sockets::tcp()?;
    // Less than the file, whatever the system's defaults are.
    aside(|| {
        sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 18)?;
        sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 18)?;
        io::set_nonblocking(&near).setup("O_NONBLOCK")
    })?;
    let taken = io::again(|| sendfile(&near, &source, None, content.len())).setup("sendfile")?;
    see.count(TAKEN, taken as u64);
    if taken >= content.len() {
        return Err(Stop::broken("the socket has taken more than a part"));
    }
    see.whether("the position is the number of bytes taken", position(&source)? == taken as u64).says("yes");
    arrives(see, near, &far, &content[..taken])
})];
