//! The flags of `vmsplice`, and `O_NONBLOCK`.

use super::{BLOCKING, NONBLOCK, about_vmsplice, give, give_named, sleeps_into, take};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[
    about_vmsplice(
        "vmsplice.flags.nonblock",
        "With SPLICE_F_NONBLOCK, vmsplice() into a full pipe with a reader, or out of an empty one with a writer, \
         fails with EAGAIN.",
    )
    .published(&[
        man("vmsplice(2)", "ERRORS, EAGAIN"),
        ltp("vmsplice04.c", "vmsplice_test, a full pipe with SPLICE_F_NONBLOCK"),
    ])
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        let (full, empty) = (full()?, pipe()?);
        let mut byte = [0];
        see.call("vmsplice(full pipe, SPLICE_F_NONBLOCK)", give(&full.write, b"b", NONBLOCK)).fails(EAGAIN);
        see.call("vmsplice(empty pipe, SPLICE_F_NONBLOCK)", take(&empty.read, &mut byte, NONBLOCK)).fails(EAGAIN);
        see.call("vmsplice(pipe with room, SPLICE_F_NONBLOCK)", give(&empty.write, b"b", NONBLOCK)).is(1);
        see.call("vmsplice(pipe with a byte, SPLICE_F_NONBLOCK)", take(&empty.read, &mut byte, NONBLOCK)).is(1);
        see.text("the byte", char::from(byte[0])).says('b');
        Ok(())
    }),
    about_vmsplice(
        "vmsplice.flags.o-nonblock",
        "vmsplice() ignores O_NONBLOCK of its pipe: it sleeps into a full pipe, and out of an empty one.",
    )
    .published(&[kernel("fs/splice.c", "wait_for_space"), kernel("fs/splice.c", "splice_from_pipe_next")])
    .turned_by(&does_not_wait(Sysno::vmsplice))
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        let full = full()?;
        io::set_nonblocking(&full.write).setup("F_SETFL")?;
        sleeps_into(see, "vmsplice(full pipe with O_NONBLOCK, 1)", full)?;
        let Pipe { read, write } = pipe()?;
        io::set_nonblocking(&read).setup("F_SETFL")?;
        let caller = Caller::start(Sysno::vmsplice, move || io::again(|| take(&read, &mut [0], BLOCKING)))?;
        let wake = |_: &Caller| io::write_all(&write, b"b").setup("write to a pipe");
        see.sleeps("vmsplice(empty pipe with O_NONBLOCK)", caller, wake)?.is(1);
        Ok(())
    }),
    about_vmsplice(
        "vmsplice.flags.unknown",
        "vmsplice() fails with EINVAL if a flag bit other than the four SPLICE_F_* bits is set.",
    )
    .published(&[kernel("fs/splice.c", "SYSCALL_DEFINE4(vmsplice)")])
    .tried(|_lab, see| {
        let (memory, pipe) = (alias::memory(page())?, pipe()?);
        let with = |flags| give_named(&pipe.write, &[memory.as_ptr().expose_provenance(), 1], flags);
        let refused = (4..32).filter(|bit| with(1 << bit) == Err(EINVAL)).count();
        see.count("bits from 4 to 31 with which vmsplice(pipe) fails with EINVAL", refused as u64).is(28);
        see.call("vmsplice(pipe, 0xf)", with(0xf)).is(1);
        see.readable("bytes in the pipe", &pipe.read)?.is(1);
        Ok(())
    }),
];
