//! Further behaviour of file mappings in manual pages: `mmap`, `mremap`, `msync`.

use super::mmap::{PRIVATE, READ, is_mapped, map};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::Lie;
use crate::interpose::record::aside;
use crate::lab::Lab;
use crate::lab::io::ask;
use crate::lab::pages::PAGE;
use crate::verdict::{Observation, Setup, Stop};
use syscalls::{Errno, Sysno};

const MREMAP: Source = Source::Man("mremap(2), man-pages 6.20");

/// More claims about mappings.
pub const CLAIMS: &[Claim] = &[Claim {
    statement: "mremap() to no bytes, or from no bytes of a private mapping, fails with EINVAL.",
    sources: &[MREMAP, Source::Thread("LTP mremap02; Linux 4.14, commit dba58d3b8c50")],
    about: &[Sysno::mremap],
    lies: &Lie::otherwise(Sysno::mremap),
    ..Claim::of_answers(
        "mmap.mremap.einval",
        mmap_mremap_einval,
        &[
            ("mremap(page, 4096, 0)", Answer::Fails(Errno::EINVAL)),
            ("mremap(private page, 0, 4096, MREMAP_MAYMOVE)", Answer::Fails(Errno::EINVAL)),
            ("mremap(page + 1, 4096, 8192)", Answer::Fails(Errno::EINVAL)),
        ],
    )
}];

fn mmap_mremap_einval(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[0; 2 * PAGE])?;
    let page = aside(|| map(&file, PAGE, READ, PRIVATE, 0)).setup("mmap")?;
    let may_move = libc::MREMAP_MAYMOVE.cast_unsigned() as usize;
    let mut seen = Observation::new();
    for (fact, address, old, new) in [
        ("mremap(page, 4096, 0)", page, PAGE, 0),
        ("mremap(private page, 0, 4096, MREMAP_MAYMOVE)", page, 0, PAGE),
        ("mremap(page + 1, 4096, 8192)", page + 1, PAGE, 2 * PAGE),
    ] {
        // SAFETY: no reference to the page exists, whatever the call does with it.
        let moved = unsafe { ask(Sysno::mremap, [address, old, new, may_move, 0, 0]) };
        note(&mut seen, fact, moved)?;
    }
    Ok(seen)
}

/// The address of `pages` consecutive free pages: they have just been mapped and unmapped.
pub(super) fn free_pages(lab: &Lab, pages: usize) -> Result<usize, Stop> {
    let file = lab.file(&[0; PAGE])?;
    let address = aside(|| map(&file, pages * PAGE, READ, PRIVATE, 0)).setup("mmap")?;
    // SAFETY: the pages belong to this function.
    aside(|| unsafe { ask(Sysno::munmap, [address, pages * PAGE, 0, 0, 0, 0]) }).setup("munmap")?;
    if is_mapped(address)? {
        return Err(Stop::broken("munmap() left the page"));
    }
    Ok(address)
}

/// Notes whether there is a mapping, and not its address.
pub(super) fn note(seen: &mut Observation, fact: &str, mapped: Result<usize, Errno>) -> Result<(), Stop> {
    match mapped {
        Ok(address) if is_mapped(address)? => seen.text(fact, "mapped"),
        Ok(_) => seen.text(fact, "no mapping at the address"),
        Err(errno) => seen.call(fact, Err(errno)),
    };
    Ok(())
}
