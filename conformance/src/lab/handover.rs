//! Passes descriptors to another process over a socket.

use crate::lab::io::{self, again};
use crate::lab::sockets::last_errno;
use crate::verdict::{Setup, Stop};
use std::ffi::c_int;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use syscalls::Errno;

/// The maximum number of descriptors in one message.
pub const MOST: u8 = 2;
const FD: u32 = c_int::BITS / 8;
// SAFETY: CMSG_SPACE only calculates.
const SPACE: usize = unsafe { libc::CMSG_SPACE(FD * MOST as u32) } as usize;
// SAFETY: CMSG_LEN only calculates.
const HEADER: usize = unsafe { libc::CMSG_LEN(0) } as usize;

/// Space for a control message, aligned as its header must be.
#[repr(C, align(8))]
struct Control([u8; SPACE]);

/// Sends up to [`MOST`] descriptors, with a byte that holds their number.
pub fn give(socket: &UnixStream, fds: &[BorrowedFd<'_>]) -> Result<(), Stop> {
    let number = u8::try_from(fds.len()).unwrap_or(u8::MAX);
    assert!((1..=MOST).contains(&number), "one or two");
    let mut count = [number];
    let mut area = libc::iovec { iov_base: count.as_mut_ptr().cast(), iov_len: 1 };
    let mut control = Control([0; SPACE]);
    let numbers = fds.iter().flat_map(|fd| fd.as_raw_fd().to_ne_bytes());
    for (to, from) in control.0[HEADER..].iter_mut().zip(numbers) {
        *to = from;
    }
    // SAFETY: msghdr is plain integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut area;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    let length = FD * u32::from(number);
    // SAFETY: the macros calculate within the control buffer, which has room for `MOST` descriptors and is aligned for the header, to
    // which the first one points; sendmsg reads what the message names during the call.
    let sent = unsafe {
        message.msg_controllen = libc::CMSG_SPACE(length) as _;
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(length) as _;
        libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL)
    };
    if sent == 1 { Ok(()) } else { Err(Stop::from_setup("hand over descriptors", last_errno())) }
}

/// Receives what [`give`] sends. The list is empty if the other process has ended.
pub fn take(socket: &UnixStream) -> Result<Vec<OwnedFd>, Stop> {
    let mut control = Control([0; SPACE]);
    let mut count = [0];
    let flags = libc::MSG_CMSG_CLOEXEC;
    let received = match again(|| io::recvmsg(socket, &mut count, &mut control.0, flags)) {
        // It has ended without reading the request.
        Err(Errno::ECONNRESET) => return Ok(Vec::new()),
        received => received.setup("take over descriptors")?,
    };
    if received.bytes == 0 || received.flags & libc::MSG_CTRUNC != 0 || count[0] > MOST {
        return Ok(Vec::new());
    }
    let (numbers, _) = control.0[HEADER..].as_chunks();
    let numbers = numbers.iter().take(count[0].into());
    // SAFETY: a byte with the number of descriptors comes with one control message that holds all of them, sent by `give` at the
    // other end. The kernel has just made them, and only this process owns them.
    let owned = |number: &[u8; 4]| unsafe { OwnedFd::from_raw_fd(c_int::from_ne_bytes(*number)) };
    Ok(numbers.map(owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn descriptors_come_in_their_order() {
        let (near, far) = UnixStream::pair().expect("a pair");
        let (mut read, write) = std::io::pipe().expect("a pipe");
        let (other, other_write) = std::io::pipe().expect("a pipe");
        give(&near, &[write.as_fd(), other.as_fd()]).expect("given");
        let mut taken = take(&far).expect("taken");
        assert_eq!(taken.len(), 2);
        drop((write, other));
        let mut write = std::fs::File::from(taken.remove(0));
        write.write_all(b"a").expect("written");
        drop(write);
        let mut bytes = String::new();
        read.read_to_string(&mut bytes).expect("read");
        assert_eq!(bytes, "a");
        drop(other_write);
        let mut other = std::fs::File::from(taken.remove(0));
        assert_eq!(other.read(&mut [0]).expect("read"), 0);
    }

    #[test]
    fn nothing_comes_from_one_that_has_ended() {
        for is_asked in [false, true] {
            let (near, far) = UnixStream::pair().expect("a pair");
            if is_asked {
                (&far).write_all(b"?").expect("asked");
            }
            drop(near);
            assert!(take(&far).expect("its end").is_empty());
        }
    }
}
