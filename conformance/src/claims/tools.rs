//! Functions that experiments of several interfaces share.

use crate::claim::source::{commit, ltp};
use crate::claim::{Gate, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::alias::{self, LENGTH, OLD, Sharing};
use crate::lab::changed::{self, Carrier, Change};
use crate::lab::pages::page;
use crate::lab::sinks::{Kind, Sink};
use crate::lab::sleeper::{Caller, returned};
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::{Volume, huge_pages_of_memfds};
use crate::lab::{Lab, danger, io, map_file, open, sockets};
use crate::verdict::{Noted, Observation, Setup, Stop, Value};
use nocopy_mmap::{MapFlags, Prot, mmap};
use nocopy_splice::{Pipe, PipeFlags, fcntl_getpipe_size, pipe2};
use nocopy_transfer::{Ended, Outcome, Route, Transfer};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use syscalls::{Errno, Sysno};

/// An empty pipe of the default size.
pub fn pipe() -> Result<Pipe, Stop> {
    aside(|| pipe2(PipeFlags::CLOEXEC)).setup("pipe2")
}

/// A pipe with these bytes in it.
pub fn filled(bytes: &[u8]) -> Result<Pipe, Stop> {
    let pipe = pipe()?;
    aside(|| io::write_all(&pipe.write, bytes)).setup("fill a pipe")?;
    Ok(pipe)
}

/// A pipe of the default size, filled with pages.
pub fn full() -> Result<Pipe, Stop> {
    let pipe = pipe()?;
    fill(&pipe, pipe_size(&pipe)?)?;
    Ok(pipe)
}

/// Writes zeros into a pipe.
pub fn fill(pipe: &Pipe, length: usize) -> Result<(), Stop> {
    aside(|| io::write_all(&pipe.write, &vec![0; length])).setup("fill a pipe")
}

/// The size of a pipe in bytes. An ordinary user who has many pipes gets smaller ones.
pub fn pipe_size(pipe: &Pipe) -> Result<usize, Stop> {
    aside(|| fcntl_getpipe_size(&pipe.write)).setup("F_GETPIPE_SZ")
}

/// Reads a page from a pipe.
pub fn read_page(pipe: &impl AsFd) -> Result<(), Stop> {
    io::read_full(pipe, &mut vec![0; page()]).setup("read a pipe")?;
    Ok(())
}

/// The lies of a kernel that does not wait.
pub const fn does_not_wait(call: Sysno) -> [Lie; 2] {
    [Lie::refused(call, libc::EAGAIN), Lie::about(call, What::Undone(0))]
}

/// The word for a call that was seen asleep.
pub const SLEEPS: &str = "sleeps";

/// Waits until a call sleeps or has returned, and wakes it if it sleeps. Returns `sleeps` or what it returned, in
/// words, and its result.
pub fn woken(
    caller: Caller,
    wake: impl FnOnce(&Caller) -> Result<(), Stop>,
) -> Result<(String, Result<usize, Errno>), Stop> {
    let slept = caller.sleeps()?;
    if slept {
        aside(|| wake(&caller))?;
    }
    let result = caller.join()?;
    Ok((if slept { SLEEPS.to_owned() } else { returned(result) }, result))
}

/// What experiments note in one step: a look at a descriptor, or a call that sleeps.
pub trait See {
    /// The number of bytes that can be read from a pipe or socket.
    fn readable(&mut self, fact: &str, fd: &impl AsFd) -> Result<Noted<'_>, Stop>;
    /// The length of a file.
    fn length(&mut self, fact: &str, file: &File) -> Result<Noted<'_>, Stop>;
    /// Whether a pipe holds exactly these bytes now, which are read: `as sent`, or `others`.
    fn holds(&mut self, fact: &str, pipe: &impl AsFd, bytes: &[u8]) -> Result<Noted<'_>, Stop>;
    /// Whether a pipe or socket gives exactly these bytes, read to the last of them: `as sent`, or `others`.
    fn receives(&mut self, fact: &str, fd: &impl AsFd, bytes: &[u8]) -> Result<Noted<'_>, Stop>;
    /// That a call sleeps until `wake`, as a fact named after the call; then its result, as another one.
    fn sleeps(
        &mut self,
        call: &str,
        caller: Caller,
        wake: impl FnOnce(&Caller) -> Result<(), Stop>,
    ) -> Result<Noted<'_>, Stop>;
}

impl See for Observation {
    fn readable(&mut self, fact: &str, fd: &impl AsFd) -> Result<Noted<'_>, Stop> {
        let count = aside(|| sockets::readable(fd))?;
        Ok(self.count(fact, count as u64))
    }

    fn length(&mut self, fact: &str, file: &File) -> Result<Noted<'_>, Stop> {
        let length = aside(|| file.metadata()).setup("fstat")?.len();
        Ok(self.count(fact, length))
    }

    fn holds(&mut self, fact: &str, pipe: &impl AsFd, bytes: &[u8]) -> Result<Noted<'_>, Stop> {
        let mut held = vec![0; aside(|| sockets::readable(pipe))?];
        let read = io::read_full(pipe, &mut held).setup("read a pipe")?;
        Ok(self.text(fact, as_sent(held[..read] == *bytes)))
    }

    fn receives(&mut self, fact: &str, fd: &impl AsFd, bytes: &[u8]) -> Result<Noted<'_>, Stop> {
        let same = arrived(fd, bytes)?;
        Ok(self.text(fact, as_sent(same)))
    }

    fn sleeps(
        &mut self,
        call: &str,
        caller: Caller,
        wake: impl FnOnce(&Caller) -> Result<(), Stop>,
    ) -> Result<Noted<'_>, Stop> {
        let (word, result) = woken(caller, wake)?;
        self.text(call, word).says(SLEEPS);
        Ok(self.call(format!("{call}, then"), result))
    }
}

/// Two empty pipes.
pub fn two() -> Result<(Pipe, Pipe), Stop> {
    Ok((pipe()?, pipe()?))
}

/// Opens the same file once more.
pub fn reopen(file: &File, options: &OpenOptions) -> Result<File, Stop> {
    // An unnamed file is opened again through /proc, so that the flags are those of a real open().
    aside(|| options.open(format!("/proc/self/fd/{}", file.as_raw_fd()))).setup("open again")
}

/// The number of signals that this process has caught.
static CAUGHT: AtomicU64 = AtomicU64::new(0);

/// Makes a call that may raise a signal. Returns its result and the number of signals.
pub fn raised<T>(signal: libc::c_int, call: impl FnOnce() -> T) -> Result<(T, u64), Stop> {
    extern "C" fn note(_signal: libc::c_int) {
        CAUGHT.fetch_add(1, Ordering::Relaxed);
    }
    let handler = note as *const () as libc::sighandler_t;
    // SAFETY: the handler does nothing but add to an atomic, which is safe wherever it interrupts.
    if unsafe { libc::signal(signal, handler) } == libc::SIG_ERR {
        return Err(Stop::from_setup("signal", sockets::last_errno()));
    }
    let before = CAUGHT.load(Ordering::Relaxed);
    let result = call();
    Ok((result, CAUGHT.load(Ordering::Relaxed) - before))
}

/// The change that allows two devices to be spliced.
pub const ZERO: Gate = gate("6.7", "/dev/zero and /dev/full can be spliced", ltp("splice08.c", "the test's min_kver"));

/// The change that gives large folios to small files on a tmpfs with the option `huge`.
pub const HUGE_ON_TMPFS: Gate = gate(
    "6.14",
    "with huge=, tmpfs has folios of any size",
    commit("acd7ccb284b8", "mm: shmem: add large folio support for tmpfs"),
);

/// The fact that says whether the sink's bytes changed with the file's.
pub const AFTER_CHANGE: &str = "file changed after the transfer, receiver's bytes";

/// Whether each hop copies, for `read` and `write` to a sink.
pub fn read_write_hops(lab: &Lab, kind: Kind) -> Result<[Sharing; 2], Stop> {
    let file = alias::source(lab)?;
    let sink = Sink::open(lab, kind)?;
    let mut buffer = vec![0; alias::LENGTH];
    let read = io::read_full(&file, &mut buffer).setup("read")?;
    alias::all_sent(read as u64)?;
    alias::change(&file)?;
    let into_buffer = Sharing::of(&buffer)?;

    buffer.fill(alias::OLD);
    io::write_all(&sink, &buffer).setup("write")?;
    sink.settle(alias::LENGTH)?;
    buffer.fill(alias::NEW);
    let into_sink = Sharing::of(&sink.take(alias::LENGTH)?)?;
    Ok([into_buffer, into_sink])
}

/// Whether each hop copies, for `mmap` and `write` to a sink.
pub fn mmap_write_hops(lab: &Lab, kind: Kind) -> Result<[Sharing; 2], Stop> {
    let file = alias::source(lab)?;
    let mapping = map_file(&file, alias::LENGTH).setup("mmap")?;
    let read_mapping = || {
        let mut bytes = vec![0; alias::LENGTH];
        let read = aside(|| mapping.read_at(0, &mut bytes)).setup("read the mapping")?;
        bytes.truncate(read);
        Ok::<_, Stop>(bytes)
    };
    if read_mapping()? != [alias::OLD; alias::LENGTH] {
        return Err(Stop::broken("the mapping does not show the file"));
    }
    let sink = Sink::open(lab, kind)?;
    // SAFETY: the range lies in the mapping, which outlives the call; no reference to it exists.
    unsafe { io::write_all_from(&sink, mapping.as_ptr(), alias::LENGTH) }.setup("write")?;
    sink.settle(alias::LENGTH)?;
    alias::change(&file)?;
    let into_mapping = Sharing::of(&read_mapping()?)?;
    let into_sink = Sharing::of(&sink.take(alias::LENGTH)?)?;
    Ok([into_mapping, into_sink])
}

/// The number of hops that copied.
pub fn count_copies(hops: &[Sharing]) -> u64 {
    hops.iter().filter(|hop| **hop != Sharing::Shared).count() as u64
}

/// Reads a stream until its end in a separate thread, so that a sender that waits for room can continue.
pub fn drain(far: OwnedFd) -> JoinHandle<std::io::Result<Vec<u8>>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        File::from(far).read_to_end(&mut bytes)?;
        Ok(bytes)
    })
}

/// The bytes that a draining thread has read until the sender's end was closed.
pub fn drained(reader: JoinHandle<std::io::Result<Vec<u8>>>) -> Result<Vec<u8>, Stop> {
    reader.join().map_err(|_| Stop::broken("the receiver panicked"))?.setup("read at the receiver")
}

/// Sends a file of 1 MiB to a TCP socket whose peer reads it. Counts the kernel entries of `send`, and checks every
/// byte.
pub fn entries_to_tcp<T>(
    lab: &Lab,
    send: impl FnOnce(&File, &OwnedFd) -> Result<T, Stop>,
) -> Result<(crate::verdict::Value, T), Stop> {
    let run = FileToTcp::ready(lab)?;
    let (entries, sent) = lab.entries(|| send(&run.file, &run.near));
    let sent = sent?;
    all_arrived(run.has_arrived()?)?;
    Ok((entries, sent))
}

/// The same by a route. The entries of its preparation are not counted. Returns whether the peer has received the
/// file's bytes, which the caller must check.
pub fn entries_of(lab: &Lab, route: Route) -> Result<(crate::verdict::Value, Outcome, bool), Stop> {
    let run = FileToTcp::ready(lab)?;
    let mut transfer =
        aside(|| Transfer::by(route, &run.file, 0, ENTRIES_LENGTH as u64, &run.near)).setup(route.name())?;
    let (entries, ()) = lab.entries(|| transfer.drive());
    let outcome = transfer.outcome();
    outcome.result().setup(route.name())?;
    if outcome.ended != Ended::Complete {
        return Err(Stop::broken(format!("{route}: {:?}", outcome.ended)));
    }
    Ok((entries, outcome, run.has_arrived()?))
}

/// An experiment on calls still needs all bytes to arrive; anything less is an error.
pub fn all_arrived(arrived: bool) -> Result<(), Stop> {
    if arrived { Ok(()) } else { Err(Stop::broken("the receiver got other bytes")) }
}

/// A file of 1 MiB, and a TCP socket whose peer reads until the end.
struct FileToTcp {
    content: Vec<u8>,
    file: File,
    near: OwnedFd,
    reader: JoinHandle<std::io::Result<Vec<u8>>>,
}

impl FileToTcp {
    fn ready(lab: &Lab) -> Result<Self, Stop> {
        let content = crate::lab::pattern(ENTRIES_LENGTH);
        let file = lab.file(&content)?;
        let (near, far) = Sink::open(lab, Kind::Tcp)?.into_ends();
        let reader = drain(far.ok_or_else(|| Stop::broken("a socket has two ends"))?);
        Ok(Self { content, file, near, reader })
    }

    /// Closes the socket. Returns whether the peer has received the file's bytes.
    fn has_arrived(self) -> Result<bool, Stop> {
        drop(self.near);
        Ok(drained(self.reader)? == self.content)
    }
}

/// Sends the first `length` bytes of `file` by a route until the end. Returns the number of bytes that the sink has
/// taken.
pub fn carry(route: Route, file: &impl AsFd, sink: &impl AsFd, length: usize) -> Result<u64, Stop> {
    let sent = Transfer::by(route, file, 0, length as u64, sink).setup(route.name())?.run();
    sent.result().setup(route.name())
}

/// `splice` through a pipe of the default size.
pub const SPLICE: Route = Route::Splice { pipe: 64 << 10 };

/// The number of bytes that [`entries_to_tcp`] and [`entries_of`] send.
pub const ENTRIES_LENGTH: usize = 1 << 20;

/// The name of the fact about the receiver's bytes.
pub const RECEIVED: &str = "receiver's bytes";
/// The value of that fact if the bytes are unchanged.
pub const AS_SENT: &str = "as sent";

/// The word for bytes that were compared with those that were sent.
pub fn as_sent(same: bool) -> &'static str {
    if same { AS_SENT } else { "others" }
}

/// Reads exactly the number of bytes that were sent to `far`. Returns whether they are `expected`.
pub fn arrived(far: &impl AsFd, expected: &[u8]) -> Result<bool, Stop> {
    let mut bytes = vec![0; expected.len()];
    let read = io::read_full(far, &mut bytes).setup("read at the receiver")?;
    Ok(bytes[..read] == *expected)
}

/// Makes a new file of one kind with each call: [`LENGTH`] bytes [`OLD`], by one write, so that the page cache may use
/// one folio.
pub type Files = Box<dyn Fn() -> Result<File, Stop>>;

/// The files of a memfd or of a file system, as [`Volume::mount`] names it. Notes [`SHMEM_ENABLED`] of a memfd.
pub fn files_of(lab: &Lab, see: &mut Observation, kind: &str) -> Result<Files, Stop> {
    let filled = |file: File| match aside(|| io::write(&file, &[OLD; LENGTH])).setup("write a file")? {
        LENGTH => Ok(file),
        count => Err(Stop::broken(format!("{count} bytes were written of {LENGTH}"))),
    };
    if kind == "memfd" {
        see.text(SHMEM_ENABLED, huge_pages_of_memfds()?);
        return Ok(Box::new(move || filled(File::from(open::sealed_memfd(0)?))));
    }
    let volume = Volume::mount(lab, kind)?;
    Ok(Box::new(move || {
        let volume = &volume; // the closure owns it whole, so it stays mounted
        filled(aside(|| unnamed_file(&volume.directory)).setup("create a file")?)
    }))
}

/// The name of the fact about [`huge_pages_of_memfds`].
pub const SHMEM_ENABLED: &str = "shmem_enabled";

/// What arrives of a file that is changed after it was given away. A change that the kernel refuses is an error.
pub fn changed_later(file: &File, carrier: Carrier, change: Change) -> Result<Value, Stop> {
    changed::observe(file, carrier, change)?.map_err(|(call, errno)| Stop::from_setup(call, errno))
}

/// Notes what arrives of a new file for each change and carrier. Of those that decide, whole pages must arrive as they
/// were given, and a removed part of a page as zeros.
pub fn note_changes(
    see: &mut Observation,
    carriers: &[Carrier],
    new: &dyn Fn() -> Result<File, Stop>,
    changes: impl Iterator<Item = &'static (&'static str, Change)>,
    decides: impl Fn(&Change) -> bool,
) -> Result<(), Stop> {
    for (name, change) in changes {
        for carrier in carriers {
            let arrived = changed_later(&new()?, *carrier, *change)?;
            let noted = see.push(carrier.with(name), arrived);
            if decides(change) {
                noted.says(change.clears_parts());
            }
        }
    }
    Ok(())
}

/// The address of two pages that only this process can access, mapped until it ends. The second one has been touched:
/// it begins with an `s`.
pub fn two_secret_pages() -> Result<usize, Stop> {
    let secret = open::memfd_secret()?;
    danger::SECRET_MEMORY.avoid()?;
    aside(|| {
        io::truncate(&secret, 2 * page() as u64).setup("ftruncate")?;
        let access = Prot::READ | Prot::WRITE;
        // SAFETY: a new mapping where the kernel likes, which nothing else knows.
        let start =
            unsafe { mmap(std::ptr::null_mut(), 2 * page(), access, MapFlags::SHARED, Some((&secret).into()), 0) };
        let start = start.setup("mmap")?;
        // SAFETY: the page is ours, and writable.
        unsafe { start.add(page()).write(b's') };
        Ok(start.expose_provenance())
    })
}
