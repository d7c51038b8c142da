//! The document's sample: `mmap` of a file, one `write`, `munmap`.

use crate::claims::prelude::*;
use crate::lab::map_file;
use crate::lab::sinks::{Kind, Sink};
use nocopy_mmap::{MapFlags, Prot, mmap, munmap};

pub const CLAIMS: &[Claim] = &[
    claim(
        "mmap-write.sample.whole-file",
        "mmap() of a whole file, one write() of the mapping to a TCP socket and munmap(), as in the sample, send it.",
    )
    .published(&[seed("3.1")])
    .about(&[Sysno::mmap, Sysno::write, Sysno::munmap, Sysno::mincore])
    .turned_by(&[Lie::shortened(Sysno::write), Lie::skipped(Sysno::munmap)])
    .method("A byte, a page less a byte, a page and a byte, four pages. Afterwards mincore() finds no mapping there.")
    .tried(|lab, see| {
        for length in [1, page() - 1, page() + 1, 4 * page()] {
            let content = pattern(length);
            let (file, sink) = (lab.file(&content)?, Sink::open(lab, Kind::Tcp)?);
            let mapping = map(&file, length).setup("mmap")?;
            // SAFETY: the range was mapped above and no reference to it exists.
            let written = io::again(|| unsafe { io::write_from(&sink, mapping.cast(), length) });
            // SAFETY: the mapping was made above, and nothing refers to it any more.
            let unmapped = unsafe { munmap(mapping, length) };
            see.call(format!("write(socket, mapping of {length})"), written);
            see.call(format!("munmap() of {length}"), unmapped.map(|()| 0)).is(0);
            let resident = &mut vec![0_u8; length.div_ceil(page())];
            let arguments = [mapping.expose_provenance(), length, resident.as_mut_ptr().expose_provenance(), 0, 0, 0];
            // SAFETY: mincore writes one byte per page into `resident`, if the range is mapped.
            let still = unsafe { ask(Sysno::mincore, arguments) };
            see.call(format!("mincore() of {length} afterwards"), still).fails(ENOMEM);
            let same = sink.take(written.unwrap_or(0))? == content;
            see.text(format!("receiver's bytes of {length}"), as_sent(same)).says(AS_SENT);
        }
        Ok(())
    }),
    claim("mmap-write.sample.empty-file", "For an empty file, the sample's mmap() of length 0 fails with EINVAL.")
        .published(&[man("mmap(2)", "ERRORS, EINVAL").since("2.6.12"), seed("3.1").leaves_open()])
        .about(&[Sysno::mmap])
        .turned_by(&[Lie::accepted(Sysno::mmap), Lie::about(Sysno::mmap, What::OtherErrno(libc::EIO))])
        .tried(|lab, see| {
            let mapped = map(&lab.file(b"")?, 0);
            see.call("mmap(NULL, 0, PROT_READ, MAP_PRIVATE, file, 0)", mapped.map(|_| 0)).fails(EINVAL);
            Ok(())
        }),
    claim(
        "mmap-write.sample.truncated-efault",
        "write() of a mapping to a TCP socket fails with EFAULT once its file is truncated to 0; no SIGBUS is raised.",
    )
    .published(&[MEASURED])
    .about(&[Sysno::write])
    .turned_by(&[Lie::accepted(Sysno::write), Lie::about(Sysno::write, What::OtherErrno(libc::EIO))])
    .method("SIGBUS would end the experiment.")
    .tried(|lab, see| {
        let length = 2 * page();
        let file = lab.file(&vec![alias::OLD; length])?;
        let mapping = map_file(&file, length).setup("mmap")?;
        io::truncate(&file, 0).setup("ftruncate")?;
        let sink = Sink::open(lab, Kind::Tcp)?;
        // SAFETY: the kernel checks every access; the range lies in the mapping.
        let written = io::again(|| unsafe { io::write_from(&sink, mapping.as_ptr(), length) });
        see.call("write(socket, mapping past the end of the file)", written).fails(EFAULT);
        Ok(())
    }),
];

/// `mmap` with the sample's arguments.
fn map(file: &File, length: usize) -> Result<*mut u8, Errno> {
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    unsafe { mmap(std::ptr::null_mut(), length, Prot::READ, MapFlags::PRIVATE, Some(file.into()), 0) }
}
