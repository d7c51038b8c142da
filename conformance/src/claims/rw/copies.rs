//! Whether `read` and `write` copy bytes.

use crate::claims::prelude::*;
use crate::lab::sinks::Kind;

macro_rules! row {
    ($id:literal, $kind:ident, $sink:literal, $sources:expr) => {
        claim(
            $id,
            concat!(
                "From a file to ",
                $sink,
                ", read() and write() copy the data twice: into the buffer of the caller and out of it."
            ),
        )
        .published($sources)
        .about(&[Sysno::read, Sysno::write])
        .turned_by(alias::SHARING_LIES)
        .method(
            "Changes the file after read() and looks at the buffer; changes the buffer after write(), when all has \
             arrived, and looks at what the receiver reads. Old bytes were copied.",
        )
        .tried(|lab, see| {
            let [into_buffer, into_sink] = read_write_hops(lab, Kind::$kind)?;
            see.text("file changed after read(), buffer's bytes", into_buffer).says(Sharing::Copied);
            see.text("buffer changed after write(), receiver's bytes", into_sink).says(Sharing::Copied);
            Ok(())
        })
    };
}

pub const CLAIMS: &[Claim] = &[
    row!("rw.copies.tcp", Tcp, "a TCP socket", &[seed("2.2")]),
    row!("rw.copies.unix", Unix, "an AF_UNIX stream socket", &[seed("2.2")]),
    row!("rw.copies.pipe", Pipe, "a pipe", &[MEASURED]),
    row!("rw.copies.file", File, "another file", &[MEASURED]),
];
