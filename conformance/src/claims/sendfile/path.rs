//! The way of the bytes that `sendfile` sends.

use super::{about_sendfile, arrives, lie, refused, sendfile};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_sendfile(
    "sendfile.path.in-kernel",
    "sendfile() works inside the kernel: the data does not pass through the caller.",
)
.published(&[seed("3.2"), man("sendfile(2)", "DESCRIPTION")])
.turned_by(&[refused(libc::EINVAL), lie(What::Skipped)])
.traced()
.method(
    "The one kernel entry between a file and the receiver's bytes is a sendfile() without any address of the caller.",
)
.tried(|lab, see| {
    let content = pattern(50_000);
    let file = lab.file(&content)?;
    let (near, far) = sockets::tcp()?;
    let (entries, sent) = lab.entries(|| sendfile(&near, &file, None, content.len()));
    see.call("sendfile(socket, file, NULL, 50000)", sent).at_least(1);
    see.push("50000 bytes", entries).is(1);
    arrives(see, near, &far, &content[..sent.unwrap_or(0)])
})];
