//! `sendfile` to a UDP socket.

use super::{SPLICE_PAGES, about_sendfile, lie, refused, sendfile};
use crate::claims::prelude::*;
use std::net::UdpSocket;

const FIRST: &str = "first datagram that arrives";

pub const CLAIMS: &[Claim] = &[
    about_sendfile("sendfile.udp.too-long", "To a UDP socket, sendfile() of 200000 bytes sends nothing: EMSGSIZE.")
        .published(&[kernel("fs/splice.c", "splice_to_socket"), kernel("net/ipv4/udp.c", "udp_sendmsg")])
        .turned_by(&[
            lie(What::Returned(61440)).where_it(true),
            lie(What::OtherErrno(libc::EIO)).where_it(true),
            refused(libc::EMSGSIZE).where_it(false),
        ])
        .gated(&[SPLICE_PAGES])
        .tried(|lab, see| {
            let source = lab.file(&pattern(200_000))?;
            let (near, far) = aside(sockets::udp)?;
            let sent = sendfile(&near, &source, Some(&mut 0), 200_000);
            see.call("sendfile(UDP socket, file of 200000)", sent).fails(EMSGSIZE);
            see.count(format!("bytes of the {FIRST}"), after_it(&near, &far)?.len() as u64).is(MARK.len());
            Ok(())
        }),
    about_sendfile(
        "sendfile.udp.one-datagram",
        "To a UDP socket, one sendfile() of 1, 5000, 10000 or 60000 bytes is one datagram.",
    )
    .published(&[MEASURED])
    .turned_by(&[refused(libc::EINVAL), lie(What::Shortened)])
    .tried(|lab, see| {
        for length in [1, 5000, 10_000, 60_000] {
            let bytes = pattern(length);
            let source = lab.file(&bytes)?;
            let (near, far) = aside(sockets::udp)?;
            let sent = sendfile(&near, &source, Some(&mut 0), length);
            see.call(format!("sendfile(UDP socket, file of {length})"), sent).is(length);
            let first = after_it(&near, &far)?;
            see.count(format!("bytes of the {FIRST}, of {length}"), first.len() as u64).is(length);
            see.whether(format!("it has the file's bytes, of {length}"), first == bytes).says("yes");
        }
        Ok(())
    }),
    about_sendfile(
        "sendfile.udp.empty-file",
        "sendfile() of an empty file with a count of 2^51 + 4 to a UDP socket returns 0.",
    )
    .published(&[gvisor("sendfile_socket.cc", "SendFileTest.SendpageFromEmptyFileToUDP")])
    .tried(|lab, see| {
        let source = lab.empty_file()?;
        let (near, far) = aside(sockets::udp)?;
        let sent = sendfile(&near, &source, Some(&mut 0), (1 << 51) + 4);
        see.call("sendfile(UDP socket, empty file, 2^51 + 4)", sent).is(0);
        see.count(format!("bytes of the {FIRST}"), after_it(&near, &far)?.len() as u64);
        Ok(())
    }),
    about_sendfile(
        "sendfile.udp.changed-later",
        "A datagram that sendfile() has sent over loopback arrives, although the file is changed before it is read.",
    )
    .published(&[MEASURED])
    .turned_by(&[refused(libc::EINVAL), lie(What::Shortened)])
    .tried(|lab, see| {
        let source = alias::source(lab)?;
        let (near, far) = aside(sockets::udp)?;
        see.call("sendfile(UDP socket, file)", sendfile(&near, &source, Some(&mut 0), alias::LENGTH)).is(alias::LENGTH);
        alias::change(&source)?;
        let first = after_it(&near, &far)?;
        see.count(format!("bytes of the {FIRST}"), first.len() as u64).is(alias::LENGTH);
        Ok(())
    }),
];

const MARK: &[u8] = b"last";

/// Sends a datagram, which arrives after those sent before it, and reads the first one that arrived.
fn after_it(near: &UdpSocket, far: &UdpSocket) -> Result<Vec<u8>, Stop> {
    aside(|| io::write_whole(near, MARK)).setup("write")?;
    let mut bytes = vec![0; 1 << 16];
    let length = io::again(|| io::read(far, &mut bytes)).setup("read the datagram")?;
    bytes.truncate(length);
    Ok(bytes)
}
