//! Pages of a file in a pipe that change there, or do not.
//!
//! If the page cache uses folios of several pages, a truncation clears the rest of the whole folio in place. So does
//! punching a hole.

use super::{NONBLOCK, about_splice, file_holds, once};
use crate::claim::source::Source;
use crate::claims::prelude::*;
use crate::lab::changed::{self, AS_GIVEN, CHANGES, Carrier, Change};
use crate::lab::filesystems::filesystem_of;
use crate::lab::{nfs, open};
use nocopy_splice::splice;

const HOWELLS: Source = thread(
    "linux-mm, David Howells, \"splice: Fix corruption of spliced data after splice() returns\"",
    "pages in a pipe can change there, by write(), a shared mapping or fallocate()",
);

/// Clears the removed part of a folio in place.
const CLEARS: Source = kernel("mm/truncate.c", "truncate_inode_partial_folio");
/// Of files whose folios can be of several pages.
const LARGE: &[Source] = &[HOWELLS.leaves_open(), CLEARS.denies()];

/// Whole pages of one kind of file.
macro_rules! pages {
    ($id:literal, $on:literal, $kind:literal, $modules:expr) => {
        about_splice(
            $id,
            concat!(
                "Whole pages of ",
                $on,
                " that splice() put into a pipe stay as they were when they are truncated away or punched out."
            ),
        )
        .published(&[HOWELLS.leaves_open()])
        .turned_by(&[
            Lie::bytes(Sysno::read, alias::OLD, 0).where_it(true),
            Lie::bytes(Sysno::read, 0, alias::OLD).where_it(false),
        ])
        .modules($modules)
        .method(GIVES)
        .tried(|lab, see| {
            let files = files_of(lab, see, $kind)?;
            note_changes(see, &[Carrier::Pipe], &*files, CHANGES.iter(), Change::is_of_whole_pages)
        })
    };
}

const GIVES: &str =
    "For each change, puts the four pages of a new file into a pipe, changes the file, and reads the pipe.";

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.sharing.in-the-pipe",
        "A write() to a file changes the bytes that splice() has already moved from it into a pipe.",
    )
    .published(&[
        thread("rust-lang/rust#108283", "a write after io::copy() became visible in the copy"),
        HOWELLS,
        man("splice(2)", "NOTES").leaves_open(),
    ])
    .turned_by(alias::SHARING_LIES)
    .tried(|lab, see| {
        see.text("file system", filesystem_of(lab.scratch()?).setup("statfs")?);
        let (file, pipe, mut offset) = (alias::source(lab)?, pipe()?, 0);
        let moved = io::until_done(alias::LENGTH, |done| {
            splice(&file, Some(&mut offset), &pipe.write, None, alias::LENGTH - done, NONBLOCK)
        });
        see.call("splice(file, pipe)", moved).is(alias::LENGTH);
        alias::change(&file)?;
        let mut bytes = vec![0; aside(|| sockets::readable(&pipe.read))?];
        let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
        see.count("bytes in the pipe", count as u64).is(alias::LENGTH);
        see.text("file changed, pipe's bytes", Sharing::of(&bytes[..count])?).says(Sharing::Shared);
        Ok(())
    }),
    about_splice(
        "splice.sharing.written-behind",
        "A write() into a pipe after splice() of a byte of a file does not change the file.",
    )
    .published(&[ltp("dirtypipe.c", "run")])
    .turned_by(&[Lie::bytes(Sysno::pread64, b'f', b'w')])
    .method("The pipe has been full of written pages and is empty again. The file is open for reading only.")
    .tried(|lab, see| {
        let old = vec![b'f'; page()];
        let file = lab.file(&old)?;
        let (read_only, pipe) = (reopen(&file, File::options().read(true))?, full()?);
        io::read_full(&pipe.read, &mut vec![0; pipe_size(&pipe)?]).setup("empty the pipe")?;
        see.call("splice(file, pipe, 1)", once(&read_only, &pipe.write, 1)).is(1);
        io::write_all(&pipe.write, b"wwww").setup("write to the pipe")?;
        see.holds("pipe's bytes", &pipe.read, b"fwwww")?.says(AS_SENT);
        file_holds(see, "file's bytes", &file, &old)
    }),
    about_splice(
        "splice.sharing.truncated-later",
        "If a memfd without huge pages is truncated inside a page, or part of a page is punched out, a pipe has zeros \
         for the removed bytes of that page.",
    )
    .published(&[HOWELLS.leaves_open(), CLEARS])
    .turned_by(&[Lie::bytes(Sysno::read, 0, alias::OLD)])
    .method(GIVES)
    .varying(&[SHMEM_ENABLED])
    .tried(|lab, see| {
        let files = files_of(lab, see, "memfd")?;
        note_changes(see, &[Carrier::Pipe], &*files, CHANGES.iter(), |change| !change.is_of_whole_pages())
    }),
    about_splice(
        "splice.sharing.truncated-direct-io",
        "When a FUSE file with direct_io is truncated inside a page, the rest of that page becomes zeros in pipes and \
         sockets.",
    )
    .published(&[kernel("fs/fuse/file.c", "fuse_splice_read"), CLEARS])
    .about(&[Sysno::splice, Sysno::sendfile])
    .turned_by(&[Lie::bytes(Sysno::read, 0, alias::OLD).where_it(true)])
    .except(&[Exception::Lacking("no lie replaces the bytes of a part of a page")])
    .modules(&["fuse"])
    .method("For each truncation and way, gives away the four pages of a new file, truncates the file, and reads.")
    .tried(|lab, see| {
        let files = files_of(lab, see, "fuse, direct_io")?;
        note_changes(see, &Carrier::ALL, &*files, changed::truncations(), |change| !change.is_of_whole_pages())
    }),
    pages!("splice.sharing.pages-memfd", "a memfd without huge pages", "memfd", &[]).varying(&[SHMEM_ENABLED]).tried(
        |lab, see| {
            let files = files_of(lab, see, "memfd")?;
            note_changes(see, &[Carrier::Pipe], &*files, CHANGES.iter(), Change::is_of_whole_pages)?;
            for (name, change) in CHANGES.iter().filter(|(_, change)| change.is_of_whole_pages()) {
                let file = File::from(open::sealed_memfd(0)?);
                for page in [alias::OLD; alias::LENGTH].chunks(page()) {
                    aside(|| io::write_all(&file, page)).setup("write a memfd")?;
                }
                let arrived = changed_later(&file, Carrier::Pipe, *change)?;
                see.push(format!("memfd written page by page, {name}"), arrived).says(AS_GIVEN);
            }
            Ok(())
        },
    ),
    pages!("splice.sharing.pages-tmpfs", "a file on tmpfs without huge pages", "tmpfs", &[]),
    pages!("splice.sharing.pages-tmpfs-huge", "a file on tmpfs with huge=within_size", "tmpfs, huge", &[])
        .published(LARGE)
        .gated(&[HUGE_ON_TMPFS]),
    pages!("splice.sharing.pages-ext4", "a file on ext4", "ext4", &["loop", "ext4"]).published(LARGE),
    pages!("splice.sharing.pages-xfs", "a file on xfs", "xfs", &["xfs", "loop"]).published(LARGE),
    pages!("splice.sharing.pages-btrfs", "a file on btrfs", "btrfs", &["btrfs", "loop"]).published(LARGE),
    pages!("splice.sharing.pages-nfs", "a file on NFS", "nfs", nfs::MODULES).published(LARGE),
];
