//! What the close of an end wakes.

use super::USER;
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[
    claim(
        "pipe.close.wakes-writer",
        "When the last reader closes, a sleeping write() returns what it has written, or EPIPE if nothing; both raise \
         SIGPIPE.",
    )
    .published(&[gvisor("pipe.cc", "PipeTest.BlockWriteClosed"), gvisor("pipe.cc", "PipeTest.BlockPartialWriteClosed")])
    .about(&[Sysno::write])
    .turned_by(&[Lie::refused(Sysno::write, libc::EAGAIN), Lie::about(Sysno::write, What::Swallowed(libc::SIGPIPE))])
    .except(&[Exception::Of(
        Sysno::write,
        What::Shortened,
        "half of it is what the pipe holds: the call does not sleep",
    )])
    .sharing(USER)
    .tried(|_lab, see| {
        for (what, is_full) in [("write(full pipe, 1)", true), ("write(empty pipe, twice its size)", false)] {
            let Pipe { read, write } = if is_full { full()? } else { pipe()? };
            let size = aside(|| nocopy_splice::fcntl_getpipe_size(&write)).setup("F_GETPIPE_SZ")?;
            let bytes = vec![0; if is_full { 1 } else { 2 * size }];
            let (noted, signals) = raised(libc::SIGPIPE, || {
                let caller = Caller::start(Sysno::write, move || io::again(|| io::write(&write, &bytes)))?;
                let slept = caller.sleeps_with(|| Ok(aside(|| sockets::readable(&read))? == size))?;
                drop(read);
                Ok::<_, Stop>((slept, caller.join()?))
            })?;
            let (slept, result) = noted?;
            see.text(what, if slept { SLEEPS.to_owned() } else { returned(result) }).says(SLEEPS);
            see.call(format!("{what}, then"), result).gives(if is_full { Err(EPIPE) } else { Ok(size) });
            see.count(format!("signals of {what}"), signals).is(1);
        }
        Ok(())
    }),
    claim(
        "pipe.close.wakes-readers",
        "When the last writer of a pipe closes it, all readers that sleep are woken and get 0.",
    )
    .published(&[
        ltp("pipe13.c", "verify_pipe"),
        commit("6551d5c56eb0", "pipe: make sure to wake up everybody when the last reader/writer closes").since("5.6"),
        man("pipe(7)", "DESCRIPTION, I/O on pipes and FIFOs"),
    ])
    .about(&[Sysno::read])
    .turned_by(&does_not_wait(Sysno::read))
    .tried(|_lab, see| {
        let Pipe { read, write } = pipe()?;
        let read = Arc::new(read);
        let mut readers = Vec::new();
        for _ in 0..3 {
            let read = Arc::clone(&read);
            readers.push(Caller::start(Sysno::read, move || io::again(|| io::read(&*read, &mut [0])))?);
        }
        let mut asleep = 0;
        for reader in &readers {
            asleep += u64::from(reader.sleeps()?);
        }
        drop(write);
        see.count("readers asleep", asleep).is(3);
        for (number, reader) in (1..).zip(readers) {
            see.call(format!("read(pipe, 1) of reader {number}, then"), reader.join()?).is(0);
        }
        Ok(())
    }),
];
