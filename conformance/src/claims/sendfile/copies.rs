//! Whether `sendfile` copies bytes.

use super::{TO_PIPE, about_sendfile};
use crate::claims::prelude::*;
use crate::lab::sinks::Kind;
use nocopy_transfer::Route;

/// A claim about the copies on the way from a file to one kind of sink.
macro_rules! row {
    ($id:literal, $kind:ident, $sharing:ident, $statement:literal, $sources:expr) => {
        of_copies($id, $statement).published($sources).tried(|lab, see| {
            let sharing = alias::after_sending(lab, Kind::$kind, sent)?;
            see.text(AFTER_CHANGE, sharing).says(Sharing::$sharing);
            Ok(())
        })
    };
}

pub const CLAIMS: &[Claim] = &[
    row!(
        "sendfile.copies.tcp",
        Tcp,
        Shared,
        "From a file to a TCP socket, sendfile() makes no CPU copy.",
        &[seed("3.2"), seed("6.1"), man("tcp(7)", "VERSIONS").since("2.4")]
    ),
    row!(
        "sendfile.copies.unix",
        Unix,
        Shared,
        "From a file to an AF_UNIX stream socket, sendfile() makes no CPU copy.",
        &[seed("3.2"), seed("6.1"), man("sendfile(2)", "NOTES").leaves_open()]
    ),
    row!(
        "sendfile.copies.pipe",
        Pipe,
        Shared,
        "From a file to a pipe, sendfile() makes no CPU copy.",
        &[kernel("fs/splice.c", "splice_file_to_pipe"), man("sendfile(2)", "NOTES").leaves_open()]
    )
    .gated(&[TO_PIPE]),
    row!(
        "sendfile.copies.file",
        File,
        Copied,
        "From a file to another file, sendfile() copies: a later change of the source does not reach the target.",
        &[MEASURED]
    ),
    of_copies("sendfile.copies.udp", "From a file to a UDP socket over loopback, sendfile() makes no CPU copy.")
        .published(&[MEASURED])
        .except(&[Exception::Of(Sysno::sendfile, What::Shortened, "a datagram goes out as a whole or not at all")])
        .tried(|lab, see| {
            see.text(AFTER_CHANGE, alias::after_datagram(lab, sent)?).says(Sharing::Shared);
            Ok(())
        }),
    of_copies(
        "sendfile.copies.ktls",
        "From a file to a connection with TLS by software in the kernel, sendfile() copies the data.",
    )
    .published(&[doc("networking/tls.rst", "TLS_TX_ZEROCOPY_RO").since("7.3")])
    .modules(sockets::KTLS_MODULES)
    .tried(|lab, see| {
        let file = alias::source(lab)?;
        let (near, far) = sockets::ktls()?;
        alias::all_sent(sent(&file, &near)?)?;
        alias::change(&file)?;
        let mut bytes = vec![0; alias::LENGTH];
        io::read_full(&far, &mut bytes).setup("read at the receiver")?;
        see.text(AFTER_CHANGE, Sharing::of(&bytes)?).says(Sharing::Copied);
        see.readable("bytes after those of the file", &far)?.is(0);
        Ok(())
    }),
    of_copies(
        "sendfile.copies.two-fewer",
        "From a file to a TCP socket, sendfile() makes two CPU copies fewer than read() and write().",
    )
    .published(&[seed("3.2"), seed("6.1")])
    .about(&[Sysno::sendfile, Sysno::read, Sysno::write])
    .method(
        "Counts the copies of both ways, hop by hop: changes the source of each hop after it, and looks at its target.",
    )
    .tried(|lab, see| {
        let hop = alias::after_sending(lab, Kind::Tcp, sent)?;
        let copies = count_copies(&[hop]);
        see.count("CPU copies of sendfile()", copies);
        see.count("CPU copies of read() and write()", count_copies(&read_write_hops(lab, Kind::Tcp)?)).is(copies + 2);
        Ok(())
    }),
];

#[track_caller]
const fn of_copies(id: &'static str, statement: &'static str) -> Claim {
    about_sendfile(id, statement).turned_by(alias::SHARING_LIES).method(
        "Sends a file, waits until all of it stands unread at the receiver, changes the file, and looks at what the \
         receiver reads: new bytes are the file's own pages, old bytes were copied.",
    )
}

fn sent(file: &File, sink: &impl AsFd) -> Result<u64, Stop> {
    carry(Route::Sendfile, file, sink, alias::LENGTH)
}
