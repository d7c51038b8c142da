//! How many calls a transfer by `sendfile` needs.

use super::{about_sendfile, lie, sendfile};
use crate::claims::prelude::*;
use nocopy_transfer::Route;

const LENGTH: usize = 16 << 20;
const FIRST: &str = "first sendfile(non-blocking socket, 16 MiB file)";
const OFFSET: &str = "offset then";

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.entries.one-call",
        "One sendfile() sends a file of 1 MiB to a blocking TCP socket: two crossings between user and kernel.",
    )
    .published(&[seed("3.2"), seed("6.1")])
    .turned_by(&[lie(What::Shortened)])
    .traced()
    .tried(|lab, see| {
        let (entries, _, arrived) = entries_of(lab, Route::Sendfile)?;
        all_arrived(arrived)?;
        see.push("1 MiB to a blocking socket", entries).is(1);
        Ok(())
    }),
    about_sendfile(
        "sendfile.entries.non-blocking",
        "One sendfile() with the file's size as count sends the whole file, even to a non-blocking TCP socket.",
    )
    .published(&[seed("3.2").leaves_open(), seed("4.3"), man("sendfile(2)", "RETURN VALUE").leaves_open()])
    .turned_by(&[lie(What::Returned(16 << 20)).after(0)])
    .varying(&[FIRST, OFFSET])
    .method("Sends to a socket whose peer does not read, until the socket is full.")
    .tried(|lab, see| {
        let file = lab.empty_file()?;
        aside(|| io::truncate(&file, LENGTH as u64)).setup("ftruncate")?;
        let (near, far) = sockets::tcp()?;
        // Less than the file, whatever the system's defaults are.
        aside(|| {
            sockets::resize_buffer(&near, libc::SO_SNDBUF, 1 << 18)?;
            sockets::resize_buffer(&far, libc::SO_RCVBUF, 1 << 18)?;
            io::set_nonblocking(&near).setup("O_NONBLOCK")
        })?;
        let mut offset = 0;
        let first = sendfile(&near, &file, Some(&mut offset), LENGTH);
        see.call(FIRST, first);
        see.whether("the first call sends the whole file", first == Ok(LENGTH)).says("yes");
        let mut reported = first.unwrap_or(0) as u64;
        // The kernel makes more room when it moves bytes to the receiver. The loop ends when both queues are full.
        let full = loop {
            match sendfile(&near, &file, Some(&mut offset), LENGTH) {
                Ok(count) if count > 0 && reported < LENGTH as u64 => reported += count as u64,
                result => break result,
            }
        };
        see.whether("the offset moved by the bytes reported", reported == offset);
        see.call("sendfile() when the socket is full", full).count(OFFSET, offset);
        Ok(())
    }),
];
