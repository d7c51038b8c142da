//! What `tee` does to its input.

use super::{NONBLOCK, about_tee};
use crate::claims::prelude::*;
use nocopy_splice::{splice, tee};

pub const CLAIMS: &[Claim] = &[about_tee(
    "tee.input.left",
    "tee() leaves its input in the pipe: it can be duplicated again, and then be spliced from there.",
)
.published(&[
    man("tee(2)", "DESCRIPTION"),
    gvisor("splice.cc", "TeeTest.MultiPage"),
    gvisor("splice.cc", "TeeTest.Blocking"),
    kernel("fs/splice.c", "link_pipe"),
])
.turned_by(&[Lie::about(Sysno::read, What::Garbled), Lie::refused(Sysno::tee, libc::EINVAL)])
.tried(|_lab, see| {
    for length in [1, page() - 1, page(), 3 * page() + 5] {
        let bytes = pattern(length);
        let (from, end) = (filled(&bytes)?, pipe()?);
        for copy in ["first", "second"] {
            let to = pipe()?;
            let teed = io::again(|| tee(&from.read, &to.write, length, NONBLOCK));
            see.call(format!("{copy} tee() of {length} bytes"), teed).at_least(1);
            see.holds(&format!("{copy} copy of {length} bytes"), &to.read, &bytes[..teed.unwrap_or(0)])?.says(AS_SENT);
        }
        io::all_done(length, |done| splice(&from.read, None, &end.write, None, length - done, NONBLOCK))
            .setup("splice")?;
        see.holds(&format!("{length} bytes spliced out of the input"), &end.read, &bytes)?.says(AS_SENT);
    }
    Ok(())
})];
