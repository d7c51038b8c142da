//! `sendfile` and `splice` with sockets: behaviour that tests of other projects check for connections that end, encryption and
//! datagrams.

use super::tools::{AS_SENT, RECEIVED, note_bytes, raised};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::sleeper::Caller;
use crate::lab::{Lab, io, pattern, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_sendfile::sendfile;
use std::os::fd::AsFd;
use std::sync::Arc;
use syscalls::{Errno, Sysno};

const TLS: Source = Source::Thread("Linux 7.3, tools/testing/selftests/net/tls.c");

const NOBODY_KNOWS: &str = "how much was sent before a reset, nobody else can say";

/// Claims about sockets.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "Over TLS in the kernel, sendfile() sends after write(), and any part of a file.",
        method: "Writes ten bytes, sends three parts of a file with offsets and lengths of no page, and compares what is decrypted.",
        sources: &[TLS],
        about: &[Sysno::sendfile],
        modules: sockets::KTLS_MODULES,
        lies: &[Lie::skipped(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.target.ktls-parts",
            sendfile_target_ktls_parts,
            &[(RECEIVED, Answer::Says(AS_SENT))],
        )
    },
    Claim {
        statement: "When a TCP peer resets the connection while sendfile() waits, it returns what it has sent; the next one fails with \
                    EPIPE and raises SIGPIPE.",
        method: "Sends a file larger than the buffers in a thread, resets the connection once that sleeps, and sends again.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/sendfile_socket.cc"), Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::refused(Sysno::sendfile, libc::ECONNRESET), Lie::accepted(Sysno::sendfile)],
        exceptions: &[
            Exception::asked(Sysno::sendfile),
            Exception::Of(Sysno::sendfile, What::TooMany, NOBODY_KNOWS),
            Exception::Of(Sysno::sendfile, What::TooFew, NOBODY_KNOWS),
        ],
        ..Claim::of_answers(
            "sendfile.errors.reset",
            sendfile_errors_reset,
            &[
                ("sendfile() during which the peer resets", Answer::Says("short")),
                ("sendfile() afterwards", Answer::Fails(Errno::EPIPE)),
                ("SIGPIPE", Answer::Is(1)),
            ],
        )
    },
];

fn sendfile_target_ktls_parts(lab: &Lab) -> Result<Observation, Stop> {
    let content = pattern(50_000);
    let file = lab.file(&content)?;
    let (near, far) = sockets::ktls()?;
    aside(|| io::write_all(&near, b"ten bytes.")).setup("write")?;
    let mut expected = b"ten bytes.".to_vec();
    let mut seen = Observation::new();
    for (offset, length) in [(0, 1), (4093, 20_000), (33_333, 7)] {
        let mut at = offset as u64;
        let sent = io::until_done(length, |done| sendfile(&near, &file, Some(&mut at), length - done));
        seen.call(format!("sendfile(file at {offset}, {length})"), sent);
        expected.extend_from_slice(&content[offset..offset + length]);
    }
    drop(near);
    note_bytes(&mut seen, whole(&far, &expected)?);
    Ok(seen)
}

/// Whether exactly these bytes arrive before the end.
fn whole(far: &impl AsFd, expected: &[u8]) -> Result<bool, Stop> {
    let mut bytes = vec![0; expected.len() + 1];
    let mut count = 0;
    while count < bytes.len() {
        match io::again(|| io::read(far, &mut bytes[count..])) {
            Ok(more) if more > 0 => count += more,
            // Without a closing record, TLS reports the end as an error.
            Ok(_) | Err(Errno::EIO | Errno::EBADMSG) => break,
            Err(errno) => return Err(Stop::from_setup("read at the receiver", errno)),
        }
    }
    Ok(bytes[..count] == *expected)
}

fn sendfile_errors_reset(lab: &Lab) -> Result<Observation, Stop> {
    const LENGTH: usize = 64 << 20;
    let file = Arc::new(lab.empty_file()?);
    aside(|| io::truncate(&file, LENGTH as u64)).setup("ftruncate")?;
    let (near, far) = sockets::tcp()?;
    let near = Arc::new(near);
    let (sink, source) = (Arc::clone(&near), Arc::clone(&file));
    let ((first, second), signals) = raised(libc::SIGPIPE, || {
        let first = reset_while_sending(far, move || sendfile(&*sink, &*source, Some(&mut 0), LENGTH));
        let second = io::again(|| sendfile(&*near, &*file, Some(&mut 0), 1));
        (first, second)
    })?;
    let mut seen = Observation::new();
    let how = match first? {
        Ok(sent) if sent > 0 && sent < LENGTH => "short".to_owned(),
        Ok(sent) => format!("{sent}"),
        Err(errno) => format!("{errno:?}"),
    };
    seen.text("sendfile() during which the peer resets", how);
    seen.call("sendfile() afterwards", second);
    seen.count("SIGPIPE", signals);
    Ok(seen)
}

/// Makes the call in a thread. When the call sleeps, the peer resets the connection.
fn reset_while_sending(
    far: std::net::TcpStream,
    call: impl FnMut() -> Result<usize, Errno> + Send + 'static,
) -> Result<Result<usize, Errno>, Stop> {
    let mut call = call;
    let caller = Caller::start(Sysno::sendfile, move || io::again(&mut call))?;
    if !caller.sleeps()? {
        return caller.join();
    }
    aside(|| {
        let linger = [1_i32.to_ne_bytes(), 0_i32.to_ne_bytes()];
        sockets::set_bytes(&far, libc::SOL_SOCKET, libc::SO_LINGER, linger.as_flattened()).setup("SO_LINGER")
    })?;
    drop(far);
    caller.join()
}
