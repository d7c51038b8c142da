//! Memory that cannot be sent with `MSG_ZEROCOPY`.

use super::{enabled, send_at};
use crate::claims::prelude::*;
use crate::lab::map_file;

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::sendto);

pub const CLAIMS: &[Claim] = &[
    claim(
        "zerocopy.memory.truncated-file",
        "A TCP send() with MSG_ZEROCOPY from a mapping past the end of its truncated file fails with EFAULT.",
    )
    .published(&[MEASURED])
    .about(&[Sysno::sendto])
    .method("The file of one page is on the file system of the scratch directory.")
    .turned_by(OTHERWISE)
    .tried(|lab, see| {
        let file = lab.file(&vec![0; page()])?;
        let mapping = map_file(&file, page()).setup("mmap")?;
        let (near, far) = enabled()?;
        // SAFETY: the page stays mapped and unchanged until the byte has gone.
        let sent = unsafe { send_at(&near, mapping.as_ptr().expose_provenance(), 1) };
        see.call("send(mapping of the file before, MSG_ZEROCOPY)", sent).is(1);
        if sent == Ok(1) {
            see.receives("its byte at the receiver", &far, &[0])?;
        }
        aside(|| io::truncate(&file, 0)).setup("ftruncate")?;
        // SAFETY: the file has no page that the kernel can read.
        let sent = unsafe { send_at(&near, mapping.as_ptr().expose_provenance(), 1) };
        see.call("send(mapping past the end of its file, MSG_ZEROCOPY)", sent).fails(EFAULT);
        Ok(())
    }),
    claim("zerocopy.memory.secret", "A TCP send() with MSG_ZEROCOPY from memfd_secret() memory fails with EFAULT.")
        .published(&[man("memfd_secret(2)", "NOTES").since("5.14"), kernel("mm/gup.c", "check_vma_flags")])
        .about(&[Sysno::sendto])
        .turned_by(OTHERWISE)
        .tried(|_lab, see| {
            let secret = two_secret_pages()? + page();
            let (near, far) = enabled()?;
            // SAFETY: the page stays mapped and unchanged until the process ends.
            see.call("send(secret memory, MSG_ZEROCOPY)", unsafe { send_at(&near, secret, 1) }).fails(EFAULT);
            // SAFETY: the page stays mapped.
            let written = io::again(|| unsafe { ask(Sysno::write, [argument(&near), secret, 1, 0, 0, 0]) });
            see.call("write(secret memory)", written);
            if written == Ok(1) {
                see.receives("its byte at the receiver", &far, b"s")?;
            }
            Ok(())
        }),
];
