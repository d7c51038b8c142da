//! A file that is read into its own mapping, or written from it.

use super::{READ, SHARED, SeeMemory, WRITE, mapped};
use crate::claims::prelude::*;

const MOVED_AGAIN: &str = "the last byte is moved again, and is the same";
const ONTO_ITSELF: &str = "bytes that are moved to where they are stay the same";

pub const CLAIMS: &[Claim] = &[
    claim("mmap.self.read", "pread() of a file into a shared mapping of the same page of that file succeeds.")
        .published(&[gvisor("mmap.cc", "MMapFileTest.SelfRead")])
        .about(&[Sysno::pread64])
        .turned_by(&[Lie::refused(Sysno::pread64, libc::EFAULT), Lie::bytes(Sysno::read, b'b', b'a')])
        .except(&[
            Exception::Of(Sysno::pread64, What::TooFew, MOVED_AGAIN),
            Exception::Of(Sysno::pread64, What::Skipped, ONTO_ITSELF),
        ])
        .tried(|lab, see| onto_itself(lab, see, Sysno::pread64, "b")),
    claim("mmap.self.write", "pwrite() of a file from a shared mapping of the same page of that file succeeds.")
        .published(&[gvisor("mmap.cc", "MMapFileTest.SelfWrite")])
        .about(&[Sysno::pwrite64])
        .turned_by(&[Lie::refused(Sysno::pwrite64, libc::EFAULT), Lie::bytes(Sysno::read, b'a', b'b')])
        .except(&[
            Exception::Of(Sysno::pwrite64, What::TooFew, MOVED_AGAIN),
            Exception::Of(Sysno::pwrite64, What::Skipped, ONTO_ITSELF),
        ])
        .tried(|lab, see| onto_itself(lab, see, Sysno::pwrite64, "a")),
];

/// Moves the second half of a page to the first one by `pread64`, or the first to the second by `pwrite64`; then the whole page to
/// where it is.
fn onto_itself(lab: &Lab, see: &mut Observation, call: Sysno, expected: &str) -> Result<(), Stop> {
    let half = page() / 2;
    let file = lab.file(&[vec![b'a'; half], vec![b'b'; half]].concat())?;
    let area = mapped(&file, 1, READ | WRITE, SHARED)?;
    for (name, length, offset) in [("half a page to the other half", half, half), ("the page to itself", page(), 0)] {
        let moved = io::until_done(length, |done| {
            let arguments = [argument(&file), area + done, length - done, offset + done, 0, 0];
            // SAFETY: the page belongs to this function, and no reference to it exists.
            unsafe { ask(call, arguments) }
        });
        see.call(format!("{}: {name}", call.name()), moved).is(length);
        see.letters(format!("the page after {name}"), area, 1)?.says(expected);
    }
    Ok(())
}
