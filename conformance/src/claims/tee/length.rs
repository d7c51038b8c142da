//! The length that `tee` is asked for.

use super::{BLOCKING, about_tee, raw};
use crate::claims::prelude::*;
use nocopy_splice::tee;

pub const CLAIMS: &[Claim] = &[
    about_tee(
        "tee.length.zero",
        "tee() of 0 bytes returns 0 for descriptors that are not open, but fails with EINVAL for an unknown flag.",
    )
    .published(&[kernel("fs/splice.c", "SYSCALL_DEFINE4(tee)")])
    .tried(|_lab, see| {
        see.call("tee(-1, -1, 0, 0)", raw(NO_FD, NO_FD, 0, 0)).is(0);
        see.call("tee(-1, -1, 0, unknown flag)", raw(NO_FD, NO_FD, 0, 0x10)).fails(EINVAL);
        Ok(())
    }),
    about_tee(
        "tee.length.one-slot",
        "tee() of two pages into a pipe with room for one page gives one page and does not wait for more room.",
    )
    .published(&[gvisor("splice.cc", "TeeTest.TwoPipesPartialWrite"), kernel("fs/splice.c", "link_pipe")])
    .turned_by(&[Lie::refused(Sysno::tee, libc::ENOLINK), Lie::about(Sysno::tee, What::TooMany)])
    .except(&[Exception::Of(Sysno::tee, What::Shortened, "half of two pages is what there is room for")])
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        let page = page();
        let bytes = [vec![b's'; page], vec![b'S'; page]].concat();
        let (from, to) = (Arc::new(filled(&bytes)?), pipe()?);
        aside(|| io::resize_pipe(&to.write, 2 * page)).setup("F_SETPIPE_SZ")?;
        let first = vec![b't'; page];
        aside(|| io::write_all(&to.write, &first)).setup("write to a pipe")?;
        let (input, output) = (Arc::clone(&from), Arc::new(to));
        let into = Arc::clone(&output);
        let call = move || io::again(|| tee(&input.read, &into.write, 2 * page, BLOCKING));
        let caller = Caller::start(Sysno::tee, call)?;
        let (word, _) = woken(caller, |_| read_page(&output.read))?;
        see.text("tee(pipe of two pages, pipe with room for one)", word).says(format!("returned {page}"));
        see.readable("bytes in the first pipe", &from.read)?;
        see.holds("the second pipe's bytes", &output.read, &[&first, &bytes[..page]].concat())?.says(AS_SENT);
        Ok(())
    }),
];
