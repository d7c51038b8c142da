//! Lies: ways in which a kernel could behave differently, as data.
//!
//! A claim names the lies that contradict it ([`Claim::lies`](crate::claim::Claim::lies)). The [`falsify`](crate::falsify) module
//! derives more from the calls that an experiment makes. A [`Liar`](super::liar::Liar) applies them.

use super::record::Made;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use syscalls::Sysno;

/// One way in which a kernel could behave differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lie {
    /// The call that it is about.
    #[serde(serialize_with = "write_call", deserialize_with = "read_call")]
    pub call: Sysno,
    /// Which of the calls it is about.
    pub which: Which,
    /// Only calls with this argument.
    pub only: Option<Argument>,
    /// Whether it is about the calls that an experiment makes [`aside`](super::record::aside), or about its other calls.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aside: bool,
    /// Only if the claim holds, or only if it is refuted.
    pub truth: Option<bool>,
    /// The change.
    pub what: What,
}

/// Which calls of a kind a lie is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// All.
    Every,
    /// One call of one thread.
    One {
        /// The thread; 0 is the first, in the order of their first stops.
        thread: u32,
        /// The number of calls of the kind that the thread makes before it.
        after: u32,
    },
}

/// A condition on an argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// Its place, from 0.
    pub index: usize,
    /// The bits that are compared.
    pub mask: u64,
    /// Their value.
    pub value: u64,
}

/// The change to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// The call is not made and reported as failed with this errno.
    Refused(i32),
    /// A failure is reported as this other one.
    OtherErrno(i32),
    /// A failure is reported as a success: of the whole count, if the call has one.
    Accepted,
    /// The call is not made and reported as done.
    Skipped,
    /// The call is not made and reported to have returned this number.
    Undone(i64),
    /// The call is made and reported to have returned this number.
    Returned(i64),
    /// One more is reported than was done.
    TooMany,
    /// One less is reported than was done.
    TooFew,
    /// In the data that the call returned, each byte `from` is replaced by `to`.
    Bytes {
        /// The byte that the kernel wrote.
        from: u8,
        /// The byte that the thread sees.
        to: u8,
    },
    /// The first byte of the data that the call returned is changed.
    Garbled,
    /// The offset in memory is the same as before the call.
    OffsetKept,
    /// If a null pointer selects the file position, the call begins at 0 and does not move the position.
    PositionKept,
    /// In a completion of the error queue, a field has this value.
    Completion(Field, u32),
    /// The ids in a completion are larger by this number.
    IdsShifted(u32),
    /// An empty error queue returns a completion of one send, with this id.
    CompletionForged(u32),
    /// In a message, these flags are inverted.
    MessageFlags(i32),
    /// The int that the call wrote through a pointer argument has this value.
    Output {
        /// The pointer's place among the arguments.
        argument: usize,
        /// The int.
        value: i32,
    },
    /// A private mapping is a copy of the file from the beginning.
    Unshared,
    /// This signal arrives with the return of the call.
    Raised(i32),
    /// The signal that the call raises does not arrive.
    Swallowed(i32),
    /// The call takes longer. An experiment must tolerate it.
    Delayed,
    /// The call is interrupted before it has done anything. An experiment must tolerate it.
    Interrupted,
    /// The kernel is asked for half, and does that. An experiment must tolerate it.
    Shortened,
}

/// A field of `struct sock_extended_err`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Field {
    /// `ee_origin`.
    Origin,
    /// `ee_code`.
    Code,
    /// `ee_info`: the first send of the range.
    Low,
    /// `ee_data`: the last send of the range.
    High,
}

impl Lie {
    /// A lie about every call of a kind.
    pub const fn about(call: Sysno, what: What) -> Self {
        Self { call, which: Which::Every, only: None, aside: false, truth: None, what }
    }

    /// The kernel does not do the call, and reports this errno.
    pub const fn refused(call: Sysno, errno: i32) -> Self {
        Self::about(call, What::Refused(errno))
    }

    /// For a claim about the result of a call: it is refused, fails with another errno, or is accepted.
    pub const fn otherwise(call: Sysno) -> [Self; 3] {
        // An errno that none of the calls returns.
        const OTHER: i32 = libc::ENOLINK;
        [Self::refused(call, OTHER), Self::about(call, What::OtherErrno(OTHER)), Self::accepted(call)]
    }

    /// A failure is reported as a success.
    pub const fn accepted(call: Sysno) -> Self {
        Self::about(call, What::Accepted)
    }

    /// The kernel does not do the call, and reports success.
    pub const fn skipped(call: Sysno) -> Self {
        Self::about(call, What::Skipped)
    }

    /// The kernel does the call, and reports this number.
    pub const fn returned(call: Sysno, number: i64) -> Self {
        Self::about(call, What::Returned(number))
    }

    /// The kernel does half of the request.
    pub const fn shortened(call: Sysno) -> Self {
        Self::about(call, What::Shortened)
    }

    /// The data that the call returns has `to` in place of `from`.
    pub const fn bytes(call: Sysno, from: u8, to: u8) -> Self {
        Self::about(call, What::Bytes { from, to })
    }

    /// A field of a completion has another value.
    pub const fn completion(field: Field, value: u32) -> Self {
        Self::about(Sysno::recvmsg, What::Completion(field, value))
    }

    /// Only about the call of the first thread with `after` such calls before it.
    #[must_use]
    pub const fn after(mut self, after: u32) -> Self {
        self.which = Which::One { thread: 0, after };
        self
    }

    /// Only about calls with this argument.
    #[must_use]
    pub const fn with(mut self, index: usize, value: u64) -> Self {
        self.only = Some(Argument { index, mask: 0xffff_ffff, value });
        self
    }

    /// Only about calls that are made aside. They are counted separately.
    #[must_use]
    pub const fn aside(mut self) -> Self {
        self.aside = true;
        self
    }

    /// The lie contradicts the claim only if the claim holds (or, with false, is refuted).
    #[must_use]
    pub const fn where_it(mut self, holds: bool) -> Self {
        self.truth = Some(holds);
        self
    }

    /// Whether a correct experiment must tolerate it.
    pub fn is_tolerable(&self) -> bool {
        matches!(self.what, What::Delayed | What::Interrupted | What::Shortened)
    }

    /// Whether the lie changes anything: among the calls of a run without lies, there is one whose result differs from the lie.
    ///
    /// Whether a change in memory makes a difference is known only when the lie is applied.
    pub fn applies(&self, calls: &[Made], holds: bool) -> bool {
        let mut before = std::collections::HashMap::new();
        let is_lie = self.truth.is_none_or(|truth| truth == holds);
        is_lie
            && calls.iter().any(|made| {
                if made.number != self.call as u64 || made.aside != self.aside {
                    return false;
                }
                let after = before.entry(made.thread).or_insert(0);
                let matches = self.matches(made.thread, *after, &made.arguments);
                *after += 1;
                matches && self.differs(made)
            })
    }

    /// Whether it is about this call.
    pub fn matches(&self, thread: u32, after: u32, arguments: &[u64; 6]) -> bool {
        let here = match self.which {
            Which::Every => true,
            Which::One { thread: one, after: nth } => one == thread && nth == after,
        };
        let fits = self
            .only
            .is_none_or(|only| arguments.get(only.index).is_some_and(|argument| argument & only.mask == only.value));
        here && fits
    }

    fn differs(&self, made: &Made) -> bool {
        match self.what {
            What::Refused(errno) => made.result != -i64::from(errno),
            What::OtherErrno(errno) => made.result < 0 && made.result != -i64::from(errno),
            What::Accepted | What::CompletionForged(_) => made.result < 0,
            What::Returned(number) => made.result != number,
            What::TooFew => made.result > 0,
            What::Shortened => made.result > 1,
            // A failed call has done nothing and returned no data, so these lies do not apply to it.
            What::TooMany
            | What::Skipped
            | What::Undone(_)
            | What::Bytes { .. }
            | What::Garbled
            | What::OffsetKept
            | What::Completion(..)
            | What::IdsShifted(_)
            | What::PositionKept
            | What::MessageFlags(_)
            | What::Output { .. }
            | What::Unshared => made.result >= 0,
            What::Raised(_) | What::Swallowed(_) | What::Delayed | What::Interrupted => true,
        }
    }
}

impl fmt::Display for Lie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let call = self.call.name();
        match self.which {
            Which::Every => write!(f, "every {call}()")?,
            Which::One { thread, after } => {
                write!(f, "{call}() number {}", after + 1)?;
                if thread > 0 {
                    write!(f, " of thread {thread}")?;
                }
            }
        }
        if let Some(only) = self.only {
            write!(f, " with argument {} = {}", only.index, only.value)?;
        }
        if self.aside {
            f.write_str(" of those made aside")?;
        }
        write!(f, ": {}", self.what)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = |number: i32| crate::verdict::errno_name(number);
        match *self {
            Self::Refused(number) => write!(f, "not made, {}", errno(number)),
            Self::OtherErrno(number) => write!(f, "fails with {}", errno(number)),
            Self::Accepted => f.write_str("fails, reported as a success"),
            Self::Skipped => f.write_str("not made, reported as done"),
            Self::Undone(number) => write!(f, "not made, reported as {number}"),
            Self::Returned(number) => write!(f, "reported as {number}"),
            Self::TooMany => f.write_str("reported as one more"),
            Self::TooFew => f.write_str("reported as one less"),
            Self::Bytes { from, to } => write!(f, "brings '{}' for '{}'", to.escape_ascii(), from.escape_ascii()),
            Self::Garbled => f.write_str("brings another first byte"),
            Self::OffsetKept => f.write_str("leaves the offset"),
            Self::PositionKept => f.write_str("leaves the file position"),
            Self::IdsShifted(by) => write!(f, "completion with ids {by} higher"),
            Self::CompletionForged(id) => write!(f, "brings a completion of send {id}"),
            Self::Completion(field, value) => write!(f, "completion with {field:?} = {value}"),
            Self::MessageFlags(flags) => write!(f, "message flags {flags:#x} the other way"),
            Self::Output { value, .. } => write!(f, "writes {value}"),
            Self::Unshared => f.write_str("copies the file"),
            Self::Raised(signal) => write!(f, "raises signal {signal}"),
            Self::Swallowed(signal) => write!(f, "does not raise signal {signal}"),
            Self::Delayed => f.write_str("delayed"),
            Self::Interrupted => f.write_str("interrupted once"),
            Self::Shortened => f.write_str("does half"),
        }
    }
}

/// The index of a call's count of bytes, for the calls that may do less than the count.
pub fn count_argument(call: u64) -> Option<usize> {
    const COUNTS: &[(Sysno, usize)] = &[
        (Sysno::read, 2),
        (Sysno::write, 2),
        (Sysno::pread64, 2),
        (Sysno::pwrite64, 2),
        (Sysno::sendto, 2),
        (Sysno::recvfrom, 2),
        (Sysno::sendfile, 3),
        (Sysno::splice, 4),
        (Sysno::tee, 2),
        (Sysno::copy_file_range, 4),
    ];
    COUNTS.iter().find(|(number, _)| *number as u64 == call).map(|(_, index)| *index)
}

/// The indices of a call's pointers to offsets.
pub fn offset_arguments(call: u64) -> &'static [usize] {
    if call == Sysno::sendfile as u64 {
        &[2]
    } else if call == Sysno::splice as u64 || call == Sysno::copy_file_range as u64 {
        &[1, 3]
    } else {
        &[]
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn write_call<S: Serializer>(call: &Sysno, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(call.name())
}

fn read_call<'text, D: Deserializer<'text>>(from: D) -> Result<Sysno, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|()| serde::de::Error::custom(format!("no system call {text}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lie_is_stored_by_the_calls_name_and_read_back() {
        let lies = [
            Lie::refused(Sysno::splice, libc::EINVAL).after(2),
            Lie::bytes(Sysno::read, b'O', b'N').with(2, 4096).where_it(true),
            Lie::completion(Field::Code, 1),
        ];
        for lie in lies {
            let text = serde_json::to_string(&lie).expect("plain data");
            assert!(text.contains(lie.call.name()), "{text}");
            assert_eq!(serde_json::from_str::<Lie>(&text).expect("readable"), lie);
        }
        assert!(serde_json::from_str::<Lie>(r#"{"call":"no_such_call"}"#).is_err());
    }

    #[test]
    fn which_calls_it_is_about() {
        let second = Lie::skipped(Sysno::read).after(1).with(0, 3);
        assert!(second.matches(0, 1, &[3, 0, 0, 0, 0, 0]));
        assert!(!second.matches(0, 0, &[3, 0, 0, 0, 0, 0]));
        assert!(!second.matches(1, 1, &[3, 0, 0, 0, 0, 0]));
        assert!(!second.matches(0, 1, &[4, 0, 0, 0, 0, 0]));
        assert!(Lie::skipped(Sysno::read).matches(7, 7, &[0; 6]));
    }

    #[test]
    fn what_would_not_be_a_lie_does_not_apply() {
        let made =
            |call: Sysno, result| Made { thread: 0, number: call as u64, arguments: [0; 6], result, aside: false };
        let failed = [made(Sysno::read, -i64::from(libc::EINVAL))];
        assert!(!Lie::refused(Sysno::read, libc::EINVAL).applies(&failed, true));
        assert!(Lie::refused(Sysno::read, libc::EIO).applies(&failed, true));
        assert!(Lie::accepted(Sysno::read).applies(&failed, true));
        assert!(!Lie::accepted(Sysno::write).applies(&failed, true));
        assert!(!Lie::accepted(Sysno::read).after(1).applies(&failed, true));
        assert!(!Lie::accepted(Sysno::read).where_it(false).applies(&failed, true));
        let done = [made(Sysno::read, 4)];
        assert!(!Lie::returned(Sysno::read, 4).applies(&done, true));
        assert!(Lie::returned(Sysno::read, 5).applies(&done, true));
        assert!(!Lie::accepted(Sysno::read).applies(&done, true));
    }
}
