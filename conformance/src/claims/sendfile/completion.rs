//! Whether the end of a transfer by `sendfile` is reported.

use super::{about_sendfile, sendfile};
use crate::claims::prelude::*;
use crate::lab::completions::Completions;
use crate::lab::waiting::wait_until;
use nocopy_msg_zerocopy::{SendFlags, send_zerocopy};

pub const CLAIMS: &[Claim] = &[about_sendfile(
    "sendfile.completion.none",
    "On a TCP socket with SO_ZEROCOPY, sendfile() has no completion on the error queue.",
)
.published(&[MEASURED])
.about(&[Sysno::sendfile, Sysno::recvmsg])
.turned_by(&[Lie::about(Sysno::recvmsg, What::CompletionForged(0)).after(0)])
.method(
    "Sends a file, waits until all is acknowledged, and reads the error queue. Then it does the same for a send with \
     MSG_ZEROCOPY, as a control.",
)
.tried(|lab, see| {
    let source = lab.file(b"b")?;
    let (near, far) = sockets::tcp()?;
    let zerocopy = sockets::zerocopy_on(&near)?;
    let count = || -> Result<u64, Stop> {
        sockets::wait_for_arrival(&far, 1)?;
        io::read_full(&far, &mut [0; 1]).setup("read at the receiver")?;
        wait_until(|| Ok(sockets::unacknowledged(&near)? == 0))?;
        Ok(Completions::now(&near).setup("read the error queue")?.count())
    };
    io::all_done(1, |_| sendfile(&near, &source, Some(&mut 0), 1)).setup("sendfile")?;
    see.count("completions of sendfile()", count()?).is(0);
    // SAFETY: a static is never freed.
    io::again(|| unsafe { send_zerocopy(zerocopy, b"b", SendFlags::empty()) }).setup("send")?;
    see.count("completions of a send with MSG_ZEROCOPY", count()?).is(1);
    Ok(())
})];
