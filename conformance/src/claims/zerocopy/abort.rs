//! How sends in flight to a peer that does not read are ended.

use super::{completing, send};
use crate::claims::prelude::*;
use crate::lab::completions::Completions;

pub const CLAIMS: &[Claim] = &[claim(
    "zerocopy.abort.disconnect",
    "connect() to AF_UNSPEC completes all MSG_ZEROCOPY sends that a TCP peer which does not read has left in flight.",
)
.published(&[kernel("net/ipv4/tcp.c", "tcp_disconnect")])
.about(&[Sysno::connect, Sysno::recvmsg])
.turned_by(&[Lie::about(Sysno::connect, What::Skipped)])
.tried(|_lab, see| {
    static BYTES: [u8; 1 << 20] = [b'a'; 1 << 20];
    let (near, _far) = completing()?;
    io::set_nonblocking(&near).setup("fcntl")?;
    // Until nothing more is taken.
    let sends = (0..).take_while(|_| aside(|| send(&near, &BYTES)).is_ok()).count() as u64;
    let mut completions = aside(|| Completions::now(&near)).setup("read the completions")?;
    see.text("sends in flight to a peer that does not read", is_some(sends - completions.count())).says("some");
    // SAFETY: a `sockaddr` of the family 0, read during the call.
    let done = unsafe { ask(Sysno::connect, [argument(&near), [0_u64; 2].as_ptr().expose_provenance(), 16, 0, 0, 0]) };
    see.call("connect(AF_UNSPEC)", done).is(0);
    completions.read_now(&near).setup("read the completions")?;
    see.text("sends in flight afterwards", is_some(sends - completions.count())).says("none");
    Ok(())
})];

const fn is_some(sends: u64) -> &'static str {
    if sends == 0 { "none" } else { "some" }
}
