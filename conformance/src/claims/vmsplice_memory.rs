//! Memory given by `vmsplice` that a process has unmapped or cannot access: behaviour that the kernel's own tests check.

use super::tools::{note_readable, pipe, two};
use super::vmsplice_manual::{child_that_waits, ended, give, taken};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::Lie;
use crate::interpose::record::aside;
use crate::lab::Lab;
use crate::lab::alias::{self, LENGTH, NEW, OLD};
use crate::lab::io::ask;
use crate::lab::pages::PAGE;
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_splice::{Pipe, SpliceFlags};
use syscalls::{Errno, Sysno};

const VMSPLICE: &[Sysno] = &[Sysno::vmsplice];
const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;

/// Claims about given memory.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "What a parent has given to a pipe by vmsplice(), of memory that its child has, too, does not change with the \
                    child's memory once the parent has unmapped it.",
        method: "The parent gives memory to a pipe, before fork() and after it, and unmaps it; the child stores to its memory; the \
                 parent reads the pipe.",
        sources: &[Source::Thread("CVE-2020-29374; Linux 7.3, tools/testing/selftests/mm/cow.c")],
        about: VMSPLICE,
        lies: &[Lie::bytes(Sysno::read, OLD, NEW)],
        ..Claim::of_answers(
            "vmsplice.memory.parent-gives",
            vmsplice_memory_parent_gives,
            &[
                ("given before fork(), pipe's bytes", Answer::Says("copied")),
                ("given after fork(), pipe's bytes", Answer::Says("copied")),
            ],
        )
    },
    Claim {
        statement: "vmsplice() of memory that a protection key denies fails with EFAULT.",
        method: "Gives a byte of a page, gives the page a key that denies every access, and tries again.",
        sources: &[
            Source::Man("pkeys(7), man-pages 6.20"),
            Source::Thread("Linux 7.3, tools/testing/selftests/mm/protection_keys.c"),
        ],
        about: VMSPLICE,
        lies: &[Lie::accepted(Sysno::vmsplice), Lie::refused(Sysno::vmsplice, libc::EFAULT)],
        ..Claim::of_answers(
            "vmsplice.memory.protection-key",
            vmsplice_memory_protection_key,
            &[
                ("vmsplice(page)", Answer::Is(1)),
                ("vmsplice(page with the key)", Answer::Fails(Errno::EFAULT)),
                ("bytes in the pipe", Answer::Is(1)),
            ],
        )
    },
];

/// Gives all of the memory, which must be full of `OLD`.
fn give_all(pipe: &Pipe, memory: &[u8]) -> Result<(), Stop> {
    alias::send_all(|done| give(&pipe.write, &memory[done..], NONBLOCK)).setup("vmsplice")
}

fn vmsplice_memory_parent_gives(_lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    for when in ["before", "after"] {
        let mut memory = alias::memory(LENGTH)?;
        let (pipe, hold) = two()?;
        if when == "before" {
            give_all(&pipe, &memory)?;
        }
        let pid = child_that_waits(&hold, || memory.fill(NEW))?;
        if when == "after" {
            give_all(&pipe, &memory)?;
        }
        drop(memory);
        drop(hold.write);
        aside(|| ended(pid))?;
        seen.text(format!("given {when} fork(), pipe's bytes"), taken(&pipe)?);
    }
    Ok(seen)
}

/// A protection key that denies every access.
fn denying_key() -> Result<usize, Stop> {
    const DISABLE_ACCESS: usize = 1;
    // SAFETY: pkey_alloc takes no pointer.
    let key = aside(|| unsafe { ask(Sysno::pkey_alloc, [0, DISABLE_ACCESS, 0, 0, 0, 0]) });
    key.map_err(|errno| match errno {
        Errno::ENOSPC | Errno::EINVAL => Stop::untestable(
            Lack::Device,
            format!("the processor has no protection keys: pkey_alloc {errno:?}"),
            "use a processor that has them (pku in /proc/cpuinfo)",
        ),
        errno => Stop::from_setup("pkey_alloc", errno),
    })
}

fn vmsplice_memory_protection_key(_lab: &Lab) -> Result<Observation, Stop> {
    const ACCESS: usize = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let memory = alias::memory(PAGE)?;
    let pipe = pipe()?;
    let key = denying_key()?;
    let page = memory.as_ptr().expose_provenance();
    let mut seen = Observation::new();
    seen.call("vmsplice(page)", give(&pipe.write, &memory[..1], NONBLOCK));
    // SAFETY: nothing uses the page after this.
    aside(|| unsafe { ask(Sysno::pkey_mprotect, [page, PAGE, ACCESS, key, 0, 0]) }).setup("pkey_mprotect")?;
    seen.call("vmsplice(page with the key)", give(&pipe.write, &memory[..1], NONBLOCK));
    note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
    Ok(seen)
}
