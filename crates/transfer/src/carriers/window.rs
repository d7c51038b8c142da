//! A part of the source that is mapped.

#![forbid(unsafe_code)]

use super::step::{Halt, Left, Side};
use nocopy_mmap::{MapError, MapFlags, Mapping, Prot};
use std::os::fd::BorrowedFd;
use syscalls::{Errno, Sysno};

/// The alignment of a mapping's offset, for every page size of Linux.
const ALIGNMENT: u64 = 64 << 10;

/// A part of the source that is mapped, readable and private, as in the source document.
#[derive(Debug)]
pub(super) struct Window {
    /// The largest size of one mapping.
    size: usize,
    /// The offset of the mapping, and the mapping.
    mapped: Option<(u64, Mapping)>,
}

impl Window {
    pub(super) const fn new(size: usize) -> Self {
        Self { size, mapped: None }
    }

    /// The address and length of the rest of the range in the mapping. The memory need not be readable: the source may have become
    /// shorter.
    pub(super) fn at(
        &mut self,
        source: BorrowedFd<'_>,
        left: Left,
    ) -> Result<(*const u8, usize), Halt> {
        // A source without offsets cannot be mapped.
        let offset = left
            .offset
            .ok_or(Halt::Call(Sysno::mmap, Errno::ENODEV, Side::Source))?;
        if self.inside(offset).is_none() {
            self.map(source, offset, left.length)?;
        }
        let (address, length) =
            self.inside(offset)
                .ok_or(Halt::Call(Sysno::mmap, Errno::EINVAL, Side::Source))?;
        Ok((address, length.min(left.length)))
    }

    fn inside(&self, offset: u64) -> Option<(*const u8, usize)> {
        let (start, mapping) = self.mapped.as_ref()?;
        let skipped = usize::try_from(offset.checked_sub(*start)?).ok()?;
        let length = mapping
            .len()
            .checked_sub(skipped)
            .filter(|rest| *rest > 0)?;
        Some((mapping.as_ptr().wrapping_add(skipped), length))
    }

    fn map(&mut self, source: BorrowedFd<'_>, offset: u64, length: usize) -> Result<(), Halt> {
        self.mapped = None;
        let start = offset / ALIGNMENT * ALIGNMENT;
        // Less than the alignment.
        let skipped = usize::try_from(offset - start).unwrap_or(0);
        let length = skipped.saturating_add(length.min(self.size.max(1)));
        let mapping = Mapping::of_file(length, Prot::READ, MapFlags::PRIVATE, source, start);
        self.mapped = match mapping {
            Ok(mapping) => Some((start, mapping)),
            Err(MapError::Kernel(errno)) => {
                return Err(Halt::Call(Sysno::mmap, errno, Side::Source));
            }
            // Any other failed check (an empty or anonymous mapping, seals) is EINVAL in the kernel.
            Err(_) => return Err(Halt::Call(Sysno::mmap, Errno::EINVAL, Side::Source)),
        };
        Ok(())
    }

    /// Unmaps it: nothing is read through it any more.
    pub(super) fn close(&mut self) {
        self.mapped = None;
    }
}
