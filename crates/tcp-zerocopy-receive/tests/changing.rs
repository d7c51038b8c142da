//! Why mapped bytes are not a `&[u8]`: a sender on the same machine changes them after they were received.

mod connection;

use connection::{connection, done, page, pages, pipe, queued, splice, wait_for_arrival};
use nocopy_tcp_zerocopy_receive::Window;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::ptr::null_mut;

/// A page that the kernel has allocated and this program can write to: neither of a file nor ordinary memory.
struct Shared {
    what: &'static str,
    start: *mut u8,
    _owner: OwnedFd,
}

impl Shared {
    /// Maps a page of what a descriptor is for.
    fn map(what: &'static str, owner: OwnedFd, offset: libc::off_t) -> Self {
        let (prot, fd) = (libc::PROT_READ | libc::PROT_WRITE, owner.as_raw_fd());
        // SAFETY: a new mapping where the kernel likes, which nothing else knows. It is never removed.
        let start = unsafe { libc::mmap(null_mut(), page(), prot, libc::MAP_SHARED, fd, offset) };
        assert_ne!(
            start,
            libc::MAP_FAILED,
            "{what}: {}",
            std::io::Error::last_os_error()
        );
        Self {
            what,
            start: start.cast(),
            _owner: owner,
        }
    }

    fn fill(&self, byte: u8) {
        // SAFETY: a page of our own, to which there are no references; the receiver has it at another address.
        unsafe { self.start.write_bytes(byte, page()) };
    }

    /// Gives the page to a pipe, by reference. Returns whether the kernel lets it.
    fn give_to(&self, pipe: &OwnedFd) -> bool {
        let piece = libc::iovec {
            iov_base: self.start.cast(),
            iov_len: page(),
        };
        // SAFETY: one piece, which is mapped. That it changes while others have it is what is tried.
        let given = unsafe { libc::vmsplice(pipe.as_raw_fd(), &raw const piece, 1, 0) };
        given.cast_unsigned() == page()
    }
}

/// The ring of a packet socket: needs `CAP_NET_RAW`.
fn packet_ring() -> Option<Shared> {
    /// `PACKET_TX_RING` of `include/uapi/linux/if_packet.h`.
    const PACKET_TX_RING: libc::c_int = 13;
    let size = u32::try_from(page()).expect("small");
    // `struct tpacket_req`: block size, blocks, frame size, frames.
    let blocks = [size, 1, size, 1];
    // SAFETY: no pointer; the kernel reads four ints of `blocks`; the descriptor is new, and nobody else knows it.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if socket == -1 {
            return None;
        }
        let owner = OwnedFd::from_raw_fd(socket);
        let pointer = blocks.as_ptr().cast();
        done(libc::setsockopt(
            socket,
            libc::SOL_PACKET,
            PACKET_TX_RING,
            pointer,
            16,
        ))
        .expect("a ring of a packet socket");
        Some(Shared::map("the ring of a packet socket", owner, 0))
    }
}

/// The queue of submissions of an `io_uring`: needs no right, but a kernel that allows it: 6.1 does, 5.10 does not.
fn io_uring() -> Option<Shared> {
    /// `IORING_OFF_SQES` of `include/uapi/linux/io_uring.h`.
    const SUBMISSIONS: libc::off_t = 0x1000_0000;
    // An entry has 64 bytes: one page of them.
    let entries = page() / 64;
    let mut parameters = [0_u32; 30];
    // SAFETY: the kernel writes 120 bytes to `parameters`, all of them ours.
    let ring = unsafe { libc::syscall(libc::SYS_io_uring_setup, entries, parameters.as_mut_ptr()) };
    let ring = libc::c_int::try_from(ring).ok().filter(|ring| *ring >= 0)?;
    // SAFETY: the kernel has just opened it, and nobody else knows it.
    let owner = unsafe { OwnedFd::from_raw_fd(ring) };
    Some(Shared::map(
        "the submissions of an io_uring",
        owner,
        SUBMISSIONS,
    ))
}

/// Sends a page by reference, receives it, and changes it. Returns the received byte before and after the change, or `None` if the
/// page cannot be sent like this.
fn changed_after_receipt(shared: &Shared) -> Option<(u8, u8)> {
    let (near, far) = connection();
    let mut window = Window::new(&near, page()).expect("mmap");
    let [from, to] = pipe();
    shared.fill(b'o');
    if !shared.give_to(&to) {
        return None;
    }
    splice(&from, &far, page());
    drop((from, to));
    wait_for_arrival(&near, page());
    let received = window.receive_pages(&near).expect("taken");
    assert_eq!(received.mapped.len(), page(), "{}", shared.what);
    // The sender is gone, and all is acknowledged: what it does now is no part of sending.
    drop(far);
    let mut byte = [0];
    assert_eq!(received.mapped.read_at(page() - 1, &mut byte), 1);
    let before = byte[0];
    shared.fill(b'n');
    assert_eq!(received.mapped.read_at(page() - 1, &mut byte), 1);
    Some((before, byte[0]))
}

#[test]
fn a_sender_changes_bytes_after_they_were_received() {
    let sources = [packet_ring(), io_uring()];
    let mut seen = Vec::new();
    for source in sources.iter().flatten() {
        match changed_after_receipt(source) {
            Some((before, after)) => {
                assert_eq!((before, after), (b'o', b'n'), "{}", source.what);
                seen.push(source.what);
            }
            None => println!("not possible here: {}", source.what),
        }
    }
    assert!(
        !seen.is_empty(),
        "nothing to try it with: needs CAP_NET_RAW (a packet socket), or io_uring on Linux 6.1 or later"
    );
    println!("changed after receipt: {}", seen.join(", "));
}

/// The sender's own memory is not what the receiver gets, whatever way it was sent.
#[test]
fn ordinary_memory_of_the_sender_is_not_shared() {
    for by_splice in [false, true] {
        let (mut near, far) = connection();
        let mut window = Window::new(&near, page()).expect("mmap");
        let memory = pages(&vec![b'o'; page()]);
        if by_splice {
            let [from, to] = pipe();
            let piece = libc::iovec {
                iov_base: memory.as_ptr().cast_mut().cast(),
                iov_len: page(),
            };
            // SAFETY: one piece, which is never freed; the pipe only reads it.
            let given = unsafe { libc::vmsplice(to.as_raw_fd(), &raw const piece, 1, 0) };
            assert_eq!(given.cast_unsigned(), page());
            splice(&from, &far, page());
        } else {
            connection::send_zerocopy(&far, memory);
        }
        wait_for_arrival(&near, page());
        let received = window.receive_pages(&near).expect("taken");
        let mapped = received.mapped.len();
        // By vmsplice it is the sender's page, and such a page is not mapped.
        assert_eq!(mapped, if by_splice { 0 } else { page() });
        let mut bytes = vec![0; page()];
        assert_eq!(received.mapped.read_at(0, &mut bytes), mapped);
        near.read_exact(&mut bytes[mapped..]).expect("read");
        assert!(bytes.iter().all(|byte| *byte == b'o'));
    }
}

/// A page of a file in memory, sent by `sendfile` and in the receive queue.
fn sent_by_sendfile(near: &TcpStream, far: &TcpStream) -> File {
    // SAFETY: the name is a C string; the kernel has just opened the file, and nobody else knows it.
    let mut file = unsafe {
        let file = libc::memfd_create(c"changing".as_ptr(), libc::MFD_CLOEXEC);
        done(file).expect("memfd_create");
        File::from(OwnedFd::from_raw_fd(file))
    };
    file.write_all(&vec![b'o'; page()]).expect("write");
    let (to, from, mut offset) = (far.as_raw_fd(), file.as_raw_fd(), 0);
    // SAFETY: the kernel reads and writes the offset during the call.
    let sent = unsafe { libc::sendfile(to, from, &raw mut offset, page()) };
    assert_eq!(sent.cast_unsigned(), page());
    wait_for_arrival(near, page());
    file
}

/// From Linux 6.8 on (and in later releases of older series) a page of a file is not mapped; before, it shows changes.
#[test]
fn a_page_of_a_file_is_not_mapped_or_shows_what_is_written_to_the_file() {
    let (mut near, far) = connection();
    let mut window = Window::new(&near, page()).expect("mmap");
    let file = sent_by_sendfile(&near, &far);
    let received = window.receive_pages(&near).expect("taken");
    let mut byte = [0];
    if received.mapped.is_empty() {
        println!("not mapped");
        assert_eq!(received.recv_skip_hint, page());
        assert_eq!(queued(&near), page());
        near.read_exact(&mut byte).expect("read");
        assert_eq!(&byte, b"o");
    } else {
        println!("mapped");
        file.write_all_at(b"n", 0).expect("write");
        assert_eq!(received.mapped.read_at(0, &mut byte), 1);
        assert_eq!(&byte, b"n");
    }
}

/// What the kernel looks at is whether the page still is the file's.
#[test]
fn a_page_that_its_file_has_lost_is_mapped() {
    let (near, far) = connection();
    let mut window = Window::new(&near, page()).expect("mmap");
    let file = sent_by_sendfile(&near, &far);
    file.set_len(0).expect("truncate");
    let received = window.receive_pages(&near).expect("taken");
    let mut bytes = vec![0; page()];
    assert_eq!(received.mapped.read_at(0, &mut bytes), page());
    assert!(bytes.iter().all(|byte| *byte == b'o'));
}
