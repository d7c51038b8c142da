//! `mremap` and `munmap`: behaviour that LTP checks, beyond their manual pages.

use super::mmap::{PRIVATE, READ, SHARED, WRITE};
use super::mmap_manual::note;
use super::mmap_pages::{mapped, protect, remap};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::Lie;
use crate::interpose::record::aside;
use crate::lab::Lab;
use crate::lab::pages::{PAGE, lettered, letters, mapping_at};
use crate::verdict::{Observation, Setup, Stop};
use syscalls::{Errno, Sysno};

const MREMAP: Source = Source::Man("mremap(2), man-pages 6.20");
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
