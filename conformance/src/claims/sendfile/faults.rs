//! Signals, and changes of the file or of the connection, during a transfer by `sendfile`.

use super::{about_sendfile, arrives, lie, refused, send, sendfile};
use crate::claims::prelude::*;
use crate::lab::open;
use crate::lab::sleeper::interrupt_with;
use crate::lab::volumes::huge_pages_of_memfds;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

const THEN: &str = "sendfile(TCP socket, file of 4 MiB), then";
/// Half of a file of [`alias::LENGTH`] bytes.
const HALF: usize = alias::LENGTH / 2;

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.faults.interrupted",
        "A signal ends a sleeping sendfile() to a TCP socket with a short count: receiver and offset have just these \
         bytes.",
    )
    .published(&[MEASURED])
    .turned_by(&[refused(libc::EINTR)])
    .varying(&[THEN])
    .except(&[
        Exception::Of(Sysno::sendfile, What::Shortened, "half of it may fit, and nothing sleeps"),
        Exception::Of(Sysno::sendfile, What::Interrupted, "what a signal does is what is asked"),
    ])
    .tried(|lab, see| {
        let content = pattern(4 << 20);
        let (file, length) = (lab.file(&content)?, content.len());
        let (near, far) = sockets::tcp()?;
        aside(|| {
            sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 16)?;
            sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 16)
        })?;
        interrupt_with(libc::SIGUSR1)?;
        let caller = Caller::start(Sysno::sendfile, move || {
            let mut offset = 0;
            let sent = sendfile(&near, &file, Some(&mut offset), length)?;
            // A wrong offset changes the result.
            Ok(if offset == sent as u64 { sent } else { usize::MAX })
        })?;
        let (word, sent) = woken(caller, |caller| caller.signal(libc::SIGUSR1))?;
        see.text("sendfile(TCP socket, file of 4 MiB)", word).says(SLEEPS);
        see.call(THEN, sent).at_least(1);
        let came = drained(drain(far.into()))?;
        see.whether("the receiver has the first bytes, as many", content.starts_with(&came) && Ok(came.len()) == sent)
            .says("yes");
        Ok(())
    }),
    about_sendfile(
        "sendfile.faults.punched",
        "Of a memfd without huge pages, sent to a TCP socket and then punched, whole pages stay as sent and a punched \
         half page arrives as zeros.",
    )
    .published(&[kernel("mm/truncate.c", "truncate_inode_partial_folio"), man("sendfile(2)", "NOTES").leaves_open()])
    .turned_by(&[Lie::bytes(Sysno::read, b'b', b'z')])
    .varying(&[SHMEM_ENABLED])
    .method("Sends pages of a, b, c and d, each a folio of its own, punches out b and half of c, and then reads.")
    .tried(|_lab, see| {
        see.text(SHMEM_ENABLED, huge_pages_of_memfds()?);
        let (page, half) = (page(), page() / 2);
        let file = File::from(open::sealed_memfd(0)?);
        for letter in b'a'..=b'd' {
            aside(|| io::write_all(&file, &vec![letter; page])).setup("write")?;
        }
        let (near, far) = sockets::tcp()?;
        see.call("sendfile(four pages)", send(&near, &file, Some(&mut 0), 4 * page)).is(4 * page);
        drop(near);
        for (at, length) in [(page, page), (2 * page + half, half)] {
            aside(|| io::punch(&file, at as u64, length as u64)).setup("fallocate")?;
        }
        let mut bytes = vec![b'x'; 4 * page];
        io::read_full(&far, &mut bytes).setup("read at the receiver")?;
        let letter = |half: &[u8]| match half {
            [first, rest @ ..] if rest.iter().all(|byte| byte == first) => char::from(*first.max(&b'0')),
            _ => '?',
        };
        // Zeros are shown as 0.
        see.text("half pages that arrive", bytes.chunks(half).map(letter).collect::<String>()).says("aabbc0dd");
        Ok(())
    }),
    about_sendfile(
        "sendfile.faults.half-closed",
        "After a TCP peer has shut down its sending side, sendfile() still sends to it.",
    )
    .published(&[MEASURED])
    .turned_by(&[refused(libc::EPIPE)])
    .tried(|lab, see| {
        let content = pattern(3 * page());
        let file = lab.file(&content)?;
        let (near, far) = sockets::tcp()?;
        aside(|| far.shutdown(Shutdown::Write)).setup("shutdown")?;
        if aside(|| io::again(|| io::read(&near, &mut [0]))).setup("read to the end")? != 0 {
            return Err(Stop::broken("the peer has not shut down its side"));
        }
        see.call("sendfile(socket, file)", send(&near, &file, Some(&mut 0), content.len())).is(content.len());
        arrives(see, near, &far, &content)
    }),
    about_sendfile(
        "sendfile.faults.replaced",
        "A file whose name is taken over by rename() is sent to its end: the descriptor stays with the old file.",
    )
    .published(&[MEASURED])
    .turned_by(&[lie(What::Returned(0)), Lie::bytes(Sysno::read, alias::OLD, alias::NEW)])
    .tried(|lab, see| {
        let scratch = lab.scratch()?;
        let (path, other) = (scratch.join("replaced"), scratch.join("replacing"));
        let file = aside(|| {
            std::fs::write(&path, [alias::OLD; alias::LENGTH]).setup("write a file")?;
            std::fs::write(&other, [alias::NEW; alias::LENGTH]).setup("write a file")?;
            File::open(&path).setup("open")
        })?;
        let (near, far) = aside(UnixStream::pair).setup("socketpair")?;
        let half = || send(&near, &file, None, HALF);
        see.call("sendfile(socket, file, half of it)", half()).is(HALF);
        let replaced = aside(|| std::fs::rename(&other, &path)).setup("rename");
        let removed = aside(|| std::fs::remove_file(&path)).setup("unlink");
        replaced.and(removed)?;
        see.call("sendfile(socket, file, the rest), name taken over", half()).is(HALF);
        arrives(see, near, &far, &[alias::OLD; alias::LENGTH])?;
        Ok(())
    }),
    about_sendfile(
        "sendfile.faults.grown",
        "After sendfile() has returned 0 at the end of a file, it sends more once the file has grown.",
    )
    .published(&[MEASURED])
    .turned_by(&[lie(What::Returned(0)), lie(What::Skipped)])
    .tried(|lab, see| {
        let all = pattern(alias::LENGTH);
        let file = lab.file(&all[..HALF])?;
        let (near, far) = aside(UnixStream::pair).setup("socketpair")?;
        let mut offset = 0;
        let mut send = |length| io::until_done(length, |_| sendfile(&near, &file, Some(&mut offset), alias::LENGTH));
        see.call("sendfile(socket, file)", send(HALF)).is(HALF);
        see.call("sendfile(socket, file), at its end", send(1)).is(0);
        aside(|| io::pwrite_all(&file, &all[HALF..], HALF as u64)).setup("append to the file")?;
        see.call("sendfile(socket, file), grown", send(HALF)).is(HALF);
        arrives(see, near, &far, &all)
    }),
];
