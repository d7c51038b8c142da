//! Faults during a transfer: signals, changed files and closed halves, and the bytes at the receiver after them.

use super::tools::{AS_SENT, RECEIVED, arrived, drain, note_bytes, pipe};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::open;
use crate::lab::pages::{self, PAGE};
use crate::lab::sleeper::{Caller, interrupt_with, returned};
use crate::lab::{Lab, alias, io, pattern, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_sendfile::sendfile;
use nocopy_splice::{IoVec, SpliceFlags, splice, vmsplice_to_pipe};
use std::fs::File;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use syscalls::{Errno, Sysno};

const SIGNAL: Source = Source::Man("signal(7), man-pages 6.20");
const HAPROXY: Source = Source::Thread("haproxy/haproxy#2505 and #356");
const BLOCKING: SpliceFlags = SpliceFlags::empty();
const METHOD: &str = "Makes the call in a thread to a receiver that does not read, sends it a signal once it sleeps, and then lets the \
                      receiver read to the end.";
const WHAT_RETURNED: &str = "interrupted call";
const SHORT: (&str, Answer) = (WHAT_RETURNED, Answer::Says("short"));
const THESE: (&str, Answer) = (RECEIVED, Answer::Says("as many as returned, the first ones"));
/// The number of bytes to send: more than the sockets hold.
const LENGTH: usize = 4 << 20;

/// Half of the length may fit into the sockets, and a shortened call is then complete. A signal is the subject of the claims.
const fn of_signals(call: Sysno) -> [Exception; 2] {
    [
        Exception::Of(call, What::Shortened, "half of it may fit, and nothing sleeps"),
        Exception::Of(call, What::Interrupted, "what a signal does is what is asked"),
    ]
}

/// Claims about faults.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "A write() to a socket that a signal interrupts returns how many bytes have gone: the receiver has these, no others.",
        method: METHOD,
        sources: &[SIGNAL, Source::Measured],
        about: &[Sysno::write],
        lies: &[Lie::refused(Sysno::write, libc::EINTR)],
        exceptions: &of_signals(Sysno::write),
        ..Claim::of_answers(
            "rw.faults.interrupted",
            |_lab| {
                let content = pattern(LENGTH);
                let (near, far) = narrow()?;
                let from = content.clone();
                interrupted(Sysno::write, near, far, &content, move |near| io::write(near, &from))
            },
            &[SHORT, THESE],
        )
    },
    Claim {
        statement: "A sendfile() to a socket that a signal interrupts returns how many bytes have gone: the receiver has these, no \
                    others, and the offset is behind them.",
        method: METHOD,
        sources: &[SIGNAL, Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::refused(Sysno::sendfile, libc::EINTR)],
        exceptions: &of_signals(Sysno::sendfile),
        ..Claim::of_answers(
            "sendfile.faults.interrupted",
            |lab| {
                let content = pattern(LENGTH);
                let file = lab.file(&content)?;
                let (near, far) = narrow()?;
                interrupted(Sysno::sendfile, near, far, &content, move |near| {
                    let mut offset = 0;
                    let sent = sendfile(near, &file, Some(&mut offset), LENGTH)?;
                    // A wrong offset changes the result.
                    Ok(if offset == sent as u64 { sent } else { usize::MAX })
                })
            },
            &[SHORT, THESE],
        )
    },
    Claim {
        statement: "A splice() to a socket that a signal interrupts returns how many bytes have gone: the receiver has these, and the \
                    pipe the rest.",
        method: METHOD,
        sources: &[SIGNAL, Source::Measured],
        about: &[Sysno::splice],
        lies: &[Lie::refused(Sysno::splice, libc::EINTR)],
        exceptions: &of_signals(Sysno::splice),
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "splice.faults.interrupted",
            splice_faults_interrupted,
            &[SHORT, THESE, ("rest in the pipe", Answer::Says("what was not sent"))],
        )
    },
    Claim {
        statement: "A vmsplice() of more than the pipe has room for does not sleep for the rest: it returns how much is in the pipe.",
        method: "Makes the call without SPLICE_F_NONBLOCK in a thread, looks whether it sleeps, and reads the pipe.",
        sources: &[Source::Measured],
        about: &[Sysno::vmsplice],
        lies: &[Lie::refused(Sysno::vmsplice, libc::EINTR)],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "vmsplice.waits.not-for-the-rest",
            |_lab| {
                let content = pattern(1 << 18);
                let mut memory = alias::memory(content.len())?;
                memory.copy_from_slice(&content);
                let pipe = pipe()?;
                let (write, read) = (pipe.write, pipe.read);
                interrupted(Sysno::vmsplice, write, read, &content, move |write| {
                    // SAFETY: the memory is not changed, and it is leaked, so it is never freed.
                    let given = unsafe { vmsplice_to_pipe(write, &[IoVec::new(&memory)], BLOCKING) };
                    std::mem::forget(memory);
                    given
                })
            },
            &[(WHAT_RETURNED, Answer::Says("not asleep, returned 65536")), THESE],
        )
    },
    Claim {
        statement: "What sendfile() has given to a socket stays as it was when whole pages of a memfd are punched out, and is zeros \
                    where a part of a page is.",
        method: "Sends four pages to a socket that nobody reads, punches out the second page and half of the third, and reads.",
        sources: &[Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::bytes(Sysno::read, b'b', b'z')],
        ..Claim::of_answers(
            "sendfile.faults.punched",
            |_lab| {
                let file = lettered_memfd()?;
                let (near, far) = sockets::tcp()?;
                let mut offset = 0;
                let sent = io::until_done(4 * PAGE, |done| sendfile(&near, &file, Some(&mut offset), 4 * PAGE - done));
                let mut seen = Observation::new();
                seen.call("sendfile(four pages)", sent);
                drop(near);
                punched(seen, &file, &far)
            },
            PUNCHED,
        )
    },
    Claim {
        statement: "What splice() has taken into a pipe stays as it was when whole pages of a memfd are punched out, and is zeros \
                    where a part of a page is.",
        method: "Splices four pages into a pipe, punches out the second page and half of the third, and reads.",
        sources: &[Source::Measured],
        about: &[Sysno::splice],
        lies: &[Lie::bytes(Sysno::read, b'b', b'z')],
        ..Claim::of_answers(
            "splice.faults.punched",
            |_lab| {
                let file = lettered_memfd()?;
                let pipe = pipe()?;
                let mut offset = 0;
                let moved = io::until_done(4 * PAGE, |done| {
                    splice(&file, Some(&mut offset), &pipe.write, None, 4 * PAGE - done, BLOCKING)
                });
                let mut seen = Observation::new();
                seen.call("splice(four pages)", moved);
                drop(pipe.write);
                punched(seen, &file, &pipe.read)
            },
            PUNCHED,
        )
    },
    Claim {
        statement: "When a TCP peer has closed its half, sendfile() goes on sending to it.",
        sources: &[Source::Man("shutdown(2), man-pages 6.20"), Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::refused(Sysno::sendfile, libc::EPIPE)],
        ..Claim::of_answers(
            "sendfile.faults.half-closed",
            |lab| {
                let content = pattern(3 * PAGE);
                let file = lab.file(&content)?;
                let (near, far) = sockets::tcp()?;
                aside(|| far.shutdown(Shutdown::Write)).setup("shutdown")?;
                aside(|| io::wait_for(near.as_fd(), libc::POLLIN)).setup("poll")?;
                let mut offset = 0;
                let sent = io::until_done(content.len(), |done| {
                    sendfile(&near, &file, Some(&mut offset), content.len() - done)
                });
                let mut seen = Observation::new();
                seen.call("sendfile(socket, file)", sent);
                drop(near);
                note_bytes(&mut seen, arrived(&far, &content)?);
                Ok(seen)
            },
            &[("sendfile(socket, file)", Answer::Is(3 * PAGE as u64)), (RECEIVED, Answer::Says(AS_SENT))],
        )
    },
    Claim {
        statement: "What is in a pipe when the socket it came from ends is still there: splice() from the socket is 0, and the bytes go on.",
        method: "Splices what a peer has sent into a pipe, lets it close, splices from the socket again, and sends the pipe on.",
        sources: &[HAPROXY],
        about: &[Sysno::splice],
        lies: &[Lie::refused(Sysno::splice, libc::ECONNRESET), Lie::skipped(Sysno::splice)],
        ..Claim::of_answers(
            "splice.end.left-in-pipe",
            splice_end_left_in_pipe,
            &[
                ("splice(socket, pipe)", Answer::Is(3000)),
                ("splice(socket that has ended, pipe)", Answer::Is(0)),
                ("splice(pipe, other socket)", Answer::Is(3000)),
                (RECEIVED, Answer::Says(AS_SENT)),
            ],
        )
    },
];

const PUNCHED: &[(&str, Answer)] = &[("pages", Answer::Says("ab?d")), ("punched half of the third", Answer::Says("0"))];

/// A TCP connection whose buffers hold less than [`LENGTH`].
fn narrow() -> Result<(TcpStream, TcpStream), Stop> {
    let (near, far) = sockets::tcp()?;
    aside(|| {
        sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 16)?;
        sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 16)
    })?;
    Ok((near, far))
}

/// Makes the call in a thread, interrupts it while it sleeps, and notes the result and the bytes at the receiver.
fn interrupted<Near: AsFd + Send + Sync + 'static>(
    call: Sysno,
    near: Near,
    far: impl Into<OwnedFd>,
    content: &[u8],
    work: impl FnOnce(&Near) -> Result<usize, Errno> + Send + 'static,
) -> Result<Observation, Stop> {
    let near = Arc::new(near);
    let mut seen = Observation::new();
    let returned = interrupt(&mut seen, call, &near, work)?;
    drop(near);
    note_prefix(&mut seen, returned, far, content)?;
    Ok(seen)
}

/// Makes the call, interrupts it, and notes the result.
fn interrupt<Near: Send + Sync + 'static>(
    seen: &mut Observation,
    call: Sysno,
    near: &Arc<Near>,
    work: impl FnOnce(&Near) -> Result<usize, Errno> + Send + 'static,
) -> Result<usize, Stop> {
    interrupt_with(libc::SIGUSR1)?;
    let sink = Arc::clone(near);
    let caller = Caller::start(call, move || work(&sink))?;
    let sleeps = caller.sleeps()?;
    if sleeps {
        aside(|| caller.signal(libc::SIGUSR1))?;
    }
    let result = caller.join()?;
    let word = match result {
        Ok(count) if sleeps && count > 0 => "short".to_owned(),
        result if sleeps => returned(result),
        result => format!("not asleep, {}", returned(result)),
    };
    seen.text(WHAT_RETURNED, word);
    Ok(result.unwrap_or(0))
}

/// Reads at the receiver until the end, and notes whether it has as many bytes as the call returned, the first ones.
fn note_prefix(seen: &mut Observation, returned: usize, far: impl Into<OwnedFd>, content: &[u8]) -> Result<(), Stop> {
    let received = super::tools::drained(drain(far.into()))?;
    let is_prefix = content.starts_with(&received);
    seen.text(
        RECEIVED,
        match (is_prefix, received.len() == returned) {
            (true, true) => "as many as returned, the first ones",
            (true, false) => "another number than returned",
            (false, _) => "others",
        },
    );
    Ok(())
}

fn splice_faults_interrupted(_lab: &Lab) -> Result<Observation, Stop> {
    const PIPE: usize = 1 << 20;
    let content = pattern(PIPE);
    let pipe = pipe()?;
    let size = aside(|| io::resize_pipe(&pipe.write, PIPE)).setup("F_SETPIPE_SZ")?;
    if size < PIPE {
        return Err(Stop::broken("the pipe has not grown"));
    }
    aside(|| io::write_all(&pipe.write, &content)).setup("fill a pipe")?;
    let (near, far) = narrow()?;
    let near = Arc::new(near);
    let read = Arc::new(pipe.read);
    let from = Arc::clone(&read);
    let mut seen = Observation::new();
    let sent =
        interrupt(&mut seen, Sysno::splice, &near, move |near| splice(&*from, None, near, None, PIPE, BLOCKING))?;
    drop((near, pipe.write));
    note_prefix(&mut seen, sent, far, &content)?;
    let mut rest = vec![0; PIPE];
    let count = aside(|| io::read_full(&*read, &mut rest)).setup("read the pipe")?;
    rest.truncate(count);
    seen.text("rest in the pipe", if content.get(sent..) == Some(&rest) { "what was not sent" } else { "others" });
    Ok(seen)
}

/// A memfd of four pages, each in a separate folio. Punching a hole into a larger folio would write zeros in place.
fn lettered_memfd() -> Result<File, Stop> {
    let file = File::from(open::sealed_memfd(0)?);
    for letter in b'a'..=b'd' {
        aside(|| io::write_all(&file, &[letter; PAGE])).setup("write")?;
    }
    Ok(file)
}

/// Punches out the second page of a file and the second half of the third one, and notes what the receiver reads.
fn punched(mut seen: Observation, file: &File, far: &impl AsFd) -> Result<Observation, Stop> {
    let (page, half) = (PAGE as u64, PAGE as u64 / 2);
    for (at, length) in [(page, page), (2 * page + half, half)] {
        aside(|| io::punch(file, at, length)).setup("fallocate")?;
    }
    let mut bytes = vec![b'x'; 4 * PAGE + 1];
    let count = io::read_full(far, &mut bytes).setup("read at the receiver")?;
    bytes.truncate(count);
    seen.text("pages", pages::letters_of(&bytes));
    let half = bytes.get(2 * PAGE + PAGE / 2..3 * PAGE).unwrap_or_default();
    seen.text("punched half of the third", pages::letters_of(half));
    Ok(seen)
}

fn splice_end_left_in_pipe(_lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(3000);
    let (near, far) = sockets::tcp()?;
    let (other, receiver) = sockets::tcp()?;
    aside(|| io::write_all(&far, &content)).setup("write")?;
    aside(|| sockets::wait_for_arrival(&near, content.len()))?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    let taken =
        io::until_done(content.len(), |done| splice(&near, None, &pipe.write, None, content.len() - done, BLOCKING));
    seen.call("splice(socket, pipe)", taken);
    drop(far);
    let end = io::again(|| splice(&near, None, &pipe.write, None, 1, BLOCKING));
    seen.call("splice(socket that has ended, pipe)", end);
    drop(pipe.write);
    let sent =
        io::until_done(content.len(), |done| splice(&pipe.read, None, &other, None, content.len() - done, BLOCKING));
    seen.call("splice(pipe, other socket)", sent);
    drop(other);
    note_bytes(&mut seen, arrived(&receiver, &content)?);
    Ok(seen)
}
