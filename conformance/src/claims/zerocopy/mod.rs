//! `MSG_ZEROCOPY`.

pub(super) mod abort;
pub(super) mod copies;
pub(super) mod entries;
pub(super) mod faults;
pub(super) mod ids;
pub(super) mod limit;
pub(super) mod memory;
pub(super) mod notify;
pub(super) mod option;
pub(super) mod queue;
pub(super) mod recv;
pub(super) mod repair;
pub(super) mod sample;
pub(super) mod socket;
pub(super) mod udp;
pub(super) mod vsock;

use crate::claims::prelude::*;
use crate::lab::completions::Completions;
use nocopy_msg_zerocopy::{Enabled, SendFlags, send_zerocopy};
use std::net::TcpStream;

const SENDS: &[Sysno] = &[Sysno::sendto, Sysno::recvmsg];
const ONE_SHIFTED: &[Lie] = &[Lie::about(Sysno::recvmsg, What::IdsShifted(1))];

/// The kernel's document of `MSG_ZEROCOPY`, which came with it.
const fn document(heading: &'static str) -> Source {
    doc("networking/msg_zerocopy.rst", heading).since("4.14")
}

/// Two ends of a TCP connection over loopback. The near end has `SO_ZEROCOPY`.
fn enabled() -> Result<(TcpStream, TcpStream), Stop> {
    let (near, far) = sockets::tcp()?;
    sockets::zerocopy_on(&near)?;
    Ok((near, far))
}

/// The same, on a kernel on which completions come, so that a wait for one ends.
fn completing() -> Result<(TcpStream, TcpStream), Stop> {
    completions_come()?;
    enabled()
}

/// Checks that completions come: gVisor takes the option and the flag, and completes nothing.
fn completions_come() -> Result<(), Stop> {
    let came = aside(|| {
        let (near, far) = enabled()?;
        send_all(&near, b"1")?;
        completed(&near, &far)
    })?;
    if came.count() == 1 {
        return Ok(());
    }
    let what = "SO_ZEROCOPY and MSG_ZEROCOPY are accepted, and no completion comes";
    Err(Stop::untestable(Lack::Kernel, what, "use a kernel that completes such sends"))
}

/// Sends bytes with the flag by one call. The socket has `SO_ZEROCOPY`.
fn send(socket: &impl AsFd, bytes: &'static [u8]) -> Result<usize, Errno> {
    let socket = Enabled::assume(socket.as_fd().into());
    // SAFETY: the bytes never change and are never freed.
    io::again(|| unsafe { send_zerocopy(socket, bytes, SendFlags::NOSIGNAL) })
}

/// Sends all of `bytes` with the flag. Returns the number of calls.
fn send_all(socket: &impl AsFd, bytes: &'static [u8]) -> Result<u64, Stop> {
    let mut calls = 0;
    let step = |done: usize| send(socket, &bytes[done..]).inspect(|_| calls += 1);
    io::all_done(bytes.len(), step).setup("send")?;
    Ok(calls)
}

/// Sends from any address with the flag by one call.
///
/// # Safety
///
/// Memory that the kernel can read there must neither change nor be freed before the process ends.
unsafe fn send_at(socket: &impl AsFd, address: usize, length: usize) -> Result<usize, Errno> {
    let flags = libc::MSG_ZEROCOPY.cast_unsigned() as usize;
    // SAFETY: the caller's promise; there is no address to send to.
    io::again(|| unsafe { ask(Sysno::sendto, [argument(socket), address, length, flags, 0, 0]) })
}

/// The completions after the peer has acknowledged everything: no later one is possible.
fn completed(near: &TcpStream, far: &TcpStream) -> Result<Completions, Stop> {
    sockets::wait_until_acknowledged(near, far)?;
    Completions::now(near).setup("read the completions")
}

/// Waits for the completions of this number of sends.
fn wait(socket: &impl AsFd, sends: u64) -> Result<Completions, Stop> {
    Completions::wait(socket, sends).setup("read the completions")
}

/// Notes which ids are completed: those of this number of sends, once each.
fn have_ids(see: &mut Observation, near: &TcpStream, far: &TcpStream, sends: u64) -> Result<(), Stop> {
    let completions = completed(near, far)?;
    let ids = if completions.count() == sends { completions.ids() } else { completions.ranges() };
    see.text("ids completed", ids).says(format!("0 to {}", sends - 1));
    Ok(())
}

/// Notes that what arrived is what was sent.
fn are_sent(see: &mut Observation, fact: impl Into<String>, same: bool) {
    see.text(fact, as_sent(same)).says(AS_SENT);
}
