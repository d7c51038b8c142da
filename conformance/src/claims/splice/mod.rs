//! `splice`.

mod abi;
mod call;
mod copies;
mod ends;
mod entries;
mod fs;
mod o_direct;
mod sink;
mod source;

use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::filesystems::filesystem_of;
use nocopy_splice::splice;

/// Claims about `splice`.
pub const CLAIMS: &[&[Claim]] = &[
    copies::CLAIMS,
    ends::CLAIMS,
    entries::CLAIMS,
    fs::CLAIMS,
    call::CLAIMS,
    abi::CLAIMS,
    source::CLAIMS,
    sink::CLAIMS,
    o_direct::CLAIMS,
];

const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;
const BLOCKING: SpliceFlags = SpliceFlags::empty();

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::splice);
/// A kernel that does not move the bytes.
const NOT_MOVED: &[Lie] = &[Lie::refused(Sysno::splice, libc::EINVAL), Lie::skipped(Sysno::splice)];

/// A claim about the answers of `splice`.
#[track_caller]
const fn about_splice(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::splice]).turned_by(OTHERWISE)
}

/// `splice` without offsets, with `SPLICE_F_NONBLOCK`.
fn once(from: &impl AsFd, to: &impl AsFd, length: usize) -> Result<usize, Errno> {
    splice(from, None, to, None, length, NONBLOCK)
}

/// The same, repeated until the length is reached.
fn all(from: &impl AsFd, to: &impl AsFd, length: usize) -> Result<usize, Errno> {
    io::until_done(length, |done| once(from, to, length - done))
}

/// For a claim that does not hold on every kernel.
const LACKING: &[Exception] = &[Exception::Lacking("no lie moves bytes")];

/// Lengths around a page, and one that ends inside a page, with names in pages.
fn lengths() -> [(&'static str, usize); 5] {
    let page = page();
    [("1", 1), ("page - 1", page - 1), ("page", page), ("page + 1", page + 1), ("2 pages + 808", 2 * page + 808)]
}

/// A connection or terminal that holds nothing to read: the end of this kind, and the other end.
fn connected(lab: &Lab, kind: Fd) -> Result<(OwnedFd, OwnedFd), Stop> {
    let (near, far) = Descriptor::open(lab, kind)?.into_ends();
    aside(|| io::read_full(&near, &mut [0; 16])).setup("empty a descriptor")?;
    Ok((near, far.ok_or_else(|| Stop::broken("it has no other end"))?))
}

/// What arrives before the end. A closed terminal, and TLS without a closing record, report the end as an error.
fn rest(far: &impl AsFd) -> Result<Vec<u8>, Stop> {
    let mut bytes = vec![0; 1 << 18];
    let mut count = 0;
    loop {
        match io::again(|| io::read(far, &mut bytes[count..])) {
            Ok(0) | Err(EIO | Errno::EBADMSG) => break,
            Ok(more) => count += more,
            Err(errno) => return Err(Stop::from_setup("read at the other end", errno)),
        }
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// The word for bytes that were compared.
fn sent(same: bool) -> &'static str {
    if same { AS_SENT } else { "others" }
}

/// Notes the file system on which the lab makes files.
fn note_scratch(lab: &Lab, see: &mut Observation) -> Result<(), Stop> {
    see.text("file system of the file", aside(|| filesystem_of(lab.scratch()?).setup("statfs"))?);
    Ok(())
}
