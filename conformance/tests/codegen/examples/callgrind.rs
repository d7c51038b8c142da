//! Instructions per call, counted by callgrind: `cargo run --profile callgrind --example callgrind`.
//!
//! Runs itself under valgrind, with each wrapper and its reference in a loop, inlined, and prints what a turn costs above
//! that of the empty loop. Fails if a wrapper costs more than is allowed; says `skipped` where there is no valgrind.
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::os::fd::IntoRawFd as _;
use std::process::{Command, ExitCode};
use std::sync::LazyLock;

use nocopy_copy_file_range::CopyFileRangeFlags;
use nocopy_mmap::{Advice, MapFlags, MemfdFlags, MremapFlags, MsyncFlags, Prot, Seals};
use nocopy_msg_zerocopy::{Enabled, MMsgHdr, SendFlags, enable};
use nocopy_splice::{IoVec, IoVecMut, SpliceFlags};
use nocopy_tcp_zerocopy_receive::TcpZerocopyReceive;

const TURNS: u64 = 1000;
/// For `sendfile`. The functions of libc and nix need 28, rustix 21.
const SENDFILE: u64 = 17;
/// For the others, and `sendfile` too: an `int` widened, for two descriptors.
const ABOVE_REFERENCE: u64 = 2;

/// A descriptor that is not open: the kernel answers at once.
macro_rules! no_file {
    ($library:ident) => {
        // SAFETY: -1 is never open.
        unsafe { $library::BorrowedFd::borrow_raw(-1) }
    };
}

/// For each line three functions of `TURNS` turns: the wrapper, the same by hand, and no call. Each turn has new arguments
/// as far as the compiler can tell, so that what a call does to them is not done once for all turns.
macro_rules! loops {
    ($($module:ident::$call:ident, $thin:ident, $asm:ident ($($argument:expr),*) with {$($name:ident $(: $type:ty)? = $value:expr),*};)*) => {
        mod wrapper { $(loops!(@one "wrapper_" $call {$($name $(: $type)? = $value),*} codegen::$module::$thin($($argument),*));)* }
        mod by_hand { $(loops!(@one "by_hand_" $call {$($name $(: $type)? = $value),*} codegen::$module::$asm($($argument),*));)* }
        mod no_call { $(loops!(@one "no_call_" $call {$($name $(: $type)? = $value),*} ());)* }

        const CALLS: &[&str] = &[$(stringify!($call)),*];

        fn run_all() {
            LazyLock::force(&SOCKET);
            small_range::by_transfer();
            small_range::by_hand();
            small_range::no_call();
            $(wrapper::$call(); by_hand::$call(); no_call::$call();)*
        }
    };
    (@one $prefix:literal $call:ident {$($name:ident $(: $type:ty)? = $value:expr),*} $body:expr) => {
        #[unsafe(export_name = concat!($prefix, stringify!($call)))]
        #[inline(never)]
        #[allow(unused, reason = "no call has no use for the arguments, and some of the calls are safe")]
        pub extern "C" fn $call() {
            use super::*;
            // Two loops of the same instructions would become one function.
            black_box(concat!($prefix, stringify!($call)));
            for _ in 0..TURNS {
                $(let mut $name $(: $type)? = black_box($value);)*
                // SAFETY: no memory is reached: the descriptor is not open or has no peer, or the length or the flags are not valid.
                let _ = black_box(unsafe { $body });
            }
        }
    };
}

/// A socket that has `SO_ZEROCOPY` and no peer: a send fails at once.
static SOCKET: LazyLock<Enabled<'static>> = LazyLock::new(|| {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a UDP socket");
    // SAFETY: given away, so never closed.
    let fd = unsafe { nocopy_msg_zerocopy::BorrowedFd::borrow_raw(socket.into_raw_fd()) };
    enable(fd).expect("UDP has SO_ZEROCOPY since Linux 5.0")
});

const NOWHERE: *mut u8 = std::ptr::null_mut();

loops! {
    sendfile::sendfile, thin_sendfile, asm_sendfile (out_fd, in_fd, Some(&mut offset), count)
        with { out_fd = no_file!(nocopy_sendfile), in_fd = no_file!(nocopy_sendfile), offset = 0_u64, count = 1_usize };
    splice::splice, thin_splice, asm_splice (fd_in, Some(&mut offset), fd_out, None, len, flags)
        with { fd_in = no_file!(nocopy_splice), offset = 0_u64, fd_out = no_file!(nocopy_splice), len = 1_usize, flags = SpliceFlags::MOVE };
    splice::tee, thin_tee, asm_tee (fd_in, fd_out, len, flags)
        with { fd_in = no_file!(nocopy_splice), fd_out = no_file!(nocopy_splice), len = 1_usize, flags = SpliceFlags::MOVE };
    copy_file_range::copy_file_range, thin_copy_file_range, asm_copy_file_range (fd_in, Some(&mut offset), fd_out, None, len, flags)
        with { fd_in = no_file!(nocopy_copy_file_range), offset = 0_u64, fd_out = no_file!(nocopy_copy_file_range), len = 1_usize, flags = CopyFileRangeFlags::empty() };
    copy_file_range::ficlone, thin_ficlone, asm_ficlone (dest, src)
        with { dest = no_file!(nocopy_copy_file_range), src = no_file!(nocopy_copy_file_range) };
    copy_file_range::ficlonerange, thin_ficlonerange, asm_ficlonerange (dest, src, src_offset, src_length, dest_offset)
        with { dest = no_file!(nocopy_copy_file_range), src = no_file!(nocopy_copy_file_range), src_offset = 0_u64, src_length = 0_u64, dest_offset = 0_u64 };
    splice::vmsplice_to_pipe, thin_vmsplice_to_pipe, asm_vmsplice_to_pipe (fd, iov, flags)
        with { fd = no_file!(nocopy_splice), iov: &[IoVec<'_>] = &[], flags = SpliceFlags::MOVE };
    splice::vmsplice_from_pipe, thin_vmsplice_from_pipe, asm_vmsplice_from_pipe (fd, iov, flags)
        with { fd = no_file!(nocopy_splice), iov: &mut [IoVecMut<'_>] = &mut [], flags = SpliceFlags::MOVE };
    splice::fcntl_getpipe_size, thin_fcntl_getpipe_size, asm_fcntl_getpipe_size (fd)
        with { fd = no_file!(nocopy_splice) };
    splice::fcntl_setpipe_size, thin_fcntl_setpipe_size, asm_fcntl_setpipe_size (fd, size)
        with { fd = no_file!(nocopy_splice), size = 4096_usize };
    mmap::mmap, thin_mmap, asm_mmap (addr, length, prot, flags, fd, offset)
        with { addr = NOWHERE, length = 0_usize, prot = Prot::READ, flags = MapFlags::PRIVATE, fd = Some(no_file!(nocopy_mmap)), offset = 0_u64 };
    mmap::munmap, thin_munmap, asm_munmap (addr, length)
        with { addr = NOWHERE, length = 0_usize };
    mmap::msync, thin_msync, asm_msync (addr, length, flags)
        with { addr = NOWHERE, length = 0_usize, flags = MsyncFlags::SYNC };
    mmap::madvise, thin_madvise, asm_madvise (addr, length, advice)
        with { addr = NOWHERE, length = 0_usize, advice = Advice::NORMAL };
    mmap::mremap, thin_mremap, asm_mremap (old_address, old_size, new_size, flags, new_address)
        with { old_address = NOWHERE, old_size = 0_usize, new_size = 0_usize, flags = MremapFlags::MAYMOVE, new_address = NOWHERE };
    mmap::memfd_create, thin_memfd_create, asm_memfd_create (name, flags)
        with { name = c"", flags = MemfdFlags::from_bits_retain(u32::MAX) };
    mmap::fcntl_add_seals, thin_fcntl_add_seals, asm_fcntl_add_seals (fd, seals)
        with { fd = no_file!(nocopy_mmap), seals = Seals::GROW };
    mmap::fcntl_get_seals, thin_fcntl_get_seals, asm_fcntl_get_seals (fd)
        with { fd = no_file!(nocopy_mmap) };
    msg_zerocopy::send_zerocopy, thin_send_zerocopy, asm_send_zerocopy (socket, bytes, flags)
        with { socket = *SOCKET, bytes: &[u8] = b"x", flags = SendFlags::DONTWAIT };
    msg_zerocopy::send_copied, thin_send_copied, asm_send_copied (fd, bytes, flags)
        with { fd = no_file!(nocopy_msg_zerocopy), bytes: &[u8] = b"x", flags = SendFlags::DONTWAIT };
    msg_zerocopy::sendmmsg_zerocopy, thin_sendmmsg_zerocopy, asm_sendmmsg_zerocopy (socket, messages, flags)
        with { socket = *SOCKET, messages: &mut [MMsgHdr<'_>] = &mut [], flags = SendFlags::DONTWAIT };
    tcp_zerocopy_receive::getsockopt_tcp_zerocopy_receive, thin_getsockopt_tcp_zerocopy_receive, asm_getsockopt_tcp_zerocopy_receive (sockfd, &mut optval, &mut optlen)
        with { sockfd = no_file!(nocopy_tcp_zerocopy_receive), optval = TcpZerocopyReceive::default(), optlen = 16_u32 };
}

/// What `nocopy_transfer::copy_range` may cost above a loop of `sendfile`, for 4 KiB.
const ABOVE_LOOP: u64 = 300;

/// 4 KiB of a file to a socket and the read at its other end, in two functions of `TURNS` turns; in the third there is neither.
mod small_range {
    use super::{TURNS, black_box};
    use nocopy_transfer::{Stability, copy_range};
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;

    const LENGTH: usize = 4096;

    fn turns(mut send: impl FnMut(&File, &UnixStream) -> bool) {
        let name = nocopy_mmap::memfd_create(c"", nocopy_mmap::MemfdFlags::empty());
        let mut file = File::from(std::os::fd::OwnedFd::from(name.expect("a memfd")));
        file.write_all(&[7; LENGTH]).expect("room");
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let mut bytes = [0; LENGTH];
        for _ in 0..TURNS {
            if send(&file, &near) {
                far.read_exact(&mut bytes).expect("what was sent");
            }
        }
    }

    #[unsafe(export_name = "wrapper_copy_range, 4 KiB")]
    #[inline(never)]
    pub extern "C" fn by_transfer() {
        turns(|file, socket| {
            let copied = copy_range(black_box(file), 0, LENGTH as u64, socket, Stability::Shared);
            copied.is_ok_and(|outcome| outcome.bytes == LENGTH as u64)
        });
    }

    #[unsafe(export_name = "by_hand_copy_range, 4 KiB")]
    #[inline(never)]
    pub extern "C" fn by_hand() {
        turns(|file, socket| {
            let mut offset = 0;
            while offset < LENGTH as u64 {
                let left = LENGTH - usize::try_from(offset).unwrap_or(LENGTH);
                let sent =
                    nocopy_sendfile::sendfile(socket, black_box(file), Some(&mut offset), left);
                if sent.is_err() {
                    return false;
                }
            }
            true
        });
    }

    #[unsafe(export_name = "no_call_copy_range, 4 KiB")]
    #[inline(never)]
    pub extern "C" fn no_call() {
        turns(|file, _| black_box(file).as_raw_fd() < 0);
    }
}

/// The instructions of each function in what callgrind writes, calls included.
fn costs(profile: &str) -> BTreeMap<&str, u64> {
    let mut costs = BTreeMap::new();
    let mut function = "";
    for line in profile.lines() {
        if let Some(name) = line.strip_prefix("fn=") {
            function = name;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.rsplit(' ').next().and_then(|cost| cost.parse().ok());
            *costs.entry(function).or_default() += cost.unwrap_or(0);
        }
    }
    costs
}

/// Runs this program under callgrind; `None` where there is no valgrind.
fn profile() -> std::io::Result<Option<String>> {
    let file = std::env::current_exe()?.with_extension("profile");
    let mut argument = std::ffi::OsString::from("--callgrind-out-file=");
    argument.push(&file);
    let status = Command::new("valgrind")
        .args(["-q", "--tool=callgrind"])
        .args(["--compress-strings=no", "--compress-pos=no"])
        .arg(argument)
        .arg(std::env::current_exe()?)
        .arg("loops")
        .status();
    match status {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(status) if status.success() => std::fs::read_to_string(&file).map(Some),
        Ok(status) => Err(std::io::Error::other(format!("valgrind: {status}"))),
    }
}

/// Prints the table; whether every wrapper is within its limits.
fn report(costs: &BTreeMap<&str, u64>) -> bool {
    let cost = |name: String| {
        let cost = costs.get(name.as_str());
        *cost.unwrap_or_else(|| panic!("callgrind has seen no {name}"))
    };
    // In whole turns, so that what a loop costs once does not count.
    let above_no_call = |kind, call| {
        let difference = cost(format!("{kind}_{call}")) - cost(format!("no_call_{call}"));
        (difference + TURNS / 2) / TURNS
    };

    println!(
        "{:24}{:>8}{:>10}",
        "instructions per call", "wrapper", "by hand"
    );
    let mut good = true;
    for call in CALLS.iter().chain(&["copy_range, 4 KiB"]) {
        let wrapper = above_no_call("wrapper", call);
        let by_hand = above_no_call("by_hand", call);
        let is_layer = call.starts_with("copy_range");
        let mut limit = by_hand
            + if is_layer {
                ABOVE_LOOP
            } else {
                ABOVE_REFERENCE
            };
        if *call == "sendfile" {
            limit = limit.min(SENDFILE);
        }
        let complaint = if wrapper > limit { "  too many" } else { "" };
        good &= wrapper <= limit;
        println!("{call:24}{wrapper:8}{by_hand:10}{complaint}");
    }
    good
}

fn main() -> ExitCode {
    if std::env::args()
        .nth(1)
        .is_some_and(|argument| argument == "loops")
    {
        run_all();
        return ExitCode::SUCCESS;
    }
    match profile() {
        Ok(Some(profile)) if report(&costs(&profile)) => ExitCode::SUCCESS,
        Ok(Some(_)) => ExitCode::FAILURE,
        Ok(None) => {
            println!("skipped: there is no valgrind here");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
