//! The grid of descriptors: every kind of descriptor in every place of every call.

use super::attempt::{Answer, attempt, ignore_sigpipe};
use super::grid::Grid;
use crate::claim::Claim;
use crate::fixtures;
use crate::lab::fds::{Descriptor, Kind, for_each_kind};
use crate::lab::sockets::KTLS_MODULES;
use crate::lab::{Lab, alias, io, map_file, sockets};
use crate::verdict::{Observation, Setup, Stop, Value};
use nocopy_msg_zerocopy::enable;
use nocopy_sendfile::sendfile;
use nocopy_splice::{IoVec, IoVecMut, SpliceFlags, splice, tee, vmsplice_from_pipe, vmsplice_to_pipe};
use std::io::PipeReader;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use syscalls::{Errno, Sysno};
/// Every kind of descriptor × every call.
pub const FDS: Grid = Grid {
    name: "fds",
    what: "descriptor",
    rows: ROWS,
    on_disks: false,
    prepare: || {},
    varies: |_| false,
    tidy: Observation::clone,
    disagreements: |_| vec![],
    records: fixtures::FDS,
};

/// A use of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it, and `name` says it to the user")]
pub enum Column {
    Read,
    Write,
    SendfileFrom,
    SendfileTo,
    SpliceFrom,
    SpliceTo,
    TeeFrom,
    TeeTo,
    Vmsplice,
    Map,
    WriteMapped,
    CopyFrom,
    CopyTo,
    SoZerocopy,
}

/// Every column, in the order of the grid.
pub const COLUMNS: &[Column] = &[
    Column::Read,
    Column::Write,
    Column::SendfileFrom,
    Column::SendfileTo,
    Column::SpliceFrom,
    Column::SpliceTo,
    Column::TeeFrom,
    Column::TeeTo,
    Column::Vmsplice,
    Column::Map,
    Column::WriteMapped,
    Column::CopyFrom,
    Column::CopyTo,
    Column::SoZerocopy,
];

impl Column {
    /// The name that is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::SendfileFrom => "sendfile from",
            Self::SendfileTo => "sendfile to",
            Self::SpliceFrom => "splice from",
            Self::SpliceTo => "splice to",
            Self::TeeFrom => "tee from",
            Self::TeeTo => "tee to",
            Self::Vmsplice => "vmsplice",
            Self::Map => "mmap",
            Self::WriteMapped => "write mapped",
            Self::CopyFrom => "copy_file_range from",
            Self::CopyTo => "copy_file_range to",
            Self::SoZerocopy => "SO_ZEROCOPY",
        }
    }

    /// The system call that is made.
    pub const fn call(self) -> Sysno {
        match self {
            Self::Read => Sysno::read,
            Self::Write | Self::WriteMapped => Sysno::write,
            Self::SendfileFrom | Self::SendfileTo => Sysno::sendfile,
            Self::SpliceFrom | Self::SpliceTo => Sysno::splice,
            Self::TeeFrom | Self::TeeTo => Sysno::tee,
            Self::Vmsplice => Sysno::vmsplice,
            Self::Map => Sysno::mmap,
            Self::CopyFrom | Self::CopyTo => Sysno::copy_file_range,
            Self::SoZerocopy => Sysno::setsockopt,
        }
    }
}

macro_rules! rows {
    ($($kind:ident $name:literal,)*) => {
        /// One experiment for each kind.
        pub const ROWS: &[Claim] = &[$(Claim {
            statement: $name,
            modules: modules(Kind::$kind),
            ..Claim::observing(concat!("fds: ", $name), row::<{ Kind::$kind as usize }>)
        },)*];
    };
}
for_each_kind!(rows);

/// The modules that a kind needs, unless they are built in.
const fn modules(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::TlsSender | Kind::TlsReceiver => KTLS_MODULES,
        Kind::VsockSocket => &["vsock_loopback"],
        Kind::BlockDevice => &["loop"],
        Kind::DevFuse => &["fuse"],
        Kind::PacketSocket => &["af_packet"],
        Kind::AlgSocket => &["algif_hash", "sha256_generic"],
        _ => &[],
    }
}

/// The row of the kind with this index.
fn row<const KIND: usize>(lab: &Lab) -> Result<Observation, Stop> {
    let kind = crate::lab::fds::ALL[KIND];
    ignore_sigpipe()?;
    let mut seen = Observation::new();
    for column in COLUMNS {
        let value = cell(lab, kind, *column)?;
        seen.push(column.name(), value);
    }
    Ok(seen)
}

/// The number of bytes that each call requests.
const LENGTH: usize = 16;

/// Makes one call with a new descriptor of one kind.
///
/// # Errors
///
/// This machine does not have such a descriptor, or something that the call needs could not be made.
pub fn cell(lab: &Lab, kind: Kind, column: Column) -> Result<Value, Stop> {
    let cell = Tried { call: column.call(), fd: Arc::new(Descriptor::open(lab, kind)?) };
    let none = SpliceFlags::empty();
    match column {
        Column::Read => cell.asked(|fd| io::read(fd, &mut [0; LENGTH])),
        Column::Write => cell.given(|fd| io::write(fd, &BYTES)),
        Column::SendfileFrom => {
            let (near, far) = UnixStream::pair().setup("socketpair")?;
            cell.taken(&far, move |fd| sendfile(&near, fd, None, LENGTH))
        }
        Column::SendfileTo => {
            let file = lab.file(&BYTES)?;
            cell.given(move |fd| sendfile(fd, &file, None, LENGTH))
        }
        Column::SpliceFrom => {
            let (read, write) = std::io::pipe().setup("pipe")?;
            cell.taken(&read, move |fd| splice(fd, None, &write, None, LENGTH, none))
        }
        Column::SpliceTo => {
            let pipe = full_pipe()?;
            cell.given(move |fd| splice(&pipe, None, fd, None, LENGTH, none))
        }
        Column::TeeFrom => {
            let (read, write) = std::io::pipe().setup("pipe")?;
            cell.taken(&read, move |fd| tee(fd, &write, LENGTH, none))
        }
        Column::TeeTo => {
            let pipe = full_pipe()?;
            cell.given(move |fd| tee(&pipe, fd, LENGTH, none))
        }
        // The end of the pipe decides the direction.
        Column::Vmsplice if kind == Kind::PipeRead => cell.asked(|fd| {
            let mut memory = [0; LENGTH];
            // SAFETY: the memory belongs to this call, and the kernel does not keep it.
            unsafe { vmsplice_from_pipe(fd, &mut [IoVecMut::new(&mut memory)], SpliceFlags::empty()) }
        }),
        Column::Vmsplice => cell.given(|fd| {
            // SAFETY: the bytes are a constant of the program, which is not changed or freed.
            unsafe { vmsplice_to_pipe(fd, &[IoVec::new(&BYTES)], SpliceFlags::empty()) }
        }),
        Column::Map => cell.asked(|fd| map_file(fd, LENGTH).map(|_| 0)),
        Column::WriteMapped => match map_file(&*cell.fd, LENGTH) {
            Err(_) => Ok(Value::Text("not mapped".into())),
            Ok(mapping) => {
                let (_read, write) = std::io::pipe().setup("pipe")?;
                cell.asked(move |_| {
                    // SAFETY: the mapping lives until the call is over, and no reference to its bytes exists.
                    unsafe { io::write_from(&write, mapping.as_ptr(), LENGTH) }
                })
            }
        },
        Column::CopyFrom => {
            let target = lab.empty_file()?;
            cell.asked(move |fd| io::copy_file_range(fd, &target, LENGTH))
        }
        Column::CopyTo => {
            let file = lab.file(&BYTES)?;
            cell.given(move |fd| io::copy_file_range(&file, fd, LENGTH))
        }
        Column::SoZerocopy => cell.asked(|fd| enable(fd.as_fd()).map(|_| 0)),
    }
}

/// The bytes that are written, and looked for at the other end.
static BYTES: [u8; LENGTH] = [alias::NEW; LENGTH];

/// The read end of a pipe that holds [`BYTES`], without a writer.
fn full_pipe() -> Result<PipeReader, Stop> {
    let (read, write) = std::io::pipe().setup("pipe")?;
    io::write_all(&write, &BYTES).setup("fill a pipe")?;
    Ok(read)
}

/// A call that is tried with a descriptor.
struct Tried {
    call: Sysno,
    fd: Arc<Descriptor>,
}

impl Tried {
    fn answer(&self, work: impl FnOnce(&Descriptor) -> Result<usize, Errno> + Send + 'static) -> Result<Answer, Stop> {
        let fd = Arc::clone(&self.fd);
        attempt(self.call, move || work(&fd))
    }

    /// A call whose result is the only thing that is checked.
    fn asked(&self, work: impl FnOnce(&Descriptor) -> Result<usize, Errno> + Send + 'static) -> Result<Value, Stop> {
        Ok(self.answer(work)?.value(None))
    }

    /// A call that writes to the descriptor. The bytes that arrived there are compared with the result.
    fn given(&self, work: impl FnOnce(&Descriptor) -> Result<usize, Errno> + Send + 'static) -> Result<Value, Stop> {
        let answer = self.answer(work)?;
        let came = match answer {
            Answer::Returned(Ok(count)) => self.fd.written(count)?,
            _ => None,
        };
        Ok(answer.value(came))
    }

    /// A call that reads from the descriptor. The bytes that arrived at the other end are compared with the result.
    fn taken(
        &self,
        far: &impl AsFd,
        work: impl FnOnce(&Descriptor) -> Result<usize, Errno> + Send + 'static,
    ) -> Result<Value, Stop> {
        let answer = self.answer(work)?;
        let came = sockets::readable(far)? as u64;
        Ok(answer.value(Some(came)))
    }
}
