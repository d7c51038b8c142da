//! How sends in flight to a peer that does not read are ended.

use super::{completing, send};
use crate::claims::prelude::*;
use crate::lab::completions::Completions;

pub const CLAIMS: &[Claim] = &[claim(
    "zerocopy.abort.disconnect",
    "Over TCP loopback, connect() to AF_UNSPEC completes all MSG_ZEROCOPY sends in flight to a peer that never reads.",
)
.published(&[kernel("net/ipv4/tcp.c", "tcp_disconnect")])
.about(&[Sysno::connect, Sysno::recvmsg])
.turned_by(&[Lie::about(Sysno::connect, What::Skipped)])
.tried(|_lab, see| {
    static BYTES: [u8; 1 << 20] = [b'a'; 1 << 20];
    let (near, _far) = completing()?;
    io::set_nonblocking(&near).setup("fcntl")?;
    let mut sends = 0;
    loop {
        match aside(|| send(&near, &BYTES)) {
            Ok(_) => sends += 1,
            Err(EAGAIN | ENOBUFS) => break,
            Err(errno) => return Err(Stop::from_setup("send", errno)),
        }
    }
    let mut completions = aside(|| Completions::now(&near)).setup("read the completions")?;
    if completions.count() >= sends {
        return Err(Stop::broken("no send is in flight"));
    }
    // SAFETY: a `sockaddr` of the family 0, read during the call.
    let done = unsafe { ask(Sysno::connect, [argument(&near), [0_u64; 2].as_ptr().expose_provenance(), 16, 0, 0, 0]) };
    see.call("connect(AF_UNSPEC)", done).is(0);
    completions.read_now(&near).setup("read the completions")?;
    see.whether("all sends are completed afterwards", completions.count() == sends).says("yes");
    Ok(())
})];
