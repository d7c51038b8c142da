//! The number of bytes in a pipe.

use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] =
    &[claim("pipe.count.fionread", "FIONREAD returns, at either end, the number of unread bytes in a pipe.")
        .published(&[
            man("pipe(7)", "DESCRIPTION, Pipe capacity"),
            gvisor("pipe.cc", "PipeTest.FionRead"),
            ltp("pipe12.c", "verify_pipe, the write end"),
        ])
        .about(&[Sysno::ioctl])
        .turned_by(&[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 })])
        .sharing(super::USER)
        .tried(|_lab, see| {
            let pipe = pipe()?;
            let mut note = |when: &str, count: usize| -> Result<(), Stop> {
                for (end, fd) in [("read", AsFd::as_fd(&pipe.read)), ("write", AsFd::as_fd(&pipe.write))] {
                    let unread = sockets::readable(&fd)?;
                    see.count(format!("FIONREAD of the {end} end, {when}"), unread as u64).is(count);
                }
                Ok(())
            };
            super::put(&pipe.write, b"abc")?;
            note("3 bytes written", 3)?;
            io::read_full(&pipe.read, &mut [0; 3]).setup("read a pipe")?;
            note("3 bytes read", 0)?;
            fill(&pipe, 2 * page() + 1)?;
            note("two pages and a byte written", 2 * page() + 1)?;
            read_page(&pipe.read)?;
            note("a page read", page() + 1)
        })];
