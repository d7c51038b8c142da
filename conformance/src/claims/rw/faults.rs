//! Signals during a `write`.

use crate::claims::prelude::*;
use crate::lab::sleeper::{interrupt_with, restart_with};

pub const CLAIMS: &[Claim] = &[claim(
    "rw.faults.interrupted",
    "A write() to a TCP socket that a signal interrupts after some bytes were sent returns their number: the receiver \
     gets these and no others.",
)
.published(&[
    man("signal(7)", "DESCRIPTION, Interruption of system calls and library functions by signal handlers"),
    man("write(2)", "NOTES"),
])
.about(&[Sysno::write])
.turned_by(&[Lie::refused(Sysno::write, libc::EINTR)])
.except(&[
    Exception::Of(Sysno::write, What::Shortened, "half of it may fit, and nothing sleeps"),
    Exception::Of(Sysno::write, What::Interrupted, "what a signal does is what is asked"),
])
.method("Writes 4 MiB in a thread to a receiver that does not read, and interrupts it by a signal once it sleeps.")
.tried(|_lab, see| {
    let restarts = (libc::SIGUSR2, "with SA_RESTART");
    interrupt_with(libc::SIGUSR1)?;
    restart_with(restarts.0)?;
    for (signal, name) in [(libc::SIGUSR1, "without SA_RESTART"), restarts] {
        let content = Arc::new(pattern(4 << 20));
        let (near, far) = sockets::tcp()?;
        aside(|| sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 16))?;
        aside(|| sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 16))?;
        let bytes = Arc::clone(&content);
        let caller = Caller::start(Sysno::write, move || io::write(&near, &bytes))?;
        let slept = caller.sleeps()?;
        if slept {
            aside(|| caller.signal(signal))?;
        }
        // The thread has closed its end when it returns.
        let written = caller.join()?;
        see.whether(format!("write() {name} sleeps"), slept).says("yes");
        let count = written.unwrap_or(0);
        let word = if (1..content.len()).contains(&count) { "short".to_owned() } else { returned(written) };
        see.text(format!("interrupted write() {name}"), word).says("short");
        let received = drained(drain(far.into()))?;
        let is_so = received.len() == count && content.starts_with(&received);
        see.whether(format!("the receiver has these bytes and no others, {name}"), is_so).says("yes");
    }
    Ok(())
})];
