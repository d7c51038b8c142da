//! How many CPU copies `mmap` and `write` make.

use crate::claims::prelude::*;
use crate::lab::sinks::Kind;

/// Lies: the mapping is a copy, or the receiver gets the file's pages.
const HOP_LIES: &[Lie] = &[
    Lie::about(Sysno::mmap, What::Unshared),
    Lie::bytes(Sysno::read, alias::OLD, alias::NEW),
    Lie::bytes(Sysno::pread64, alias::OLD, alias::NEW),
];

macro_rules! row {
    ($id:literal, $kind:expr, $sink:literal, $source:expr) => {
        claim($id, concat!("From a file to ", $sink, ", mmap() and write() make one CPU copy: out of the mapping."))
            .published(&[$source])
            .about(&[Sysno::mmap, Sysno::write])
            .turned_by(HOP_LIES)
            .method("Writes the mapping, changes the file, and looks at the mapping and at what the receiver reads.")
            .tried(|lab, see| {
                let hops = mmap_write_hops(lab, $kind)?;
                see.text("file changed, mapping's bytes", hops[0]).says(Sharing::Shared);
                see.text("file changed after write(), receiver's bytes", hops[1]).says(Sharing::Copied);
                Ok(())
            })
    };
}

pub const CLAIMS: &[Claim] = &[
    row!("mmap-write.copies.tcp", Kind::Tcp, "a TCP socket", seed("3.1")),
    row!("mmap-write.copies.unix", Kind::Unix, "an AF_UNIX stream socket", MEASURED),
    row!("mmap-write.copies.pipe", Kind::Pipe, "a pipe", MEASURED),
    row!("mmap-write.copies.file", Kind::File, "another file", MEASURED),
    claim(
        "mmap-write.copies.one-fewer",
        "To a TCP socket, mmap() and write() make one CPU copy fewer than read() and write(): that into user memory.",
    )
    .published(&[seed("3.1"), seed("6.1")])
    .about(&[Sysno::mmap, Sysno::write, Sysno::read])
    .turned_by(&[Lie::about(Sysno::mmap, What::Unshared)])
    .method("Counts the copies hop by hop, by changing the source of each hop.")
    .tried(|lab, see| {
        see.count("CPU copies of read and write", count_copies(&read_write_hops(lab, Kind::Tcp)?)).is(2);
        see.count("CPU copies of mmap and write", count_copies(&mmap_write_hops(lab, Kind::Tcp)?)).is(1);
        Ok(())
    }),
];
