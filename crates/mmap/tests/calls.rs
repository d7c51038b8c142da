//! What the wrappers themselves promise: arguments arrive and errors are the kernel's own.

use nocopy_mmap::{
    Advice, BorrowedFd, Errno, MapFlags, MremapFlags, MsyncFlags, Prot, madvise, mmap, mremap,
    msync, munmap,
};
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::ptr;

const READ_WRITE: Prot = Prot::from_bits_retain(Prot::READ.bits() | Prot::WRITE.bits());
const FRESH: MapFlags =
    MapFlags::from_bits_retain(MapFlags::PRIVATE.bits() | MapFlags::ANONYMOUS.bits());
/// A multiple of every page size.
const UNIT: usize = 1 << 16;

/// A file that has no name, with `content`.
fn file(content: &[u8]) -> File {
    let path = std::env::temp_dir().join(format!(
        "nocopy-mmap-{}-{:?}",
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
    file
}

/// `mmap` anywhere.
fn map(
    length: usize,
    prot: Prot,
    flags: MapFlags,
    fd: Option<BorrowedFd<'_>>,
    offset: u64,
) -> Result<*mut u8, Errno> {
    // SAFETY: no test gives MAP_FIXED to this function.
    unsafe { mmap(ptr::null_mut(), length, prot, flags, fd, offset) }
}

#[test]
fn the_arguments_of_mmap_arrive() {
    let mut content = vec![b'a'; UNIT];
    content.extend(vec![b'b'; UNIT]);
    let file = file(&content);
    let start = map(
        UNIT,
        READ_WRITE,
        MapFlags::SHARED,
        Some((&file).into()),
        UNIT as u64,
    )
    .expect("the second part");
    // SAFETY: mapped above, of a file that nobody else has, and not used after the end.
    unsafe {
        assert_eq!(start.read_volatile(), b'b', "the offset");
        assert_eq!(start.add(UNIT - 1).read_volatile(), b'b', "the length");
        start.write_volatile(b'c');
        msync(start, UNIT, MsyncFlags::SYNC).expect("msync");
        munmap(start, UNIT).expect("munmap");
    }
    let mut byte = [0];
    file.read_exact_at(&mut byte, UNIT as u64).expect("read");
    assert_eq!(&byte, b"c", "shared and writable");
}

#[test]
fn a_fixed_address_arrives() {
    let old = map(2 * UNIT, READ_WRITE, FRESH, None, 0).expect("mmap");
    // SAFETY: our own memory, replaced by our own.
    unsafe {
        old.add(UNIT).write(1);
        let there = old.add(UNIT);
        assert_eq!(
            mmap(there, UNIT, READ_WRITE, FRESH | MapFlags::FIXED, None, 0),
            Ok(there)
        );
        assert_eq!(there.read_volatile(), 0, "replaced");
        assert_eq!(
            mmap(
                there,
                UNIT,
                READ_WRITE,
                FRESH | MapFlags::FIXED_NOREPLACE,
                None,
                0
            ),
            Err(Errno::EEXIST)
        );
        munmap(old, 2 * UNIT).expect("munmap");
    }
}

#[test]
fn an_error_of_mmap_is_the_kernels_own() {
    let file = file(b"x");
    let fd = Some(BorrowedFd::from(&file));
    let private = MapFlags::PRIVATE;
    assert_eq!(map(0, Prot::READ, private, fd, 0), Err(Errno::EINVAL));
    assert_eq!(map(1, Prot::READ, private, fd, 1), Err(Errno::EINVAL));
    assert_eq!(
        map(1, Prot::READ, MapFlags::empty(), fd, 0),
        Err(Errno::EINVAL)
    );
    assert_eq!(map(1, Prot::READ, private, None, 0), Err(Errno::EBADF));
    // All 64 bits of the offset arrive: as an off_t this one is negative.
    let high = u64::MAX - (UNIT as u64 - 1);
    assert_eq!(map(1, Prot::READ, private, fd, high), Err(Errno::EOVERFLOW));
    assert_eq!(
        map(usize::MAX, Prot::READ, private, fd, 0),
        Err(Errno::ENOMEM)
    );
    // Bits 26 to 31 are the size of a huge page, and known.
    let unknown = MapFlags::SHARED_VALIDATE | MapFlags::from_bits_retain(1 << 25);
    assert_eq!(map(1, Prot::READ, unknown, fd, 0), Err(Errno::EOPNOTSUPP));
    let directory = File::open("/").expect("open");
    assert_eq!(
        map(1, Prot::READ, private, Some((&directory).into()), 0),
        Err(Errno::ENODEV)
    );
}

#[test]
fn an_error_of_the_others_is_the_kernels_own() {
    let start = map(UNIT, READ_WRITE, FRESH, None, 0).expect("mmap");
    let both = MsyncFlags::SYNC | MsyncFlags::ASYNC;
    let stay = MremapFlags::empty();
    let unknown = MremapFlags::from_bits_retain(1 << 30);
    // SAFETY: our own memory; every call below is refused, but for the last.
    unsafe {
        assert_eq!(munmap(start, 0), Err(Errno::EINVAL));
        assert_eq!(munmap(start.add(1), 1), Err(Errno::EINVAL));
        assert_eq!(msync(start, UNIT, both), Err(Errno::EINVAL));
        assert_eq!(msync(start.add(1), 1, MsyncFlags::SYNC), Err(Errno::EINVAL));
        let unheard_of = Advice::from_raw(-7);
        assert_eq!(unheard_of.as_raw(), -7);
        assert_eq!(madvise(start, UNIT, unheard_of), Err(Errno::EINVAL));
        assert_eq!(
            mremap(start, UNIT, 0, stay, ptr::null_mut()),
            Err(Errno::EINVAL)
        );
        assert_eq!(
            mremap(start, UNIT, UNIT, unknown, ptr::null_mut()),
            Err(Errno::EINVAL)
        );
        assert_eq!(munmap(start, UNIT), Ok(()));
    }
}

#[test]
fn the_advice_arrives() {
    let start = map(2 * UNIT, READ_WRITE, FRESH, None, 0).expect("mmap");
    // SAFETY: our own memory, without references to it, and not used after the end.
    unsafe {
        start.write_volatile(1);
        start.add(UNIT).write_volatile(2);
        assert_eq!(madvise(start, UNIT, Advice::NORMAL), Ok(()));
        assert_eq!(start.read_volatile(), 1);
        assert_eq!(madvise(start, UNIT, Advice::DONTNEED), Ok(()));
        assert_eq!(start.read_volatile(), 0, "dropped");
        assert_eq!(start.add(UNIT).read_volatile(), 2, "the length");
        munmap(start, 2 * UNIT).expect("munmap");
    }
}

#[test]
fn a_mapping_grows_and_moves_with_its_bytes() {
    let old = map(UNIT, READ_WRITE, FRESH, None, 0).expect("mmap");
    let place = map(4 * UNIT, Prot::NONE, FRESH, None, 0).expect("mmap");
    let flags = MremapFlags::MAYMOVE | MremapFlags::FIXED;
    // SAFETY: our own memory; `old` is not used after the move, `place` not after the end.
    unsafe {
        old.write_volatile(7);
        let there = place.add(UNIT);
        assert_eq!(mremap(old, UNIT, 2 * UNIT, flags, there), Ok(there));
        assert_eq!(there.read_volatile(), 7);
        there.add(2 * UNIT - 1).write_volatile(8);
        munmap(place, 4 * UNIT).expect("munmap");
    }
}

#[test]
fn the_flags_keep_unknown_bits() {
    let odd = MapFlags::from_bits_retain(1 << 29) | MapFlags::PRIVATE;
    assert_eq!(odd.bits(), (1 << 29) | 2);
    assert!(odd.contains(MapFlags::PRIVATE));
    assert!(!odd.contains(MapFlags::SHARED_VALIDATE));
}
