//! `mmap` and `write`.

use super::tools::{all_arrived, count_copies, entries_of, mmap_write_hops, read_write_hops};
use crate::claim::source::{Source, seed};
use crate::claim::{Claim, Exception};
use crate::interpose::lie::{Field, Lie, What};
use crate::lab::alias::{self, OLD};
use crate::lab::completions::Completions;
use crate::lab::sinks::{Kind, Sink};
use crate::lab::usage::Usage;
use crate::lab::{Lab, io, map_file, netns, sockets};
use crate::routes::{Route, WHOLE};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_mmap::{MapFlags, Prot, mmap, munmap};
use nocopy_msg_zerocopy::{SendFlags, send_zerocopy};
use syscalls::{Errno, Sysno};

/// The claim that `mmap` and `write` to one kind of sink make one CPU copy.
macro_rules! copies_claim {
    ($id:literal, $kind:expr, $sink:literal) => {
        Claim {
            statement: concat!("From a file to ", $sink, ", mmap() and write() make one CPU copy: out of the mapping."),
            method: "Writes the mapping, changes the file when all has arrived, and looks at the mapping and at what the \
                     receiver reads. Old bytes were copied, new ones are shared with the file.",
            sources: &[seed("3.1")],
            about: &[Sysno::mmap, Sysno::write],
            lies: HOP_LIES,
            ..Claim::new(
                $id,
                |lab| {
                    let hops = mmap_write_hops(lab, $kind)?;
                    let mut seen = Observation::new();
                    seen.text("file changed, mapping's bytes", hops[0]);
                    seen.text("file changed after write(), receiver's bytes", hops[1]);
                    seen.count("CPU copies", count_copies(&hops));
                    Ok(seen)
                },
                |seen| Verdict::holds_if(seen.counted("CPU copies") == 1),
            )
        }
    };
}

/// Lies: the mapping is a copy, or the receiver gets the file's pages.
const HOP_LIES: &[Lie] = &[
    Lie::about(Sysno::mmap, What::Unshared),
    Lie::bytes(Sysno::read, OLD, alias::NEW),
    Lie::bytes(Sysno::pread64, OLD, alias::NEW),
];

/// Claims about writing from a mapping.
pub const CLAIMS: &[Claim] = &[
    copies_claim!("mmap-write.copies.tcp", Kind::Tcp, "a TCP socket"),
    copies_claim!("mmap-write.copies.unix", Kind::Unix, "an AF_UNIX socket"),
    copies_claim!("mmap-write.copies.pipe", Kind::Pipe, "a pipe"),
    copies_claim!("mmap-write.copies.file", Kind::File, "another file"),
    Claim {
        statement: "mmap() and write() make one copy fewer than read() and write(): the one into user memory.",
        method: "Counts the CPU copies of both ways to a TCP socket, hop by hop, by changing the source of each hop.",
        sources: &[seed("3.1"), seed("6.1")],
        about: &[Sysno::mmap, Sysno::write, Sysno::read],
        lies: &[Lie::about(Sysno::mmap, What::Unshared)],
        ..Claim::new("mmap-write.copies.one-fewer", mmap_write_copies_one_fewer, |seen| {
            Verdict::holds_if(
                seen.counted("CPU copies of read and write") == seen.counted("CPU copies of mmap and write") + 1,
            )
        })
    },
    Claim {
        statement: "mmap() of the whole file, one write() of the mapping and munmap(), as in the sample, send a file.",
        method: "Makes the three calls with the sample's arguments for a file of four pages and reads what arrives.",
        sources: &[seed("3.1")],
        about: &[Sysno::mmap, Sysno::write, Sysno::munmap, Sysno::mincore],
        lies: &[Lie::shortened(Sysno::write), Lie::skipped(Sysno::munmap)],
        ..Claim::new(
            "mmap-write.sample.whole-file",
            |lab| sample(lab, alias::LENGTH),
            |seen| {
                Verdict::holds_if(
                    seen.is("bytes at the receiver", "the file's")
                        && seen.returned("munmap()") == Some(0)
                        && seen.failed_with("mincore() afterwards", Errno::ENOMEM),
                )
            },
        )
    },
    Claim {
        statement: "The sample with mmap() and write() sends a file of any size.",
        method: "Makes the sample's calls for an empty file.",
        sources: &[seed("3.1"), Source::Man("mmap(2), man-pages 6.20")],
        about: &[Sysno::mmap],
        lies: &[Lie::accepted(Sysno::mmap)],
        ..Claim::new(
            "mmap-write.sample.empty-file",
            |lab| sample(lab, 0),
            |seen| Verdict::holds_if(seen.is("mmap(NULL, 0, PROT_READ, MAP_PRIVATE, file, 0)", "mapped")),
        )
    },
    Claim {
        statement: "write() of a mapping whose file has been truncated fails with EFAULT; it does not raise SIGBUS.",
        method: "Maps two pages, truncates the file to nothing, and writes the mapping to a TCP socket.",
        sources: &[Source::Measured],
        about: &[Sysno::write],
        lies: &[Lie::accepted(Sysno::write), Lie::about(Sysno::write, What::OtherErrno(libc::EIO))],
        ..Claim::new("mmap-write.sample.truncated-efault", mmap_write_sample_truncated_efault, |seen| {
            Verdict::holds_if(seen.failed_with("write(socket, mapping past the end of the file)", Errno::EFAULT))
        })
    },
    Claim {
        statement: "Sending a file by mmap() and write() is one system call, two crossings: two fewer than read() and write().",
        method: "The interposer counts the kernel entries of mapping, writing and unmapping 1 MiB; getrusage counts the page \
                 faults, which enter the kernel too.",
        sources: &[seed("3.1"), seed("6.1")],
        about: &[Sysno::mmap, Sysno::write],
        traced: true,
        exceptions: &[Exception::Controls(
            "three calls are three whatever the kernel answers; the interposer's count is checked by rw.entries.one-chunk",
        )],
        varies: &["page faults meanwhile"],
        ..Claim::new("mmap-write.entries.count", mmap_write_entries_count, |seen| {
            Verdict::holds_if(seen.counted("1 MiB mapped, written, unmapped") == 1)
        })
    },
    Claim {
        statement: "From a mapping to a socket, one CPU copy is always needed.",
        method: "Sends a mapped file with MSG_ZEROCOPY as a UDP datagram out of a device that drops it (dummy or ifb, in a \
                 network namespace) and reads from the completion whether the kernel copied.",
        sources: &[seed("3.1")],
        about: &[Sysno::sendto, Sysno::recvmsg],
        modules: &["dummy"],
        lies: &[Lie::completion(Field::Code, 1)],
        exceptions: &[Exception::Of(Sysno::sendto, What::Shortened, "a datagram is sent whole")],
        varies: &["completions"],
        ..Claim::new("mmap-write.zerocopy.dropping-device", mmap_write_zerocopy_dropping_device, |seen| {
            Verdict::holds_if(seen.counted("completions marked as copied") > 0)
        })
    },
];

fn mmap_write_copies_one_fewer(lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    seen.count("CPU copies of read and write", count_copies(&read_write_hops(lab, Kind::Tcp)?));
    seen.count("CPU copies of mmap and write", count_copies(&mmap_write_hops(lab, Kind::Tcp)?));
    Ok(seen)
}

/// The three calls of the sample, with its arguments.
fn sample(lab: &Lab, file_size: usize) -> Result<Observation, Stop> {
    let content = crate::lab::pattern(file_size);
    let file = lab.file(&content)?;
    let sink = Sink::open(lab, Kind::Tcp)?;
    let mut seen = Observation::new();
    let call = format!("mmap(NULL, {file_size}, PROT_READ, MAP_PRIVATE, file, 0)");
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let mapped =
        unsafe { mmap(std::ptr::null_mut(), file_size, Prot::READ, MapFlags::PRIVATE, Some((&file).into()), 0) };
    let mapping = match mapped {
        Ok(mapping) => {
            seen.text(call, "mapped");
            mapping
        }
        // An empty file cannot be mapped.
        Err(errno) if file_size == 0 => {
            seen.call(call, Err(errno));
            return Ok(seen);
        }
        Err(errno) => return Err(Stop::broken(format!("{call}: {errno:?}"))),
    };
    // SAFETY: the range was mapped above and no reference to it exists.
    let written = io::again(|| unsafe { io::write_from(&sink, mapping.cast(), file_size) });
    // SAFETY: the mapping was made above, and nothing refers to it any more.
    let unmapped = unsafe { munmap(mapping, file_size) };
    seen.call("write(socket, mapping)", written);
    seen.call("munmap()", unmapped.map(|()| 0));
    let resident = &mut [0_u8; alias::LENGTH / 4096];
    // SAFETY: mincore writes one byte per page into `resident`, if the range is mapped.
    let still = unsafe { libc::mincore(mapping.cast(), file_size, resident.as_mut_ptr()) };
    let still = if still == -1 { Err(sockets::last_errno()) } else { Ok(0) };
    seen.call("mincore() afterwards", still);
    let count = written.unwrap_or(0);
    let same = sink.take(count)? == content;
    seen.text("bytes at the receiver", if same { "the file's" } else { "others" });
    Ok(seen)
}

fn mmap_write_sample_truncated_efault(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&[OLD; 2 * 4096])?;
    let mapping = map_file(&file, 2 * 4096).setup("mmap")?;
    io::truncate(&file, 0).setup("ftruncate")?;
    let sink = Sink::open(lab, Kind::Tcp)?;
    let mut seen = Observation::new();
    // SAFETY: the kernel checks every access; the range lies in the mapping.
    let written = io::again(|| unsafe { io::write_from(&sink, mapping.as_ptr(), 2 * 4096) });
    seen.call("write(socket, mapping past the end of the file)", written);
    Ok(seen)
}

fn mmap_write_entries_count(lab: &Lab) -> Result<Observation, Stop> {
    let before = Usage::now();
    let (entries, _, arrived) = entries_of(lab, Route::MmapWrite { window: WHOLE })?;
    let faults = Usage::now().since(before).minor_faults;
    all_arrived(arrived)?;
    let mut seen = Observation::new();
    seen.push("1 MiB mapped, written, unmapped", entries).count("page faults meanwhile", faults);
    Ok(seen)
}

fn mmap_write_zerocopy_dropping_device(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let socket = netns::udp_into_nothing()?;
    let mapping = map_file(&file, alias::LENGTH).setup("mmap")?;
    let zerocopy = sockets::zerocopy_on(&socket)?;
    // SAFETY: nothing changes or truncates the file while the slice is in use.
    let bytes = unsafe { mapping.as_slice() };
    // SAFETY: the mapping outlives the completion, for which we wait.
    let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &bytes[..netns::DATAGRAM], SendFlags::empty()) });
    let sent = sent.setup("send")?;
    let completions = Completions::wait(&socket, 1).setup("read the completions")?;
    let mut seen = Observation::new();
    seen.count("bytes sent from the mapping", sent as u64).text("completions", &completions);
    seen.count("completions marked as copied", completions.copied());
    Ok(seen)
}
