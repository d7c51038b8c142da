//! Sends of a socket that is being repaired (`TCP_REPAIR`), as CRIU has them.

use super::{completing, document, have_ids, send, send_at};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] = &[claim(
    "zerocopy.repair.failed-send",
    "A MSG_ZEROCOPY send into a TCP socket's repaired receive queue that fails with EFAULT takes an id.",
)
.published(&[document("Notifications").denies(), kernel("net/ipv4/tcp.c", "tcp_sendmsg_locked")])
.about(&[Sysno::sendto, Sysno::recvmsg])
.turned_by(super::ONE_SHIFTED)
.tried(|_lab, see| {
    let (near, far) = completing()?;
    let set = |name, value| aside(|| sockets::set_option(&near, libc::IPPROTO_TCP, name, value));
    set(libc::TCP_REPAIR, 1).setup("TCP_REPAIR")?;
    set(libc::TCP_REPAIR_QUEUE, 1).setup("TCP_REPAIR_QUEUE")?;
    // SAFETY: at this address nothing can be read.
    let failed = unsafe { send_at(&near, io::NOWHERE, 1) };
    see.call("send(bad address, MSG_ZEROCOPY) in repair", failed).fails(EFAULT);
    set(libc::TCP_REPAIR, 0).setup("TCP_REPAIR")?;
    see.call("send(1 byte, MSG_ZEROCOPY) afterwards", send(&near, b"b")).is(1);
    have_ids(see, &near, &far, 2)
})];
