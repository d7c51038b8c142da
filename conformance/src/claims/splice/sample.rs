//! The samples of the source document with `splice`.

use super::about_splice;
use crate::claims::prelude::*;
use nocopy_splice::splice;

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.sample.file-to-socket",
        "splice(file, NULL, socket, NULL, size, SPLICE_F_MOVE), as in the sample of section 3.3, sends a file to a TCP \
         socket.",
    )
    .published(&[seed("3.3"), man("splice(2)", "ERRORS, EINVAL").denies()])
    .turned_by(&[Lie::accepted(Sysno::splice).after(0)])
    .method("With a pipe between them, the same file arrives at the same socket.")
    .tried(|lab, see| {
        let (file, (near, far)) = (alias::source(lab)?, sockets::tcp()?);
        let sent = splice(&file, None, &near, None, alias::LENGTH, SpliceFlags::MOVE);
        see.call(format!("splice(file, NULL, socket, NULL, {}, SPLICE_F_MOVE)", alias::LENGTH), sent).succeeds();
        see.count("bytes sent through a pipe", carry(SPLICE, &file, &near, alias::LENGTH)?);
        all_arrived(arrived(&far, &[alias::OLD; alias::LENGTH])?)
    }),
    about_splice(
        "splice.sample.two-steps",
        "A pipe and two splice() calls of the whole length, as in the sample of section 5.2, send a file of 16 KiB to \
         a TCP socket.",
    )
    .published(&[seed("5.2")])
    .turned_by(&[Lie::shortened(Sysno::splice), Lie::refused(Sysno::splice, libc::EINVAL)])
    .tried(|lab, see| two_steps(lab, see, 16 << 10)),
    about_splice(
        "splice.sample.two-steps-large",
        "A pipe and two splice() calls of the whole length, as in the sample of section 5.2, send a file of 17 pages \
         to a TCP socket.",
    )
    .published(&[seed("5.2"), kernel("fs/splice.c", "do_splice_read").denies()])
    .turned_by(&[])
    .except(&[Exception::Controls(
        "no lie makes a pipe larger; the same with a file that fits is splice.sample.two-steps",
    )])
    .tried(|lab, see| two_steps(lab, see, 17 * page())),
];

/// The sample's calls: `splice` of the length into a new pipe, then `splice` of the length out of it.
fn two_steps(lab: &Lab, see: &mut Observation, length: usize) -> Result<(), Stop> {
    let bytes = pattern(length);
    let (file, pipe, (near, far)) = (lab.file(&bytes)?, pipe()?, sockets::tcp()?);
    see.count("length", length as u64);
    let into = splice(&file, None, &pipe.write, None, length, SpliceFlags::MOVE);
    see.call("splice(file, NULL, pipe, NULL, length, SPLICE_F_MOVE)", into).is(length);
    let out = splice(&pipe.read, None, &near, None, length, SpliceFlags::MOVE);
    see.call("splice(pipe, NULL, socket, NULL, length, SPLICE_F_MOVE)", out).is(length);
    drop(near);
    see.receives(RECEIVED, &far, &bytes)?.says(AS_SENT);
    Ok(())
}
