//! What the wrappers themselves promise; what the kernel does is the conformance suite's subject.

use nocopy_copy_file_range::abi::{FICLONE, FICLONERANGE, FileCloneRange};
use nocopy_copy_file_range::{
    BorrowedFd, CopyFileRangeFlags, Errno, MAX_COUNT, copy_file_range, ficlone, ficlonerange,
    max_count,
};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::mem::{offset_of, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

const NONE: CopyFileRangeFlags = CopyFileRangeFlags::empty();

/// A file of a directory that has no name, with `content`, at position 0.
fn file_in(directory: &Path, content: &[u8]) -> File {
    let path = directory.join(format!(
        "nocopy-copy-file-range-{}-{:?}",
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
    file.rewind().expect("seek");
    file
}

fn file(content: &[u8]) -> File {
    file_in(&std::env::temp_dir(), content)
}

fn content(mut file: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.rewind().expect("seek");
    file.read_to_end(&mut bytes).expect("read");
    bytes
}

#[test]
fn offsets_are_advanced_and_the_positions_stay() {
    let (mut input, mut output) = (file(b"0123456789"), file(b"abcdefghij"));
    input.seek(SeekFrom::Start(1)).expect("seek");
    output.seek(SeekFrom::Start(2)).expect("seek");
    let (mut from, mut to) = (3, 6);
    let copied = copy_file_range(&input, Some(&mut from), &output, Some(&mut to), 2, NONE);
    assert_eq!((copied, from, to), (Ok(2), 5, 8));
    assert_eq!(input.stream_position().expect("tell"), 1);
    assert_eq!(output.stream_position().expect("tell"), 2);
    assert_eq!(content(&output), b"abcdef34ij");
}

#[test]
fn without_an_offset_the_position_of_that_side_moves() {
    let (mut input, mut output) = (file(b"0123456789"), file(b""));
    assert_eq!(copy_file_range(&input, None, &output, None, 4, NONE), Ok(4));
    let mut from = 8;
    let copied = copy_file_range(&input, Some(&mut from), &output, None, 100, NONE);
    assert_eq!((copied, from), (Ok(2), 10));
    let mut to = 0;
    let copied = copy_file_range(&input, None, &output, Some(&mut to), 1, NONE);
    assert_eq!((copied, to), (Ok(1), 1));
    assert_eq!(input.stream_position().expect("tell"), 5);
    assert_eq!(output.stream_position().expect("tell"), 6);
    assert_eq!(content(&output), b"412389");
    (&input).seek(SeekFrom::End(0)).expect("seek");
    assert_eq!(copy_file_range(&input, None, &output, None, 1, NONE), Ok(0));
}

#[test]
fn an_error_is_the_kernels_own_and_leaves_the_offsets() {
    let (input, output) = (file(b"x"), file(b""));
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    let (mut from, mut to) = (u64::MAX, 7);
    for (length, errno) in [(0, Errno::EINVAL), (1, Errno::EOVERFLOW)] {
        let copied = copy_file_range(
            &input,
            Some(&mut from),
            &output,
            Some(&mut to),
            length,
            NONE,
        );
        assert_eq!((copied, from, to), (Err(errno), u64::MAX, 7), "{length}");
    }
    for (fd_in, fd_out) in [
        (never_open, (&output).into()),
        ((&input).into(), never_open),
    ] {
        let copied = copy_file_range(fd_in, None, fd_out, None, 1, NONE);
        assert_eq!(copied, Err(Errno::EBADF));
    }
    assert_eq!(ficlone(never_open, &input), Err(Errno::EBADF));
    assert_eq!(ficlone(&output, never_open), Err(Errno::EBADF));
    for (dest, src) in [
        (never_open, (&input).into()),
        ((&output).into(), never_open),
    ] {
        assert_eq!(ficlonerange(dest, src, 0, 0, 0), Err(Errno::EBADF));
    }
}

#[test]
fn the_length_and_the_flags_arrive_as_they_are() {
    let (input, output) = (file(b"0123456789"), file(b""));
    // Above MAX_COUNT it is the kernel that shortens; with an offset, the sum must fit into 64 bits.
    for length in [MAX_COUNT + 1, usize::MAX] {
        let copied = copy_file_range(&input, Some(&mut 0), &output, Some(&mut 0), length, NONE);
        assert_eq!(copied, Ok(10), "{length:#x}");
    }
    let copied = copy_file_range(
        &input,
        Some(&mut 1),
        &output,
        Some(&mut 0),
        usize::MAX,
        NONE,
    );
    assert_eq!(copied, Err(Errno::EOVERFLOW));
    for bits in [1, 1 << 31, u32::MAX] {
        let flags = CopyFileRangeFlags::from_bits_retain(bits);
        let copied = copy_file_range(&input, Some(&mut 0), &output, Some(&mut 0), 1, flags);
        assert_eq!(copied, Err(Errno::EINVAL), "{flags:?}");
    }
}

/// The source is the last argument in one call and the second in the other: a mistake would clone the wrong way.
#[test]
fn a_clone_knows_its_source_and_its_destination() {
    let directory = std::env::temp_dir();
    let name = directory.join(format!(
        "nocopy-copy-file-range-{}-once",
        std::process::id()
    ));
    std::fs::write(&name, b"abc").expect("write");
    let reads = File::open(&name).expect("open");
    let writes = File::options().write(true).open(&name).expect("open");
    std::fs::remove_file(&name).expect("unlink");
    // With the source that can only be read and the destination that can only be written there is no EBADF.
    let empty = file(b"");
    for clone in [ficlone, ficlonerange_all] {
        assert_ne!(clone(&empty, &reads), Err(Errno::EBADF));
        assert_eq!(clone(&reads, &empty), Err(Errno::EBADF));
        assert_eq!(clone(&empty, &writes), Err(Errno::EBADF));
        assert_ne!(clone(&writes, &empty), Err(Errno::EBADF));
    }
}

fn ficlonerange_all(dest: &File, src: &File) -> Result<(), Errno> {
    ficlonerange(dest, src, 0, 0, 0)
}

/// What shared blocks do, where the user names a directory whose file system has them: `NOCOPY_REFLINK_DIRECTORY=DIR cargo test --
/// --ignored`.
#[test]
#[ignore = "needs NOCOPY_REFLINK_DIRECTORY, a directory on btrfs or XFS"]
fn a_clone_has_the_bytes_of_the_ranges_that_were_asked_for() {
    const UNIT: usize = 64 << 10;
    let directory = std::env::var_os("NOCOPY_REFLINK_DIRECTORY").expect("a directory");
    let file = |content: &[u8]| file_in(Path::new(&directory), content);
    let bytes: Vec<u8> = (0..4)
        .flat_map(|unit| std::iter::repeat_n(b'a' + unit, UNIT))
        .chain(*b"end")
        .collect();
    let unit = |number: usize| &bytes[number * UNIT..][..UNIT];
    let input = file(&bytes);

    let output = file(b"");
    assert_eq!(ficlone(&output, &input), Ok(()));
    assert!(content(&output) == bytes);

    // What is past the end of the source stays.
    let output = file(&vec![b'z'; 6 * UNIT]);
    let short = file(unit(2));
    assert_eq!(ficlone(&output, &short), Ok(()));
    assert!(content(&output) == [unit(2), &vec![b'z'; 5 * UNIT]].concat());

    // Each of the three numbers is another one: from 1, two units, to 3.
    let at = |number: usize| (number * UNIT) as u64;
    let output = file(b"");
    assert_eq!(ficlonerange(&output, &input, at(1), at(2), at(3)), Ok(()));
    assert!(content(&output) == [&vec![0; 3 * UNIT], unit(1), unit(2)].concat());
    // The length 0 is up to the end, also one that is not whole.
    let output = file(b"");
    assert_eq!(ficlonerange(&output, &input, at(3), 0, 0), Ok(()));
    assert!(content(&output) == [unit(3), b"end"].concat());
    for (offset, length, to) in [
        (1, at(1), 0),
        (0, 1, 0),
        (0, at(1), 1),
        (at(4), at(1), 0),
        (0, u64::MAX, 0),
    ] {
        assert_eq!(
            ficlonerange(&output, &input, offset, length, to),
            Err(Errno::EINVAL)
        );
    }
    // The same file, apart and overlapping.
    assert_eq!(ficlonerange(&input, &input, 0, at(1), at(2)), Ok(()));
    assert!(content(&input)[2 * UNIT..][..UNIT] == *unit(0));
    assert_eq!(
        ficlonerange(&input, &input, 0, at(2), at(1)),
        Err(Errno::EINVAL)
    );

    // Here no byte is copied, so that a count of more than one call has can be asked for.
    let huge = file(b"");
    huge.set_len(5 << 30).expect("truncate");
    let copied = copy_file_range(
        &huge,
        Some(&mut 0),
        file(b"").as_fd(),
        Some(&mut 0),
        5 << 30,
        NONE,
    );
    // SAFETY: sysconf takes no pointer.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    assert_eq!(
        copied,
        Ok(max_count(usize::try_from(page).expect("a size")))
    );
}

#[test]
fn the_numbers_are_those_of_libc() {
    #[allow(
        clippy::unnecessary_cast,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the type of a request differs between C libraries"
    )]
    let of_libc = [libc::FICLONE as u32, libc::FICLONERANGE as u32];
    assert_eq!([FICLONE, FICLONERANGE], of_libc);
    macro_rules! same_field {
        ($($field:ident)*) => { $(assert_eq!(
            offset_of!(FileCloneRange, $field),
            offset_of!(libc::file_clone_range, $field),
        );)* };
    }
    assert_eq!(
        size_of::<FileCloneRange>(),
        size_of::<libc::file_clone_range>()
    );
    same_field!(src_fd src_offset src_length dest_offset);
}

#[test]
fn the_most_of_one_call_is_int_max_in_whole_pages() {
    for shift in 12..=16 {
        let page = 1 << shift;
        let most = max_count(page);
        assert_eq!(most % page, 0);
        assert!(
            most <= 0x7fff_ffff && most + page > 0x7fff_ffff,
            "{most:#x}"
        );
    }
    assert_eq!(MAX_COUNT, 0x7fff_f000);
    assert_eq!(max_count(0), 0);
}

#[test]
fn flags_keep_every_bit() {
    let [one, two, both] = [1, 2, 3].map(CopyFileRangeFlags::from_bits_retain);
    assert_eq!(one | two, both);
    assert_eq!(one.union(two), both);
    let mut flags = one;
    flags |= two;
    assert_eq!(flags, both);
    assert_eq!(both.bits(), 3);
    assert!(both.contains(two) && !two.contains(both) && two.contains(NONE));
    assert!(NONE.is_empty() && !one.is_empty());
    assert_eq!(CopyFileRangeFlags::default(), NONE);
    assert_eq!(
        format!("{both:?} {NONE:?}"),
        "CopyFileRangeFlags(0x3) CopyFileRangeFlags()"
    );
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
