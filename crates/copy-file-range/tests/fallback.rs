//! The table of `Fallback`: each errno by its number, and each that a program without privileges can get is got from the kernel, with
//! what reading and writing do then.

use nocopy_copy_file_range::{
    BorrowedFd, CopyFileRangeFlags, Errno, Fallback, MAX_COUNT, copy_file_range,
};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::PathBuf;

const NONE: CopyFileRangeFlags = CopyFileRangeFlags::empty();

/// A path that no other test has, in the directory for temporary files.
fn path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("nocopy-fallback-{}-{name}", std::process::id()))
}

/// A file that has no name, with `content`, at position 0.
fn file(name: &str, content: &[u8]) -> File {
    let path = path(name);
    std::fs::write(&path, content).expect("write");
    let file = File::options().read(true).write(true).open(&path);
    std::fs::remove_file(&path).expect("unlink");
    file.expect("open")
}

fn memfd(content: &[u8]) -> File {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the kernel reads the name during the call.
    let fd = unsafe { libc::memfd_create(c"nocopy".as_ptr(), flags) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel has just opened it for this.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all_at(content, 0).expect("write");
    file
}

/// The errno of a copy between the file positions, and what `Fallback` says to it.
fn refused(input: &File, output: &File) -> (Errno, Fallback) {
    let errno = copy_file_range(input, None, output, None, 10, NONE).expect_err("it is refused");
    (errno, Fallback::after_copy_file_range(errno))
}

/// The bytes, or the errno of the call that refuses: what a program does by other means.
fn by_hand(mut input: &File, mut output: &File) -> Result<Vec<u8>, Errno> {
    let errno = |error: io::Error| Errno::new(error.raw_os_error().expect("of the kernel"));
    let mut bytes = vec![0; 10];
    let count = input.read(&mut bytes).map_err(errno)?;
    bytes.truncate(count);
    output.write_all(&bytes).map_err(errno)?;
    Ok(bytes)
}

#[test]
fn two_file_systems_are_for_other_means() {
    let (input, output) = (file("exdev", b"abc"), memfd(b""));
    assert_eq!(
        refused(&input, &output),
        (Errno::EXDEV, Fallback::ByOtherMeans)
    );
    assert_eq!(by_hand(&input, &output), Ok(b"abc".to_vec()));
}

#[test]
fn pipes_and_devices_are_for_other_means() {
    let (reader, mut writer) = io::pipe().expect("pipe");
    writer.write_all(b"abc").expect("write");
    let (reader, writer) = (
        File::from(OwnedFd::from(reader)),
        File::from(OwnedFd::from(writer)),
    );
    let (input, output) = (file("pipe-in", b"def"), file("pipe-out", b""));
    let expected = (Errno::EINVAL, Fallback::ByOtherMeans);
    assert_eq!(refused(&reader, &output), expected);
    assert_eq!(by_hand(&reader, &output), Ok(b"abc".to_vec()));
    assert_eq!(refused(&input, &writer), expected);
    assert_eq!(by_hand(&input, &writer), Ok(b"def".to_vec()));
    let zero = File::open("/dev/zero").expect("open");
    assert_eq!(refused(&zero, &output), expected);
    assert_eq!(by_hand(&zero, &output), Ok(vec![0; 10]));
}

/// `write` refuses a sealed file too, by the errno that is the truth.
#[test]
fn a_sealed_target_is_for_write_to_refuse() {
    let (input, output) = (memfd(b"abc"), memfd(b""));
    // SAFETY: F_ADD_SEALS takes no pointer.
    let sealed = unsafe { libc::fcntl(output.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE) };
    assert_eq!(sealed, 0);
    assert_eq!(
        refused(&input, &output),
        (Errno::EPERM, Fallback::ByOtherMeans)
    );
    assert_eq!(by_hand(&input, &output), Err(Errno::EPERM));
}

/// Why EBADF is not as the others: where the bytes are put is not where they were asked for.
#[test]
fn a_target_that_appends_takes_the_bytes_at_its_end() {
    let name = path("append");
    std::fs::write(&name, b"target").expect("write");
    let output = File::options().read(true).append(true).open(&name);
    std::fs::remove_file(&name).expect("unlink");
    let (input, output) = (file("append-in", b"abc"), output.expect("open"));
    let copied = copy_file_range(&input, Some(&mut 0), &output, Some(&mut 0), 3, NONE);
    assert_eq!(copied, Err(Errno::EBADF));
    assert_eq!(
        Fallback::after_copy_file_range(Errno::EBADF),
        Fallback::ByAppending
    );
    output.write_all_at(b"abc", 0).expect("pwrite");
    let mut content = [0; 9];
    output.read_exact_at(&mut content, 0).expect("read");
    assert_eq!(&content, b"targetabc");
}

#[test]
fn a_descriptor_that_is_not_for_this_is_refused_by_hand_too() {
    let (input, output) = (file("ebadf-in", b"abc"), file("ebadf-out", b""));
    let reopened = |file: &File, write: bool, flags| {
        let link = format!("/proc/self/fd/{}", file.as_raw_fd());
        let mut options = File::options();
        let options = options.read(!write).write(write).custom_flags(flags);
        options.open(link).expect("open")
    };
    for (input, output) in [
        (&reopened(&input, true, 0), &output),
        (&reopened(&input, false, 0), &reopened(&output, false, 0)),
        (&reopened(&input, false, libc::O_PATH), &output),
        (
            &reopened(&input, false, 0),
            &reopened(&output, false, libc::O_PATH),
        ),
    ] {
        let expected = (Errno::EBADF, Fallback::ByAppending);
        assert_eq!(refused(input, output), expected);
        assert_eq!(by_hand(input, output), Err(Errno::EBADF));
    }
}

#[test]
fn a_directory_is_refused_by_hand_too() {
    let (input, output) = (
        File::open(std::env::temp_dir()).expect("open"),
        file("directory", b""),
    );
    assert_eq!(
        refused(&input, &output),
        (Errno::EISDIR, Fallback::NotAtAll)
    );
    assert_eq!(by_hand(&input, &output), Err(Errno::EISDIR));
}

#[test]
fn the_largest_file_is_refused_by_hand_too() {
    const LAST: u64 = i64::MAX.cast_unsigned();
    let (input, output) = (file("large-in", b"abc"), file("large-out", b""));
    let copied = copy_file_range(&input, None, &output, Some(&mut { LAST }), 1, NONE);
    assert_eq!(copied, Err(Errno::EFBIG));
    assert_eq!(
        Fallback::after_copy_file_range(Errno::EFBIG),
        Fallback::NotAtAll
    );
    assert!(output.write_all_at(b"a", LAST).is_err());
}

/// A length that is too large for the place is no property of the files: a smaller one, and `read`, succeed.
#[test]
fn a_sum_above_64_bits_is_for_other_means() {
    let (input, output) = (file("sum-in", b"abc"), file("sum-out", b""));
    let copy = |len| copy_file_range(&input, Some(&mut 1), &output, Some(&mut 0), len, NONE);
    assert_eq!(copy(usize::MAX), Err(Errno::EOVERFLOW));
    assert_eq!(
        Fallback::after_copy_file_range(Errno::EOVERFLOW),
        Fallback::ByOtherMeans
    );
    assert_eq!(copy(MAX_COUNT), Ok(2));
    let most = i64::MAX.cast_unsigned();
    let copied = copy_file_range(&input, Some(&mut { most }), &output, None, MAX_COUNT, NONE);
    assert_eq!(copied, Ok(0), "no offset that is valid overflows");
}

#[test]
fn after_zero_reading_tells() {
    let input = File::open("/proc/version").expect("open");
    let output = File::options().write(true).open("/proc/self/comm");
    let output = output.expect("open");
    assert_eq!(
        copy_file_range(&input, Some(&mut 0), &output, None, 100, NONE),
        Ok(0)
    );
    assert_eq!(by_hand(&input, &memfd(b"")).expect("read").len(), 10);
    let (input, output) = (file("end-in", b""), file("end-out", b""));
    assert_eq!(
        copy_file_range(&input, None, &output, None, 100, NONE),
        Ok(0)
    );
    assert_eq!(by_hand(&input, &output), Ok(vec![]));
}

/// What cannot be made here is what the manual says of it.
#[test]
fn every_errno_has_its_answer() {
    let answers = |after: fn(Errno) -> Fallback, answer| {
        let every = (1..=133).map(Errno::new);
        let mut numbers: Vec<_> = every
            .filter(|errno| after(*errno) == answer)
            .map(Errno::into_raw)
            .collect();
        numbers.sort_unstable();
        numbers
    };
    let copied = |answer| answers(Fallback::after_copy_file_range, answer);
    assert_eq!(copied(Fallback::Again), [libc::EINTR]);
    assert_eq!(copied(Fallback::ByAppending), [libc::EBADF]);
    let mut others = [
        libc::EPERM,
        libc::ENOENT,
        libc::EACCES,
        libc::EXDEV,
        libc::EINVAL,
        libc::ETXTBSY,
        libc::ENOSYS,
        libc::EOVERFLOW,
        libc::EOPNOTSUPP,
    ];
    others.sort_unstable();
    assert_eq!(copied(Fallback::ByOtherMeans), others);

    let cloned = |answer| answers(Fallback::after_ficlone, answer);
    assert_eq!(cloned(Fallback::Again), [libc::EINTR]);
    assert_eq!(cloned(Fallback::ByAppending), [libc::EBADF]);
    let mut others = [&others[..], &[libc::ENOTTY, libc::ENOSPC]].concat();
    others.sort_unstable();
    assert_eq!(cloned(Fallback::ByOtherMeans), others);
}

/// It is for statics as well.
#[test]
fn the_answer_is_a_constant() {
    const ANSWER: Fallback = Fallback::after_copy_file_range(Errno::EXDEV);
    assert_eq!(ANSWER, Fallback::ByOtherMeans);
    // SAFETY: -1 was never open.
    let never_open = unsafe { BorrowedFd::borrow_raw(-1) };
    let errno = copy_file_range(never_open, None, never_open, None, 1, NONE);
    assert_eq!(errno, Err(Errno::EBADF), "the kernel has the call");
}
