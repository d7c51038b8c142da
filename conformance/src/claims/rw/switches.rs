//! Whether `read` and `write` switch to another thread.

use crate::claims::prelude::*;
use crate::lab::usage::Usage;
use std::time::Duration;

pub const CLAIMS: &[Claim] = &[claim(
    "rw.switches.scheduler",
    "read() of a cached file and write() to a TCP socket need no switch of the scheduler.",
)
.published(&[MEASURED])
.about(&[Sysno::read, Sysno::write])
.except(&[Exception::Controls(
    "under a tracer every call switches; without one a sleep is counted and a read() and write() are not",
)])
.method("Counts the switches of 64 reads and writes of a page, voluntary and involuntary, by getrusage().")
.tried(|lab, see| {
    let file = alias::source(lab)?;
    let (near, far) = sockets::tcp()?;
    let (mut buffer, mut fewest) = (vec![0; page()], u64::MAX);
    for _ in 0..64 {
        aside(|| io::seek(&file, 0)).setup("lseek")?;
        let before = Usage::now();
        let read = io::again(|| io::read(&file, &mut buffer)).setup("read")?;
        let written = io::again(|| io::write(&near, &buffer[..read])).setup("write")?;
        let used = Usage::now().since(before);
        fewest = fewest.min(used.voluntary + used.involuntary);
        let position = aside(|| io::position(&file)).setup("lseek")?;
        aside(|| sockets::wait_for_arrival(&far, written))?;
        let came = aside(|| sockets::readable(&far))?;
        let is_sent = position == read as u64 && written > 0 && came == written;
        if !is_sent || !arrived(&far, &[alias::OLD].repeat(came))? {
            return Err(Stop::broken(format!("read {read}, written {written}, position {position}, arrived {came}")));
        }
    }
    // Long enough that the timer cannot fire before the thread sleeps.
    let before = Usage::now();
    std::thread::sleep(Duration::from_millis(5));
    let now = Usage::now();
    if now.voluntary + now.involuntary == 0 {
        let what = "getrusage() counts no context switches, not even that of a sleep";
        return Err(Stop::untestable(Lack::Kernel, what, "use a kernel that counts them"));
    }
    see.count("fewest switches of one read() and write()", fewest).is(0);
    see.count("switches of a sleep", now.since(before).voluntary).at_least(1);
    Ok(())
})];
