//! The flags of `tee`, and `O_NONBLOCK`.

use super::{BLOCKING, NONBLOCK, about_tee, raw};
use crate::claims::prelude::*;
use nocopy_splice::tee;

pub const CLAIMS: &[Claim] = &[
    about_tee(
        "tee.flags.nonblock",
        "With SPLICE_F_NONBLOCK, tee() from an empty pipe with a writer, or into a full one with a reader, fails with \
         EAGAIN.",
    )
    .published(&[
        man("tee(2)", "ERRORS, EAGAIN"),
        gvisor("splice.cc", "TeeTest.NonBlocking, of an empty pipe"),
        kernel("fs/splice.c", "ipipe_prep, opipe_prep"),
    ])
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        let (empty, full, some) = (pipe()?, full()?, filled(b"bytes")?);
        let room = pipe()?;
        see.call("tee(empty pipe, pipe)", tee(&empty.read, &room.write, 5, NONBLOCK)).fails(EAGAIN);
        see.call("tee(pipe, full pipe)", tee(&some.read, &full.write, 5, NONBLOCK)).fails(EAGAIN);
        see.call("tee(pipe, empty pipe)", tee(&some.read, &room.write, 1, NONBLOCK)).is(1);
        see.readable("bytes in the last", &room.read)?.is(1);
        Ok(())
    }),
    about_tee(
        "tee.flags.o-nonblock",
        "With O_NONBLOCK on one of its descriptors, tee() from an empty pipe with a writer, or into a full one with a \
         reader, fails with EAGAIN.",
    )
    .published(&[
        man("tee(2)", "ERRORS, EAGAIN"),
        kernel("fs/splice.c", "do_tee"),
        commit("ee5e001196d1", "fs: Make splice() and tee() take into account O_NONBLOCK flag on pipes").since("5.1"),
    ])
    .method("Makes each call in a thread, so that a sleep is seen as one.")
    .sharing(&[Resource::UserPipePages])
    .tried(|_lab, see| {
        for of_input in [true, false] {
            for is_empty in [true, false] {
                let (from, to) = if is_empty { (pipe()?, pipe()?) } else { (filled(b"bytes")?, full()?) };
                let end = if of_input { AsFd::as_fd(&from.read) } else { AsFd::as_fd(&to.write) };
                io::set_nonblocking(&end).setup("F_SETFL")?;
                let (input, output) = (from.read, to.write);
                let caller = Caller::start(Sysno::tee, move || io::again(|| tee(&input, &output, 5, BLOCKING)))?;
                let which = if of_input { "input" } else { "output" };
                let pipes = if is_empty { "empty pipe, pipe" } else { "pipe, full pipe" };
                let slept = caller.sleeps()?;
                drop((from.write, to.read)); // what sleeps is woken
                let word = if slept { "sleeps".to_owned() } else { returned(caller.join()?) };
                see.text(format!("O_NONBLOCK of the {which}: tee({pipes})"), word).says("EAGAIN");
            }
        }
        Ok(())
    }),
    about_tee("tee.flags.unknown", "tee() fails with EINVAL if a flag bit other than the four SPLICE_F_* bits is set.")
        .published(&[kernel("fs/splice.c", "SYSCALL_DEFINE4(tee)")])
        .tried(|_lab, see| {
            let (from, to) = (filled(b"bytes")?, pipe()?);
            let with = |flags| raw(argument(&from.read), argument(&to.write), 1, flags);
            let refused = (4..32).filter(|bit| with(1 << bit) == Err(EINVAL)).count();
            see.count("bits from 4 to 31 with which tee(pipe, other pipe) fails with EINVAL", refused as u64).is(28);
            see.call("tee(pipe, other pipe, 0xf)", with(0xf)).is(1);
            see.readable("bytes in the other pipe", &to.read)?.is(1);
            Ok(())
        }),
];
