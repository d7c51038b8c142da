//! Whether `splice` copies bytes.

use super::{BLOCKING, about_splice, note_scratch};
use crate::claims::prelude::*;
use crate::lab::sinks::{Kind, Sink};
use nocopy_splice::splice;

/// The claim that `splice` of a file to one kind of sink makes no CPU copy.
macro_rules! row {
    ($kind:literal, $sink:expr, $way:literal, $send:expr, $sources:expr) => {
        about_splice(concat!("splice.copies.", $kind), concat!("splice() of a file ", $way, " makes no CPU copy."))
            .published($sources)
            .turned_by(alias::SHARING_LIES)
            .method(
                "Splices a file, changes it when all has arrived, and looks at what the receiver reads: \
                 new bytes are the file's own pages, old ones were copied.",
            )
            .tried(|lab, see| {
                note_scratch(lab, see)?;
                see.text("sink", $sink);
                see.text(AFTER_CHANGE, alias::after_sending(lab, $sink, $send)?).says(Sharing::Shared);
                Ok(())
            })
    };
}

const SPLICE_API: Source = doc("filesystems/splice.rst", "splice API").leaves_open();
const SPLICE_TO_SOCKET: Source = doc("filesystems/splice.rst", "splice API, splice_to_socket").since("6.5");

pub const CLAIMS: &[Claim] = &[
    row!(
        "tcp",
        Kind::Tcp,
        "through a pipe to a TCP socket over loopback",
        through_a_pipe,
        &[seed("3.3"), seed("6.1"), SPLICE_TO_SOCKET, kernel("net/ipv4/tcp.c", "tcp_sendmsg_locked")]
    ),
    row!(
        "unix",
        Kind::Unix,
        "through a pipe to an AF_UNIX stream socket",
        through_a_pipe,
        &[seed("6.1"), SPLICE_TO_SOCKET, kernel("net/unix/af_unix.c", "unix_stream_sendmsg")]
    ),
    row!(
        "pipe",
        Kind::Pipe,
        "into a pipe",
        into_a_pipe,
        &[seed("6.1"), man("splice(2)", "NOTES").leaves_open(), kernel("mm/filemap.c", "splice_folio_into_pipe"),]
    ),
    row!(
        "file",
        Kind::File,
        "through a pipe into another file",
        through_a_pipe,
        &[
            seed("6.1"),
            man("splice(2)", "DESCRIPTION, SPLICE_F_MOVE").leaves_open(),
            SPLICE_API,
            kernel("mm/filemap.c", "generic_perform_write").denies(),
        ]
    ),
    about_splice(
        "splice.copies.udp",
        "splice() of a file through a pipe to a UDP socket over loopback makes no CPU copy.",
    )
    .published(&[MEASURED])
    .turned_by(alias::SHARING_LIES)
    .except(&[Exception::Of(Sysno::splice, What::Shortened, "a datagram goes out as a whole or not at all")])
    .method(
        "Splices a file, changes it when the datagram has been sent, and looks at what the receiver reads: \
         new bytes are the file's own pages, old ones were copied.",
    )
    .tried(|lab, see| {
        note_scratch(lab, see)?;
        let sharing = alias::after_datagram(lab, |file, sink| carry(SPLICE, file, sink, alias::LENGTH))?;
        see.text(AFTER_CHANGE, sharing).says(Sharing::Shared);
        Ok(())
    }),
];

fn through_a_pipe(file: &File, sink: &Sink) -> Result<u64, Stop> {
    carry(SPLICE, file, sink, alias::LENGTH)
}

fn into_a_pipe(file: &File, sink: &Sink) -> Result<u64, Stop> {
    let mut offset = 0;
    alias::send_all(|done| splice(file, Some(&mut offset), sink, None, alias::LENGTH - done, BLOCKING))
        .setup("splice")?;
    Ok(alias::LENGTH as u64)
}
