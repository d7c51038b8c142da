//! When `vmsplice` sleeps.

use super::{BLOCKING, about_vmsplice, give, memory_of, sleeps_into};
use crate::claims::prelude::*;
use crate::lab::sleeper::interrupt_with;

pub const CLAIMS: &[Claim] = &[
    about_vmsplice(
        "vmsplice.waits.full-pipe",
        "vmsplice() of one byte into a pipe full of pages sleeps until there is room: reading one page is enough.",
    )
    .published(&[
        ltp("vmsplice04.c", "vmsplice_test, a full pipe without a flag: it sleeps"),
        kernel("fs/splice.c", "wait_for_space"),
    ])
    .turned_by(&does_not_wait(Sysno::vmsplice))
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| sleeps_into(see, "vmsplice(full pipe, 1)", full()?)),
    about_vmsplice(
        "vmsplice.waits.not-for-the-rest",
        "vmsplice() of more memory than the pipe has room for returns what fits and does not sleep for the rest.",
    )
    .published(&[kernel("fs/splice.c", "vmsplice_to_pipe")])
    .turned_by(&[Lie::refused(Sysno::vmsplice, libc::EINTR)])
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        interrupt_with(libc::SIGUSR1)?; // ends a sleep
        let Pipe { read, write } = pipe()?;
        let size = aside(|| nocopy_splice::fcntl_getpipe_size(&write)).setup("F_GETPIPE_SZ")?;
        let bytes = pattern(4 * size);
        let memory = Arc::new(memory_of(&bytes)?);
        let given = Arc::clone(&memory);
        let caller = Caller::start(Sysno::vmsplice, move || give(&write, &given, BLOCKING))?;
        let (word, _) = woken(caller, |caller| caller.signal(libc::SIGUSR1))?;
        see.text("vmsplice(pipe, four times its size)", word).says(returned(Ok(size)));
        see.holds("the pipe's bytes", &read, &bytes[..size])?.says(AS_SENT);
        Ok(())
    }),
];
