//! `TCP_ZEROCOPY_RECEIVE`: receiving into mapped pages of a socket.
//!
//! The structure has grown: to 16 bytes in Linux 4.18, to 40 in 5.10, and to 64 in 6.1 and newer. Up to 5.5 the kernel takes
//! exactly 16 bytes. 5.10 cuts a longer structure off at 40, whatever its content.

use super::tools::{AS_SENT, RECEIVED, note_bytes};
use super::zerocopy_old::completions_come;
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::alias;
use crate::lab::completions::Completions;
use crate::lab::io::{self, argument, ask};
use crate::lab::pages::{self, PAGE};
use crate::lab::{Lab, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_mmap::PrivateAnonymous;
use nocopy_msg_zerocopy::{SendFlags, send_zerocopy};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use syscalls::{Errno, Sysno};

/// `TCP_ZEROCOPY_RECEIVE` of include/uapi/linux/tcp.h.
const TCP_ZEROCOPY_RECEIVE: usize = 35;
const SOURCE: Source = Source::Thread("Linux 7.3, net/ipv4/tcp.c, tcp_zerocopy_receive");
const TCP_MMAP: Source = Source::Thread("Linux 7.3, tools/testing/selftests/net/tcp_mmap.c");
const GETSOCKOPT: &[Sysno] = &[Sysno::getsockopt];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::getsockopt);
const ASKED: &[Exception] = &[Exception::asked(Sysno::getsockopt)];

/// Claims about receiving into mapped pages.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "TCP_ZEROCOPY_RECEIVE at an address that is no multiple of a page fails with EINVAL.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: OTHERWISE,
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.unaligned",
            |_lab| {
                let (near, far) = queued(PAGE)?;
                let mapping = map(&near, libc::MAP_SHARED)?;
                let mut request = Request::at(mapping + 1)?;
                let mut seen = Observation::new();
                seen.call("getsockopt(address of a page and 1)", request.ask(&near));
                drop(far);
                Ok(seen)
            },
            &[("getsockopt(address of a page and 1)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "A structure that ends before recv_skip_hint fails with EINVAL.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: OTHERWISE,
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.short-structure",
            |_lab| {
                let (near, _far) = queued(PAGE)?;
                let mut request = Request::at(map(&near, libc::MAP_SHARED)?)?;
                request.length = 11;
                let mut seen = Observation::new();
                seen.call("getsockopt(11 bytes)", request.ask(&near));
                Ok(seen)
            },
            &[("getsockopt(11 bytes)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "A structure longer than the kernel's, with something behind the kernel's end, fails with EINVAL.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: &[
            Lie::about(Sysno::getsockopt, What::OtherErrno(libc::ENOLINK)).where_it(true),
            Lie::accepted(Sysno::getsockopt).where_it(true),
            Lie::refused(Sysno::getsockopt, libc::EINVAL).where_it(false),
        ],
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.longer-structure",
            |_lab| {
                let (near, _far) = queued(PAGE)?;
                let mut request = Request::at(map(&near, libc::MAP_SHARED)?)?;
                request.length = 80;
                request.bytes[79] = 1;
                let mut seen = Observation::new();
                seen.call("getsockopt(80 bytes, the last one 1)", request.ask(&near));
                seen.count("length afterwards", request.length as u64).text("what it says", request.said());
                Ok(seen)
            },
            &[("getsockopt(80 bytes, the last one 1)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "A structure longer than the kernel's is taken if zeros are behind, and the length becomes the kernel's: 64.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: &[Lie::refused(Sysno::getsockopt, libc::EINVAL).where_it(true)],
        exceptions: &[
            Exception::asked(Sysno::getsockopt),
            Exception::Lacking("no lie writes what a longer structure has"),
        ],
        ..Claim::of_answers(
            "zerocopy.recv.structure-length",
            |_lab| {
                let (near, _far) = queued(PAGE)?;
                let mapping = map(&near, libc::MAP_SHARED)?;
                let mut request = Request::at(mapping)?;
                request.length = 80;
                let mut seen = Observation::new();
                seen.call("getsockopt(80 bytes)", request.ask(&near));
                request.is_whole(mapping)?;
                seen.count("length afterwards", request.length as u64);
                Ok(seen)
            },
            &[("getsockopt(80 bytes)", Answer::Is(0)), ("length afterwards", Answer::Is(64))],
        )
    },
    Claim {
        statement: "A reserved field that is not 0 fails with EINVAL.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: &[
            Lie::about(Sysno::getsockopt, What::OtherErrno(libc::ENOLINK)).where_it(true),
            Lie::accepted(Sysno::getsockopt).where_it(true),
            Lie::refused(Sysno::getsockopt, libc::EINVAL).where_it(false),
        ],
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.reserved",
            |_lab| {
                let (near, _far) = queued(PAGE)?;
                let mut request = Request::at(map(&near, libc::MAP_SHARED)?)?;
                if request.length < 64 {
                    return Err(Stop::untestable(
                        Lack::Kernel,
                        format!(
                            "the structure of TCP_ZEROCOPY_RECEIVE has {} bytes and no reserved field",
                            request.length
                        ),
                        "use Linux 5.15 or later",
                    ));
                }
                request.bytes[60] = 1;
                let mut seen = Observation::new();
                seen.call("getsockopt(reserved = 1)", request.ask(&near));
                seen.count("length afterwards", request.length as u64).text("what it says", request.said());
                Ok(seen)
            },
            &[("getsockopt(reserved = 1)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "With a page and more to receive, an address that is no mapping of the socket fails with EINVAL.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: OTHERWISE,
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.no-mapping",
            |_lab| {
                let (near, _far) = queued(4 * PAGE)?;
                let memory = crate::lab::alias::memory(PAGE)?;
                let mut request = Request::at(memory.as_ptr().expose_provenance())?;
                let mut seen = Observation::new();
                seen.call("getsockopt(address of other memory)", request.ask(&near));
                Ok(seen)
            },
            &[("getsockopt(address of other memory)", Answer::Fails(Errno::EINVAL))],
        )
    },
    Claim {
        statement: "With less than a page to receive, it says how much is to be read in the ordinary way, whatever the address.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: &[Lie::refused(Sysno::getsockopt, libc::EINVAL).where_it(true)],
        exceptions: &[
            Exception::asked(Sysno::getsockopt),
            Exception::Lacking("no lie writes what a longer structure has"),
        ],
        ..Claim::of_answers(
            "zerocopy.recv.few-bytes",
            |_lab| {
                let (near, _far) = queued(100)?;
                let memory = crate::lab::alias::memory(PAGE)?;
                let mut request = Request::at(memory.as_ptr().expose_provenance())?;
                let mut seen = Observation::new();
                seen.call("getsockopt(address of other memory)", request.ask(&near));
                request.is_whole(memory.as_ptr().expose_provenance())?;
                seen.count("recv_skip_hint", request.skip_hint());
                Ok(seen)
            },
            &[("getsockopt(address of other memory)", Answer::Is(0)), ("recv_skip_hint", Answer::Is(100))],
        )
    },
    Claim {
        statement: "What has come over loopback can be mapped, page by page, without a copy.",
        method: "Sends eight pages over TCP, asks for them at a mapping of the socket, and reads how many bytes were mapped and how \
                 many are to be read in the ordinary way.",
        sources: &[Source::Thread(
            "the commit \"tcp: add TCP_ZEROCOPY_RECEIVE support for zerocopy receive\" of Linux 4.18",
        )],
        about: GETSOCKOPT,
        lies: &[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 0 })],
        exceptions: ASKED,
        ..Claim::new("zerocopy.recv.loopback", zerocopy_recv_loopback, |seen| {
            crate::verdict::Verdict::holds_if(seen.counted("bytes left to be read") < 8 * PAGE as u64)
        })
    },
    Claim {
        statement: "What a sender has sent with MSG_ZEROCOPY over loopback can be mapped by whole pages, and is what was sent.",
        method: "Sends eight pages of memory with the flag, asks for them at a mapping of the socket, and reads the mapping.",
        sources: &[TCP_MMAP, Source::Measured],
        about: GETSOCKOPT,
        lies: &[Lie::refused(Sysno::getsockopt, libc::EINVAL)],
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.from-zerocopy",
            zerocopy_recv_from_zerocopy,
            &[
                ("getsockopt(eight pages)", Answer::Is(0)),
                ("bytes mapped", Answer::Is(8 * PAGE as u64)),
                ("mapping", Answer::Says("abcdefgh")),
                ("bytes left to be read", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "The pages that a receiver maps over loopback are not the sender's own, though it sent them with MSG_ZEROCOPY.",
        method: "Changes the sender's memory once the pages are mapped, and reads the mapping again.",
        sources: &[TCP_MMAP, Source::Measured],
        about: GETSOCKOPT,
        lies: &[Lie::refused(Sysno::getsockopt, libc::EINVAL)],
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.sharing",
            zerocopy_recv_sharing,
            &[("mapping", Answer::Says("abcdefgh")), ("mapping after the sender's change", Answer::Says("abcdefgh"))],
        )
    },
    Claim {
        statement: "Who reads as many bytes as recv_skip_hint says, and asks again, gets all of a stream of odd pieces.",
        method: "Sends pages by MSG_ZEROCOPY and odd pieces by write() in turn; takes what is mapped from there and reads the rest as the \
                 hint says.",
        sources: &[TCP_MMAP],
        about: GETSOCKOPT,
        lies: &[Lie::refused(Sysno::getsockopt, libc::EINVAL)],
        exceptions: ASKED,
        ..Claim::of_answers("zerocopy.recv.skip-hint", zerocopy_recv_skip_hint, &[(RECEIVED, Answer::Says(AS_SENT))])
    },
    Claim {
        statement: "On a listening socket it fails with ENOTCONN.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: OTHERWISE,
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.listening",
            |_lab| {
                let listener =
                    aside(|| std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))).setup("bind")?;
                let mut request = Request::at(map(&listener, libc::MAP_SHARED)?)?;
                let mut seen = Observation::new();
                seen.call("getsockopt(listening socket)", request.ask(&listener));
                Ok(seen)
            },
            &[("getsockopt(listening socket)", Answer::Fails(Errno::ENOTCONN))],
        )
    },
    Claim {
        statement: "When the peer has closed and nothing is left it fails with EIO.",
        sources: &[SOURCE],
        about: GETSOCKOPT,
        lies: &[
            Lie::about(Sysno::getsockopt, What::OtherErrno(libc::ENOLINK)).where_it(true),
            Lie::accepted(Sysno::getsockopt),
        ],
        exceptions: ASKED,
        ..Claim::of_answers(
            "zerocopy.recv.closed",
            |_lab| {
                let (near, far) = sockets::tcp()?;
                let mut request = Request::at(map(&near, libc::MAP_SHARED)?)?;
                drop(far);
                io::wait_for(near.as_fd(), libc::POLLIN).setup("poll")?;
                let mut seen = Observation::new();
                seen.call("getsockopt(socket whose peer has closed)", request.ask(&near));
                Ok(seen)
            },
            &[("getsockopt(socket whose peer has closed)", Answer::Fails(Errno::EIO))],
        )
    },
    Claim {
        statement: "The mapping of a socket may be private, and stays read-only: mprotect() for writing fails with EACCES.",
        sources: &[SOURCE, Source::Measured],
        about: &[Sysno::mmap, Sysno::mprotect],
        lies: &[Lie::about(Sysno::mprotect, What::OtherErrno(libc::ENOLINK)), Lie::accepted(Sysno::mprotect)],
        exceptions: &[Exception::asked(Sysno::mprotect)],
        ..Claim::of_answers(
            "zerocopy.recv.mapping-read-only",
            |_lab| {
                let (near, _far) = sockets::tcp()?;
                let mut seen = Observation::new();
                for (name, flags) in [("shared", libc::MAP_SHARED), ("private", libc::MAP_PRIVATE)] {
                    let mapping = map(&near, flags)?;
                    let protection = usize::try_from(libc::PROT_READ | libc::PROT_WRITE).expect("small numbers");
                    // SAFETY: the mapping is ours, and nothing refers to it.
                    let done = unsafe { ask(Sysno::mprotect, [mapping, PAGE, protection, 0, 0, 0]) };
                    seen.call(format!("mprotect({name} mapping, PROT_WRITE)"), done);
                }
                Ok(seen)
            },
            &[
                ("mprotect(shared mapping, PROT_WRITE)", Answer::Fails(Errno::EACCES)),
                ("mprotect(private mapping, PROT_WRITE)", Answer::Fails(Errno::EACCES)),
            ],
        )
    },
];

/// `struct tcp_zerocopy_receive` of include/uapi/linux/tcp.h, with spare room after it.
struct Request {
    bytes: [u8; 80],
    length: usize,
}

impl Request {
    /// A request for one page at an address, with the longest structure that the kernel takes.
    fn at(address: usize) -> Result<Self, Stop> {
        Ok(Self::of_length(address, taken_length()?))
    }

    fn of_length(address: usize, length: usize) -> Self {
        let mut bytes = [0; 80];
        bytes[..8].copy_from_slice(&address.to_ne_bytes());
        bytes[8..12].copy_from_slice(&4096_u32.to_ne_bytes());
        Self { bytes, length }
    }

    /// Makes the call. Afterwards the structure has the length and the fields that the kernel has written.
    fn ask(&mut self, socket: &impl AsFd) -> Result<usize, Errno> {
        let mut length = u32::try_from(self.length).expect("a short structure");
        let pointers = [self.bytes.as_mut_ptr().expose_provenance(), (&raw mut length).expose_provenance()];
        let level = usize::try_from(libc::IPPROTO_TCP).expect("a small number");
        let arguments = [argument(socket), level, TCP_ZEROCOPY_RECEIVE, pointers[0], pointers[1], 0];
        // SAFETY: the kernel writes the length, and at most `length` bytes, which the structure has. Pages are only mapped into a
        // mapping that belongs to the experiment.
        let done = unsafe { ask(Sysno::getsockopt, arguments) };
        self.length = std::hint::black_box(length) as usize;
        std::hint::black_box(&mut self.bytes);
        done
    }

    /// Checks that the kernel has not changed the address, which is the caller's field.
    fn is_whole(&self, address: usize) -> Result<(), Stop> {
        if self.bytes[..8] == address.to_ne_bytes() {
            Ok(())
        } else {
            Err(Stop::broken("the address in the structure is another"))
        }
    }

    /// The length of the mapped part and the hint, and whether the address is that of a page. The address itself differs from run
    /// to run.
    fn said(&self) -> String {
        let word = |at: usize| u32::from_ne_bytes(self.bytes[at..at + 4].try_into().expect("four"));
        let is_page = word(0) % 4096 == 0;
        let address = if is_page { "a page" } else { "no page" };
        format!("{address}, {}, {}", word(8), word(12))
    }

    /// The number of bytes that must be read by ordinary calls.
    fn skip_hint(&self) -> u64 {
        u64::from(u32::from_ne_bytes(self.bytes[12..16].try_into().expect("four bytes")))
    }

    /// The number of bytes that have been mapped.
    fn mapped(&self) -> u64 {
        u64::from(u32::from_ne_bytes(self.bytes[8..12].try_into().expect("four bytes")))
    }
}

/// The longest structure that this kernel takes when a page has arrived and a mapping exists. Without this control, the `EINVAL`
/// of a wrong length could be taken for an answer to another question.
fn taken_length() -> Result<usize, Stop> {
    /// The lengths of Linux 6.1, of 5.10, and of 4.18 to 5.5, which take no other length.
    const LENGTHS: [usize; 3] = [64, 40, 16];
    for length in LENGTHS {
        let (near, _far) = queued(PAGE)?;
        let mapping = aside(|| map(&near, libc::MAP_SHARED))?;
        let mut request = Request::of_length(mapping, length);
        match aside(|| request.ask(&near)) {
            Err(Errno::EINVAL) => {}
            answer => {
                answer.setup("getsockopt(TCP_ZEROCOPY_RECEIVE) of a page that has come")?;
                request.is_whole(mapping)?;
                return Ok(length);
            }
        }
    }
    Err(Stop::untestable(
        Lack::Kernel,
        format!("TCP_ZEROCOPY_RECEIVE takes no structure of {LENGTHS:?} bytes: EINVAL"),
        "use Linux 4.18 or later with CONFIG_MMU",
    ))
}

/// A connection whose first end has `bytes` bytes to receive.
fn queued(bytes: usize) -> Result<(std::net::TcpStream, std::net::TcpStream), Stop> {
    let (near, far) = sockets::tcp()?;
    aside(|| io::write_all(&far, &vec![0; bytes])).setup("write")?;
    aside(|| sockets::wait_for_arrival(&near, bytes))?;
    Ok((near, far))
}

/// Maps eight pages of a socket for reading. Returns the address. The mapping stays.
fn map(socket: &impl AsFd, flags: libc::c_int) -> Result<usize, Stop> {
    // SAFETY: a new mapping where the kernel likes, which nothing else knows.
    let mapping =
        unsafe { libc::mmap(std::ptr::null_mut(), 8 * PAGE, libc::PROT_READ, flags, socket.as_fd().as_raw_fd(), 0) };
    if mapping == libc::MAP_FAILED {
        return Err(Stop::from_setup("mmap of a socket", sockets::last_errno()));
    }
    Ok(mapping.expose_provenance())
}

fn zerocopy_recv_loopback(_lab: &crate::lab::Lab) -> Result<Observation, Stop> {
    let (near, _far) = queued(8 * PAGE)?;
    let mapping = map(&near, libc::MAP_SHARED)?;
    let mut request = Request::at(mapping)?;
    request.bytes[8..12].copy_from_slice(&(8 * 4096_u32).to_ne_bytes());
    let done = request.ask(&near);
    done.setup("getsockopt(TCP_ZEROCOPY_RECEIVE)")?;
    request.is_whole(mapping)?;
    let mut seen = Observation::new();
    seen.count("bytes mapped", request.mapped()).count("recv_skip_hint", request.skip_hint());
    // Mapped bytes are no longer in the receive queue.
    seen.count("bytes left to be read", sockets::readable(&near)? as u64);
    Ok(seen)
}

/// A connection whose first end has received eight pages that were sent with the flag. Returns it with the pages and the
/// receiver's mapping.
fn lettered() -> Result<(TcpStream, TcpStream, PrivateAnonymous, usize), Stop> {
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    let mut memory = alias::memory(8 * PAGE)?;
    for (page, letter) in memory.chunks_mut(PAGE).zip(b'a'..) {
        page.fill(letter);
    }
    send_pages(&far, &memory)?;
    aside(|| sockets::wait_for_arrival(&near, 8 * PAGE))?;
    let mapping = map(&near, libc::MAP_SHARED)?;
    Ok((near, far, memory, mapping))
}

/// Sends memory with the flag and waits for the completions.
fn send_pages(socket: &TcpStream, memory: &[u8]) -> Result<(), Stop> {
    aside(|| {
        let zerocopy = sockets::zerocopy_on(socket)?;
        let mut sends = 0;
        let mut done = 0;
        while done < memory.len() {
            // SAFETY: the memory is not freed before the completions have come.
            let sent = unsafe { send_zerocopy(zerocopy, &memory[done..], SendFlags::empty()) };
            done += sent.setup("send")?;
            sends += 1;
        }
        Completions::wait(socket, sends).setup("read the completions")?;
        Ok(())
    })
}

/// Requests eight pages.
fn ask_for_all(near: &TcpStream, mapping: usize) -> Result<(Request, Result<usize, Errno>), Stop> {
    let mut request = Request::at(mapping)?;
    request.bytes[8..12].copy_from_slice(&(8 * 4096_u32).to_ne_bytes());
    let done = request.ask(near);
    request.is_whole(mapping)?;
    Ok((request, done))
}

fn zerocopy_recv_from_zerocopy(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far, _memory, mapping) = lettered()?;
    let (request, done) = ask_for_all(&near, mapping)?;
    let mut seen = Observation::new();
    seen.call("getsockopt(eight pages)", done).count("bytes mapped", request.mapped());
    seen.text("mapping", letters(mapping, &request, done)?);
    seen.count("bytes left to be read", sockets::readable(&near)? as u64);
    Ok(seen)
}

/// The letters of the mapped pages.
fn letters(mapping: usize, request: &Request, done: Result<usize, Errno>) -> Result<String, Stop> {
    let pages = usize::try_from(request.mapped()).unwrap_or(0) / PAGE;
    if done.is_err() || pages == 0 || pages > 8 {
        return Ok("nothing".to_owned());
    }
    aside(|| pages::letters(mapping, pages))
}

fn zerocopy_recv_sharing(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, _far, mut memory, mapping) = lettered()?;
    let (request, done) = ask_for_all(&near, mapping)?;
    let mut seen = Observation::new();
    seen.text("mapping", letters(mapping, &request, done)?);
    memory.fill(b'z');
    seen.text("mapping after the sender's change", letters(mapping, &request, done)?);
    Ok(seen)
}

fn zerocopy_recv_skip_hint(_lab: &Lab) -> Result<Observation, Stop> {
    completions_come()?;
    let (near, far) = sockets::tcp()?;
    let mut memory = alias::memory(4 * PAGE)?;
    memory.copy_from_slice(&crate::lab::pattern(4 * PAGE));
    let mut sent = Vec::new();
    for odd in [1, 100, 5000] {
        send_pages(&far, &memory)?;
        aside(|| io::write_all(&far, &memory[..odd])).setup("write")?;
        sent.extend_from_slice(&memory);
        sent.extend_from_slice(&memory[..odd]);
    }
    aside(|| sockets::wait_for_arrival(&near, sent.len()))?;
    let mapping = map(&near, libc::MAP_SHARED)?;
    let mut received = Vec::new();
    let mut seen = Observation::new();
    while received.len() < sent.len() {
        let (request, done) = ask_for_all(&near, mapping)?;
        let (mapped, hint) = (request.mapped(), request.skip_hint());
        if done.is_err() || mapped + hint == 0 || mapped > 8 * PAGE as u64 {
            break; // no way on
        }
        let mapped = usize::try_from(mapped).expect("eight pages at most");
        received.extend(aside(|| pages::bytes(mapping, mapped))?);
        let hint = usize::try_from(hint).expect("a number of 32 bits");
        let mut rest = vec![0; hint.min(sent.len() - received.len())];
        let read = aside(|| io::read_full(&near, &mut rest)).setup("read as hinted")?;
        received.extend_from_slice(&rest[..read]);
    }
    note_bytes(&mut seen, received == sent);
    Ok(seen)
}
