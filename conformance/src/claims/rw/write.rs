//! What `write` takes.

use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};

pub const CLAIMS: &[Claim] =
    &[claim("rw.write.eventfd", "A write() of more than eight bytes to an eventfd fails with EINVAL.")
        .published(&[
            gvisor("eventfd.cc", "EventfdTest.BigWriteFails").since("6.9"),
            STRICTLY.since("6.9"),
            man("eventfd(2)", "DESCRIPTION, write(2)").leaves_open(),
        ])
        .about(&[Sysno::write])
        .gated(&[gate("6.9", "a write to an eventfd has exactly eight bytes", STRICTLY)])
        .turned_by(&[
            Lie::about(Sysno::write, What::OtherErrno(libc::ENOLINK)).where_it(true),
            Lie::refused(Sysno::write, libc::EINVAL).where_it(false),
        ])
        .tried(|lab, see| {
            let eventfd = Descriptor::open(lab, Fd::Eventfd)?;
            io::set_nonblocking(&eventfd).setup("O_NONBLOCK")?;
            let taken = || {
                let mut number = [0; 8];
                match aside(|| io::read(&eventfd, &mut number)) {
                    Ok(_) | Err(EAGAIN) => Ok(u64::from_ne_bytes(number)),
                    Err(errno) => Err(Stop::from_setup("read the eventfd", errno)),
                }
            };
            taken()?;
            let one = 1_u64.to_ne_bytes();
            for length in [9, 16, 128] {
                let bytes = [&one[..], &vec![0; length - 8]].concat();
                see.call(format!("write(eventfd, {length} bytes)"), io::again(|| io::write(&eventfd, &bytes)))
                    .fails(EINVAL);
                see.count(format!("number after {length} bytes"), taken()?).is(0);
            }
            aside(|| io::write_whole(&eventfd, &one)).setup("write eight bytes")?;
            see.count("number after 8 bytes", taken()?).is(1);
            Ok(())
        })];

const STRICTLY: Source = commit(
    "d31563b5f9bb",
    "eventfd: strictly check the count parameter of eventfd_write to avoid inputting illegal strings",
);
