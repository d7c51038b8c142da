//! Whether `vmsplice`, and `splice` after it, copy bytes.

use super::{BLOCKING, NONBLOCK, give, give_all};
use crate::claims::prelude::*;
use crate::lab::sinks::{Kind, Sink};
use nocopy_splice::splice;

/// A claim about memory that is given to a sink, and changed when all has arrived there.
macro_rules! row {
    ($id:literal $kind:ident $sharing:ident $flags:ident $sources:expr, $statement:literal) => {
        claim(concat!("vmsplice.copies.", $id), $statement)
            .published($sources)
            .about(&[Sysno::vmsplice, Sysno::splice])
            .turned_by(alias::SHARING_LIES)
            .tried(|lab, see| {
                for (flags, with) in $flags {
                    let fact = format!("memory changed after the transfer{with}, receiver's bytes");
                    see.text(fact, sent(lab, Kind::$kind, *flags)?).says(Sharing::$sharing);
                }
                Ok(())
            })
    };
}

const PLAIN: &[(SpliceFlags, &str)] = &[(BLOCKING, "")];
const MOVE: &[(SpliceFlags, &str)] = &[(BLOCKING, ""), (SpliceFlags::MOVE, " with SPLICE_F_MOVE")];
const SOCKET: Source = kernel("fs/splice.c", "splice_to_socket");
const NOTES: Source = man("splice(2)", "NOTES").leaves_open();
const TCP: &[Source] = &[SOCKET, kernel("net/ipv4/tcp.c", "tcp_sendmsg_locked"), NOTES];
const UNIX: &[Source] = &[SOCKET, kernel("net/unix/af_unix.c", "unix_stream_sendmsg"), NOTES];
const MAN: &[Source] = &[man("vmsplice(2)", "NOTES"), man("vmsplice(2)", "DESCRIPTION"), NOTES];

pub const CLAIMS: &[Claim] = &[
    row! { "tcp" Tcp Shared PLAIN TCP,
    "Memory that vmsplice() gives to a pipe and splice() moves on to a TCP socket over loopback is not copied." },
    row! { "unix" Unix Shared PLAIN UNIX,
    "Memory that vmsplice() gives to a pipe and splice() moves on to an AF_UNIX stream socket is not copied." },
    row! { "pipe" Pipe Shared PLAIN MAN,
    "vmsplice() does not copy memory into a pipe: what is stored afterwards is what a reader of the pipe gets." },
    row! { "file" File Copied MOVE &[man("vmsplice(2)", "DESCRIPTION, SPLICE_F_GIFT")],
    "Memory that vmsplice() gives to a pipe without SPLICE_F_GIFT is copied when splice() moves it into a file." }
    .method("The file is in the scratch directory."),
];

/// Sends memory to a sink, changes it, and decides by the bytes at the receiver.
fn sent(lab: &Lab, kind: Kind, flags: SpliceFlags) -> Result<Sharing, Stop> {
    let sink = Sink::open(lab, kind)?;
    let mut memory = alias::memory(alias::LENGTH)?;
    if kind == Kind::Pipe {
        alias::send_all(|done| give(&sink, &memory[done..], NONBLOCK)).setup("vmsplice")?;
    } else {
        let pipe = pipe()?;
        give_all(&pipe, &memory)?;
        alias::send_all(|done| splice(&pipe.read, None, &sink, None, alias::LENGTH - done, flags)).setup("splice")?;
        let left = aside(|| sockets::readable(&pipe.read))?;
        if left > 0 {
            return Err(Stop::broken(format!("{left} bytes are left in the pipe")));
        }
    }
    sink.settle(alias::LENGTH)?;
    memory.fill(alias::NEW);
    Sharing::of(&sink.take(alias::LENGTH)?)
}
