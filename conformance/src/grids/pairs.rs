//! The grid of pairs: from every kind of source to every kind of sink, by every route.
//!
//! A cell says what became of [`alias::LENGTH`] bytes:
//!
//! - `shared`: the receiver reads what the source became after the calls had returned, `copied`: what it was before
//! - an errno: of the only call of the route; `mmap: ENODEV` if there are several calls, of that step, before the sink took a byte
//! - `lost if changed`: the receiver gets nothing, and all of it if the source stays as it was
//! - `corked`: the datagram waits for more, and is sent with the next bytes
//! - `-`: a route that such a source does not have
//!
//! The last two columns are what `nocopy-transfer` makes of it, with the routes that it took: `shared by sendfile`.
//!
//! A pipe or a socket is a source with pages of a memfd in it, which are then changed in the memfd.

use super::attempt::{Answer, attempt, ignore_sigpipe};
use super::grid::Grid;
use crate::claim::Claim;
use crate::fixtures;
use crate::interpose::record::aside;
use crate::lab::alias::{self, LENGTH, NEW, OLD, Sharing};
use crate::lab::fds::{Descriptor, Kind};
use crate::lab::open::memfd;
use crate::lab::sockets::{self, KTLS_MODULES};
use crate::lab::{Lab, io, map_file};
use crate::verdict::{Observation, Setup, Stop, Value, errno_name};
use nocopy_mmap::Mapping;
use nocopy_msg_zerocopy::{SendFlags, enable, send_zerocopy};
use nocopy_sendfile::sendfile;
use nocopy_splice::{IoVec, SpliceFlags, splice, vmsplice_to_pipe};
use nocopy_transfer::{Request, Route, Stability};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use syscalls::{Errno, Sysno};

/// Every kind of source × every kind of sink, by every route.
pub const PAIRS: Grid = Grid {
    name: "pairs",
    what: "source and sink",
    rows: ROWS,
    on_disks: false,
    prepare: || {},
    varies: |_| false,
    tidy: Observation::clone,
    disagreements: |_| vec![],
    records: fixtures::PAIRS,
};

/// A kind of source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    File,
    Memfd,
    BlockDevice,
    Pipe,
    Tcp,
    Unix,
    Memory,
}

/// The sources by the index of their rows.
const SOURCES: [Origin; 7] =
    [Origin::File, Origin::Memfd, Origin::BlockDevice, Origin::Pipe, Origin::Tcp, Origin::Unix, Origin::Memory];

macro_rules! rows {
    ([$($from:ident $source:literal,)*] $sinks:tt) => {
        /// One experiment for each pair.
        pub const ROWS: &[Claim] = [$(rows!(@ $from $source $sinks),)*].as_flattened();
    };
    (@ $from:ident $source:literal [$($to:ident $sink:literal,)*]) => {
        [$(Claim {
            statement: concat!($source, " to ", $sink),
            modules: modules(Origin::$from, Kind::$to),
            ..Claim::observing(
                concat!("pairs: ", $source, " to ", $sink),
                row::<{ Origin::$from as usize }, { Kind::$to as usize }>,
            )
        },)*]
    };
}
rows!(
    [
        File "regular file",
        Memfd "memfd",
        BlockDevice "block device",
        Pipe "pipe",
        Tcp "TCP socket",
        Unix "AF_UNIX socket",
        Memory "memory",
    ]
    [
        TcpSocket "TCP socket",
        TlsSender "TLS socket",
        UnixStream "AF_UNIX socket",
        VsockSocket "vsock socket",
        UdpSocket "UDP socket",
        PipeWrite "pipe",
        RegularFile "regular file",
        AppendFile "O_APPEND file",
        Terminal "terminal",
        DevNull "/dev/null",
    ]
);

/// The modules that a pair needs, unless they are built in.
const fn modules(from: Origin, to: Kind) -> &'static [&'static str] {
    match (from, to) {
        (Origin::BlockDevice, Kind::TlsSender) => &["loop", "tls", "gcm", "ctr", "ghash_generic", "aes_generic"],
        (Origin::BlockDevice, Kind::VsockSocket) => &["loop", "vsock_loopback"],
        (Origin::BlockDevice, _) => &["loop"],
        (_, Kind::TlsSender) => KTLS_MODULES,
        (_, Kind::VsockSocket) => &["vsock_loopback"],
        _ => &[],
    }
}

/// The row of the source and the sink with these indexes.
fn row<const FROM: usize, const TO: usize>(lab: &Lab) -> Result<Observation, Stop> {
    ignore_sigpipe()?;
    let mut seen = Observation::new();
    let routes = Route::ALL.iter().copied().map(By::Route);
    for by in routes.chain([Stability::Shared, Stability::Snapshot].map(By::Chosen)) {
        seen.push(by.name(), cell(lab, SOURCES[FROM], crate::lab::fds::ALL[TO], by)?);
    }
    Ok(seen)
}

/// What brings the bytes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Route(Route),
    Chosen(Stability),
}

impl By {
    const fn name(self) -> &'static str {
        match self {
            Self::Route(ref route) => route.name(),
            Self::Chosen(Stability::Shared) => "chosen-shared",
            Self::Chosen(Stability::Snapshot) => "chosen-snapshot",
        }
    }
}

/// What becomes of the bytes of a source whose file or memory is changed after the call.
fn cell(lab: &Lab, from: Origin, to: Kind, by: By) -> Result<Value, Stop> {
    let value = sent(lab, from, to, by, true)?;
    let is_lost = matches!(&value, Value::Text(words) if words.ends_with(", and 0 came"));
    // A datagram whose bytes differ from its checksum is not delivered.
    if is_lost && sent(lab, from, to, by, false)? == Value::Text("copied".into()) {
        return Ok(Value::Text("lost if changed".into()));
    }
    Ok(value)
}

/// Sends from a new source to a new sink, may change the source, and looks at what arrived.
fn sent(lab: &Lab, from: Origin, to: Kind, by: By, is_changed: bool) -> Result<Value, Stop> {
    let source = Source::open(lab, from)?;
    let has_route = match from {
        Origin::Memory => {
            matches!(by, By::Route(Route::ReadWrite { .. } | Route::Vmsplice { .. } | Route::MsgZerocopy { .. }))
        }
        _ => true,
    };
    if !has_route {
        return Ok(Value::Text("-".into()));
    }
    let (sink, far) = Descriptor::open(lab, to)?.into_ends();
    let start = aside(|| if to == Kind::AppendFile { io::status(&sink).map(|it| it.st_size) } else { Ok(0) });
    let start = start.setup("fstat")?;
    // What a terminal holds for a reader who does not read.
    let length = if to == Kind::Terminal { 1024 } else { LENGTH };

    let taken = Mutex::new(String::new());
    let work = Arc::new(Work { source: source.bytes, sink, length, at: Mutex::new(("", 0)), taken });
    let answer = attempt(last_call(by), {
        let work = Arc::clone(&work);
        move || match by {
            By::Route(route) => work.carry(route),
            By::Chosen(stability) => work.carry_as_chosen(stability),
        }
    })?;
    let (step, moved) = *work.at();
    let words = match answer {
        Answer::Returned(Ok(_)) if moved == length => {
            // A copy that the loopback device makes is made by now.
            if matches!((by, to), (By::Route(Route::MsgZerocopy { .. }), Kind::TcpSocket | Kind::UdpSocket)) {
                aside(|| io::wait_for_error_queue(work.sink.as_fd())).setup("wait for a completion")?;
            }
            if is_changed {
                source.backing.change()?;
            }
            let far = far.as_ref().unwrap_or(&work.sink);
            let value = aside(|| match to {
                Kind::UdpSocket => datagrams(&work.sink, far, length),
                _ => arrived(far, to, start, length),
            })?;
            let routes = work.taken.lock().unwrap_or_else(PoisonError::into_inner);
            return Ok(if routes.is_empty() { value } else { Value::Text(format!("{value} by {routes}")) });
        }
        Answer::Returned(Ok(_)) => format!("{moved} of {length}"),
        Answer::Sleeps if moved == 0 => "sleeps".to_owned(),
        Answer::Sleeps => format!("sleeps after {moved}"),
        Answer::Returned(Err(errno)) if moved == 0 && step == by.name() => {
            return Ok(Value::Errno(errno.into_raw()));
        }
        Answer::Returned(Err(errno)) if moved == 0 => format!("{step}: {}", errno_name(errno.into_raw())),
        Answer::Returned(Err(errno)) => format!("{step}: {} after {moved}", errno_name(errno.into_raw())),
    };
    Ok(Value::Text(words))
}

/// The call of a route that may wait for the sink.
const fn last_call(by: By) -> Sysno {
    let By::Route(route) = by else { return Sysno::write };
    match route {
        Route::ReadWrite { .. } | Route::MmapWrite { .. } => Sysno::write,
        Route::Sendfile => Sysno::sendfile,
        Route::Splice { .. } | Route::Vmsplice { .. } => Sysno::splice,
        Route::MsgZerocopy { .. } => Sysno::sendto,
        Route::CopyFileRange => Sysno::copy_file_range,
        // A clone.
        _ => Sysno::ioctl,
    }
}

/// What arrived, in a word. A device keeps nothing: the number of bytes that it took.
fn arrived(far: &OwnedFd, to: Kind, start: i64, length: usize) -> Result<Value, Stop> {
    let mut bytes = vec![0; length];
    let came = match to {
        Kind::DevNull => return Ok(Value::Returned(length as u64)),
        Kind::RegularFile | Kind::AppendFile => {
            io::pread_full(far, &mut bytes, start.cast_unsigned()).setup("read the sink")?
        }
        // FIONREAD counts something else there, or is missing on some kernels.
        Kind::TlsSender | Kind::VsockSocket => io::read_full(far, &mut bytes).setup("receive")?,
        _ => {
            sockets::wait_for_arrival(far, length)?;
            io::read_full(far, &mut bytes).setup("receive")?
        }
    };
    word(&bytes[..came], length).map(Value::Text)
}

fn word(bytes: &[u8], length: usize) -> Result<String, Stop> {
    if bytes.len() == length {
        Ok(Sharing::of(bytes)?.to_string())
    } else {
        Ok(format!("{length}, and {} came", bytes.len()))
    }
}

/// What arrived over UDP. A last byte is sent after it: it comes in a datagram of its own, or in one that waited for more.
fn datagrams(near: &OwnedFd, far: &OwnedFd, length: usize) -> Result<Value, Stop> {
    const LAST: u8 = b'.';
    io::write_all(near, &[LAST]).setup("send a last byte")?;
    let mut bytes = Vec::new();
    let mut whole = 0;
    let mut buffer = vec![0; 64 << 10];
    let is_complete = loop {
        sockets::wait_for_arrival(far, 1)?;
        let count = io::read(far, &mut buffer).setup("receive")?;
        match buffer[..count].split_last() {
            Some((&LAST, before)) => {
                bytes.extend(before);
                break before.is_empty();
            }
            _ => bytes.extend(&buffer[..count]),
        }
        whole += 1;
    };
    let word = word(&bytes, length)?;
    Ok(Value::Text(match (is_complete, whole) {
        (true, 0 | 1) => word,
        (true, _) => format!("{word}, {whole} datagrams"),
        (false, 0) => format!("{word}, corked"),
        (false, _) => format!("{word}, corked after {whole} datagrams"),
    }))
}

/// A source of [`LENGTH`] bytes.
struct Source {
    bytes: Bytes,
    backing: Backing,
    /// The sender's end of a pipe or socket.
    _far: Option<OwnedFd>,
}

/// What a route is given.
enum Bytes {
    Fd(OwnedFd),
    /// Memory that is never freed.
    Memory(&'static Memory),
}

/// What is changed afterwards.
enum Backing {
    File(File),
    Memory(&'static Memory),
}

/// Pages that the kernel may hold after the call. They are read and written through the pointer only.
struct Memory(*mut u8);

// SAFETY: the pages live as long as the process, and one thread at a time uses them: the one that sends, and then the one that
// changes them. A thread that sleeps in a call is left alone, and the pages then stay as they are.
unsafe impl Sync for Memory {}

impl Source {
    fn open(lab: &Lab, from: Origin) -> Result<Self, Stop> {
        aside(|| Self::make(lab, from))
    }

    fn make(lab: &Lab, from: Origin) -> Result<Self, Stop> {
        let of_file = |file: File| {
            let backing = Backing::File(file.try_clone().setup("dup")?);
            Ok(Self { bytes: Bytes::Fd(file.into()), backing, _far: None })
        };
        // The pages of a memfd, in a pipe or a socket.
        let through = |near: OwnedFd, far: OwnedFd, given: &dyn Fn(&File, &OwnedFd) -> Result<usize, Errno>| {
            let file = memfd_with_content()?;
            io::all_done(LENGTH, |_| given(&file, &far)).setup("fill the source")?;
            sockets::wait_for_arrival(&near, LENGTH)?;
            Ok(Self { bytes: Bytes::Fd(near), backing: Backing::File(file), _far: Some(far) })
        };
        let sent = |file: &File, far: &OwnedFd| sendfile(far, file, None, LENGTH);
        match from {
            Origin::File => of_file(lab.file(&[OLD; LENGTH])?),
            Origin::Memfd => of_file(memfd_with_content()?),
            Origin::BlockDevice => {
                let (device, _) = Descriptor::open(lab, Kind::BlockDevice)?.into_ends();
                of_file(device.into())
            }
            Origin::Pipe => {
                let (read, write) = std::io::pipe().setup("pipe")?;
                through(read.into(), write.into(), &|file, pipe| {
                    splice(file, None, pipe, None, LENGTH, SpliceFlags::empty())
                })
            }
            Origin::Tcp => {
                let (near, far) = sockets::tcp()?;
                through(near.into(), far.into(), &sent)
            }
            Origin::Unix => {
                let (near, far) = UnixStream::pair().setup("socketpair")?;
                through(near.into(), far.into(), &sent)
            }
            Origin::Memory => {
                let memory: &'static mut _ = Box::leak(Box::new(alias::memory(LENGTH)?));
                let memory: &'static Memory = Box::leak(Box::new(Memory(memory.as_mut_ptr())));
                Ok(Self { bytes: Bytes::Memory(memory), backing: Backing::Memory(memory), _far: None })
            }
        }
    }
}

fn memfd_with_content() -> Result<File, Stop> {
    let file = File::from(memfd()?);
    io::pwrite_all(&file, &[OLD; LENGTH], 0).setup("write a memfd")?;
    Ok(file)
}

impl Backing {
    /// Changes every byte.
    fn change(&self) -> Result<(), Stop> {
        match self {
            Self::File(file) => alias::change(file),
            Self::Memory(memory) => {
                // SAFETY: LENGTH bytes that live as long as the process. The thread that sent them has ended.
                unsafe { memory.0.write_bytes(NEW, LENGTH) };
                Ok(())
            }
        }
    }
}

/// What a thread that may sleep works with.
struct Work {
    source: Bytes,
    sink: OwnedFd,
    length: usize,
    /// The step that was begun last, and the bytes that the sink has taken.
    at: Mutex<(&'static str, usize)>,
    /// The routes that were chosen.
    taken: Mutex<String>,
}

impl Work {
    /// Sends by the routes that `nocopy-transfer` chooses.
    fn carry_as_chosen(&self, stability: Stability) -> Result<usize, Errno> {
        let Bytes::Fd(source) = &self.source else { return Err(Errno::EINVAL) };
        let request = Request::new(stability).at_most(self.length as u64).messages(LENGTH);
        let begun = self.step(By::Chosen(stability).name(), || {
            let begun = request.begin(source.as_fd(), self.sink.as_fd());
            begun.map_err(|error| error.errno().unwrap_or(Errno::EINVAL))
        });
        let outcome = begun?.run();
        let moved = usize::try_from(outcome.bytes).expect("what was to be sent");
        self.at().1 = moved;
        let routes: Vec<&str> = outcome.segments.iter().map(|segment| segment.route.name()).collect();
        *self.taken.lock().unwrap_or_else(PoisonError::into_inner) = routes.join(", ");
        outcome.result().map(|_| moved)
    }

    /// Sends until the sink has all or a call fails or moves nothing.
    fn carry(&self, route: Route) -> Result<usize, Errno> {
        let sink = self.sink.as_fd();
        let none = SpliceFlags::empty();
        match (route, &self.source) {
            (Route::ReadWrite { .. }, Bytes::Memory(memory)) => {
                self.each(|left| self.write(memory.0.wrapping_add(self.length - left), left))
            }
            (Route::ReadWrite { .. }, Bytes::Fd(source)) => {
                let mut buffer = vec![0; self.length];
                let mut filled = 0..0;
                self.each(|left| {
                    if filled.is_empty() {
                        filled = 0..self.step("read", || io::read(source, &mut buffer[..left]))?;
                    }
                    let taken = self.step("write", || io::write(&sink, &buffer[filled.clone()]))?;
                    filled.start += taken;
                    Ok(taken)
                })
            }
            (Route::MmapWrite { .. }, Bytes::Fd(_)) => {
                let (start, _mapping) = self.memory()?;
                self.each(|left| self.write(start.wrapping_add(self.length - left), left))
            }
            (Route::Sendfile, Bytes::Fd(source)) => {
                self.each(|left| self.step("sendfile", || sendfile(sink, source, None, left)))
            }
            (Route::CopyFileRange, Bytes::Fd(source)) => {
                self.each(|left| self.step("copy-file-range", || io::copy_file_range(source, &sink, left)))
            }
            (Route::Splice { .. }, Bytes::Fd(source)) if io::is_pipe(source)? || io::is_pipe(&sink)? => {
                self.each(|left| self.step("splice", || splice(source, None, sink, None, left, none)))
            }
            (Route::Splice { .. }, Bytes::Fd(source)) => self
                .through_a_pipe(|pipe, left| self.step("splice in", || splice(source, None, pipe, None, left, none))),
            (Route::Vmsplice { .. }, _) => {
                let (start, _mapping) = self.memory()?;
                let into = |pipe: BorrowedFd<'_>, left| {
                    let part = [IoVec::from_raw(start.wrapping_add(self.length - left), left)];
                    // SAFETY: pages of a file, or memory that is never freed: changes of it are what is looked for.
                    self.step("vmsplice", || unsafe { vmsplice_to_pipe(pipe, &part, none) })
                };
                if io::is_pipe(&sink)? { self.each(|left| into(sink, left)) } else { self.through_a_pipe(into) }
            }
            (Route::MsgZerocopy { .. }, _) => {
                let (start, _mapping) = self.memory()?;
                let enabled = self.step("setsockopt", || enable(sink))?;
                self.each(|left| {
                    // SAFETY: so many bytes are left there. Nothing changes them before the call has returned.
                    let part = unsafe { std::slice::from_raw_parts(start.wrapping_add(self.length - left), left) };
                    // SAFETY: pages of a file, or memory that is never freed: changes of it are what is looked for.
                    self.step("send", || unsafe { send_zerocopy(enabled, part, SendFlags::NOSIGNAL) })
                })
            }
            // A clone takes no single page, and is no column of this grid.
            _ => Err(Errno::EINVAL),
        }
    }

    /// The source's bytes in memory: its own, or a mapping, which is to be kept until they are sent.
    fn memory(&self) -> Result<(*const u8, Option<Mapping>), Errno> {
        match &self.source {
            Bytes::Memory(memory) => Ok((memory.0.cast_const(), None)),
            Bytes::Fd(source) => {
                let mapping = self.step("mmap", || map_file(source, self.length))?;
                Ok((mapping.as_ptr(), Some(mapping)))
            }
        }
    }

    fn at(&self) -> MutexGuard<'_, (&'static str, usize)> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the step, and makes it.
    fn step<T>(&self, name: &'static str, call: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
        self.at().0 = name;
        call()
    }

    fn write(&self, start: *const u8, length: usize) -> Result<usize, Errno> {
        // SAFETY: so many bytes are there, in a mapping or in memory that lives as long as the process, and no reference to them exists.
        self.step("write", || unsafe { io::write_from(&self.sink, start, length) })
    }

    /// Repeats what gives bytes to the sink, with how many are left, until it has all or takes none.
    fn each(&self, mut give: impl FnMut(usize) -> Result<usize, Errno>) -> Result<usize, Errno> {
        let mut moved = 0;
        while moved < self.length {
            let count = give(self.length - moved)?;
            if count == 0 {
                break;
            }
            moved += count;
            self.at().1 = moved;
        }
        Ok(moved)
    }

    /// The same over a pipe, which `fill` fills whenever it is empty.
    fn through_a_pipe(&self, fill: impl Fn(BorrowedFd<'_>, usize) -> Result<usize, Errno>) -> Result<usize, Errno> {
        let (read, write) = std::io::pipe().map_err(|error| Errno::new(error.raw_os_error().unwrap_or(0)))?;
        let mut queued = 0;
        self.each(|left| {
            if queued == 0 {
                queued = fill(write.as_fd(), left)?;
            }
            let none = SpliceFlags::empty();
            let taken = self.step("splice out", || splice(&read, None, &self.sink, None, queued, none))?;
            queued -= taken;
            Ok(taken)
        })
    }
}
