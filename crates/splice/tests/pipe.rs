//! Pipes, their size, and the descriptors that own them.

use nocopy_splice::{
    BorrowedFd, Errno, OwnedFd, Pipe, PipeFlags, SpliceFlags, fcntl_getpipe_size,
    fcntl_setpipe_size, pipe2, splice,
};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};

fn pipe() -> Pipe {
    pipe2(PipeFlags::CLOEXEC).expect("pipe2")
}

/// An end of a pipe as `std` has it.
fn file(end: impl Into<std::os::fd::OwnedFd>) -> File {
    end.into().into()
}

/// The octal `flags:` of an open descriptor, as the kernel shows them.
fn open_flags(fd: &impl AsRawFd) -> i32 {
    let path = format!("/proc/self/fdinfo/{}", fd.as_raw_fd());
    let info = std::fs::read_to_string(path).expect("fdinfo");
    let flags = info
        .lines()
        .find_map(|line| line.strip_prefix("flags:"))
        .expect("a line with flags");
    i32::from_str_radix(flags.trim(), 8).expect("octal")
}

#[test]
fn bytes_come_out_of_the_end_called_read() {
    let Pipe { read, write } = pipe();
    file(write).write_all(b"hello").expect("write");
    let mut bytes = Vec::new();
    file(read).read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes, b"hello");
}

#[test]
fn the_flags_arrive() {
    const SHOWN: i32 = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_DIRECT;
    for flags in [
        PipeFlags::empty(),
        PipeFlags::CLOEXEC,
        PipeFlags::NONBLOCK,
        PipeFlags::DIRECT,
        PipeFlags::CLOEXEC | PipeFlags::NONBLOCK | PipeFlags::DIRECT,
    ] {
        let pipe = pipe2(flags).expect("pipe2");
        assert_eq!(open_flags(&pipe.write) & SHOWN, flags.bits());
        // Packet mode is a matter of the end that makes the packets.
        assert_eq!(
            open_flags(&pipe.read) & SHOWN,
            flags.bits() & !libc::O_DIRECT
        );
    }
}

#[test]
fn an_unknown_flag_is_kept_and_the_kernel_refuses_it() {
    let unknown = PipeFlags::from_bits_retain(1 << 30);
    assert_eq!(unknown.bits(), 1 << 30);
    assert_eq!(pipe2(unknown).err(), Some(Errno::EINVAL));
}

#[test]
fn a_notification_pipe_is_made_or_is_not_in_this_kernel() {
    match pipe2(PipeFlags::NOTIFICATION) {
        // Made: then it is one, which no splice takes.
        Ok(pipe) => assert_eq!(
            splice(
                &pipe.read,
                None,
                &self::pipe().write,
                None,
                1,
                SpliceFlags::NONBLOCK
            ),
            Err(Errno::EINVAL)
        ),
        Err(errno) => assert_eq!(errno, Errno::ENOPKG),
    }
}

#[test]
fn the_size_is_set_and_told() {
    let pipe = pipe();
    // Sizes that are whole pages for every page size up to 64 KiB.
    assert_eq!(fcntl_setpipe_size(&pipe.write, 1 << 17), Ok(1 << 17));
    assert_eq!(fcntl_getpipe_size(&pipe.read), Ok(1 << 17));
    assert_eq!(
        fcntl_setpipe_size(&pipe.read, (1 << 16) - 1),
        Ok(1 << 16),
        "rounded up by the kernel"
    );
    assert_eq!(fcntl_getpipe_size(&pipe.write), Ok(1 << 16));
}

#[test]
fn a_size_error_is_the_kernels_own() {
    let file = File::open("/dev/null").expect("open");
    assert_eq!(fcntl_getpipe_size(&file), Err(Errno::EBADF));
    assert_eq!(fcntl_setpipe_size(&file, 4096), Err(Errno::EBADF));
    let pipe = pipe();
    assert_eq!(
        fcntl_setpipe_size(&pipe.read, (1 << 31) + 1),
        Err(Errno::EINVAL)
    );
}

#[test]
fn dropping_the_writer_is_the_end_of_input() {
    let (near, far) = (pipe(), pipe());
    let moved = || splice(&near.read, None, &far.write, None, 1, SpliceFlags::NONBLOCK);
    assert_eq!(moved(), Err(Errno::EAGAIN), "a writer is there");
    drop(near.write);
    assert_eq!(moved(), Ok(0));
}

#[test]
fn dropping_the_reader_is_a_broken_pipe() {
    let Pipe { read, write } = pipe();
    let mut write = file(write);
    write.write_all(b"x").expect("a reader is there");
    drop(read);
    let error = write.write_all(b"x").expect_err("no reader");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

#[test]
fn a_number_given_away_stays_open_until_it_is_taken_back() {
    let Pipe { read, write } = pipe();
    let number = OwnedFd::from(write).into_raw();
    let far = pipe();
    let moved = || splice(&read, None, &far.write, None, 1, SpliceFlags::NONBLOCK);
    assert_eq!(moved(), Err(Errno::EAGAIN));
    // SAFETY: `into_raw` made us the owner.
    drop(unsafe { OwnedFd::from_raw(number) });
    assert_eq!(moved(), Ok(0));
}

#[test]
fn every_way_to_borrow_is_the_same_descriptor() {
    let owned = OwnedFd::from(pipe().read);
    let by_reference: BorrowedFd<'_> = (&owned).into();
    let by_std: BorrowedFd<'_> = AsFd::as_fd(&owned).into();
    assert_eq!(by_reference, owned.as_fd());
    assert_eq!(by_std, owned.as_fd());
    assert_eq!(by_reference.as_raw(), owned.as_raw());
    assert_eq!(owned.as_raw_fd(), owned.as_raw());
}
