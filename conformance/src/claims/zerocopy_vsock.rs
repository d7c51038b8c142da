//! `MSG_ZEROCOPY` over vsock: behaviour that the kernel's own tests check.
//!
//! If vsock does not take `SO_ZEROCOPY` (before Linux 6.7), the flag has no effect, and there is no error queue to read.

use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Field, Lie, What};
use crate::interpose::record::aside;
use crate::lab::completions::Completions;
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_msg_zerocopy::enable;
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use syscalls::{Errno, Sysno};

const KSELFTEST: Source = Source::Thread("Linux 7.3, tools/testing/vsock/vsock_test_zerocopy.c");
const SENDMSG: &[Sysno] = &[Sysno::sendmsg, Sysno::recvmsg];
const MODULES: &[&str] = &["vsock_loopback"];
const DOC: Source = Source::Doc("Documentation/networking/msg_zerocopy.rst, Linux 7.3");
const ONE_OF_MANY: &[Lie] = &[Lie::completion(Field::High, 0)];
const COPIED: &[Lie] = &[Lie::completion(Field::Code, 1)];
const HALF: &[Exception] =
    &[Exception::Of(Sysno::sendmsg, What::Shortened, "half of it is what the receiver may hold")];

/// Claims about vsock.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "A vsock message of several pieces that neither begin nor end at a page is completed, and not copied.",
        method: "Sends 1, 4095, 4097 and 5000 bytes by one sendmsg(), reads them, and then the completion.",
        sources: &[KSELFTEST],
        about: SENDMSG,
        modules: MODULES,
        lies: COPIED,
        ..Claim::of_answers(
            "zerocopy.vsock.pieces",
            |_lab| {
                static BYTES: [u8; 4 * 8192] = [b'v'; 4 * 8192];
                let pieces = [1, 4095, 4097, 5000].into_iter().zip(BYTES.chunks(8192));
                let pieces: Vec<&[u8]> = pieces.map(|(length, page)| &page[7..7 + length]).collect();
                send(libc::SOCK_STREAM, &pieces)
            },
            NOT_COPIED,
        )
    },
    Claim {
        statement: "A vsock message of 192 KiB is completed once, and not copied.",
        sources: &[KSELFTEST],
        about: SENDMSG,
        modules: MODULES,
        lies: COPIED,
        ..Claim::of_answers(
            "zerocopy.vsock.large",
            |_lab| {
                static BYTES: [u8; 192 << 10] = [b'v'; 192 << 10];
                send(libc::SOCK_STREAM, &[&BYTES])
            },
            NOT_COPIED,
        )
    },
    Claim {
        statement: "A message over vsock of type SOCK_SEQPACKET is completed, and not copied, as one over a stream is.",
        sources: &[KSELFTEST],
        about: SENDMSG,
        modules: MODULES,
        lies: COPIED,
        exceptions: &[Exception::Of(Sysno::sendmsg, What::Shortened, "half of a message is another one")],
        ..Claim::of_answers(
            "zerocopy.vsock.seqpacket",
            |_lab| {
                static BYTES: [u8; 16 << 10] = [b'v'; 16 << 10];
                send(libc::SOCK_SEQPACKET, &[&BYTES])
            },
            NOT_COPIED,
        )
    },
    Claim {
        statement: "A vsock message that is larger than what the receiver may hold is completed as copied.",
        method: "Sends 400 KiB by one sendmsg() while a thread reads, and reads the completions.",
        sources: &[KSELFTEST],
        about: SENDMSG,
        modules: MODULES,
        lies: &[Lie::completion(Field::Code, 0)],
        exceptions: HALF,
        varies: BEYOND_VARIES,
        ..Claim::of_answers(
            "zerocopy.vsock.beyond-buffer",
            |_lab| send(libc::SOCK_STREAM, &[&BEYOND]),
            &[(super::tools::RECEIVED, Answer::Says(super::tools::AS_SENT)), ("marked as copied", Answer::Says("all"))],
        )
    },
    Claim {
        statement: "One sendmsg() over vsock takes one id, however long it is.",
        method: "Sends 400 KiB, more than the receiver may hold, by one sendmsg() while a thread reads, and reads the completions.",
        sources: &[DOC, Source::Measured],
        about: SENDMSG,
        modules: MODULES,
        lies: ONE_OF_MANY,
        exceptions: HALF,
        varies: BEYOND_VARIES,
        ..Claim::of_answers(
            "zerocopy.vsock.ids",
            |_lab| send(libc::SOCK_STREAM, &[&BEYOND]),
            &[("ids", Answer::Says("one"))],
        )
    },
    Claim {
        statement: "A vsock message with the flag, one piece of which is not mapped, fails with ENOMEM.",
        method: "Sends a page and a page that is not mapped, on a socket with SO_ZEROCOPY where it takes the option.",
        sources: &[KSELFTEST],
        about: &[Sysno::sendmsg],
        modules: MODULES,
        lies: &Lie::otherwise(Sysno::sendmsg),
        exceptions: &[Exception::asked(Sysno::sendmsg)],
        ..Claim::of_answers(
            "zerocopy.vsock.unmapped",
            zerocopy_vsock_unmapped,
            &[("sendmsg(page, unmapped page; MSG_ZEROCOPY)", Answer::Fails(Errno::ENOMEM))],
        )
    },
    Claim {
        statement: "Without SO_ZEROCOPY a vsock message with the flag is sent, and no completion comes.",
        sources: &[KSELFTEST],
        about: &[Sysno::sendmsg, Sysno::poll],
        modules: MODULES,
        lies: &[Lie::refused(Sysno::sendmsg, libc::EINVAL)],
        exceptions: &[
            Exception::Of(Sysno::sendmsg, What::Shortened, "the rest is sent by another call"),
            Exception::Of(Sysno::poll, What::Skipped, "a poll that is not made tells of nothing, as a true one may"),
        ],
        ..Claim::of_answers(
            "zerocopy.vsock.flag-only",
            zerocopy_vsock_flag_only,
            &[
                ("sendmsg(MSG_ZEROCOPY)", Answer::Is(4096)),
                (super::tools::RECEIVED, Answer::Says(super::tools::AS_SENT)),
                ("events afterwards", Answer::Is(0)),
            ],
        )
    },
];

static BEYOND: [u8; 400 << 10] = [b'v'; 400 << 10];
const BEYOND_VARIES: &[&str] = &["completions"];

const NOT_COPIED: &[(&str, Answer)] = &[
    (super::tools::RECEIVED, Answer::Says(super::tools::AS_SENT)),
    ("completions", Answer::Says("[0, 0] not copied")),
];

/// Sends pieces with the flag, in one call if the kernel takes all of them. Notes the bytes at the receiver and the completions.
fn send(kind: libc::c_int, pieces: &[&'static [u8]]) -> Result<Observation, Stop> {
    let (near, far) = sockets::vsock_of(kind)?;
    let mut seen = Observation::new();
    enable(&near).map_err(|errno| {
        Stop::untestable(
            Lack::Kernel,
            format!("a vsock socket does not take SO_ZEROCOPY: {errno:?}"),
            "use Linux 6.7 or newer",
        )
    })?;
    let expected = pieces.concat();
    let wanted = expected.len();
    let reader = thread::spawn(move || read(&far, kind, wanted));
    let slices: Vec<IoSlice> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
    // SAFETY: statics are never freed.
    let sent = io::again(|| unsafe { io::sendmsg_of(&near, &slices, libc::MSG_ZEROCOPY) });
    seen.call("sendmsg(MSG_ZEROCOPY)", sent);
    let sent = sent.setup("sendmsg")?;
    if sent < wanted {
        aside(|| io::write_all(&near, &expected[sent..])).setup("write the rest")?;
    }
    let received = reader.join().map_err(|_| Stop::broken("the receiver panicked"))?;
    let (far, bytes) = received.setup("read at the receiver")?;
    super::tools::note_bytes(&mut seen, bytes == expected);
    io::wait_for_error_queue(near.as_fd()).setup("poll")?;
    drop(far); // with whatever of the message it still holds
    let completions = Completions::now(&near).setup("read the completions")?;
    let (copied, count) = (completions.copied(), completions.count());
    seen.text("marked as copied", part(copied, count));
    let first = completions.0.iter().map(|range| range.lo).min();
    seen.text("first id", first.map_or("none".to_owned(), |id| id.to_string()));
    seen.text(
        "ids",
        match count {
            0 => "none",
            1 => "one",
            2..=100 => "several",
            _ => "more than pages",
        },
    );
    seen.text("completions", completions);
    Ok(seen)
}

fn part(copied: u64, count: u64) -> &'static str {
    match copied {
        _ if count == 0 => "nothing is completed",
        0 => "none",
        _ if copied == count => "all",
        _ => "some",
    }
}

/// Reads `wanted` bytes, in one call if the socket preserves message boundaries.
fn read(far: &OwnedFd, kind: libc::c_int, wanted: usize) -> Result<(OwnedFd, Vec<u8>), Errno> {
    let mut bytes = vec![0; wanted];
    let count = if kind == libc::SOCK_SEQPACKET {
        io::again(|| io::read(far, &mut bytes))?
    } else {
        io::read_full(far, &mut bytes)?
    };
    bytes.truncate(count);
    let far = far.try_clone().map_err(|_| Errno::EMFILE)?;
    Ok((far, bytes))
}

fn zerocopy_vsock_unmapped(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far) = sockets::vsock()?;
    // If the option is not accepted, the flag has no effect.
    let _ = aside(|| sockets::set_option(&near, libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1));
    let page = [b'v'; 4096];
    let mut vectors = [
        libc::iovec { iov_base: page.as_ptr().cast_mut().cast(), iov_len: page.len() },
        libc::iovec {
            iov_base: std::ptr::without_provenance_mut(4096), // below vm.mmap_min_addr
            iov_len: 4096,
        },
    ];
    // SAFETY: msghdr is plain integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len() as _;
    let flags = usize::try_from(libc::MSG_ZEROCOPY).expect("a small number");
    let arguments = [io::argument(&near), (&raw const message).expose_provenance(), flags, 0, 0, 0];
    // SAFETY: the kernel reads the message and the page, and finds that the other address is not mapped. The page is on the stack
    // until the process ends, in case the kernel keeps it.
    let sent = unsafe { io::ask(Sysno::sendmsg, arguments) };
    let mut seen = Observation::new();
    seen.call("sendmsg(page, unmapped page; MSG_ZEROCOPY)", sent);
    Ok(seen)
}

fn zerocopy_vsock_flag_only(_lab: &Lab) -> Result<Observation, Stop> {
    static BYTES: [u8; 4096] = [b'v'; 4096];
    let (near, far) = sockets::vsock()?;
    // SAFETY: a static is never freed.
    let sent = io::again(|| unsafe { io::sendmsg(&near, &BYTES, libc::MSG_ZEROCOPY) });
    let mut seen = Observation::new();
    seen.call("sendmsg(MSG_ZEROCOPY)", sent);
    let mut bytes = vec![0; sent.unwrap_or(0)];
    aside(|| io::read_full(&far, &mut bytes)).setup("read at the receiver")?;
    super::tools::note_bytes(&mut seen, bytes == BYTES);
    let (told, events) = io::poll(&near, 0, 0);
    let events = if told.setup("poll")? == 0 { 0 } else { events };
    seen.count("events afterwards", u64::from(events.cast_unsigned()));
    Ok(seen)
}
