//! The limits of memory and space of sends with `MSG_ZEROCOPY`.

use super::{completing, document, enabled, send};
use crate::claims::prelude::*;
use crate::lab::netns;
use crate::lab::settings::{OPTMEM_MAX, Setting};

const DOC: Source = doc("admin-guide/sysctl/net.rst", "optmem_max").since("6.8");

const INCREASED: Source = commit("4944566706b2", "net: increase optmem_max default value").since("6.8");
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::sendto);

pub const CLAIMS: &[Claim] = &[
    claim(
        "zerocopy.limit.pinned-bytes",
        "Without CAP_IPC_LOCK and with RLIMIT_MEMLOCK 16 pages, a MSG_ZEROCOPY send of 24 pages over TCP fails with \
         ENOBUFS, and one of 7 succeeds; with 0, a send of one byte fails, and a plain write() succeeds.",
    )
    .published(&[document("Transmission")])
    .about(&[Sysno::sendto, Sysno::write])
    .turned_by(OTHERWISE)
    .sharing(&[Resource::UserMemlock])
    .tried(|_lab, see| {
        let page = page();
        let bytes: &'static [u8] = pattern(24 * page).leak();
        let (near, far) = enabled()?;
        let reader = drain(far.into());
        limit_memory(16 * page)?;
        see.call("send(24 pages, MSG_ZEROCOPY), RLIMIT_MEMLOCK 16 pages", send(&near, bytes)).fails(ENOBUFS);
        let sent = io::until_done(7 * page, |done| send(&near, &bytes[done..7 * page]));
        see.call("send(7 pages, MSG_ZEROCOPY), RLIMIT_MEMLOCK 16 pages", sent).is(7 * page);
        limit_memory(0)?;
        see.call("send(1 byte, MSG_ZEROCOPY), RLIMIT_MEMLOCK 0", send(&near, b"1")).fails(ENOBUFS);
        see.call("write(1 byte), RLIMIT_MEMLOCK 0", io::again(|| io::write(&near, b"w"))).is(1);
        drop(near);
        let is_all = drained(reader)? == [&bytes[..7 * page], b"w"].concat();
        see.whether("the receiver has the 7 pages and the byte, and no more", is_all).says("yes");
        Ok(())
    }),
    claim(
        "zerocopy.limit.optmem",
        "With net.core.optmem_max 0, a one-byte TCP send with MSG_ZEROCOPY fails with ENOBUFS; a write() succeeds.",
    )
    .published(&[document("Transmission"), DOC])
    .about(&[Sysno::sendto, Sysno::write])
    .turned_by(OTHERWISE)
    .sharing(&[Resource::Machine])
    .tried(|_lab, see| {
        let _setting = own_optmem(Some("0"))?;
        let (near, far) = enabled()?;
        see.call("send(1 byte, MSG_ZEROCOPY)", send(&near, b"z")).fails(ENOBUFS);
        see.call("write(1 byte)", io::again(|| io::write(&near, b"w"))).is(1);
        sockets::wait_until_acknowledged(&near, &far)?;
        see.holds("the receiver's byte", &far, b"w")?.says(AS_SENT);
        Ok(())
    }),
    claim("zerocopy.limit.optmem-default", "The default of net.core.optmem_max is 131072 bytes.")
        .published(&[DOC, INCREASED])
        .gated(&[gate("6.8", "net.core.optmem_max is 131072 by default", INCREASED)])
        .about(&[Sysno::read])
        .turned_by(&[
            Lie::bytes(Sysno::read, b'1', b'7').where_it(true),
            Lie::bytes(Sysno::read, b'2', b'7').where_it(true),
        ])
        .except(&[
            Exception::Of(Sysno::read, What::TooFew, "what is missing then is the newline"),
            Exception::Lacking("a lie changes digits, not how many there are"),
        ])
        .method("Reads the setting in a guest, or in a new network namespace that has one.")
        .sharing(&[Resource::Machine])
        .tried(|_lab, see| {
            own_optmem(None)?;
            let file = aside(|| File::open(OPTMEM_MAX)).setup(OPTMEM_MAX)?;
            let mut text = [0; 32];
            let length = io::read_full(&file, &mut text).setup(OPTMEM_MAX)?;
            see.text("net.core.optmem_max", String::from_utf8_lossy(&text[..length]).trim_end()).says("131072");
            Ok(())
        }),
    claim(
        "zerocopy.limit.no-pollerr",
        "After a TCP send's ENOBUFS for RLIMIT_MEMLOCK, with none in flight, neither POLLERR nor a completion comes.",
    )
    .published(&[
        thread("grpc/grpc#30320", "no EPOLLERR comes after such an ENOBUFS, and the write thread sleeps for ever"),
        thread("grpc/grpc#31150", "an RPC hangs after ENOBUFS for RLIMIT_MEMLOCK"),
    ])
    .about(&[Sysno::sendto, Sysno::recvmsg, Sysno::ppoll])
    .turned_by(&[Lie::about(Sysno::recvmsg, What::CompletionForged(0))])
    .sharing(&[Resource::UserMemlock])
    .tried(|_lab, see| {
        let (near, far) = completing()?;
        limit_memory(0)?;
        see.call("send(1 byte, MSG_ZEROCOPY), RLIMIT_MEMLOCK 0", send(&near, b"1")).fails(ENOBUFS);
        for when in ["after ENOBUFS", "after a write() that was acknowledged"] {
            let (polled, events) = io::ppoll(&near, 0, 0);
            let seen = format!("{}, events {events}", returned(polled));
            see.text(format!("ppoll(no events) {when}"), seen).says("returned 0, events 0");
            let received = io::again(|| io::recvmsg(&near, &mut [], &mut [0; 256], libc::MSG_ERRQUEUE));
            see.call(format!("recvmsg(MSG_ERRQUEUE) {when}"), received.map(|one| one.bytes)).fails(EAGAIN);
            aside(|| io::write_all(&near, b"w")).setup("write")?;
            sockets::wait_until_acknowledged(&near, &far)?;
        }
        Ok(())
    }),
];

/// Limits the memory that this process may pin, in bytes, also if it was allowed to pin more.
fn limit_memory(bytes: usize) -> Result<(), Stop> {
    privilege::drop_ipc_lock().setup("drop CAP_IPC_LOCK")?;
    privilege::limit_locked_memory(bytes as u64).setup("RLIMIT_MEMLOCK")
}

/// Makes `net.core.optmem_max` this experiment's own, in a guest or in a network namespace that has one, and sets it.
fn own_optmem(value: Option<&str>) -> Result<Option<Setting>, Stop> {
    if netns::is_disposable() {
        return value.map(|value| Setting::change(OPTMEM_MAX, value)).transpose();
    }
    netns::alone(&[])?;
    let what = "net.core.optmem_max is of the whole machine, which is not disposable";
    let none = |_| Stop::untestable(Lack::Device, what, "run it in a guest: conformance vm run --kernel 6.1");
    aside(|| std::fs::metadata(OPTMEM_MAX)).map_err(none)?;
    value.map_or(Ok(()), |value| aside(|| std::fs::write(OPTMEM_MAX, value)).setup(OPTMEM_MAX)).map(|()| None)
}
