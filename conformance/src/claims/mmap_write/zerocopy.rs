//! `MSG_ZEROCOPY` of a mapping.

use crate::claims::prelude::*;
use crate::lab::completions::Completions;
use crate::lab::{map_file, netns};
use nocopy_msg_zerocopy::{SendFlags, send_zerocopy};

pub const CLAIMS: &[Claim] = &[claim(
    "mmap-write.zerocopy.dropping-device",
    "A mapped file sent with MSG_ZEROCOPY as a UDP datagram out of a dummy device is not copied by the CPU.",
)
.published(&[doc("networking/msg_zerocopy.rst", "Deferred copies").leaves_open()])
.about(&[Sysno::sendto, Sysno::recvmsg])
.modules(&["dummy"])
.turned_by(&[Lie::completion(Field::Code, 1)])
.except(&[Exception::Of(Sysno::sendto, What::Shortened, "a datagram is sent whole")])
.varying(&["completions"])
.method("Sends out of a dummy device in a network namespace; the completion tells whether the kernel copied.")
.tried(|lab, see| {
    let file = alias::source(lab)?;
    let socket = netns::udp_into_nothing()?;
    let mapping = map_file(&file, alias::LENGTH).setup("mmap")?;
    let zerocopy = sockets::zerocopy_on(&socket)?;
    // SAFETY: nothing changes or truncates the file while the slice is in use.
    let bytes = unsafe { mapping.as_slice() };
    // SAFETY: the mapping outlives the completion, for which we wait.
    let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &bytes[..netns::DATAGRAM], SendFlags::empty()) });
    see.count("bytes sent from the mapping", sent.setup("send")? as u64).is(netns::DATAGRAM);
    let completions = Completions::wait(&socket, 1).setup("read the completions")?;
    see.text("completions", &completions);
    see.count("completions marked as copied", completions.copied()).is(0);
    Ok(())
})];
