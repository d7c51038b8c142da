//! The pieces of a file: they are checked first and then copied, by one route or by the next.

#![forbid(unsafe_code)]

use super::bad::{At, Bad, bad};
use super::commands::{self, Names};
use super::replace::Stamp;
use super::watch::Watch;
use crate::redis::rdb;
use nocopy_host::input::open_regular;
use nocopy_transfer::{Error, Outcome, Request, Route, Stability, State, Transfer};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use syscalls::Sysno;

/// The number of bytes that are copied between two checks for a signal.
const STEP: u64 = 8 << 20;
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

/// Copies a part of a file to the end of another: by one route, or by the best one and by others where it is refused.
pub(super) fn copy(
    route: Option<Route>,
    source: &File,
    length: u64,
    file: &File,
    watch: &Watch,
) -> Result<Outcome, Bad> {
    let begun = match route {
        Some(route) => Transfer::by(route, source, 0, length, file).map_err(|errno| Error::Call(Sysno::pipe2, errno)),
        None => Request::new(Stability::Snapshot).range(0, length).look_back().begin(source, file),
    };
    let mut transfer = begun.map_err(|error| bad(Path::new("the copy"), error))?;
    loop {
        watch.look()?;
        match transfer.advance(STEP) {
            State::Budget => {}
            State::Ended => return Ok(transfer.outcome()),
            State::Waits(wait) => transfer.wait(wait).map_err(|errno| bad(Path::new("the copy"), errno))?,
        }
    }
}
