//! Raw versions of the plain calls with which zero-copy is compared. They do not retry, keep a position or make a second call.

use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use syscalls::{Errno, Sysno, syscall};

fn number(fd: &impl AsFd) -> usize {
    (fd.as_fd().as_raw_fd() as isize).cast_unsigned()
}

/// Makes any system call with any arguments, for cases that no wrapper allows.
///
/// # Safety
///
/// The effect of these arguments must be sound. In particular, the kernel must not write memory that is used elsewhere.
pub unsafe fn ask(call: Sysno, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    // SAFETY: the caller's promise.
    unsafe { syscall!(call, first, second, third, fourth, fifth, sixth) }
}

/// A descriptor as an argument of [`ask`].
pub fn argument(fd: &impl AsFd) -> usize {
    number(fd)
}

/// A number that is never a descriptor, as an argument of [`ask`].
pub const NO_FD: usize = usize::MAX;

/// An address at which nothing is ever mapped, as an argument of [`ask`].
pub const NOWHERE: usize = 8;

/// `read(2)`.
pub fn read(fd: &impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    // SAFETY: the pointer and length are of `buffer`, which the kernel writes during the call.
    unsafe { syscall!(Sysno::read, number(fd), buffer.as_mut_ptr(), buffer.len()) }
}

/// `write(2)`.
pub fn write(fd: &impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
    // SAFETY: the slice is readable for its length, and `write` does not keep the pointer.
    unsafe { write_from(fd, bytes.as_ptr(), bytes.len()) }
}

/// `write(2)` of memory that need not be readable. The kernel answers `EFAULT` for an unreadable part.
///
/// # Safety
///
/// If another thread or process changes the bytes during the call, no Rust reference to them may exist.
pub unsafe fn write_from(fd: &impl AsFd, base: *const u8, length: usize) -> Result<usize, Errno> {
    // SAFETY: the kernel checks every access to the range, reads it during the call and does not keep the pointer.
    unsafe { syscall!(Sysno::write, number(fd), base, length) }
}

/// Reads until `buffer` is full or the end of the file is reached. Continues after a short count and after `EINTR`.
pub fn read_full(fd: &impl AsFd, buffer: &mut [u8]) -> Result<usize, Errno> {
    until_done(buffer.len(), |done| read(fd, &mut buffer[done..]))
}

/// Writes all of `bytes`. Continues after a short count and after `EINTR`.
pub fn write_all(fd: &impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the slice is readable for its length, and `write` does not keep the pointer.
    unsafe { write_all_from(fd, bytes.as_ptr(), bytes.len()) }
}

/// Writes all of a memory range. See [`write_from`].
///
/// # Safety
///
/// As for [`write_from`].
pub unsafe fn write_all_from(fd: &impl AsFd, base: *const u8, length: usize) -> Result<(), Errno> {
    // SAFETY: the rest of the caller's range, under the caller's promise.
    all_done(length, |done| unsafe { write_from(fd, base.add(done), length - done) })
}

/// Calls `step` with the number of bytes done so far until `length` is reached, `step` returns 0, or `step` fails. `EINTR` is
/// retried.
pub fn until_done(length: usize, mut step: impl FnMut(usize) -> Result<usize, Errno>) -> Result<usize, Errno> {
    let mut done = 0;
    while done < length {
        match again(|| step(done))? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}

/// The same as [`until_done`], but a step that returns 0 before the end is `EIO`.
pub fn all_done(length: usize, step: impl FnMut(usize) -> Result<usize, Errno>) -> Result<(), Errno> {
    let done = until_done(length, step)?;
    if done < length { Err(Errno::EIO) } else { Ok(()) }
}

/// Repeats a call while it returns `EINTR`.
pub fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            done => return done,
        }
    }
}

/// `fstat(2)`.
pub fn status(fd: &impl AsFd) -> Result<libc::stat, Errno> {
    // SAFETY: stat is plain integers, for which zero is valid.
    let mut status: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a stat, written during the call.
    unsafe { syscall!(Sysno::fstat, number(fd), &raw mut status) }?;
    Ok(status)
}

/// Whether a descriptor is an end of a pipe.
pub fn is_pipe(fd: &impl AsFd) -> Result<bool, Errno> {
    Ok(status(fd)?.st_mode & libc::S_IFMT == libc::S_IFIFO)
}

/// Whether a descriptor's open file has `O_NONBLOCK`.
pub fn is_nonblocking(fd: &impl AsFd) -> Result<bool, Errno> {
    // SAFETY: F_GETFL takes no pointer.
    let flags = unsafe { syscall!(Sysno::fcntl, number(fd), libc::F_GETFL) }?;
    Ok(flags & libc::O_NONBLOCK.cast_unsigned() as usize != 0)
}

/// Sets `O_NONBLOCK` for a descriptor's open file, and keeps the other flags. `EIO` if it is not set afterwards.
pub fn set_nonblocking(fd: &impl AsFd) -> Result<(), Errno> {
    // SAFETY: F_GETFL takes no pointer.
    let flags = unsafe { syscall!(Sysno::fcntl, number(fd), libc::F_GETFL) }?;
    let flags = flags | libc::O_NONBLOCK.cast_unsigned() as usize;
    // SAFETY: F_SETFL takes no pointer.
    unsafe { syscall!(Sysno::fcntl, number(fd), libc::F_SETFL, flags) }?;
    is_so(is_nonblocking(fd)?)
}

/// Checks a call that reported success by the answer of another call. `EIO` if that answer differs.
fn is_so(shown: bool) -> Result<(), Errno> {
    if shown { Ok(()) } else { Err(Errno::EIO) }
}

/// Sets a file's length: `ftruncate(2)`. `EIO` if it has another length afterwards.
pub fn truncate(fd: &impl AsFd, length: u64) -> Result<(), Errno> {
    // SAFETY: ftruncate takes no pointer.
    unsafe { syscall!(Sysno::ftruncate, number(fd), length) }?;
    is_so(u64::try_from(status(fd)?.st_size) == Ok(length))
}

/// The file position.
pub fn position(fd: &impl AsFd) -> Result<u64, Errno> {
    // SAFETY: lseek takes no pointer.
    let position = unsafe { syscall!(Sysno::lseek, number(fd), 0, libc::SEEK_CUR) }?;
    Ok(position as u64)
}

/// Sets the file position: `lseek(2)`. `EIO` if it is different afterwards.
pub fn seek(fd: &impl AsFd, to: u64) -> Result<(), Errno> {
    // SAFETY: lseek takes no pointer.
    unsafe { syscall!(Sysno::lseek, number(fd), to, libc::SEEK_SET) }?;
    is_so(position(fd)? == to)
}

/// Adds seals to a memfd. `EIO` if it does not have them afterwards.
pub fn seal(memfd: &impl AsFd, seals: libc::c_int) -> Result<(), Errno> {
    let seals = seals.cast_unsigned() as usize;
    // SAFETY: F_ADD_SEALS and F_GET_SEALS take no pointer.
    let there = unsafe {
        syscall!(Sysno::fcntl, number(memfd), libc::F_ADD_SEALS, seals)?;
        syscall!(Sysno::fcntl, number(memfd), libc::F_GET_SEALS)
    }?;
    is_so(there & seals == seals)
}

/// Changes the capacity of a pipe, and returns the new one. `EIO` if it differs from the one that the kernel has reported.
pub fn resize_pipe(pipe: &impl AsFd, size: usize) -> Result<usize, Errno> {
    // SAFETY: F_SETPIPE_SZ and F_GETPIPE_SZ take no pointer.
    let (reported, there) = unsafe {
        (
            syscall!(Sysno::fcntl, number(pipe), libc::F_SETPIPE_SZ, size)?,
            syscall!(Sysno::fcntl, number(pipe), libc::F_GETPIPE_SZ)?,
        )
    };
    is_so(there == reported).map(|()| there)
}

/// Punches a hole into a file: `fallocate(2)` with `FALLOC_FL_PUNCH_HOLE`, which keeps the size. `EIO` if other bytes than zeros
/// are read there afterwards.
pub fn punch(fd: &impl AsFd, offset: u64, length: u64) -> Result<(), Errno> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: fallocate takes no pointer.
    unsafe { syscall!(Sysno::fallocate, number(fd), mode, offset, length) }?;
    let mut there = vec![1; usize::try_from(length).map_err(|_| Errno::EFBIG)?];
    let read = pread_full(fd, &mut there, offset)?;
    is_so(there[..read].iter().all(|byte| *byte == 0))
}

/// Allocates the space for a part of a file: `fallocate(2)`.
pub fn allocate(fd: &impl AsFd, offset: u64, length: u64) -> Result<(), Errno> {
    // SAFETY: fallocate takes no pointer.
    unsafe { syscall!(Sysno::fallocate, number(fd), 0, offset, length) }.map(drop)
}

/// The number of bytes that an `ioctl` such as `FIONREAD` reports.
pub fn count_of(fd: &impl AsFd, request: libc::Ioctl) -> Result<u64, Errno> {
    let mut count: libc::c_int = 0;
    // SAFETY: such a request writes one int through the pointer.
    unsafe { syscall!(Sysno::ioctl, number(fd), request, &raw mut count) }?;
    u64::try_from(count).map_err(|_| Errno::ERANGE)
}

/// `pread(2)`.
pub fn pread(fd: &impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    // SAFETY: the pointer and length are of `buffer`, which the kernel writes during the call.
    unsafe { syscall!(Sysno::pread64, number(fd), buffer.as_mut_ptr(), buffer.len(), offset) }
}

/// Reads at `offset` until `buffer` is full or the end of the file is reached. Continues after a short count and after `EINTR`.
pub fn pread_full(fd: &impl AsFd, buffer: &mut [u8], offset: u64) -> Result<usize, Errno> {
    until_done(buffer.len(), |done| pread(fd, &mut buffer[done..], offset + done as u64))
}

/// `pwrite(2)`.
pub fn pwrite(fd: &impl AsFd, bytes: &[u8], offset: u64) -> Result<usize, Errno> {
    // SAFETY: the pointer and length are of `bytes`, which the kernel reads during the call.
    unsafe { syscall!(Sysno::pwrite64, number(fd), bytes.as_ptr(), bytes.len(), offset) }
}

/// Writes all of `bytes` at `offset`. Continues after a short count and after `EINTR`.
pub fn pwrite_all(fd: &impl AsFd, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    all_done(bytes.len(), |done| pwrite(fd, &bytes[done..], offset + done as u64))
}

/// Writes `piece` again and again to a non-blocking descriptor until `EAGAIN`. Returns the number of bytes written.
pub fn fill(fd: &impl AsFd, piece: &[u8]) -> Result<u64, Errno> {
    let (mut taken, mut at) = (0, 0);
    loop {
        match again(|| write(fd, &piece[at..])) {
            Ok(0) => return Err(Errno::EIO),
            // After a short count, the rest of the piece is written first.
            Ok(count) => {
                taken += count as u64;
                at = (at + count) % piece.len();
            }
            Err(Errno::EAGAIN) => return Ok(taken),
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes `bytes` in one call, for a datagram or a request, which several calls would split. A short count is `EIO`.
pub fn write_whole(fd: &impl AsFd, bytes: &[u8]) -> Result<(), Errno> {
    if again(|| write(fd, bytes))? == bytes.len() { Ok(()) } else { Err(Errno::EIO) }
}

/// `copy_file_range(2)` between the file positions.
pub fn copy_file_range(input: &impl AsFd, output: &impl AsFd, length: usize) -> Result<usize, Errno> {
    // SAFETY: both offset pointers are null.
    unsafe { syscall!(Sysno::copy_file_range, number(input), 0, number(output), 0, length, 0) }
}

/// `sendmsg(2)` of one buffer, with any flags.
///
/// # Safety
///
/// If the socket has `SO_ZEROCOPY` and `flags` has `MSG_ZEROCOPY`, the bytes must not be freed until the kernel has reported
/// completion. They may be changed, which is the subject of some experiments.
pub unsafe fn sendmsg(fd: &impl AsFd, bytes: &[u8], flags: libc::c_int) -> Result<usize, Errno> {
    let piece = [IoSlice::new(bytes)];
    // SAFETY: the piece is a readable buffer; the caller promises it for the references that the kernel keeps.
    unsafe { sendmsg_of(fd, &piece, flags) }
}

/// `sendmsg(2)` of several buffers, with any flags.
///
/// # Safety
///
/// As for [`sendmsg`], for each buffer.
pub unsafe fn sendmsg_of(fd: &impl AsFd, pieces: &[IoSlice<'_>], flags: libc::c_int) -> Result<usize, Errno> {
    // SAFETY: msghdr is plain integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = pieces.as_ptr().cast_mut().cast(); // IoSlice has the layout of iovec; sendmsg does not write it
    message.msg_iovlen = pieces.len() as _;
    // SAFETY: the message names readable buffers; the caller promises them for the references that the kernel keeps.
    unsafe { syscall!(Sysno::sendmsg, number(fd), &raw const message, flags as isize) }
}

/// The result of `recvmsg(2)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes of data.
    pub bytes: usize,
    /// Bytes of control messages.
    pub control: usize,
    /// `msg_flags`.
    pub flags: libc::c_int,
}

/// `recvmsg(2)` into one data buffer and one control buffer. Each of them may be empty.
pub fn recvmsg(fd: &impl AsFd, data: &mut [u8], control: &mut [u8], flags: libc::c_int) -> Result<Received, Errno> {
    let mut area = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: msghdr is plain integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut area;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: the message describes `data` and `control`, which the kernel writes during the call, within their lengths.
    let bytes = unsafe { syscall!(Sysno::recvmsg, number(fd), &raw mut message, flags as isize) }?;
    Ok(Received { bytes, control: message.msg_controllen as _, flags: message.msg_flags })
}

/// `ppoll(2)` of one descriptor, repeated after `EINTR`. Returns the call's result and the events. The events are all bits if the
/// kernel has not written them.
///
/// `timeout` is in milliseconds. 0 does not wait, and -1 waits without a limit. The time limits of the process end a wait that
/// never ends.
pub fn ppoll(fd: &impl AsFd, events: libc::c_short, timeout: isize) -> (Result<usize, Errno>, libc::c_short) {
    let mut polled = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events, revents: -1 };
    let at_once = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let limit = if timeout == 0 { &raw const at_once } else { std::ptr::null() };
    // SAFETY: the pointers are to one pollfd, read and written during the call, and to a timespec or null; no signal mask.
    let answer = again(|| unsafe { syscall!(Sysno::ppoll, &raw mut polled, 1, limit, 0) });
    (answer, polled.revents)
}

/// Waits for `POLLERR`, which is set when the error queue is not empty.
pub fn wait_for_error_queue(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    wait_for(fd, 0) // POLLERR is always reported
}

/// Waits for one of these `poll` events. The time limits of the process end a wait that never ends.
pub fn wait_for(fd: BorrowedFd<'_>, events: libc::c_short) -> Result<(), Errno> {
    ppoll(&fd, events, -1).0.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_count_goes_on_an_interruption_repeats_an_error_ends() {
        let mut answers = [Ok(3), Err(Errno::EINTR), Ok(4), Ok(1)].into_iter();
        let mut seen = Vec::new();
        let done = until_done(8, |at| {
            seen.push(at);
            answers.next().expect("no call after the end")
        });
        assert_eq!(done, Ok(8));
        assert_eq!(seen, [0, 3, 3, 7]);
        assert_eq!(until_done(8, |at| if at == 0 { Ok(5) } else { Ok(0) }), Ok(5));
        assert_eq!(until_done(8, |_| Err(Errno::EPIPE)), Err(Errno::EPIPE));
    }
}
