//! `read` of a pipe.

use crate::claims::prelude::*;
use nocopy_splice::PipeFlags;

pub const CLAIMS: &[Claim] = &[claim(
    "pipe.read.end",
    "read() of an empty O_NONBLOCK pipe with a writer fails with EAGAIN; without one it returns what is left, then 0.",
)
.published(&[
    man("pipe(7)", "DESCRIPTION, I/O on pipes and FIFOs"),
    ltp("pipe14.c", "without a writer"),
    gvisor("pipe.cc", "PipeTest.NonBlocking, with a writer"),
])
.about(&[Sysno::read])
.turned_by(&[Lie::about(Sysno::read, What::OtherErrno(libc::EIO)), Lie::refused(Sysno::read, libc::EAGAIN)])
.tried(|_lab, see| {
    let Pipe { read, write } = aside(|| super::made(PipeFlags::NONBLOCK))?;
    let mut buffer = [0];
    let mut read_one = || io::again(|| io::read(&read, &mut buffer));
    see.call("read(empty pipe)", read_one()).fails(EAGAIN);
    super::put(&write, b"b")?;
    drop(write);
    see.call("read(pipe with a byte, without writers)", read_one()).is(1);
    see.call("read(empty pipe without writers)", read_one()).is(0);
    see.text("the byte", char::from(buffer[0])).says('b');
    Ok(())
})];
