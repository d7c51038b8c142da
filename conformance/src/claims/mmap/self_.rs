//! A file that is read into its own mapping, or written from it.

use super::{READ, SHARED, WRITE, mapped};
use crate::claims::prelude::*;
use crate::lab::pages::letters;

const AGAIN: &str = "the last byte is moved again, and is the same";
const ONTO_ITSELF: &str = "bytes that are moved to where they are stay the same";

pub const CLAIMS: &[Claim] = &[
    claim("mmap.self.read", "pread() of a file into a shared mapping of the same page of that file succeeds.")
        .published(&[gvisor("mmap.cc", "MMapFileTest.SelfRead")])
        .about(&[Sysno::pread64])
        .turned_by(&[Lie::refused(Sysno::pread64, libc::EFAULT)])
        .except(&[
            Exception::Of(Sysno::pread64, What::TooFew, AGAIN),
            Exception::Of(Sysno::pread64, What::Skipped, ONTO_ITSELF),
        ])
        .tried(|lab, see| onto_itself(lab, see, Sysno::pread64)),
    claim("mmap.self.write", "pwrite() of a file from a shared mapping of the same page of that file succeeds.")
        .published(&[gvisor("mmap.cc", "MMapFileTest.SelfWrite")])
        .about(&[Sysno::pwrite64])
        .turned_by(&[Lie::refused(Sysno::pwrite64, libc::EFAULT)])
        .except(&[
            Exception::Of(Sysno::pwrite64, What::TooFew, AGAIN),
            Exception::Of(Sysno::pwrite64, What::Skipped, ONTO_ITSELF),
        ])
        .tried(|lab, see| onto_itself(lab, see, Sysno::pwrite64)),
];

/// Moves one half of a page over the other by `pread64` or `pwrite64`; then the whole page to where it is.
fn onto_itself(lab: &Lab, see: &mut Observation, call: Sysno) -> Result<(), Stop> {
    let half = page() / 2;
    let file = lab.file(&[vec![b'a'; half], vec![b'b'; half]].concat())?;
    let area = mapped(&file, 1, READ | WRITE, SHARED)?;
    for (name, length, offset) in [("half the page", half, half), ("the page to where it is", page(), 0)] {
        let moved = io::until_done(length, |done| {
            // SAFETY: the page belongs to this function, and no reference to it exists.
            unsafe { ask(call, [argument(&file), area + done, length - done, offset + done, 0, 0]) }
        });
        see.call(format!("bytes moved, {name}"), moved).is(length);
        see.text(format!("the page, {name}"), letters(area, 1)?);
    }
    Ok(())
}
