//! `vmsplice` at the read end of a pipe.

use super::{NONBLOCK, about_vmsplice, give_all, take};
use crate::claims::prelude::*;
use nocopy_mmap::PrivateAnonymous;

pub const CLAIMS: &[Claim] = &[about_vmsplice(
    "vmsplice.read-end.copies",
    "vmsplice() from a pipe copies the bytes into the memory: it does not share the pipe's pages.",
)
.published(&[man("vmsplice(2)", "NOTES")])
.turned_by(&[Lie::refused(Sysno::vmsplice, libc::EBADF)])
.method("Gives memory to a pipe, takes it out by vmsplice() at the read end, changes the given memory.")
.tried(|_lab, see| {
    let mut given = alias::memory(alias::LENGTH)?;
    let pipe = pipe()?;
    aside(|| give_all(&pipe, &given))?;
    let mut memory = PrivateAnonymous::new(alias::LENGTH).setup("mmap")?;
    let taken = io::until_done(alias::LENGTH, |done| take(&pipe.read, &mut memory[done..], NONBLOCK));
    see.call("vmsplice(read end)", taken).is(alias::LENGTH);
    given.fill(alias::NEW);
    let taken = &memory[..taken.unwrap_or(0)];
    see.text("given memory changed, what was taken out", Sharing::of(taken)?).says(Sharing::Copied);
    Ok(())
})];
