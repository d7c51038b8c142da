//! What `splice` and `tee` themselves promise; what the kernel does is the conformance suite's subject.

use nocopy_splice::{BorrowedFd, Errno, Pipe, PipeFlags, SpliceFlags, pipe2, splice, tee};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;

const NONE: SpliceFlags = SpliceFlags::empty();

/// A file that has no name, with `content`, at position 0.
fn file(content: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!(
        "nocopy-splice-{}-{:?}",
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

fn pipe() -> Pipe {
    pipe2(PipeFlags::CLOEXEC).expect("pipe2")
}

/// A pipe that holds `content`.
fn filled(content: &[u8]) -> Pipe {
    let pipe = pipe();
    let source = file(content);
    assert_eq!(
        splice(&source, None, &pipe.write, None, content.len(), NONE),
        Ok(content.len())
    );
    pipe
}

/// All that the pipe holds, now that nothing more goes in.
fn rest(pipe: Pipe) -> Vec<u8> {
    drop(pipe.write);
    let mut bytes = Vec::new();
    File::from(std::os::fd::OwnedFd::from(pipe.read))
        .read_to_end(&mut bytes)
        .expect("read");
    bytes
}

#[test]
fn an_input_offset_is_advanced_and_the_position_stays() {
    let (mut input, pipe) = (file(b"0123456789"), pipe());
    let mut offset = 3;
    assert_eq!(
        splice(&input, Some(&mut offset), &pipe.write, None, 4, NONE),
        Ok(4)
    );
    assert_eq!(offset, 7);
    assert_eq!(input.stream_position().expect("tell"), 0);
    assert_eq!(rest(pipe), b"3456");
}

#[test]
fn an_output_offset_is_advanced_and_the_position_stays() {
    let (mut output, pipe) = (file(b"0123456789"), filled(b"abcd"));
    let mut offset = 5;
    assert_eq!(
        splice(&pipe.read, None, &output, Some(&mut offset), 3, NONE),
        Ok(3)
    );
    assert_eq!(offset, 8);
    assert_eq!(output.stream_position().expect("tell"), 0);
    let mut content = String::new();
    output.read_to_string(&mut content).expect("read");
    assert_eq!(content, "01234abc89");
    assert_eq!(rest(pipe), b"d");
}

#[test]
fn without_an_offset_the_position_moves() {
    let (mut input, pipe) = (file(b"0123456789"), pipe());
    assert_eq!(splice(&input, None, &pipe.write, None, 4, NONE), Ok(4));
    assert_eq!(splice(&input, None, &pipe.write, None, 100, NONE), Ok(6));
    assert_eq!(splice(&input, None, &pipe.write, None, 100, NONE), Ok(0));
    assert_eq!(input.stream_position().expect("tell"), 10);
    assert_eq!(rest(pipe), b"0123456789");
}

#[test]
fn from_a_pipe_to_a_socket() {
    let pipe = filled(b"hello");
    let (near, mut far) = UnixStream::pair().expect("socketpair");
    assert_eq!(splice(&pipe.read, None, &near, None, 100, NONE), Ok(5));
    drop(near);
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes, b"hello");
}

#[test]
fn an_error_is_the_kernels_own_and_leaves_the_offsets() {
    let (input, pipe) = (file(b"x"), pipe());
    let mut offset = u64::MAX;
    assert_eq!(
        splice(&input, Some(&mut offset), &pipe.write, None, 1, NONE),
        Err(Errno::EINVAL)
    );
    assert_eq!(offset, u64::MAX);
    let mut offset = 0;
    assert_eq!(
        splice(&pipe.read, Some(&mut offset), &input, None, 1, NONE),
        Err(Errno::ESPIPE),
        "off_in is the argument of fd_in"
    );
    assert_eq!(
        splice(&input, None, &pipe.write, Some(&mut offset), 1, NONE),
        Err(Errno::ESPIPE),
        "off_out is the argument of fd_out"
    );
    assert_eq!(
        splice(&input, None, &input, None, 1, NONE),
        Err(Errno::EINVAL),
        "neither is a pipe"
    );
    assert_eq!(
        splice(&pipe.write, None, &input, None, 1, NONE),
        Err(Errno::EBADF),
        "the wrong end"
    );
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    assert_eq!(
        splice(never_open, None, &pipe.write, None, 1, NONE),
        Err(Errno::EBADF)
    );
}

#[test]
fn the_flags_arrive_and_unknown_bits_are_kept() {
    let (near, far) = (pipe(), pipe());
    assert_eq!(
        splice(&near.read, None, &far.write, None, 1, SpliceFlags::NONBLOCK),
        Err(Errno::EAGAIN)
    );
    assert_eq!(
        tee(&near.read, &far.write, 1, SpliceFlags::NONBLOCK),
        Err(Errno::EAGAIN)
    );
    let unknown = SpliceFlags::from_bits_retain(1 << 31) | SpliceFlags::NONBLOCK;
    assert!(unknown.contains(SpliceFlags::NONBLOCK));
    assert!(!SpliceFlags::NONBLOCK.contains(unknown));
    assert_eq!(
        splice(&near.read, None, &far.write, None, 1, unknown),
        Err(Errno::EINVAL)
    );
    assert_eq!(tee(&near.read, &far.write, 1, unknown), Err(Errno::EINVAL));
}

#[test]
fn the_flags_have_the_kernels_numbers() {
    assert_eq!(SpliceFlags::MOVE.bits(), 1);
    assert_eq!(SpliceFlags::NONBLOCK.bits(), 2);
    assert_eq!(SpliceFlags::MORE.bits(), 4);
    assert_eq!(SpliceFlags::GIFT.bits(), 8);
}

#[test]
fn the_length_is_not_looked_at_by_the_wrapper() {
    let pipe = filled(b"0123456789");
    // Out of a pipe to a file all kernels refuse a length that is negative for C; pipe to pipe they take it.
    assert_eq!(
        splice(&pipe.read, None, &file(b""), None, usize::MAX, NONE),
        Err(Errno::EINVAL)
    );
    let far = self::pipe();
    assert_eq!(
        splice(&pipe.read, None, &far.write, None, usize::MAX, NONE),
        Ok(10)
    );
    assert_eq!(rest(far), b"0123456789");
}

#[test]
fn length_0_is_answered_before_anything_is_looked_at() {
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    let unknown = SpliceFlags::from_bits_retain(0xffff);
    assert_eq!(
        splice(never_open, None, never_open, None, 0, unknown),
        Ok(0)
    );
    assert_eq!(tee(never_open, never_open, 0, unknown), Err(Errno::EINVAL));
    assert_eq!(tee(never_open, never_open, 0, NONE), Ok(0));
}

#[test]
fn tee_gives_and_keeps() {
    let (near, far) = (filled(b"hello"), pipe());
    assert_eq!(tee(&near.read, &far.write, 100, NONE), Ok(5));
    assert_eq!(
        tee(&near.read, &far.write, 2, NONE),
        Ok(2),
        "the length arrives"
    );
    assert_eq!(rest(near), b"hello");
    assert_eq!(rest(far), b"hellohe");
}

#[test]
fn an_error_of_tee_is_the_kernels_own() {
    let pipe = filled(b"hello");
    assert_eq!(
        tee(&pipe.read, &pipe.write, 1, NONE),
        Err(Errno::EINVAL),
        "the same pipe"
    );
    assert_eq!(
        tee(&pipe.write, &pipe.read, 1, NONE),
        Err(Errno::EBADF),
        "the wrong ends"
    );
    assert_eq!(
        tee(&pipe.read, &file(b""), 1, NONE),
        Err(Errno::EINVAL),
        "not a pipe"
    );
}
