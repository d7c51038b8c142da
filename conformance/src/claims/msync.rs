//! `msync`, and stores through a large mapping: behaviour that LTP and gVisor check.

use super::mmap::{READ, SHARED, WRITE};
use super::mmap_manual::sync;
use super::mmap_pages::mapped;
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::filesystems::file_on;
use crate::lab::pages::{PAGE, letter, lettered, store};
use crate::lab::{Lab, io};
use crate::verdict::{Lack, Observation, Setup, Stop};
use std::fs::File;
use syscalls::Sysno;

const MAN: Source = Source::Man("msync(2), man-pages 6.20");
const MSYNC: &[Sysno] = &[Sysno::msync];
const SEEN_ANYWAY: Exception = Exception::Of(
    Sysno::msync,
    What::Skipped,
    "mappings and file share their pages, so that the bytes are the same without the call",
);

/// Claims about stores through mappings.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "msync(MS_ASYNC) succeeds, and what was stored is read from the file.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/msync/msync01.c")],
        about: MSYNC,
        lies: &[Lie::refused(Sysno::msync, libc::EINVAL), Lie::bytes(Sysno::pread64, b'z', b'a')],
        exceptions: &[SEEN_ANYWAY],
        ..Claim::of_answers(
            "mmap.msync.async",
            mmap_msync_async,
            &[("msync(MS_ASYNC)", Answer::Is(0)), ("first byte of the file", Answer::Says("z"))],
        )
    },
    Claim {
        statement: "msync(MS_INVALIDATE) of memory that is not locked succeeds, and the mapping shows what was written to the file.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/msync/msync02.c")],
        about: MSYNC,
        lies: &[Lie::refused(Sysno::msync, libc::EBUSY), Lie::bytes(Sysno::read, b'z', b'a')],
        exceptions: &[SEEN_ANYWAY],
        ..Claim::of_answers(
            "mmap.msync.invalidate",
            mmap_msync_invalidate,
            &[("msync(MS_INVALIDATE)", Answer::Is(0)), ("first byte of the mapping", Answer::Says("z"))],
        )
    },
    Claim {
        statement: "msync(MS_SYNC) leaves a page of a file on ext4 or xfs clean.",
        method: "Stores to a shared mapping, and looks the page up in /proc/kpageflags before the call and after it.",
        sources: &[
            MAN,
            Source::Doc("Linux 7.3, Documentation/admin-guide/mm/pagemap.rst"),
            Source::Thread("LTP @6958277, testcases/kernel/syscalls/msync/msync04.c"),
        ],
        about: MSYNC,
        lies: &[Lie::skipped(Sysno::msync), Lie::refused(Sysno::msync, libc::EIO)],
        ..Claim::of_answers(
            "mmap.msync.clean",
            mmap_msync_clean,
            &[
                ("page after the store", Answer::Says("dirty")),
                ("msync(MS_SYNC)", Answer::Is(0)),
                ("page after msync()", Answer::Says("clean")),
            ],
        )
    },
];

fn mmap_msync_async(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let page = mapped(&file, 1, READ | WRITE, SHARED)?;
    // SAFETY: the page belongs to this function, and lies in the file.
    unsafe { store(page, b'z') };
    let mut seen = Observation::new();
    seen.call("msync(MS_ASYNC)", sync(page, PAGE, libc::MS_ASYNC));
    let mut byte = [b'?'];
    io::pread_full(&file, &mut byte, 0).setup("pread")?;
    seen.text("first byte of the file", char::from(byte[0]));
    Ok(seen)
}

fn mmap_msync_invalidate(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let page = mapped(&file, 1, READ | WRITE, SHARED)?;
    if aside(|| letter(page))? != "a" {
        return Err(Stop::broken("the mapping does not show the file"));
    }
    aside(|| io::pwrite_all(&file, b"z", 0)).setup("pwrite")?;
    let mut seen = Observation::new();
    seen.call("msync(MS_INVALIDATE)", sync(page, PAGE, libc::MS_INVALIDATE));
    seen.text("first byte of the mapping", letter(page)?);
    Ok(seen)
}

/// Reads the 64-bit number for a page from a file of `/proc` that has one for each page.
fn number_of(path: &str, page: u64) -> Result<u64, Stop> {
    let file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Stop::untestable(Lack::Kernel, format!("there is no {path}"), "use a kernel with CONFIG_PROC_PAGE_MONITOR")
        }
        _ => Stop::untestable(Lack::Privilege, format!("{path}: {error}"), "run as root, outside of user namespaces"),
    })?;
    let mut number = [0; 8];
    io::pread_full(&file, &mut number, page * 8).setup(&format!("read {path}"))?;
    Ok(u64::from_ne_bytes(number))
}

/// Whether the page at an address must be written back: `dirty` or `clean`.
fn dirtiness(address: usize) -> Result<&'static str, Stop> {
    const PRESENT: u64 = 1 << 63;
    const FRAME: u64 = (1 << 55) - 1;
    const DIRTY: u64 = 1 << 4;
    let entry = number_of("/proc/self/pagemap", (address / PAGE) as u64)?;
    match entry & FRAME {
        _ if entry & PRESENT == 0 => Err(Stop::broken("the page is not in memory")),
        0 => Err(Stop::untestable(
            Lack::Privilege,
            "/proc/self/pagemap hides where the page is",
            "run as root, outside of user namespaces",
        )),
        frame if number_of("/proc/kpageflags", frame)? & DIRTY == 0 => Ok("clean"),
        _ => Ok("dirty"),
    }
}

fn mmap_msync_clean(lab: &Lab) -> Result<Observation, Stop> {
    let (file, _) = file_on(lab, &["ext4", "xfs"])?;
    aside(|| io::pwrite_all(&file, &[b'a'; PAGE], 0)).setup("write the file")?;
    aside(|| file.sync_all()).setup("fsync")?;
    let page = mapped(&file, 1, READ | WRITE, SHARED)?;
    // SAFETY: the page belongs to this function, and lies in the file.
    unsafe { store(page, b'z') };
    let mut seen = Observation::new();
    seen.text("page after the store", aside(|| dirtiness(page))?);
    seen.call("msync(MS_SYNC)", sync(page, PAGE, libc::MS_SYNC));
    // A page that has been written back may have been unmapped, so it is read first.
    aside(|| letter(page))?;
    seen.text("page after msync()", aside(|| dirtiness(page))?);
    Ok(seen)
}
