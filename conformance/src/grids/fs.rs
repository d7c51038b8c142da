//! The grid of file systems: every file system under every call, and the bytes that arrive when a file changes on the way.

use super::attempt::{Answer, attempt, ignore_sigpipe};
use super::grid::Grid;
use crate::claim::Claim;
use crate::fixtures;
use crate::lab::alias::{self, NEW, OLD, Sharing};
use crate::lab::changed::{self, Carrier, Change};
use crate::lab::open;
use crate::lab::volumes::{ALL, Volume};
use crate::lab::{Lab, io, map_file, nfs, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop, Value};
use nocopy_host::images::{self, CONTENT, HOLE, LENGTH};
use nocopy_mmap::{MapFlags, Mapping, Prot};
use nocopy_sendfile::sendfile;
use nocopy_splice::{SpliceFlags, splice};
use nocopy_transfer::{Ended, Route, Transfer};
use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use syscalls::{Errno, Sysno};
/// Every file system × every call, and every change of a file.
pub const FS: Grid = Grid {
    name: "fs",
    what: "file system",
    rows: ROWS,
    on_disks: true,
    prepare: || {},
    varies: |_| false,
    tidy: Observation::clone,
    disagreements: |_| vec![],
    records: fixtures::FS,
};

macro_rules! rows {
    ($($at:literal $modules:expr,)*) => {
        /// One experiment for each file system.
        pub const ROWS: &[Claim] = &[$(Claim {
            statement: ALL[$at],
            modules: $modules,
            ..Claim::observing(concat!("fs: ", $at), row::<$at>)
        },)*];
    };
}
rows! {
    0 &["loop"],
    1 &["xfs"],
    2 &["btrfs"],
    3 &["f2fs"],
    4 &["vfat", "nls_cp437", "nls_iso8859-1", "nls_ascii", "nls_utf8"],
    5 &["exfat"],
    6 &["ntfs3"],
    7 &[],
    8 &[],
    9 &[],
    10 &["overlay"],
    11 &["squashfs"],
    12 &["erofs"],
    13 &["isofs"],
    14 &["fuse"],
    15 &["fuse"],
    16 &["fuse"],
    17 nfs::MODULES,
}
const _: () = assert!(ROWS.len() == ALL.len(), "every file system has a row");

/// One column: its name, and the function that fills it.
type Column = (&'static str, fn(&Files<'_>) -> Result<Value, Stop>);

/// The first columns, in the order of the grid. After them come the bytes that arrive of a [changed] file, by each carrier, and
/// then the [last](LAST) columns.
const COLUMNS: &[Column] = &[
    ("read", |files| files.read()),
    ("sendfile from", |files| files.send(0, Call::Sendfile)),
    ("splice from", |files| files.send(0, Call::Splice)),
    ("O_DIRECT sendfile", |files| files.send(libc::O_DIRECT, Call::Sendfile)),
    ("O_DIRECT splice", |files| files.send(libc::O_DIRECT, Call::Splice)),
    ("mmap + write", |files| files.write_mapped()),
    ("sendfile shares", |files| files.shares(Call::Sendfile)),
    ("splice shares", |files| files.shares(Call::Splice)),
    ("truncated between calls", |files| files.truncated_between_calls()),
    ("hole", |files| files.hole()),
    ("sendfile to", |files| files.receive(0, Call::Sendfile)),
    ("splice to", |files| files.receive(0, Call::Splice)),
    ("O_DIRECT splice to", |files| files.receive(libc::O_DIRECT, Call::Splice)),
    ("O_APPEND sendfile to", |files| files.receive(libc::O_APPEND, Call::Sendfile)),
    ("O_APPEND splice to", |files| files.receive(libc::O_APPEND, Call::Splice)),
    ("copy_file_range", |files| files.copy()),
    ("3 GiB, cloned", |files| files.cloned()),
    ("read-only sendfile to", |files| files.read_only()),
];

/// The columns that fill up the file system.
const LAST: &[Column] =
    &[("full: sendfile to", |files| files.full(Call::Sendfile)), ("full: splice to", |files| files.full(Call::Splice))];

/// The row of the file system with this index.
fn row<const AT: usize>(lab: &Lab) -> Result<Observation, Stop> {
    ignore_sigpipe()?;
    let volume = Volume::mount(lab, ALL[AT])?;
    let files = Files { volume: &volume, lab };
    let mut seen = Observation::new();
    // If this file system, or its state, does not allow an answer, the cell has the reason.
    let cell = |value: Result<Value, Stop>| match value {
        Err(Stop::Untestable(reason)) => Ok(Value::Text(reason.what)),
        value => value,
    };
    for (name, column) in COLUMNS {
        seen.push(*name, cell(column(&files))?);
    }
    for carrier in Carrier::ALL {
        for (name, change) in changed::CHANGES {
            let value = files.changed(carrier, *change);
            seen.push(carrier.with(name), cell(value)?);
        }
    }
    for (name, column) in LAST {
        seen.push(*name, cell(column(&files))?);
    }
    Ok(seen)
}

/// The call that moves the bytes.
#[derive(Clone, Copy)]
enum Call {
    Sendfile,
    Splice,
}

/// The files of a volume.
struct Files<'volume> {
    volume: &'volume Volume,
    lab: &'volume Lab,
}

/// A cell without an answer.
fn none(what: &str) -> Stop {
    Stop::untestable(Lack::Resource, what, "")
}

impl Files<'_> {
    fn path(&self, name: &str) -> PathBuf {
        self.volume.directory.join(name)
    }

    /// A file full of [`OLD`] bytes, opened with these flags.
    fn content(&self, flags: libc::c_int) -> Result<File, Stop> {
        if !self.volume.is_writable {
            return self.opened(CONTENT, libc::O_RDONLY | flags);
        }
        let path = self.path("source");
        {
            let file = open::open_with(&path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC)?;
            fill(&file)?;
        }
        self.opened("source", libc::O_RDWR | flags)
    }

    /// Opens an existing file with flags that its file system may refuse. The refusal is then the answer.
    fn opened(&self, name: &str, flags: libc::c_int) -> Result<File, Stop> {
        let mut options = File::options();
        options.read(true).write(flags & libc::O_ACCMODE == libc::O_RDWR).custom_flags(flags & !libc::O_ACCMODE);
        options.open(self.path(name)).map_err(|error| {
            let errno = Errno::new(error.raw_os_error().unwrap_or(libc::EIO));
            none(&format!("open: {errno:?}"))
        })
    }

    fn read(&self) -> Result<Value, Stop> {
        let file = self.content(0)?;
        let mut bytes = vec![0; LENGTH];
        let count = io::read(&file, &mut bytes);
        Ok(checked(count, &bytes, OLD))
    }

    fn send(&self, flags: libc::c_int, call: Call) -> Result<Value, Stop> {
        let file = self.content(flags)?;
        let mut pair = Pair::new(call)?;
        let answer = pair.send(&file)?;
        Ok(arrived(answer, &pair.take()?, OLD))
    }

    fn write_mapped(&self) -> Result<Value, Stop> {
        let file = self.content(0)?;
        let mapping = match map_file(&file, LENGTH) {
            Ok(mapping) => mapping,
            Err(errno) => return Ok(Value::Text(format!("mmap: {errno:?}"))),
        };
        let (reader, writer) = std::io::pipe().setup("pipe")?;
        // SAFETY: the mapping lives until the end of this function, and no reference to its bytes exists.
        let count = unsafe { io::write_from(&writer, mapping.as_ptr(), LENGTH) };
        drop(writer);
        let bytes = all_of(&reader)?;
        Ok(arrived(Answer::Returned(count), &bytes, OLD))
    }

    fn shares(&self, call: Call) -> Result<Value, Stop> {
        self.must_be_writable()?;
        let file = self.content(0)?;
        let mut pair = Pair::new(call)?;
        match pair.send(&file)? {
            Answer::Returned(Ok(LENGTH)) => {}
            answer => return Ok(answer.value(None)),
        }
        overwrite(&file, NEW)?;
        Ok(match Sharing::of(&pair.take()?) {
            Ok(sharing) => Value::Text(sharing.to_string()),
            Err(_) => Value::Text("other bytes".into()),
        })
    }

    /// The bytes that arrive of a file that is changed while they are on the way.
    fn changed(&self, carrier: Carrier, change: Change) -> Result<Value, Stop> {
        self.must_be_writable()?;
        let file = self.content(0)?;
        let arrived = changed::observe(&file, carrier, change)?;
        Ok(arrived.unwrap_or_else(|(call, errno)| Value::Text(format!("{call}: {errno:?}"))))
    }

    fn truncated_between_calls(&self) -> Result<Value, Stop> {
        const HALF: usize = LENGTH / 2;
        self.must_be_writable()?;
        let file = self.content(0)?;
        let (reader, writer) = std::io::pipe().setup("pipe")?;
        let mut offset = 0;
        let first = sendfile(&writer, &file, Some(&mut offset), HALF);
        if first != Ok(HALF) {
            return Ok(Answer::Returned(first).value(None));
        }
        file.set_len(0).setup("ftruncate")?;
        let second = sendfile(&writer, &file, Some(&mut offset), HALF);
        drop((reader, writer));
        Ok(Answer::Returned(second).value(None))
    }

    fn hole(&self) -> Result<Value, Stop> {
        let file = if self.volume.is_writable {
            let path = self.path("sparse");
            let file = open::open_with(&path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC)?;
            // A file of hugetlbfs consists of whole huge pages.
            file.set_len(LENGTH as u64).or_else(|_| file.set_len(HUGE_PAGE as u64)).setup("ftruncate")?;
            file
        } else {
            open::open_with(&self.path(HOLE), libc::O_RDONLY)?
        };
        let mut pair = Pair::new(Call::Splice)?;
        let answer = pair.send(&file)?;
        Ok(arrived(answer, &pair.take()?, 0))
    }

    /// An empty file to write to, opened with these flags.
    fn target(&self, flags: libc::c_int) -> Result<File, Stop> {
        self.must_be_writable()?;
        let path = self.path("target");
        drop(open::open_with(&path, libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC)?);
        self.opened("target", libc::O_RDWR | flags)
    }

    fn receive(&self, flags: libc::c_int, call: Call) -> Result<Value, Stop> {
        let target = self.target(flags)?;
        let answer = self.give(&target, call)?;
        self.written(answer)
    }

    /// The result of a call that has written the target, with the target's content.
    fn written(&self, answer: Answer) -> Result<Value, Stop> {
        let target = open::open_with(&self.path("target"), libc::O_RDONLY)?;
        let mut bytes = vec![0; LENGTH];
        let length = io::read_full(&target, &mut bytes).setup("read what was written")?;
        Ok(arrived(answer, &bytes[..length], NEW))
    }

    /// Sends [`NEW`] bytes to a file, from a file in the scratch directory or from a pipe.
    fn give(&self, target: &File, call: Call) -> Result<Answer, Stop> {
        let target = target.try_clone().setup("dup")?;
        match call {
            Call::Sendfile => {
                let source = self.lab.file(&[NEW; LENGTH])?;
                attempt(Sysno::sendfile, move || sendfile(&target, &source, None, LENGTH))
            }
            Call::Splice => {
                let (reader, writer) = std::io::pipe().setup("pipe")?;
                io::write_all(&writer, &[NEW; LENGTH]).setup("fill a pipe")?;
                drop(writer);
                attempt(Sysno::splice, move || splice(&reader, None, &target, None, LENGTH, SpliceFlags::empty()))
            }
        }
    }

    fn copy(&self) -> Result<Value, Stop> {
        let target = self.target(0)?;
        let source = self.content(0)?;
        overwrite(&source, NEW)?;
        let answer = attempt(Sysno::copy_file_range, move || io::copy_file_range(&source, &target, LENGTH))?;
        self.written(answer)
    }

    /// Clones a sparse file of 3 GiB as nocopy-transfer does it, where the file system shares blocks, and counts its calls.
    fn cloned(&self) -> Result<Value, Stop> {
        const LARGE: u64 = 3 << 30;
        let clone =
            |source, target, length| Transfer::by(Route::Clone, source, 0, length, target).setup("begin a clone");
        let (source, target) = (self.content(0)?, self.target(0)?);
        let outcome = clone(&source, &target, u64::MAX)?.run();
        match outcome.ended {
            Ended::SourceEnded if outcome.bytes > 0 => {}
            // By its size, there is nothing in it.
            Ended::SourceEnded => return Ok(Value::Returned(0)),
            Ended::Failed(Sysno::ioctl, errno) => return Ok(Value::Errno(errno.into_raw())),
            ended => return Err(Stop::broken(format!("a clone ended so: {ended:?}"))),
        }
        source.set_len(LARGE).setup("ftruncate")?;
        let target = self.target(0)?;
        let mut transfer = clone(&source, &target, LARGE)?;
        transfer.drive();
        let (steps, taken) = (transfer.steps(), transfer.taken());
        let mut bytes = vec![0; LENGTH];
        io::pread_full(&target, &mut bytes, 0).setup("read the clone")?;
        let length = target.metadata().setup("fstat")?.len();
        if (taken, length) != (LARGE, LARGE) || bytes != [OLD; LENGTH] {
            return Ok(Value::Text(format!("{taken} of {LARGE} bytes")));
        }
        Ok(Value::Text(format!("calls: {steps}")))
    }

    /// Writes to a read-only descriptor. A file system that is mounted read-only allows no other.
    fn read_only(&self) -> Result<Value, Stop> {
        let file = if self.volume.is_writable {
            drop(self.target(0)?);
            self.opened("target", libc::O_RDONLY)?
        } else {
            let asked = File::options().write(true).open(self.path(CONTENT));
            if let Err(error) = asked {
                let errno = Errno::new(error.raw_os_error().unwrap_or(libc::EIO));
                return Ok(Value::Text(format!("open: {errno:?}")));
            }
            return Err(Stop::broken("a file that can only be read was opened for writing"));
        };
        Ok(self.give(&file, Call::Sendfile)?.value(None))
    }

    fn full(&self, call: Call) -> Result<Value, Stop> {
        if !self.volume.is_limited {
            return Err(none("-"));
        }
        let target = self.target(0)?;
        let filler = self.volume.fill_up()?;
        let answer = self.give(&target, call);
        // Data that is only in the page cache may not have a place on the disk.
        let synced = target.sync_all();
        let value = answer.and_then(|answer| match synced {
            Ok(()) => self.written(answer),
            Err(error) => {
                let errno = Errno::new(error.raw_os_error().unwrap_or(libc::EIO));
                let returned = answer.value(None);
                Ok(Value::Text(format!("{returned}, then fsync: {errno:?}")))
            }
        });
        drop(filler);
        value
    }

    fn must_be_writable(&self) -> Result<(), Stop> {
        if self.volume.is_writable { Ok(()) } else { Err(none("-")) }
    }
}

/// The smallest size of a file on hugetlbfs.
const HUGE_PAGE: usize = 2 << 20;

/// Sets every byte of a file to [`OLD`].
fn fill(file: &File) -> Result<(), Stop> {
    match io::write(file, &[OLD; LENGTH]) {
        Ok(LENGTH) => Ok(()),
        // Files of hugetlbfs can only be written through a mapping.
        Err(Errno::EINVAL) => {
            file.set_len(HUGE_PAGE as u64).setup("ftruncate")?;
            overwrite(file, OLD)
        }
        Ok(count) => Err(Stop::broken(format!("{count} bytes were written of {LENGTH}"))),
        Err(errno) => Err(Stop::from_setup("write", errno)),
    }
}

/// Overwrites the first bytes of a file in place.
fn overwrite(file: &File, byte: u8) -> Result<(), Stop> {
    match io::pwrite(file, &[byte; LENGTH], 0) {
        Ok(LENGTH) => Ok(()),
        Err(Errno::EINVAL) => {
            let mapping = Mapping::of_file(HUGE_PAGE, Prot::READ | Prot::WRITE, MapFlags::SHARED, file, 0);
            let mapping = mapping.map_err(|error| none(&format!("mmap: {error}")))?;
            // SAFETY: the mapping is longer and writable, and no reference to it exists.
            unsafe { std::ptr::write_bytes(mapping.as_ptr(), byte, LENGTH) };
            Ok(())
        }
        Ok(count) => Err(Stop::broken(format!("{count} bytes were written of {LENGTH}"))),
        Err(errno) => Err(Stop::from_setup("write", errno)),
    }
}

/// The sink of a file, with its other end.
enum Pair {
    Socket(Option<UnixStream>, UnixStream),
    Pipe(Option<PipeWriter>, PipeReader),
}

impl Pair {
    fn new(call: Call) -> Result<Self, Stop> {
        match call {
            Call::Sendfile => {
                let (near, far) = UnixStream::pair().setup("socketpair")?;
                Ok(Self::Socket(Some(near), far))
            }
            Call::Splice => {
                let (reader, writer) = std::io::pipe().setup("pipe")?;
                Ok(Self::Pipe(Some(writer), reader))
            }
        }
    }

    /// Sends the whole file, and continues after a short count. Returns the number of all bytes, or the error of a call that
    /// fails.
    fn send(&mut self, file: &File) -> Result<Answer, Stop> {
        let file = file.try_clone().setup("dup")?;
        match self {
            Self::Socket(near, _) => {
                let near = near.take().ok_or_else(|| Stop::broken("sent before"))?;
                attempt(Sysno::sendfile, move || {
                    let mut offset = 0;
                    io::until_done(LENGTH, |done| sendfile(&near, &file, Some(&mut offset), LENGTH - done))
                })
            }
            Self::Pipe(writer, _) => {
                let writer = writer.take().ok_or_else(|| Stop::broken("sent before"))?;
                attempt(Sysno::splice, move || {
                    let mut offset = 0;
                    io::until_done(LENGTH, |done| {
                        splice(&file, Some(&mut offset), &writer, None, LENGTH - done, SpliceFlags::empty())
                    })
                })
            }
        }
    }

    fn take(&self) -> Result<Vec<u8>, Stop> {
        match self {
            Self::Socket(_, far) => all_of(far),
            Self::Pipe(_, reader) => all_of(reader),
        }
    }
}

/// The bytes that can be read without waiting.
fn all_of(fd: &impl AsFd) -> Result<Vec<u8>, Stop> {
    let mut bytes = vec![0; sockets::readable(fd)?];
    let length = io::read_full(fd, &mut bytes).setup("read what arrived")?;
    bytes.truncate(length);
    Ok(bytes)
}

/// A count, with the bytes that were read.
fn checked(count: Result<usize, Errno>, bytes: &[u8], expected: u8) -> Value {
    let length = count.unwrap_or(0).min(bytes.len());
    arrived(Answer::Returned(count), &bytes[..length], expected)
}

/// A result, with the bytes that have arrived: their number, and whether they all are `expected`.
fn arrived(answer: Answer, bytes: &[u8], expected: u8) -> Value {
    let value = answer.value(Some(bytes.len() as u64));
    if bytes.iter().all(|byte| *byte == expected) { value } else { Value::Text(format!("{value}, with other bytes")) }
}

const _: () = assert!(images::BYTE == OLD && LENGTH == alias::LENGTH, "one kind of content");
