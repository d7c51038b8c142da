//! Receiving: the flag, and `TCP_ZEROCOPY_RECEIVE`, which maps pages of a socket.
//!
//! The structure of the option has grown: to 16 bytes in Linux 4.18, to 40 in 5.10, and to 64 in 6.1. Up to 5.5 the
//! kernel takes exactly 16 bytes. 5.10 cuts a longer structure off at 40, whatever its content.

use super::{are_sent, completing, completions_come, document};
use crate::claims::prelude::*;
use crate::lab::alias::{LENGTH, OLD};
use crate::lab::completions::Completions;
use crate::lab::pages;
use nocopy_mmap::PrivateAnonymous;
use nocopy_msg_zerocopy::{SendFlags, send_zerocopy};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

const STRUCTURE: &str = "the structure afterwards";
const GETSOCKOPT: &[Sysno] = &[Sysno::getsockopt];
const ASKED: &[Exception] = &[Exception::asked(Sysno::getsockopt)];
const NOT_TAKEN: &[Lie] = &[Lie::refused(Sysno::getsockopt, libc::EINVAL).where_it(true)];
const OPTION: Source = kernel("net/ipv4/tcp.c", "do_tcp_getsockopt");
const RECEIVE: Source = kernel("net/ipv4/tcp.c", "tcp_zerocopy_receive");
const CAN_MAP: Source = kernel("net/ipv4/tcp.c", "can_map_frag");
const SANITIZED: Source =
    commit("3c5a2fd042d0", "tcp: Sanitize CMSG flags and reserved args in tcp_zerocopy_receive.").since("5.12");

/// A claim that `TCP_ZEROCOPY_RECEIVE` is taken.
#[track_caller]
const fn taken(id: &'static str, statement: &'static str) -> Claim {
    const EXCEPTIONS: &[Exception] = &[ASKED[0], Exception::Lacking("no lie writes what a longer structure has")];
    claim(id, statement).about(GETSOCKOPT).turned_by(NOT_TAKEN).except(EXCEPTIONS)
}

/// The claim that `TCP_ZEROCOPY_RECEIVE` fails, with a call that has no expectation after it.
macro_rules! refused {
    ($id:literal => $statement:literal, [$($source:expr),+], $call:literal => $errno:ident, $answer:expr
        $(, $other:literal, $also:expr)?) => {
        claim(concat!("zerocopy.recv.", $id), concat!("TCP_ZEROCOPY_RECEIVE ", $statement))
            .published(&[$($source),+])
            .about(GETSOCKOPT)
            .turned_by(&[
                Lie::about(Sysno::getsockopt, What::OtherErrno(libc::ENOLINK)).where_it(true),
                Lie::accepted(Sysno::getsockopt).where_it(true),
                Lie::refused(Sysno::getsockopt, libc::$errno).where_it(false),
            ])
            .except(ASKED)
            .tried(|_lab, see| {
                let (answer, request) = $answer?;
                see.call($call, answer).fails($errno).text(STRUCTURE, request.says());
                $(
                    let (answer, request) = $also?;
                    see.call($other, answer).text(concat!("the structure after ", $other), request.says());
                )?
                Ok(())
            })
    };
}

pub const CLAIMS: &[Claim] = &[
    claim(
        "zerocopy.recv.flag",
        "recvmsg() on a TCP socket ignores MSG_ZEROCOPY: the buffer receives the bytes, and no completion is queued.",
    )
    .published(&[seed("5.3")])
    .about(&[Sysno::recvmsg])
    .turned_by(&[Lie::about(Sysno::recvmsg, What::Garbled).after(0)])
    .tried(|_lab, see| {
        let (far, near) = completing()?;
        sockets::zerocopy_on(&near)?;
        io::write_all(&far, &[OLD; LENGTH]).setup("write")?;
        sockets::wait_for_arrival(&near, LENGTH)?;
        let (mut buffer, mut flags) = ([0; LENGTH], 0);
        let received = io::until_done(LENGTH, |done| {
            let part = io::recvmsg(&near, &mut buffer[done..], &mut [], libc::MSG_ZEROCOPY)?;
            flags |= part.flags;
            Ok(part.bytes)
        });
        see.call("recvmsg(16 KiB, MSG_ZEROCOPY)", received).is(LENGTH).text("msg_flags", format!("{flags:#x}"));
        are_sent(see, "bytes of the buffer", buffer == [OLD; LENGTH]);
        sockets::wait_until_acknowledged(&far, &near)?;
        for (end, socket) in [("sender", &far), ("receiver", &near)] {
            let completions = Completions::now(socket).setup("read the error queue")?;
            see.count(format!("completions at the {end}"), completions.count()).is(0);
        }
        Ok(())
    }),
    claim(
        "zerocopy.recv.tcp-zerocopy-receive",
        "A TCP socket has an option for receiving without a copy: TCP_ZEROCOPY_RECEIVE.",
    )
    .published(&[ADDED, selftest("bpf/prog_tests/sockopt_sk.c", "getsetsockopt, TCP_ZEROCOPY_RECEIVE").since("4.18")])
    .about(GETSOCKOPT)
    .turned_by(&[Lie::refused(Sysno::getsockopt, libc::ENOPROTOOPT)])
    .except(ASKED)
    .gated(&[gate("4.18", "a TCP socket has TCP_ZEROCOPY_RECEIVE", ADDED)])
    .tried(|_lab, see| {
        let (near, _far) = sockets::tcp()?;
        let mut request = Request::of_length(0, 16);
        let answer = request.ask_for(9999, &near);
        see.call("getsockopt(no such option)", answer).fails(Errno::ENOPROTOOPT);
        request.bytes[HINT..].fill(0xff);
        let answer = request.ask(&near);
        see.call("getsockopt(TCP_ZEROCOPY_RECEIVE)", answer).text(STRUCTURE, request.says());
        see.whether("there is such an option", answer != Err(Errno::ENOPROTOOPT)).says("yes");
        Ok(())
    }),
    refused!("unaligned" => "at an address that is not a multiple of the page size fails with EINVAL.",
        [RECEIVE, selftest("bpf/prog_tests/sockopt_sk.c", "getsetsockopt, address 12345")],
        "getsockopt(address of a page and 1)" => EINVAL, asked(page(), |request| request.aim(request.address + 1))),
    refused!("short-structure" => "with an 11-byte structure fails with EINVAL.", [OPTION],
        "getsockopt(11 bytes)" => EINVAL, asked(page(), |request| request.length = 11),
        "getsockopt(12 bytes)", asked(page(), |request| request.length = 12)),
    refused!("longer-structure" => "with an 80-byte structure whose last byte is not 0 fails with EINVAL.",
    [SANITIZED, OPTION], "getsockopt(80 bytes, the last one 1)" => EINVAL, asked(page(), |request| {
        request.length = 80;
        request.bytes[79] = 1;
    })),
    refused!("reserved" => "with a reserved field other than 0 fails with EINVAL.", [SANITIZED, OPTION],
        "getsockopt(reserved = 1)" => EINVAL, of_reserved()),
    refused!("no-mapping" => "at the address of anonymous memory fails with EINVAL when 4 pages are queued.", [RECEIVE],
        "getsockopt(address of anonymous memory)" => EINVAL, elsewhere(4 * page())),
    refused!("listening" => "on a listening socket fails with ENOTCONN.", [RECEIVE],
        "getsockopt(listening socket)" => ENOTCONN, of_listener()),
    refused!("closed" => "fails with EIO when the peer has closed and no data is queued.", [RECEIVE],
        "getsockopt(socket whose peer has closed)" => EIO, of_closed()),
    taken(
        "zerocopy.recv.mptcp-passed-through",
        "TCP_ZEROCOPY_RECEIVE on an MPTCP socket whose peer speaks plain TCP succeeds, as on the TCP socket below it.",
    )
    .published(&[kernel("net/mptcp/sockopt.c", "mptcp_getsockopt")])
    .tried(|_lab, see| {
        let (answer, request) = of_fallen_back()?;
        see.call("getsockopt(MPTCP socket of a TCP connection)", answer).is(0);
        see.text(STRUCTURE, request.says());
        Ok(())
    }),
    taken(
        "zerocopy.recv.structure-length",
        "TCP_ZEROCOPY_RECEIVE with an 80-byte structure ending in zeros succeeds and sets the length to 64.",
    )
    .published(&[OPTION])
    .tried(|_lab, see| {
        let (answer, request) = asked(page(), |request| request.length = 80)?;
        see.call("getsockopt(80 bytes)", answer).is(0).count("length afterwards", request.length as u64).is(64);
        see.text(STRUCTURE, request.says());
        Ok(())
    }),
    taken(
        "zerocopy.recv.few-bytes",
        "With 100 bytes queued, TCP_ZEROCOPY_RECEIVE at anonymous memory maps nothing and sets recv_skip_hint to 100.",
    )
    .published(&[RECEIVE])
    .tried(|_lab, see| {
        let (answer, request) = elsewhere(100)?;
        see.call("getsockopt(address of anonymous memory)", answer).is(0);
        see.text(STRUCTURE, request.says()).says("address kept, length 0 pages, hint 100 bytes");
        Ok(())
    }),
    taken(
        "zerocopy.recv.loopback",
        "With net.core.high_order_alloc_disable at 0, eight pages sent by write() over TCP loopback cannot be mapped: \
         TCP_ZEROCOPY_RECEIVE reports all in recv_skip_hint.",
    )
    .published(&[CAN_MAP, kernel("net/core/sock.c", "skb_page_frag_refill").leaves_open()])
    .turned_by(&[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 })])
    .tried(|_lab, see| {
        const SETTING: &str = "/proc/sys/net/core/high_order_alloc_disable";
        if aside(|| std::fs::read_to_string(SETTING)).is_ok_and(|value| value.trim() != "0") {
            return Err(Stop::untestable(Lack::Privilege, format!("{SETTING} is not 0"), "write 0 to it as root"));
        }
        let (near, _far) = queued(8 * page())?;
        let mapping = map(&near, libc::MAP_SHARED)?;
        let (answer, request) = Request::for_all(&near, mapping)?;
        see.call("getsockopt(8 pages)", answer).is(0);
        see.text(STRUCTURE, request.says()).says("address kept, length 0 pages, hint 8 pages");
        see.text("left to be read", in_pages(sockets::readable(&near)?)).says("8 pages");
        let (mapped, bytes) = receive(&near, mapping, 8 * page(), page())?;
        see.text("mapped while the rest was read page by page", in_pages(mapped)).says("0 pages");
        are_sent(see, RECEIVED, bytes == vec![0; 8 * page()]);
        Ok(())
    }),
    taken(
        "zerocopy.recv.from-zerocopy",
        "Eight pages sent with MSG_ZEROCOPY over TCP loopback are mapped whole by TCP_ZEROCOPY_RECEIVE, with the sent \
         bytes.",
    )
    .published(&[
        selftest("net/tcp_mmap.c", "How to use on loopback interface, with another MTU").leaves_open(),
        kernel("net/core/skbuff.c", "skb_copy_ubufs"),
        CAN_MAP,
    ])
    .tried(|_lab, see| {
        let (near, _far, _memory, mapping) = lettered()?;
        all_are_mapped(see, &near, mapping)?;
        see.text("left to be read", in_pages(sockets::readable(&near)?)).says("0 pages");
        Ok(())
    }),
    taken(
        "zerocopy.recv.sharing",
        "TCP_ZEROCOPY_RECEIVE maps eight pages sent with MSG_ZEROCOPY over TCP loopback as copies of the sender's.",
    )
    .published(&[selftest("net/tcp_mmap.c", "Note on -z"), document("Loopback")])
    .tried(|_lab, see| {
        let (near, _far, mut memory, mapping) = lettered()?;
        if all_are_mapped(see, &near, mapping)? {
            memory.fill(b'z');
            see.text("the mapping after the sender's change", letters(mapping)?).says("abcdefgh");
        }
        Ok(())
    }),
    taken(
        "zerocopy.recv.skip-hint",
        "TCP_ZEROCOPY_RECEIVE and read() of recv_skip_hint bytes, in turn, receive a whole stream, some of it mapped.",
    )
    .published(&[
        RECEIVE,
        selftest("net/tcp_mmap.c", "child_thread, which reports no error").leaves_open(),
        commit("aacb0c2e524c", "selftests: net: tcp_mmap must use TCP_ZEROCOPY_RECEIVE").since("4.18"),
    ])
    .method("Four pages are sent with MSG_ZEROCOPY and an odd piece by write(), three times.")
    .tried(|_lab, see| {
        completions_come()?;
        let (near, far) = connected()?;
        let mut memory = alias::memory(4 * page())?;
        memory.copy_from_slice(&pattern(4 * page()));
        let mut sent = Vec::new();
        for odd in [1, 100, page() + 904] {
            send_pages(&far, &memory)?;
            aside(|| io::write_all(&far, &memory[..odd])).setup("write")?;
            sent.extend([&memory[..], &memory[..odd]].concat());
        }
        aside(|| sockets::wait_for_arrival(&near, sent.len()))?;
        let (mapped, bytes) = receive(&near, map(&near, libc::MAP_SHARED)?, sent.len(), usize::MAX)?;
        see.count("pages mapped", (mapped / page()) as u64).at_least(1);
        are_sent(see, RECEIVED, bytes == sent);
        Ok(())
    }),
    claim(
        "zerocopy.recv.mapping-read-only",
        "mprotect(PROT_WRITE) of a read-only TCP socket mapping, shared or private, fails with EACCES.",
    )
    .published(&[man("mprotect(2)", "ERRORS, EACCES"), kernel("net/ipv4/tcp.c", "tcp_mmap")])
    .about(&[Sysno::mmap, Sysno::mprotect])
    .turned_by(&[Lie::about(Sysno::mprotect, What::OtherErrno(libc::ENOLINK)), Lie::accepted(Sysno::mprotect)])
    .except(&[Exception::asked(Sysno::mprotect)])
    .tried(|_lab, see| {
        let (near, _far) = sockets::tcp()?;
        for (name, flags) in [("shared", libc::MAP_SHARED), ("private", libc::MAP_PRIVATE)] {
            let mapping = map(&near, flags)?;
            let protection = (libc::PROT_READ | libc::PROT_WRITE).cast_unsigned() as usize;
            // SAFETY: the mapping is ours, and nothing refers to it.
            let done = unsafe { ask(Sysno::mprotect, [mapping, page(), protection, 0, 0, 0]) };
            see.call(format!("mprotect({name} mapping, PROT_WRITE)"), done).fails(EACCES);
        }
        Ok(())
    }),
];

const ADDED: Source =
    commit("05255b823a61", "tcp: add TCP_ZEROCOPY_RECEIVE support for zerocopy receive").since("4.18");

/// The answer, and the request as the kernel leaves it.
type Asked = Result<(Result<usize, Errno>, Request), Stop>;

/// The place of `recv_skip_hint`.
const HINT: usize = 12;

/// `struct tcp_zerocopy_receive` of `include/uapi/linux/tcp.h`, with spare room after it.
struct Request {
    bytes: [u8; 80],
    length: usize,
    address: usize,
}

impl Request {
    /// A request for one page at an address, with the longest structure that the kernel takes.
    fn at(address: usize) -> Result<Self, Stop> {
        Ok(Self::of_length(address, taken_length()?))
    }

    fn of_length(address: usize, length: usize) -> Self {
        let mut request = Self { bytes: [0; 80], length, address };
        request.aim(address);
        request.want(1);
        request
    }

    /// Asks for eight pages.
    fn for_all(near: &TcpStream, mapping: usize) -> Asked {
        let mut request = Self::at(mapping)?;
        request.want(8);
        Ok((request.ask(near), request))
    }

    fn aim(&mut self, address: usize) {
        self.address = address;
        self.bytes[..8].copy_from_slice(&address.to_ne_bytes());
    }

    fn want(&mut self, pages: usize) {
        let length = u32::try_from(pages * page()).expect("a few pages");
        self.bytes[8..HINT].copy_from_slice(&length.to_ne_bytes());
    }

    /// Makes the call. Afterwards the structure has the length and the fields that the kernel has written.
    fn ask(&mut self, socket: &impl AsFd) -> Result<usize, Errno> {
        /// `TCP_ZEROCOPY_RECEIVE` of `include/uapi/linux/tcp.h`.
        const TCP_ZEROCOPY_RECEIVE: usize = 35;
        self.ask_for(TCP_ZEROCOPY_RECEIVE, socket)
    }

    fn ask_for(&mut self, option: usize, socket: &impl AsFd) -> Result<usize, Errno> {
        let mut length = u32::try_from(self.length).expect("a short structure");
        let pointers = [self.bytes.as_mut_ptr().expose_provenance(), (&raw mut length).expose_provenance()];
        let level = libc::IPPROTO_TCP.cast_unsigned() as usize;
        // SAFETY: the kernel writes the length, and at most `length` bytes, which the structure has. It maps pages only
        // into a mapping of the experiment's own.
        let done = unsafe { ask(Sysno::getsockopt, [argument(socket), level, option, pointers[0], pointers[1], 0]) };
        self.length = std::hint::black_box(length) as usize;
        std::hint::black_box(&mut self.bytes);
        done
    }

    fn number(&self, at: usize) -> usize {
        u32::from_ne_bytes(self.bytes[at..at + 4].try_into().expect("four bytes")) as usize
    }

    /// Whether the address is as it was.
    fn is_kept(&self) -> bool {
        self.bytes[..8] == self.address.to_ne_bytes()
    }

    /// The fields. The address itself differs from run to run.
    fn says(&self) -> String {
        let address = if self.is_kept() { "kept" } else { "changed" };
        format!("address {address}, length {}, hint {}", in_pages(self.number(8)), in_pages(self.number(HINT)))
    }
}

fn in_pages(bytes: usize) -> String {
    if bytes.is_multiple_of(page()) { format!("{} pages", bytes / page()) } else { format!("{bytes} bytes") }
}

/// Asks for a mapped page, with this number of bytes queued, after a change of the request.
fn asked(bytes: usize, change: impl FnOnce(&mut Request)) -> Asked {
    let (near, _far) = queued(bytes)?;
    let mut request = Request::at(map(&near, libc::MAP_SHARED)?)?;
    change(&mut request);
    Ok((request.ask(&near), request))
}

/// The same at the address of anonymous memory.
fn elsewhere(bytes: usize) -> Asked {
    let memory = alias::memory(page())?;
    asked(bytes, |request| request.aim(memory.as_ptr().expose_provenance()))
}

fn of_reserved() -> Asked {
    let (answer, request) = asked(page(), |request| request.bytes[60] = 1)?;
    if request.length < 64 {
        let what = format!("the structure has {} bytes and no reserved field", request.length);
        return Err(Stop::untestable(Lack::Kernel, what, "use Linux 5.15 or later"));
    }
    Ok((answer, request))
}

fn of_listener() -> Asked {
    let listener = aside(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).setup("bind")?;
    let mut request = Request::at(map(&listener, libc::MAP_SHARED)?)?;
    Ok((request.ask(&listener), request))
}

fn of_closed() -> Asked {
    let (near, far) = sockets::tcp()?;
    let mut request = Request::at(map(&near, libc::MAP_SHARED)?)?;
    drop(far);
    io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
    Ok((request.ask(&near), request))
}

/// A socket of multipath TCP to a peer that has plain TCP, at a mapping of another socket.
fn of_fallen_back() -> Asked {
    let socket = aside(|| sockets::of_protocol(libc::AF_INET, libc::SOCK_STREAM, libc::IPPROTO_MPTCP))?;
    let (near, _far) = aside(|| sockets::tcp_from(socket))?;
    let (plain, _) = sockets::tcp()?;
    let mut request = Request::at(map(&plain, libc::MAP_SHARED)?)?;
    Ok((request.ask(&near), request))
}

/// The longest structure that this kernel takes when a page has arrived and a mapping exists. Without this control, the
/// `EINVAL` of a wrong length could be taken for an answer to another question.
fn taken_length() -> Result<usize, Stop> {
    /// The lengths of Linux 6.1, of 5.10, and of 4.18 to 5.5, which take no other length.
    const LENGTHS: [usize; 3] = [64, 40, 16];
    for length in LENGTHS {
        let (near, _far) = queued(page())?;
        let mut request = Request::of_length(aside(|| map(&near, libc::MAP_SHARED))?, length);
        match aside(|| request.ask(&near)) {
            Err(EINVAL) => {}
            answer => {
                answer.setup("getsockopt(TCP_ZEROCOPY_RECEIVE) of a page that has come")?;
                return Ok(length);
            }
        }
    }
    let what = format!("TCP_ZEROCOPY_RECEIVE takes no structure of {LENGTHS:?} bytes: EINVAL");
    Err(Stop::untestable(Lack::Kernel, what, "use Linux 4.18 or later with CONFIG_MMU"))
}

/// Two ends of a TCP connection. The first one can hold eight pages of any size.
fn connected() -> Result<(TcpStream, TcpStream), Stop> {
    let (near, far) = sockets::tcp()?;
    if page() > 4096 {
        let size = libc::c_int::try_from(32 * page()).expect("a few pages");
        aside(|| sockets::resize_buffer(&far, libc::SO_SNDBUFFORCE, size))?;
        aside(|| sockets::resize_buffer(&near, libc::SO_RCVBUFFORCE, size))?;
    }
    Ok((near, far))
}

/// A connection whose first end has this number of bytes to receive.
fn queued(bytes: usize) -> Result<(TcpStream, TcpStream), Stop> {
    let (near, far) = connected()?;
    aside(|| io::write_all(&far, &vec![0; bytes])).setup("write")?;
    aside(|| sockets::wait_for_arrival(&near, bytes))?;
    Ok((near, far))
}

/// Maps eight pages of a socket for reading. Returns the address. The mapping stays.
fn map(socket: &impl AsFd, flags: libc::c_int) -> Result<usize, Stop> {
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: a new mapping where the kernel likes, which nothing else knows.
    let mapping = unsafe { libc::mmap(std::ptr::null_mut(), 8 * page(), libc::PROT_READ, flags, fd, 0) };
    if mapping == libc::MAP_FAILED {
        return Err(Stop::from_setup("mmap of a socket", sockets::last_errno()));
    }
    Ok(mapping.expose_provenance())
}

/// A connection whose first end has received eight pages that were sent with the flag, `a` to `h`. Returns it with the
/// pages and the receiver's mapping.
fn lettered() -> Result<(TcpStream, TcpStream, PrivateAnonymous, usize), Stop> {
    completions_come()?;
    let (near, far) = connected()?;
    let mut memory = alias::memory(8 * page())?;
    for (page, letter) in memory.chunks_mut(page()).zip(b'a'..) {
        page.fill(letter);
    }
    send_pages(&far, &memory)?;
    aside(|| sockets::wait_for_arrival(&near, 8 * page()))?;
    let mapping = map(&near, libc::MAP_SHARED)?;
    Ok((near, far, memory, mapping))
}

/// Sends memory with the flag and waits for the completions.
fn send_pages(socket: &TcpStream, memory: &[u8]) -> Result<(), Stop> {
    aside(|| {
        let zerocopy = sockets::zerocopy_on(socket)?;
        let mut sends = 0;
        io::all_done(memory.len(), |done| {
            // SAFETY: the memory is not freed before the completions have come.
            unsafe { send_zerocopy(zerocopy, &memory[done..], SendFlags::empty()) }.inspect(|_| sends += 1)
        })
        .setup("send")?;
        Completions::wait(socket, sends).setup("read the completions").map(drop)
    })
}

/// Asks for eight pages and notes that all are mapped, with their letters. Returns whether they are.
fn all_are_mapped(see: &mut Observation, near: &TcpStream, mapping: usize) -> Result<bool, Stop> {
    const ALL: &str = "address kept, length 8 pages, hint 0 pages";
    let (answer, request) = Request::for_all(near, mapping)?;
    see.call("getsockopt(8 pages)", answer).is(0).text(STRUCTURE, request.says()).says(ALL);
    let are_mapped = answer.is_ok() && request.says() == ALL;
    if are_mapped {
        see.text("the mapping", letters(mapping)?).says("abcdefgh");
    }
    Ok(are_mapped)
}

/// The letters of eight mapped pages: `?` for a page of different bytes.
fn letters(mapping: usize) -> Result<String, Stop> {
    let bytes = mapped_bytes(mapping, 8 * page())?;
    let letter = |page: &[u8]| if page.iter().all(|byte| *byte == page[0]) { char::from(page[0]) } else { '?' };
    Ok(bytes.chunks(page()).map(letter).collect())
}

fn mapped_bytes(mapping: usize, length: usize) -> Result<Vec<u8>, Stop> {
    let pages: Result<Vec<_>, _> =
        (mapping..mapping + length).step_by(page()).map(|at| aside(|| pages::bytes(at, page()))).collect();
    Ok(pages?.concat())
}

/// Takes what is mapped, and reads as many bytes as the hint says, but no more than `most`, in turn. Returns the number
/// of mapped bytes, and all bytes.
fn receive(near: &TcpStream, mapping: usize, length: usize, most: usize) -> Result<(usize, Vec<u8>), Stop> {
    let (mut all, mut received) = (0, Vec::new());
    while received.len() < length {
        let (answer, request) = Request::for_all(near, mapping)?;
        let (mapped, hint) = (request.number(8), request.number(HINT).min(most));
        if answer.is_err() || mapped + hint == 0 || mapped > 8 * page() || !request.is_kept() {
            break; // no way on
        }
        received.extend(mapped_bytes(mapping, mapped)?);
        all += mapped;
        let mut rest = vec![0; hint.min(length.saturating_sub(received.len()))];
        let read = aside(|| io::read_full(near, &mut rest)).setup("read as hinted")?;
        received.extend_from_slice(&rest[..read]);
    }
    Ok((all, received))
}
