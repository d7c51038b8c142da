//! `splice` and `sendfile` of FUSE files, whose content a server in user space generates: the bytes that arrive, and the calls
//! that wait.

use super::tools::note_readable;
use super::waiting::{does_not_wait, note_result};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Gate, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fuse;
use crate::lab::fuse::Fuse;
use crate::lab::fuse::settings::Settings;
use crate::lab::sleeper::Caller;
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_sendfile::sendfile;
use nocopy_splice::{PipeFlags, SpliceFlags, pipe2, splice};
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use syscalls::{Errno, Sysno};

const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;
const UUTILS: Source = Source::Thread("uutils/coreutils#9609, whose cat showed nothing of such files");
const REDIS: Source =
    Source::Thread("redis/redis#7096, merged and reverted: sendfile() from the event loop waits for the disk");
const HIDDEN: &str = "A server of the experiment's own, with FOPEN_DIRECT_IO, says of a file that it is empty, and answers reads with \
                      five bytes. Reads it and makes the call.";
const WITHHELD: &str = "A server of the experiment's own does not answer the read of a file. Makes the call in a thread, looks into \
                        /proc until it sleeps there or has returned, and has the read answered.";

const PAGE_CACHE: &[Gate] = &[gate(
    "6.5",
    "splice takes what the page cache has, up to the size, in place of reading",
    Source::Thread("openzfs/zfs#15155; Linux commit 2cb1e08985e3"),
)];

/// The lies that refute such a claim: the call returns nothing, or everything.
const fn otherwise(call: Sysno) -> [Lie; 2] {
    [Lie::about(call, What::Undone(0)).where_it(true), Lie::returned(call, 5).where_it(false)]
}

/// Claims about FUSE files.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "Of a file that fstat() shows as empty, sendfile() sends what read() brings: 0 is the end of the file.",
        method: HIDDEN,
        sources: &[UUTILS, Source::Measured],
        about: &[Sysno::sendfile],
        lies: &otherwise(Sysno::sendfile),
        gates: PAGE_CACHE,
        modules: fuse::MODULES,
        ..Claim::of_answers(
            "sendfile.source.hidden-size",
            sendfile_source_hidden_size,
            &[("read(file)", Answer::Is(5)), ("sendfile(socket, file)", Answer::Is(5))],
        )
    },
    Claim {
        statement: "O_NONBLOCK is about the socket: sendfile() sleeps until the file has been read.",
        method: WITHHELD,
        sources: &[REDIS],
        about: &[Sysno::sendfile],
        lies: &does_not_wait(Sysno::sendfile),
        modules: fuse::MODULES,
        ..Claim::of_answers(
            "sendfile.waits.file-read",
            sendfile_waits_file_read,
            &[
                ("sendfile(socket with O_NONBLOCK, file with O_NONBLOCK, 1)", Answer::Says("sleeps")),
                ("sendfile(socket with O_NONBLOCK, file with O_NONBLOCK, 1), then", Answer::Is(1)),
            ],
        )
    },
];

/// A mount whose file has a reported size of zero, and content.
fn hiding() -> Result<Fuse, Stop> {
    let settings = Settings { direct_io: true, hides_sizes: true, ..Settings::default() };
    Fuse::mount(b"bytes", settings)
}

/// Opens the file with additional flags, and notes the results of `fstat` and `read`.
fn opened(seen: &mut Observation, fuse: &Fuse, flags: libc::c_int) -> Result<File, Stop> {
    let file = fuse.open(File::options().read(true).custom_flags(flags))?;
    super::tools::note_length(seen, "length that fstat() shows", &file)?;
    seen.call("read(file)", io::pread(&file, &mut [0; 99], 0));
    Ok(file)
}

fn sendfile_source_hidden_size(_lab: &Lab) -> Result<Observation, Stop> {
    let fuse = hiding()?;
    let mut seen = Observation::new();
    let file = opened(&mut seen, &fuse, 0)?;
    let (near, far) = sockets::tcp()?;
    let mut offset = 0;
    let done = io::until_done(5, |_| sendfile(&near, &file, Some(&mut offset), 4096));
    seen.call("sendfile(socket, file)", done);
    sockets::wait_until_acknowledged(&near, &far)?;
    note_readable(&mut seen, "bytes at the receiver", &far)?;
    Ok(seen)
}

/// A mount that withholds reads, and its file, opened with `O_NONBLOCK`.
fn withholding() -> Result<(Fuse, File), Stop> {
    let settings = Settings { withholds_reads: true, ..Settings::default() };
    let fuse = Fuse::mount(b"b", settings)?;
    let mut options = File::options();
    let file = fuse.open(options.read(true).custom_flags(libc::O_NONBLOCK))?;
    Ok((fuse, file))
}

/// Notes whether a call sleeps while the server has its read, and the result after the answer.
fn note_reader(seen: &mut Observation, what: &str, fuse: &Fuse, caller: Caller) -> Result<(), Stop> {
    let sleeps = caller.sleeps_with(|| fuse.is_asked())?;
    fuse.answer()?;
    let result = caller.join()?;
    // The errors of a read from a file whose server has ended.
    if let Err(Errno::ECONNABORTED | Errno::ENOTCONN) = result {
        return Err(Stop::broken("the server of the file has ended"));
    }
    note_result(seen, what, sleeps, result);
    Ok(())
}

fn sendfile_waits_file_read(_lab: &Lab) -> Result<Observation, Stop> {
    let (fuse, file) = withholding()?;
    let (near, far) = sockets::tcp()?;
    aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
    let caller = Caller::start(Sysno::sendfile, move || io::again(|| sendfile(&near, &file, Some(&mut 0), 1)))?;
    let mut seen = Observation::new();
    let what = "sendfile(socket with O_NONBLOCK, file with O_NONBLOCK, 1)";
    note_reader(&mut seen, what, &fuse, caller)?;
    drop(far);
    Ok(seen)
}
