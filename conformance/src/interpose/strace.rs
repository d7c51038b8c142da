//! Recorded calls as `strace` shows them.

#![forbid(unsafe_code)]

use crate::interpose::record::Made;
use crate::verdict::errno_name;
use std::fmt::Write;
use syscalls::Sysno;

/// How an argument is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A descriptor, a count or an offset: a decimal number, with sign.
    Number,
    /// An address.
    Address,
    /// A set of flags: names of bits, and the rest in hexadecimal.
    Flags(&'static [(&'static str, u64)]),
}
use Kind::{Address as A, Flags, Number as N};

const SPLICE: Kind =
    Flags(&[("SPLICE_F_MOVE", 1), ("SPLICE_F_NONBLOCK", 2), ("SPLICE_F_MORE", 4), ("SPLICE_F_GIFT", 8)]);
const MESSAGE: Kind = Flags(&[
    ("MSG_PEEK", libc::MSG_PEEK as u64),
    ("MSG_DONTWAIT", libc::MSG_DONTWAIT as u64),
    ("MSG_ERRQUEUE", libc::MSG_ERRQUEUE as u64),
    ("MSG_NOSIGNAL", libc::MSG_NOSIGNAL as u64),
    ("MSG_MORE", libc::MSG_MORE as u64),
    ("MSG_ZEROCOPY", libc::MSG_ZEROCOPY as u64),
]);
const PROTECTION: Kind = Flags(&[("PROT_READ", 1), ("PROT_WRITE", 2), ("PROT_EXEC", 4)]);
const MAPPING: Kind = Flags(&[
    ("MAP_SHARED", 1),
    ("MAP_PRIVATE", 2),
    ("MAP_FIXED", libc::MAP_FIXED as u64),
    ("MAP_ANONYMOUS", libc::MAP_ANONYMOUS as u64),
    ("MAP_LOCKED", libc::MAP_LOCKED as u64),
    ("MAP_POPULATE", libc::MAP_POPULATE as u64),
]);

/// The calls that experiments make most, with their arguments.
const CALLS: &[(Sysno, &[Kind])] = &[
    (Sysno::read, &[N, A, N]),
    (Sysno::write, &[N, A, N]),
    (Sysno::pread64, &[N, A, N, N]),
    (Sysno::pwrite64, &[N, A, N, N]),
    (Sysno::sendfile, &[N, N, A, N]),
    (Sysno::splice, &[N, A, N, A, N, SPLICE]),
    (Sysno::tee, &[N, N, N, SPLICE]),
    (Sysno::vmsplice, &[N, A, N, SPLICE]),
    (Sysno::copy_file_range, &[N, A, N, A, N, Flags(&[])]),
    (Sysno::mmap, &[A, N, PROTECTION, MAPPING, N, N]),
    (Sysno::munmap, &[A, N]),
    (Sysno::mprotect, &[A, N, PROTECTION]),
    (Sysno::mremap, &[A, N, N, Flags(&[("MREMAP_MAYMOVE", 1), ("MREMAP_FIXED", 2), ("MREMAP_DONTUNMAP", 4)]), A]),
    (Sysno::madvise, &[A, N, N]),
    (Sysno::msync, &[A, N, Flags(&[("MS_ASYNC", 1), ("MS_INVALIDATE", 2), ("MS_SYNC", 4)])]),
    (Sysno::mincore, &[A, N, A]),
    (Sysno::sendto, &[N, A, N, MESSAGE, A, N]),
    (Sysno::sendmsg, &[N, A, MESSAGE]),
    (Sysno::recvfrom, &[N, A, N, MESSAGE, A, A]),
    (Sysno::recvmsg, &[N, A, MESSAGE]),
    (Sysno::getsockopt, &[N, N, N, A, A]),
    (Sysno::setsockopt, &[N, N, N, A, N]),
    (Sysno::fcntl, &[N, N, N]),
    (Sysno::ioctl, &[N, Flags(&[]), A]),
    (Sysno::lseek, &[N, N, N]),
    (Sysno::ftruncate, &[N, N]),
    (Sysno::fallocate, &[N, N, N, N]),
    (Sysno::pipe2, &[A, Flags(&[])]),
    (Sysno::openat, &[N, A, Flags(&[]), Flags(&[])]),
    (Sysno::socket, &[N, N, N]),
    (Sysno::connect, &[N, A, N]),
    (Sysno::shutdown, &[N, N]),
    (Sysno::ppoll, &[A, N, A, A]),
    (Sysno::dup, &[N]),
    (Sysno::close, &[N]),
    (Sysno::fstat, &[N, A]),
    (Sysno::fsync, &[N]),
];

/// A call: `tee(5, 8, 5, SPLICE_F_NONBLOCK) = -1 EAGAIN`.
pub fn shown(made: &Made) -> String {
    let call = usize::try_from(made.number).ok().and_then(Sysno::new);
    let name = call.map_or_else(|| format!("syscall_{}", made.number), |call| call.name().to_owned());
    let known = CALLS.iter().find(|(other, _)| Some(*other) == call).map(|(_, kinds)| *kinds);
    let kinds = known.unwrap_or(&[A; 6]);
    let arguments: Vec<String> = kinds.iter().zip(made.arguments).map(|(kind, value)| argument(*kind, value)).collect();
    let mut line = format!("{name}({}) = ", arguments.join(", "));
    if (-4095..0).contains(&made.result) {
        let errno = i32::try_from(-made.result).unwrap_or_default();
        write!(line, "-1 {}", errno_name(errno)).expect("a string takes all");
    } else if matches!(call, Some(Sysno::mmap | Sysno::mremap)) {
        write!(line, "{:#x}", made.result).expect("a string takes all");
    } else {
        write!(line, "{}", made.result).expect("a string takes all");
    }
    line
}

/// Calls in order; the same call several times in a row is one line.
pub fn listing<'made>(calls: impl IntoIterator<Item = &'made Made>) -> Vec<String> {
    let mut lines: Vec<(String, usize)> = Vec::new();
    for made in calls {
        let line = shown(made);
        match lines.last_mut() {
            Some((last, count)) if *last == line => *count += 1,
            _ => lines.push((line, 1)),
        }
    }
    lines.into_iter().map(|(line, count)| if count == 1 { line } else { format!("{line}  ({count} times)") }).collect()
}

fn argument(kind: Kind, value: u64) -> String {
    match kind {
        Kind::Number => {
            // Descriptors and lengths may be given in 32 bits.
            let short = u32::try_from(value).ok().map(u32::cast_signed).filter(|number| *number < 0);
            short.map_or_else(|| value.cast_signed().to_string(), |number| number.to_string())
        }
        Kind::Address if value == 0 => "NULL".into(),
        Kind::Address => format!("{value:#x}"),
        Kind::Flags(names) => {
            let set: Vec<&(&str, u64)> = names.iter().filter(|(_, bit)| value & bit == *bit).collect();
            let rest = set.iter().fold(value, |rest, (_, bit)| rest & !bit);
            let mut words: Vec<String> = set.iter().map(|(name, _)| (*name).to_owned()).collect();
            if rest != 0 || words.is_empty() {
                words.push(if rest == 0 { "0".into() } else { format!("{rest:#x}") });
            }
            words.join("|")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(call: Sysno, arguments: [u64; 6], result: i64) -> Made {
        Made { thread: 0, number: call as u64, arguments, result, aside: false }
    }

    #[test]
    fn as_strace_shows_them() {
        let refused = made(Sysno::tee, [5, u64::MAX, 4096, 2, 0, 0], -11);
        assert_eq!(shown(&refused), "tee(5, -1, 4096, SPLICE_F_NONBLOCK) = -1 EAGAIN");
        let done = made(Sysno::splice, [5, 0, 6, 0x7ffc, 1, 0x11], 1);
        assert_eq!(shown(&done), "splice(5, NULL, 6, 0x7ffc, 1, SPLICE_F_MOVE|0x10) = 1");
        assert_eq!(listing([&refused, &refused, &done]).len(), 2);
        let odd = Made { number: 100_000, ..done };
        assert!(shown(&odd).starts_with("syscall_100000("));
    }
}
