//! The types of `sendfile`'s arguments.

use super::{about_sendfile, lie, sendfile};
use crate::claims::prelude::*;
use crate::lab::sinks::{Kind, Sink};
use crate::lab::{FAR, FAR_OFFSET};

pub const CLAIMS: &[Claim] = &[about_sendfile(
    "sendfile.abi.offset-64-bit",
    "The offset of sendfile() is a 64-bit number, in and out: 5 GiB can be given and comes back moved.",
)
.published(&[
    man("sendfile(2)", "HISTORY").since("2.4"),
    ltp("sendfile09.c", "tc[1], an offset of 3 GiB"),
    seed("7.1").leaves_open(),
])
.turned_by(&[lie(What::OffsetKept), lie(What::Returned(0)), Lie::about(Sysno::read, What::Garbled)])
.tried(|lab, see| {
    let file = lab.far_file()?;
    let sink = Sink::open(lab, Kind::Unix)?;
    let mut offset = FAR_OFFSET;
    let sent = io::until_done(4, |done| sendfile(&sink, &file, Some(&mut offset), 100 - done));
    see.call("sendfile(socket, file, 5 GiB, 100)", sent).is(4);
    see.count("offset afterwards", offset).is(FAR_OFFSET + 4);
    see.whether("the receiver has the file's bytes", sent == Ok(4) && sink.take(4)? == FAR).says("yes");
    Ok(())
})];
