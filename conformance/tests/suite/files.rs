//! Files of every file system that this machine lets the user write to: each is a source and a target, whatever the other one
//! is on.

use conformance::lab::filesystems::{Place, find_scratch, is_on_disk, places};
use conformance::lab::pattern;
use conformance::lab::unnamed::unnamed_file;
use nocopy_sendfile::sendfile;
use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, splice};
use rstest::rstest;
use std::fs::File;
use std::io::{Read, Seek, Write};

/// Some pages, and a part of one.
const SIZE: usize = (1 << 20) + 1;

#[derive(Clone, Copy, Debug)]
enum Route {
    Sendfile,
    Splice,
}

impl Route {
    /// Sends the whole file and returns how many bytes that were.
    fn send(self, source: &File, target: &File) -> usize {
        let mut sent = 0;
        match self {
            Self::Sendfile => {
                while let count @ 1.. = sendfile(target, source, None, SIZE).expect("sendfile") {
                    sent += count;
                }
            }
            Self::Splice => {
                let flags = SpliceFlags::NONBLOCK;
                let pipe = pipe2(PipeFlags::CLOEXEC).expect("pipe");
                while let count @ 1.. =
                    splice(source, None, &pipe.write, None, SIZE, flags).expect("splice in")
                {
                    let out = splice(&pipe.read, None, target, None, count, flags);
                    assert_eq!(out, Ok(count), "a file takes all at once");
                    sent += count;
                }
            }
        }
        sent
    }
}

#[rstest]
fn every_file_system_is_a_source_and_a_target(
    #[values(Route::Sendfile, Route::Splice)] route: Route,
) {
    let (scratch, passed_over) = find_scratch(None);
    let scratch = scratch.unwrap_or_else(|| panic!("no directory for files: {passed_over:?}"));
    let places = places(&scratch);
    assert!(!places.is_empty(), "the scratch directory is one");
    let content = pattern(SIZE);
    let file = |place: &Place| unnamed_file(&place.directory).expect("a file");
    for from in &places {
        let mut source = file(from);
        source.write_all(&content).expect("write");
        for cold in [false, true] {
            // What is on a disk is read from there the second time.
            if cold && !is_on_disk(&from.filesystem) {
                continue;
            }
            for to in &places {
                if cold {
                    forget_cached(&source);
                }
                source.rewind().expect("lseek");
                let mut target = file(to);
                let sent = route.send(&source, &target);
                assert_eq!(sent, SIZE, "{} to {}", from.filesystem, to.filesystem);
                let mut arrived = Vec::new();
                target.rewind().expect("lseek");
                target.read_to_end(&mut arrived).expect("read");
                assert!(
                    arrived == content,
                    "other bytes, {} to {}",
                    from.filesystem,
                    to.filesystem
                );
            }
        }
    }
    let names: Vec<&str> = places
        .iter()
        .map(|place| place.filesystem.as_str())
        .collect();
    println!("{route:?} among {}", names.join(", "));
}

/// Writes the file back and asks the kernel to forget its pages. It may keep them: then the transfer is as before.
fn forget_cached(file: &File) {
    use std::os::fd::AsRawFd;
    file.sync_data().expect("fdatasync");
    // SAFETY: posix_fadvise takes no pointer.
    let done = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    assert_eq!(done, 0, "posix_fadvise");
}
