//! `splice` and signals.

use super::{BLOCKING, about_splice, more_than_fits, sleeper};
use crate::claims::prelude::*;
use crate::lab::sleeper::interrupt_with;

pub const CLAIMS: &[Claim] = &[about_splice(
    "splice.faults.interrupted",
    "A splice() into a TCP socket that a signal interrupts after some bytes returns their number: the receiver gets \
     these, the pipe has the rest.",
)
.published(&[kernel("fs/splice.c", "splice_to_socket")])
.turned_by(&[Lie::refused(Sysno::splice, libc::EINTR)])
.except(&[Exception::Of(Sysno::splice, What::Shortened, "half of it may fit, and nothing sleeps")])
.sharing(&[Resource::UserPipePages])
.varying(&["splice(pipe of 1 MiB, TCP socket), then"])
.tried(|_lab, see| {
    let (bytes, Pipe { read, write }, near, far) = more_than_fits()?;
    interrupt_with(libc::SIGUSR1)?;
    let read = Arc::new(read);
    let caller = sleeper(Arc::clone(&read), near, bytes.len(), BLOCKING)?;
    let (word, result) = woken(caller, |caller| caller.signal(libc::SIGUSR1))?;
    see.text("splice(pipe of 1 MiB, TCP socket)", word).says(SLEEPS);
    see.call("splice(pipe of 1 MiB, TCP socket), then", result).at_least(1);
    let sent = result.unwrap_or(0).min(bytes.len());
    drop(write);
    let same = drained(drain(far.into()))? == bytes[..sent];
    see.whether("receiver has as many bytes as splice() returned, the first ones", same).says("yes");
    see.holds("bytes in the pipe", &*read, &bytes[sent..])?.says(AS_SENT);
    Ok(())
})];
