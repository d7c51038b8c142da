//! Counts the bytes that the kernel's copy functions copy, by breakpoints on them. This needs root on a disposable machine.
//!
//! The functions that move bytes between the kernel and a process are compiled without the hooks that tracing needs. A
//! processor's breakpoint stops at any address, and a register holds the count there. When `MSG_ZEROCOPY` falls back to a copy,
//! another function makes it. That function can be traced, and the packet holds the count.
//!
//! The functions that copy, and the offset of the count in a packet, depend on the version and the configuration. A control finds
//! them: it copies a known number of bytes, and the breakpoints must count this number. If they do not, nothing is counted.

use crate::lab::completions::Completions;
use crate::lab::io::{self, NO_FD};
use crate::lab::{alias, mounts, sockets};
use crate::verdict::{Lack, Setup, Stop};
use nocopy_msg_zerocopy::{SendFlags, send_zerocopy};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
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

/// A function that copies, and the register that holds its count.
#[derive(Clone, Copy)]
struct Function {
    name: &'static str,
    count: Register,
}

/// The functions by which the kernel may take the bytes that a process sends. A processor has four breakpoints.
const FROM_USER: &[Function] = &[
    Function { name: "_copy_from_iter", count: Register::Si },
    Function { name: "_copy_from_iter_full", count: Register::Si },
    Function { name: "copy_page_from_iter", count: Register::Dx },
];
/// The functions by which the kernel may give a process the bytes that it reads. The second one also gives pages to pipes, so it
/// is watched for `read` only.
const TO_USER: &[Function] = &[
    Function { name: "_copy_to_iter", count: Register::Si },
    Function { name: "copy_page_to_iter", count: Register::Dx },
];

/// `struct perf_event_attr` of `linux/perf_event.h`, with the length that it has in Linux 4.1.
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

/// A breakpoint on one processor, and the ring in which the kernel records each hit.
struct Breakpoint {
    _event: OwnedFd,
    ring: *mut Page,
}

const PAGE: usize = size_of::<Page>();
/// A power of two.
const RING: usize = 128 * PAGE;

/// `struct perf_event_mmap_page`, up to the field that is read here.
#[repr(C, align(4096))]
struct Page {
    before: [u8; 1024],
    data_head: AtomicU64,
}

impl Drop for Breakpoint {
    fn drop(&mut self) {
        // SAFETY: the ring was mapped with this length, and no reference to it exists.
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
            let number = syscall!(Sysno::perf_event_open, &raw const attributes, everybody, cpu, no_group, no_flags)?;
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
            return Err(Errno::new(std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)));
        }
        Ok(Self { _event: event, ring: ring.cast() })
    }

    /// The thread and the count of each hit. An error if the kernel has lost some.
    fn samples(&self) -> Result<Vec<(u32, u64)>, Stop> {
        // SAFETY: the first page is mapped as long as this is there, and the kernel writes its head whole.
        let head = unsafe { &(*self.ring).data_head }.load(Ordering::Acquire);
        let head = usize::try_from(head).unwrap_or(usize::MAX);
        if head > RING {
            return Err(Stop::broken("more was copied than there is room to note"));
        }
        // SAFETY: the data follows the first page. The kernel has written it up to its head, and does not write it again.
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
                return Err(Stop::broken("truncated perf record"));
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

/// Breakpoints on the kernel's copy functions, which record each call and its count until [`end`](Self::end).
pub struct Watch {
    by_workers: bool,
    from_user: Vec<Breakpoint>,
    /// Functions by which the receiver reads.
    to_user: Vec<Breakpoint>,
    /// Further functions, by which only the sender reads.
    to_sender: Vec<Breakpoint>,
    packets: Packets,
}

/// The properties of the sender that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// It calls `read`.
    pub reads: bool,
    /// It sends to an `AF_UNIX` socket.
    pub is_unix: bool,
    /// Kernel threads send for it.
    pub by_workers: bool,
}

/// Numbers of bytes that the kernel has copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Copied on the way from the source to the sink. The sender's copies count, and so do copies of packets whose memory is the
    /// user's.
    pub sending: u64,
    /// Copied by the receiver.
    pub receiving: u64,
}

/// The results of the controls for this kernel.
struct Known {
    /// The functions by which a TCP socket takes written bytes.
    to_tcp: Vec<Function>,
    /// The functions by which an `AF_UNIX` socket takes written bytes.
    to_unix: Vec<Function>,
    /// The functions by which a file is read.
    from_file: Vec<Function>,
    /// The functions by which a socket is read.
    from_socket: Vec<Function>,
    /// The offset of `data_len` in `struct sk_buff`.
    data_len: usize,
}

/// The number of bytes that a control copies. It is not a power of two. It is whole pages, because old kernels call the function
/// for a whole page even if less is left to read.
const CONTROL: usize = 13 * 4096;

impl Known {
    /// The result for this kernel, which is found once.
    fn of_kernel(source: &File) -> Result<&'static Self, Stop> {
        static KNOWN: OnceLock<Result<Known, Stop>> = OnceLock::new();
        KNOWN.get_or_init(|| Self::find(source)).as_ref().map_err(Stop::clone)
    }

    fn find(source: &File) -> Result<Self, Stop> {
        let bytes = vec![b'c'; CONTROL];
        let mut read = vec![0; CONTROL];
        let (near, far) = sockets::tcp()?;
        let to_tcp = that_copy(FROM_USER, "write() to a TCP socket", || io::write_all(&near, &bytes).setup("write"))?;
        sockets::wait_for_arrival(&far, CONTROL)?;
        let from_socket =
            that_copy(TO_USER, "read() of a TCP socket", || io::read_full(&far, &mut read).map(drop).setup("read"))?;
        let (near, _far) = UnixStream::pair().setup("socketpair")?;
        let to_unix =
            that_copy(FROM_USER, "write() to an AF_UNIX socket", || io::write_all(&near, &bytes).setup("write"))?;
        let from_file =
            that_copy(TO_USER, "read() of a file", || match io::pread_full(source, &mut read, 0).setup("pread")? {
                CONTROL => Ok(()),
                _ => Err(Stop::broken("the file is too short for a control")),
            })?;
        Ok(Self { to_tcp, to_unix, from_file, from_socket, data_len: data_len()? })
    }
}

/// Returns those functions that are called with [`CONTROL`] bytes in all while this thread does `work`, which copies that number.
fn that_copy(
    functions: &[Function],
    what: &str,
    work: impl FnOnce() -> Result<(), Stop>,
) -> Result<Vec<Function>, Stop> {
    let mut watched = Vec::new();
    for function in functions {
        let breakpoints = set(function)?;
        if !breakpoints.is_empty() {
            watched.push((*function, breakpoints));
        }
    }
    work()?;
    let own = thread();
    let mut counts = Vec::new();
    for (function, breakpoints) in &watched {
        let calls = all(breakpoints)?.into_iter();
        let bytes = calls.filter(|(thread, _)| *thread == own);
        counts.push((*function, bytes.map(|(_, count)| count).sum::<u64>()));
    }
    smallest_that_sums_up(&counts, CONTROL as u64).ok_or_else(|| {
        let seen: Vec<String> = counts.iter().map(|(function, count)| format!("{} {count}", function.name)).collect();
        Stop::untestable(
            Lack::Kernel,
            format!("not counted: of {CONTROL} bytes by {what} the known functions copy [{}]", seen.join(", ")),
            "use a kernel of the matrix, or report which function copies there",
        )
    })
}

/// The smallest subset whose counts add up to `whole`. Of subsets of the same size, the first one.
fn smallest_that_sums_up<T: Copy>(counts: &[(T, u64)], whole: u64) -> Option<Vec<T>> {
    let mut subsets: Vec<u32> = (1..1 << counts.len()).collect();
    subsets.sort_by_key(|subset| subset.count_ones());
    let of = |subset: u32| {
        let members = counts.iter().enumerate();
        members.filter(move |(at, _)| subset >> at & 1 == 1).map(|(_, counted)| *counted)
    };
    let found = subsets.into_iter().find(|subset| of(*subset).map(|(_, count)| count).sum::<u64>() == whole)?;
    Some(of(found).map(|(function, _)| function).collect())
}

/// Sets breakpoints on a function, on every processor. The list is empty if the kernel does not have the function.
fn set(function: &Function) -> Result<Vec<Breakpoint>, Stop> {
    let Some(address) = Symbols::read()?.find(function.name) else {
        return Ok(vec![]);
    };
    let hidden = "no address of a function of the kernel is shown in /proc/kallsyms";
    if address == 0 {
        return Err(Stop::untestable(Lack::Privilege, hidden, "run it as root"));
    }
    let set = |cpu| Breakpoint::set(address, function.count, cpu);
    let all: Result<Vec<_>, Errno> = (0..processors()).map(set).collect();
    all.map_err(no_breakpoint)
}

/// The reason why no breakpoint can be set. A refusal that root gets too is not a lack of privilege.
fn no_breakpoint(errno: Errno) -> Stop {
    let said = format!("no breakpoint can be set on a function of the kernel: {errno:?}");
    match errno {
        Errno::EPERM | Errno::EACCES => {
            Stop::untestable(Lack::Privilege, said, "run it in a guest: conformance ledger --kernels 7.3")
        }
        Errno::ENOSPC | Errno::EBUSY => Stop::untestable(
            Lack::Resource,
            said,
            "end what else uses the processor's breakpoints: perf, or a debugger",
        ),
        _ => Stop::untestable(
            Lack::Kernel,
            said,
            "use a kernel with CONFIG_PERF_EVENTS, CONFIG_HAVE_HW_BREAKPOINT and CONFIG_KALLSYMS, or a kernel of the matrix",
        ),
    }
}

fn thread() -> u32 {
    // SAFETY: gettid takes nothing.
    unsafe { libc::gettid() }.cast_unsigned()
}

impl Watch {
    /// Starts to watch a sender that sends from this file.
    pub fn begin(sender: Sender, source: &File) -> Result<Self, Stop> {
        let known = Known::of_kernel(source)?;
        let by = if sender.is_unix { &known.to_unix } else { &known.to_tcp };
        let breakpoints = |functions: &mut dyn Iterator<Item = &Function>| {
            let each: Result<Vec<_>, Stop> = functions.map(set).collect();
            each.map(|each| each.into_iter().flatten().collect::<Vec<_>>())
        };
        let is_watched = |function: &&Function| known.from_socket.iter().any(|other| other.name == function.name);
        let mut besides = known.from_file.iter().filter(|function| sender.reads && !is_watched(function));
        Ok(Self {
            by_workers: sender.by_workers,
            from_user: breakpoints(&mut by.iter())?,
            to_user: breakpoints(&mut known.from_socket.iter())?,
            to_sender: breakpoints(&mut besides)?,
            packets: Packets::watch(&[known.data_len])?,
        })
    }

    /// Returns the counts. This thread is the sender, and every other thread that copies to a user is the receiver.
    pub fn end(self) -> Result<Copied, Stop> {
        let sender = thread();
        let mut copied = Copied { sending: self.packets.bytes()?.first().copied().unwrap_or(0), receiving: 0 };
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
        for (thread, count) in all(&self.to_sender)? {
            copied.sending += if thread == sender { count } else { 0 };
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
    /// Reads the symbols once: the list is long and does not change.
    fn read() -> Result<&'static Self, Stop> {
        static READ: OnceLock<Symbols> = OnceLock::new();
        if READ.get().is_none() {
            let text = fs::read_to_string("/proc/kallsyms").setup("/proc/kallsyms")?;
            let is_of_interest = |line: &&str| line.contains("copy_");
            let lines: Vec<&str> = text.lines().filter(is_of_interest).collect();
            let _ = READ.set(Self(lines.join("\n")));
        }
        READ.get().ok_or_else(|| Stop::broken("no symbols were read"))
    }

    /// The address of a function, if the kernel has it and shows it.
    fn find(&self, name: &str) -> Option<u64> {
        self.0.lines().find_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = words.next()?;
            (words.nth(1) == Some(name)).then(|| u64::from_str_radix(address, 16).ok())?
        })
    }
}

/// Finds the offset of `data_len` in `struct sk_buff`, which depends on the kernel's configuration. This field alone has the
/// number of bytes sent in every packet that is copied after all.
fn data_len() -> Result<usize, Stop> {
    /// The offsets to try: after the lists at the structure's beginning, and before the headers' offsets at its end.
    const FIRST: usize = 80;
    const LAST: usize = 160;
    let places: Vec<usize> = (FIRST..=LAST).step_by(4).collect();
    let mut is_possible = vec![true; places.len()];
    for length in [CONTROL, CONTROL / 3] {
        let packets = Packets::watch(&places)?;
        let (near, far) = sockets::tcp()?;
        let memory = alias::memory(CONTROL)?;
        let zerocopy = sockets::zerocopy_on(&near)?;
        let (mut done, mut sends) = (0, 0);
        while done < length {
            // SAFETY: the memory is freed after the completions.
            let sent = unsafe { send_zerocopy(zerocopy, &memory[done..length], SendFlags::empty()) };
            done += sent.setup("send")?;
            sends += 1;
        }
        io::read_full(&far, &mut vec![0; length]).setup("read")?;
        Completions::wait(&near, sends).setup("read the completions")?;
        for (possible, bytes) in is_possible.iter_mut().zip(packets.bytes()?) {
            *possible &= bytes == length as u64;
        }
    }
    let found = places.iter().zip(is_possible);
    let found: Vec<usize> = found.filter_map(|(place, possible)| possible.then_some(*place)).collect();
    match found[..] {
        [place] => Ok(place),
        _ => Err(Stop::untestable(
            Lack::Kernel,
            format!("not counted: the length of a packet is at {found:?} of struct sk_buff by a control"),
            "use a kernel of the matrix",
        )),
    }
}

/// Counts the bytes that `skb_copy_ubufs` copies, by a probe of tracefs. It copies a packet whose memory is the user's when the
/// packet is on its way to a receiver.
struct Packets {
    directory: PathBuf,
    places: usize,
    _mount: OwnedFd,
}

impl Packets {
    /// Records a 32-bit number at each of these offsets of every such packet.
    fn watch(places: &[usize]) -> Result<Self, Stop> {
        let mount = mounts::mounted(c"tracefs", &[], 0).map_err(|errno| {
            let said = format!("tracefs cannot be mounted: {errno:?}");
            Stop::untestable(Lack::Privilege, said, "run it as root")
        })?;
        let packets = Self {
            directory: Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string()),
            places: places.len(),
            _mount: mount,
        };
        let mut probe = "p:nocopy/ubufs skb_copy_ubufs".to_owned();
        for (at, place) in places.iter().enumerate() {
            let _ = write!(probe, " n{at}=+{place}(%di):u32"); // a string takes all
        }
        packets.tell("kprobe_events", &probe)?;
        packets.tell("trace", "")?;
        packets.tell("events/nocopy/ubufs/enable", "1")?;
        Ok(packets)
    }

    fn tell(&self, file: &str, words: &str) -> Result<(), Stop> {
        let path = self.directory.join(file);
        let mut opened = File::options().write(true).truncate(true).open(path).setup(file)?;
        opened.write_all(words.as_bytes()).setup(file)
    }

    /// The sums of the numbers, over all packets so far.
    fn bytes(&self) -> Result<Vec<u64>, Stop> {
        let trace = fs::read_to_string(self.directory.join("trace")).setup("trace")?;
        Ok(sums(&trace, self.places))
    }
}

/// The sums of the numbers `n0=`, `n1=` and so on in the lines of a trace.
fn sums(trace: &str, numbers: usize) -> Vec<u64> {
    let mut sums = vec![0; numbers];
    for word in trace.split_ascii_whitespace() {
        let number = || {
            let (at, count) = word.strip_prefix('n')?.split_once('=')?;
            Some((at.parse::<usize>().ok()?, count.parse::<u64>().ok()?))
        };
        if let Some((at, count)) = number()
            && let Some(sum) = sums.get_mut(at)
        {
            *sum += count;
        }
    }
    sums
}

impl Drop for Packets {
    fn drop(&mut self) {
        for (file, words) in [("events/nocopy/ubufs/enable", "0"), ("kprobe_events", "-:nocopy/ubufs")] {
            // An error is ignored: the machine is a guest that only this run uses.
            let _ = self.tell(file, words);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fewest_functions_that_copied_all_are_taken() {
        let of = |counts: [u64; 3]| {
            let named: Vec<(char, u64)> = "abc".chars().zip(counts).collect();
            smallest_that_sums_up(&named, 100).map(|found| found.into_iter().collect::<String>())
        };
        // As Linux 6.1 has it: one calls the other, and both have all.
        assert_eq!(of([100, 0, 100]).as_deref(), Some("a"));
        // As 5.10 has it for AF_UNIX: each has a part.
        assert_eq!(of([20, 0, 80]).as_deref(), Some("ac"));
        assert_eq!(of([0, 100, 0]).as_deref(), Some("b"));
        // As 5.15 had it under the rules of 5.10: what copies is not known.
        assert_eq!(of([0, 0, 40]), None);
        assert_eq!(of([0, 0, 0]), None);
    }

    #[test]
    fn the_numbers_of_a_trace_are_summed_up() {
        let trace = "# tracer: nop\n\
            a-1 [000] d.h1 1.5: ubufs: (skb_copy_ubufs+0x0/0x500) n0=7 n1=4096\n\
            a-1 [001] d.h1 1.6: ubufs: (skb_copy_ubufs+0x0/0x500) n0=8 n1=904 n2=1\n";
        assert_eq!(sums(trace, 2), [15, 5000]);
    }

    #[test]
    fn only_a_refusal_is_a_matter_of_privilege() {
        let lack = |errno| match no_breakpoint(errno) {
            Stop::Untestable(reason) => reason.kind,
            Stop::Broken(what) => panic!("{what}"),
        };
        assert_eq!(lack(Errno::EACCES), Lack::Privilege);
        assert_eq!(lack(Errno::EINVAL), Lack::Kernel);
        assert_eq!(lack(Errno::ENOSPC), Lack::Resource);
    }
}
