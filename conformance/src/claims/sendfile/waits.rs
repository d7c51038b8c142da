//! When `sendfile` sleeps.

use super::{about_sendfile, note_refused, sendfile, until_refused};
use crate::claims::prelude::*;
use crate::lab::fuse::settings::Settings;
use crate::lab::fuse::{self, Fuse};
use nocopy_splice::{PipeFlags, fcntl_getpipe_size, pipe2};
use std::os::unix::fs::OpenOptionsExt;

pub const CLAIMS: &[Claim] = &[
    about_sendfile(
        "sendfile.waits.full-pipe",
        "sendfile() into a full blocking pipe sleeps until there is room; reading a page of it is enough.",
    )
    .published(&[kernel("fs/splice.c", "wait_for_space"), gvisor("sendfile.cc", "SendFileTest.SendPipeBlocks")])
    .turned_by(&does_not_wait(Sysno::sendfile))
    .sharing(&[Resource::UserPipePages])
    .tried(|lab, see| {
        let (file, Pipe { read, write }) = (lab.file(b"b")?, full()?);
        let caller = Caller::start(Sysno::sendfile, move || io::again(|| sendfile(&write, &file, Some(&mut 0), 1)))?;
        see.sleeps("sendfile(full pipe, file, 1)", caller, |_| read_page(&read))?.is(1);
        Ok(())
    }),
    about_sendfile(
        "sendfile.waits.nonblock-pipe",
        "Into a pipe with O_NONBLOCK, sendfile() takes what there is room for, and then fails with EAGAIN.",
    )
    .published(&[
        man("sendfile(2)", "ERRORS, EAGAIN"),
        commit("bdeb77bc2c40", "fs: sendfile handles O_NONBLOCK of out_fd").denies().since("5.12").until("5.18"),
        gvisor("sendfile.cc", "SendFileTest.SendToFullPipeReturnsEAGAIN").leaves_open(),
    ])
    .sharing(&[Resource::UserPipePages])
    .tried(|lab, see| {
        let Pipe { read, write } = aside(|| pipe2(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)).setup("pipe2")?;
        let size = aside(|| fcntl_getpipe_size(&write)).setup("F_GETPIPE_SZ")?;
        let bytes = pattern(2 * size);
        let file = lab.file(&bytes)?;
        let mut offset = 0;
        let send = |done: usize| sendfile(&write, &file, Some(&mut offset), 2 * size - done);
        let (taken, _) = until_refused(size, send);
        see.count("bytes that sendfile(pipe, file of twice its size) reports in all", taken as u64).is(size);
        let last = move || sendfile(&write, &file, Some(&mut { offset }), size);
        note_refused(see, "last sendfile(pipe, file)", last, &read)?;
        see.holds("the pipe's bytes", &read, &bytes[..size])?.says(AS_SENT);
        Ok(())
    }),
    about_sendfile(
        "sendfile.waits.file-read",
        "O_NONBLOCK of socket and file does not keep sendfile() from sleeping until the file has been read.",
    )
    .published(&[thread("redis/redis#7096", "sendfile() from the event loop sleeps for a file that is not cached")])
    .turned_by(&does_not_wait(Sysno::sendfile))
    .modules(fuse::MODULES)
    .method("A FUSE server withholds the answer to the read of a file until the call was seen asleep.")
    .tried(|_lab, see| {
        let fuse = Fuse::mount(b"b", Settings { withholds_reads: true, ..Settings::default() })?;
        let file = fuse.open(File::options().read(true).custom_flags(libc::O_NONBLOCK))?;
        let (near, far) = sockets::tcp()?;
        aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
        let caller = Caller::start(Sysno::sendfile, move || io::again(|| sendfile(&near, &file, Some(&mut 0), 1)))?;
        let slept = caller.sleeps_with(|| fuse.is_asked())?;
        fuse.answer()?;
        let result = caller.join()?;
        // The errors of a read from a file whose server has ended.
        if let Err(Errno::ECONNABORTED | Errno::ENOTCONN | Errno::EIO) = result {
            return Err(Stop::broken("the server of the file has ended"));
        }
        let fact = "sendfile(socket with O_NONBLOCK, file with O_NONBLOCK, 1)";
        see.text(fact, if slept { SLEEPS.to_owned() } else { returned(result) }).says(SLEEPS);
        see.call(format!("{fact}, then"), result).is(1);
        drop(far);
        Ok(())
    }),
];
