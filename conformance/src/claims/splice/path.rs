//! The way of the bytes that `splice` moves.

use super::{NONBLOCK, about_splice};
use crate::claims::prelude::*;
use nocopy_splice::splice;

pub const CLAIMS: &[Claim] = &[about_splice(
    "splice.path.in-kernel",
    "Through a pipe that holds the data, two splice() send a file to TCP inside the kernel, not through the caller.",
)
.published(&[seed("3.3"), man("splice(2)", "DESCRIPTION")])
.turned_by(&[Lie::refused(Sysno::splice, libc::EINVAL), Lie::shortened(Sysno::splice)])
.traced()
.method(
    "Between the file and the receiver's bytes, two splice() without an address of the caller are all kernel entries.",
)
.tried(|lab, see| {
    let content = pattern(8 * page() + 808);
    let (file, pipe, (near, far)) = (lab.file(&content)?, pipe()?, sockets::tcp()?);
    let (entries, (into, out)) = lab.entries(|| {
        let into = splice(&file, None, &pipe.write, None, content.len(), NONBLOCK);
        (into, splice(&pipe.read, None, &near, None, content.len(), NONBLOCK))
    });
    see.call("splice(file, NULL, pipe, NULL, 8 pages + 808)", into).is(content.len());
    see.call("splice(pipe, NULL, TCP socket, NULL, 8 pages + 808)", out).is(content.len());
    see.push("kernel entries", entries).is(2);
    let sent = out.unwrap_or(0);
    drop(near);
    see.receives("receiver's bytes", &far, &content[..sent])?.says(AS_SENT);
    Ok(())
})];
