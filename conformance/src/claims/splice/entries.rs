//! The number of system calls that `splice` needs.

use super::about_splice;
use crate::claims::prelude::*;
use nocopy_splice::Pipe;
use nocopy_transfer::Route;

const ONE: &[Exception] = &[Exception::Lacking("no lie makes one call of many")];

pub const CLAIMS: &[Claim] = &[
    about_splice(
        "splice.entries.pipe-64k",
        "Through a pipe of 16 pages, splice() sends a file of 1 MiB to a TCP socket with one system call.",
    )
    .published(&[seed("3.3"), seed("6.1"), seed("performance")])
    .traced()
    .turned_by(&[])
    .except(ONE)
    .tried(|lab, see| through_pipe(lab, see, "16 pages", 16 * page())),
    about_splice(
        "splice.entries.pipe-1m",
        "Through a pipe of 1 MiB, splice() sends a file of 1 MiB to a TCP socket with one system call.",
    )
    .published(&[seed("3.3"), seed("6.1"), seed("performance")])
    .traced()
    .turned_by(&[])
    .sharing(&[Resource::UserPipePages])
    .except(ONE)
    .tried(|lab, see| through_pipe(lab, see, "1 MiB", 1 << 20)),
    about_splice(
        "splice.entries.fewer-than-read-write",
        "To send 1 MiB to TCP, 16 pages at a time, splice() needs fewer system calls than read() and write().",
    )
    .published(&[seed("1.2")])
    .about(&[Sysno::splice, Sysno::read, Sysno::write])
    .traced()
    .turned_by(&[Lie::shortened(Sysno::write)])
    .tried(|lab, see| {
        let mut buffer = vec![0; 16 * page()];
        let (by_read_write, ()) = entries_to_tcp(lab, |file, socket| {
            let mut left = 0..0;
            io::all_done(ENTRIES_LENGTH, |_| {
                if left.is_empty() {
                    left = 0..io::read(file, &mut buffer)?;
                }
                let count = io::write(socket, &buffer[left.clone()])?;
                left.start += count;
                Ok(count)
            })
            .setup("read and write")
        })?;
        see.push("read and write, buffer of 16 pages", by_read_write);
        let (by_splice, _, arrived) = entries_of(lab, Route::Splice { pipe: 16 * page() })?;
        all_arrived(arrived)?;
        see.push("splice, pipe of 16 pages", by_splice).fewer_than_before();
        Ok(())
    }),
];

/// Sends 1 MiB through a pipe of this size, and counts the calls.
fn through_pipe(lab: &Lab, see: &mut Observation, name: &str, size: usize) -> Result<(), Stop> {
    // The pipe of the route gets the size that this one gets.
    let Pipe { read: _, write } = pipe()?;
    let given = aside(|| io::resize_pipe(&write, size)).setup("F_SETPIPE_SZ")?;
    if given != size {
        return Err(Stop::broken(format!("a pipe of {size} bytes has {given}")));
    }
    drop(write);
    let (entries, _, arrived) = entries_of(lab, Route::Splice { pipe: size })?;
    see.push(format!("1 MiB through a pipe of {name}"), entries).is(1);
    // gVisor reports the right number of bytes for a pipe larger than 64 KiB, and the bytes are others.
    see.text(RECEIVED, as_sent(arrived)).says(AS_SENT);
    Ok(())
}
