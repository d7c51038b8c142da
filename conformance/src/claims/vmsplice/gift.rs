//! `SPLICE_F_GIFT`.

use super::{about_vmsplice, give_named};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[about_vmsplice(
    "vmsplice.gift.alignment",
    "With SPLICE_F_GIFT, vmsplice() fails with EINVAL if the memory does not begin at a page.",
)
.published(&[
    man("vmsplice(2)", "ERRORS, EINVAL"),
    man("vmsplice(2)", "DESCRIPTION, SPLICE_F_GIFT").leaves_open(),
    kernel("fs/splice.c", "vmsplice_to_pipe").denies(),
])
// The control has two buffers.
.turned_by(&[Lie::refused(Sysno::vmsplice, libc::EINVAL).with(2, 1)])
.tried(|_lab, see| {
    let memory = alias::memory(2 * page())?;
    let (start, page) = (memory.as_ptr().expose_provenance(), page());
    let gifts: [(&str, &[usize], Result<usize, Errno>); 2] = [
        ("two whole pages as two buffers", &[start, page, start + page, page], Ok(2 * page)),
        ("a page's length, 8 bytes into a page", &[start + 8, page], Err(EINVAL)),
    ];
    for (what, vector, result) in gifts {
        let pipe = pipe()?;
        let done = give_named(&pipe.write, vector, GIFT);
        see.call(format!("vmsplice(pipe, {what}, SPLICE_F_GIFT)"), done).gives(result);
        see.readable(&format!("bytes in the pipe, given {what}"), &pipe.read)?.is(result.unwrap_or(0));
    }
    Ok(())
})];

const GIFT: usize = SpliceFlags::GIFT.bits() as usize;
