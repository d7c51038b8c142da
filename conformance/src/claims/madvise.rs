//! `madvise` and `mincore` of mapped files.

use super::mmap::{PRIVATE, READ, SHARED, WRITE, map};
use super::mmap_manual::free_pages;
use super::mmap_pages::{mapped, mapped_at};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::Lab;
use crate::lab::io::{self, NO_FD, NOWHERE, ask};
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{PAGE, account, letter, lettered, letters_of, resident, store};
use crate::verdict::{Observation, Setup, Stop, Value, Verdict};
use std::fs::File;
use std::path::Path;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("madvise(2), man-pages 6.20");
const MINCORE: Source = Source::Man("mincore(2), man-pages 6.20");
const LTP: Source = Source::Thread("LTP @6958277, testcases/kernel/syscalls/madvise/madvise02.c");
const MADVISE: &[Sysno] = &[Sysno::madvise];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::madvise);

/// Claims about advice.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "MADV_DONTNEED of a private mapping drops what was stored: it shows the file again.",
        sources: &[MAN],
        about: MADVISE,
        lies: &[Lie::skipped(Sysno::madvise), Lie::bytes(Sysno::read, b'a', b'z')],
        ..Claim::of_answers(
            "mmap.madvise.dontneed-private",
            madvise_dontneed_private,
            &[("madvise(MADV_DONTNEED)", Answer::Is(0)), ("the byte that was stored", Answer::Says("a"))],
        )
    },
    Claim {
        statement: "MADV_DONTNEED of anonymous memory drops what was stored: there are zeros.",
        sources: &[MAN],
        about: MADVISE,
        lies: &[Lie::skipped(Sysno::madvise), Lie::bytes(Sysno::read, 0, b'z')],
        ..Claim::of_answers(
            "mmap.madvise.dontneed-anonymous",
            madvise_dontneed_anonymous,
            &[("madvise(MADV_DONTNEED)", Answer::Is(0)), ("the byte that was stored", Answer::Says("0"))],
        )
    },
    Claim {
        statement: "MADV_DONTNEED of a shared mapping takes its pages from the process, and loses nothing of what was stored.",
        sources: &[MAN],
        about: MADVISE,
        lies: &[Lie::skipped(Sysno::madvise), Lie::bytes(Sysno::read, b'z', b'a')],
        ..Claim::of_answers(
            "mmap.madvise.dontneed-shared",
            madvise_dontneed_shared,
            &[
                ("Rss of the mapping after the store", Answer::Says("4 kB")),
                ("madvise(MADV_DONTNEED)", Answer::Is(0)),
                ("Rss of the mapping after madvise()", Answer::Says("0 kB")),
                ("the byte that was stored", Answer::Says("z")),
            ],
        )
    },
    Claim {
        statement: "MADV_DONTNEED of locked memory fails with EINVAL.",
        sources: &[MAN, LTP],
        about: MADVISE,
        lies: OTHERWISE,
        resources: &[Resource::UserMemlock],
        ..Claim::of_answers(
            "mmap.madvise.locked",
            madvise_locked,
            &[("madvise(locked page, MADV_DONTNEED)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "madvise() refuses an unknown advice, an address inside a page, a length that wraps around, and MADV_FREE of a file, with EINVAL.",
        sources: &[MAN, LTP],
        about: MADVISE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.madvise.einval",
            madvise_einval,
            &[
                ("madvise(page, unknown advice)", Answer::Fails(Errno::EINVAL)),
                ("madvise(page + 1, MADV_NORMAL)", Answer::Fails(Errno::EINVAL)),
                ("madvise(page, 2^64 - 1, MADV_NORMAL)", Answer::Fails(Errno::EINVAL)),
                ("madvise(page of a file, MADV_FREE)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "madvise() of a range with a hole fails with ENOMEM, and has advised of all that is mapped in it.",
        sources: &[MAN, LTP],
        about: MADVISE,
        lies: &[
            Lie::accepted(Sysno::madvise),
            Lie::about(Sysno::madvise, What::OtherErrno(libc::EINVAL)),
            Lie::refused(Sysno::madvise, libc::ENOMEM),
        ],
        ..Claim::of_answers(
            "mmap.madvise.hole",
            madvise_hole,
            &[
                ("madvise(page, hole, page, MADV_DONTNEED)", Answer::Fails(Errno::ENOMEM)),
                ("the byte stored before the hole", Answer::Says("a")),
                ("the byte stored behind the hole", Answer::Says("b")),
            ],
        )
    },
    Claim {
        statement: "MADV_SEQUENTIAL and MADV_RANDOM take each other's place, and MADV_NORMAL takes back both.",
        method: "Looks at the flags of the mapping in /proc/self/smaps.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/madvise/madvise01.c")],
        about: MADVISE,
        lies: &[Lie::skipped(Sysno::madvise)],
        ..Claim::of_answers(
            "mmap.madvise.order",
            madvise_order,
            &[
                ("madvise(MADV_SEQUENTIAL)", Answer::Is(0)),
                ("advice after MADV_SEQUENTIAL", Answer::Says("sequential")),
                ("madvise(MADV_RANDOM)", Answer::Is(0)),
                ("advice after MADV_RANDOM", Answer::Says("random")),
                ("madvise(MADV_NORMAL)", Answer::Is(0)),
                ("advice after MADV_NORMAL", Answer::Says("none")),
            ],
        )
    },
    Claim {
        statement: "MADV_WILLNEED of memory that maps no file fails with EBADF.",
        sources: &[MAN, LTP],
        about: MADVISE,
        lies: &[Lie::refused(Sysno::madvise, libc::EBADF)],
        exceptions: &[Exception::Of(
            Sysno::madvise,
            What::Skipped,
            "nothing shows whether the kernel has looked for pages in the swap area, where there are none",
        )],
        ..Claim::of_answers(
            "mmap.madvise.willneed-anonymous",
            madvise_willneed_anonymous,
            &[("madvise(anonymous page, MADV_WILLNEED)", Answer::Fails(Errno::EBADF))],
        )
    },
    Claim {
        statement: "MADV_POPULATE_READ brings a file's pages into memory.",
        method: "Asks mincore() about a memfd that nobody has written, before and after.",
        sources: &[MAN],
        gates: &[gate("5.14", "MADV_POPULATE_READ is known", MAN)],
        about: MADVISE,
        lies: &[
            Lie::refused(Sysno::madvise, libc::EINVAL).where_it(true),
            Lie::skipped(Sysno::madvise).where_it(true),
            Lie::about(Sysno::madvise, What::OtherErrno(libc::ENOLINK)).where_it(false),
        ],
        ..Claim::new("mmap.madvise.populate", madvise_populate, |seen| {
            let has_all = seen.counted("pages in memory afterwards") == 16;
            Verdict::holds_if(!seen.failed_with(POPULATE, Errno::EINVAL) && (has_all || seen.failed(POPULATE)))
        })
    },
    Claim {
        statement: "MADV_POPULATE_READ of a page behind the end of its file fails with EFAULT: no signal is raised.",
        sources: &[MAN],
        gates: &[gate("5.14", "MADV_POPULATE_READ is known", MAN)],
        about: MADVISE,
        lies: &[
            Lie::accepted(Sysno::madvise).where_it(true),
            Lie::about(Sysno::madvise, What::OtherErrno(libc::EINVAL)).where_it(true),
            Lie::about(Sysno::madvise, What::OtherErrno(libc::EFAULT)).where_it(false),
        ],
        ..Claim::of_answers(
            "mmap.madvise.populate-behind-the-end",
            madvise_populate_behind_the_end,
            &[("madvise(page behind the end, MADV_POPULATE_READ)", Answer::Fails(Errno::EFAULT))],
        )
    },
    Claim {
        statement: "MADV_REMOVE of a shared mapping makes a hole in the file; of a private one it fails with EACCES.",
        sources: &[MAN, LTP],
        about: MADVISE,
        lies: &[
            Lie::skipped(Sysno::madvise).after(1),
            Lie::bytes(Sysno::pread64, 0, b'b'),
            Lie::accepted(Sysno::madvise),
        ],
        ..Claim::of_answers(
            "mmap.madvise.remove",
            madvise_remove,
            &[
                ("madvise(private page, MADV_REMOVE)", Answer::Fails(Errno::EACCES)),
                ("madvise(shared page, MADV_REMOVE)", Answer::Is(0)),
                ("pages of the file", Answer::Says("a0c")),
            ],
        )
    },
    Claim {
        statement: "mincore() fails with EINVAL for an address inside a page, with ENOMEM for unmapped memory, with EFAULT for a bad vector.",
        sources: &[MINCORE, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mincore/mincore01.c")],
        about: &[Sysno::mincore],
        lies: &Lie::otherwise(Sysno::mincore),
        ..Claim::of_answers(
            "mmap.mincore.errors",
            mincore_errors,
            &[
                ("mincore(page + 1, 4096)", Answer::Fails(Errno::EINVAL)),
                ("mincore(page and unmapped page, 8192)", Answer::Fails(Errno::ENOMEM)),
                ("mincore(page, 4096, bad vector)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "mincore() finds a page in memory that another mapping of the file has brought there.",
        method: "Asks about a memfd before and after its one page is loaded through another mapping.",
        sources: &[MINCORE],
        about: &[Sysno::mincore],
        lies: &[
            Lie::skipped(Sysno::mincore).after(1),
            Lie::about(Sysno::mincore, What::Output { argument: 2, value: 0 }),
        ],
        exceptions: &[Exception::Of(
            Sysno::mincore,
            What::Skipped,
            "a vector of zeros, as it was, is what a page says that is not in memory",
        )],
        ..Claim::of_answers(
            "mmap.mincore.other-mapping",
            mincore_other_mapping,
            &[("pages in memory before", Answer::Is(0)), ("pages in memory afterwards", Answer::Is(1))],
        )
    },
    Claim {
        statement: "madvise() takes the advice that the kernel knows for a shared mapping of a file, and keeps what is to be kept.",
        method: "Gives each advice, and looks up in /proc/self/smaps those that are flags of a mapping. Advice about huge pages and \
                 equal pages is given where the kernel has these.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/madvise/madvise01.c")],
        about: MADVISE,
        lies: &[Lie::refused(Sysno::madvise, libc::EINVAL), Lie::skipped(Sysno::madvise)],
        ..Claim::new("mmap.madvise.taken", madvise_taken, |seen| {
            let is_taken = |value: &Value| match value {
                Value::Returned(number) => *number == 0,
                Value::Text(word) => word == "as advised",
                _ => false,
            };
            Verdict::holds_if(seen.facts().iter().all(|fact| is_taken(&fact.value)))
        })
    },
    Claim {
        statement: "madvise() refuses advice that is not for such memory with EINVAL.",
        method: "MADV_FREE and MADV_WIPEONFORK are for private memory of no file, MADV_REMOVE is for shared memory that is not locked.",
        sources: &[MAN, LTP],
        about: MADVISE,
        lies: OTHERWISE,
        resources: &[Resource::UserMemlock],
        ..Claim::of_answers(
            "mmap.madvise.other-memory",
            madvise_other_memory,
            &[
                ("madvise(shared file, MADV_FREE)", Answer::Fails(Errno::EINVAL)),
                ("madvise(private file, MADV_FREE)", Answer::Fails(Errno::EINVAL)),
                ("madvise(shared file, MADV_WIPEONFORK)", Answer::Fails(Errno::EINVAL)),
                ("madvise(private file, MADV_WIPEONFORK)", Answer::Fails(Errno::EINVAL)),
                ("madvise(shared memory, MADV_WIPEONFORK)", Answer::Fails(Errno::EINVAL)),
                ("madvise(private memory, MADV_REMOVE)", Answer::Fails(Errno::EINVAL)),
                ("madvise(locked shared file, MADV_REMOVE)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "madvise() of memory that is not mapped at all fails with ENOMEM.",
        sources: &[MAN, LTP],
        about: MADVISE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.madvise.unmapped",
            madvise_unmapped,
            &[
                ("madvise(unmapped page, MADV_NORMAL)", Answer::Fails(Errno::ENOMEM)),
                ("madvise(unmapped page, MADV_WILLNEED)", Answer::Fails(Errno::ENOMEM)),
                ("madvise(unmapped page, MADV_DONTNEED)", Answer::Fails(Errno::ENOMEM)),
            ],
        )
    },
    Claim {
        statement: "mincore() of memory that is not mapped, wholly or in part, or beyond all memory, fails with ENOMEM.",
        sources: &[MINCORE, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mincore/mincore01.c")],
        about: &[Sysno::mincore],
        lies: &Lie::otherwise(Sysno::mincore),
        ..Claim::of_answers(
            "mmap.mincore.unmapped",
            mincore_unmapped,
            &[
                ("mincore(unmapped page)", Answer::Fails(Errno::ENOMEM)),
                ("mincore(unmapped page and page)", Answer::Fails(Errno::ENOMEM)),
                ("mincore(page and unmapped page)", Answer::Fails(Errno::ENOMEM)),
                ("mincore(page, 2^63)", Answer::Fails(Errno::ENOMEM)),
            ],
        )
    },
];

const POPULATE: &str = "madvise(MADV_POPULATE_READ)";

/// Calls `madvise` once.
fn advise(address: usize, length: usize, advice: libc::c_int) -> Result<usize, Errno> {
    let advice = advice.cast_unsigned() as usize;
    // SAFETY: no reference exists to memory that is mapped for an experiment, and other memory is not changed.
    unsafe { ask(Sysno::madvise, [address, length, advice, 0, 0, 0]) }
}

/// A page of private anonymous memory.
fn anonymous() -> Result<usize, Stop> {
    let flags = PRIVATE | libc::MAP_ANONYMOUS.cast_unsigned() as usize;
    // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
    aside(|| unsafe { ask(Sysno::mmap, [0, PAGE, READ | WRITE, flags, NO_FD, 0]) }).setup("mmap")
}

/// Stores to a page and drops it.
fn dropped(page: usize) -> Result<Observation, Stop> {
    // SAFETY: the page belongs to the experiment, and is writable.
    unsafe { store(page, b'z') };
    if aside(|| letter(page))? != "z" {
        return Err(Stop::broken("the store is not seen"));
    }
    let mut seen = Observation::new();
    seen.call("madvise(MADV_DONTNEED)", advise(page, PAGE, libc::MADV_DONTNEED));
    seen.text("the byte that was stored", letter(page)?);
    Ok(seen)
}

fn madvise_dontneed_private(lab: &Lab) -> Result<Observation, Stop> {
    dropped(mapped(&lettered(lab, 1)?, 1, READ | WRITE, PRIVATE)?)
}

fn madvise_dontneed_anonymous(_lab: &Lab) -> Result<Observation, Stop> {
    dropped(anonymous()?)
}

fn madvise_dontneed_shared(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ | WRITE, SHARED)?;
    // SAFETY: the page belongs to this function, and lies in the file.
    unsafe { store(page, b'z') };
    let mut seen = Observation::new();
    seen.text("Rss of the mapping after the store", account(page, "Rss")?);
    seen.call("madvise(MADV_DONTNEED)", advise(page, PAGE, libc::MADV_DONTNEED));
    seen.text("Rss of the mapping after madvise()", account(page, "Rss")?);
    seen.text("the byte that was stored", letter(page)?);
    Ok(seen)
}

fn madvise_locked(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ, SHARED)?;
    // SAFETY: the page belongs to this function.
    aside(|| unsafe { ask(Sysno::mlock, [page, PAGE, 0, 0, 0, 0]) }).setup("mlock")?;
    let mut seen = Observation::new();
    seen.call("madvise(locked page, MADV_DONTNEED)", advise(page, PAGE, libc::MADV_DONTNEED));
    Ok(seen)
}

fn madvise_einval(lab: &Lab) -> Result<Observation, Stop> {
    const UNKNOWN: libc::c_int = 1000;
    let page = mapped(&lettered(lab, 1)?, 1, READ, PRIVATE)?;
    let mut seen = Observation::new();
    for (fact, address, length, advice) in [
        ("madvise(page, unknown advice)", page, PAGE, UNKNOWN),
        ("madvise(page + 1, MADV_NORMAL)", page + 1, PAGE, libc::MADV_NORMAL),
        ("madvise(page, 2^64 - 1, MADV_NORMAL)", page, usize::MAX, libc::MADV_NORMAL),
        ("madvise(page of a file, MADV_FREE)", page, PAGE, libc::MADV_FREE),
    ] {
        seen.call(fact, advise(address, length, advice));
    }
    Ok(seen)
}

fn madvise_hole(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 2)?;
    let area = free_pages(lab, 3)?;
    let (first, last) = (mapped_at(area, &file, 0, READ | WRITE)?, mapped_at(area + 2 * PAGE, &file, 1, READ | WRITE)?);
    for page in [first, last] {
        // SAFETY: the page belongs to this function, and lies in the file.
        unsafe { store(page, b'z') };
    }
    let mut seen = Observation::new();
    seen.call("madvise(page, hole, page, MADV_DONTNEED)", advise(area, 3 * PAGE, libc::MADV_DONTNEED));
    seen.text("the byte stored before the hole", letter(first)?);
    seen.text("the byte stored behind the hole", letter(last)?);
    Ok(seen)
}

fn madvise_order(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ, PRIVATE)?;
    let mut seen = Observation::new();
    for (name, advice) in [
        ("MADV_SEQUENTIAL", libc::MADV_SEQUENTIAL),
        ("MADV_RANDOM", libc::MADV_RANDOM),
        ("MADV_NORMAL", libc::MADV_NORMAL),
    ] {
        seen.call(format!("madvise({name})"), advise(page, PAGE, advice));
        let flags = account(page, "VmFlags")?;
        let has = |flag| flags.split_whitespace().any(|one| one == flag);
        let word = match (has("sr"), has("rr")) {
            (true, false) => "sequential",
            (false, true) => "random",
            (false, false) => "none",
            (true, true) => "both",
        };
        seen.text(format!("advice after {name}"), word);
    }
    Ok(seen)
}

fn madvise_willneed_anonymous(_lab: &Lab) -> Result<Observation, Stop> {
    let page = anonymous()?;
    let mut seen = Observation::new();
    seen.call("madvise(anonymous page, MADV_WILLNEED)", advise(page, PAGE, libc::MADV_WILLNEED));
    Ok(seen)
}

fn madvise_populate(_lab: &Lab) -> Result<Observation, Stop> {
    const PAGES: usize = 16;
    let file = unwritten(PAGES)?;
    let pages = mapped(&file, PAGES, READ, SHARED)?;
    let mut seen = Observation::new();
    seen.count("pages in memory before", aside(|| resident(pages, PAGES))?);
    seen.call(POPULATE, advise(pages, PAGES * PAGE, libc::MADV_POPULATE_READ));
    seen.count("pages in memory afterwards", aside(|| resident(pages, PAGES))?);
    Ok(seen)
}

/// A memfd of `pages` pages. None of them is in memory.
fn unwritten(pages: usize) -> Result<File, Stop> {
    let file = File::from(sealed_memfd(0)?);
    aside(|| io::truncate(&file, (pages * PAGE) as u64)).setup("ftruncate")?;
    Ok(file)
}

fn madvise_populate_behind_the_end(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 2, READ, PRIVATE)?;
    let mut seen = Observation::new();
    seen.call("madvise(page behind the end, MADV_POPULATE_READ)", advise(page + PAGE, PAGE, libc::MADV_POPULATE_READ));
    Ok(seen)
}

fn madvise_remove(_lab: &Lab) -> Result<Observation, Stop> {
    let content = [[b'a'; PAGE], [b'b'; PAGE], [b'c'; PAGE]].concat();
    let file = File::from(sealed_memfd(0)?);
    aside(|| io::pwrite_all(&file, &content, 0)).setup("write the file")?;
    let mut seen = Observation::new();
    for (name, flags) in [("private", PRIVATE), ("shared", SHARED)] {
        let pages = mapped(&file, 3, READ | WRITE, flags)?;
        let removed = advise(pages + PAGE, PAGE, libc::MADV_REMOVE);
        seen.call(format!("madvise({name} page, MADV_REMOVE)"), removed);
    }
    let mut bytes = vec![b'?'; content.len()];
    io::pread_full(&file, &mut bytes, 0).setup("pread")?;
    seen.text("pages of the file", letters_of(&bytes));
    Ok(seen)
}

fn mincore_errors(lab: &Lab) -> Result<Observation, Stop> {
    let area = free_pages(lab, 2)?;
    let page = mapped_at(area, &lettered(lab, 1)?, 0, READ)?;
    let mut vector = [0_u8; 2];
    let good = vector.as_mut_ptr().expose_provenance();
    let mut seen = Observation::new();
    for (fact, address, length, vector) in [
        ("mincore(page + 1, 4096)", page + 1, PAGE, good),
        ("mincore(page and unmapped page, 8192)", page, 2 * PAGE, good),
        ("mincore(page, 4096, bad vector)", page, PAGE, NOWHERE),
    ] {
        // SAFETY: mincore writes a byte for each of two pages at most, and nothing is mapped at the bad address.
        let answer = unsafe { ask(Sysno::mincore, [address, length, vector, 0, 0, 0]) };
        seen.call(fact, answer);
    }
    Ok(seen)
}

fn mincore_other_mapping(_lab: &Lab) -> Result<Observation, Stop> {
    let file = unwritten(1)?;
    let page = mapped(&file, 1, READ, SHARED)?;
    let other = aside(|| map(&file, PAGE, READ, SHARED, 0)).setup("mmap")?;
    let mut seen = Observation::new();
    seen.count("pages in memory before", resident(page, 1)?);
    aside(|| letter(other))?;
    seen.count("pages in memory afterwards", resident(page, 1)?);
    Ok(seen)
}

fn madvise_taken(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ | WRITE, SHARED)?;
    let has_huge_pages = Path::new("/sys/kernel/mm/transparent_hugepage").exists();
    let has_equal_pages = Path::new("/sys/kernel/mm/ksm").exists();
    let mut seen = Observation::new();
    for (name, advice, is_known, flag) in [
        ("MADV_DONTFORK", libc::MADV_DONTFORK, true, Some(("dc", true))),
        ("MADV_DONTDUMP", libc::MADV_DONTDUMP, true, Some(("dd", true))),
        ("MADV_RANDOM", libc::MADV_RANDOM, true, Some(("rr", true))),
        ("MADV_SEQUENTIAL", libc::MADV_SEQUENTIAL, true, Some(("sr", true))),
        ("MADV_NORMAL", libc::MADV_NORMAL, true, Some(("sr", false))),
        ("MADV_WILLNEED", libc::MADV_WILLNEED, true, None),
        ("MADV_DONTNEED", libc::MADV_DONTNEED, true, None),
        ("MADV_COLD", libc::MADV_COLD, true, None),
        ("MADV_PAGEOUT", libc::MADV_PAGEOUT, true, None),
        ("MADV_HUGEPAGE", libc::MADV_HUGEPAGE, has_huge_pages, Some(("hg", true))),
        ("MADV_NOHUGEPAGE", libc::MADV_NOHUGEPAGE, has_huge_pages, Some(("nh", true))),
        ("MADV_MERGEABLE", libc::MADV_MERGEABLE, has_equal_pages, None),
        ("MADV_UNMERGEABLE", libc::MADV_UNMERGEABLE, has_equal_pages, None),
        ("MADV_DOFORK", libc::MADV_DOFORK, true, Some(("dc", false))),
        ("MADV_DODUMP", libc::MADV_DODUMP, true, Some(("dd", false))),
    ] {
        if !is_known {
            continue;
        }
        let fact = format!("madvise({name})");
        seen.call(fact.as_str(), advise(page, PAGE, advice));
        if let Some((flag, advised)) = flag {
            let flags = account(page, "VmFlags")?;
            let is_set = flags.split_whitespace().any(|one| one == flag);
            let word = if is_set == advised { "as advised" } else { "not as advised" };
            seen.text(format!("flag {flag} after {fact}"), word);
        }
    }
    Ok(seen)
}

fn madvise_other_memory(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let shared = mapped(&file, 1, READ | WRITE, SHARED)?;
    let private = mapped(&file, 1, READ | WRITE, PRIVATE)?;
    let flags = SHARED | libc::MAP_ANONYMOUS.cast_unsigned() as usize;
    // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
    let memory = aside(|| unsafe { ask(Sysno::mmap, [0, PAGE, READ | WRITE, flags, NO_FD, 0]) });
    let memory = memory.setup("mmap")?;
    let locked = mapped(&unwritten(1)?, 1, READ | WRITE, SHARED)?;
    // SAFETY: the page belongs to this function.
    aside(|| unsafe { ask(Sysno::mlock, [locked, PAGE, 0, 0, 0, 0]) }).setup("mlock")?;
    let mut seen = Observation::new();
    for (what, page, name, advice) in [
        ("shared file", shared, "MADV_FREE", libc::MADV_FREE),
        ("private file", private, "MADV_FREE", libc::MADV_FREE),
        ("shared file", shared, "MADV_WIPEONFORK", libc::MADV_WIPEONFORK),
        ("private file", private, "MADV_WIPEONFORK", libc::MADV_WIPEONFORK),
        ("shared memory", memory, "MADV_WIPEONFORK", libc::MADV_WIPEONFORK),
        ("private memory", anonymous()?, "MADV_REMOVE", libc::MADV_REMOVE),
        ("locked shared file", locked, "MADV_REMOVE", libc::MADV_REMOVE),
    ] {
        seen.call(format!("madvise({what}, {name})"), advise(page, PAGE, advice));
    }
    Ok(seen)
}

fn madvise_unmapped(lab: &Lab) -> Result<Observation, Stop> {
    let page = free_pages(lab, 1)?;
    let mut seen = Observation::new();
    for (name, advice) in [
        ("MADV_NORMAL", libc::MADV_NORMAL),
        ("MADV_WILLNEED", libc::MADV_WILLNEED),
        ("MADV_DONTNEED", libc::MADV_DONTNEED),
    ] {
        let fact = format!("madvise(unmapped page, {name})");
        seen.call(fact, advise(page, PAGE, advice));
    }
    Ok(seen)
}

fn mincore_unmapped(lab: &Lab) -> Result<Observation, Stop> {
    let area = free_pages(lab, 3)?;
    let page = mapped_at(area + PAGE, &lettered(lab, 1)?, 0, READ)?;
    let mut vector = [0_u8; 2];
    let vector = vector.as_mut_ptr().expose_provenance();
    let mut seen = Observation::new();
    for (what, address, length) in [
        ("unmapped page", area, PAGE),
        ("unmapped page and page", area, 2 * PAGE),
        ("page and unmapped page", page, 2 * PAGE),
        ("page, 2^63", page, 1 << 63),
    ] {
        // SAFETY: mincore writes a byte for each page up to the first unmapped one, at most two bytes.
        let answer = unsafe { ask(Sysno::mincore, [address, length, vector, 0, 0, 0]) };
        seen.call(format!("mincore({what})"), answer);
    }
    Ok(seen)
}
