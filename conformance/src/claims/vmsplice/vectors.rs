//! The vector of `vmsplice`.

use super::{about_vmsplice, give_named};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_vmsplice(
    "vmsplice.vectors.maximum",
    "vmsplice() accepts a vector of 1024 buffers, takes those that fit, and fails with EINVAL for 1025.",
)
.published(&[
    man("vmsplice(2)", "ERRORS, EINVAL"),
    man("vmsplice(2)", "NOTES"),
    ltp("vmsplice02.c", "IOV_MAX + 1"),
    kernel("fs/splice.c", "iter_to_pipe"),
])
.method("Each buffer is one byte, which takes a page of the pipe.")
.sharing(&[Resource::UserPipePages])
.tried(|_lab, see| {
    let memory = alias::memory(page())?;
    let vector = [memory.as_ptr().expose_provenance(), 1].repeat(1025);
    for (count, is_taken) in [(1024, true), (1025, false)] {
        let pipe = pipe()?;
        let pages = pipe_size(&pipe)? / page();
        let done = give_named(&pipe.write, &vector[..2 * count], 2);
        see.call(format!("vmsplice(pipe, {count} buffers)"), done).gives(if is_taken {
            Ok(pages)
        } else {
            Err(EINVAL)
        });
        let taken = vec![alias::OLD; if is_taken { pages } else { 0 }];
        see.holds(&format!("the pipe's bytes of {count} buffers"), &pipe.read, &taken)?.says(AS_SENT);
    }
    Ok(())
})];
