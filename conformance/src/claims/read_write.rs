//! `read` and `write`, with which the other calls are compared.

use super::tools::{ENTRIES_LENGTH, arrived, count_copies, entries_to_tcp, read_write_hops};
use crate::claim::source::{Source, seed};
use crate::claim::{Answer, Claim, Exception, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::alias;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::filesystems::{Place, is_on_disk, places};
use crate::lab::open::set_status_flags;
use crate::lab::sinks::Kind;
use crate::lab::unnamed;
use crate::lab::usage::{self, Io, Usage};
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop, Verdict};
use std::fs::File;
use std::io::Seek;
use std::os::fd::AsFd;
use std::time::Duration;
use syscalls::{Errno, Sysno};

const INTO_BUFFER: &str = "file changed after read(), buffer's bytes";
const INTO_SINK: &str = "buffer changed after write(), receiver's bytes";

/// The claim that `read` and `write` to one kind of sink make two CPU copies.
macro_rules! copies_claim {
    ($id:literal, $kind:expr, $sink:literal) => {
        Claim {
            statement: concat!("From a file to ", $sink, ", read() and write() make two CPU copies: into the caller's buffer and out of it."),
            method: "Changes the file after read() and looks at the buffer; changes the buffer after write(), when all has \
                     arrived, and looks at what the receiver reads. Old bytes were copied.",
            sources: &[seed("2.1"), seed("2.2")],
            about: &[Sysno::read, Sysno::write],
            lies: alias::SHARING_LIES,
            ..Claim::new($id, |lab| copies(lab, $kind), |seen| Verdict::holds_if(seen.counted("CPU copies") == 2))
        }
    };
}

fn copies(lab: &Lab, kind: Kind) -> Result<Observation, Stop> {
    let hops = read_write_hops(lab, kind)?;
    let mut seen = Observation::new();
    seen.text(INTO_BUFFER, hops[0]).text(INTO_SINK, hops[1]).count("CPU copies", count_copies(&hops));
    Ok(seen)
}

/// Sends `length` bytes of `file`, from its position, through `buffer`. This is the sample's loop, with `read` in place of
/// `pread`.
pub(super) fn send(file: &impl AsFd, sink: &impl AsFd, length: usize, buffer: &mut [u8]) -> Result<u64, Errno> {
    let mut filled = 0..0;
    io::until_done(length, |done| {
        if filled.is_empty() {
            let wanted = buffer.len().min(length - done);
            filled = 0..io::read(file, &mut buffer[..wanted])?;
        }
        let count = io::write(sink, &buffer[filled.clone()])?;
        filled.start += count;
        Ok(count)
    })
    .map(|done| done as u64)
}

/// Claims about `read` into a buffer and `write` from it.
pub const CLAIMS: &[Claim] = &[
    copies_claim!("rw.copies.tcp", Kind::Tcp, "a TCP socket"),
    copies_claim!("rw.copies.unix", Kind::Unix, "an AF_UNIX socket"),
    copies_claim!("rw.copies.pipe", Kind::Pipe, "a pipe"),
    copies_claim!("rw.copies.file", Kind::File, "another file"),
    Claim {
        statement: "Every time a file is read to be sent, its data comes from the disk by DMA.",
        method: "Reads a file that is in the page cache, with the kernel's account of disk reads (/proc/self/io). On a disk \
                 file system, the first read of a file that was written past the cache shows that the account counts.",
        sources: &[seed("2.2")],
        about: &[Sysno::read],
        exceptions: &[Exception::Controls(
            "the account is the kernel's own: the first read of a file that was written past the cache is counted (on a disk), this one is not",
        )],
        ..Claim::new("rw.dma.disk", rw_dma_disk, |seen| {
            Verdict::holds_if(seen.counted("disk bytes for a file in the page cache") > 0)
        })
    },
    Claim {
        statement: "The data of a file that is not in the page cache comes from the disk.",
        method: "Writes a file to a disk past the page cache (O_DIRECT), and reads it, with the kernel's account of disk reads.",
        sources: &[seed("2.2")],
        about: &[Sysno::read],
        exceptions: &[Exception::Controls(
            "the account is the kernel's own: the same read of a cached file is not counted (rw.dma.disk)",
        )],
        ..Claim::new("rw.dma.disk-uncached", rw_dma_disk_uncached, |seen| {
            Verdict::holds_if(seen.counted("disk bytes for a file that was not cached") > 0)
        })
    },
    Claim {
        statement: "The last step, from the socket's buffer to the network, is a DMA transfer.",
        method: "Sends over loopback, sees the bytes counted by its interface, and asks sysfs whether hardware is behind it.",
        sources: &[seed("2.2")],
        about: &[Sysno::write],
        lies: &[Lie::accepted(Sysno::statx), Lie::accepted(Sysno::newfstatat), Lie::accepted(Sysno::stat)],
        ..Claim::new("rw.dma.network", rw_dma_network, |seen| {
            Verdict::holds_if(seen.is("hardware behind the interface", "yes"))
        })
    },
    Claim {
        statement: "Sending one chunk by read() and write() is two system calls, four crossings between user and kernel.",
        method: "The interposer counts the kernel entries of one read() and one write().",
        sources: &[seed("2.1"), seed("2.2")],
        about: &[Sysno::read, Sysno::write],
        traced: true,
        lies: &[Lie::shortened(Sysno::write), Lie::shortened(Sysno::read)],
        ..Claim::new("rw.entries.one-chunk", rw_entries_one_chunk, |seen| {
            Verdict::holds_if(seen.counted("one chunk") == 2)
        })
    },
    Claim {
        statement: "Sending a file by read() and write() is two system calls, four crossings between user and kernel.",
        method: "The interposer counts the kernel entries of sending 1 MiB to a TCP socket through a buffer of 64 KiB.",
        sources: &[seed("2.1"), seed("6.1")],
        about: &[Sysno::read, Sysno::write],
        traced: true,
        exceptions: &[Exception::Controls(
            "no lie makes a buffer larger; the same route with a buffer that holds all takes two calls (rw.entries.one-chunk)",
        )],
        ..Claim::new("rw.entries.whole-file", rw_entries_whole_file, |seen| {
            Verdict::holds_if(seen.counted("1 MiB through a 64 KiB buffer") == 2)
        })
    },
    Claim {
        statement: "A read() and a write() of a cached file make four context switches.",
        method: "Takes the smallest number of scheduler switches (getrusage, voluntary and involuntary) over 64 rounds of one \
                 read() and one write(). A sleep shows that switches are counted.",
        sources: &[seed("2.1"), seed("2.2"), Source::Measured],
        about: &[Sysno::read, Sysno::write],
        exceptions: &[Exception::Controls(
            "under a tracer every call switches; without one a sleep is counted and a read() and write() are not",
        )],
        ..Claim::new("rw.switches.scheduler", rw_switches_scheduler, |seen| {
            Verdict::holds_if(seen.counted("fewest switches of one read() and write()") >= 4)
        })
    },
    Claim {
        statement: "A write() of more than eight bytes to an eventfd fails with EINVAL.",
        method: "Writes sixteen bytes, the first eight of them as the number 1, and reads the eventfd.",
        sources: &[Source::Measured],
        about: &[Sysno::write],
        gates: &[gate(
            "6.9",
            "an eventfd is written eight bytes at a time, no more",
            Source::Thread(
                "Linux commit 325e56e9236e, \"eventfd: strictly check the count parameter of eventfd_write\"",
            ),
        )],
        lies: &[
            Lie::about(Sysno::write, What::OtherErrno(libc::ENOLINK)).where_it(true),
            Lie::refused(Sysno::write, libc::EINVAL).where_it(false),
        ],
        ..Claim::of_answers(
            "rw.write.eventfd",
            |lab| {
                let eventfd = Descriptor::open(lab, Fd::Eventfd)?;
                io::set_nonblocking(&eventfd).setup("O_NONBLOCK")?;
                aside(|| io::read(&eventfd, &mut [0; 8])).setup("read the eventfd")?;
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&1_u64.to_ne_bytes());
                let mut seen = Observation::new();
                seen.call("write(eventfd, 16 bytes)", io::again(|| io::write(&eventfd, &bytes)));
                let mut now = [0; 8];
                match aside(|| io::read(&eventfd, &mut now)) {
                    Ok(_) | Err(Errno::EAGAIN) => {}
                    Err(errno) => return Err(Stop::from_setup("read the eventfd", errno)),
                }
                seen.count("its number", u64::from_ne_bytes(now));
                Ok(seen)
            },
            &[("write(eventfd, 16 bytes)", Answer::Fails(Errno::EINVAL)), ("its number", Answer::Is(0))],
        )
    },
];

/// The number of bytes that one read of a file fetches from a disk, by the kernel's account.
fn disk_bytes_of_a_read(file: &File) -> Result<u64, Stop> {
    let before = Io::now()?;
    let mut buffer = [0; alias::LENGTH];
    let read = io::pread_full(file, &mut buffer, 0).setup("read the file")?;
    if read != buffer.len() || buffer != [alias::OLD; alias::LENGTH] {
        return Err(Stop::broken("the file has other bytes"));
    }
    Ok(Io::now()?.since(before).read_bytes)
}

/// The place for the file of these claims: on a disk, if there is one.
fn place(lab: &Lab) -> Result<Place, Stop> {
    let places = places(lab.scratch()?);
    let on_disk = places.iter().find(|place| is_on_disk(&place.filesystem));
    let place = on_disk.or(places.first());
    Ok(place.ok_or_else(|| Stop::broken("the scratch directory is no place"))?.clone())
}

/// Writes a file past the page cache, so that the first read does not find it there, and reads it. Dropping cached pages would
/// not be enough. That is only advice, which the kernel ignores while the pages are in use.
fn disk_bytes_uncached(place: &Place, file: &File) -> Result<u64, Stop> {
    let not_disk = |what: &str| {
        let place = format!("{} ({})", place.directory.display(), place.filesystem);
        let remedy = "name a directory on a local disk with --scratch DIR";
        Stop::untestable(Lack::Device, format!("{what} in {place}"), remedy)
    };
    if set_status_flags(file, libc::O_DIRECT).is_err() {
        return Err(not_disk("O_DIRECT is refused"));
    }
    let aligned = alias::memory(alias::LENGTH)?;
    io::pwrite_all(file, &aligned, 0).setup("write past the page cache")?;
    set_status_flags(file, 0)?;
    file.sync_all().setup("fsync")?;
    match disk_bytes_of_a_read(file)? {
        0 => Err(not_disk("reads are not disk reads")),
        fetched => Ok(fetched),
    }
}

fn rw_dma_disk(lab: &Lab) -> Result<Observation, Stop> {
    let place = place(lab)?;
    let file = unnamed::unnamed_file(&place.directory).setup("create a file")?;
    let mut seen = Observation::new();
    seen.text("file system", &place.filesystem);
    if is_on_disk(&place.filesystem) {
        let fetched = disk_bytes_uncached(&place, &file)?;
        seen.count("disk bytes for a file that was not cached", fetched);
    } else {
        io::pwrite_all(&file, &[alias::OLD; alias::LENGTH], 0).setup("write the file")?;
    }
    seen.count("disk bytes for a file in the page cache", disk_bytes_of_a_read(&file)?);
    Ok(seen)
}

fn rw_dma_disk_uncached(lab: &Lab) -> Result<Observation, Stop> {
    let place = place(lab)?;
    let file = unnamed::unnamed_file(&place.directory).setup("create a file")?;
    let mut seen = Observation::new();
    seen.text("file system", &place.filesystem);
    seen.count("disk bytes for a file that was not cached", disk_bytes_uncached(&place, &file)?);
    Ok(seen)
}

fn rw_dma_network(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    let before = usage::loopback_bytes()?;
    let sent = alias::LENGTH;
    io::write_all(&near, &[alias::OLD; alias::LENGTH]).setup("write")?;
    sockets::wait_for_arrival(&far, sent)?;
    if sockets::readable(&far)? != sent {
        return Err(Stop::broken("more bytes arrived than were sent"));
    }
    let carried = usage::loopback_bytes()? - before;
    if carried < sent as u64 {
        return Err(Stop::broken(format!("{sent} bytes arrived, but lo carried {carried}")));
    }
    // Hardware has a parent device; lo, veth, dummy and the like are /sys/devices/virtual.
    let hardware = std::path::Path::new("/sys/class/net/lo/device").exists();
    let mut seen = Observation::new();
    seen.count("bytes sent", sent as u64).text("interface", "lo");
    seen.text("hardware behind the interface", if hardware { "yes" } else { "no" });
    Ok(seen)
}

fn rw_entries_one_chunk(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let (near, far) = sockets::tcp()?;
    let mut buffer = vec![0; alias::LENGTH];
    let (entries, sent) = lab.entries(|| send(&file, &near, alias::LENGTH, &mut buffer));
    alias::all_sent(sent.setup("read and write")?)?;
    sockets::wait_for_arrival(&far, alias::LENGTH)?;
    if !arrived(&far, &[alias::OLD; alias::LENGTH])? {
        return Err(Stop::broken("the receiver got other bytes"));
    }
    let mut seen = Observation::new();
    seen.push("one chunk", entries);
    Ok(seen)
}

fn rw_entries_whole_file(lab: &Lab) -> Result<Observation, Stop> {
    let mut buffer = vec![0; 65536];
    let (entries, _) =
        entries_to_tcp(lab, |file, socket| send(file, socket, ENTRIES_LENGTH, &mut buffer).setup("read and write"))?;
    let mut seen = Observation::new();
    seen.push("1 MiB through a 64 KiB buffer", entries);
    Ok(seen)
}

fn rw_switches_scheduler(lab: &Lab) -> Result<Observation, Stop> {
    let mut file = alias::source(lab)?;
    let (near, far) = sockets::tcp()?;
    let mut buffer = [0; 4096];
    let mut fewest = u64::MAX;
    for _ in 0..64 {
        let before = Usage::now();
        let read = io::again(|| io::read(&file, &mut buffer)).setup("read")?;
        let written = io::again(|| io::write(&near, &buffer[..read])).setup("write")?;
        let used = Usage::now().since(before);
        fewest = fewest.min(used.voluntary + used.involuntary);
        let position = file.stream_position().setup("lseek")?;
        file.rewind().setup("lseek")?;
        if position != read as u64 {
            return Err(Stop::broken(format!("read() = {read} moved the position to {position}")));
        }
        sockets::wait_for_arrival(&far, written)?;
        let came = sockets::readable(&far)?;
        if written == 0 || came != written || !arrived(&far, &[alias::OLD; 4096][..came])? {
            return Err(Stop::broken(format!("{came} bytes came of {written}, or other ones")));
        }
    }
    // Long enough that the timer cannot fire before the thread sleeps.
    let before = Usage::now();
    std::thread::sleep(Duration::from_millis(5));
    let now = Usage::now();
    let control = now.since(before).voluntary;
    if now.voluntary + now.involuntary == 0 {
        return Err(Stop::untestable(
            Lack::Kernel,
            "getrusage() counts no context switches: none so far, and a sleep is none",
            "use a kernel that counts them",
        ));
    }
    if control == 0 {
        return Err(Stop::broken("a sleep was not counted as a switch"));
    }
    let mut seen = Observation::new();
    seen.count("fewest switches of one read() and write()", fewest).count("switches of a sleep", control);
    Ok(seen)
}
