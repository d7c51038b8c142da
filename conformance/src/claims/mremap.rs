//! `mremap` and `munmap`: behaviour that LTP checks, beyond their manual pages.

use super::mmap::{PRIVATE, READ, SHARED, WRITE, is_mapped, note};
use super::mmap_pages::{mapped, note_page, protect, remap};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::Lab;
use crate::lab::io::{NO_FD, ask};
use crate::lab::pages::{PAGE, lettered, letters, mapping_at};
use crate::verdict::{Lack, Observation, Setup, Stop};
use syscalls::{Errno, Sysno};

const MREMAP: Source = Source::Man("mremap(2), man-pages 6.20");
const MUNMAP: Source = Source::Man("munmap(2), man-pages 6.20");
const FIXED: usize = (libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED) as usize;

/// Claims about moving and removing mappings.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "mremap() to a place that overlaps the old one, or is the old one, fails with EINVAL.",
        method: "Moves two pages of three one page up, one page down, and to where they are.",
        sources: &[MREMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/mremap/mremap05.c")],
        about: &[Sysno::mremap],
        lies: &Lie::otherwise(Sysno::mremap),
        ..Claim::of_answers(
            "mmap.mremap.overlap",
            mmap_mremap_overlap,
            &[
                ("mremap(first two pages, to the second)", Answer::Fails(Errno::EINVAL)),
                ("mremap(last two pages, to the first)", Answer::Fails(Errno::EINVAL)),
                ("mremap(first two pages, to the first)", Answer::Fails(Errno::EINVAL)),
                ("pages of the area", Answer::Says("abc")),
            ],
        )
    },
    Claim {
        statement: "A page that is moved away and back shows its own part of the file, whether it is merged with both neighbours or with one.",
        method: "Moves the middle one of three pages of a shared mapping away and back; in between the protection of none, the last \
                 or the first of them is changed.",
        sources: &[Source::Thread(
            "LTP @6958277, testcases/kernel/syscalls/mremap/mremap06.c; Linux, commit 7e7757876f25",
        )],
        about: &[Sysno::mremap],
        lies: &[Lie::bytes(Sysno::read, b'b', b'a'), Lie::skipped(Sysno::mremap).after(0)],
        ..Claim::of_answers(
            "mmap.mremap.merged",
            mmap_mremap_merged,
            &[
                ("mappings with all alike", Answer::Says("abc")),
                ("pages with all alike", Answer::Says("abc")),
                ("mappings with the last one apart", Answer::Says("ab c")),
                ("pages with the last one apart", Answer::Says("abc")),
                ("mappings with the first one apart", Answer::Says("a bc")),
                ("pages with the first one apart", Answer::Says("abc")),
            ],
        )
    },
    Claim {
        statement: "munmap() of a range that is not in user memory fails with EINVAL.",
        sources: &[MUNMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/munmap/munmap03.c")],
        about: &[Sysno::munmap],
        lies: &Lie::otherwise(Sysno::munmap),
        ..Claim::of_answers(
            "mmap.munmap.outside",
            mmap_munmap_outside,
            &[
                ("munmap(2^64 - 4096, 4096)", Answer::Fails(Errno::EINVAL)),
                ("munmap(2^63, 4096)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "When a process has as many mappings as it may, munmap() that would split one fails with ENOMEM; at its end it succeeds.",
        method: "Gives every second page of an area another protection until that fails, then takes the middle page of a file's three, \
                 and the last.",
        sources: &[MUNMAP, Source::Thread("LTP @6958277, testcases/kernel/syscalls/munmap/munmap04.c")],
        about: &[Sysno::munmap],
        lies: &[
            Lie::accepted(Sysno::munmap),
            Lie::about(Sysno::munmap, What::OtherErrno(libc::EINVAL)),
            Lie::refused(Sysno::munmap, libc::ENOMEM).after(1),
        ],
        ..Claim::of_answers(
            "mmap.munmap.limit",
            mmap_munmap_limit,
            &[
                ("munmap(second page of three)", Answer::Fails(Errno::ENOMEM)),
                ("second page", Answer::Says("mapped")),
                ("munmap(third page of three)", Answer::Is(0)),
                ("third page", Answer::Says("gone")),
                ("first page", Answer::Says("a")),
            ],
        )
    },
];

fn mmap_mremap_overlap(lab: &Lab) -> Result<Observation, Stop> {
    let area = mapped(&lettered(lab, 3)?, 3, READ, PRIVATE)?;
    let mut seen = Observation::new();
    for (fact, from, to) in [
        ("mremap(first two pages, to the second)", area, area + PAGE),
        ("mremap(last two pages, to the first)", area + PAGE, area),
        ("mremap(first two pages, to the first)", area, area),
    ] {
        note(&mut seen, fact, remap(from, 2 * PAGE, 2 * PAGE, FIXED, to))?;
    }
    seen.text("pages of the area", letters(area, 3)?);
    Ok(seen)
}

/// The letters of three pages, with a space where another mapping begins.
fn mappings_of(area: usize) -> Result<String, Stop> {
    let mut found = String::new();
    let mut last = None;
    for (index, letter) in ('a'..='c').enumerate() {
        let mapping = mapping_at(area + index * PAGE)?;
        if index > 0 && mapping != last {
            found.push(' ');
        }
        found.push(if mapping.is_some() { letter } else { '-' });
        last = mapping;
    }
    Ok(found)
}

fn mmap_mremap_merged(lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for (name, apart) in [("all alike", None), ("the last one apart", Some(2)), ("the first one apart", Some(0))] {
        let area = mapped(&lettered(lab, 4)?, 4, READ | WRITE, SHARED)?;
        let (middle, away) = (area + PAGE, area + 3 * PAGE);
        for (way, from, to) in [("away", middle, away), ("back", away, middle)] {
            if way == "back"
                && let Some(page) = apart
            {
                aside(|| protect(area + page * PAGE, PAGE, READ)).setup("mprotect")?;
            }
            let moved = remap(from, PAGE, PAGE, FIXED, to);
            note(&mut seen, &format!("mremap({way}) with {name}"), moved)?;
        }
        let mappings = aside(|| mappings_of(area))?;
        seen.text(format!("mappings with {name}"), &mappings);
        let pages = if mappings.contains('-') { "not all there".to_owned() } else { letters(area, 3)? };
        seen.text(format!("pages with {name}"), pages);
    }
    Ok(seen)
}

/// Calls `munmap` on pages that belong to the experiment, or on unmapped pages.
fn unmap(address: usize, length: usize) -> Result<usize, Errno> {
    // SAFETY: no reference exists to memory that is mapped for an experiment.
    unsafe { ask(Sysno::munmap, [address, length, 0, 0, 0, 0]) }
}

fn mmap_munmap_outside(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    // If a range that begins inside is not refused, it would unmap pages of the experiment.
    for (fact, address) in [("munmap(2^64 - 4096, 4096)", 0_usize.wrapping_sub(PAGE)), ("munmap(2^63, 4096)", 1 << 63)]
    {
        seen.call(fact, unmap(address, PAGE));
    }
    Ok(seen)
}

/// The maximum number of mappings of a process.
fn maximum() -> Result<usize, Stop> {
    const PATH: &str = "/proc/sys/vm/max_map_count";
    /// More mappings would exceed the time limit of a claim.
    const MOST: usize = 100_000;
    let text = std::fs::read_to_string(PATH).setup(&format!("read {PATH}"))?;
    let number = text.trim().parse().ok();
    number.filter(|number| *number <= MOST).ok_or_else(|| {
        Stop::untestable(
            Lack::Resource,
            format!("a process may have {} mappings", text.trim()),
            format!("sysctl vm.max_map_count={MOST}"),
        )
    })
}

fn mmap_munmap_limit(lab: &Lab) -> Result<Observation, Stop> {
    const NOTHING: usize = PRIVATE | libc::MAP_ANONYMOUS as usize;
    let pages = mapped(&lettered(lab, 3)?, 3, READ, PRIVATE)?;
    let length = (aside(maximum)? + 2) * PAGE;
    // SAFETY: at an address of the kernel's choice a mapping overlaps nothing.
    let area = aside(|| unsafe { ask(Sysno::mmap, [0, length, 0, NOTHING, NO_FD, 0]) });
    let area = area.setup("mmap")?;
    let others = (area + PAGE..area + length).step_by(2 * PAGE);
    let refused = aside(|| others.map(|page| protect(page, PAGE, READ)).find(Result::is_err));
    if refused != Some(Err(Errno::ENOMEM)) {
        return Err(Stop::broken(format!("no limit of mappings: {refused:?}")));
    }
    let middle = unmap(pages + PAGE, PAGE);
    let kept = is_mapped(pages + PAGE)?;
    let last = unmap(pages + 2 * PAGE, PAGE);
    // The next steps may need mappings.
    aside(|| unmap(area, length)).setup("munmap")?;
    let mut seen = Observation::new();
    seen.call("munmap(second page of three)", middle);
    seen.text("second page", if kept { "mapped" } else { "gone" });
    seen.call("munmap(third page of three)", last);
    note_page(&mut seen, "third page", pages + 2 * PAGE)?;
    seen.text("first page", letters(pages, 1)?);
    Ok(seen)
}
