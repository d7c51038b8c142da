//! The calls in the source document's samples.

use super::{REFUSED, about_sendfile, arrives, lie, position, refused, sendfile, text};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.sample.file-to-socket",
        "sendfile(socket, file, NULL, size), as in the sample, sends a file of 16 KiB to a TCP socket.",
    )
    .published(&[seed("3.2")])
    .turned_by(&[refused(libc::EINVAL), lie(What::Shortened)])
    .tried(|lab, see| {
        let content = pattern(16 << 10);
        let file = lab.file(&content)?;
        let (near, far) = sockets::tcp()?;
        see.call("sendfile(socket, file, NULL, 16384)", sendfile(&near, &file, None, content.len())).is(content.len());
        arrives(see, near, &far, &content)
    }),
    about_sendfile(
        "sendfile.sample.file-to-file",
        "sendfile(file, file, NULL, len) fails, because the target is not a socket.",
    )
    .published(&[
        seed("5.1"),
        man("sendfile(2)", "DESCRIPTION").denies().since("2.6.33"),
        ltp("sendfile06.c", "a file to another, with a null offset").denies(),
    ])
    .turned_by(REFUSED)
    .tried(|lab, see| {
        let (file, other) = (lab.file(b"0123456789")?, lab.empty_file()?);
        see.call("sendfile(other file, file, NULL, 10)", sendfile(&other, &file, None, 10)).is_refused();
        see.text("content of the other file", text(&other)?);
        aside(|| io::seek(&file, 0)).setup("lseek")?;
        see.call("sendfile(file, same file, NULL, 10)", sendfile(&file, &file, None, 10)).is_refused();
        see.count("position of the file", position(&file)?);
        Ok(())
    }),
];
