//! `msync`, and stores through a large mapping: behaviour that LTP and gVisor check.

use super::mmap::{READ, SHARED, WRITE, map, note};
use super::mmap_manual::sync;
use super::mmap_pages::mapped;
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::filesystems::file_on;
use crate::lab::pages::{PAGE, in_child, letter, lettered, store};
use crate::lab::{Lab, io, pattern};
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_host::process::Ended;
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
    Claim {
        statement: "What is stored through a shared mapping of 4 MiB is in the file, all of it.",
        method: "A child stores to every byte through a mapping for writing alone of a file without blocks; the file is read and compared.",
        sources: &[
            Source::Man("mmap(2), man-pages 6.20"),
            Source::Thread(
                "LTP @6958277, testcases/kernel/syscalls/mmap/mmap21.c; gVisor @3c5eee1, test/syscalls/linux/mmap.cc",
            ),
        ],
        about: &[Sysno::mmap],
        lies: &[Lie::about(Sysno::pread64, What::Garbled), Lie::bytes(Sysno::pread64, 250, 0)],
        ..Claim::of_answers(
            "mmap.shared.large",
            mmap_shared_large,
            &[
                ("mmap(4 MiB, PROT_WRITE, MAP_SHARED)", Answer::Says("mapped")),
                ("bytes read from the file", Answer::Is(LARGE as u64)),
                ("the file", Answer::Says("what was stored")),
            ],
        )
    },
];

const LARGE: usize = 4 << 20;

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

fn mmap_shared_large(lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(LARGE);
    let file = lab.empty_file()?;
    aside(|| io::truncate(&file, LARGE as u64)).setup("ftruncate")?;
    let mut seen = Observation::new();
    let area = map(&file, LARGE, WRITE, SHARED, 0);
    note(&mut seen, "mmap(4 MiB, PROT_WRITE, MAP_SHARED)", area)?;
    let area = area.setup("mmap")?;
    let ended = in_child(|| {
        let target = std::ptr::with_exposed_provenance_mut::<u8>(area);
        for (index, byte) in content.iter().enumerate() {
            // SAFETY: the byte is in the mapping, to which no reference exists.
            unsafe { target.add(index).write_volatile(*byte) };
        }
    })?;
    if ended != Ended::Exited(0) {
        return Err(Stop::broken(format!("the child that stores: {ended}")));
    }
    let mut read = vec![0; LARGE];
    let count = io::pread_full(&file, &mut read, 0).setup("pread")?;
    seen.count("bytes read from the file", count as u64);
    let same = read == content;
    seen.text("the file", if same { "what was stored" } else { "other bytes" });
    Ok(seen)
}
