//! Which lies about a call are possible: from its arguments and its answer.

#![forbid(unsafe_code)]

use crate::interpose::lie::{Field, Lie, What, Which, count_argument};
use crate::interpose::record::Made;
use std::collections::BTreeMap;
use syscalls::Sysno;
/// The lies about one call of the set-up.
pub(crate) fn about_set_up(place: Lie, made: &Made, refusals: &[i32]) -> Vec<Lie> {
    let whats: Vec<What> = if made.result < 0 {
        let others = refusals.iter().copied();
        let others = others.filter(|errno| i64::from(*errno) != -made.result);
        others.map(What::OtherErrno).collect()
    } else {
        let mut whats: Vec<What> = refusals.iter().copied().map(What::Refused).collect();
        if may_be_read_back(place.call, made) {
            whats.push(What::Undone(made.result));
        }
        if made.result > 1 && may_be_short(place.call) {
            whats.push(What::Shortened);
        }
        // Zero is also a short count of a write.
        let writes = [Sysno::write, Sysno::pwrite64, Sysno::sendto];
        if made.result > 0 && writes.contains(&place.call) {
            whats.push(What::Undone(0));
        }
        whats
    };
    whats.into_iter().map(|what| Lie { what, ..place }).collect()
}

/// `fcntl` commands that set what another command reads.
const SETTING_COMMANDS: [u64; 3] = [libc::F_SETFL as u64, libc::F_SETPIPE_SZ as u64, libc::F_ADD_SEALS as u64];

/// Whether another call shows the effect of this one.
fn may_be_read_back(call: Sysno, made: &Made) -> bool {
    match call {
        Sysno::unshare
        | Sysno::setns
        | Sysno::mount
        | Sysno::move_mount
        | Sysno::setsockopt
        | Sysno::ftruncate
        | Sysno::fallocate
        | Sysno::setresuid
        | Sysno::setresgid
        | Sysno::capset => true,
        Sysno::prlimit64 => made.arguments[2] != 0,
        Sysno::lseek => made.arguments[2] != libc::SEEK_CUR as u64 || made.arguments[1] != 0,
        Sysno::fcntl => SETTING_COMMANDS.contains(&made.arguments[1]),
        _ => false,
    }
}

/// The calls of one kind that the claim is about, as places for lies.
pub(crate) fn places(call: Sysno, calls: &[Made]) -> Vec<(Lie, Made)> {
    // std asks for flags of descriptors; the commands for pipes begin at 1024.
    let is_own = |made: &Made| call != Sysno::fcntl || made.arguments[1] >= 1024;
    chosen(call, calls, false, is_own)
}

/// The calls of one kind in set-up or checks, as places for lies.
pub(crate) fn places_of(call: Sysno, calls: &[Made], aside: bool) -> Vec<(Lie, Made)> {
    let is_own = |made: &Made| match call {
        Sysno::fcntl => made.arguments[1] != libc::F_GETFD as u64,
        // The number of bytes that arrived, or that are still unsent, is the observation.
        Sysno::ioctl => aside || ![libc::FIONREAD, libc::TIOCOUTQ].contains(&made.arguments[1]),
        _ => true,
    };
    chosen(call, calls, aside, is_own)
}

/// The lies that are possible about one call.
pub(crate) fn about_subject(place: Lie, made: &Made) -> Vec<Lie> {
    let mut whats = vec![What::Delayed];
    if may_be_interrupted(place.call) {
        whats.push(What::Interrupted);
    }
    if made.result < 0 {
        let same = |errno: &&i32| i64::from(**errno) != -made.result;
        whats.extend(errnos(place.call).iter().filter(same).take(3).map(|e| What::OtherErrno(*e)));
        whats.push(What::Accepted);
    } else {
        whats.extend(errnos(place.call).iter().map(|errno| What::Refused(*errno)));
        let asked = count_argument(place.call as u64).map(|index| made.arguments[index]);
        // A call that does nothing cannot be skipped.
        let nothing = asked == Some(0) || (place.call == Sysno::vmsplice && made.result == 0);
        if !nothing {
            whats.push(What::Skipped);
        }
        // A kernel cannot report more than was asked for.
        if asked.is_some_and(|asked| made.result.cast_unsigned() < asked) {
            whats.push(What::TooMany);
        }
        if made.result > 0 {
            whats.push(What::TooFew);
        }
        if made.result > 1 && may_be_short(place.call) {
            whats.push(What::Shortened);
        }
        match place.call {
            Sysno::read | Sysno::pread64 | Sysno::recvfrom => whats.push(What::Garbled),
            Sysno::recvmsg => whats.extend([
                What::Garbled,
                What::MessageFlags(libc::MSG_CTRUNC),
                What::Completion(Field::Origin, 2),
                What::Completion(Field::Low, 1000),
                What::Completion(Field::High, 1000),
            ]),
            Sysno::getsockopt => whats.push(What::Output { argument: 3, value: 77 }),
            _ => {}
        }
    }
    whats.into_iter().map(|what| Lie { what, ..place }).collect()
}

/// Errnos that the call's manual page lists; first those of a kernel without the feature. `EAGAIN` of an empty error queue and
/// `ENOBUFS` of a full one are not lies: a caller that gets them tries again.
fn errnos(call: Sysno) -> &'static [i32] {
    match call {
        Sysno::sendfile | Sysno::splice | Sysno::tee | Sysno::copy_file_range => {
            &[libc::EINVAL, libc::EBADF, libc::ENOMEM, libc::EAGAIN, libc::EIO]
        }
        Sysno::read | Sysno::pread64 => &[libc::EINVAL, libc::EIO, libc::EISDIR, libc::EAGAIN],
        Sysno::write | Sysno::pwrite64 => &[libc::EINVAL, libc::EFAULT, libc::ENOSPC, libc::EPIPE, libc::EAGAIN],
        Sysno::vmsplice => &[libc::EINVAL, libc::EBADF, libc::EAGAIN],
        Sysno::sendto | Sysno::sendmsg => &[libc::EOPNOTSUPP, libc::EINVAL, libc::EPIPE, libc::EAGAIN],
        Sysno::recvfrom | Sysno::recvmsg => &[libc::EINVAL, libc::ENOTCONN],
        Sysno::setsockopt | Sysno::getsockopt => &[libc::ENOPROTOOPT, libc::EOPNOTSUPP, libc::EPERM, libc::EINVAL],
        Sysno::mmap => &[libc::ENODEV, libc::ENOMEM, libc::EACCES],
        Sysno::munmap => &[libc::EINVAL],
        _ => &[libc::EINVAL, libc::EPERM],
    }
}

/// Whether the manual page lets a call that has done nothing yet fail with `EINTR`.
fn may_be_interrupted(call: Sysno) -> bool {
    matches!(
        call,
        Sysno::read | Sysno::write | Sysno::sendto | Sysno::sendmsg | Sysno::recvfrom | Sysno::recvmsg | Sysno::ppoll
    )
}

/// Whether the manual page lets a call do less than asked.
fn may_be_short(call: Sysno) -> bool {
    count_argument(call as u64).is_some() || matches!(call, Sysno::vmsplice | Sysno::sendmsg | Sysno::recvmsg)
}

/// The first two calls of a kind and the last one, of every thread.
pub(crate) fn chosen(call: Sysno, calls: &[Made], aside: bool, is_own: impl Fn(&Made) -> bool) -> Vec<(Lie, Made)> {
    let mut by_thread: BTreeMap<u32, Vec<Made>> = BTreeMap::new();
    let of_kind = |made: &&Made| made.number == call as u64 && made.aside == aside;
    for made in calls.iter().filter(of_kind) {
        by_thread.entry(made.thread).or_default().push(*made);
    }
    // The allocator also maps memory, without a file.
    let is_own = |made: &Made| is_own(made) && (call != Sysno::mmap || made.arguments[4] & 0x8000_0000 == 0);
    let mut places = Vec::new();
    for (thread, made) in by_thread {
        let own: Vec<usize> = (0..made.len()).filter(|index| is_own(&made[*index])).collect();
        let mut chosen: Vec<usize> = own.iter().take(2).chain(own.last()).copied().collect();
        chosen.dedup();
        places.extend(chosen.into_iter().map(|index| {
            let after = u32::try_from(index).unwrap_or(u32::MAX);
            let which = Which::One { thread, after };
            (Lie { which, aside, ..Lie::about(call, What::Delayed) }, made[index])
        }));
    }
    places
}
