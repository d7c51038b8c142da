//! `splice` and file systems.

use super::{NONBLOCK, about_splice, all, once};
use crate::claims::prelude::*;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::filesystems::places;
use crate::lab::unnamed::unnamed_file;
use nocopy_splice::splice;

pub const CLAIMS: &[Claim] = &[about_splice(
    "splice.fs.some-refuse",
    "Some file systems have files that splice() refuses with EINVAL: proc has /proc/self/maps.",
)
.published(&[
    seed("5.2"),
    man("splice(2)", "ERRORS, EINVAL"),
    selftest("splice/short_splice_read.sh", "/proc/$pid has no splice interface, in a comment").leaves_open(),
    kernel("fs/splice.c", "do_splice_read"),
    ltp("splice07.c", "TST_FD_PROC_MAPS into a pipe, in a comment").denies(),
])
.gated(&[gate(
    "5.10",
    "a file without splice code of its own is refused",
    commit("36e2c7421f02", "fs: don't allow splice read/write without explicit ops"),
)])
.method("Splices two files of /proc, and a file of each writable file system to show which ones refuse.")
.tried(|lab, see| {
    for place in places(lab.scratch()?) {
        let file = aside(|| unnamed_file(&place.directory)).setup("create a file")?;
        aside(|| io::pwrite_all(&file, b"bytes", 0)).setup("write the file")?;
        let pipe = pipe()?;
        let out = splice(&file, Some(&mut 0), &pipe.write, None, 5, NONBLOCK);
        see.call(format!("splice(file of {}, pipe)", place.filesystem), out);
        see.readable(&format!("bytes in the pipe from {}", place.filesystem), &pipe.read)?;
    }
    let pipe = pipe()?;
    let maps = Descriptor::open(lab, Fd::ProcMaps)?;
    see.call("splice(/proc/self/maps, pipe)", once(&maps, &pipe.write, 5)).fails(EINVAL);
    see.readable("bytes in the pipe after that", &pipe.read)?.is(0);
    let version = Descriptor::open(lab, Fd::ProcVersion)?;
    see.call("splice(/proc/version, pipe)", all(&version, &pipe.write, 5)).is(5);
    see.holds("pipe's bytes", &pipe.read, b"Linux")?.says(AS_SENT);
    Ok(())
})];
