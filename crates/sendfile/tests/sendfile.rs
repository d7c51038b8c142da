//! What the wrapper itself promises; what the kernel does is the conformance suite's subject.

use nocopy_sendfile::{BorrowedFd, Errno, MAX_COUNT, sendfile};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

/// A file that has no name, with `content`, at position 0.
fn file(content: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!(
        "nocopy-sendfile-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("a temporary file");
    std::fs::remove_file(&path).expect("unlink");
    file.write_all(content).expect("write");
    file.seek(SeekFrom::Start(0)).expect("seek");
    file
}

fn received(mut socket: UnixStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    socket.read_to_end(&mut bytes).expect("read");
    bytes
}

#[test]
fn an_offset_is_advanced_and_the_position_stays() {
    let mut input = file(b"0123456789");
    let (near, far) = UnixStream::pair().expect("socketpair");
    let mut offset = 3;
    assert_eq!(sendfile(&near, &input, Some(&mut offset), 4), Ok(4));
    drop(near);
    assert_eq!(offset, 7);
    assert_eq!(input.stream_position().expect("tell"), 0);
    assert_eq!(received(far), b"3456");
}

#[test]
fn without_an_offset_the_position_moves() {
    let mut input = file(b"0123456789");
    let (near, far) = UnixStream::pair().expect("socketpair");
    assert_eq!(sendfile(&near, &input, None, 4), Ok(4));
    assert_eq!(sendfile(&near, &input, None, 100), Ok(6));
    assert_eq!(sendfile(&near, &input, None, 100), Ok(0));
    drop(near);
    assert_eq!(input.stream_position().expect("tell"), 10);
    assert_eq!(received(far), b"0123456789");
}

#[test]
fn an_error_is_the_kernels_own_and_leaves_the_offset() {
    let input = file(b"x");
    let (near, _far) = UnixStream::pair().expect("socketpair");
    let mut offset = u64::MAX;
    assert_eq!(
        sendfile(&near, &input, Some(&mut offset), 1),
        Err(Errno::EINVAL)
    );
    assert_eq!(offset, u64::MAX);
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    assert_eq!(sendfile(never_open, &input, None, 1), Err(Errno::EBADF));
    assert_eq!(sendfile(&near, &near, None, 1), Err(Errno::EINVAL));
}

#[test]
fn the_count_is_not_clamped_by_the_wrapper() {
    let input = file(b"0123456789");
    let (near, far) = UnixStream::pair().expect("socketpair");
    // Above MAX_COUNT it is the kernel that shortens; above isize::MAX it is the kernel that refuses.
    assert_eq!(sendfile(&near, &input, None, MAX_COUNT + 1), Ok(10));
    assert_eq!(
        sendfile(&near, &input, None, usize::MAX),
        Err(Errno::EINVAL)
    );
    drop(near);
    assert_eq!(received(far), b"0123456789");
}

#[test]
fn every_way_to_name_a_descriptor_is_the_same_descriptor() {
    let input = file(b"");
    let ours: BorrowedFd<'_> = (&input).into();
    let from_std: BorrowedFd<'_> = input.as_fd().into();
    // SAFETY: `input` is open until the end of the test.
    let by_number = unsafe { BorrowedFd::borrow_raw(input.as_raw_fd()) };
    assert_eq!(ours, from_std);
    assert_eq!(ours, by_number);
    assert_eq!(ours.as_raw(), input.as_raw_fd());
}
