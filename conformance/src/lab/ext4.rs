//! A small ext4 for one experiment, with blocks smaller than a page: in memory, on a loop device.

use crate::interpose::record::aside;
use crate::kernel::to_have;
use crate::lab::open::sealed_memfd;
use crate::lab::{io, loops, mounts};
use crate::verdict::{Lack, Setup, Stop};
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use syscalls::Errno;

/// A block, in bytes.
pub const BLOCK: usize = 1024;
/// The number of blocks.
const BLOCKS: u16 = 256;
/// The number of inodes. The first ten belong to the file system.
const INODES: u16 = 16;
const RESERVED_INODES: u16 = 10;
/// Where the tables are. Each takes one block, except the inodes, which take two. The root directory is the last used block.
const SUPERBLOCK: u16 = 1;
const GROUP: u16 = 2;
const BLOCK_BITMAP: u16 = 3;
const INODE_BITMAP: u16 = 4;
const INODE_TABLE: u16 = 5;
const ROOT: u16 = 7;
/// The number of bits in a bitmap, which fills a block.
const BITS: u16 = 8192;

/// Mounts such a file system, empty, with these options. The mount and its device end with the last descriptor.
pub fn mount(options: &[&CStr]) -> Result<OwnedFd, Stop> {
    aside(|| {
        let image = File::from(sealed_memfd(0)?);
        io::pwrite_all(&image, &formatted(), 0).setup("write the image")?;
        let (_device, path) = loops::device_over(&image)?;
        let mut all: Vec<(&CStr, Option<&CStr>)> = vec![(c"source", Some(&path))];
        all.extend(options.iter().map(|option| (*option, None)));
        mounts::mounted(c"ext4", &all, 0).map_err(|errno| match errno {
            Errno::EPERM => Stop::untestable(
                Lack::Privilege,
                "no ext4 can be mounted here: EPERM",
                "run as root, outside of user namespaces",
            ),
            Errno::ENODEV => {
                Stop::untestable(Lack::Device, "the kernel has no ext4", to_have("CONFIG_EXT4_FS", "ext4"))
            }
            errno => Stop::from_setup("mount an ext4", errno),
        })
    })
}

/// The bytes of an empty file system, as Documentation/filesystems/ext4 describes them: one group, no journal, files by extents.
fn formatted() -> Vec<u8> {
    const FIRST_FREE: u16 = ROOT + 1;
    let mut image = vec![0; usize::from(BLOCKS) * BLOCK];
    let mut put = |block: u16, offset: usize, bytes: &[u8]| {
        let at = usize::from(block) * BLOCK + offset;
        image[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let free_blocks = BLOCKS - FIRST_FREE;
    let free_inodes = INODES - RESERVED_INODES;
    let long = |number: u16| u32::from(number).to_le_bytes();
    let short = u16::to_le_bytes;
    for (offset, number) in [
        (0, INODES),
        (4, BLOCKS),
        (12, free_blocks),
        (16, free_inodes),
        (20, SUPERBLOCK),          // s_first_data_block
        (32, BITS),                // s_blocks_per_group
        (36, BITS),                // s_clusters_per_group
        (40, INODES),              // s_inodes_per_group
        (76, 1),                   // s_rev_level
        (84, RESERVED_INODES + 1), // s_first_ino
        (96, 0x42),                // s_feature_incompat: types in directories, extents
    ] {
        put(SUPERBLOCK, offset, &long(number));
    }
    for (offset, number) in [
        (54, u16::MAX), // s_max_mnt_count
        (56, 0xef53),   // s_magic
        (58, 1),        // s_state: clean
        (60, 1),        // s_errors: go on
        (88, 128),      // s_inode_size
    ] {
        put(SUPERBLOCK, offset, &short(number));
    }
    for (offset, number) in [(0, BLOCK_BITMAP), (4, INODE_BITMAP), (8, INODE_TABLE)] {
        put(GROUP, offset, &long(number));
    }
    for (offset, number) in [(12, free_blocks), (14, free_inodes), (16, 1)] {
        put(GROUP, offset, &short(number));
    }
    // The first bit stands for the first block after the boot block, and for the first inode.
    put(BLOCK_BITMAP, 0, &bitmap(FIRST_FREE - 1, BLOCKS - 1));
    put(INODE_BITMAP, 0, &bitmap(RESERVED_INODES, INODES));
    // Inode 2: a directory of one block, with two links, found by the first of the block numbers.
    for (offset, number) in [(0, 0o40755), (4, 1024), (26, 2), (28, 2), (40, ROOT)] {
        put(INODE_TABLE, 128 + offset, &short(number));
    }
    put(ROOT, 0, b"\x02\0\0\0\x0c\0\x01\x02.\0\0\0");
    put(ROOT, 12, b"\x02\0\0\0\xf4\x03\x02\x02..");
    image
}

/// A bitmap whose first `used` of `all` bits are set. The bits after the first `all` are set as well.
fn bitmap(used: u16, all: u16) -> Vec<u8> {
    let mut bits = vec![0; BLOCK];
    for bit in (0..used).chain(all..BITS) {
        bits[usize::from(bit / 8)] |= 1 << (bit % 8);
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_free_as_the_superblock_and_the_group_say() {
        let image = formatted();
        let block = |number: u16| &image[usize::from(number) * BLOCK..][..BLOCK];
        let free = |number| block(number).iter().map(|byte| byte.count_zeros()).sum::<u32>();
        let short = |number, offset| {
            let bytes: [u8; 2] = block(number)[offset..offset + 2].try_into().expect("two");
            u32::from(u16::from_le_bytes(bytes))
        };
        for (bitmap, in_superblock, in_group) in [(BLOCK_BITMAP, 12, 12), (INODE_BITMAP, 16, 14)] {
            assert_eq!(free(bitmap), short(SUPERBLOCK, in_superblock));
            assert_eq!(free(bitmap), short(GROUP, in_group));
        }
    }

    #[test]
    fn the_magic_number_is_where_it_is_looked_for() {
        assert_eq!(formatted()[BLOCK + 56..][..2], [0x53, 0xef]);
    }
}
