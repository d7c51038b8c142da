use core::ffi::CStr;
use core::ptr;

use nocopy_mmap::{
    Advice, BorrowedFd, Errno, MapError, MapFlags, Mapping, MemfdFlags, MremapFlags, MsyncFlags,
    OwnedFd, PrivateAnonymous, Prot, SealedMapping, Seals, fcntl_add_seals, fcntl_get_seals,
    madvise, memfd_create, mmap, mremap, msync, munmap,
};

use crate::reference::by_hand;

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_mmap(
    addr: *mut u8,
    length: usize,
    prot: Prot,
    flags: MapFlags,
    fd: Option<BorrowedFd<'_>>,
    offset: u64,
) -> Result<*mut u8, Errno> {
    // SAFETY: the caller's.
    unsafe { mmap(addr, length, prot, flags, fd, offset) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_mmap(
    addr: *mut u8,
    length: usize,
    prot: Prot,
    flags: MapFlags,
    fd: Option<BorrowedFd<'_>>,
    offset: u64,
) -> Result<*mut u8, Errno> {
    by_hand!(
        mmap,
        "rdi" = addr,
        "rsi" = length,
        "rdx" = prot.bits(),
        "r10" = flags.bits(),
        "r8" = fd.map_or(-1, BorrowedFd::as_raw),
        "r9" = offset,
    )
    .map(ptr::with_exposed_provenance_mut)
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_munmap(addr: *mut u8, length: usize) -> Result<(), Errno> {
    // SAFETY: the caller's.
    unsafe { munmap(addr, length) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_munmap(addr: *mut u8, length: usize) -> Result<(), Errno> {
    by_hand!(munmap, "rdi" = addr, "rsi" = length).map(|_| ())
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_msync(
    addr: *mut u8,
    length: usize,
    flags: MsyncFlags,
) -> Result<(), Errno> {
    msync(addr, length, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_msync(
    addr: *mut u8,
    length: usize,
    flags: MsyncFlags,
) -> Result<(), Errno> {
    by_hand!(msync, "rdi" = addr, "rsi" = length, "rdx" = flags.bits()).map(|_| ())
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_madvise(
    addr: *mut u8,
    length: usize,
    advice: Advice,
) -> Result<(), Errno> {
    // SAFETY: the caller's.
    unsafe { madvise(addr, length, advice) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_madvise(
    addr: *mut u8,
    length: usize,
    advice: Advice,
) -> Result<(), Errno> {
    by_hand!(
        madvise,
        "rdi" = addr,
        "rsi" = length,
        "rdx" = advice.as_raw(),
    )
    .map(|_| ())
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn thin_mremap(
    old_address: *mut u8,
    old_size: usize,
    new_size: usize,
    flags: MremapFlags,
    new_address: *mut u8,
) -> Result<*mut u8, Errno> {
    // SAFETY: the caller's.
    unsafe { mremap(old_address, old_size, new_size, flags, new_address) }
}

#[unsafe(no_mangle)]
pub unsafe extern "Rust" fn asm_mremap(
    old_address: *mut u8,
    old_size: usize,
    new_size: usize,
    flags: MremapFlags,
    new_address: *mut u8,
) -> Result<*mut u8, Errno> {
    by_hand!(
        mremap,
        "rdi" = old_address,
        "rsi" = old_size,
        "rdx" = new_size,
        "r10" = flags.bits(),
        "r8" = new_address,
    )
    .map(ptr::with_exposed_provenance_mut)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_memfd_create(name: &CStr, flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    memfd_create(name, flags)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_memfd_create(name: &CStr, flags: MemfdFlags) -> Result<OwnedFd, Errno> {
    let raw = by_hand!(memfd_create, "rdi" = name.as_ptr(), "rsi" = flags.bits())?;
    // SAFETY: the kernel has just opened it.
    Ok(unsafe { OwnedFd::from_raw(int(raw)) })
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_fcntl_add_seals(fd: BorrowedFd<'_>, seals: Seals) -> Result<(), Errno> {
    fcntl_add_seals(fd, seals)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_fcntl_add_seals(fd: BorrowedFd<'_>, seals: Seals) -> Result<(), Errno> {
    by_hand!(
        fcntl,
        "rdi" = fd.as_raw(),
        "rsi" = libc::F_ADD_SEALS,
        "rdx" = seals.bits(),
    )
    .map(|_| ())
}

#[unsafe(no_mangle)]
pub extern "Rust" fn thin_fcntl_get_seals(fd: BorrowedFd<'_>) -> Result<Seals, Errno> {
    fcntl_get_seals(fd)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn asm_fcntl_get_seals(fd: BorrowedFd<'_>) -> Result<Seals, Errno> {
    by_hand!(fcntl, "rdi" = fd.as_raw(), "rsi" = libc::F_GET_SEALS)
        .map(|bits| Seals::from_bits_retain(int(bits)))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "the kernel's own value is an int"
)]
const fn int(returned: usize) -> i32 {
    returned as i32
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_drop_owned_fd(fd: OwnedFd) {
    drop(fd);
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_mapping_of_file(
    length: usize,
    prot: Prot,
    flags: MapFlags,
    fd: BorrowedFd<'_>,
    offset: u64,
) -> Result<Mapping, MapError> {
    Mapping::of_file(length, prot, flags, fd, offset)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_drop_mapping(mapping: Mapping) {
    drop(mapping);
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_private_anonymous(length: usize) -> Result<PrivateAnonymous, Errno> {
    PrivateAnonymous::new(length)
}

#[unsafe(no_mangle)]
pub extern "Rust" fn counted_sealed_mapping(fd: BorrowedFd<'_>) -> Result<SealedMapping, MapError> {
    SealedMapping::new(fd)
}
