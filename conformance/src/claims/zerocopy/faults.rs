//! Faults during a send with `MSG_ZEROCOPY`.

use super::{SENDS, completing, document, wait};
use crate::claims::prelude::*;
use crate::lab::sleeper::interrupt_with;
use nocopy_msg_zerocopy::{Enabled, SendFlags, send_zerocopy};
use std::net::Shutdown;

pub const CLAIMS: &[Claim] = &[claim(
    "zerocopy.faults.interrupted",
    "A TCP send() with MSG_ZEROCOPY that a signal interrupts after some bytes returns their number and takes one id.",
)
.published(&[
    man("signal(7)", "DESCRIPTION, Interruption of system calls and library functions by signal handlers"),
    man("send(2)", "ERRORS, EINTR"),
    document("Notifications"),
])
.about(SENDS)
.turned_by(&[Lie::refused(Sysno::sendto, libc::EINTR)])
.except(&[
    Exception::Of(Sysno::sendto, What::Shortened, "half of it may fit, and nothing sleeps"),
    Exception::asked(Sysno::sendto),
])
.tried(|_lab, see| {
    let content: &'static [u8] = pattern(4 << 20).leak();
    let (near, far) = completing()?;
    aside(|| {
        sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 16)?;
        sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 16)
    })?;
    interrupt_with(libc::SIGUSR1)?;
    let near = Arc::new(near);
    let socket = Arc::clone(&near);
    let caller = Caller::start(Sysno::sendto, move || {
        // SAFETY: the bytes are leaked, so they are never freed.
        unsafe { send_zerocopy(Enabled::assume(socket.as_fd().into()), content, SendFlags::empty()) }
    })?;
    let slept = caller.sleeps()?;
    if slept {
        aside(|| caller.signal(libc::SIGUSR1))?;
    }
    let sent = caller.join()?;
    if sent == Err(ENOBUFS) {
        let what = "4 MiB may not be pinned: ENOBUFS";
        return Err(Stop::untestable(Lack::Resource, what, "raise the limit: ulimit -l 8192"));
    }
    let is_short = slept && matches!(sent, Ok(1..));
    let word = if is_short { "short".to_owned() } else { returned(sent) };
    see.text("send(4 MiB, MSG_ZEROCOPY), asleep and interrupted", word).says("short");
    let sent = sent.unwrap_or(0);
    aside(|| near.shutdown(Shutdown::Write)).setup("shutdown")?;
    let is_prefix = drained(drain(far.into()))? == content[..sent];
    see.whether("the receiver has the first bytes, as many as were returned", is_prefix).says("yes");
    see.text("completions", wait(&*near, u64::from(sent > 0))?.ranges()).says("[0, 0]");
    Ok(())
})];
