//! `madvise`.

use super::{PRIVATE, READ, SHARED, WRITE, free_pages, lock, map_anonymous, mapped, of_letters, unwritten, with_hole};
use crate::claim::Gate;
use crate::claims::prelude::*;
use crate::lab::filesystems::Status;
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{account, letter, lettered, letters_of, resident, store};
use std::path::Path;

const POPULATE: Source = man("madvise(2)", "DESCRIPTION, MADV_POPULATE_READ");
const KNOWN: &[Gate] = &[gate("5.14", "MADV_POPULATE_READ is known", POPULATE)];

#[track_caller]
const fn about_madvise(id: &'static str, statement: &'static str) -> Claim {
    const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::madvise);
    claim(id, statement).about(&[Sysno::madvise]).turned_by(OTHERWISE)
}

/// Kinds of advice, each with a word.
macro_rules! advices {
    ($($name:ident $word:literal),*) => { [$((stringify!($name), libc::$name, $word)),*] };
}

pub const CLAIMS: &[Claim] = &[
    about_madvise(
        "mmap.madvise.dontneed-private",
        "MADV_DONTNEED of a private file mapping drops what was stored: the page shows the file again.",
    )
    .published(&[gvisor("madvise.cc", "MadviseDontneedTest.CleansPrivateFilePage")])
    .turned_by(&[Lie::skipped(Sysno::madvise), Lie::bytes(Sysno::read, b'a', b'z')])
    .tried(|lab, see| dropped(see, of_letters(lab, 1, READ | WRITE, PRIVATE)?.1, 'a')),
    about_madvise(
        "mmap.madvise.dontneed-anonymous",
        "MADV_DONTNEED of private anonymous memory drops what was stored: the page reads as zeros.",
    )
    .published(&[
        man("madvise(2)", "DESCRIPTION, MADV_DONTNEED"),
        ltp("madvise03.c", "run"),
        gvisor("madvise.cc", "MadviseDontneedTest.ZerosPrivateAnonPage"),
    ])
    .turned_by(&[Lie::skipped(Sysno::madvise), Lie::bytes(Sysno::read, 0, b'z')])
    .tried(|_lab, see| dropped(see, anonymous(PRIVATE)?, '0')),
    about_madvise(
        "mmap.madvise.dontneed-shared",
        "MADV_DONTNEED of a shared file mapping takes its page from the process (Rss is 0) and loses no stored byte.",
    )
    .published(&[
        man("madvise(2)", "DESCRIPTION, MADV_DONTNEED"),
        gvisor("madvise.cc", "MadviseDontneedTest.DoesNotModifySharedFilePage"),
    ])
    .turned_by(&[Lie::skipped(Sysno::madvise), Lie::bytes(Sysno::read, b'z', b'a')])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 1, READ | WRITE, SHARED)?;
        // SAFETY: the page belongs to the experiment, and lies in the file.
        unsafe { store(area, b'z') };
        see.text("Rss in smaps after the store", account(area, "Rss")?).says(format!("{} kB", page() / 1024));
        see.call("madvise(page, MADV_DONTNEED)", advise(area, libc::MADV_DONTNEED)).is(0);
        see.text("Rss in smaps after madvise()", account(area, "Rss")?).says("0 kB");
        see.text("byte that was stored", letter(area)?).says('z');
        Ok(())
    }),
    about_madvise("mmap.madvise.locked", "MADV_DONTNEED of a locked page of a file fails with EINVAL.")
        .published(&[
            man("madvise(2)", "ERRORS, EINVAL"),
            ltp("madvise02.c", "MADV_DONTNEED of a locked page of a file"),
        ])
        .sharing(&[Resource::UserMemlock])
        .tried(|lab, see| {
            let (_file, area) = of_letters(lab, 1, READ, SHARED)?;
            lock(area)?;
            see.call("madvise(locked page, MADV_DONTNEED)", advise(area, libc::MADV_DONTNEED)).fails(EINVAL);
            Ok(())
        }),
    about_madvise(
        "mmap.madvise.einval",
        "madvise() fails with EINVAL for an unknown advice, an unaligned address, and a length that wraps around.",
    )
    .published(&[
        man("madvise(2)", "ERRORS, EINVAL"),
        ltp("madvise02.c", "an unaligned address, and advice 1212"),
        gvisor("madvise.cc", "MadviseDontforkTest.AddressLength"),
    ])
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 2, READ, PRIVATE)?;
        see.call("madvise(page, 1000)", advise(area, 1000)).fails(EINVAL);
        see.call("madvise(page + 1, MADV_NORMAL)", advise(area + 1, libc::MADV_NORMAL)).fails(EINVAL);
        let wrapping = advise_range(area, usize::MAX, libc::MADV_NORMAL);
        see.call("madvise(page, 2^64 - 1, MADV_NORMAL)", wrapping).fails(EINVAL);
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.unmapped",
        "madvise() of a page that is not mapped fails with ENOMEM (MADV_NORMAL, MADV_WILLNEED, MADV_DONTNEED).",
    )
    .published(&[man("madvise(2)", "ERRORS, ENOMEM"), ltp("madvise02.c", "a range whose last page is unmapped")])
    .tried(|lab, see| {
        let area = free_pages(lab, 1)?;
        see.call("madvise(unmapped page, MADV_NORMAL)", advise(area, libc::MADV_NORMAL)).fails(ENOMEM);
        see.call("madvise(unmapped page, MADV_WILLNEED)", advise(area, libc::MADV_WILLNEED)).fails(ENOMEM);
        see.call("madvise(unmapped page, MADV_DONTNEED)", advise(area, libc::MADV_DONTNEED)).fails(ENOMEM);
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.hole",
        "madvise() of a range with an unmapped page in the middle fails with ENOMEM and advises the mapped pages.",
    )
    .published(&[man("madvise(2)", "VERSIONS, Linux")])
    .turned_by(&[
        Lie::accepted(Sysno::madvise),
        Lie::about(Sysno::madvise, What::OtherErrno(libc::EINVAL)),
        Lie::refused(Sysno::madvise, libc::ENOMEM),
    ])
    .tried(|lab, see| {
        let area = with_hole(lab, 3, 1, READ | WRITE, PRIVATE)?;
        let last = area + 2 * page();
        for address in [area, last] {
            // SAFETY: the page belongs to the experiment, and lies in the file.
            unsafe { store(address, b'z') };
        }
        let advised = advise_range(area, 3 * page(), libc::MADV_DONTNEED);
        see.call("madvise(page, unmapped page, page, MADV_DONTNEED)", advised).fails(ENOMEM);
        see.text("byte stored before the unmapped page", letter(area)?).says('a');
        see.text("byte stored after it", letter(last)?).says('c');
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.order",
        "MADV_SEQUENTIAL and MADV_RANDOM replace each other, and MADV_NORMAL removes both.",
    )
    .published(&[
        kernel("mm/madvise.c", "madvise_vma_behavior"),
        man("madvise(2)", "DESCRIPTION, MADV_NORMAL").leaves_open(),
    ])
    .turned_by(&[Lie::skipped(Sysno::madvise)])
    .method("Looks for sr (sequential) and rr (random) in VmFlags of /proc/self/smaps.")
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 1, READ, PRIVATE)?;
        let advices = advices!(MADV_SEQUENTIAL "sr", MADV_RANDOM "rr", MADV_SEQUENTIAL "sr", MADV_NORMAL "none",
            MADV_RANDOM "rr", MADV_NORMAL "none");
        let mut before = "nothing";
        for (name, advice, wanted) in advices {
            see.call(format!("madvise({name}) after {before}"), advise(area, advice)).is(0);
            let found = match (has_flag(area, "sr")?, has_flag(area, "rr")?) {
                (false, false) => "none",
                (true, false) => "sr",
                (false, true) => "rr",
                (true, true) => "both",
            };
            see.text(format!("flags with {name} after {before}"), found).says(wanted);
            before = name;
        }
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.willneed-anonymous",
        "MADV_WILLNEED of anonymous memory, which maps no file, fails with EBADF.",
    )
    .published(&[man("madvise(2)", "ERRORS, EBADF"), kernel("mm/madvise.c", "madvise_willneed").denies()])
    .turned_by(&[Lie::refused(Sysno::madvise, libc::EBADF)])
    .except(&[Exception::Of(Sysno::madvise, What::Skipped, "nothing shows whether it has looked for swapped pages")])
    .method("Gives the advice once. It holds on a kernel without CONFIG_SWAP.")
    .tried(|_lab, see| {
        let advised = advise(anonymous(PRIVATE)?, libc::MADV_WILLNEED);
        see.call("madvise(anonymous page, MADV_WILLNEED)", advised).fails(EBADF);
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.populate",
        "MADV_POPULATE_READ of 16 pages of a memfd has all of them in memory when it returns.",
    )
    .published(&[POPULATE.since("5.14")])
    .gated(KNOWN)
    .turned_by(&[
        Lie::refused(Sysno::madvise, libc::EINVAL).where_it(true),
        Lie::skipped(Sysno::madvise).where_it(true),
    ])
    .except(&[Exception::Lacking("no lie brings pages into memory")])
    .tried(|_lab, see| {
        const PAGES: usize = 16;
        let area = mapped(&unwritten(PAGES)?, PAGES, READ, SHARED)?;
        see.count("pages in memory before", aside(|| resident(area, PAGES))?).is(0);
        let advised = advise_range(area, PAGES * page(), libc::MADV_POPULATE_READ);
        see.call("madvise(16 pages, MADV_POPULATE_READ)", advised).is(0);
        see.count("pages in memory afterwards", aside(|| resident(area, PAGES))?).is(PAGES);
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.populate-behind-the-end",
        "MADV_POPULATE_READ of a page past the end of its file fails with EFAULT; no signal is raised.",
    )
    .published(&[man("madvise(2)", "ERRORS, EFAULT").since("5.14"), POPULATE.since("5.14")])
    .gated(KNOWN)
    .turned_by(&[
        Lie::accepted(Sysno::madvise).where_it(true),
        Lie::about(Sysno::madvise, What::OtherErrno(libc::EINVAL)).where_it(true),
        Lie::about(Sysno::madvise, What::OtherErrno(libc::EFAULT)).where_it(false),
    ])
    .tried(|lab, see| {
        let past_the_end = mapped(&lettered(lab, 1)?, 2, READ, PRIVATE)? + page();
        let (advised, signals) = raised(libc::SIGBUS, || advise(past_the_end, libc::MADV_POPULATE_READ))?;
        see.call("madvise(page past the end, MADV_POPULATE_READ)", advised).fails(EFAULT);
        see.count("signals raised", signals).is(0);
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.remove",
        "MADV_REMOVE of a memfd makes a hole for a shared mapping; of a private one, or one of a read-only descriptor, \
         it fails with EACCES.",
    )
    .published(&[man("madvise(2)", "DESCRIPTION, MADV_REMOVE").since("2.6.16"), man("madvise(2)", "ERRORS, EACCES")])
    .turned_by(&[
        Lie::skipped(Sysno::madvise).after(2),
        Lie::bytes(Sysno::pread64, 0, b'b'),
        Lie::accepted(Sysno::madvise),
    ])
    .method("The mapping of the read-only descriptor is shared.")
    .tried(|_lab, see| {
        let file = File::from(sealed_memfd(0)?);
        let mut bytes = [b'a', b'b', b'c'].map(|letter| vec![letter; page()]).concat();
        aside(|| io::pwrite_all(&file, &bytes, 0)).setup("write the file")?;
        let mut status = Status::default();
        let before = aside(|| status.blocks(&file))?;
        let read_only = reopen(&file, File::options().read(true))?;
        let remove = |area| Ok(advise(area? + page(), libc::MADV_REMOVE));
        let private = remove(mapped(&file, 3, READ | WRITE, PRIVATE))?;
        see.call("madvise(private page, MADV_REMOVE)", private).fails(EACCES);
        let read_only = remove(mapped(&read_only, 3, READ, SHARED))?;
        see.call("madvise(page of a read-only descriptor, MADV_REMOVE)", read_only).fails(EACCES);
        let shared = remove(mapped(&file, 3, READ | WRITE, SHARED))?;
        see.call("madvise(shared page, MADV_REMOVE)", shared).is(0);
        io::pread_full(&file, &mut bytes, 0).setup("pread")?;
        see.text("pages of the file", letters_of(&bytes)).says("a0c");
        see.count("blocks of the file before", before);
        see.count("blocks of the file afterwards", aside(|| status.blocks(&file))?).fewer_than_before();
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.remove-read-only",
        "MADV_REMOVE of a shared mapping with PROT_READ of a descriptor open for writing fails with EACCES.",
    )
    .published(&[
        man("madvise(2)", "ERRORS, EACCES"),
        man("madvise(2)", "DESCRIPTION, MADV_REMOVE"),
        kernel("mm/madvise.c", "madvise_remove").denies(),
    ])
    .turned_by(&[Lie::accepted(Sysno::madvise), Lie::refused(Sysno::madvise, libc::EACCES).where_it(false)])
    .tried(|_lab, see| {
        let file = File::from(sealed_memfd(0)?);
        let mut bytes = vec![b'a'; page()];
        aside(|| io::pwrite_all(&file, &bytes, 0)).setup("write the file")?;
        let advised = advise(mapped(&file, 1, READ, SHARED)?, libc::MADV_REMOVE);
        see.call("madvise(shared page with PROT_READ, MADV_REMOVE)", advised).fails(EACCES);
        io::pread_full(&file, &mut bytes, 0).setup("pread")?;
        see.text("page of the file", letters_of(&bytes));
        Ok(())
    }),
    about_madvise("mmap.madvise.remove-anonymous", "MADV_REMOVE of private anonymous memory fails with EACCES.")
        .published(&[man("madvise(2)", "ERRORS, EACCES"), kernel("mm/madvise.c", "madvise_remove").denies()])
        .turned_by(&[Lie::about(Sysno::madvise, What::OtherErrno(libc::EACCES))])
        .tried(|_lab, see| {
            let advised = advise(anonymous(PRIVATE)?, libc::MADV_REMOVE);
            see.call("madvise(private anonymous page, MADV_REMOVE)", advised).fails(EACCES);
            Ok(())
        }),
    about_madvise(
        "mmap.madvise.other-memory",
        "MADV_FREE and MADV_WIPEONFORK of file or shared memory and MADV_REMOVE of a locked page fail with EINVAL.",
    )
    .published(&[man("madvise(2)", "ERRORS, EINVAL"), ltp("madvise02.c", "MADV_REMOVE, MADV_FREE and MADV_WIPEONFORK")])
    .sharing(&[Resource::UserMemlock])
    .tried(|lab, see| {
        let shared = of_letters(lab, 1, READ | WRITE, SHARED)?.1;
        let private = of_letters(lab, 1, READ | WRITE, PRIVATE)?.1;
        for (what, area) in [("shared file", shared), ("private file", private), ("shared memory", anonymous(SHARED)?)]
        {
            see.call(format!("madvise({what}, MADV_FREE)"), advise(area, libc::MADV_FREE)).fails(EINVAL);
            see.call(format!("madvise({what}, MADV_WIPEONFORK)"), advise(area, libc::MADV_WIPEONFORK)).fails(EINVAL);
        }
        let locked = mapped(&unwritten(1)?, 1, READ | WRITE, SHARED)?;
        lock(locked)?;
        see.call("madvise(locked shared file, MADV_REMOVE)", advise(locked, libc::MADV_REMOVE)).fails(EINVAL);
        Ok(())
    }),
    about_madvise(
        "mmap.madvise.taken",
        "madvise() accepts 15 kinds of advice for a shared mapping of a file, and sets or clears its flags for them.",
    )
    .published(&[kernel("mm/madvise.c", "madvise_vma_behavior"), ltp("madvise01.c", "it may be EINVAL").leaves_open()])
    .turned_by(&[Lie::refused(Sysno::madvise, libc::EINVAL), Lie::skipped(Sysno::madvise)])
    .method(
        "Looks at VmFlags in /proc/self/smaps after those of MADV_DONTFORK, DONTDUMP, RANDOM, SEQUENTIAL, NORMAL, \
         WILLNEED, DONTNEED, COLD, PAGEOUT, HUGEPAGE, NOHUGEPAGE, MERGEABLE, UNMERGEABLE, DOFORK and DODUMP that the \
         kernel is built for.",
    )
    .tried(|lab, see| {
        let (_file, area) = of_letters(lab, 1, READ | WRITE, SHARED)?;
        for (needs, advices) in [
            ("", &advices!(MADV_DONTFORK "dc", MADV_DONTDUMP "dd", MADV_RANDOM "rr", MADV_SEQUENTIAL "sr")[..]),
            ("", &advices!(MADV_NORMAL "-sr", MADV_WILLNEED "", MADV_DONTNEED "", MADV_COLD "", MADV_PAGEOUT "")),
            ("transparent_hugepage", &advices!(MADV_HUGEPAGE "hg", MADV_NOHUGEPAGE "nh")),
            ("ksm", &advices!(MADV_MERGEABLE "", MADV_UNMERGEABLE "")),
            ("", &advices!(MADV_DOFORK "-dc", MADV_DODUMP "-dd")),
        ] {
            let is_known = Path::new("/sys/kernel/mm").join(needs).exists();
            for (name, advice, flag) in advices.iter().filter(|_| is_known) {
                see.call(format!("madvise({name})"), advise(area, *advice)).is(0);
                let (flag, wanted) = flag.strip_prefix('-').map_or((*flag, "yes"), |flag| (flag, "no"));
                if !flag.is_empty() {
                    see.whether(format!("flag {flag} after {name}"), has_flag(area, flag)?).says(wanted);
                }
            }
        }
        Ok(())
    }),
];

/// `madvise` of a page.
fn advise(address: usize, advice: libc::c_int) -> Result<usize, Errno> {
    advise_range(address, page(), advice)
}

/// `madvise` of any range.
fn advise_range(address: usize, length: usize, advice: libc::c_int) -> Result<usize, Errno> {
    // SAFETY: no reference exists to memory that is mapped for an experiment, and other memory is not changed.
    unsafe { ask(Sysno::madvise, [address, length, advice.cast_unsigned() as usize, 0, 0, 0]) }
}

/// A page of anonymous memory.
fn anonymous(flags: usize) -> Result<usize, Stop> {
    aside(|| map_anonymous(page(), READ | WRITE, flags)).setup("mmap")
}

/// Stores to a page, drops it, and notes the byte that the page then shows.
fn dropped(see: &mut Observation, area: usize, byte: char) -> Result<(), Stop> {
    // SAFETY: the page belongs to the experiment, and is writable.
    unsafe { store(area, b'z') };
    if aside(|| letter(area))? != "z" {
        return Err(Stop::broken("the store is not seen"));
    }
    see.call("madvise(page, MADV_DONTNEED)", advise(area, libc::MADV_DONTNEED)).is(0);
    see.text("byte that was stored", letter(area)?).says(byte);
    Ok(())
}

/// Whether a mapping has a flag.
fn has_flag(area: usize, flag: &str) -> Result<bool, Stop> {
    Ok(account(area, "VmFlags")?.split_whitespace().any(|one| one == flag))
}
