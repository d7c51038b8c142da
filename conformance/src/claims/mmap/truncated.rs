//! Mappings of a file that `ftruncate` has made shorter.

use super::{DONE, PRIVATE, READ, SHARED, SIGBUS, WRITE, load, of_letters, of_read_letters, store_in_child, truncate};
use crate::claim::source::Source;
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::pages::{UNHARMED, bytes, letter, letters, letters_of, store, touch};
use std::os::unix::net::UnixStream;
use std::ptr;

const NOT_TRUNCATED: &[Lie] = &[UNHARMED, Lie::skipped(Sysno::ftruncate)];
const OPEN: Source = man("mmap(2)", "NOTES").leaves_open();

/// A claim about what `ftruncate` does to a mapping.
#[track_caller]
const fn about_truncate(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::ftruncate]).turned_by(NOT_TRUNCATED)
}

pub const CLAIMS: &[Claim] = &[
    claim(
        "mmap.truncated.half-there",
        "write() of two pages of a file that has lost the second writes one page to a pipe and fails with EFAULT \
         to a stream socket.",
    )
    .published(&[MEASURED])
    .about(&[Sysno::write])
    .turned_by(&[Lie::accepted(Sysno::write), Lie::about(Sysno::write, What::TooMany)])
    .except(&[Exception::Of(Sysno::write, What::Shortened, "half of two pages is the page that is there")])
    .tried(|lab, see| {
        let (area, pipe, file) = (lost(lab, 2, page())?, pipe()?, lab.empty_file()?);
        let (unix, _far) = UnixStream::pair().setup("socketpair")?;
        let (tcp, _tcp_far) = sockets::tcp()?;
        see.call("write(pipe, mapping)", write(&pipe.write, area, 2 * page())).is(page());
        see.holds("bytes in the pipe", &pipe.read, &vec![b'a'; page()])?.says(AS_SENT);
        see.call("write(AF_UNIX stream socket, mapping)", write(&unix, area, 2 * page())).fails(EFAULT);
        see.call("write(TCP socket, mapping)", write(&tcp, area, 2 * page())).fails(EFAULT);
        see.call("write(file, mapping)", write(&file, area, 2 * page()));
        Ok(())
    }),
    claim(
        "mmap.truncated.dev-null",
        "write() to /dev/null from a page that its file has lost returns the full count: the memory is not read.",
    )
    .published(&[kernel("drivers/char/mem.c", "write_null")])
    .about(&[Sysno::write])
    .turned_by(&[Lie::refused(Sysno::write, libc::EFAULT)])
    .except(&[
        Exception::Of(Sysno::write, What::Skipped, "nothing shows what a device that keeps nothing was given"),
        Exception::Of(Sysno::write, What::Shortened, "the count that is returned is what the claim is about"),
    ])
    .tried(|lab, see| {
        let (area, null) = (lost(lab, 1, 0)?, Descriptor::open(lab, Fd::DevNull)?);
        see.call("write(/dev/null, lost page, 1)", write(&null, area, 1)).is(1);
        see.call("write(/dev/null, lost page, a page)", write(&null, area, page())).is(page());
        Ok(())
    }),
    about_truncate(
        "mmap.truncated.grown-again",
        "After a file is truncated and extended again, a shared mapping shows zeros for the lost bytes alone.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.ReadSharedTruncateDownThenUp"), OPEN])
    .turned_by(&[Lie::skipped(Sysno::ftruncate), Lie::bytes(Sysno::read, 0, b'b')])
    .tried(|lab, see| {
        let (file, area) = of_read_letters(lab, 2, SHARED)?;
        see.call("ftruncate(file, a page)", truncate(&file, page())).is(0);
        see.call("ftruncate(file, two pages)", truncate(&file, 2 * page())).is(0);
        see.text("pages of the mapping", letters(area, 2)?).says("a0");
        Ok(())
    }),
    about_truncate("mmap.truncated.resized", "ftruncate() makes a mapped file shorter, longer and empty.")
        .published(&[man("truncate(2)", "DESCRIPTION"), ltp("mmap09.c", "the three sizes").leaves_open()])
        .turned_by(&[Lie::refused(Sysno::ftruncate, libc::ETXTBSY), Lie::skipped(Sysno::ftruncate)])
        .tried(|lab, see| {
            let (file, _area) = of_read_letters(lab, 2, SHARED)?;
            for (name, length) in [("a page", page()), ("four pages", 4 * page()), ("0", 0)] {
                see.call(format!("ftruncate(file, {name})"), truncate(&file, length)).is(0);
                see.length(&format!("length after ftruncate(file, {name})"), &file)?.is(length);
            }
            Ok(())
        }),
    about_truncate(
        "mmap.truncated.store",
        "After ftruncate(), a store to a shared page that the file has lost raises SIGBUS; to a kept page it does not.",
    )
    .published(&[man("mmap(2)", "ERRORS, SIGBUS"), OPEN])
    .tried(|lab, see| {
        let area = stored_and_truncated(lab, see, SHARED)?;
        see.text("store to the first page", store_in_child(area, b'x')?).says(DONE);
        see.text("store to the second page", store_in_child(area + page(), b'x')?).says(SIGBUS);
        Ok(())
    }),
    about_truncate(
        "mmap.truncated.rest-of-page",
        "After a file is truncated inside a page, a shared mapping shows the kept bytes, and zeros in the rest of it.",
    )
    .published(&[gvisor("mmap.cc", "MMapFileTest.ReadSharedTruncatePartialPage"), OPEN])
    .turned_by(&[Lie::skipped(Sysno::ftruncate), Lie::bytes(Sysno::read, 0, b'a')])
    .tried(|lab, see| {
        let (file, area) = of_read_letters(lab, 1, SHARED)?;
        see.call("ftruncate(file, 100)", truncate(&file, 100)).is(0);
        let shown = bytes(area, page())?;
        let (kept, lost) = shown.split_at(100.min(shown.len()));
        see.text("bytes that the file has", letters_of(kept)).says('a');
        see.text("bytes that it has lost", letters_of(lost)).says('0');
        Ok(())
    }),
    about_truncate(
        "mmap.truncated.private",
        "A private page with a store is lost when ftruncate() removes its part of the file: a load raises SIGBUS. \
         The page before it stays.",
    )
    .published(&[gvisor("mmap.cc", "MMapDeathTest.TruncateAfterCOWBreak"), OPEN])
    .tried(|lab, see| {
        let area = stored_and_truncated(lab, see, PRIVATE)?;
        see.text("first byte of the first page", letter(area)?).says('z');
        see.text("load from the second page", load(area + page())?).says(SIGBUS);
        see.call("write(pipe, the second page)", touch(area + page())?);
        Ok(())
    }),
];

/// A mapping of a file of letters that is then truncated.
fn lost(lab: &Lab, pages: u8, length: usize) -> Result<usize, Stop> {
    let (file, area) = of_letters(lab, pages, READ, PRIVATE)?;
    aside(|| io::truncate(&file, length as u64)).setup("ftruncate")?;
    Ok(area)
}

/// `write` from memory that may not be readable.
fn write(to: &impl AsFd, address: usize, length: usize) -> Result<usize, Errno> {
    // SAFETY: the kernel checks every access; no reference exists to memory that is mapped for an experiment.
    io::again(|| unsafe { io::write_from(to, ptr::with_exposed_provenance(address), length) })
}

/// A mapping of two pages, with `z` stored to both. The file is then truncated to the first page.
fn stored_and_truncated(lab: &Lab, see: &mut Observation, flags: usize) -> Result<usize, Stop> {
    let (file, area) = of_letters(lab, 2, READ | WRITE, flags)?;
    for address in [area, area + page()] {
        // SAFETY: the page belongs to the experiment, and lies in the file.
        unsafe { store(address, b'z') };
    }
    see.call("ftruncate(file, a page)", truncate(&file, page())).is(0);
    Ok(area)
}
