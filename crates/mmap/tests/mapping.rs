//! The owned mappings: who may look at what, what the end of a file does, and that dropping unmaps.

use nocopy_mmap::{
    Advice, Errno, MapError, MapFlags, Mapping, MemfdFlags, MsyncFlags, PrivateAnonymous, Prot,
    memfd_create,
};
use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use syscalls::{Sysno, syscall3};

/// A multiple of every page size.
const UNIT: usize = 1 << 16;

/// A file in memory, which `/proc/self/maps` shows by this name.
fn file(name: &str, content: &[u8]) -> File {
    let name = CString::new(name).expect("no zero byte");
    let file = memfd_create(&name, MemfdFlags::CLOEXEC).expect("memfd_create");
    let mut file = File::from(OwnedFd::from(file));
    file.write_all(content).expect("write");
    file
}

fn read_only(file: &File, length: usize) -> Mapping {
    Mapping::of_file(length, Prot::READ, MapFlags::PRIVATE, file, 0).expect("mmap")
}

/// How many mappings the process has of the file with this name.
fn mapped(name: &str) -> usize {
    std::fs::read_to_string("/proc/self/maps")
        .expect("maps")
        .lines()
        .filter(|line| line.contains(&format!("memfd:{name} ")))
        .count()
}

/// `write(2)` of mapped memory, of which no slice is made.
fn write(out: &UnixStream, mapping: &Mapping) -> Result<usize, Errno> {
    let fd = out.as_raw_fd().cast_unsigned() as usize;
    let start = mapping.as_ptr().expose_provenance();
    // SAFETY: the kernel reads the mapping during the call, or refuses.
    unsafe { syscall3(Sysno::write, fd, start, mapping.len()) }
}

#[test]
fn dropping_unmaps_and_giving_away_does_not() {
    let file = file("dropping", b"x");
    let mapping = read_only(&file, 1);
    assert_eq!(mapped("dropping"), 1);
    let (start, length) = mapping.into_raw();
    assert_eq!(mapped("dropping"), 1);
    // SAFETY: `into_raw` made us the owner.
    let mapping = unsafe { Mapping::from_raw(start, length) };
    assert_eq!((mapping.as_ptr(), mapping.len()), (start.as_ptr(), 1));
    assert!(!mapping.is_empty());
    drop(mapping);
    assert_eq!(mapped("dropping"), 0);
}

#[test]
fn the_descriptor_can_be_closed_before() {
    let file = file("closed", b"hello");
    let mapping = read_only(&file, 5);
    drop(file);
    let mut bytes = [0; 5];
    assert_eq!(mapping.read_at(0, &mut bytes), Ok(5));
    assert_eq!(&bytes, b"hello");
}

#[test]
fn read_at_copies_every_range_of_every_alignment() {
    let content: Vec<u8> = (0..100).collect();
    let file = file("ranges", &content);
    let mapping = read_only(&file, content.len());
    for offset in 0..=content.len() {
        for room in 0..40 {
            let expected = &content[offset..content.len().min(offset + room)];
            let mut bytes = [0xff; 40];
            let count = mapping.read_at(offset, &mut bytes[..room]).expect("mapped");
            assert_eq!(&bytes[..count], expected, "{room} from {offset}");
            assert!(bytes[count..].iter().all(|byte| *byte == 0xff));
        }
    }
    assert_eq!(mapping.read_at(101, &mut [0]), Ok(0));
    assert_eq!(mapping.read_at(usize::MAX, &mut [0]), Ok(0));
}

#[test]
fn a_private_mapping_of_a_file_shows_what_others_write() {
    let file = file("others", b"old");
    let mapping = read_only(&file, 3);
    let mut bytes = [0; 3];
    assert_eq!(mapping.read_at(0, &mut bytes), Ok(3));
    file.write_all_at(b"new", 0).expect("write");
    assert_eq!(mapping.read_at(0, &mut bytes), Ok(3));
    assert_eq!(&bytes, b"new", "which is why it is not a slice");
    // SAFETY: nobody has the file but this test, which does not write any more.
    assert_eq!(unsafe { mapping.as_slice() }, b"new");
}

#[test]
fn the_offset_and_the_protection_arrive() {
    let file = file("offset", &[vec![b'a'; UNIT], vec![b'b'; UNIT]].concat());
    let mapping = Mapping::of_file(
        UNIT,
        Prot::READ | Prot::WRITE,
        MapFlags::SHARED | MapFlags::POPULATE,
        &file,
        UNIT as u64,
    )
    .expect("mmap");
    let mut byte = [0];
    assert_eq!(mapping.read_at(0, &mut byte), Ok(1));
    assert_eq!(&byte, b"b");
    // SAFETY: inside the mapping, which is writable and has no references to it.
    unsafe { mapping.as_ptr().write_volatile(b'c') };
    file.read_exact_at(&mut byte, UNIT as u64).expect("read");
    assert_eq!(&byte, b"c");
}

#[test]
fn flags_that_replace_other_memory_are_refused_before_the_kernel_is_asked() {
    let file = file("flags", b"x");
    let harmful = MapFlags::FIXED | MapFlags::GROWSDOWN;
    let error = Mapping::of_file(1, Prot::READ, MapFlags::PRIVATE | harmful, &file, 0)
        .expect_err("harmful");
    assert_eq!(error, MapError::Flags(harmful));
    assert_eq!(mapped("flags"), 0);
    let error = std::io::Error::from(error);
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
}

#[test]
fn the_kernels_error_is_kept() {
    let file = file("empty", b"");
    let error = Mapping::of_file(0, Prot::READ, MapFlags::PRIVATE, &file, 0).expect_err("empty");
    assert_eq!(error, MapError::Kernel(Errno::EINVAL));
    assert_eq!(
        std::io::Error::from(error).raw_os_error(),
        Some(libc::EINVAL)
    );
}

#[test]
fn writing_a_truncated_mapping_is_efault_and_the_process_lives() {
    let file = file("truncated", &vec![b'x'; UNIT]);
    let mapping = read_only(&file, UNIT);
    let (near, mut far) = UnixStream::pair().expect("socketpair");
    assert_eq!(write(&near, &mapping), Ok(UNIT), "while the file is whole");
    file.set_len(0).expect("truncate");
    assert_eq!(write(&near, &mapping), Err(Errno::EFAULT));
    drop(near);
    let mut bytes = Vec::new();
    far.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes, vec![b'x'; UNIT], "what went out before stays out");
}

#[test]
fn touching_a_truncated_mapping_is_sigbus_and_reading_it_efault() {
    const CHILD: &str = "NOCOPY_MMAP_TOUCH";
    let name = "touching_a_truncated_mapping_is_sigbus_and_reading_it_efault";
    let file = file("touched", &vec![b'x'; 2 * UNIT]);
    let mapping = read_only(&file, 2 * UNIT);
    let mut bytes = vec![0; 2 * UNIT];
    assert_eq!(
        mapping.read_at(0, &mut bytes),
        Ok(2 * UNIT),
        "while the file is whole"
    );
    file.set_len(UNIT as u64).expect("truncate");
    bytes.fill(0);
    assert_eq!(
        mapping.read_at(0, &mut bytes),
        Ok(UNIT),
        "up to the page that is gone"
    );
    assert!(bytes[..UNIT].iter().all(|byte| *byte == b'x') && bytes[UNIT] == 0);
    assert_eq!(mapping.read_at(UNIT, &mut bytes), Err(Errno::EFAULT));
    if std::env::var_os(CHILD).is_some() {
        // SAFETY: none: this is the touch that the signal answers.
        let _ = unsafe { mapping.as_ptr().add(UNIT).read_volatile() };
        return;
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args([name, "--exact", "--test-threads=1"])
        .env(CHILD, "1")
        .output()
        .expect("a child");
    assert_eq!(output.status.signal(), Some(libc::SIGBUS), "{output:?}");
}

#[test]
fn a_mapping_that_cannot_be_read_is_refused_before_the_kernel_is_asked() {
    let file = file("unreadable", b"x");
    for prot in [Prot::NONE, Prot::WRITE, Prot::EXEC] {
        let error =
            Mapping::of_file(1, prot, MapFlags::SHARED, &file, 0).expect_err("not readable");
        assert_eq!(error, MapError::Prot(prot));
    }
    assert_eq!(mapped("unreadable"), 0);
}

#[test]
fn advice_that_changes_bytes_is_refused_and_other_is_taken() {
    let file = file("advised", &vec![b'x'; UNIT]);
    let mapping = Mapping::of_file(UNIT, Prot::READ | Prot::WRITE, MapFlags::PRIVATE, &file, 0);
    let mapping = mapping.expect("mmap");
    // SAFETY: inside the mapping, which is writable and has no references to it.
    unsafe { mapping.as_ptr().write_volatile(b'y') };
    for advice in [
        Advice::DONTNEED,
        Advice::REMOVE,
        Advice::FREE,
        Advice::GUARD_INSTALL,
        Advice::HWPOISON,
    ] {
        assert_eq!(mapping.advise(advice), Err(MapError::Advice(advice)));
    }
    for advice in [Advice::SEQUENTIAL, Advice::WILLNEED, Advice::DONTDUMP] {
        assert_eq!(mapping.advise(advice), Ok(()));
    }
    assert_eq!((mapping.lock(), mapping.unlock()), (Ok(()), Ok(())));
    assert_eq!(mapping.sync(MsyncFlags::SYNC), Ok(()));
    let mut byte = [0];
    assert_eq!(mapping.read_at(0, &mut byte), Ok(1));
    assert_eq!(&byte, b"y", "the page that was written is still there");
    let memory = PrivateAnonymous::new(UNIT).expect("mmap");
    assert_eq!(memory.mapping().lock(), Ok(()));
    assert!(format!("{memory:?}").len() < 80, "without the bytes");
}

#[test]
fn private_memory_is_zero_and_ones_own() {
    let mut memory = PrivateAnonymous::new(UNIT + 1).expect("mmap");
    assert_eq!(memory.len(), UNIT + 1);
    assert!(memory.iter().all(|byte| *byte == 0));
    memory.fill(7);
    assert!(memory.iter().all(|byte| *byte == 7));
    let other = PrivateAnonymous::new(UNIT).expect("mmap");
    assert!(other.iter().all(|byte| *byte == 0));
    assert_eq!(PrivateAnonymous::new(0).err(), Some(Errno::EINVAL));
    assert_eq!(PrivateAnonymous::new(usize::MAX).err(), Some(Errno::ENOMEM));
}

#[test]
fn a_mapping_can_be_used_by_other_threads() {
    let file = file("threads", b"hello");
    let mapping = read_only(&file, 5);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut bytes = [0; 5];
                assert_eq!(mapping.read_at(0, &mut bytes), Ok(5));
                assert_eq!(&bytes, b"hello");
            });
        }
    });
    std::thread::spawn(move || drop(mapping))
        .join()
        .expect("join");
    assert_eq!(mapped("threads"), 0);
}
