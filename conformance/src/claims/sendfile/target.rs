//! What `sendfile` takes as its target.

use super::{
    Descriptor, Fd, REFUSED, about_sendfile, arrives, content, lie, note_kinds, position, refused, send, sendfile, text,
};
use crate::claims::prelude::*;

const SOCKETS: [Fd; 3] = [Fd::TcpSocket, Fd::UdpSocket, Fd::UnixStream];
const OTHERS: [Fd; 5] = [Fd::RegularFile, Fd::Memfd, Fd::PipeWrite, Fd::DevNull, Fd::Terminal];

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.target.only-sockets",
        "The target of sendfile() must be a socket: a file, a memfd, a pipe, /dev/null or a terminal is refused.",
    )
    .published(&[
        seed("3.2"),
        seed("5.1"),
        man("sendfile(2)", "DESCRIPTION").until("2.6.32"),
        man("sendfile(2)", "DESCRIPTION").denies().since("2.6.33"),
        man("sendfile(2)", "HISTORY").denies().until("2.4"),
    ])
    .turned_by(REFUSED)
    .gated(&[gate("2.6.33", "any file can be the target", man("sendfile(2)", "DESCRIPTION"))])
    .tried(|lab, see| {
        let file = alias::source(lab)?;
        let send = |target: &Descriptor| sendfile(target, &file, Some(&mut 0), 16);
        note_kinds(lab, see, [&SOCKETS, &OTHERS], |kind| format!("sendfile({kind}, file)"), send, Descriptor::written)
    }),
    about_sendfile(
        "sendfile.target.position",
        "sendfile() writes at the file position of a target file and moves it by the bytes written.",
    )
    .published(&[
        man("sendfile(2)", "DESCRIPTION").since("2.6.33"),
        ltp("sendfile08.c", "run: where the bytes are, not the position afterwards").leaves_open(),
    ])
    .turned_by(&[lie(What::Skipped), lie(What::Returned(4))])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"world")?, lab.file(b"hello")?);
        aside(|| io::seek(&target, 5)).setup("lseek")?;
        see.call("sendfile(file at 5, file of 5)", send(&target, &source, Some(&mut 0), 5)).is(5);
        see.count("position of the target", position(&target)?).is(10);
        see.text("content of the target", text(&target)?).says("helloworld");
        Ok(())
    }),
    about_sendfile("sendfile.target.itself", "A file can be sent into itself, onto the same bytes.")
        .published(&[seed("5.1").denies(), man("sendfile(2)", "DESCRIPTION").since("2.6.33")])
        .turned_by(&[lie(What::Skipped), refused(libc::EINVAL)])
        .tried(|lab, see| {
            let bytes = pattern(1 << 20);
            let file = lab.file(&bytes)?;
            see.call("sendfile(file of 1 MiB, itself)", send(&file, &file, Some(&mut 0), bytes.len())).is(bytes.len());
            see.count("position", position(&file)?).is(bytes.len());
            see.whether("the content is the same", content(&file)? == bytes).says("yes");
            Ok(())
        }),
    about_sendfile("sendfile.target.dev-zero", "/dev/zero can be the target of sendfile().")
        .published(&[kernel("drivers/char/mem.c", "zero_fops")])
        .turned_by(&[refused(libc::EINVAL).where_it(true)])
        .except(&[Exception::Lacking("this kernel's sendfile() cannot write to the device")])
        .gated(&[ZERO])
        .tried(|lab, see| {
            let target = Descriptor::open(lab, Fd::DevZero)?;
            let source = lab.file(&pattern(4 * page()))?;
            let mut offset = 0;
            see.call("sendfile(/dev/zero, file)", send(&target, &source, Some(&mut offset), 1)).is(1);
            let sent = send(&target, &source, Some(&mut offset), page() + 9);
            see.call("sendfile(/dev/zero, file), a page and 9 bytes", sent).is(page() + 9);
            see.count("offset afterwards", offset).is(page() + 10);
            Ok(())
        }),
    about_sendfile(
        "sendfile.target.dev-full",
        "sendfile() to /dev/full fails with EINVAL, where write() fails with ENOSPC.",
    )
    .published(&[kernel("fs/splice.c", "do_splice_from"), kernel("drivers/char/mem.c", "full_fops")])
    .about(&[Sysno::sendfile, Sysno::write])
    .tried(|lab, see| {
        let (source, full) = (alias::source(lab)?, Descriptor::open(lab, Fd::DevFull)?);
        see.call("sendfile(/dev/full, file)", sendfile(&full, &source, Some(&mut 0), 1)).fails(EINVAL);
        see.call("write(/dev/full)", io::again(|| io::write(&full, b"b"))).fails(ENOSPC);
        Ok(())
    }),
    about_sendfile("sendfile.target.eventfd", "An eventfd as target of sendfile() fails with EINVAL.")
        .published(&[kernel("fs/splice.c", "do_splice_from"), kernel("fs/eventfd.c", "eventfd_fops")])
        .tried(|lab, see| {
            let (source, target) = (alias::source(lab)?, Descriptor::open(lab, Fd::Eventfd)?);
            // write() takes 8 bytes, and no fewer.
            see.call("sendfile(eventfd, file)", sendfile(&target, &source, Some(&mut 0), 8)).fails(EINVAL);
            Ok(())
        }),
    about_sendfile(
        "sendfile.target.ktls",
        "sendfile() sends a file of 50000 bytes over a TCP connection with TLS 1.2 by software in the kernel.",
    )
    .published(&[doc("networking/tls.rst", "Sending TLS application data")])
    .turned_by(REFUSED)
    .modules(sockets::KTLS_MODULES)
    .gated(&[gate(
        "4.13",
        "TCP has TLS in the kernel",
        thread("the series \"net: kernel TLS\"", "adds TLS to TCP").unread(),
    )])
    .tried(|lab, see| {
        let content = pattern(50_000); // some records
        let file = lab.file(&content)?;
        let (near, far) = sockets::ktls()?;
        see.call("sendfile(socket with TLS, file)", send(&near, &file, Some(&mut 0), content.len())).is(content.len());
        arrives(see, near, &far, &content)
    }),
    about_sendfile(
        "sendfile.target.ktls-parts",
        "Over TLS in the kernel, sendfile() after a write() sends parts of a file at odd offsets and lengths.",
    )
    .published(&[
        doc("networking/tls.rst", "Sending TLS application data"),
        selftest("net/tls.c", "TEST_F(tls, send_then_sendfile)"),
        selftest("net/tls.c", "TEST_F(tls, multi_chunk_sendfile)"),
    ])
    .turned_by(&[lie(What::Skipped)])
    .modules(sockets::KTLS_MODULES)
    .tried(|lab, see| {
        let content = pattern(50_000);
        let file = lab.file(&content)?;
        let (near, far) = sockets::ktls()?;
        let mut expected = b"ten bytes.".to_vec();
        aside(|| io::write_all(&near, &expected)).setup("write")?;
        for (offset, length) in [(0, 1), (4093, 20_000), (33_333, 7)] {
            let mut at = offset as u64;
            let sent = send(&near, &file, Some(&mut at), length);
            see.call(format!("sendfile(file at {offset}, {length})"), sent).is(length);
            expected.extend_from_slice(&content[offset..offset + length]);
        }
        arrives(see, near, &far, &expected)
    }),
    about_sendfile("sendfile.target.mptcp", "sendfile() sends a file to a connected socket of IPPROTO_MPTCP.")
        .published(&[selftest("net/mptcp/mptcp_connect_sendfile.sh", "the whole script")])
        .turned_by(&[lie(What::Skipped), refused(libc::EINVAL)])
        .tried(|lab, see| {
            let content = pattern(50_001);
            let source = lab.file(&content)?;
            let (near, far) = sockets::mptcp()?;
            see.call("sendfile(multipath TCP socket, file)", send(&near, &source, Some(&mut 0), content.len()))
                .is(content.len());
            arrives(see, near, &far, &content)
        }),
];
