//! The example `copy_file`: what its first lines promise.

#[path = "../examples/copy_file.rs"]
#[expect(dead_code, reason = "its `main` is for the program")]
mod copy_file;

use copy_file::{Copied, PIECE, copy_bytes, copy_file};
use nocopy_copy_file_range::{Errno, Fallback};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// A directory of one test; removed with what is in it.
struct Directory(PathBuf);

impl Directory {
    /// In `base`: `/tmp` and others may be on different file systems.
    fn within(base: &Path) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = base.join(format!("nocopy-copy_file-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("mkdir");
        Self(path)
    }

    fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file in it.
    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.join(name);
        fs::write(&path, content).expect("write");
        path
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = fs::read_dir(&self.0).expect("readdir");
        entries
            .map(|entry| {
                let name = entry.expect("an entry").file_name();
                name.into_string().expect("UTF-8")
            })
            .collect()
    }

    /// Nothing but these: no part is left.
    #[track_caller]
    fn assert_names(&self, names: &[&str]) {
        assert_eq!(
            self.names(),
            names.iter().map(ToString::to_string).collect()
        );
    }

    fn fifo(&self, name: &str) -> PathBuf {
        let path = self.join(name);
        let name = CString::new(path.as_os_str().as_bytes()).expect("a path");
        // SAFETY: the kernel reads the name during the call.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes that do not repeat at a power of two.
fn pattern(length: usize) -> Vec<u8> {
    let row: Vec<u8> = (0..251).collect();
    let mut bytes = row.repeat(length / 251 + 1);
    bytes.truncate(length);
    bytes
}

/// A file on a file system of the kernel's own, on which no path is: every other file is on another one.
fn memfd(content: &[u8]) -> (File, PathBuf) {
    // SAFETY: the kernel reads the name during the call.
    let fd = unsafe { libc::memfd_create(c"nocopy".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the kernel has just opened it for this.
    let file = File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all_at(content, 0).expect("write");
    let path = PathBuf::from(format!("/proc/self/fd/{fd}"));
    (file, path)
}

#[track_caller]
fn assert_holds(path: &Path, content: &[u8]) {
    let found = fs::read(path).expect("read");
    assert!(
        found == content,
        "{} of {} bytes",
        found.len(),
        content.len()
    );
}

/// Within a directory nothing is read and written, and in several calls nothing is lost at their ends.
#[test]
fn a_file_is_copied_by_the_kernel() {
    // The second is another file system where it is there, and is there on most machines.
    let places = [std::env::temp_dir(), PathBuf::from("/dev/shm")];
    let places: Vec<_> = places.iter().filter(|place| place.is_dir()).collect();
    assert!(!places.is_empty(), "no directory for temporary files");
    for from in &places {
        for size in [0, 1, 4097, PIECE + 5] {
            let directory = Directory::within(from);
            let content = pattern(size);
            let source = directory.file("source", &content);
            let copied = copy_file(&source, &directory.join("target")).expect("a copy");
            assert_holds(&directory.join("target"), &content);
            assert_eq!(copied.shared + copied.in_kernel, size as u64, "{copied:?}");
            assert_eq!((copied.by_hand, copied.changed), (0, false));
            directory.assert_names(&["source", "target"]);
            for to in &places {
                let elsewhere = Directory::within(to);
                copy_file(&source, &elsewhere.join("target")).expect("a copy");
                assert_holds(&elsewhere.join("target"), &content);
                elsewhere.assert_names(&["target"]);
            }
        }
    }
}

/// From a file system to another one all is read and written.
#[test]
fn a_file_of_another_file_system_is_copied_by_hand() {
    let directory = Directory::new();
    let content = pattern(300_001);
    let (_file, source) = memfd(&content);
    let copied = copy_file(&source, &directory.join("target")).expect("a copy");
    assert_holds(&directory.join("target"), &content);
    let by_hand = content.len() as u64;
    assert_eq!(
        copied,
        Copied {
            by_hand,
            ..Copied::default()
        }
    );
}

#[test]
fn a_file_of_proc_is_copied_whole() {
    let directory = Directory::new();
    for (number, source) in [
        "/proc/version",
        "/proc/sys/kernel/ostype",
        "/proc/self/maps",
    ]
    .into_iter()
    .enumerate()
    {
        let target = directory.join(&number.to_string());
        let copied = copy_file(Path::new(source), &target).expect("a copy");
        let size = fs::metadata(&target).expect("the copy").len();
        assert!(size > 0, "{source}");
        assert_eq!(copied.by_hand, size, "{source}");
        if !source.ends_with("maps") {
            assert_holds(&target, &fs::read(source).expect("read"));
        }
    }
}

/// Their size is one page, whatever they hold: an end before it is no source that shrinks.
#[test]
fn a_file_of_sys_is_copied_whole() {
    let directory = Directory::new();
    let source = Path::new("/sys/devices/system/cpu/online");
    let content = fs::read(source).expect("sysfs");
    assert!(source.metadata().expect("stat").len() > content.len() as u64);
    copy_file(source, &directory.join("target")).expect("a copy");
    assert_holds(&directory.join("target"), &content);
}

/// It does not wait, and no part remains.
#[test]
fn what_is_no_regular_file_is_refused() {
    let directory = Directory::new();
    let fifo = directory.fifo("fifo");
    for (source, complaint) in [
        (fifo.as_path(), "a FIFO"),
        (Path::new("/dev/zero"), "a device"),
        (directory.0.as_path(), "a directory"),
    ] {
        let error = copy_file(source, &directory.join("target")).expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("the source is {complaint}, not a regular file")
        );
    }
    let source = directory.file("source", b"abc");
    for (target, complaint) in [
        (fifo.as_path(), "a FIFO"),
        (Path::new("/dev/null"), "a device"),
        (directory.0.as_path(), "a directory"),
    ] {
        let error = copy_file(&source, target).expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("the target is {complaint}, not a regular file")
        );
    }
    let none = copy_file(&directory.join("none"), &directory.join("target"));
    assert_eq!(
        none.map_err(|error| error.error.kind()),
        Err(io::ErrorKind::NotFound)
    );
    directory.assert_names(&["fifo", "source"]);
}

#[test]
fn a_target_is_replaced_and_not_written_over() {
    let directory = Directory::new();
    let source = directory.file("source", b"new");
    let target = directory.file("target", b"the old content");
    fs::set_permissions(&target, Permissions::from_mode(0o604)).expect("chmod");
    fs::hard_link(&target, directory.join("other name")).expect("link");
    let reader = File::open(&target).expect("open");
    copy_file(&source, &target).expect("a copy");
    assert_holds(&target, b"new");
    assert_eq!(target.metadata().expect("stat").mode() & 0o7777, 0o604);
    assert_holds(&directory.join("other name"), b"the old content");
    let mut old = [0; 15];
    reader.read_exact_at(&mut old, 0).expect("the old file");
    assert_eq!(&old, b"the old content");
    directory.assert_names(&["other name", "source", "target"]);
}

/// Whatever has the name that a part would have is not written to and not removed.
#[test]
fn a_file_with_the_name_of_a_part_stays() {
    let directory = Directory::new();
    let source = directory.file("source", b"new");
    let names = [0, 1].map(|number| format!(".target.{}.{number}.part", std::process::id()));
    let other = directory.file(&names[0], b"of another program");
    symlink("source", directory.join(&names[1])).expect("symlink");
    copy_file(&source, &directory.join("target")).expect("a copy");
    assert_holds(&other, b"of another program");
    assert_holds(&directory.join("target"), b"new");
    directory.assert_names(&[&names[0], &names[1], "source", "target"]);
}

#[test]
fn a_link_stays_and_its_file_is_replaced() {
    let directory = Directory::new();
    let source = directory.file("source", b"new");
    let target = directory.file("target", b"old");
    let link = directory.join("link");
    symlink("target", &link).expect("symlink");
    copy_file(&source, &link).expect("a copy");
    assert_holds(&target, b"new");
    assert!(link.is_symlink());
    symlink("nothing", directory.join("dangling")).expect("symlink");
    let error = copy_file(&source, &directory.join("dangling")).expect_err("refused");
    assert_eq!(error.to_string(), "the target is a link to nothing");
    directory.assert_names(&["dangling", "link", "source", "target"]);
}

#[test]
fn a_file_is_not_copied_onto_itself() {
    let directory = Directory::new();
    let source = directory.file("source", b"abc");
    fs::hard_link(&source, directory.join("other name")).expect("link");
    symlink("source", directory.join("link")).expect("symlink");
    for name in ["source", "other name", "link"] {
        let error = copy_file(&source, &directory.join(name)).expect_err("refused");
        assert_eq!(error.to_string(), "source and target are the same file");
    }
    assert_holds(&source, b"abc");
    directory.assert_names(&["link", "other name", "source"]);
}

/// In the kernel and by hand, between what the size was and what it is.
#[test]
fn a_source_that_shrinks_is_an_error_and_one_that_grows_is_cut() {
    let directory = Directory::new();
    let source = directory.file("source", &pattern(10_000));
    let named = File::options().read(true).write(true).open(&source);
    let (elsewhere, _path) = memfd(&pattern(10_000));
    for input in [named.expect("open"), elsewhere] {
        let output = |name| File::create_new(directory.join(name)).expect("create");
        let before = input.metadata().expect("fstat");
        input.set_len(12_000).expect("truncate");
        let copied = copy_bytes(&input, &before, &output("grown")).expect("a copy");
        // A clone is of one moment, with all that is there.
        let all = if copied.shared > 0 { 12_000 } else { 10_000 };
        assert_eq!(copied.shared + copied.in_kernel + copied.by_hand, all);
        assert_eq!(copied.changed, copied.shared == 0);
        let bytes = fs::read(directory.join("grown")).expect("read");
        assert!(bytes[..10_000] == pattern(10_000) && bytes.len() as u64 == all);

        let before = input.metadata().expect("fstat");
        input.set_len(7).expect("truncate");
        let copied = copy_bytes(&input, &before, &output("shrunk"));
        if copied.as_ref().is_ok_and(|copied| copied.shared > 0) {
            assert_holds(&directory.join("shrunk"), &pattern(7));
        } else {
            let error = copied.expect_err("it shrank");
            assert_eq!(
                error.to_string(),
                "the source shrank: 7 of 12000 bytes are left"
            );
        }
        for name in ["grown", "shrunk"] {
            fs::remove_file(directory.join(name)).expect("unlink");
        }
    }
}

/// Lets a system call of this thread fail with an errno, where its last argument but one has a value (`None`: in any case). The
/// length is that argument of `copy_file_range`.
fn refuse(number: libc::c_long, length: Option<u32>, errno: i32) {
    #[expect(clippy::cast_possible_truncation, reason = "the codes have 16 bits")]
    fn step(code: u32, jf: u8, k: u32) -> libc::sock_filter {
        libc::sock_filter {
            code: code as u16,
            jt: 0,
            jf,
            k,
        }
    }
    let number = u32::try_from(number).expect("a number");
    let errno = u32::try_from(errno).expect("a number");
    let load = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    // `struct seccomp_data`: the number at 0, the arguments from 16 on, of 8 bytes each; the fifth is the length.
    let mut program = match length {
        None => vec![step(load, 0, 0), step(equal, 1, number)],
        Some(length) => vec![
            step(load, 0, 0),
            step(equal, 3, number),
            step(load, 0, 16 + 4 * 8),
            step(equal, 1, length),
        ],
    };
    program.push(step(answer, 0, libc::SECCOMP_RET_ERRNO | errno));
    program.push(step(answer, 0, libc::SECCOMP_RET_ALLOW));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("short"),
        filter: program.as_mut_ptr(),
    };
    let mode = libc::SECCOMP_MODE_FILTER;
    // SAFETY: the filter and its program are read during the calls.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
            | libc::prctl(libc::PR_SET_SECCOMP, mode, &raw const filter)
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// A copy in a thread whose calls fail so: the filter ends with it.
fn copy_where(
    refusals: &[(libc::c_long, Option<u32>, i32)],
    source: &Path,
    target: &Path,
) -> io::Result<Copied> {
    thread::scope(|scope| {
        let copy = || {
            for (number, length, errno) in refusals {
                refuse(*number, *length, *errno);
            }
            copy_file(source, target)
        };
        let copied = scope.spawn(copy).join().expect("no panic");
        copied.map_err(|failed| failed.error)
    })
}

/// Every errno of `Fallback`, from the first call on and in the middle of the copy: what is to be read and written is, from where the
/// kernel has stopped, and every other errno leaves the old target.
#[test]
fn each_errno_has_the_consequence_that_the_table_says() {
    const REST: u32 = 5;
    let directory = Directory::new();
    let content = pattern(PIECE + REST as usize);
    let large = directory.file("large", &content);
    let small = directory.file("small", &content[..9]);
    let target = directory.file("target", b"old");
    let every = (1..=133).filter(|number| *number != libc::EINTR);
    let by_hand = |number: &i32| {
        let answer = Fallback::after_copy_file_range(Errno::new(*number));
        answer == Fallback::ByOtherMeans
    };
    let final_ones = [libc::EIO, libc::EBADF, libc::ENOSPC];
    // In the middle: the call for the last bytes fails, and the one before it does not.
    let in_the_middle = every.clone().filter(by_hand).chain(final_ones);
    let cases = every
        .map(|number| (number, &small, None, 0, 9))
        .chain(in_the_middle.map(|number| (number, &large, Some(REST), PIECE, REST as usize)));
    let mut met = [0; 2];
    for (number, source, length, in_kernel, rest) in cases {
        // Nothing is shared, so that the copy is made by the other call.
        let no_clone = (libc::SYS_ioctl, None, libc::EOPNOTSUPP);
        let refusals = [no_clone, (libc::SYS_copy_file_range, length, number)];
        let copied = copy_where(&refusals, source, &target);
        met[usize::from(by_hand(&number))] += 1;
        if by_hand(&number) {
            let expected = Copied {
                in_kernel: in_kernel as u64,
                by_hand: rest as u64,
                ..Copied::default()
            };
            assert_eq!(copied.expect("a copy"), expected, "{number}");
            assert_holds(&target, &content[..in_kernel + rest]);
            fs::write(&target, b"old").expect("write");
        } else {
            let error = copied.expect_err("no copy");
            assert_eq!(error.raw_os_error(), Some(number));
            assert_holds(&target, b"old");
        }
    }
    assert_eq!(met, [123 + 3, 9 + 9]);
    directory.assert_names(&["large", "small", "target"]);
}

#[test]
fn a_clone_that_fails_is_a_copy_or_an_error() {
    let directory = Directory::new();
    let content = pattern(5000);
    let source = directory.file("source", &content);
    let target = directory.join("target");
    for number in (1..=133).filter(|number| *number != libc::EINTR) {
        let errno = Errno::new(number);
        let copied = copy_where(&[(libc::SYS_ioctl, None, number)], &source, &target);
        if Fallback::after_ficlone(errno) == Fallback::ByOtherMeans {
            assert_eq!(copied.expect("a copy").in_kernel, 5000, "{errno:?}");
            assert_holds(&target, &content);
            fs::remove_file(&target).expect("unlink");
        } else {
            let error = copied.expect_err("no copy");
            assert_eq!(error.raw_os_error(), Some(number));
        }
        directory.assert_names(&["source"]);
    }
}

/// A clone that fails may have shared a part, of a source that has become shorter: nothing of it stays past the end.
#[test]
fn what_a_failed_clone_has_left_is_not_in_the_copy() {
    let directory = Directory::new();
    let input = File::open(directory.file("source", &pattern(5000))).expect("open");
    let left = directory.file("left", &[b'z'; 9000]);
    let output = File::options().write(true).open(&left).expect("open");
    let copy = || {
        refuse(libc::SYS_ioctl, None, libc::ENOSPC);
        copy_bytes(&input, &input.metadata()?, &output)
    };
    let copied = thread::scope(|scope| scope.spawn(copy).join().expect("no panic"));
    assert_eq!(copied.expect("a copy").in_kernel, 5000);
    assert_holds(&left, &pattern(5000));
}

/// Names the directory in which a child is to copy `source` to `target`, and how.
const CHILD: &str = "NOCOPY_COPY_FILE_CHILD";

/// This test program again, with one test, which finds [`CHILD`].
fn child(test: &str, directory: &Directory) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args([test, "--exact", "--test-threads=1"])
        .env(CHILD, &directory.0)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a child")
}

/// Ends this process by a signal at the first byte past this size of a file.
fn limit_files(size: usize) {
    let limit = |bytes: usize| libc::rlimit {
        rlim_cur: bytes as libc::rlim_t,
        rlim_max: bytes as libc::rlim_t,
    };
    let (core, file) = (limit(0), limit(size));
    // SAFETY: the limits are read during the calls; the signal gets its default action, which is no function.
    unsafe {
        assert_ne!(libc::signal(libc::SIGXFSZ, libc::SIG_DFL), libc::SIG_ERR);
        assert_eq!(libc::setrlimit(libc::RLIMIT_CORE, &raw const core), 0);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const file), 0);
    }
}

#[test]
fn a_copy_killed_in_the_middle_leaves_the_old_target() {
    const MIDDLE: usize = PIECE + 12_345;
    let test = "a_copy_killed_in_the_middle_leaves_the_old_target";
    if let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) {
        refuse(libc::SYS_ioctl, None, libc::EOPNOTSUPP);
        if directory.join("by hand").exists() {
            refuse(libc::SYS_copy_file_range, None, libc::ENOSYS);
        }
        limit_files(MIDDLE);
        let _ = copy_file(&directory.join("source"), &directory.join("target"));
        return;
    }
    let content = pattern(2 * PIECE);
    for by_hand in [false, true] {
        let directory = Directory::new();
        let source = directory.file("source", &content);
        let target = directory.file("target", b"old");
        if by_hand {
            directory.file("by hand", b"");
        }
        let status = child(test, &directory).wait().expect("a child");
        assert_eq!(status.signal(), Some(libc::SIGXFSZ), "{status}");
        assert_holds(&target, b"old");
        // The middle it was: the part has what was copied until then.
        let names = directory.names();
        let part = names.iter().find(|name| name.starts_with(".target."));
        let part = directory.join(part.expect("the part is left"));
        assert_holds(&part, &content[..MIDDLE]);
        // It does not disturb the next copy.
        copy_file(&source, &target).expect("a copy");
        assert_holds(&target, &content);
        assert_holds(&part, &content[..MIDDLE]);
    }
}

/// At whatever moment the kill comes: the target is the old one or the new one.
#[test]
fn a_copy_killed_at_any_moment_leaves_the_old_target_or_the_new_one() {
    let test = "a_copy_killed_at_any_moment_leaves_the_old_target_or_the_new_one";
    if let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) {
        refuse(libc::SYS_ioctl, None, libc::EOPNOTSUPP);
        copy_file(&directory.join("source"), &directory.join("target")).expect("a copy");
        return;
    }
    let content = pattern(PIECE + PIECE / 2);
    let directory = Directory::new();
    directory.file("source", &content);
    let target = directory.join("target");
    let killed = |status: ExitStatus| status.signal() == Some(libc::SIGKILL);
    // Each is killed when its part has grown by another piece of the way; the last is not killed.
    for step in 0..9 {
        fs::write(&target, b"old").expect("write");
        let mut child = child(test, &directory);
        let enough = step * content.len() as u64 / 8;
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child") {
                break status;
            }
            let names = directory.names();
            let own = format!(".target.{}.0.part", child.id());
            let size = names
                .get(&own)
                .map(|part| fs::metadata(directory.join(part)));
            let size = size.and_then(Result::ok).map(|part| part.len());
            if step < 8 && size.is_some_and(|size| size >= enough) {
                child.kill().expect("kill");
            }
            thread::yield_now();
        };
        assert!(killed(status) || status.success(), "{status}");
        assert!(step < 8 || status.success(), "{status}");
        let found = fs::read(&target).expect("read");
        assert!(found == content || (found == b"old" && killed(status)));
    }
}

#[test]
fn no_descriptor_is_left_open() {
    let directory = Directory::new();
    let source = directory.file("source", b"abc");
    let open = || {
        fs::read_dir("/proc/thread-self/fd")
            .expect("procfs")
            .count()
    };
    let counts = thread::spawn(move || {
        // Other tests open files, too, so this thread gets a table of its own.
        // SAFETY: no argument is a pointer.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_FILES) }, 0);
        let before = open();
        for _ in 0..2 {
            copy_file(&source, &source.with_file_name("target")).expect("a copy");
        }
        copy_file(Path::new("/dev/null"), &source).expect_err("refused");
        (before, open())
    });
    let (before, after) = counts.join().expect("no panic");
    assert_eq!(before, after);
}
