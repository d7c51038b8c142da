//! The pieces of a file: they are checked first and then copied, by one route or by the next.

#![forbid(unsafe_code)]

use super::bad::{At, Bad, bad};
use super::commands::{self, Names};
use super::replace::Stamp;
use super::watch::Watch;
use crate::redis::rdb;
use nocopy_host::input::open_regular;
use nocopy_transfer::{Ended, Route, State, Transfer};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use syscalls::{Errno, Sysno};

/// The number of bytes that are copied between two checks for a signal.
const STEP: u64 = 8 << 20;
/// The routes that are tried one after the other, if one is refused.
pub(super) const FALL_BACK: &[Route] =
    &[Route::CopyFileRange, Route::Sendfile, Route::Splice { pipe: 64 << 10 }, Route::ReadWrite { buffer: 64 << 10 }];

/// The state at the end of a file that is written.
#[derive(Default)]
pub(super) struct Tail {
    pub(super) database: u32,
    pub(super) is_line_open: bool,
    pub(super) begins: Vec<(PathBuf, u32)>,
}

impl Tail {
    pub(super) fn start_file(&mut self) {
        self.database = 0;
        self.is_line_open = false;
    }
}

/// A part of a file that is written.
pub(super) enum Piece<'a> {
    Bytes(Vec<u8>),
    /// The beginning of a file.
    Part {
        file: &'a File,
        path: &'a Path,
        length: u64,
    },
}

impl<'a> Piece<'a> {
    pub(super) fn whole(source: &'a Source) -> Self {
        Self::Part { file: &source.file, path: &source.path, length: source.length }
    }
}

/// A file that was checked, and will be read again.
pub(super) struct Source {
    pub(super) path: PathBuf,
    file: File,
    length: u64,
    stamp: Stamp,
    pub(super) database: Option<u32>,
    pub(super) is_line_open: bool,
}

impl Source {
    fn open(path: &Path) -> Result<Self, Bad> {
        let file = open_regular(path).at(path)?;
        let data = file.metadata().at(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            length: data.len(),
            stamp: Stamp::of(&data),
            database: None,
            is_line_open: false,
        })
    }

    pub(super) fn rdb(path: &Path) -> Result<Self, Bad> {
        let source = Self::open(path)?;
        rdb::check(FromOffset { file: &source.file, at: 0 }).map_err(|why| bad(path, why))?;
        Ok(source)
    }

    pub(super) fn commands(path: &Path, names: Names<'_>) -> Result<Self, Bad> {
        let mut source = Self::open(path)?;
        let summary = check_loaded(&source.file, path, false, names)?;
        if let Some(at) = summary.open {
            return Err(bad(path, open_transaction(at, DROPS)));
        }
        source.database = summary.database;
        source.is_line_open = summary.is_line_open;
        Ok(source)
    }
}

pub(super) fn open_transaction(at: u64, then: &str) -> String {
    format!("the transaction (MULTI) at offset {at} has no EXEC, and a server {then}")
}

/// The server's reaction to a transaction that is open at the end of the last file.
pub(super) const DROPS: &str = "drops it with all that follows";

pub(super) fn to_cut(at: u64) -> String {
    let open = open_transaction(at, DROPS);
    format!("{open}: --cut-open-transaction leaves it out")
}

/// Refuses files that changed after they were checked.
pub(super) fn refuse_changed<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Result<(), Bad> {
    for source in sources {
        let now = Stamp::of(&source.file.metadata().at(&source.path)?);
        if now != source.stamp {
            return Err(changed(&source.path));
        }
    }
    Ok(())
}

pub(super) fn changed(path: &Path) -> Bad {
    bad(path, "it was changed while it was read")
}

/// A rename would put a file in place of the link.
pub(super) fn refuse_symlink(path: &Path) -> Result<(), Bad> {
    match fs::symlink_metadata(path) {
        Ok(data) if data.is_symlink() => Err(bad(path, "it is a symbolic link: name the directory of the file itself")),
        _ => Ok(()),
    }
}

/// Reads a file from an offset on, and leaves the file position unchanged.
struct FromOffset<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromOffset<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Reads a file to its end, as a server does that loads it. Only a base may begin with an RDB; its keys are not read.
pub(super) fn check_loaded(
    file: &File,
    path: &Path,
    is_base: bool,
    names: Names<'_>,
) -> Result<commands::Summary, Bad> {
    let commands = |at| commands::check(FromOffset { file, at }, at, names);
    let mut start = [0; 9];
    let count = file.read_at(&mut start, 0).at(path)?;
    if !is_base || rdb::Header::of(&start[..count]).is_none() {
        return commands(0).map_err(|why| bad(path, why));
    }
    let failed = |why: rdb::Bad| bad(path, why);
    let mut ends = rdb::Ends::new(FromOffset { file, at: 0 }).map_err(failed)?;
    let mut nearest: Option<commands::Bad> = None;
    while let Some(end) = ends.find().map_err(failed)? {
        match commands(end.at) {
            Ok(summary) => return Ok(summary),
            Err(why) if end.has_checksum => return Err(bad(path, why)),
            // Without a checksum this may not be the end of the RDB. The error that is reported is the one furthest into the file.
            Err(why) if nearest.as_ref().is_none_or(|other| other.at < why.at) => {
                nearest = Some(why);
            }
            Err(_) => {}
        }
    }
    Err(bad(
        path,
        match nearest {
            Some(why) => format!("after its RDB: {why}"),
            None => "the RDB at its front is damaged or truncated: no mark of the end has the checksum of the bytes before it".to_owned(),
        },
    ))
}

/// Why a copy stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    Complete,
    /// The route does not work with these files.
    Refused(Route, Sysno, Errno),
    SourceEnded,
    Other(Ended),
}

/// Tries one route after the other until one reaches the end. Each continues where the previous one was refused. `carry` takes a
/// route and the number of bytes that are done, and returns how many more it copied.
pub(super) fn fall_back(
    routes: &[Route],
    length: u64,
    mut carry: impl FnMut(Route, u64) -> Result<(u64, Stopped), Bad>,
) -> Result<Stopped, Bad> {
    let mut done = 0;
    let mut last = Stopped::Complete;
    for route in routes {
        let (more, stopped) = carry(*route, done)?;
        done += more;
        last = stopped;
        if !matches!(last, Stopped::Refused(..)) || done == length {
            break;
        }
    }
    Ok(last)
}

/// Copies a part of a file to the end of another by one route. Returns the number of bytes, and why it stopped.
pub(super) fn carry(
    route: Route,
    source: &File,
    start: u64,
    length: u64,
    file: &File,
    watch: &Watch,
) -> Result<(u64, Stopped), Bad> {
    let mut transfer = match Transfer::by(route, source, start, length, file) {
        Ok(transfer) => transfer,
        Err(errno) => return Ok((0, Stopped::Refused(route, Sysno::pipe2, errno))),
    };
    loop {
        watch.look()?;
        match transfer.advance(STEP) {
            State::Budget => {}
            State::Ended => break,
            State::Waits(wait) => {
                if let Err(errno) = transfer.wait(wait) {
                    return Ok((transfer.taken(), Stopped::Refused(route, Sysno::ppoll, errno)));
                }
            }
        }
    }
    let outcome = transfer.outcome();
    let stopped = match outcome.ended {
        Ended::Complete if outcome.shrank_to.is_none() => Stopped::Complete,
        Ended::Complete | Ended::SourceEnded => Stopped::SourceEnded,
        Ended::Failed(call, errno) if is_refusal(errno) => Stopped::Refused(route, call, errno),
        // Some file systems return 0 from copy_file_range instead of an errno.
        Ended::Stuck(call) => Stopped::Refused(route, call, Errno::ENODATA),
        other => Stopped::Other(other),
    };
    Ok((outcome.bytes, stopped))
}

/// Whether the errno means that the call does not work with these files, on this kernel, or for this process: another call may work.
fn is_refusal(errno: Errno) -> bool {
    matches!(
        errno,
        Errno::EXDEV
            | Errno::EOPNOTSUPP
            | Errno::EINVAL
            | Errno::ENOSYS
            | Errno::EPERM
            | Errno::EACCES
            | Errno::EBADF
            | Errno::ENODEV
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Like a route that is refused after it has copied a part.
    #[test]
    fn the_next_route_goes_on_where_one_was_refused() {
        let source: Vec<u8> = (0..100).collect();
        for parts in [[0, 0, 0], [10, 0, 0], [10, 20, 0], [10, 20, 30], [100, 0, 0]] {
            let mut got = Vec::new();
            let mut parts = parts.into_iter();
            let ended = fall_back(FALL_BACK, 100, |route, done| {
                let done = usize::try_from(done).expect("small");
                let refused = Stopped::Refused(route, Sysno::sendfile, Errno::EXDEV);
                let (part, stopped) = match parts.next() {
                    Some(part) => (part, refused),
                    None => (100 - done, Stopped::Complete),
                };
                got.extend_from_slice(&source[done..done + part]);
                Ok((part as u64, stopped))
            });
            assert!(got == source, "{got:?}");
            assert!(ended.is_ok());
        }
        let always = |route, _| Ok((0, Stopped::Refused(route, Sysno::sendfile, Errno::EXDEV)));
        let last = Stopped::Refused(FALL_BACK[3], Sysno::sendfile, Errno::EXDEV);
        assert_eq!(fall_back(FALL_BACK, 1, always).expect("no other"), last);
        let mut asked = 0;
        let full = fall_back(FALL_BACK, 1, |_, _| {
            asked += 1;
            Ok((0, Stopped::Other(Ended::Failed(Sysno::sendfile, Errno::ENOSPC))))
        });
        assert!(matches!(full, Ok(Stopped::Other(_))) && asked == 1);
    }
}
