//! `sendfile`.

pub(super) mod abi;
pub(super) mod call;
pub(super) mod completion;
pub(super) mod copies;
pub(super) mod count;
pub(super) mod end;
pub(super) mod ends;
pub(super) mod entries;
pub(super) mod errors;
pub(super) mod faults;
pub(super) mod offset;
pub(super) mod path;
pub(super) mod position;
pub(super) mod sample;
pub(super) mod sharing;
pub(super) mod source;
pub(super) mod target;
pub(super) mod udp;
pub(super) mod waits;

use crate::claim::Gate;
use crate::claims::prelude::*;
use crate::lab::fds::{self, Descriptor, Kind as Fd};
use nocopy_sendfile::sendfile;

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::sendfile);
const REFUSED: &[Lie] = &[refused(libc::EINVAL)];

/// The change that makes `sendfile` to a pipe share the file's pages, and take a socket as its source.
const TO_PIPE: Gate = gate(
    "5.12",
    "sendfile() to a pipe splices straight into that pipe",
    commit("b964bf53e540", "teach sendfile(2) to handle send-to-pipe directly"),
);
/// The change that gives a file's pages to a socket by `sendmsg`.
const SPLICE_PAGES: Gate = gate(
    "6.5",
    "a socket is given a file's pages by sendmsg(MSG_SPLICE_PAGES)",
    commit("7ac7c987850c", "udp: Convert udp_sendpage() to use MSG_SPLICE_PAGES"),
);

/// A claim about the answers of `sendfile`.
#[track_caller]
const fn about_sendfile(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::sendfile]).turned_by(OTHERWISE)
}

/// The lie that it is not made and fails with this errno.
const fn refused(errno: i32) -> Lie {
    Lie::refused(Sysno::sendfile, errno)
}

/// A lie about it.
const fn lie(what: What) -> Lie {
    Lie::about(Sysno::sendfile, what)
}

/// `sendfile` in as many calls as the length needs.
fn send(to: &impl AsFd, from: &impl AsFd, mut offset: Option<&mut u64>, length: usize) -> Result<usize, Errno> {
    io::until_done(length, |done| sendfile(to, from, offset.as_deref_mut(), length - done))
}

/// The file position.
fn position(file: &File) -> Result<u64, Stop> {
    aside(|| io::position(file)).setup("lseek")
}

/// Calls `call` with the number of bytes done so far until it fails, returns 0, or has done `length`. Returns that
/// number and the last result.
fn until_refused(length: usize, mut call: impl FnMut(usize) -> Result<usize, Errno>) -> (usize, Result<usize, Errno>) {
    let (mut done, mut last) = (0, Ok(0));
    while done < length {
        last = io::again(|| call(done));
        match last {
            Ok(count @ 1..) => done += count,
            Ok(0) | Err(_) => break,
        }
    }
    (done, last)
}

/// Notes that a call into a full pipe fails with `EAGAIN`. Where it sleeps instead, the pipe is read so that it ends.
fn note_refused(
    see: &mut Observation,
    fact: &str,
    call: impl FnOnce() -> Result<usize, Errno> + Send + 'static,
    full: &impl AsFd,
) -> Result<(), Stop> {
    let caller = Caller::start(Sysno::sendfile, call)?;
    let (word, result) = woken(caller, |_| read_page(full))?;
    if word == SLEEPS {
        see.text(fact, word).says("EAGAIN");
    } else {
        see.call(fact, result).fails(EAGAIN);
    }
    Ok(())
}

/// Closes the sender's end. The receiver must get exactly these bytes until the end.
fn arrives(see: &mut Observation, near: impl AsFd, far: &impl AsFd, bytes: &[u8]) -> Result<(), Stop> {
    drop(near);
    let mut came = vec![0; bytes.len() + 1];
    let read = io::until_done(came.len(), |done| match io::read(far, &mut came[done..]) {
        Err(EIO | Errno::EBADMSG) => Ok(0), // the end of TLS without a closing record
        read => read,
    });
    let count = read.setup("read at the receiver")?;
    see.text(RECEIVED, as_sent(came[..count] == *bytes)).says(AS_SENT);
    Ok(())
}

/// Notes the answer for a descriptor of each kind, or that this machine lacks it. The `last` kinds must be refused.
fn note_kinds(
    lab: &Lab,
    see: &mut Observation,
    [first, last]: [&[Fd]; 2],
    fact: fn(Fd) -> String,
    call: impl FnMut(&Descriptor) -> Result<usize, Errno>,
    came: impl FnMut(&Descriptor, usize) -> Result<Option<u64>, Stop>,
) -> Result<(), Stop> {
    let mut answers = Observation::new();
    fds::each(lab, &[first, last].concat(), &mut answers, fact, call, came)?;
    for answer in answers.facts() {
        let is_tried = matches!(answer.value, Value::Returned(_) | Value::Errno(_));
        let noted = see.push(answer.fact.as_str(), answer.value.clone());
        if is_tried && last.iter().any(|kind| fact(*kind) == answer.fact) {
            noted.is_refused();
        }
    }
    Ok(())
}

/// The whole content of a file.
fn content(file: &File) -> Result<Vec<u8>, Stop> {
    aside(|| {
        let mut bytes = vec![0; usize::try_from(file.metadata().setup("fstat")?.len()).expect("64-bit")];
        let read = io::pread_full(file, &mut bytes, 0).setup("read the file")?;
        bytes.truncate(read);
        Ok(bytes)
    })
}

/// The whole content of a file of text.
fn text(file: &File) -> Result<String, Stop> {
    Ok(String::from_utf8_lossy(&content(file)?).into_owned())
}
