//! `mmap` behaviour that other test suites check, beyond its manual page: descriptors, devices, anonymous memory, addresses and
//! offsets.

use super::mmap::{PRIVATE, READ, SHARED, WRITE, map, map_with, note};
use super::mmap_manual::free_pages;
use super::mmap_pages::{mapped, of_mapped};
use super::tools::reopen;
use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::Lab;
use crate::lab::io::{self, NO_FD, ask};
use crate::lab::open::sealed_memfd;
use crate::lab::pages::{PAGE, UNHARMED, letter, lettered, letters, load, mapping_at, store, store_in_child, touch};
use crate::verdict::{Lack, Observation, Setup, Stop};
use std::fs::File;
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("mmap(2), man-pages 6.20");
const GVISOR: Source = Source::Thread("gVisor @3c5eee1, test/syscalls/linux/mmap.cc");
const MMAP: &[Sysno] = &[Sysno::mmap];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::mmap);
const EXECUTE: usize = libc::PROT_EXEC as usize;
const FIXED: usize = libc::MAP_FIXED as usize;
const NO_REPLACE: usize = libc::MAP_FIXED_NOREPLACE as usize;
const ANONYMOUS: usize = libc::MAP_ANONYMOUS as usize;
const TYPES: [(&str, usize); 2] = [("shared", SHARED), ("private", PRIVATE)];

/// Claims about the results of `mmap`, and about its mappings.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "/proc/self/maps shows a mapping with the protection and the type that mmap() was asked for.",
        method: "Maps a memfd, and memory of no file, with every protection, shared and private, and looks each mapping up.",
        sources: &[
            Source::Man("proc_pid_maps(5), man-pages 6.20"),
            Source::Thread("LTP @6958277, testcases/kernel/syscalls/mmap/mmap04.c"),
        ],
        about: MMAP,
        lies: &[Lie::bytes(Sysno::read, b'x', b'-'), Lie::bytes(Sysno::read, b'p', b's')],
        ..Claim::of_answers(
            "mmap.maps.shown",
            mmap_maps_shown,
            &[
                ("shared mappings of a file", Answer::Says(SHARED_IN_MAPS)),
                ("private mappings of a file", Answer::Says(PRIVATE_IN_MAPS)),
                ("shared mappings of no file", Answer::Says(SHARED_IN_MAPS)),
                ("private mappings of no file", Answer::Says(PRIVATE_IN_MAPS)),
            ],
        )
    },
    Claim {
        statement: "A file that is open for writing only cannot be mapped in any way: EACCES.",
        method: "Maps it with each protection, shared and private.",
        sources: &[
            MAN,
            Source::Thread(
                "LTP @6958277, testcases/kernel/syscalls/mmap/mmap06.c; gVisor @3c5eee1, test/syscalls/linux/mmap.cc",
            ),
        ],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.errors.write-only",
            mmap_errors_write_only,
            &[
                ("mmap(PROT_NONE, shared)", Answer::Fails(Errno::EACCES)),
                ("mmap(PROT_NONE, private)", Answer::Fails(Errno::EACCES)),
                ("mmap(PROT_READ, shared)", Answer::Fails(Errno::EACCES)),
                ("mmap(PROT_READ, private)", Answer::Fails(Errno::EACCES)),
                ("mmap(PROT_WRITE, shared)", Answer::Fails(Errno::EACCES)),
                ("mmap(PROT_WRITE, private)", Answer::Fails(Errno::EACCES)),
                ("mmap(PROT_READ|PROT_WRITE, shared)", Answer::Fails(Errno::EACCES)),
                ("mmap(PROT_READ|PROT_WRITE, private)", Answer::Fails(Errno::EACCES)),
            ],
        )
    },
    Claim {
        statement: "A descriptor for reading can be mapped while the file is open for writing only by another one, whose writes show.",
        sources: &[GVISOR],
        about: &[Sysno::mmap, Sysno::pwrite64],
        lies: &[Lie::refused(Sysno::mmap, libc::EACCES), Lie::bytes(Sysno::read, b'b', b'a')],
        ..Claim::of_answers(
            "mmap.shared.two-descriptors",
            mmap_shared_two_descriptors,
            &[
                ("mmap(descriptor for reading)", Answer::Says("mapped")),
                ("pwrite(descriptor for writing, \"b\", 0)", Answer::Is(1)),
                ("first byte of the mapping", Answer::Says("b")),
            ],
        )
    },
    Claim {
        statement: "/dev/random cannot be mapped: ENODEV.",
        sources: &[GVISOR],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.errors.dev-random",
            mmap_errors_dev_random,
            &[
                ("mmap(/dev/random, shared)", Answer::Fails(Errno::ENODEV)),
                ("mmap(/dev/random, private)", Answer::Fails(Errno::ENODEV)),
            ],
        )
    },
    Claim {
        statement: "/dev/zero can be mapped, shared and private, with any length, and shows zeros until something is stored.",
        method: "Maps one page and 16, a whole number of pages and one byte less, and stores to the first page and the last.",
        sources: &[Source::Man("zero(4), man-pages 6.20"), GVISOR],
        about: MMAP,
        lies: &[
            Lie::refused(Sysno::mmap, libc::ENODEV),
            Lie::bytes(Sysno::read, 0, b'x'),
            Lie::bytes(Sysno::read, b'z', 0),
        ],
        ..Claim::of_answers(
            "mmap.dev-zero.zeros",
            mmap_dev_zero_zeros,
            &[
                ("mmap(/dev/zero, 1, shared)", Answer::Says("0z")),
                ("mmap(/dev/zero, 4096, shared)", Answer::Says("0z")),
                ("mmap(/dev/zero, 65535, shared)", Answer::Says(ALL_ZEROS)),
                ("mmap(/dev/zero, 65536, shared)", Answer::Says(ALL_ZEROS)),
                ("mmap(/dev/zero, 1, private)", Answer::Says("0z")),
                ("mmap(/dev/zero, 4096, private)", Answer::Says("0z")),
                ("mmap(/dev/zero, 65535, private)", Answer::Says(ALL_ZEROS)),
                ("mmap(/dev/zero, 65536, private)", Answer::Says(ALL_ZEROS)),
            ],
        )
    },
    Claim {
        statement: "Each mapping of /dev/zero has pages of its own: what is stored in one is not in another, of the same descriptor even.",
        sources: &[GVISOR],
        about: MMAP,
        lies: &[Lie::bytes(Sysno::read, 0, b'z')],
        ..Claim::of_answers(
            "mmap.dev-zero.apart",
            mmap_dev_zero_apart,
            &[
                ("stored to, shared", Answer::Says("z")),
                ("of the same descriptor, shared", Answer::Says("0")),
                ("mapped afterwards, shared", Answer::Says("0")),
                ("of another descriptor, shared", Answer::Says("0")),
                ("stored to, private", Answer::Says("z")),
                ("of the same descriptor, private", Answer::Says("0")),
                ("mapped afterwards, private", Answer::Says("0")),
                ("of another descriptor, private", Answer::Says("0")),
            ],
        )
    },
    Claim {
        statement: "A mapping of no file that is neither shared nor private, or both, fails with EINVAL.",
        sources: &[MAN, GVISOR],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.anonymous.type",
            mmap_anonymous_type,
            &[
                ("mmap(MAP_ANONYMOUS)", Answer::Fails(Errno::EINVAL)),
                ("mmap(MAP_ANONYMOUS|MAP_SHARED|MAP_PRIVATE)", Answer::Fails(Errno::EINVAL)),
                ("mmap(MAP_ANONYMOUS|MAP_PRIVATE)", Answer::Says("mapped")),
            ],
        )
    },
    Claim {
        statement: "Memory with PROT_WRITE alone can be read, too: by a load and by write(), before and after a store.",
        method: "Maps a page of a file shared. A processor whose pages can be writable and not readable may differ; x86-64 has none.",
        sources: &[MAN, GVISOR],
        about: MMAP,
        lies: &[
            Lie::about(Sysno::wait4, What::Output { argument: 1, value: libc::SIGSEGV }),
            Lie::bytes(Sysno::read, b'a', b'x'),
            Lie::bytes(Sysno::read, b'b', b'x'),
        ],
        ..Claim::of_answers(
            "mmap.protection.write-alone",
            mmap_protection_write_alone,
            &[
                ("mmap(PROT_WRITE)", Answer::Says("mapped")),
                ("load before the store", Answer::Says("exit status 0")),
                ("byte before the store", Answer::Says("a")),
                ("load after the store", Answer::Says("exit status 0")),
                ("byte after the store", Answer::Says("b")),
            ],
        )
    },
    Claim {
        statement: "A load from memory that has been unmapped, and a store to it, raise SIGSEGV.",
        method: "Children touch a page that the experiment has unmapped.",
        sources: &[Source::Man("munmap(2), man-pages 6.20"), GVISOR],
        about: &[Sysno::munmap],
        lies: &[UNHARMED, Lie::skipped(Sysno::munmap)],
        ..Claim::of_answers(
            "mmap.munmap.touched",
            mmap_munmap_touched,
            &[
                ("munmap(page, 4096)", Answer::Is(0)),
                ("load from the page", Answer::Says("signal 11")),
                ("store to the page", Answer::Says("signal 11")),
            ],
        )
    },
    Claim {
        statement: "MAP_FIXED_NOREPLACE at an address inside a page fails with EINVAL.",
        method: "Asks for it inside a page that is free, and inside one that is not.",
        sources: &[MAN, GVISOR],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.fixed.noreplace-alignment",
            mmap_fixed_noreplace_alignment,
            &[
                ("mmap(free page + 1, MAP_FIXED_NOREPLACE)", Answer::Fails(Errno::EINVAL)),
                ("mmap(mapped page + 1, MAP_FIXED_NOREPLACE)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "MAP_FIXED_NOREPLACE beside MAP_FIXED replaces nothing, either: EEXIST, and the page stays.",
        sources: &[GVISOR],
        about: MMAP,
        lies: &[
            Lie::accepted(Sysno::mmap),
            Lie::about(Sysno::mmap, What::OtherErrno(libc::EINVAL)),
            Lie::bytes(Sysno::read, b'a', b'b'),
        ],
        ..Claim::of_answers(
            "mmap.fixed.noreplace-and-fixed",
            mmap_fixed_noreplace_and_fixed,
            &[
                ("mmap(mapped page, MAP_FIXED|MAP_FIXED_NOREPLACE)", Answer::Fails(Errno::EEXIST)),
                ("the page", Answer::Says("a")),
            ],
        )
    },
    Claim {
        statement: "MAP_FIXED outside of user memory fails with ENOMEM.",
        method: "Asks for the last page of all, and for the first one of the kernel's half.",
        sources: &[Source::Thread("LTP @6958277, testcases/kernel/syscalls/mmap/mmap15.c")],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.fixed.outside",
            mmap_fixed_outside,
            &[
                ("mmap(2^64 - 4096, MAP_FIXED)", Answer::Fails(Errno::ENOMEM)),
                ("mmap(2^63, MAP_FIXED)", Answer::Fails(Errno::ENOMEM)),
            ],
        )
    },
    Claim {
        statement: "The last page that an offset can name cannot be mapped: EOVERFLOW.",
        method: "Asks for one page at 2^63 - 4096, shared and private.",
        sources: &[MAN, GVISOR],
        about: MMAP,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "mmap.offset.last-page",
            mmap_offset_last_page,
            &[
                ("mmap(offset 2^63 - 4096, shared)", Answer::Fails(Errno::EOVERFLOW)),
                ("mmap(offset 2^63 - 4096, private)", Answer::Fails(Errno::EOVERFLOW)),
            ],
        )
    },
];

const SHARED_IN_MAPS: &str = "---s r--s -w-s rw-s --xs r-xs -wxs rwxs";
const PRIVATE_IN_MAPS: &str = "---p r--p -w-p rw-p --xp r-xp -wxp rwxp";
/// Sixteen pages before any store, and after a store to the first and the last.
const ALL_ZEROS: &str = "0000000000000000zz";

/// Maps anonymous memory.
fn map_anonymous(protection: usize, flags: usize) -> Result<usize, Errno> {
    let arguments = [0, PAGE, protection, flags | ANONYMOUS, NO_FD, 0];
    // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
    unsafe { ask(Sysno::mmap, arguments) }
}

fn mmap_maps_shown(_lab: &Lab) -> Result<Observation, Stop> {
    let file = File::from(sealed_memfd(0)?);
    aside(|| io::truncate(&file, PAGE as u64)).setup("ftruncate")?;
    let mut seen = Observation::new();
    for (name, flags) in TYPES {
        for of_file in [true, false] {
            let mut shown = Vec::new();
            for protection in 0..=(READ | WRITE | EXECUTE) {
                let page =
                    if of_file { map(&file, PAGE, protection, flags, 0) } else { map_anonymous(protection, flags) };
                shown.push(match page {
                    Ok(page) => mapping_at(page)?.map_or("none".to_owned(), |found| found.access),
                    Err(errno) => format!("{errno:?}"),
                });
            }
            let what = if of_file { "a file" } else { "no file" };
            seen.text(format!("{name} mappings of {what}"), shown.join(" "));
        }
    }
    Ok(seen)
}

fn mmap_errors_write_only(lab: &Lab) -> Result<Observation, Stop> {
    let write_only = reopen(&lettered(lab, 1)?, File::options().write(true))?;
    let mut seen = Observation::new();
    for (name, protection) in
        [("PROT_NONE", 0), ("PROT_READ", READ), ("PROT_WRITE", WRITE), ("PROT_READ|PROT_WRITE", READ | WRITE)]
    {
        for (kind, flags) in TYPES {
            let fact = format!("mmap({name}, {kind})");
            note(&mut seen, &fact, map(&write_only, PAGE, protection, flags, 0))?;
        }
    }
    Ok(seen)
}

fn mmap_shared_two_descriptors(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let write_only = reopen(&file, File::options().write(true))?;
    let read_only = reopen(&file, File::options().read(true))?;
    let mut seen = Observation::new();
    let page = map(&read_only, PAGE, READ, SHARED, 0);
    note(&mut seen, "mmap(descriptor for reading)", page)?;
    seen.call("pwrite(descriptor for writing, \"b\", 0)", io::pwrite(&write_only, b"b", 0));
    seen.text("first byte of the mapping", of_mapped(page, letter)?);
    Ok(seen)
}

fn mmap_errors_dev_random(_lab: &Lab) -> Result<Observation, Stop> {
    let random = aside(|| File::open("/dev/random")).setup("open /dev/random")?;
    let mut seen = Observation::new();
    for (kind, flags) in TYPES {
        let fact = format!("mmap(/dev/random, {kind})");
        note(&mut seen, &fact, map(&random, PAGE, READ, flags, 0))?;
    }
    Ok(seen)
}

/// `/dev/zero`, for reading and writing.
fn dev_zero() -> Result<File, Stop> {
    let mut options = File::options();
    options.read(true).write(true);
    aside(|| options.open("/dev/zero")).setup("open /dev/zero")
}

fn mmap_dev_zero_zeros(_lab: &Lab) -> Result<Observation, Stop> {
    let zero = dev_zero()?;
    let mut seen = Observation::new();
    for (kind, flags) in TYPES {
        for length in [1, PAGE, 16 * PAGE - 1, 16 * PAGE] {
            let pages = length.div_ceil(PAGE);
            let area = map(&zero, length, READ | WRITE, flags, 0);
            let shown = of_mapped(area, |area| {
                let before = letters(area, pages)?;
                let mut ends = vec![area, area + (pages - 1) * PAGE];
                ends.dedup();
                for page in &ends {
                    // SAFETY: the page belongs to this function.
                    unsafe { store(*page, b'z') };
                }
                let stored: Result<String, Stop> = ends.into_iter().map(letter).collect();
                Ok(before + &stored?)
            })?;
            seen.text(format!("mmap(/dev/zero, {length}, {kind})"), shown);
        }
    }
    Ok(seen)
}

fn mmap_dev_zero_apart(_lab: &Lab) -> Result<Observation, Stop> {
    let (zero, other) = (dev_zero()?, dev_zero()?);
    let mut seen = Observation::new();
    for (kind, flags) in TYPES {
        let first = mapped(&zero, 1, READ | WRITE, flags)?;
        let second = map(&zero, PAGE, READ, flags, 0);
        let third = map(&other, PAGE, READ, flags, 0);
        // SAFETY: the page belongs to this function.
        unsafe { store(first, b'z') };
        let later = map(&zero, PAGE, READ, flags, 0);
        for (name, page) in [
            ("stored to", Ok(first)),
            ("of the same descriptor", second),
            ("mapped afterwards", later),
            ("of another descriptor", third),
        ] {
            seen.text(format!("{name}, {kind}"), of_mapped(page, letter)?);
        }
    }
    Ok(seen)
}

fn mmap_anonymous_type(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for (fact, flags) in [
        ("mmap(MAP_ANONYMOUS)", 0),
        ("mmap(MAP_ANONYMOUS|MAP_SHARED|MAP_PRIVATE)", SHARED | PRIVATE),
        ("mmap(MAP_ANONYMOUS|MAP_PRIVATE)", PRIVATE),
    ] {
        note(&mut seen, fact, map_anonymous(READ, flags))?;
    }
    Ok(seen)
}

fn mmap_protection_write_alone(lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    let page = map(&lettered(lab, 1)?, PAGE, WRITE, SHARED, 0);
    note(&mut seen, "mmap(PROT_WRITE)", page)?;
    let page = page.setup("mmap")?;
    seen.text("load before the store", load(page)?);
    // User-mode Linux checks its own page table in place of the processor's.
    if touch(page)? == Err(Errno::EFAULT) {
        return Err(Stop::untestable(
            Lack::Kernel,
            "this kernel does not ask the processor what it may read for a call",
            "use one that runs on the machine itself",
        ));
    }
    seen.text("byte before the store", letter(page)?);
    // SAFETY: the page belongs to this function, and lies in the file.
    unsafe { store(page, b'b') };
    seen.text("load after the store", load(page)?);
    seen.text("byte after the store", letter(page)?);
    Ok(seen)
}

fn mmap_munmap_touched(lab: &Lab) -> Result<Observation, Stop> {
    let page = mapped(&lettered(lab, 1)?, 1, READ | WRITE, SHARED)?;
    let mut seen = Observation::new();
    // SAFETY: the page belongs to this function.
    let unmapped = unsafe { ask(Sysno::munmap, [page, PAGE, 0, 0, 0, 0]) };
    seen.call("munmap(page, 4096)", unmapped);
    seen.text("load from the page", load(page)?);
    seen.text("store to the page", store_in_child(page, b'x')?);
    Ok(seen)
}

fn mmap_fixed_noreplace_alignment(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let page = mapped(&file, 1, READ, PRIVATE)?;
    let free = free_pages(lab, 2)?;
    let mut seen = Observation::new();
    for (name, address) in [("free", free), ("mapped", page)] {
        // SAFETY: with MAP_FIXED_NOREPLACE nothing is replaced.
        let there = unsafe { map_with(&file, address + 1, PAGE, READ, PRIVATE | NO_REPLACE, 0) };
        let fact = format!("mmap({name} page + 1, MAP_FIXED_NOREPLACE)");
        note(&mut seen, &fact, there)?;
    }
    Ok(seen)
}

fn mmap_fixed_noreplace_and_fixed(lab: &Lab) -> Result<Observation, Stop> {
    const BOTH: usize = PRIVATE | FIXED | NO_REPLACE;
    let file = lettered(lab, 2)?;
    let page = mapped(&file, 1, READ, PRIVATE)?;
    let mut seen = Observation::new();
    // SAFETY: the page belongs to this function.
    let there = unsafe { map_with(&file, page, PAGE, READ, BOTH, PAGE) };
    note(&mut seen, "mmap(mapped page, MAP_FIXED|MAP_FIXED_NOREPLACE)", there)?;
    seen.text("the page", letter(page)?);
    Ok(seen)
}

fn mmap_fixed_outside(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let mut seen = Observation::new();
    for (name, address) in [("2^64 - 4096", 0_usize.wrapping_sub(PAGE)), ("2^63", 1 << 63)] {
        // SAFETY: nothing of this process is there.
        let there = unsafe { map_with(&file, address, PAGE, READ, PRIVATE | FIXED, 0) };
        note(&mut seen, &format!("mmap({name}, MAP_FIXED)"), there)?;
    }
    Ok(seen)
}

fn mmap_offset_last_page(lab: &Lab) -> Result<Observation, Stop> {
    let file = lettered(lab, 1)?;
    let mut seen = Observation::new();
    for (kind, flags) in TYPES {
        let fact = format!("mmap(offset 2^63 - 4096, {kind})");
        note(&mut seen, &fact, map(&file, PAGE, READ, flags, (1 << 63) - PAGE))?;
    }
    Ok(seen)
}
