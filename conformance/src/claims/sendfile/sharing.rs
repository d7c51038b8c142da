//! Pages of a file that `sendfile` has given away by reference: what arrives if the file changes before it is read.
//!
//! If the page cache uses folios of several pages, a truncation clears the rest of the whole folio in place, and so
//! does punching a hole. Bytes that a call has reported as sent then arrive as zeros.

use super::about_sendfile;
use crate::claims::prelude::*;
use crate::lab::alias::OLD;
use crate::lab::changed::{self, CHANGES, Carrier, Change};
use crate::lab::nfs;

/// The claim that whole pages of one kind of file stay as they were.
macro_rules! row {
    ($id:literal, $on:literal, $kind:literal, $sources:expr, $modules:expr) => {
        about_sendfile(
            $id,
            concat!(
                "Whole pages of ",
                $on,
                " that sendfile() has sent to TCP or AF_UNIX stay as sent when truncated away or punched out."
            ),
        )
        .published($sources)
        .turned_by(&[Lie::bytes(Sysno::read, OLD, 0).where_it(true), Lie::bytes(Sysno::read, 0, OLD).where_it(false)])
        .modules($modules)
        .method("Sends a new file of four pages for each change, and changes it before the receiver reads.")
        .tried(|lab, see| {
            let files = files_of(lab, see, $kind)?;
            note_changes(see, &[Carrier::Tcp, Carrier::Unix], &*files, CHANGES.iter(), Change::is_of_whole_pages)
        })
    };
}

const CLEARED: Source = kernel("mm/truncate.c", "truncate_inode_partial_folio");
const WARNED: Source = man("sendfile(2)", "NOTES").leaves_open();
const LARGE_FOLIOS: &[Source] = &[CLEARED.denies(), WARNED];

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.sharing.truncated-later",
        "If a memfd without huge pages is truncated inside a page after sendfile() to TCP, the rest of that page \
         arrives as zeros.",
    )
    .published(&[CLEARED, WARNED])
    .turned_by(&[Lie::bytes(Sysno::read, 0, OLD)])
    .varying(&[SHMEM_ENABLED])
    .tried(|lab, see| {
        let files = files_of(lab, see, "memfd")?;
        let inside = changed::truncations().filter(|(_, change)| !change.is_of_whole_pages());
        note_changes(see, &[Carrier::Tcp], &*files, inside, |_| true)
    }),
    row!("sendfile.sharing.pages-memfd", "a memfd without huge pages", "memfd", &[WARNED], &[])
        .varying(&[SHMEM_ENABLED]),
    row!("sendfile.sharing.pages-tmpfs", "a file on tmpfs without huge pages", "tmpfs", &[WARNED], &[]),
    row!(
        "sendfile.sharing.pages-tmpfs-huge",
        "a file on tmpfs with huge=within_size",
        "tmpfs, huge",
        LARGE_FOLIOS,
        &[]
    )
    .gated(&[HUGE_ON_TMPFS]),
    row!("sendfile.sharing.pages-ext4", "a file on ext4", "ext4", LARGE_FOLIOS, &["loop", "ext4"]),
    row!("sendfile.sharing.pages-xfs", "a file on xfs", "xfs", LARGE_FOLIOS, &["xfs", "loop"]),
    row!("sendfile.sharing.pages-btrfs", "a file on btrfs", "btrfs", LARGE_FOLIOS, &["btrfs", "loop"]),
    row!("sendfile.sharing.pages-nfs", "a file on NFS", "nfs", LARGE_FOLIOS, nfs::MODULES),
];
