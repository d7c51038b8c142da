//! Memory that was given to a pipe, or that cannot be given.

use super::{NONBLOCK, about_vmsplice, give, give_all, give_named, memory_of};
use crate::claims::prelude::*;
use nocopy_host::process::{self, Ended};
use std::os::fd::AsRawFd;

const SHARED_LIE: &[Lie] = &[Lie::bytes(Sysno::read, alias::OLD, alias::NEW)];

/// A claim about what a pipe shows of changed memory.
#[track_caller]
const fn shows(id: &'static str, statement: &'static str) -> Claim {
    about_vmsplice(id, statement).turned_by(SHARED_LIE)
}

pub const CLAIMS: &[Claim] = &[
    about_vmsplice("vmsplice.memory.unmapped", "Memory that is unmapped after vmsplice() stays in the pipe as it was.")
        .published(&[selftest("mm/cow.c", "child_vmsplice_memcmp_fn")])
        .turned_by(&[Lie::about(Sysno::read, What::Garbled)])
        .tried(|_lab, see| {
            let bytes = pattern(alias::LENGTH);
            let (memory, pipe) = (memory_of(&bytes)?, pipe()?);
            give_all(&pipe, &memory)?;
            drop(memory);
            see.holds("memory unmapped, the pipe's bytes", &pipe.read, &bytes)?.says(AS_SENT);
            Ok(())
        }),
    shows(
        "vmsplice.memory.child-gives",
        "If a child gives inherited private base pages to a pipe and unmaps them, its parent's stores do not reach \
         the pipe.",
    )
    .published(&[selftest("mm/cow.c", "test_vmsplice_in_child")])
    .method("The memory is anonymous, in pages of the base size.")
    .tried(|_lab, see| {
        let mut memory = alias::memory(alias::LENGTH)?;
        let (pipe, other) = two()?;
        let (start, length) = (memory.as_mut_ptr(), memory.len());
        // Checks that the call exists.
        aside(|| give(&other.write, b"b", NONBLOCK)).setup("vmsplice")?;
        let pid = child(|| {
            // SAFETY: the mapping belongs to the child, which ends without using it.
            give_all(&pipe, &memory).is_ok() && unsafe { libc::munmap(start.cast(), length) } == 0
        })?;
        ended(pid)?;
        memory.fill(alias::NEW);
        see.text("parent's memory changed, pipe's bytes", taken(&pipe)?).says(Sharing::Copied);
        Ok(())
    }),
    shows(
        "vmsplice.memory.forked",
        "Once the caller has forked after vmsplice(), its stores into that private memory no longer reach the pipe.",
    )
    .published(&[MEASURED])
    .tried(|_lab, see| {
        for (when, forks, sharing) in
            [("without a fork", false, Sharing::Shared), ("after a fork", true, Sharing::Copied)]
        {
            let mut memory = alias::memory(alias::LENGTH)?;
            let (pipe, hold) = two()?;
            give_all(&pipe, &memory)?;
            let pid = if forks { Some(child_that_waits(&hold, || {})?) } else { None };
            memory.fill(alias::NEW);
            drop(hold.write);
            see.text(format!("memory changed {when}, pipe's bytes"), taken(&pipe)?).says(sharing);
            pid.map_or(Ok(()), ended)?;
        }
        Ok(())
    }),
    shows(
        "vmsplice.memory.parent-gives",
        "If a parent gives private base pages to a pipe and unmaps them, its child's stores do not reach the pipe.",
    )
    .published(&[selftest("mm/cow.c", "test_vmsplice_before_fork"), selftest("mm/cow.c", "test_vmsplice_after_fork")])
    .method("The memory is anonymous, in pages of the base size.")
    .tried(|_lab, see| {
        for when in ["before", "after"] {
            let mut memory = alias::memory(alias::LENGTH)?;
            let (pipe, hold) = two()?;
            if when == "before" {
                give_all(&pipe, &memory)?;
            }
            let pid = child_that_waits(&hold, || memory.fill(alias::NEW))?;
            if when == "after" {
                give_all(&pipe, &memory)?;
            }
            drop(memory);
            drop(hold.write);
            ended(pid)?;
            see.text(format!("given {when} fork(), pipe's bytes"), taken(&pipe)?).says(Sharing::Copied);
        }
        Ok(())
    }),
    about_vmsplice("vmsplice.memory.secret", "vmsplice() of memory of memfd_secret() into a pipe fails with EFAULT.")
        .published(&[man("memfd_secret(2)", "NOTES").since("5.14"), selftest("mm/memfd_secret.c", "test_vmsplice")])
        .tried(|_lab, see| {
            let pipe = pipe()?;
            let secret = two_secret_pages()?;
            let byte_at = |at: usize| give_named(&pipe.write, &[at, 1], 2);
            see.call("vmsplice(pipe, new page of secret memory)", byte_at(secret)).fails(EFAULT);
            see.call("vmsplice(pipe, touched page of secret memory)", byte_at(secret + page())).fails(EFAULT);
            see.call("vmsplice(pipe, other memory)", give(&pipe.write, b"b", NONBLOCK)).is(1);
            see.readable("bytes in the pipe", &pipe.read)?.is(1);
            Ok(())
        }),
    about_vmsplice(
        "vmsplice.memory.protection-key",
        "vmsplice() fails with EFAULT for a page whose protection key denies every access.",
    )
    .published(&[
        selftest("mm/protection_keys.c", "test_kernel_gup_of_access_disabled_region, any errno").leaves_open(),
        kernel("mm/gup.c", "check_vma_flags"),
    ])
    .turned_by(&[Lie::accepted(Sysno::vmsplice), Lie::refused(Sysno::vmsplice, libc::EFAULT)])
    .tried(|_lab, see| {
        const ACCESS: usize = (libc::PROT_READ | libc::PROT_WRITE) as usize;
        let (memory, pipe) = (alias::memory(page())?, pipe()?);
        let key = denying_key()?;
        let start = memory.as_ptr().expose_provenance();
        see.call("vmsplice(page)", give(&pipe.write, &memory[..1], NONBLOCK)).is(1);
        // SAFETY: nothing uses the page after this.
        aside(|| unsafe { ask(Sysno::pkey_mprotect, [start, page(), ACCESS, key, 0, 0]) }).setup("pkey_mprotect")?;
        see.call("vmsplice(page with the key)", give(&pipe.write, &memory[..1], NONBLOCK)).fails(EFAULT);
        see.readable("bytes in the pipe", &pipe.read)?.is(1);
        Ok(())
    }),
];

/// A child of the experiment, which runs `inside` and ends. It exits with 0 if `inside` returns true.
fn child(inside: impl FnOnce() -> bool) -> Result<libc::pid_t, Stop> {
    aside(|| process::fork(|| process::exit(i32::from(!inside())))).setup("fork")
}

/// A child with a copy of the memory. It calls `then` after the parent has closed the pipe's write end.
fn child_that_waits(hold: &Pipe, then: impl FnOnce()) -> Result<libc::pid_t, Stop> {
    let write = hold.write.as_raw_fd();
    child(|| {
        // SAFETY: the descriptor belongs to the child.
        let closed = unsafe { libc::close(write) } == 0;
        let waited = io::again(|| io::read(&hold.read, &mut [0])) == Ok(0);
        then();
        closed && waited
    })
}

/// Waits for the child's end.
fn ended(pid: libc::pid_t) -> Result<(), Stop> {
    match aside(|| process::wait(pid)) {
        Ended::Exited(0) => Ok(()),
        other => Err(Stop::broken(format!("the child: {other}"))),
    }
}

/// Reads the pipe, and decides whether its bytes have changed with the memory.
fn taken(pipe: &Pipe) -> Result<Sharing, Stop> {
    let mut bytes = vec![0; alias::LENGTH];
    let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
    match aside(|| sockets::readable(&pipe.read))? {
        0 => Sharing::of(&bytes[..count]),
        more => Err(Stop::broken(format!("{more} bytes more are in the pipe than were given"))),
    }
}

/// A protection key that denies every access.
fn denying_key() -> Result<usize, Stop> {
    const DISABLE_ACCESS: usize = 1;
    // SAFETY: pkey_alloc takes no pointer.
    let key = aside(|| unsafe { ask(Sysno::pkey_alloc, [0, DISABLE_ACCESS, 0, 0, 0, 0]) });
    key.map_err(|errno| match errno {
        ENOSPC | EINVAL => Stop::untestable(
            Lack::Device,
            format!("the processor has no protection keys: pkey_alloc {errno:?}"),
            "use a processor that has them (pku in /proc/cpuinfo)",
        ),
        errno => Stop::from_setup("pkey_alloc", errno),
    })
}
