//! `MSG_ZEROCOPY`.

use crate::claim::source::{Source, seed};
use crate::claim::{Claim, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::alias::{LENGTH, OLD};
use crate::lab::completions::Completions;
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Lack, Observation, Setup, Stop, Verdict};
use nocopy_msg_zerocopy::{Enabled, SendFlags, send_zerocopy};
use std::os::fd::AsRawFd;
use syscalls::{Errno, Sysno};

/// Claims about `MSG_ZEROCOPY`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "MSG_ZEROCOPY is for sending: as a flag of recvmsg() it does nothing.",
        method: "Receives with the flag on a socket with SO_ZEROCOPY and compares with a plain receive of the same bytes; no \
                 completion comes at either end.",
        sources: &[seed("3.4"), seed("5.3")],
        about: &[Sysno::recvmsg],
        lies: &[Lie::about(Sysno::recvmsg, What::Garbled).after(0)],
        ..Claim::new("zerocopy.recv.flag", zerocopy_recv_flag, |seen| {
            Verdict::holds_if(
                seen.is("bytes received with the flag", "copied into the buffer") && seen.counted("completions") == 0,
            )
        })
    },
    Claim {
        statement: "Linux has no zero-copy for receiving from a socket.",
        method: "Asks a TCP socket for TCP_ZEROCOPY_RECEIVE. An option that no kernel has is the control: ENOPROTOOPT.",
        sources: &[seed("5.3")],
        about: &[Sysno::getsockopt],
        lies: &[Lie::refused(Sysno::getsockopt, libc::ENOPROTOOPT)],
        gates: &[gate(
            "4.18",
            "a TCP socket has TCP_ZEROCOPY_RECEIVE",
            Source::Thread("the commit \"tcp: add TCP_ZEROCOPY_RECEIVE support for zerocopy receive\" of Linux 4.18"),
        )],
        ..Claim::new("zerocopy.recv.tcp-zerocopy-receive", zerocopy_recv_tcp_zerocopy_receive, |seen| {
            Verdict::holds_if(seen.failed_with("getsockopt(TCP_ZEROCOPY_RECEIVE)", Errno::ENOPROTOOPT))
        })
    },
];

/// Sends all of `bytes` with the flag. Returns the number of calls.
///
/// # Safety
///
/// As for [`send_zerocopy`].
unsafe fn send_all(zerocopy: Enabled<'_>, bytes: &[u8]) -> Result<u64, Stop> {
    let (mut done, mut calls) = (0, 0);
    while done < bytes.len() {
        // SAFETY: a part of the caller's bytes, under the caller's promise.
        let sent = io::again(|| unsafe { send_zerocopy(zerocopy, &bytes[done..], SendFlags::empty()) });
        done += sent.setup("send")?;
        calls += 1;
    }
    Ok(calls)
}

/// Checks that completions arrive at all. Call this before a wait for a completion, so that the wait ends.
///
/// A kernel may accept the option and the flag, and implement neither, as gVisor does. This sends a byte with the flag over a
/// separate connection, and waits until no later completion is possible.
pub(super) fn completions_come() -> Result<(), Stop> {
    let (near, far) = sockets::tcp()?;
    let came = aside(|| {
        let zerocopy = sockets::zerocopy_on(&near)?;
        // SAFETY: a static never changes and is never freed.
        unsafe { send_all(zerocopy, b"1") }?;
        sockets::wait_for_arrival(&far, 1)?;
        sockets::wait_until_acknowledged(&near, &far)?;
        Completions::now(&near).setup("read the error queue")
    })?;
    if came.count() == 1 {
        Ok(())
    } else {
        Err(Stop::untestable(
            Lack::Kernel,
            "SO_ZEROCOPY and MSG_ZEROCOPY are accepted, and no completion comes: who waits for one waits for ever",
            "use a kernel that completes such sends",
        ))
    }
}

/// A call that failed because of its flag. Linux ignores unknown flags; gVisor's `sendmsg` refuses them.
fn flag_refused(call: &str, errno: Errno) -> Stop {
    if errno == Errno::EINVAL {
        Stop::untestable(
            Lack::Kernel,
            format!("{call}() refuses MSG_ZEROCOPY: EINVAL"),
            "use a kernel that knows the flag",
        )
    } else {
        Stop::from_setup(call, errno)
    }
}

fn zerocopy_recv_flag(_lab: &Lab) -> Result<Observation, Stop> {
    let (near, far) = sockets::tcp()?;
    sockets::zerocopy_on(&near)?;
    sockets::zerocopy_on(&far)?;
    io::write_all(&far, &[OLD; LENGTH]).setup("write")?;
    sockets::wait_for_arrival(&near, LENGTH)?;
    let mut buffer = [0; LENGTH];
    let (mut received, mut flags) = (0, 0);
    while received < LENGTH {
        let rest = &mut buffer[received..];
        let part = io::again(|| io::recvmsg(&near, rest, &mut [], libc::MSG_ZEROCOPY));
        let part = part.map_err(|errno| flag_refused("recvmsg", errno))?;
        flags |= part.flags;
        match part.bytes {
            0 => break,
            count => received += count,
        }
    }
    wait_until(|| Ok(sockets::unacknowledged(&far)? == 0))?;
    let completions = Completions::now(&near).setup("read the error queue")?.count()
        + Completions::now(&far).setup("read the error queue")?.count();
    let mut seen = Observation::new();
    let copied = received == LENGTH && buffer == [OLD; LENGTH];
    seen.text("bytes received with the flag", if copied { "copied into the buffer" } else { "elsewhere" });
    seen.count("completions", completions).text("msg_flags", format!("{flags:#x}"));
    Ok(seen)
}

fn zerocopy_recv_tcp_zerocopy_receive(_lab: &Lab) -> Result<Observation, Stop> {
    /// `TCP_ZEROCOPY_RECEIVE` of include/uapi/linux/tcp.h.
    const TCP_ZEROCOPY_RECEIVE: libc::c_int = 35;
    /// No option of TCP has this number.
    const NO_OPTION: libc::c_int = 9999;
    /// The position of `recv_skip_hint`.
    const HINT: std::ops::Range<usize> = 12..16;
    let (near, _far) = sockets::tcp()?;
    let get = |option: libc::c_int| {
        // struct tcp_zerocopy_receive begins with address (u64), length (u32), recv_skip_hint (u32).
        let mut request = [0_u8; 64];
        request[HINT].fill(0xff);
        let mut length: libc::socklen_t = 16;
        // SAFETY: the pointers are to a buffer of at least `length` bytes and to `length`, written during the call.
        let done = unsafe {
            libc::getsockopt(near.as_raw_fd(), libc::IPPROTO_TCP, option, request.as_mut_ptr().cast(), &raw mut length)
        };
        if done == -1 {
            return Err(sockets::last_errno());
        }
        // Without data to receive, the kernel reports how many bytes must be read by ordinary calls: none.
        Ok(request[HINT].iter().chain(&request[..8]).filter(|byte| **byte != 0).count())
    };
    if get(NO_OPTION) != Err(Errno::ENOPROTOOPT) {
        return Err(Stop::broken("an option that does not exist is not ENOPROTOOPT"));
    }
    let mut seen = Observation::new();
    seen.call("getsockopt(TCP_ZEROCOPY_RECEIVE)", get(TCP_ZEROCOPY_RECEIVE));
    seen.call("getsockopt(no such option)", get(NO_OPTION));
    Ok(seen)
}
