//! How many bytes the kernel's copy functions copy, by breakpoints on them: on a machine of our own, as root.
//!
//! The functions that move bytes between the kernel and a process are compiled without the hooks that tracing needs. A processor's
//! breakpoint stops at any address, and the registers there have the count. What `MSG_ZEROCOPY` copies after all is copied elsewhere,
//! in a function that can be traced, with the count in the packet.

use crate::lab::io::NO_FD;
use crate::lab::mounts;
use crate::verdict::{Lack, Setup, Stop};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use syscalls::{Errno, Sysno, syscall};

/// `PERF_REG_X86_*` of `asm/perf_regs.h`.
#[derive(Clone, Copy)]
enum Register {
    Dx = 3,
    Si = 4,
}

/// A function that copies, with the register in which its count is.
struct Function {
    name: &'static str,
    count: Register,
}

const FROM_USER: Function = Function {
    name: "_copy_from_iter",
    count: Register::Si,
};
/// By which most sockets take what they send, before Linux 5.13.
const FROM_USER_FULL: Function = Function {
    name: "_copy_from_iter_full",
    count: Register::Si,
};
/// By which `AF_UNIX` takes it then, beside the first. A processor has four breakpoints, so not all are watched at once.
const PAGE_FROM_USER: Function = Function {
    name: "copy_page_from_iter",
    count: Register::Dx,
};
const TO_USER: Function = Function {
    name: "_copy_to_iter",
    count: Register::Si,
};
/// By which `read` copies before Linux 6.1. It also gives pages to pipes, so it is watched for `read` alone.
const PAGE_TO_USER: Function = Function {
    name: "copy_page_to_iter",
    count: Register::Dx,
};

/// `struct perf_event_attr` of `linux/perf_event.h`, as long as Linux 4.1 has it.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    bp_addr: u64,
    bp_len: u64,
    branch_sample_type: u64,
    sample_regs_user: u64,
    sample_stack_user: u32,
    clockid: i32,
    sample_regs_intr: u64,
    aux_watermark: u32,
    sample_max_stack: u16,
    reserved: u16,
}

const PERF_TYPE_BREAKPOINT: u32 = 5;
const PERF_SAMPLE_TID: u64 = 1 << 1;
const PERF_SAMPLE_REGS_INTR: u64 = 1 << 18;
const HW_BREAKPOINT_X: u32 = 4;
const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;

/// A breakpoint on one processor, and the ring in which the kernel notes who came by.
struct Breakpoint {
    _event: OwnedFd,
    ring: *mut Page,
}

const PAGE: usize = size_of::<Page>();
/// A power of two.
const RING: usize = 128 * PAGE;

/// `struct perf_event_mmap_page`, as far as it is looked at.
#[repr(C, align(4096))]
struct Page {
    before: [u8; 1024],
    data_head: AtomicU64,
}

impl Drop for Breakpoint {
    fn drop(&mut self) {
        // SAFETY: the ring was mapped with this length, and nobody holds a reference to it.
        unsafe { libc::munmap(self.ring.cast(), PAGE + RING) };
    }
}

impl Breakpoint {
    fn set(address: u64, count: Register, cpu: usize) -> Result<Self, Errno> {
        let attributes = Attributes {
            kind: PERF_TYPE_BREAKPOINT,
            size: u32::try_from(size_of::<Attributes>()).unwrap_or(0),
            sample_period: 1,
            sample_type: PERF_SAMPLE_TID | PERF_SAMPLE_REGS_INTR,
            bp_type: HW_BREAKPOINT_X,
            bp_addr: address,
            bp_len: 8,
            sample_regs_intr: 1 << count as u64,
            ..Attributes::default()
        };
        let (everybody, no_group, no_flags) = (NO_FD, NO_FD, 0);
        // SAFETY: the attributes are of the length that they say; the result is a descriptor of our own.
        let event = unsafe {
            let number = syscall!(
                Sysno::perf_event_open,
                &raw const attributes,
                everybody,
                cpu,
                no_group,
                no_flags
            )?;
            OwnedFd::from_raw_fd(libc::c_int::try_from(number).map_err(|_| Errno::EBADF)?)
        };
        // SAFETY: a new mapping, where the kernel likes.
        let ring = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                PAGE + RING,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                event.as_raw_fd(),
                0,
            )
        };
        if ring == libc::MAP_FAILED {
            return Err(Errno::new(
                std::io::Error::last_os_error()
                    .raw_os_error()
                    .unwrap_or(libc::EIO),
            ));
        }
        Ok(Self {
            _event: event,
            ring: ring.cast(),
        })
    }

    /// Who came by with which count. An error if some were not noted.
    fn samples(&self) -> Result<Vec<(u32, u64)>, Stop> {
        // SAFETY: the first page is mapped as long as this is there, and the kernel writes its head whole.
        let head = unsafe { &(*self.ring).data_head }.load(Ordering::Acquire);
        let head = usize::try_from(head).unwrap_or(usize::MAX);
        if head > RING {
            return Err(Stop::broken("more was copied than there is room to note"));
        }
        // SAFETY: the data is behind the first page; up to its head the kernel has written it, and does not write it again.
        let mut data = unsafe { std::slice::from_raw_parts(self.ring.add(1).cast::<u8>(), head) };
        let mut samples = Vec::new();
        // A header: type, flags, size. A sample: process, thread, the registers' ABI, the register.
        while let Some((header, _)) = data.split_first_chunk::<8>() {
            let word = |bytes: &[u8], at: usize| {
                let four = bytes.get(at..at + 4).and_then(|four| four.try_into().ok());
                four.map_or(0, u32::from_ne_bytes)
            };
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            let Some(record) = data.get(..size).filter(|_| size >= 8) else {
                return Err(Stop::broken("a record of perf is cut off"));
            };
            match word(record, 0) {
                PERF_RECORD_LOST => return Err(Stop::broken("perf has lost records")),
                PERF_RECORD_SAMPLE => {
                    let count = record.get(24..32).and_then(|eight| eight.try_into().ok());
                    samples.push((word(record, 12), count.map_or(0, u64::from_ne_bytes)));
                }
                _ => {}
            }
            data = &data[size..];
        }
        Ok(samples)
    }
}

/// The functions of the kernel that were called while this was there, and with how many bytes.
pub struct Watch {
    by_workers: bool,
    from_user: Vec<Breakpoint>,
    to_user: Vec<Breakpoint>,
    packets: Packets,
}

/// What is known of the sender that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// It calls `read`.
    pub reads: bool,
    /// It sends to an `AF_UNIX` socket.
    pub is_unix: bool,
    /// Threads of the kernel send for it.
    pub by_workers: bool,
}

/// Bytes that the kernel has copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// On the way from the source to the sink: by the sender, and by whoever found that a packet's memory was the user's.
    pub sending: u64,
    /// By the receiver.
    pub receiving: u64,
}

impl Watch {
    /// Begins to watch such a sender.
    pub fn begin(sender: Sender) -> Result<Self, Stop> {
        let symbols = Symbols::read()?;
        let set = |function: &Function| {
            let Some(address) = symbols.find(function.name) else {
                return Ok(vec![]);
            };
            let set = |cpu| Breakpoint::set(address, function.count, cpu);
            (0..processors()).map(set).collect::<Result<Vec<_>, _>>()
        };
        let lacks = |errno: Errno| {
            let said = format!("no breakpoint can be set on a function of the kernel: {errno:?}");
            Stop::untestable(
                Lack::Privilege,
                said,
                "run it in a guest: conformance ledger --kernels 7.3",
            )
        };
        let mut to_user = set(&TO_USER).map_err(lacks)?;
        let old_kernel = symbols.find(FROM_USER_FULL.name).is_some();
        if sender.reads && old_kernel {
            to_user.extend(set(&PAGE_TO_USER).map_err(lacks)?);
        }
        let mut from_user = Vec::new();
        let functions: &[Function] = match (old_kernel, sender.is_unix) {
            (false, _) => &[FROM_USER],
            (true, false) => &[FROM_USER_FULL],
            (true, true) => &[FROM_USER, PAGE_FROM_USER],
        };
        for function in functions {
            from_user.extend(set(function).map_err(lacks)?);
        }
        Ok(Self {
            by_workers: sender.by_workers,
            from_user,
            to_user,
            packets: Packets::watch()?,
        })
    }

    /// What was copied, where the sender is this thread and whoever else copies to a user is the receiver.
    pub fn end(self) -> Result<Copied, Stop> {
        // SAFETY: gettid takes nothing.
        let sender = unsafe { libc::gettid() }.cast_unsigned();
        let mut copied = Copied {
            sending: self.packets.bytes()?,
            receiving: 0,
        };
        for (thread, count) in all(&self.from_user)? {
            let is_ours = thread == sender || self.by_workers;
            copied.sending += if is_ours { count } else { 0 };
        }
        for (thread, count) in all(&self.to_user)? {
            if thread == sender {
                copied.sending += count;
            } else {
                copied.receiving += count;
            }
        }
        Ok(copied)
    }
}

fn all(breakpoints: &[Breakpoint]) -> Result<Vec<(u32, u64)>, Stop> {
    let mut all = Vec::new();
    for breakpoint in breakpoints {
        all.extend(breakpoint.samples()?);
    }
    Ok(all)
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The kernel's functions with their addresses.
struct Symbols(String);

impl Symbols {
    /// They are many, and stay as they are.
    fn read() -> Result<&'static Self, Stop> {
        static READ: OnceLock<Symbols> = OnceLock::new();
        if READ.get().is_none() {
            let text = fs::read_to_string("/proc/kallsyms").setup("/proc/kallsyms")?;
            let is_of_interest = |line: &&str| line.contains("copy_");
            let lines: Vec<&str> = text.lines().filter(is_of_interest).collect();
            let _ = READ.set(Self(lines.join("\n")));
        }
        READ.get()
            .ok_or_else(|| Stop::broken("no symbols were read"))
    }

    /// The address of a function, if the kernel has it, and shows it.
    fn find(&self, name: &str) -> Option<u64> {
        self.0.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = words.next()?;
            (words.nth(1) == Some(name)).then(|| u64::from_str_radix(address, 16).ok())?
        })
    }
}

/// Counts what `skb_copy_ubufs` copies, by a probe of tracefs: a packet whose memory is the user's, on its way to a receiver.
struct Packets {
    directory: PathBuf,
    _mount: OwnedFd,
}

/// `data_len` of `struct sk_buff`, at the same place on every kernel of the matrix.
const PROBE: &str = "p:nocopy/ubufs skb_copy_ubufs bytes=+116(%di):u32";

impl Packets {
    fn watch() -> Result<Self, Stop> {
        let mount = mounts::mounted(c"tracefs", &[], 0).map_err(|errno| {
            let said = format!("tracefs cannot be mounted: {errno:?}");
            Stop::untestable(Lack::Privilege, said, "run it as root")
        })?;
        let packets = Self {
            directory: Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string()),
            _mount: mount,
        };
        packets.tell("kprobe_events", PROBE)?;
        packets.tell("trace", "")?;
        packets.tell("events/nocopy/ubufs/enable", "1")?;
        Ok(packets)
    }

    fn tell(&self, file: &str, words: &str) -> Result<(), Stop> {
        let path = self.directory.join(file);
        let mut opened = File::options()
            .write(true)
            .truncate(true)
            .open(path)
            .setup(file)?;
        opened.write_all(words.as_bytes()).setup(file)
    }

    /// The bytes of all packets so far.
    fn bytes(&self) -> Result<u64, Stop> {
        let trace = fs::read_to_string(self.directory.join("trace")).setup("trace")?;
        let counts = trace.lines().filter_map(|line| {
            let (_, count) = line.split_once("bytes=")?;
            count.trim().parse::<u64>().ok()
        });
        Ok(counts.sum())
    }
}

impl Drop for Packets {
    fn drop(&mut self) {
        for (file, words) in [
            ("events/nocopy/ubufs/enable", "0"),
            ("kprobe_events", "-:nocopy/ubufs"),
        ] {
            // It is tried: the machine is a guest of the run's own.
            let _ = self.tell(file, words);
        }
    }
}
