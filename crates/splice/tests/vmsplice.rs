//! What the two directions of `vmsplice` promise.

use nocopy_splice::{
    Errno, IoVec, IoVecMut, MAX_IOVECS, Pipe, PipeFlags, SpliceFlags, fcntl_getpipe_size,
    fcntl_setpipe_size, pipe2, vmsplice_from_pipe, vmsplice_to_pipe,
};
use std::fs::File;
use std::io::Read;
use std::mem::{align_of, offset_of, size_of};

const NONE: SpliceFlags = SpliceFlags::empty();

fn pipe() -> Pipe {
    pipe2(PipeFlags::CLOEXEC).expect("pipe2")
}

/// Puts memory into a pipe that never changes.
fn put(pipe: &Pipe, iov: &[IoVec<'static>], flags: SpliceFlags) -> Result<usize, Errno> {
    // SAFETY: the write end, and the ranges are static.
    unsafe { vmsplice_to_pipe(&pipe.write, iov, flags) }
}

fn get(pipe: &Pipe, iov: &mut [IoVecMut<'_>], flags: SpliceFlags) -> Result<usize, Errno> {
    // SAFETY: the read end, and the callers below give slices of their own.
    unsafe { vmsplice_from_pipe(&pipe.read, iov, flags) }
}

fn rest(pipe: Pipe) -> Vec<u8> {
    drop(pipe.write);
    let mut bytes = Vec::new();
    File::from(std::os::fd::OwnedFd::from(pipe.read))
        .read_to_end(&mut bytes)
        .expect("read");
    bytes
}

#[test]
fn the_ranges_have_the_layout_of_the_kernel() {
    // The private fields are seen through the bytes: address first, then length.
    fn words<T>(iov: &T) -> [usize; 2] {
        assert_eq!(size_of::<T>(), size_of::<[usize; 2]>());
        assert_eq!(align_of::<T>(), align_of::<[usize; 2]>());
        // SAFETY: as large and as aligned, as just asserted, and both fields are words without padding.
        unsafe { std::ptr::from_ref(iov).cast::<[usize; 2]>().read() }
    }
    assert_eq!(size_of::<IoVec>(), size_of::<libc::iovec>());
    assert_eq!(align_of::<IoVec>(), align_of::<libc::iovec>());
    assert_eq!(offset_of!(libc::iovec, iov_base), 0);
    assert_eq!(offset_of!(libc::iovec, iov_len), size_of::<usize>());
    let mut bytes = [0; 7];
    let address = bytes.as_ptr().addr();
    assert_eq!(words(&IoVec::new(&bytes)), [address, 7]);
    assert_eq!(words(&IoVecMut::new(&mut bytes)), [address, 7]);
}

#[test]
fn a_range_tells_what_it_was_made_of() {
    let mut bytes = [0; 7];
    let start = bytes.as_mut_ptr();
    assert_eq!(IoVec::new(&bytes).as_ptr(), start.cast_const());
    assert_eq!(IoVec::new(&bytes).len(), 7);
    assert!(!IoVec::new(&bytes).is_empty());
    assert!(IoVec::new(&[]).is_empty());
    assert_eq!(IoVecMut::from_raw(start, 3).as_ptr(), start);
    assert_eq!(IoVecMut::from_raw(start, 3).len(), 3);
    assert!(!IoVecMut::from_raw(start, 3).is_empty());
    assert!(IoVecMut::from_raw(start, 0).is_empty());
}

#[test]
fn ranges_go_in_and_out_in_their_order() {
    let pipe = pipe();
    let parts = [IoVec::new(b"hel"), IoVec::new(b""), IoVec::new(b"lo")];
    assert_eq!(put(&pipe, &parts, NONE), Ok(5));
    let (mut first, mut second) = ([0; 2], [0; 9]);
    let mut room = [IoVecMut::new(&mut first), IoVecMut::new(&mut second)];
    assert_eq!(get(&pipe, &mut room, NONE), Ok(5));
    assert_eq!(&first, b"he");
    assert_eq!(&second[..3], b"llo");
}

#[test]
fn a_range_by_pointer_is_the_memory_itself() {
    let pipe = pipe();
    // Leaked, so that it lives as long as the pipe may look at it.
    let memory: *mut u8 = Box::leak(Box::new([b'a'; 3])).as_mut_ptr();
    // SAFETY: the write end, and nobody reads the bytes before they are changed for the last time.
    let moved = unsafe { vmsplice_to_pipe(&pipe.write, &[IoVec::from_raw(memory, 3)], NONE) };
    assert_eq!(moved, Ok(3));
    // SAFETY: our own memory, and no reference to it is alive.
    unsafe { memory.write_volatile(b'b') };
    assert_eq!(rest(pipe), b"baa", "the pipe refers to the memory");
}

#[test]
fn a_full_pipe_gives_a_short_count_and_then_the_flag_arrives() {
    static BYTES: [u8; 1 << 20] = [7; 1 << 20];
    let pipe = pipe();
    fcntl_setpipe_size(&pipe.write, 1 << 16)
        .expect("the default size, or more than a poor user has");
    let capacity = fcntl_getpipe_size(&pipe.write).expect("size");
    let moved = put(&pipe, &[IoVec::new(&BYTES)], NONE).expect("a short count");
    // The first slot has less than a page if the memory does not start with one.
    assert!(moved <= capacity && moved > capacity / 2, "{moved}");
    assert_eq!(
        put(&pipe, &[IoVec::new(&BYTES)], SpliceFlags::NONBLOCK),
        Err(Errno::EAGAIN)
    );
}

#[test]
fn an_empty_pipe_and_the_flag_are_eagain() {
    let mut bytes = [0; 4];
    let mut room = [IoVecMut::new(&mut bytes)];
    assert_eq!(
        get(&pipe(), &mut room, SpliceFlags::NONBLOCK),
        Err(Errno::EAGAIN)
    );
}

#[test]
fn the_number_of_ranges_arrives() {
    let pipe = pipe();
    let empty = vec![IoVec::new(b""); MAX_IOVECS + 1];
    assert_eq!(put(&pipe, &[], NONE), Ok(0));
    assert_eq!(put(&pipe, &empty[1..], NONE), Ok(0));
    assert_eq!(put(&pipe, &empty, NONE), Err(Errno::EINVAL));
}

#[test]
fn an_error_is_the_kernels_own() {
    let pipe = pipe();
    let unknown = SpliceFlags::from_bits_retain(1 << 31);
    assert_eq!(put(&pipe, &[IoVec::new(b"x")], unknown), Err(Errno::EINVAL));
    let nowhere = IoVec::from_raw(std::ptr::without_provenance(8), 1);
    assert_eq!(put(&pipe, &[nowhere], NONE), Err(Errno::EFAULT));
    let file = File::open("/dev/null").expect("open");
    // SAFETY: not a pipe, so nothing happens to the memory, which is static.
    let moved = unsafe { vmsplice_to_pipe(&file, &[IoVec::new(b"x")], NONE) };
    assert_eq!(moved, Err(Errno::EBADF));
    drop(pipe.read);
    // SAFETY: the write end, and the memory is static.
    let moved = unsafe { vmsplice_to_pipe(&pipe.write, &[IoVec::new(b"x")], NONE) };
    assert_eq!(moved, Err(Errno::EPIPE), "no reader");
}

#[test]
fn lists_of_memory_go_to_other_threads() {
    const fn goes<T: Send + Sync>() {}
    goes::<nocopy_splice::IoVec<'_>>();
    goes::<nocopy_splice::IoVecMut<'_>>();
}
