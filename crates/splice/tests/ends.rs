//! The typed ends of a pipe: which descriptors become one, and what that makes safe.

use nocopy_splice::{
    BorrowedFd, Errno, IoVecMut, OwnedFd, PIPE_BUF, PipeFlags, PipeReader, PipeWriter, SpliceFlags,
    WrongEnd, fcntl_setpipe_size, pipe2, vmsplice_from_pipe, vmsplice_static,
};
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd as StdFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

const NONE: SpliceFlags = SpliceFlags::empty();

static BYTES: [u8; 6] = *b"static";

/// A FIFO that is gone with this value.
struct Fifo(PathBuf);

impl Fifo {
    fn new(name: &str) -> Self {
        let name = format!("nocopy-splice-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let text = CString::new(path.to_str().expect("UTF-8")).expect("no NUL");
        // SAFETY: a string with its NUL, read during the call.
        let made = unsafe { libc::mkfifo(text.as_ptr(), 0o600) };
        assert_eq!(made, 0, "{}", std::io::Error::last_os_error());
        Self(path)
    }

    /// Open for both directions, so that no open waits for the other end.
    fn both(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(&self.0).expect("open")
    }
}

impl Drop for Fifo {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn path_only(path: &std::path::Path) -> StdFd {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = OpenOptions::new();
    let options = options.read(true).custom_flags(libc::O_PATH);
    options.open(path).expect("open").into()
}

#[test]
fn each_end_is_only_what_it_is() {
    let pipe = pipe2(PipeFlags::CLOEXEC).expect("pipe2");
    let reader = PipeReader::check(OwnedFd::from(pipe.read)).expect("a reader");
    let writer = PipeWriter::check(OwnedFd::from(pipe.write)).expect("a writer");
    let (read, write) = (reader.as_raw(), writer.as_raw());
    let refused = PipeWriter::check(reader.into()).expect_err("a reader");
    assert_eq!(refused.reason(), WrongEnd::OtherEnd);
    assert_eq!(
        refused.to_string(),
        format!("descriptor {read} is the other end of a pipe")
    );
    // It comes back open and the same.
    let reader = PipeReader::check(refused.into_fd()).expect("a reader");
    assert_eq!(reader.as_raw(), read);
    let refused = PipeReader::check(writer.into()).expect_err("a writer");
    assert_eq!(refused.reason(), WrongEnd::OtherEnd);
    let writer = PipeWriter::check(refused.into_fd()).expect("a writer");
    assert_eq!(writer.as_raw(), write);
    File::from(StdFd::from(writer))
        .write_all(b"x")
        .expect("write");
    let mut bytes = Vec::new();
    File::from(StdFd::from(reader))
        .read_to_end(&mut bytes)
        .expect("read");
    assert_eq!(bytes, b"x");
}

#[test]
fn the_ends_of_std_convert_if_they_are_what_they_say() {
    let (read, write) = std::io::pipe().expect("pipe");
    let writer = PipeWriter::try_from(StdFd::from(write)).expect("a writer");
    // Safe code puts any descriptor into the type of std.
    let not_a_writer = std::io::PipeWriter::from(StdFd::from(read));
    let refused = PipeWriter::try_from(StdFd::from(not_a_writer)).expect_err("a reader");
    assert_eq!(refused.reason(), WrongEnd::OtherEnd);
    let reader = PipeReader::try_from(StdFd::from(refused.into_fd())).expect("a reader");
    assert_eq!(vmsplice_static(&writer, &BYTES, NONE), Ok(6));
    drop(writer);
    let mut bytes = String::new();
    File::from(StdFd::from(reader))
        .read_to_string(&mut bytes)
        .expect("read");
    assert_eq!(bytes, "static");
}

#[test]
fn what_is_not_a_pipe_is_neither_end() {
    let (socket, _far) = UnixStream::pair().expect("socketpair");
    let fifo = Fifo::new("path");
    for fd in [
        StdFd::from(File::open("/dev/null").expect("open")),
        StdFd::from(socket),
        path_only(&fifo.0),
    ] {
        let refused = PipeReader::try_from(fd).expect_err("not a pipe");
        assert_eq!(refused.reason(), WrongEnd::NotAPipe);
        let refused = PipeWriter::check(refused.into_fd()).expect_err("not a pipe");
        assert_eq!(refused.reason(), WrongEnd::NotAPipe);
        assert!(refused.to_string().ends_with("is not a pipe"), "{refused}");
    }
}

/// The kernel takes a descriptor that is open for both as the end that bytes go into.
#[test]
fn a_fifo_for_both_directions_is_a_writer_and_its_memory_is_only_read() {
    let fifo = Fifo::new("both");
    let refused = PipeReader::try_from(StdFd::from(fifo.both())).expect_err("a writer, too");
    assert_eq!(refused.reason(), WrongEnd::OtherEnd);
    let mut end = File::from(StdFd::from(refused.into_fd()));
    // Something to read, which the other direction would write to the bytes.
    end.write_all(b"others").expect("write");
    let writer = PipeWriter::try_from(StdFd::from(end)).expect("a writer, too");
    assert_eq!(vmsplice_static(&writer, &BYTES, NONE), Ok(6));
    assert_eq!(&BYTES, b"static");
    let mut bytes = [0; 12];
    File::from(StdFd::from(writer))
        .read_exact(&mut bytes)
        .expect("read");
    assert_eq!(&bytes, b"othersstatic");
    // One end for each direction of the same FIFO.
    let both = fifo.both();
    let read = File::open(&fifo.0).expect("a writer is there");
    let mut write = OpenOptions::new();
    let write = write.write(true).open(&fifo.0).expect("a reader is there");
    drop(both);
    PipeReader::try_from(StdFd::from(read)).expect("open for reading");
    PipeWriter::try_from(StdFd::from(write)).expect("open for writing");
}

#[test]
fn static_bytes_are_in_the_pipe_by_reference_and_the_count_is_the_kernels() {
    static MANY: [u8; 1 << 20] = [7; 1 << 20];
    let pipe = pipe2(PipeFlags::CLOEXEC).expect("pipe2");
    fcntl_setpipe_size(&pipe.write, 1 << 16).expect("the default, or more than a poor user has");
    assert_eq!(vmsplice_static(&pipe.write, b"", NONE), Ok(0));
    let moved = vmsplice_static(&pipe.write, &MANY, SpliceFlags::GIFT).expect("a short count");
    assert!(moved <= 1 << 16 && moved > 1 << 15, "{moved}");
    let full = vmsplice_static(&pipe.write, &MANY[moved..], SpliceFlags::NONBLOCK);
    assert_eq!(full, Err(Errno::EAGAIN), "the flags arrive");
    let mut got = vec![0; moved];
    let mut room = [IoVecMut::new(&mut got)];
    // SAFETY: a reader, and memory that is borrowed for the call.
    let back = unsafe { vmsplice_from_pipe(&pipe.read, &mut room, NONE) };
    assert_eq!(back, Ok(moved));
    assert!(got.iter().all(|byte| *byte == 7));
    drop(pipe.read);
    assert_eq!(
        vmsplice_static(&pipe.write, &BYTES, NONE),
        Err(Errno::EPIPE)
    );
}

#[test]
fn every_way_to_borrow_an_end_is_the_same_descriptor() {
    let pipe = pipe2(PipeFlags::CLOEXEC).expect("pipe2");
    let by_reference: BorrowedFd<'_> = (&pipe.read).into();
    assert_eq!(by_reference, pipe.read.as_fd());
    assert_eq!(pipe.read.as_raw_fd(), pipe.read.as_raw());
    let by_std: BorrowedFd<'_> = AsFd::as_fd(&pipe.write).into();
    assert_eq!(by_std, pipe.write.as_fd());
    assert_eq!(pipe.write.as_raw_fd(), pipe.write.as_raw());
    assert_ne!(pipe.read.as_raw(), pipe.write.as_raw());
}

#[test]
fn a_write_of_pipe_buf_is_whole_or_nothing() {
    assert_eq!(PIPE_BUF, libc::PIPE_BUF);
    let pipe = pipe2(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).expect("pipe2");
    let size = fcntl_setpipe_size(&pipe.write, 1 << 16).expect("the default");
    let mut write = File::from(StdFd::from(pipe.write));
    let fill = vec![1; size - PIPE_BUF / 2];
    assert_eq!(write.write(&fill).expect("there is room"), fill.len());
    let error = write.write(&[2; PIPE_BUF]).expect_err("does not fit whole");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}
