//! Memfds, their seals, and the mapping that relies on them.

use nocopy_mmap::{
    BorrowedFd, Errno, MapError, MapFlags, Mapping, MemfdFlags, Prot, SealedMapping, Seals,
    fcntl_add_seals, fcntl_get_seals, memfd_create,
};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;

const SEALABLE: MemfdFlags =
    MemfdFlags::from_bits_retain(MemfdFlags::CLOEXEC.bits() | MemfdFlags::ALLOW_SEALING.bits());

fn file(content: &[u8]) -> File {
    let file = memfd_create(c"nocopy-mmap", SEALABLE).expect("memfd_create");
    let mut file = File::from(OwnedFd::from(file));
    file.write_all(content).expect("write");
    file
}

#[test]
fn the_name_and_the_flags_arrive() {
    for (flags, close_on_exec) in [(MemfdFlags::empty(), 0), (SEALABLE, libc::O_CLOEXEC)] {
        let file = memfd_create(c"a name", flags).expect("memfd_create");
        let number = file.as_raw();
        let link = std::fs::read_link(format!("/proc/self/fd/{number}")).expect("readlink");
        assert!(link.to_string_lossy().contains("memfd:a name"), "{link:?}");
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).expect("fdinfo");
        let shown = info
            .lines()
            .find_map(|line| line.strip_prefix("flags:"))
            .map(|octal| i32::from_str_radix(octal.trim(), 8).expect("octal"))
            .expect("a line with flags");
        assert_eq!(shown & libc::O_CLOEXEC, close_on_exec);
    }
}

#[test]
fn an_error_is_the_kernels_own() {
    let unknown = MemfdFlags::from_bits_retain(1 << 20);
    assert_eq!(memfd_create(c"x", unknown).err(), Some(Errno::EINVAL));
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    assert_eq!(fcntl_get_seals(never_open), Err(Errno::EBADF));
    assert_eq!(
        fcntl_add_seals(never_open, Seals::SHRINK),
        Err(Errno::EBADF)
    );
    let device = File::open("/dev/null").expect("open");
    assert_eq!(fcntl_get_seals(&device), Err(Errno::EINVAL));
    let unknown = Seals::from_bits_retain(1 << 20);
    assert_eq!(fcntl_add_seals(&file(b""), unknown), Err(Errno::EINVAL));
}

#[test]
fn seals_are_added_and_told() {
    let file = file(b"x");
    assert_eq!(fcntl_get_seals(&file), Ok(Seals::empty()));
    assert_eq!(fcntl_add_seals(&file, Seals::SHRINK), Ok(()));
    assert_eq!(fcntl_add_seals(&file, Seals::GROW), Ok(()));
    assert_eq!(fcntl_get_seals(&file), Ok(Seals::SHRINK | Seals::GROW));
    assert!(file.set_len(0).is_err());
    assert!(file.set_len(2).is_err());
    assert_eq!(fcntl_add_seals(&file, Seals::SEAL), Ok(()));
    assert_eq!(fcntl_add_seals(&file, Seals::WRITE), Err(Errno::EPERM));
}

#[test]
fn without_the_flag_a_memfd_is_sealed_against_seals() {
    let file = memfd_create(c"x", MemfdFlags::CLOEXEC).expect("memfd_create");
    assert_eq!(fcntl_get_seals(&file), Ok(Seals::SEAL));
    assert_eq!(fcntl_add_seals(&file, Seals::WRITE), Err(Errno::EPERM));
}

#[test]
fn a_sealed_memfd_is_a_slice_of_all_its_bytes() {
    let content: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let file = file(&content);
    fcntl_add_seals(&file, SealedMapping::NEEDED).expect("seal");
    let mapping = SealedMapping::new(&file).expect("mmap");
    assert!(file.write_at(b"changed", 0).is_err());
    assert!(file.set_len(0).is_err());
    drop(file);
    assert!(*mapping == content[..]);
}

#[test]
fn each_missing_seal_is_named() {
    let none = Seals::empty();
    for (seals, missing) in [
        (none, SealedMapping::NEEDED),
        (Seals::SHRINK, Seals::WRITE),
        (Seals::WRITE, Seals::SHRINK),
        (Seals::GROW | Seals::SHRINK | Seals::SEAL, Seals::WRITE),
    ] {
        let file = file(b"x");
        fcntl_add_seals(&file, seals).expect("seal");
        assert_eq!(
            SealedMapping::new(&file).err(),
            Some(MapError::NotSealed(missing))
        );
    }
}

#[test]
fn the_seal_of_future_writes_is_not_enough() {
    let file = file(b"old");
    let writable =
        Mapping::of_file(3, Prot::READ | Prot::WRITE, MapFlags::SHARED, &file, 0).expect("mmap");
    assert_eq!(
        fcntl_add_seals(&file, Seals::WRITE),
        Err(Errno::EBUSY),
        "the real seal is not given while it can be broken"
    );
    fcntl_add_seals(&file, Seals::SHRINK | Seals::FUTURE_WRITE).expect("seal");
    assert_eq!(
        SealedMapping::new(&file).err(),
        Some(MapError::NotSealed(Seals::WRITE))
    );
    // This is what the slice would have seen:
    // SAFETY: inside the mapping, which is writable and has no references to it.
    unsafe { writable.as_ptr().write_volatile(b'n') };
    let mut bytes = [0; 3];
    file.read_exact_at(&mut bytes, 0).expect("read");
    assert_eq!(&bytes, b"nld");
    // Once the mapping is gone, the real seal can be had.
    drop(writable);
    fcntl_add_seals(&file, Seals::WRITE).expect("seal");
    assert_eq!(*SealedMapping::new(&file).expect("mmap"), *b"nld");
}

#[test]
fn what_cannot_be_mapped_so_is_the_kernels_error() {
    let device = File::open("/dev/null").expect("open");
    assert_eq!(
        SealedMapping::new(&device).err(),
        Some(MapError::Kernel(Errno::EINVAL))
    );
    let empty = file(b"");
    fcntl_add_seals(&empty, SealedMapping::NEEDED).expect("seal");
    assert_eq!(
        SealedMapping::new(&empty).err(),
        Some(MapError::Kernel(Errno::EINVAL))
    );
}

#[test]
fn an_owned_descriptor_is_one_descriptor_and_converts() {
    let file = memfd_create(c"x", MemfdFlags::CLOEXEC).expect("memfd_create");
    let number = file.as_raw();
    assert_eq!(BorrowedFd::from(&file), file.as_fd());
    assert_eq!(file.as_raw_fd(), number);
    // SAFETY: `into_raw` makes us the owner.
    let file = unsafe { nocopy_mmap::OwnedFd::from_raw(file.into_raw()) };
    assert_eq!(OwnedFd::from(file).as_raw_fd(), number);
}
