//! Mappings of sockets.

use super::{EXECUTE, MAPPED, READ, SHARED, SeeMapped, WRITE, about_mmap, map};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};

pub const CLAIMS: &[Claim] = &[about_mmap(
    "mmap.socket.tcp",
    "A connected TCP socket can be mapped shared for reading; with PROT_WRITE or PROT_EXEC mmap() fails with EPERM.",
)
.published(&[
    selftest("net/tcp_mmap.c", "child_thread").leaves_open(),
    kernel("net/ipv4/tcp.c", "tcp_mmap"),
    man("mmap(2)", "ERRORS, EACCES").denies(),
])
.turned_by(&[Lie::refused(Sysno::mmap, libc::ENODEV).with(3, SHARED as u64), Lie::accepted(Sysno::mmap)])
.tried(|lab, see| {
    let socket = Descriptor::open(lab, Fd::TcpSocket)?;
    let with = |protection| map(&socket, page(), READ | protection, SHARED, 0);
    see.mapped("mmap(TCP socket, PROT_READ)", with(READ))?.says(MAPPED);
    see.mapped("mmap(TCP socket, PROT_READ|PROT_WRITE)", with(WRITE))?.fails(EPERM);
    see.mapped("mmap(TCP socket, PROT_READ|PROT_EXEC)", with(EXECUTE))?.fails(EPERM);
    Ok(())
})];
