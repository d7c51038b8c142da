//! The content of mapped pages, and the effect of `mmap`, `munmap`, `mremap` and `mprotect` on pages.

use super::mmap::{PRIVATE, READ, SHARED, VALIDATE, WRITE, is_mapped, map, map_with, note};
use super::mmap_manual::{free_pages, sync};
use super::tools::reopen;
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::filesystems::{Status, file_on, set_old_time};
use crate::lab::io::{self, argument, ask};
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{PAGE, UNHARMED, letter, lettered, letters, load, resident, store, store_in_child, touch};
use crate::lab::{Lab, alias, mounts};
use crate::verdict::{Lack, Observation, Setup, Stop, Verdict};
use std::fs::File;
use std::os::fd::AsFd;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("mmap(2), man-pages 6.20");
const MREMAP: Source = Source::Man("mremap(2), man-pages 6.20");
const MPROTECT: Source = Source::Man("mprotect(2), man-pages 6.20");
const MMAP: &[Sysno] = &[Sysno::mmap];
const REMAP: &[Sysno] = &[Sysno::mremap];
const REMAP_OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::mremap);
const FIXED: usize = libc::MAP_FIXED as usize;
const NO_REPLACE: usize = libc::MAP_FIXED_NOREPLACE as usize;
const POPULATE: usize = libc::MAP_POPULATE as usize;
const LOCKED: usize = libc::MAP_LOCKED as usize;
const SYNC: usize = libc::MAP_SYNC as usize;
const EXECUTE: usize = libc::PROT_EXEC as usize;
const MAY_MOVE: usize = libc::MREMAP_MAYMOVE as usize;
const TO_FIXED: usize = libc::MREMAP_FIXED as usize;
const DONT_UNMAP: usize = libc::MREMAP_DONTUNMAP as usize;

/// Claims about mapped pages.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "MAP_SHARED ignores MAP_SYNC, MAP_SHARED_VALIDATE refuses it: of a file in memory.",
        sources: &[MAN],
        about: MMAP,
        lies: &[
            Lie::refused(Sysno::mmap, libc::EOPNOTSUPP).with(3, (SHARED | SYNC) as u64),
            Lie::accepted(Sysno::mmap),
        ],
        ..Claim::of_answers(
            "mmap.sync.memfd",
            |_lab| map_sync(&sealed_memfd(0)?),
            &[(SHARED_SYNC, Answer::Says("mapped")), (VALIDATED_SYNC, Answer::Fails(Errno::EOPNOTSUPP))],
        )
    },
    Claim {
        statement: "MAP_SHARED ignores MAP_SYNC: of a file on ext4 or xfs.",
        method: "Maps a file that is not on persistent memory. A kernel built without DAX ignores the flag.",
        sources: &[MAN],
        about: MMAP,
        lies: &[
            Lie::about(Sysno::mmap, What::OtherErrno(libc::ENOLINK)).where_it(false),
            Lie::refused(Sysno::mmap, libc::EOPNOTSUPP).where_it(true),
        ],
        ..Claim::new(
            "mmap.sync.disk",
            |lab| map_sync(&file_on(lab, DISKS)?.0),
            |seen| Verdict::holds_if(!seen.failed_with(SHARED_SYNC, Errno::EOPNOTSUPP)),
        )
    },
    Claim {
        statement: "What is stored behind the end of a file in memory is in the file when that is made longer.",
        method: "Stores a byte into the last page, behind the end, and reads it when the file has been extended by ftruncate().",
        sources: &[MAN],
        about: &[Sysno::ftruncate],
        lies: &[Lie::bytes(Sysno::pread64, b'x', 0)],
        ..Claim::of_answers(
            "mmap.end.memfd-keeps-stores",
            |_lab| extended(&File::from(sealed_memfd(0)?), false),
            &[("the byte behind the old end", Answer::Says("x"))],
        )
    },
    Claim {
        statement: "What is stored behind the end of a file on ext4 is gone when that is made longer: there are zeros.",
        method: "Stores a byte into the last page, behind the end, and reads it when the file has been extended by ftruncate().",
        sources: &[MAN, Source::Measured],
        about: &[Sysno::ftruncate],
        lies: &[Lie::bytes(Sysno::pread64, 0, b'x'), Lie::bytes(Sysno::pread64, b'x', 0)],
        ..Claim::of_answers(
            "mmap.end.disk-drops-stores",
            |lab| extended(&file_on(lab, &["ext4"])?.0, false),
            &[("the byte behind the old end", Answer::Says("0"))],
        )
    },
    Claim {
        statement: "msync(MS_SYNC) clears what is stored behind the end of a file on ext4 or xfs: made longer, it has zeros there.",
        method: "Stores a byte into the last page, behind the end, synchronizes, and reads it when the file has been extended.",
        sources: &[MAN, Source::Measured],
        about: &[Sysno::ftruncate],
        lies: &[Lie::bytes(Sysno::pread64, 0, b'x')],
        ..Claim::of_answers(
            "mmap.end.disk-synced",
            |lab| extended(&file_on(lab, DISKS)?.0, true),
            &[("msync(MS_SYNC)", Answer::Is(0)), ("the byte behind the old end", Answer::Says("0"))],
        )
    },
    Claim {
        statement: "msync(MS_SYNC) clears what is stored behind the end of a file in memory: made longer, it has zeros there.",
        method: "Stores a byte into the last page, behind the end, synchronizes, and reads it when the file has been extended.",
        sources: &[MAN],
        about: &[Sysno::ftruncate],
        lies: &[Lie::bytes(Sysno::pread64, b'x', 0)],
        ..Claim::of_answers(
            "mmap.end.memfd-synced",
            |_lab| extended(&File::from(sealed_memfd(0)?), true),
            &[("msync(MS_SYNC)", Answer::Is(0)), ("the byte behind the old end", Answer::Says("0"))],
        )
    },
    Claim {
        statement: "A page behind the last one of the file raises SIGBUS; bytes behind the end in the last page are zeros.",
        sources: &[
            MAN,
            Source::Thread(
                "LTP @6958277, testcases/kernel/syscalls/mmap/mmap13.c; gVisor @3c5eee1, test/syscalls/linux/mmap.cc",
            ),
        ],
        about: MMAP,
        lies: &[UNHARMED],
        ..Claim::of_answers(
            "mmap.end.sigbus",
            mmap_end_sigbus,
            &[
                ("load from the last page, behind the end", Answer::Says("exit status 0")),
                ("load from the next page", Answer::Says(SIGBUS)),
            ],
        )
    },
    Claim {
        statement: "read() into a page behind the end of its file fails with EFAULT: no signal is raised.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc, InternalSigBusZeroing")],
        about: &[Sysno::read],
        lies: &Lie::otherwise(Sysno::read),
        ..Claim::of_answers(
            "mmap.end.read-into",
            mmap_end_read_into,
            &[("read(/dev/zero, page behind the end)", Answer::Fails(Errno::EFAULT))],
        )
    },
    Claim {
        statement: "A page behind the end of the file can be loaded from once the file has become longer.",
        method: "Maps two pages of a file of one, then writes a byte to the second.",
        sources: &[MAN, Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc")],
        about: &[Sysno::pwrite64],
        lies: &[Lie::bytes(Sysno::read, b'b', 0)],
        ..Claim::of_answers(
            "mmap.end.grown-file",
            mmap_end_grown_file,
            &[
                ("write(pipe, second page) before", Answer::Fails(Errno::EFAULT)),
                ("pwrite(file, \"b\", 4096)", Answer::Is(1)),
                ("first byte of the second page", Answer::Says("b")),
            ],
        )
    },
    Claim {
        statement: "What a file loses by being truncated does not come back in a mapping when it is made longer: there are zeros.",
        sources: &[
            MAN,
            Source::Thread(
                "LTP @6958277, testcases/kernel/syscalls/mmap/mmap09.c; gVisor @3c5eee1, test/syscalls/linux/mmap.cc",
            ),
        ],
        about: &[Sysno::ftruncate],
        lies: &[Lie::skipped(Sysno::ftruncate), Lie::bytes(Sysno::read, 0, b'b')],
        ..Claim::of_answers(
            "mmap.truncated.grown-again",
            mmap_truncated_grown_again,
            &[
                ("ftruncate(file, 4096)", Answer::Is(0)),
                ("ftruncate(file, 8192)", Answer::Is(0)),
                ("pages of the mapping", Answer::Says("a0")),
            ],
        )
    },
    Claim {
        statement: "A shared mapping shows what is written to its file.",
        sources: &[MAN, Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc")],
        about: &[Sysno::pwrite64],
        lies: &[Lie::bytes(Sysno::read, b'b', b'a')],
        ..Claim::of_answers(
            "mmap.shared.shows-writes",
            |lab| written(lab, SHARED),
            &[("pwrite(file, \"b\", 0)", Answer::Is(1)), ("first byte of the mapping", Answer::Says("b"))],
        )
    },
    Claim {
        statement: "A private mapping shows what is written to its file after mmap(), in pages that it has not stored to.",
        method: "The manual page leaves it open: writes a byte to the file and looks at the mapping.",
        sources: &[MAN, Source::Measured],
        about: &[Sysno::pwrite64],
        lies: &[Lie::bytes(Sysno::read, b'b', b'a')],
        ..Claim::of_answers(
            "mmap.private.shows-writes",
            |lab| written(lab, PRIVATE),
            &[("pwrite(file, \"b\", 0)", Answer::Is(1)), ("first byte of the mapping", Answer::Says("b"))],
        )
    },
    Claim {
        statement: "What is stored to a shared mapping is read from its file at once, without msync().",
        sources: &[MAN, Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc")],
        about: &[Sysno::pread64],
        lies: &[Lie::bytes(Sysno::pread64, b'b', b'a')],
        ..Claim::of_answers(
            "mmap.shared.stores-are-read",
            |lab| stored(lab, SHARED),
            &[("pread(file, 1, 0)", Answer::Is(1)), ("first byte of the file", Answer::Says("b"))],
        )
    },
    Claim {
        statement: "What is stored to a private mapping is not in its file, and the page no longer shows what is written there.",
        sources: &[MAN, Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc")],
        about: &[Sysno::pread64, Sysno::pwrite64],
        lies: &[Lie::bytes(Sysno::pread64, b'a', b'b'), Lie::bytes(Sysno::read, b'b', b'c')],
        ..Claim::of_answers(
            "mmap.private.copy-on-store",
            |lab| stored(lab, PRIVATE),
            &[
                ("pread(file, 1, 0)", Answer::Is(1)),
                ("first byte of the file", Answer::Says("a")),
                ("pwrite(file, \"c\", 0)", Answer::Is(1)),
                ("first byte of the mapping", Answer::Says("b")),
            ],
        )
    },
    Claim {
        statement: "After fork(), a child's stores to a shared mapping are its parent's, too; those to a private one are not.",
        sources: &[MAN],
        about: MMAP,
        lies: &[Lie::bytes(Sysno::read, b'b', b'a'), Lie::bytes(Sysno::read, b'a', b'b')],
        ..Claim::of_answers(
            "mmap.life.fork",
            mmap_life_fork,
            &[
                ("shared mapping after the child's store", Answer::Says("b")),
                ("private mapping after the child's store", Answer::Says("a")),
            ],
        )
    },
    Claim {
        statement: "Stores to a shared mapping of a file on ext4 or xfs change the time of its last change before msync() returns.",
        method: "Twice sets an old time, stores a byte, synchronizes, and compares what fstat() says before and after.",
        sources: &[MAN],
        about: MMAP,
        lies: &[Lie::skipped(Sysno::fstat).after(1)],
        ..Claim::of_answers(
            "mmap.times.disk",
            |lab| change_time(&file_on(lab, DISKS)?.0),
            &[
                ("time after the first store", Answer::Says("updated")),
                ("time after the second store", Answer::Says("updated")),
            ],
        )
    },
    Claim {
        statement: "Stores to a shared mapping of a file in memory change the time of its last change before msync() returns.",
        method: "Twice sets an old time, stores a byte, synchronizes, and compares what fstat() says before and after.",
        sources: &[MAN],
        about: MMAP,
        lies: &[
            Lie::skipped(Sysno::fstat).after(2).where_it(false),
            Lie::skipped(Sysno::fstat).after(1).where_it(true),
        ],
        ..Claim::of_answers(
            "mmap.times.memfd",
            |_lab| change_time(&File::from(sealed_memfd(0)?)),
            &[
                ("time after the first store", Answer::Says("updated")),
                ("time after the second store", Answer::Says("updated")),
            ],
        )
    },
    Claim {
        statement: "A file can be read into a mapping of itself, of the same page even.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc")],
        about: &[Sysno::pread64],
        lies: &[Lie::refused(Sysno::pread64, libc::EFAULT), Lie::bytes(Sysno::read, b'b', b'a')],
        exceptions: &[Exception::Of(Sysno::pread64, What::TooFew, MOVED_AGAIN)],
        ..Claim::of_answers(
            "mmap.self.read",
            |lab| onto_itself(lab, Sysno::pread64),
            &[("bytes moved", Answer::Is(2048)), ("the page", Answer::Says("b"))],
        )
    },
    Claim {
        statement: "A file can be written from a mapping of itself, of the same page even.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc")],
        about: &[Sysno::pwrite64],
        lies: &[Lie::refused(Sysno::pwrite64, libc::EFAULT), Lie::bytes(Sysno::read, b'a', b'b')],
        exceptions: &[Exception::Of(Sysno::pwrite64, What::TooFew, MOVED_AGAIN)],
        ..Claim::of_answers(
            "mmap.self.write",
            |lab| onto_itself(lab, Sysno::pwrite64),
            &[("bytes moved", Answer::Is(2048)), ("the page", Answer::Says("a"))],
        )
    },
    Claim {
        statement: "PROT_EXEC fails with EPERM in mmap(), and with EACCES in mprotect(), for a file on a noexec mount.",
        sources: &[MAN, MPROTECT],
        about: &[Sysno::mmap, Sysno::mprotect],
        lies: &[
            Lie::accepted(Sysno::mmap),
            Lie::about(Sysno::mmap, What::OtherErrno(libc::EACCES)),
            Lie::accepted(Sysno::mprotect),
            Lie::about(Sysno::mprotect, What::OtherErrno(libc::EPERM)),
        ],
        ..Claim::of_answers(
            "mmap.protection.noexec",
            mmap_protection_noexec,
            &[
                ("mmap(PROT_EXEC)", Answer::Fails(Errno::EPERM)),
                ("mmap(PROT_READ)", Answer::Says("mapped")),
                ("mprotect(PROT_READ|PROT_EXEC)", Answer::Fails(Errno::EACCES)),
            ],
        )
    },
    Claim {
        statement: "A load from a PROT_NONE mapping raises SIGSEGV; for write() such memory is EFAULT.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mmap/mmap05.c")],
        about: MMAP,
        lies: &[UNHARMED, Lie::accepted(Sysno::write)],
        ..Claim::of_answers(
            "mmap.protection.none",
            mmap_protection_none,
            &[
                ("mmap(PROT_NONE)", Answer::Says("mapped")),
                ("load from the page", Answer::Says(SIGSEGV)),
                ("write(pipe, the page)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "A store to a mapping without PROT_WRITE raises SIGSEGV; read() into it fails with EFAULT.",
        sources: &[MAN],
        about: MMAP,
        lies: &[UNHARMED, Lie::accepted(Sysno::read)],
        ..Claim::of_answers(
            "mmap.protection.read-only",
            mmap_protection_read_only,
            &[
                ("mmap(PROT_READ)", Answer::Says("mapped")),
                ("store to the page", Answer::Says(SIGSEGV)),
                ("read(/dev/zero, the page)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "mprotect() refuses PROT_WRITE of a shared mapping of a read-only file with EACCES; of a private one it grants it.",
        sources: &[MPROTECT],
        about: &[Sysno::mprotect],
        lies: &[
            Lie::accepted(Sysno::mprotect),
            Lie::about(Sysno::mprotect, What::OtherErrno(libc::EPERM)),
            Lie::refused(Sysno::mprotect, libc::EACCES).after(1),
        ],
        ..Claim::of_answers(
            "mmap.protection.read-only-file",
            mmap_protection_read_only_file,
            &[
                ("mprotect(shared page, PROT_WRITE)", Answer::Fails(Errno::EACCES)),
                ("mprotect(private page, PROT_WRITE)", Answer::Is(0)),
                ("store to the private page", Answer::Says("exit status 0")),
            ],
        )
    },
    Claim {
        statement: "MAP_POPULATE brings a file's pages into memory before they are touched.",
        method: "Asks mincore() about a memfd that nobody has written, without and with the flag.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mmap/mmap12.c")],
        about: MMAP,
        lies: &[Lie::about(Sysno::mincore, What::Output { argument: 2, value: 0 })],
        ..Claim::of_answers(
            "mmap.populate.resident",
            mmap_populate_resident,
            &[
                ("pages in memory without MAP_POPULATE", Answer::Is(0)),
                ("pages in memory with MAP_POPULATE", Answer::Is(16)),
            ],
        )
    },
    Claim {
        statement: "MAP_POPULATE of more than the file has does not fail.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc, MapPopulateShort")],
        about: MMAP,
        lies: &[Lie::refused(Sysno::mmap, libc::EFAULT), Lie::bytes(Sysno::read, b'a', 0)],
        ..Claim::of_answers(
            "mmap.populate.behind-the-end",
            mmap_populate_behind_the_end,
            &[
                ("mmap(four pages of one, MAP_POPULATE)", Answer::Says("mapped")),
                ("first page", Answer::Says("a")),
                ("write(pipe, fourth page)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "A mapping with MAP_LOCKED counts as locked memory: VmLck grows by its length.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mmap/mmap14.c")],
        about: MMAP,
        lies: &[Lie::bytes(Sysno::read, b'6', b'7')],
        resources: &[crate::claim::Resource::UserMemlock],
        ..Claim::of_answers(
            "mmap.locked.counted",
            mmap_locked_counted,
            &[("mmap(four pages, MAP_LOCKED)", Answer::Says("mapped")), ("KiB added to VmLck", Answer::Is(16))],
        )
    },
    Claim {
        statement: "MAP_DENYWRITE and MAP_EXECUTABLE are ignored: the file can still be opened and written.",
        sources: &[MAN],
        about: &[Sysno::mmap, Sysno::pwrite64],
        lies: &[Lie::refused(Sysno::mmap, libc::EINVAL), Lie::refused(Sysno::pwrite64, libc::ETXTBSY)],
        ..Claim::of_answers(
            "mmap.flags.denywrite",
            mmap_flags_denywrite,
            &[
                ("mmap(MAP_DENYWRITE|MAP_EXECUTABLE)", Answer::Says("mapped")),
                ("pwrite(file, \"b\", 0)", Answer::Is(1)),
                ("first byte of the mapping", Answer::Says("b")),
            ],
        )
    },
    Claim {
        statement: "munmap() of one byte unmaps its page; the pages around it stay.",
        sources: &[MAN],
        about: &[Sysno::munmap],
        lies: &[Lie::skipped(Sysno::munmap), Lie::bytes(Sysno::read, b'c', b'x')],
        ..Claim::of_answers(
            "mmap.munmap.middle",
            mmap_munmap_middle,
            &[
                ("munmap(second page of three, 1)", Answer::Is(0)),
                ("second page", Answer::Says("gone")),
                ("first page", Answer::Says("a")),
                ("third page", Answer::Says("c")),
            ],
        )
    },
    Claim {
        statement: "A later mapping with MAP_FIXED replaces the page that it overlaps, and no other.",
        sources: &[MAN, Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc")],
        about: MMAP,
        lies: &[Lie::bytes(Sysno::read, b'a', b'b'), Lie::bytes(Sysno::read, b'c', b'x')],
        ..Claim::of_answers("mmap.fixed.replaces", mmap_fixed_replaces, &[("pages of the area", Answer::Says("aac"))])
    },
    Claim {
        statement: "With MREMAP_MAYMOVE a mapping that has no room grows elsewhere, and shows more of its file.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap01.c")],
        about: REMAP,
        lies: &[Lie::refused(Sysno::mremap, libc::ENOMEM), Lie::bytes(Sysno::read, b'c', b'x')],
        ..Claim::of_answers(
            "mmap.mremap.moves",
            mmap_mremap_moves,
            &[
                ("mremap(page, 4096, 12288, MREMAP_MAYMOVE)", Answer::Says("mapped")),
                ("pages at the new address", Answer::Says("abc")),
                ("the old page", Answer::Says("gone")),
            ],
        )
    },
    Claim {
        statement: "Without MREMAP_MAYMOVE a mapping grows where it is, or, before another one, fails with ENOMEM.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap04.c")],
        about: REMAP,
        lies: REMAP_OTHERWISE,
        ..Claim::of_answers(
            "mmap.mremap.in-place",
            mmap_mremap_in_place,
            &[
                ("mremap(page before another, 4096, 8192)", Answer::Fails(Errno::ENOMEM)),
                ("mremap(page before nothing, 4096, 8192)", Answer::Says("in place")),
                ("pages there", Answer::Says("ab")),
            ],
        )
    },
    Claim {
        statement: "mremap() to a smaller length unmaps the rest, and leaves the beginning where it is.",
        sources: &[MREMAP],
        about: REMAP,
        lies: &[Lie::skipped(Sysno::mremap)],
        ..Claim::of_answers(
            "mmap.mremap.shrinks",
            mmap_mremap_shrinks,
            &[
                ("mremap(three pages, 12288, 4096)", Answer::Says("in place")),
                ("first page", Answer::Says("a")),
                ("second page", Answer::Says("gone")),
            ],
        )
    },
    Claim {
        statement: "mremap() of memory that is not mapped, or that a grown range would not be of one mapping, fails with EFAULT.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap03.c")],
        about: REMAP,
        lies: REMAP_OTHERWISE,
        ..Claim::of_answers(
            "mmap.mremap.efault",
            mmap_mremap_efault,
            &[
                ("mremap(unmapped page, 4096, 8192)", Answer::Fails(Errno::EFAULT)),
                ("mremap(page and a hole, 8192, 12288)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "MREMAP_FIXED without MREMAP_MAYMOVE, to an address inside a page or inside the old range, fails with EINVAL.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap05.c")],
        about: REMAP,
        lies: REMAP_OTHERWISE,
        ..Claim::of_answers(
            "mmap.mremap.fixed-einval",
            mmap_mremap_fixed_einval,
            &[
                ("mremap(MREMAP_FIXED alone)", Answer::Fails(Errno::EINVAL)),
                ("mremap(to page + 1)", Answer::Fails(Errno::EINVAL)),
                ("mremap(to its second page)", Answer::Fails(Errno::EINVAL)),
                ("unknown flag", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "With MREMAP_FIXED the mapping is moved to the address, and what was mapped there is gone.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap05.c")],
        about: REMAP,
        lies: &[Lie::refused(Sysno::mremap, libc::EINVAL), Lie::bytes(Sysno::read, b'b', b'x')],
        ..Claim::of_answers(
            "mmap.mremap.fixed-moves",
            mmap_mremap_fixed_moves,
            &[
                ("mremap(second page, over the first)", Answer::Says("there")),
                ("the page there", Answer::Says("b")),
                ("the old page", Answer::Says("gone")),
            ],
        )
    },
    Claim {
        statement: "mremap() from no bytes of a shared mapping makes a second mapping of the same pages.",
        sources: &[MREMAP],
        about: REMAP,
        lies: &[Lie::refused(Sysno::mremap, libc::EINVAL), Lie::bytes(Sysno::read, b'z', b'a')],
        ..Claim::of_answers(
            "mmap.mremap.duplicates",
            mmap_mremap_duplicates,
            &[
                ("mremap(shared page, 0, 4096, MREMAP_MAYMOVE)", Answer::Says("mapped")),
                ("the old page", Answer::Says("mapped")),
                ("stored in the old one, seen in the new one", Answer::Says("z")),
            ],
        )
    },
    Claim {
        statement: "With MREMAP_DONTUNMAP a file's mapping is moved, and its old range stays mapped.",
        sources: &[MREMAP, Source::Thread("Linux 5.13, commit a4609387859f")],
        gates: &[
            gate("5.7", "private anonymous memory can be moved with MREMAP_DONTUNMAP", MREMAP),
            gate("5.13", "other mappings can, too", Source::Thread("Linux 5.13, commit a4609387859f")),
        ],
        about: REMAP,
        lies: &[
            Lie::refused(Sysno::mremap, libc::EINVAL).where_it(true),
            Lie::bytes(Sysno::read, b'a', b'x').where_it(true),
        ],
        exceptions: &[Exception::Lacking("no lie moves a page and leaves its old range mapped")],
        ..Claim::of_answers(
            "mmap.mremap.dontunmap",
            mmap_mremap_dontunmap,
            &[
                ("mremap(page, MREMAP_DONTUNMAP)", Answer::Says("there")),
                ("the page there", Answer::Says("a")),
                ("the old page", Answer::Says("mapped")),
            ],
        )
    },
    Claim {
        statement: "mremap() that moves and does not resize takes a range of several mappings.",
        method: "Moves two pages of different protection in one call.",
        sources: &[MREMAP],
        gates: &[gate("6.17", "a pure move may span several mappings", MREMAP)],
        about: REMAP,
        lies: &[
            Lie::refused(Sysno::mremap, libc::EFAULT).where_it(true),
            Lie::bytes(Sysno::read, b'b', b'x').where_it(true),
            Lie::about(Sysno::mremap, What::OtherErrno(libc::ENOLINK)).where_it(false),
        ],
        ..Claim::new("mmap.mremap.several", mmap_mremap_several, |seen| {
            let moved = seen.is("pages of the target", "ab");
            Verdict::holds_if(!seen.failed_with(SEVERAL, Errno::EFAULT) && (moved || seen.failed(SEVERAL)))
        })
    },
];

const SHARED_SYNC: &str = "mmap(MAP_SHARED|MAP_SYNC)";
const VALIDATED_SYNC: &str = "mmap(MAP_SHARED_VALIDATE|MAP_SYNC)";
const MOVED_AGAIN: &str = "the last byte is moved again, and is the same";
const SEVERAL: &str = "mremap(two mappings, to other pages)";
const DISKS: &[&str] = &["ext4", "xfs"];
const SIGBUS: &str = "signal 7";
const SIGSEGV: &str = "signal 11";

fn map_sync(file: &impl AsFd) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for (fact, flags) in [(SHARED_SYNC, SHARED | SYNC), (VALIDATED_SYNC, VALIDATE | SYNC)] {
        note(&mut seen, fact, map(file, PAGE, READ, flags, 0))?;
    }
    Ok(seen)
}

/// `ftruncate` of any length.
pub(super) fn truncate(file: &File, length: usize) -> Result<usize, Errno> {
    // SAFETY: ftruncate takes no pointer.
    unsafe { ask(Sysno::ftruncate, [argument(file), length, 0, 0, 0, 0]) }
}

/// Maps a file for an experiment about another call.
pub(super) fn mapped(file: &impl AsFd, pages: usize, protection: usize, flags: usize) -> Result<usize, Stop> {
    aside(|| map(file, pages * PAGE, protection, flags, 0)).setup("mmap")
}

/// Maps a page of a file at a free address.
pub(super) fn mapped_at(address: usize, file: &File, page: usize, protection: usize) -> Result<usize, Stop> {
    let flags = PRIVATE | NO_REPLACE;
    // SAFETY: with MAP_FIXED_NOREPLACE nothing is replaced.
    aside(|| unsafe { map_with(file, address, PAGE, protection, flags, page * PAGE) }).setup("mmap")
}

/// The result of `look` if there is a mapping. Otherwise it is `no mapping`.
pub(super) fn of_mapped(
    address: Result<usize, Errno>,
    look: impl FnOnce(usize) -> Result<String, Stop>,
) -> Result<String, Stop> {
    match address {
        Ok(address) if is_mapped(address)? => look(address),
        _ => Ok("no mapping".to_owned()),
    }
}

/// Notes whether a page is mapped.
pub(super) fn note_page(seen: &mut Observation, fact: &str, address: usize) -> Result<(), Stop> {
    seen.text(fact, if is_mapped(address)? { "mapped" } else { "gone" });
    Ok(())
}

/// Notes whether an address is the requested one.
pub(super) fn note_place(seen: &mut Observation, fact: &str, moved: Result<usize, Errno>, wanted: usize, word: &str) {
    match moved {
        Ok(address) if address == wanted => seen.text(fact, word),
        Ok(_) => seen.text(fact, "elsewhere"),
        Err(errno) => seen.call(fact, Err(errno)),
    };
}

/// Calls `mremap`, which may remove mappings of the experiment.
pub(super) fn remap(address: usize, from: usize, to: usize, flags: usize, target: usize) -> Result<usize, Errno> {
    // SAFETY: no reference exists to memory that is mapped for an experiment, and targets are pages of the experiment.
    unsafe { ask(Sysno::mremap, [address, from, to, flags, target, 0]) }
}

/// Stores a byte past the end of a file, makes the file longer, and reads the byte.
fn extended(file: &File, synced: bool) -> Result<Observation, Stop> {
    aside(|| io::pwrite_all(file, &[alias::OLD; 100], 0)).setup("write the file")?;
    let page = mapped(file, 1, READ | WRITE, SHARED)?;
    // SAFETY: the page belongs to this function, and is the file's last page.
    unsafe { store(page + 200, b'x') };
    let mut seen = Observation::new();
    if synced {
        let synced = sync(page, PAGE, libc::MS_SYNC).setup("msync")?;
        seen.call("msync(MS_SYNC)", Ok(synced));
    }
    seen.call("ftruncate(file, 4096)", truncate(file, PAGE));
    let mut byte = [b'?'];
    io::pread_full(file, &mut byte, 200).setup("pread")?;
    let word = match byte {
        [0] => "0",
        [b'x'] => "x",
        _ => "neither",
    };
    seen.text("the byte behind the old end", word);
    Ok(seen)
}

fn mmap_end_sigbus(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[alias::OLD; 100])?;
    let mut seen = Observation::new();
    let page = map(&file, 2 * PAGE, READ, SHARED, 0);
    note(&mut seen, "mmap(two pages of a file of 100 bytes)", page)?;
    let page = page.setup("mmap")?;
    seen.text("load from the last page, behind the end", load(page + 200)?);
    seen.text("load from the next page", load(page + PAGE)?);
    Ok(seen)
}

/// Calls `read` on `/dev/zero` into memory that may be inaccessible.
fn read_into(address: usize) -> Result<Result<usize, Errno>, Stop> {
    let zero = aside(|| File::open("/dev/zero")).setup("open /dev/zero")?;
    // SAFETY: the kernel checks every access, and no reference exists to memory that is mapped for an experiment.
    Ok(io::again(|| unsafe { ask(Sysno::read, [argument(&zero), address, 1, 0, 0, 0]) }))
}

fn mmap_end_read_into(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[alias::OLD; 100])?;
    let page = mapped(&file, 2, READ | WRITE, SHARED)?;
    let mut seen = Observation::new();
    seen.call("read(/dev/zero, page behind the end)", read_into(page + PAGE)?);
    Ok(seen)
}

fn mmap_end_grown_file(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let page = mapped(&file, 2, READ, SHARED)?;
    let mut seen = Observation::new();
    seen.call("write(pipe, second page) before", touch(page + PAGE)?);
    let written = io::pwrite(&file, b"b", PAGE as u64);
    seen.call("pwrite(file, \"b\", 4096)", written);
    let second = written.map(|_| page + PAGE);
    seen.text("first byte of the second page", of_mapped(second, letter)?);
    Ok(seen)
}

fn mmap_truncated_grown_again(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 2)?;
    let page = mapped(&file, 2, READ, SHARED)?;
    if aside(|| letters(page, 2))? != "ab" {
        return Err(Stop::broken("the mapping does not show the file"));
    }
    let mut seen = Observation::new();
    for length in [PAGE, 2 * PAGE] {
        seen.call(format!("ftruncate(file, {length})"), truncate(&file, length));
    }
    seen.text("pages of the mapping", letters(page, 2)?);
    Ok(seen)
}

fn written(lab: &Lab, flags: usize) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let page = mapped(&file, 1, READ | WRITE, flags)?;
    if aside(|| letter(page))? != "a" {
        return Err(Stop::broken("the mapping does not show the file"));
    }
    let mut seen = Observation::new();
    seen.call("pwrite(file, \"b\", 0)", io::pwrite(&file, b"b", 0));
    seen.text("first byte of the mapping", letter(page)?);
    Ok(seen)
}

fn stored(lab: &Lab, flags: usize) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let page = mapped(&file, 1, READ | WRITE, flags)?;
    // SAFETY: the page belongs to this function, and lies in the file.
    unsafe { store(page, b'b') };
    let mut seen = Observation::new();
    let mut byte = [b'?'];
    seen.call("pread(file, 1, 0)", io::pread(&file, &mut byte, 0));
    seen.text("first byte of the file", char::from(byte[0]));
    if flags == PRIVATE {
        seen.call("pwrite(file, \"c\", 0)", io::pwrite(&file, b"c", 0));
        aside(|| io::pread(&file, &mut byte, 0)).setup("pread")?;
        seen.text("first byte of the file after pwrite()", char::from(byte[0]));
        seen.text("first byte of the mapping", letter(page)?);
    }
    Ok(seen)
}

fn mmap_life_fork(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let mut seen = Observation::new();
    // The private mapping comes first, because a store to the shared one changes the file.
    for (name, flags) in [("private", PRIVATE), ("shared", SHARED)] {
        let page = map(&file, PAGE, READ | WRITE, flags, 0);
        note(&mut seen, &format!("mmap({name})"), page)?;
        let page = page.setup("mmap")?;
        seen.text(format!("store to the {name} mapping in a child"), store_in_child(page, b'b')?);
        seen.text(format!("{name} mapping after the child's store"), letter(page)?);
    }
    Ok(seen)
}

fn change_time(file: &File) -> Result<Observation, Stop> {
    aside(|| io::pwrite_all(file, &[alias::OLD; PAGE], 0)).setup("write the file")?;
    let mut status = Status::default();
    let mut changed = || status.last_change(file);
    let mut seen = Observation::new();
    let page = map(file, PAGE, READ | WRITE, SHARED, 0);
    note(&mut seen, "mmap(PROT_WRITE, MAP_SHARED)", page)?;
    let page = page.setup("mmap")?;
    for which in ["first", "second"] {
        set_old_time(file)?;
        let before = changed()?;
        // SAFETY: the page belongs to this function, and lies in the file.
        unsafe { store(page, b'x') };
        let synced = sync(page, PAGE, libc::MS_SYNC).setup("msync")?;
        seen.call(format!("msync(MS_SYNC) after the {which} store"), Ok(synced));
        let kept = changed()? == before;
        let word = if kept { "as before" } else { "updated" };
        seen.text(format!("time after the {which} store"), word);
    }
    Ok(seen)
}

/// Copies half a page of a file to a place where a mapping shows the other half, by `pread64` or `pwrite64`.
fn onto_itself(lab: &Lab, call: Sysno) -> Result<Observation, Stop> {
    const HALF: usize = PAGE / 2;
    let file = lab.file(&[[b'a'; HALF], [b'b'; HALF]].concat())?;
    let page = mapped(&file, 1, READ | WRITE, SHARED)?;
    let moved = io::until_done(HALF, |done| {
        let arguments = [argument(&file), page + done, HALF - done, HALF + done, 0, 0];
        // SAFETY: the half page belongs to this function, and no reference to it exists.
        unsafe { ask(call, arguments) }
    });
    let mut seen = Observation::new();
    seen.call("bytes moved", moved);
    seen.text("the page", letters(page, 1)?);
    Ok(seen)
}

fn mmap_protection_noexec(_lab: &Lab) -> Result<Observation, Stop> {
    let file = mounts::empty_file(mounts::NOEXEC)?;
    let mut seen = Observation::new();
    note(&mut seen, "mmap(PROT_EXEC)", map(&file, PAGE, READ | EXECUTE, PRIVATE, 0))?;
    let page = map(&file, PAGE, READ, PRIVATE, 0);
    note(&mut seen, "mmap(PROT_READ)", page)?;
    seen.call("mprotect(PROT_READ|PROT_EXEC)", protect(page.setup("mmap")?, PAGE, READ | EXECUTE));
    Ok(seen)
}

/// Calls `mprotect` on pages of the experiment.
pub(super) fn protect(address: usize, length: usize, protection: usize) -> Result<usize, Errno> {
    // SAFETY: no reference exists to memory that is mapped for an experiment.
    unsafe { ask(Sysno::mprotect, [address, length, protection, 0, 0, 0]) }
}

fn mmap_protection_none(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let mut seen = Observation::new();
    let page = map(&file, PAGE, 0, SHARED, 0);
    note(&mut seen, "mmap(PROT_NONE)", page)?;
    let page = page.setup("mmap")?;
    seen.text("load from the page", load(page)?);
    seen.call("write(pipe, the page)", touch(page)?);
    Ok(seen)
}

fn mmap_protection_read_only(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let mut seen = Observation::new();
    let page = map(&file, PAGE, READ, SHARED, 0);
    note(&mut seen, "mmap(PROT_READ)", page)?;
    let page = page.setup("mmap")?;
    seen.text("store to the page", store_in_child(page, b'x')?);
    seen.call("read(/dev/zero, the page)", read_into(page)?);
    Ok(seen)
}

fn mmap_protection_read_only_file(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let read_only = reopen(&file, File::options().read(true))?;
    let mut seen = Observation::new();
    for (name, flags) in [("shared", SHARED), ("private", PRIVATE)] {
        let page = mapped(&read_only, 1, READ, flags)?;
        let fact = format!("mprotect({name} page, PROT_WRITE)");
        seen.call(fact, protect(page, PAGE, READ | WRITE));
        seen.text(format!("store to the {name} page"), store_in_child(page, b'x')?);
    }
    Ok(seen)
}

fn mmap_populate_resident(_lab: &Lab) -> Result<Observation, Stop> {
    const PAGES: usize = 16;
    let file = File::from(sealed_memfd(0)?);
    aside(|| io::truncate(&file, (PAGES * PAGE) as u64)).setup("ftruncate")?;
    let mut seen = Observation::new();
    for (name, flags) in [("without", SHARED), ("with", SHARED | POPULATE)] {
        let pages = map(&file, PAGES * PAGE, READ, flags, 0);
        note(&mut seen, &format!("mmap() {name} MAP_POPULATE"), pages)?;
        let count = resident(pages.setup("mmap")?, PAGES)?;
        seen.count(format!("pages in memory {name} MAP_POPULATE"), count);
    }
    Ok(seen)
}

fn mmap_populate_behind_the_end(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let mut seen = Observation::new();
    let pages = map(&file, 4 * PAGE, READ, PRIVATE | POPULATE, 0);
    note(&mut seen, "mmap(four pages of one, MAP_POPULATE)", pages)?;
    seen.text("first page", of_mapped(pages, |page| letters(page, 1))?);
    let behind = pages.map_or(io::NOWHERE, |pages| pages + 3 * PAGE);
    seen.call("write(pipe, fourth page)", touch(behind)?);
    Ok(seen)
}

fn mmap_locked_counted(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 4)?;
    let locked = || {
        let text = std::fs::read_to_string("/proc/self/status").setup("read /proc/self/status")?;
        let field = text.lines().find_map(|line| line.strip_prefix("VmLck:"));
        let number = field.and_then(|field| field.split_whitespace().next()?.parse::<u64>().ok());
        number.ok_or_else(|| {
            Stop::untestable(
                Lack::Kernel,
                "/proc/self/status has no VmLck",
                "use a kernel that counts locked memory there",
            )
        })
    };
    let mut seen = Observation::new();
    let before = locked()?;
    note(&mut seen, "mmap(four pages, MAP_LOCKED)", map(&file, 4 * PAGE, READ, PRIVATE | LOCKED, 0))?;
    seen.count("KiB added to VmLck", locked()?.saturating_sub(before));
    Ok(seen)
}

fn mmap_flags_denywrite(lab: &Lab) -> Result<Observation, Stop> {
    const IGNORED: usize = (libc::MAP_DENYWRITE | libc::MAP_EXECUTABLE) as usize;
    let file = lettered(lab, 1)?;
    let mut seen = Observation::new();
    let page = map(&file, PAGE, READ, SHARED | IGNORED, 0);
    note(&mut seen, "mmap(MAP_DENYWRITE|MAP_EXECUTABLE)", page)?;
    let writable = reopen(&file, File::options().write(true))?;
    seen.call("pwrite(file, \"b\", 0)", io::pwrite(&writable, b"b", 0));
    seen.text("first byte of the mapping", of_mapped(page, letter)?);
    Ok(seen)
}

fn mmap_munmap_middle(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 3)?, 3, READ, PRIVATE)?;
    let mut seen = Observation::new();
    // SAFETY: the page belongs to this function.
    let unmapped = unsafe { ask(Sysno::munmap, [page + PAGE, 1, 0, 0, 0, 0]) };
    seen.call("munmap(second page of three, 1)", unmapped);
    note_page(&mut seen, "second page", page + PAGE)?;
    seen.text("first page", letters(page, 1)?);
    seen.text("third page", letters(page + 2 * PAGE, 1)?);
    Ok(seen)
}

fn mmap_fixed_replaces(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 3)?;
    let area = mapped(&file, 3, READ, PRIVATE)?;
    let mut seen = Observation::new();
    // SAFETY: the page that is replaced belongs to this function.
    let fixed = unsafe { map_with(&file, area + PAGE, PAGE, READ, PRIVATE | FIXED, 0) };
    note_place(&mut seen, "mmap(second page, MAP_FIXED)", fixed, area + PAGE, "there");
    seen.text("pages of the area", letters(area, 3)?);
    Ok(seen)
}

fn mmap_mremap_moves(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 3)?;
    let area = free_pages(lab, 2)?;
    let page = mapped_at(area, &file, 0, READ)?;
    mapped_at(area + PAGE, &lettered(lab, 1)?, 0, READ)?;
    let mut seen = Observation::new();
    let moved = remap(page, PAGE, 3 * PAGE, MAY_MOVE, 0);
    note(&mut seen, "mremap(page, 4096, 12288, MREMAP_MAYMOVE)", moved)?;
    let pages = of_mapped(moved, |pages| letters(pages, 3))?;
    seen.text("pages at the new address", pages);
    note_page(&mut seen, "the old page", page)?;
    Ok(seen)
}

fn mmap_mremap_in_place(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 2)?;
    let area = free_pages(lab, 4)?;
    let before_another = mapped_at(area, &file, 0, READ)?;
    let before_nothing = mapped_at(area + PAGE, &lettered(lab, 2)?, 0, READ)?;
    let mut seen = Observation::new();
    let grown = remap(before_another, PAGE, 2 * PAGE, 0, 0);
    note(&mut seen, "mremap(page before another, 4096, 8192)", grown)?;
    let grown = remap(before_nothing, PAGE, 2 * PAGE, 0, 0);
    let fact = "mremap(page before nothing, 4096, 8192)";
    note_place(&mut seen, fact, grown, before_nothing, "in place");
    let pages = of_mapped(grown, |pages| letters(pages, 2))?;
    seen.text("pages there", pages);
    Ok(seen)
}

fn mmap_mremap_shrinks(lab: &Lab) -> Result<Observation, Stop> {
    let area = mapped(&lettered(lab, 3)?, 3, READ, PRIVATE)?;
    let mut seen = Observation::new();
    let shrunk = remap(area, 3 * PAGE, PAGE, 0, 0);
    note_place(&mut seen, "mremap(three pages, 12288, 4096)", shrunk, area, "in place");
    seen.text("first page", letters(area, 1)?);
    note_page(&mut seen, "second page", area + PAGE)?;
    Ok(seen)
}

fn mmap_mremap_efault(lab: &Lab) -> Result<Observation, Stop> {
    let area = free_pages(lab, 2)?;
    let mut seen = Observation::new();
    let nothing = remap(area, PAGE, 2 * PAGE, MAY_MOVE, 0);
    note(&mut seen, "mremap(unmapped page, 4096, 8192)", nothing)?;
    let page = mapped_at(area, &lettered(lab, 1)?, 0, READ)?;
    let hole = remap(page, 2 * PAGE, 3 * PAGE, MAY_MOVE, 0);
    note(&mut seen, "mremap(page and a hole, 8192, 12288)", hole)?;
    Ok(seen)
}

fn mmap_mremap_fixed_einval(lab: &Lab) -> Result<Observation, Stop> {
    const UNKNOWN: usize = 8;
    let area = mapped(&lettered(lab, 2)?, 2, READ, PRIVATE)?;
    let target = free_pages(lab, 3)?;
    let mut seen = Observation::new();
    for (fact, flags, target) in [
        ("mremap(MREMAP_FIXED alone)", TO_FIXED, target),
        ("mremap(to page + 1)", MAY_MOVE | TO_FIXED, target + 1),
        ("mremap(to its second page)", MAY_MOVE | TO_FIXED, area + PAGE),
        ("unknown flag", MAY_MOVE | UNKNOWN, 0),
    ] {
        note(&mut seen, fact, remap(area, 2 * PAGE, 2 * PAGE, flags, target))?;
    }
    Ok(seen)
}

fn mmap_mremap_fixed_moves(lab: &Lab) -> Result<Observation, Stop> {
    let area = mapped(&lettered(lab, 2)?, 2, READ, PRIVATE)?;
    let mut seen = Observation::new();
    let moved = remap(area + PAGE, PAGE, PAGE, MAY_MOVE | TO_FIXED, area);
    note_place(&mut seen, "mremap(second page, over the first)", moved, area, "there");
    seen.text("the page there", letters(area, 1)?);
    note_page(&mut seen, "the old page", area + PAGE)?;
    Ok(seen)
}

fn mmap_mremap_duplicates(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ | WRITE, SHARED)?;
    let mut seen = Observation::new();
    let second = remap(page, 0, PAGE, MAY_MOVE, 0);
    note(&mut seen, "mremap(shared page, 0, 4096, MREMAP_MAYMOVE)", second)?;
    note_page(&mut seen, "the old page", page)?;
    // SAFETY: the page belongs to this function, and lies in the file.
    unsafe { store(page, b'z') };
    let byte = of_mapped(second, letter)?;
    seen.text("stored in the old one, seen in the new one", byte);
    Ok(seen)
}

fn mmap_mremap_dontunmap(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ, PRIVATE)?;
    let target = free_pages(lab, 1)?;
    let mut seen = Observation::new();
    let moved = remap(page, PAGE, PAGE, MAY_MOVE | TO_FIXED | DONT_UNMAP, target);
    note_place(&mut seen, "mremap(page, MREMAP_DONTUNMAP)", moved, target, "there");
    let there = of_mapped(Ok(target), |page| letters(page, 1))?;
    seen.text("the page there", there);
    note_page(&mut seen, "the old page", page)?;
    Ok(seen)
}

fn mmap_mremap_several(lab: &Lab) -> Result<Observation, Stop> {
    let area = mapped(&lettered(lab, 2)?, 2, READ, PRIVATE)?;
    aside(|| protect(area, PAGE, READ | WRITE)).setup("mprotect")?;
    let target = mapped(&lettered(lab, 1)?, 2, READ, PRIVATE)?;
    let mut seen = Observation::new();
    let moved = remap(area, 2 * PAGE, 2 * PAGE, MAY_MOVE | TO_FIXED, target);
    note_place(&mut seen, SEVERAL, moved, target, "there");
    // A kernel that refuses the call may have unmapped the target before.
    let pages = if moved.is_ok() { 2 } else { 1 };
    let there = of_mapped(Ok(target), |address| letters(address, pages))?;
    seen.text("pages of the target", there);
    note_page(&mut seen, "the first page where it was", area)?;
    Ok(seen)
}
