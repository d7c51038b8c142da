//! Applies one lie to one experiment.

use super::lie::{Field, Lie, What, count_argument, offset_arguments};
use super::record::Recorder;
use super::tracee::Tracee;
use super::{Call, Entry, Hook};
use std::collections::HashMap;
use std::time::Duration;
use syscalls::Sysno;

/// The delay of a delayed call.
const DELAY: Duration = Duration::from_millis(2);
/// The most bytes of data that are examined in one call.
const DATA: usize = 1 << 20;
/// Results inside the kernel for a call that is to be restarted: the thread does not see them.
const RESTARTS: std::ops::RangeInclusive<i64> = -516..=-512;

/// Changes the calls of an experiment as a lie describes.
#[derive(Debug)]
pub struct Liar {
    lie: Option<Lie>,
    /// Counts and records calls, as without lies.
    pub recorder: Recorder,
    /// The number of calls of the lie's kind that each thread has made.
    before: HashMap<u32, u32>,
    /// The threads that are inside a call that the lie is about.
    inside: HashMap<libc::pid_t, Before>,
    /// How often the lie changed something.
    told: u64,
}

/// State from the entry of a call.
#[derive(Clone, Copy, Debug, Default)]
struct Before {
    /// The offsets that the call's pointers point to.
    offsets: [Option<u64>; 2],
    /// Address and length of the first buffer of a message, if the length was changed.
    length: Option<(u64, u64)>,
}

impl Liar {
    /// Applies `lie`, if there is one.
    pub fn new(lie: Option<Lie>, recorder: Recorder) -> Self {
        Self { lie, recorder, before: HashMap::new(), inside: HashMap::new(), told: 0 }
    }

    /// How often the lie changed something.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// Halves the count that the kernel is asked for.
    fn shorten(call: &Call, before: &mut Before) -> Entry {
        if let Some(index) = count_argument(call.number) {
            let mut arguments = call.arguments;
            arguments[index] = half(arguments[index]);
            return Entry::With(arguments);
        }
        // The first buffer of several has a shorter length during the call.
        if let Some((place, length)) = first_length(call) {
            before.length = Some((place, length));
            call.tracee().write(place, &half(length).to_le_bytes());
        }
        Entry::AsAsked
    }

    /// The result that the thread sees in place of `result`.
    fn show(&mut self, lie: &Lie, call: &Call, before: Before, result: i64) -> i64 {
        let shown = match lie.what {
            What::Refused(errno) => -i64::from(errno),
            What::OtherErrno(errno) if result < 0 => -i64::from(errno),
            What::Accepted if result < 0 => asked_for(call),
            What::Skipped => asked_for(call),
            What::Returned(number) | What::Undone(number) => number,
            What::TooMany if result >= 0 => result + 1,
            What::TooFew if result > 0 => result - 1,
            What::Interrupted => -i64::from(libc::EINTR),
            What::CompletionForged(id) if result < 0 && forge_completion(call, id) => 0,
            _ => result,
        };
        let changed = match lie.what {
            // The kernel did not do the call, so any result is a change.
            What::Refused(_) | What::Skipped | What::Undone(_) | What::Interrupted | What::PositionKept => true,
            What::Delayed => {
                std::thread::sleep(DELAY);
                true
            }
            What::Raised(signal) => {
                call.tracee().signal(signal);
                true
            }
            What::Shortened => {
                if let Some((place, length)) = before.length {
                    call.tracee().write(place, &length.to_le_bytes());
                }
                true
            }
            _ if result < 0 => shown != result,
            What::Bytes { from, to } => alter_data(call, result, |bytes| replace(bytes, from, to)),
            What::Garbled => alter_data(call, result, garble),
            What::OffsetKept => keep_offsets(call, before),
            What::Completion(field, value) => alter_completion(call, field, |_| value),
            What::IdsShifted(by) => [Field::Low, Field::High]
                .map(|field| alter_completion(call, field, |id| id.wrapping_add(by)))
                .contains(&true),
            What::MessageFlags(flags) => alter_flags(call, flags),
            What::Output { argument, value } => call.tracee().write(call.arguments[argument], &value.to_le_bytes()),
            What::Unshared => unshare(call, result),
            _ => shown != result,
        };
        self.told += u64::from(changed);
        shown
    }
}

impl Hook for Liar {
    fn started(&mut self, by: libc::pid_t, tid: libc::pid_t) {
        self.recorder.started(by, tid);
    }

    fn asks_who_started(&self) -> bool {
        self.recorder.asks_who_started()
    }

    fn enter(&mut self, call: &Call) -> Entry {
        self.recorder.enter(call);
        let Some(lie) = self.lie else {
            return Entry::AsAsked;
        };
        let is_meant = if lie.aside { self.recorder.is_of_set_up(call) } else { self.recorder.is_of_experiment(call) };
        if call.number != lie.call as u64 || !is_meant {
            return Entry::AsAsked;
        }
        let after = self.before.entry(call.thread).or_insert(0);
        let matches = lie.matches(call.thread, *after, &call.arguments);
        *after += 1;
        if !matches {
            return Entry::AsAsked;
        }
        let mut before = Before::default();
        let entry = match lie.what {
            What::Refused(_) | What::Skipped | What::Undone(_) | What::Interrupted => Entry::Skipped,
            What::Shortened => Self::shorten(call, &mut before),
            What::PositionKept => {
                let mut arguments = call.arguments;
                for index in offset_arguments(call.number) {
                    if arguments[*index] == 0 && call.tracee().write(call.scratch, &[0; 8]) {
                        arguments[*index] = call.scratch;
                        break; // the first pointer is that of the input
                    }
                }
                Entry::With(arguments)
            }
            What::OffsetKept => {
                let places = offset_arguments(call.number).iter().zip(&mut before.offsets);
                for (index, offset) in places {
                    *offset = call.tracee().number::<8>(call.arguments[*index]);
                }
                Entry::AsAsked
            }
            _ => Entry::AsAsked,
        };
        self.inside.insert(call.tid, before);
        entry
    }

    fn exit(&mut self, call: &Call, result: i64) -> i64 {
        let shown = match (self.inside.remove(&call.tid), self.lie) {
            (Some(before), Some(lie)) if !RESTARTS.contains(&result) => self.show(&lie, call, before, result),
            _ => result,
        };
        self.recorder.exit(call, shown)
    }

    fn signal(&mut self, tid: libc::pid_t, signal: libc::c_int) -> libc::c_int {
        match self.lie {
            Some(Lie { what: What::Swallowed(swallowed), .. })
                if swallowed == signal && !self.recorder.is_over() && !self.recorder.is_aside(tid) =>
            {
                self.told += 1;
                0
            }
            _ => self.recorder.signal(tid, signal),
        }
    }
}

/// The address and value of the length of the first buffer of `vmsplice(fd, iovec, ...)` or `sendmsg(fd, message, ...)`.
fn first_length(call: &Call) -> Option<(u64, u64)> {
    let messages = [Sysno::sendmsg, Sysno::recvmsg];
    let first = if call.number == Sysno::vmsplice as u64 {
        call.arguments[1]
    } else if messages.iter().any(|number| *number as u64 == call.number) {
        call.tracee().number::<8>(call.arguments[1] + MSG_IOV)?
    } else {
        return None;
    };
    Some((first + 8, call.tracee().number::<8>(first + 8)?))
}

/// The result of a success of the whole call: its count of bytes, or 0 if there is no count.
fn asked_for(call: &Call) -> i64 {
    let count = match count_argument(call.number) {
        Some(index) => call.arguments[index],
        // A receiver for which no bytes arrived gets a count of 0.
        None if call.number == Sysno::recvmsg as u64 => 0,
        None => first_length(call).map_or(0, |(_, length)| length),
    };
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Half of a count, in whole sectors if there is at least one, as direct I/O requires.
fn half(count: u64) -> u64 {
    match count / 2 {
        half if half >= 512 => half - half % 512,
        0 => count,
        half => half,
    }
}

/// Offsets in `struct msghdr`.
const MSG_IOV: u64 = 16;
const MSG_CONTROL: u64 = 32;
const MSG_CONTROLLEN: u64 = 40;
const MSG_FLAGS: u64 = 48;

/// The address to which a call has written data.
fn data_address(call: &Call) -> Option<u64> {
    let [_, second, ..] = call.arguments;
    let plain = [Sysno::read, Sysno::pread64, Sysno::recvfrom];
    if plain.iter().any(|number| *number as u64 == call.number) {
        Some(second)
    } else if call.number == Sysno::recvmsg as u64 {
        let first = call.tracee().number::<8>(second + MSG_IOV)?;
        call.tracee().number::<8>(first)
    } else {
        None
    }
}

fn alter_data(call: &Call, result: i64, alter: impl Fn(&mut [u8]) -> bool) -> bool {
    let length = usize::try_from(result).unwrap_or(0).min(DATA);
    let Some(address) = data_address(call) else {
        return false;
    };
    let mut bytes = vec![0; length];
    length > 0
        && call.tracee().read(address, &mut bytes) == length
        && alter(&mut bytes)
        && call.tracee().write(address, &bytes)
}

fn replace(bytes: &mut [u8], from: u8, to: u8) -> bool {
    let mut changed = false;
    for byte in bytes.iter_mut().filter(|byte| **byte == from) {
        *byte = to;
        changed = true;
    }
    changed
}

fn garble(bytes: &mut [u8]) -> bool {
    bytes[0] ^= 2; // text stays text
    true
}

fn keep_offsets(call: &Call, before: Before) -> bool {
    let places = offset_arguments(call.number).iter().zip(before.offsets);
    let mut changed = false;
    for (index, offset) in places {
        let address = call.arguments[*index];
        if let Some(offset) = offset
            && call.tracee().number::<8>(address) != Some(offset)
        {
            changed |= call.tracee().write(address, &offset.to_le_bytes());
        }
    }
    changed
}

const SO_EE_ORIGIN_ZEROCOPY: u8 = 5;

/// Writes a completion of one send into the control buffer of a `recvmsg`.
fn forge_completion(call: &Call, id: u32) -> bool {
    const LENGTH: u64 = 16 + 16;
    let message = call.arguments[1];
    let tracee = call.tracee();
    let control = tracee.number::<8>(message + MSG_CONTROL).unwrap_or(0);
    let room = tracee.number::<8>(message + MSG_CONTROLLEN).unwrap_or(0);
    if control == 0 || room < LENGTH {
        return false;
    }
    // struct cmsghdr: length, level, type. struct sock_extended_err: errno, origin, type, code, pad, info, data.
    let mut bytes = LENGTH.to_le_bytes().to_vec();
    bytes.extend(libc::SOL_IP.to_le_bytes());
    bytes.extend(libc::IP_RECVERR.to_le_bytes());
    bytes.extend([0, 0, 0, 0, SO_EE_ORIGIN_ZEROCOPY, 0, 0, 0]);
    bytes.extend(id.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    tracee.write(control, &bytes)
        && tracee.write(message + MSG_CONTROLLEN, &LENGTH.to_le_bytes())
        && tracee.write(message + MSG_FLAGS, &libc::MSG_ERRQUEUE.to_le_bytes())
}

/// Changes the first completion in the control messages of a `recvmsg`.
fn alter_completion(call: &Call, field: Field, value: impl Fn(u32) -> u32) -> bool {
    let message = call.arguments[1];
    let tracee = call.tracee();
    let control = tracee.number::<8>(message + MSG_CONTROL).unwrap_or(0);
    let length = tracee.number::<8>(message + MSG_CONTROLLEN).unwrap_or(0);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0).min(DATA)];
    if control == 0 || tracee.read(control, &mut bytes) != bytes.len() {
        return false;
    }
    // struct cmsghdr is 16 bytes; sock_extended_err follows: errno, origin, type, code, pad, info, data.
    let is_one = |at: &usize| bytes.get(at + 4) == Some(&SO_EE_ORIGIN_ZEROCOPY);
    let Some(at) = (16..bytes.len()).step_by(8).find(is_one) else {
        return false;
    };
    let (place, size) = match field {
        Field::Origin => (at + 4, 1),
        Field::Code => (at + 6, 1),
        Field::Low => (at + 8, 4),
        Field::High => (at + 12, 4),
    };
    let Some(old) = bytes.get(place..place + size) else {
        return false;
    };
    let mut whole = [0; 4];
    whole[..size].copy_from_slice(old);
    let new = value(u32::from_le_bytes(whole)).to_le_bytes();
    old != &new[..size] && tracee.write(control + place as u64, &new[..size])
}

fn alter_flags(call: &Call, flags: i32) -> bool {
    let place = call.arguments[1] + MSG_FLAGS;
    let old = call.tracee().number::<4>(place).unwrap_or(0);
    let new = u32::try_from(old).unwrap_or(0) ^ flags.cast_unsigned();
    call.tracee().write(place, &new.to_le_bytes())
}

/// Makes a copy of every page of a new private mapping of a file.
fn unshare(call: &Call, address: i64) -> bool {
    const PAGE: usize = 4096;
    let [_, length, _, flags, ..] = call.arguments;
    let private = flags & libc::MAP_PRIVATE as u64 != 0 && flags & libc::MAP_ANONYMOUS as u64 == 0;
    if !private {
        return false;
    }
    let tracee = Tracee { tid: call.tid };
    let pages = (0..length).step_by(PAGE);
    pages.for_each(|offset| tracee.touch(address.cast_unsigned() + offset));
    true
}
