//! What `splice` takes bytes from.

use super::{BLOCKING, LACKING, NONBLOCK, UNMOVED, about_splice, all, connected, lengths, note_scratch, once};
use crate::claims::prelude::*;
use crate::kernel::to_have;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::filesystems::{is_on_disk, places};
use crate::lab::fuse::settings::Settings;
use crate::lab::fuse::{self, Fuse};
use crate::lab::open::{open_present, sealed_memfd};
use crate::lab::unnamed::unnamed_file;
use crate::lab::waiting::wait_until;
use nocopy_splice::splice;
use std::ffi::CString;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The claim that `splice` moves bytes from a kind of descriptor into a pipe.
macro_rules! row {
    ($kind:literal => $name:literal, $try:ident($($argument:expr),*), [$($source:expr),*]) => {
        about_splice(
            concat!("splice.source.", $kind),
            concat!("splice() moves bytes from ", $name, " into a pipe."),
        )
        .published(&[$($source),*])
        .turned_by(UNMOVED)
        .tried(|lab, see| $try(lab, see, $($argument),*))
    };
}

/// The claim that `splice` refuses a kind of descriptor as source, when it is asked for one byte and for so many.
macro_rules! refused {
    ($kind:literal => $name:literal, $fd:expr, $length:literal, [$($source:expr),*]) => {
        about_splice(
            concat!("splice.source.", $kind),
            concat!("splice() from ", $name, " into a pipe fails with EINVAL."),
        )
        .published(&[READ, $($source),*])
        .tried(|lab, see| refuses(lab, see, $fd, $length))
    };
}

const SHORT_READ: &str = "splice/short_splice_read.sh";
const PID: &str = "/proc/$pid: expect_failure, any errno";
const TCP_LOOP: &str = "net/packetdrill/tcp_splice_tcp_splice_loop_test.pkt";
const UUTILS: &str = "uutils/coreutils#9609";
const READ: Source = kernel("fs/splice.c", "do_splice_read");
const NO_SYSFS: Source = selftest(SHORT_READ, "/sys has no splice interface, in a comment").denies();
const KERNFS: Source = kernel("fs/kernfs/file.c", "kernfs_file_fops");
const SYSCTL: Source = kernel("fs/proc/proc_sysctl.c", "proc_sys_file_operations");

macro_rules! either {
    ($kind:literal) => {
        ltp("splice07.c", concat!("TST_FD_", $kind, " into a pipe: EBADF or EINVAL")).leaves_open()
    };
}

pub const CLAIMS: &[Claim] = &[
    row!("regular-file" => "a regular file", of_file(Fd::RegularFile), [man("splice(2)", "DESCRIPTION"),
        ltp("splice01.c", "splice_test, a file into a pipe"), gvisor("splice.cc", "SpliceTest.ToPipe")]),
    row!("memfd" => "a memfd", of_file(Fd::Memfd), [kernel("mm/shmem.c", "shmem_file_splice_read"),
        ltp("splice07.c", "TST_FD_MEMFD into a pipe, in a comment")]),
    row!("tcp" => "a TCP socket", of_stream(Fd::TcpSocket, &lengths()), [selftest(TCP_LOOP, "the first splice()"),
        gvisor("socket_ip_tcp_generic.cc", "TCPSocketPairTest.SpliceToPipe")]),
    row!("unix-stream" => "an AF_UNIX stream socket", of_stream(Fd::UnixStream, &lengths()),
        [ltp("splice05.c", "pipe_socket, from the socket: EINVAL is TCONF").leaves_open(),
        kernel("net/unix/af_unix.c", "unix_stream_splice_read")]),
    row!("mptcp" => "a multipath TCP socket", of_stream(Fd::MptcpSocket, &[("20000", 20_000)]),
        [selftest("net/mptcp/mptcp_connect.c", "do_splice")]),
    row!("proc-version" => "/proc/version", as_read(Fd::ProcVersion),
        [kernel("fs/proc/inode.c", "proc_iter_file_ops")]),
    row!("sysctl" => "/proc/sys/kernel/ostype", as_read(Fd::ProcSysctl), [
        selftest(SHORT_READ, "/proc/sys has a splice interface, in a comment"), SYSCTL]),
    row!("dev-zero" => "/dev/zero", zeros(Fd::DevZero), [ltp("splice08.c", "verify_splice, fd_zero").since("6.7")])
        .except(LACKING)
        .gated(&[ZERO]),
    row!("dev-full" => "/dev/full", zeros(Fd::DevFull), [ltp("splice08.c", "verify_splice, fd_full").since("6.7")])
        .except(LACKING)
        .gated(&[ZERO]),
    row!("proc-maps" => "/proc/self/maps", as_read(Fd::ProcMaps), [
        ltp("splice07.c", "TST_FD_PROC_MAPS into a pipe, in a comment"),
        selftest(SHORT_READ, "/proc/$pid has no splice interface, in a comment").denies(),
        kernel("fs/proc/task_mmu.c", "proc_pid_maps_operations").denies()])
    .except(LACKING),
    refused!("dev-null" => "/dev/null", Fd::DevNull, 4096, [kernel("drivers/char/mem.c", "null_fops")]),
    refused!("proc-status" => "/proc/self/status", Fd::ProcStatus, 4096, [
        selftest(SHORT_READ, PID).leaves_open(), kernel("fs/proc/base.c", "proc_single_file_operations")]),
    refused!("eventfd" => "an eventfd", Fd::Eventfd, 8, [either!("EVENTFD")]),
    refused!("timerfd" => "a timerfd", Fd::Timerfd, 8, [either!("TIMERFD")]),
    refused!("signalfd" => "a signalfd", Fd::Signalfd, 128, [either!("SIGNALFD")]),
    refused!("inotify" => "an inotify descriptor", Fd::Inotify, 4096, [either!("INOTIFY")]),
    refused!("epoll" => "an epoll descriptor", Fd::Epoll, 4096, [either!("EPOLL")]),
    refused!("directory" => "a directory", Fd::Directory, 4096, [either!("DIR")]),
    about_splice(
        "splice.source.sysfs",
        "splice() moves bytes from /sys/kernel/notes and /sys/kernel/fscaps into a pipe.",
    )
    .published(&[KERNFS, NO_SYSFS])
    .turned_by(UNMOVED)
    .tried(|lab, see| {
        as_read(lab, see, Fd::Sysfs)?;
        as_read(lab, see, Fd::SysfsText)
    }),
    about_splice("splice.source.udp", "splice() moves bytes from a UDP socket into a pipe.")
        .published(&[kernel("net/socket.c", "sock_splice_read")])
        .turned_by(UNMOVED)
        .except(&[Exception::Of(Sysno::splice, What::Shortened, "what is not taken of a datagram is lost")])
        .tried(|lab, see| {
            let ((near, far), pipe, bytes) = (connected(lab, Fd::UdpSocket)?, pipe()?, pattern(4097));
            aside(|| io::write_whole(&far, &bytes)).setup("write")?;
            see.call("splice(UDP socket, pipe, 4097)", once(&near, &pipe.write, bytes.len())).is(bytes.len());
            see.holds("pipe's bytes", &pipe.read, &bytes)?.says(AS_SENT);
            // As with read(), the rest of a datagram is lost.
            aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
            aside(|| io::write_whole(&far, &bytes)).setup("write")?;
            see.call("splice(UDP socket, pipe, 1)", once(&near, &pipe.write, 1)).is(1);
            see.call("splice(UDP socket, pipe) of the rest", once(&near, &pipe.write, bytes.len()));
            Ok(())
        }),
    about_splice("splice.source.terminal", "splice() moves bytes from a pseudo-terminal in raw mode into a pipe.")
        .published(&[MEASURED])
        .turned_by(UNMOVED)
        .tried(|lab, see| {
            let (near, far) = connected(lab, Fd::Terminal)?;
            aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
            for length in [1, 4000] {
                let (bytes, pipe) = (pattern(length), pipe()?);
                aside(|| io::write_all(&far, &bytes)).setup("type into a terminal")?;
                sockets::wait_for_arrival(&near, length)?;
                see.call(format!("splice(terminal, pipe, {length})"), all(&near, &pipe.write, length)).is(length);
                see.holds(&format!("{length}: pipe's bytes"), &pipe.read, &bytes)?.says(AS_SENT);
            }
            Ok(())
        }),
    about_splice("splice.source.urandom", "splice() moves bytes from /dev/urandom into a pipe.")
        .published(&[kernel("drivers/char/random.c", "urandom_fops")])
        .turned_by(UNMOVED)
        .tried(|lab, see| {
            let (source, mut bytes) = (Descriptor::open(lab, Fd::DevUrandom)?, Vec::new());
            for (name, length) in lengths() {
                let pipe = pipe()?;
                see.call(format!("splice(/dev/urandom, pipe, {name})"), all(&source, &pipe.write, length)).is(length);
                bytes.resize(aside(|| sockets::readable(&pipe.read))?, 0);
                see.count(format!("{name}: bytes in the pipe"), bytes.len() as u64).is(length);
                io::read_full(&pipe.read, &mut bytes).setup("read a pipe")?;
            }
            let zeros = vec![0; page()];
            let pages: Vec<&[u8]> = bytes.chunks_exact(page()).chain([&*zeros]).collect();
            let differ = pages.len() == 3 && pages[0] != pages[1] && pages[0] != zeros && pages[1] != zeros;
            see.whether("two pages of it differ, from each other and from zeros", differ).says("yes");
            Ok(())
        }),
    about_splice(
        "splice.source.proc-pid",
        "splice() from /proc/self/limits or /proc/self/comm into a pipe fails with EINVAL.",
    )
    .published(&[
        selftest(SHORT_READ, PID).leaves_open(),
        kernel("fs/proc/base.c", "proc_single_file_operations, proc_pid_set_comm_operations"),
        READ,
    ])
    .tried(|_lab, see| {
        for path in ["/proc/self/limits", "/proc/self/comm"] {
            let (file, pipe) = (present(Path::new(path))?, pipe()?);
            see.call(format!("splice({path}, pipe)"), once(&file, &pipe.write, 4096)).fails(EINVAL);
        }
        Ok(())
    }),
    about_splice(
        "splice.source.sysctl-parts",
        "splice() of 2 bytes and then of 4096 from /proc/sys/kernel/ostype gives the bytes of read().",
    )
    .published(&[SYSCTL])
    .turned_by(UNMOVED)
    .tried(|_lab, see| {
        let path = Path::new("/proc/sys/kernel/ostype");
        let (content, file, pipe) = (content(path)?, present(path)?, pipe()?);
        see.call("splice(ostype, pipe, 2)", all(&file, &pipe.write, 2)).is(2);
        let rest = io::again(|| once(&file, &pipe.write, 4096));
        see.call("splice(ostype, pipe, 4096) after that", rest).is(content.len() - 2);
        see.holds("pipe's bytes, compared with read()", &pipe.read, &content)?.says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.source.module-attribute",
        "splice() from the attribute coresize or a note of a module in /sys gives the bytes of read().",
    )
    .published(&[selftest(SHORT_READ, "kernfs attr splice, of coresize"), KERNFS, NO_SYSFS])
    .turned_by(UNMOVED)
    .modules(&["dummy"])
    .tried(|_lab, see| {
        let (text, note) = aside(module_attributes).ok_or_else(|| {
            Stop::untestable(Lack::Device, "no module with notes is loaded", to_have("modules", "dummy"))
        })?;
        for (name, path) in [("coresize", text), ("note", note)] {
            let (content, file, pipe) = (content(&path)?, present(&path)?, pipe()?);
            see.call(format!("splice({name}, pipe, 4096)"), all(&file, &pipe.write, 4096)).is(content.len());
            see.holds(&format!("{name}: pipe's bytes, compared with read()"), &pipe.read, &content)?.says(AS_SENT);
        }
        Ok(())
    }),
    about_splice(
        "splice.source.holes",
        "From a memfd or a file on a disk with a hole of three pages, splice() gives zeros for the hole.",
    )
    .published(&[
        doc("filesystems/splice.rst", "splice API").leaves_open().since("7.3"),
        kernel("mm/shmem.c", "shmem_file_splice_read"),
        kernel("mm/filemap.c", "filemap_splice_read"),
    ])
    .turned_by(&[Lie::bytes(Sysno::read, 0, b'f')])
    .tried(|lab, see| {
        let letters = vec![b'f'; page()];
        let content = [&*letters, &vec![0; 3 * page()], &letters].concat();
        let places = places(lab.scratch()?);
        let on_disk = places.iter().filter(|place| is_on_disk(&place.filesystem));
        let mut files = vec![("memfd", memfd(&[])?)];
        for place in on_disk {
            files.push((&place.filesystem, aside(|| unnamed_file(&place.directory)).setup("create a file")?));
        }
        for (name, file) in files {
            aside(|| io::pwrite_all(&file, &letters, 0)).setup("write a file")?;
            aside(|| io::pwrite_all(&file, &letters, 4 * page() as u64)).setup("write a file")?;
            for (part, at) in [("whole", 0), ("from inside the hole", 2 * page() + 100)] {
                let (pipe, mut offset, length) = (pipe()?, at as u64, content.len() - at);
                let step = |done| splice(&file, Some(&mut offset), &pipe.write, None, length - done, NONBLOCK);
                see.call(format!("splice({name}, pipe), {part}"), io::until_done(length, step)).is(length);
                see.holds(&format!("{name}, {part}: pipe's bytes"), &pipe.read, &content[at..])?.says(AS_SENT);
            }
        }
        Ok(())
    }),
    about_splice("splice.source.tcp-urgent", "splice() from a TCP socket stops before urgent data.")
        .published(&[selftest(TCP_LOOP, "the segment with urg 100")])
        .turned_by(&[Lie::returned(Sysno::splice, 5), Lie::refused(Sysno::splice, libc::EAGAIN)])
        .method("Sends three bytes, an urgent one and two more, and splices again and again.")
        .tried(|_lab, see| {
            let (near, far) = sockets::tcp()?;
            for (bytes, flags) in [(&b"abc"[..], 0), (b"u", libc::MSG_OOB), (b"de", 0)] {
                // SAFETY: the socket has no SO_ZEROCOPY, so the kernel keeps no reference to the bytes.
                let sent = aside(|| io::again(|| unsafe { io::sendmsg(&far, bytes, flags) })).setup("sendmsg")?;
                if sent != bytes.len() {
                    return Err(Stop::broken("a segment was not taken whole"));
                }
            }
            wait_until(|| Ok(sockets::unacknowledged(&far)? == 0))?;
            let pipe = pipe()?;
            let call = || once(&near, &pipe.write, 99);
            see.call("splice(TCP socket, pipe, 99)", io::again(call)).is(3);
            see.holds("pipe's bytes", &pipe.read, b"abc")?.says(AS_SENT);
            see.call("the next splice()", aside(call));
            aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
            see.call("the next splice(), with O_NONBLOCK", aside(call));
            Ok(())
        }),
    about_splice("splice.source.ktls", "splice() from a kTLS socket puts the decrypted bytes into a pipe.")
        .published(&[selftest("net/tls.c", "tls.splice_to_pipe")])
        .turned_by(UNMOVED)
        .modules(sockets::KTLS_MODULES)
        .tried(|lab, see| {
            // A record has 16 KiB at most.
            let lengths = [("5", 5), ("a record", 16 << 10), ("two records", 32 << 10)];
            of_stream(lab, see, Fd::TlsReceiver, &lengths)
        }),
    about_splice(
        "splice.source.ktls-record",
        "splice() from a kTLS socket whose next record is not data (type 100) fails with EINVAL; recvmsg() gets it.",
    )
    .published(&[selftest("net/tls.c", "tls.splice_cmsg_to_pipe, tls.splice_dec_cmsg_to_pipe")])
    .modules(sockets::KTLS_MODULES)
    .tried(|_lab, see| {
        let ((near, far), pipe) = (sockets::ktls()?, pipe()?);
        aside(|| send_record(&near, b"no data"))?;
        see.call("splice(kTLS socket, pipe)", splice(&far, None, &pipe.write, None, 7, BLOCKING)).fails(EINVAL);
        see.readable("bytes in the pipe", &pipe.read)?.is(0);
        let mut bytes = [0; 99];
        let received = io::again(|| io::recvmsg(&far, &mut bytes, &mut [0; 64], 0));
        see.call("recvmsg(kTLS socket) after that", received.map(|received| received.bytes)).is(7);
        see.text("the record's bytes", as_sent(bytes[..7] == *b"no data")).says(AS_SENT);
        Ok(())
    }),
    about_splice(
        "splice.source.hidden-size",
        "From a FUSE file with FOPEN_DIRECT_IO that fstat() shows empty or too short, splice() gives what read() does.",
    )
    .except(LACKING)
    .published(&[
        thread(UUTILS, "cat by splice() stops at the size that a FUSE file system reports").denies().since("6.5"),
        kernel("mm/filemap.c", "filemap_splice_read").denies().since("7.3"),
        commit("2cb1e08985e3", "as cited by openzfs/zfs#15155").unread(),
    ])
    .turned_by(&[Lie::about(Sysno::splice, What::Undone(0)).where_it(true)])
    .gated(PAGE_CACHE)
    .modules(fuse::MODULES)
    .tried(|_lab, see| {
        hidden(see, 0, 0)?;
        hidden(see, 2, 0)
    }),
    about_splice(
        "splice.source.hidden-size-o-direct",
        "From a FUSE file with FOPEN_DIRECT_IO, size 0 and O_DIRECT, splice() gives the bytes of read().",
    )
    .published(&[thread(UUTILS, "a comment: with O_DIRECT, splice() falls back to a copy"), READ])
    .turned_by(&[Lie::about(Sysno::splice, What::Undone(0))])
    .modules(fuse::MODULES)
    .tried(|_lab, see| hidden(see, 0, libc::O_DIRECT)),
    about_splice(
        "splice.source.direct-io-server",
        "From a FUSE file with FOPEN_DIRECT_IO, splice() gives what the server has now, not what the page cache has.",
    )
    .published(&[
        doc("filesystems/fuse/fuse-io.rst", "Fuse I/O Modes").since("7.3"),
        kernel("fs/fuse/file.c", "fuse_splice_read").denies().since("7.3"),
        thread("fuse-devel, 2026-05-12", "use copy_splice_read() for FOPEN_DIRECT_IO splice read").unread(),
    ])
    .turned_by(&[
        Lie::bytes(Sysno::read, b'n', b'o').where_it(true),
        Lie::bytes(Sysno::read, b'o', b'n').where_it(false),
    ])
    .gated(PAGE_CACHE)
    .modules(fuse::MODULES)
    .method("Splices a file, has the server change it, and splices it again; then reads it, for contrast.")
    .tried(|_lab, see| {
        let fuse = Fuse::mount(b"o", Settings { direct_io: true, ..Settings::default() })?;
        let file = fuse.open(File::options().read(true))?;
        let pipe = pipe()?;
        aside(|| io::set_nonblocking(&pipe.read)).setup("O_NONBLOCK")?;
        let spliced = || splice(&file, Some(&mut 0), &pipe.write, None, 1, NONBLOCK);
        see.call("splice(file, pipe)", spliced()).is(1);
        fuse.change(b'n')?;
        see.call("splice(file, pipe) after the change", spliced()).is(1);
        // A call that has failed leaves fewer bytes, and the read ends with EAGAIN.
        let mut bytes = [b'?'; 2];
        let _ = io::read_full(&pipe.read, &mut bytes);
        see.text("byte spliced before the change", char::from(bytes[0]));
        see.text("byte spliced after the change", char::from(bytes[1])).says("n");
        let mut byte = [b'?'];
        io::pread(&file, &mut byte, 0).setup("pread")?;
        see.text("byte read after the change", char::from(byte[0]));
        Ok(())
    }),
];

const PAGE_CACHE: &[crate::claim::Gate] = &[gate(
    "6.5",
    "splice() takes what the page cache has, up to the size, in place of reading",
    thread("openzfs/zfs#15155", "Linux 6.5 has filemap_splice_read in place of generic_file_splice_read"),
)];

/// The sum of all lengths.
fn total() -> usize {
    lengths().iter().map(|(_, length)| length).sum()
}

fn memfd(content: &[u8]) -> Result<File, Stop> {
    let file = File::from(sealed_memfd(0)?);
    aside(|| io::pwrite_all(&file, content, 0)).setup("write a memfd")?;
    Ok(file)
}

/// A file of `/proc` or `/sys`, open for reading.
fn present(path: &Path) -> Result<File, Stop> {
    open_present(path, File::options().read(true), Lack::Kernel, "use a kernel with this file")
}

/// The bytes that `read` returns for a file.
fn content(path: &Path) -> Result<Vec<u8>, Stop> {
    let (mut file, mut bytes) = (present(path)?, Vec::new());
    aside(|| file.read_to_end(&mut bytes)).setup("read a file")?;
    Ok(bytes)
}

fn of_file(lab: &Lab, see: &mut Observation, kind: Fd) -> Result<(), Stop> {
    let content = pattern(total());
    if kind == Fd::Memfd {
        return moves(see, kind, &memfd(&content)?, &content);
    }
    note_scratch(lab, see)?;
    moves(see, kind, &lab.file(&content)?, &content)
}

fn zeros(lab: &Lab, see: &mut Observation, kind: Fd) -> Result<(), Stop> {
    moves(see, kind, &Descriptor::open(lab, kind)?, &vec![0; total()])
}

/// Splices consecutive parts of a source into pipes.
fn moves(see: &mut Observation, kind: Fd, source: &impl AsFd, content: &[u8]) -> Result<(), Stop> {
    let mut at = 0;
    for (name, length) in lengths() {
        let pipe = pipe()?;
        see.call(format!("splice({kind}, pipe, {name})"), all(source, &pipe.write, length)).is(length);
        see.holds(&format!("{name}: pipe's bytes"), &pipe.read, &content[at..at + length])?.says(AS_SENT);
        at += length;
    }
    Ok(())
}

/// Splices what a connection has received, to its end. Each length has a connection of its own.
fn of_stream(lab: &Lab, see: &mut Observation, kind: Fd, lengths: &[(&str, usize)]) -> Result<(), Stop> {
    for (name, length) in lengths {
        let ((near, far), pipe, bytes) = (connected(lab, kind)?, pipe()?, pattern(*length));
        // A pipe has room for so many buffers, which may be smaller than a page.
        aside(|| io::resize_pipe(&pipe.write, 128 * page())).setup("F_SETPIPE_SZ")?;
        aside(|| io::write_all(&far, &bytes)).setup("write")?;
        drop(far);
        let moved = io::until_done(*length, |done| splice(&near, None, &pipe.write, None, length - done, BLOCKING));
        see.call(format!("splice({kind}, pipe, {name})"), moved).is(*length);
        see.holds(&format!("{name}: pipe's bytes"), &pipe.read, &bytes)?.says(AS_SENT);
    }
    Ok(())
}

/// Splices the first 4096 bytes of a file of `/proc` or `/sys`: at once, and one byte before the others.
fn as_read(lab: &Lab, see: &mut Observation, kind: Fd) -> Result<(), Stop> {
    let mut content = vec![0; 4096];
    let length = io::read_full(&Descriptor::open(lab, kind)?, &mut content).setup("read a file")?;
    for parts in [&[4096][..], &[1, 4095]] {
        let (source, pipe) = (Descriptor::open(lab, kind)?, pipe()?);
        for part in parts {
            see.call(format!("splice({kind}, pipe, {part})"), all(&source, &pipe.write, *part)).at_least(1);
        }
        let fact = format!("{kind}, by {parts:?}: pipe's bytes, compared with read()");
        see.holds(&fact, &pipe.read, &content[..length])?.says(AS_SENT);
    }
    Ok(())
}

/// Splices one byte, and `length` of them, from a source that has something to read.
fn refuses(lab: &Lab, see: &mut Observation, kind: Fd, length: usize) -> Result<(), Stop> {
    let source: OwnedFd = match kind {
        Fd::Directory => {
            note_scratch(lab, see)?;
            aside(|| File::open(lab.scratch()?).setup("open a directory"))?.into()
        }
        _ => Descriptor::open(lab, kind)?.into_ends().0,
    };
    let _watched = aside(|| happens(lab, kind, &source))?;
    aside(|| io::wait_for(source.as_fd(), libc::POLLIN)).setup("poll")?;
    let pipe = pipe()?;
    see.call(format!("splice({kind}, pipe)"), once(&source, &pipe.write, 1)).fails(EINVAL);
    see.call(format!("splice({kind}, pipe, {length})"), once(&source, &pipe.write, length)).fails(EINVAL);
    see.readable("bytes in the pipe", &pipe.read)?.is(0);
    Ok(())
}

/// Makes the event happen that a descriptor reports. Returns the descriptor that it watches, if it needs one.
fn happens(lab: &Lab, kind: Fd, fd: &OwnedFd) -> Result<Option<OwnedFd>, Stop> {
    let raw = fd.as_raw_fd();
    let (call, done, watched) = match kind {
        Fd::Timerfd => {
            let never = libc::timespec { tv_sec: 0, tv_nsec: 0 };
            let soon = libc::itimerspec { it_interval: never, it_value: libc::timespec { tv_nsec: 1, ..never } };
            // SAFETY: the call reads one itimerspec, and is asked for no other.
            let done = unsafe { libc::timerfd_settime(raw, 0, &raw const soon, std::ptr::null_mut()) };
            ("timerfd_settime", done, None)
        }
        Fd::Signalfd => {
            // SAFETY: sigset_t is plain integers, for which zero is valid; the calls write and read this one.
            let done = unsafe {
                let mut set: libc::sigset_t = std::mem::zeroed();
                libc::sigaddset(&raw mut set, libc::SIGUSR1);
                libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut())
                    | libc::raise(libc::SIGUSR1)
            };
            ("raise", done, None)
        }
        Fd::Inotify => {
            let file = lab.empty_file()?;
            let path = CString::new(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("a path without a zero");
            // SAFETY: the path ends with a zero.
            let done = unsafe { libc::inotify_add_watch(raw, path.as_ptr(), libc::IN_MODIFY) };
            io::write_all(&file, b"event").setup("write the file")?;
            ("inotify_add_watch", done, Some(file.into()))
        }
        Fd::Epoll => {
            let eventfd = Descriptor::open(lab, Fd::Eventfd)?.into_ends().0;
            let mut event = libc::epoll_event { events: libc::EPOLLIN.cast_unsigned(), u64: 0 };
            // SAFETY: the call reads one epoll_event.
            let done = unsafe { libc::epoll_ctl(raw, libc::EPOLL_CTL_ADD, eventfd.as_raw_fd(), &raw mut event) };
            ("epoll_ctl", done, Some(eventfd))
        }
        _ => return Ok(None),
    };
    if done == -1 { Err(Stop::from_setup(call, sockets::last_errno())) } else { Ok(watched) }
}

/// A text attribute and a binary attribute of a module that has both.
fn module_attributes() -> Option<(PathBuf, PathBuf)> {
    let modules = std::fs::read_dir("/sys/module").ok()?;
    modules.flatten().find_map(|module| {
        let text = module.path().join("coresize");
        let mut notes = std::fs::read_dir(module.path().join("notes")).ok()?;
        let note = notes.next()?.ok()?.path();
        text.exists().then_some((text, note))
    })
}

/// Sends a record whose type is neither data nor one that TLS itself uses.
fn send_record(socket: &impl AsFd, bytes: &[u8]) -> Result<(), Stop> {
    /// The value in `include/uapi/linux/tls.h`.
    const TLS_SET_RECORD_TYPE: libc::c_int = 1;
    let mut control = [0_u8; 24];
    control[..8].copy_from_slice(&17_usize.to_ne_bytes());
    control[8..12].copy_from_slice(&sockets::SOL_TLS.to_ne_bytes());
    control[12..16].copy_from_slice(&TLS_SET_RECORD_TYPE.to_ne_bytes());
    control[16] = 100;
    let mut piece = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: msghdr is plain integers and pointers, for which zero is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = control.len() as _;
    // SAFETY: the message describes the bytes and the control message, which are read during the call.
    let sent = unsafe { libc::sendmsg(socket.as_fd().as_raw_fd(), &raw const message, 0) };
    if sent == -1 { Err(Stop::from_setup("sendmsg(record)", sockets::last_errno())) } else { Ok(()) }
}

/// Splices a file of five bytes whose server reports this size.
fn hidden(see: &mut Observation, size: u64, flags: libc::c_int) -> Result<(), Stop> {
    let settings = Settings { direct_io: true, hides_sizes: true, shown_size: size, ..Settings::default() };
    let fuse = Fuse::mount(b"bytes", settings)?;
    let file = fuse.open(File::options().read(true).custom_flags(flags))?;
    let named = |fact: &str| format!("size {size}: {fact}");
    see.length(&named("length that fstat() shows"), &file)?.is(size);
    see.call(named("read(file)"), io::pread(&file, &mut [0; 99], 0)).is(5);
    let (pipe, mut offset) = (pipe()?, 0);
    let moved = io::until_done(5, |_| splice(&file, Some(&mut offset), &pipe.write, None, 4096, NONBLOCK));
    see.call(named("splice(file, pipe, 4096)"), moved).is(5);
    see.holds(&named("pipe's bytes"), &pipe.read, b"bytes")?.says(AS_SENT);
    Ok(())
}
