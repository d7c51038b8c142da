//! What `sendfile` does at the end of a file.

use super::{about_sendfile, arrives, refused, sendfile};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[
    about_sendfile("sendfile.end.zero", "At the end of a file, past it, and of an empty file, sendfile() returns 0.")
        .published(&[kernel("mm/filemap.c", "filemap_splice_read"), gvisor("sendfile.cc", "SendFileTest.SendPipeEOF")])
        .tried(|lab, see| {
            let (source, empty, target) = (lab.file(b"abc")?, lab.empty_file()?, lab.empty_file()?);
            for offset in [3, 1000] {
                let sent = sendfile(&target, &source, Some(&mut { offset }), 1);
                see.call(format!("sendfile(file, file of 3, {offset}, 1)"), sent).is(0);
            }
            see.call("sendfile(file, empty file, 0, 1)", sendfile(&target, &empty, Some(&mut 0), 1)).is(0);
            Ok(())
        }),
    about_sendfile(
        "sendfile.end.truncated",
        "When the file is truncated to the offset, sendfile() returns 0, not an error.",
    )
    .published(&[
        kernel("mm/filemap.c", "filemap_splice_read"),
        thread("proftpd/proftpd#591", "at the end of a truncated file sendfile() returns zero, and the server looped"),
    ])
    .turned_by(&[refused(libc::EIO).after(1)])
    .tried(|lab, see| {
        let bytes = pattern(2 * page());
        let source = lab.file(&bytes)?;
        let (near, far) = sockets::tcp()?;
        let mut offset = 0;
        let sent = sendfile(&near, &source, Some(&mut offset), page());
        see.call("sendfile(socket, file, a page)", sent).at_least(1);
        aside(|| io::truncate(&source, offset)).setup("ftruncate")?;
        let again = sendfile(&near, &source, Some(&mut offset), page());
        see.call("sendfile(socket, file truncated to the offset)", again).is(0);
        arrives(see, near, &far, &bytes[..sent.unwrap_or(0)])
    }),
];
