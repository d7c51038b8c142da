//! One file as both ends of `sendfile`.

use super::{about_sendfile, content, lie, refused, send, sendfile};
use crate::claims::prelude::*;
use crate::lab::open;

pub const CLAIMS: &[Claim] = &[about_sendfile(
    "sendfile.ends.into-itself",
    "sendfile() of a memfd into itself, at its end, goes on with the bytes it has just written, up to the count.",
)
.published(&[gvisor("sendfile.cc", "SendFileTest.SendFileToSelf")])
.turned_by(&[refused(libc::EINVAL), lie(What::Skipped)])
.tried(|_lab, see| {
    const COUNT: usize = 1 << 16;
    let file = File::from(open::sealed_memfd(0)?);
    aside(|| io::write_all(&file, b"b")).setup("write a memfd")?;
    let mut offset = 0;
    let first = sendfile(&file, &file, Some(&mut offset), COUNT);
    see.whether("one call sends more than the byte that was there", first.is_ok_and(|count| count > 1)).says("yes");
    let sent = first.and_then(|count| Ok(count + send(&file, &file, Some(&mut offset), COUNT.saturating_sub(count))?));
    see.call("sendfile(memfd of 1 at its end, same memfd at 0, 64 KiB)", sent).is(COUNT);
    let bytes = content(&file)?;
    see.count("length of the memfd", bytes.len() as u64).is(COUNT + 1);
    see.whether("all bytes are the first", bytes.iter().all(|byte| *byte == b'b')).says("yes");
    Ok(())
})];
