//! How often `read` and `write` enter the kernel.

use crate::claims::prelude::*;

const SHORT: &[Lie] = &[Lie::shortened(Sysno::write), Lie::shortened(Sysno::read)];

/// A claim about the kernel entries of `read` and `write`.
#[track_caller]
const fn about_entries(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::read, Sysno::write]).turned_by(SHORT).traced()
}

pub const CLAIMS: &[Claim] = &[
    about_entries(
        "rw.entries.one-chunk",
        "Sending 16 KiB by one read() and one write() enters the kernel twice: four crossings between user and kernel \
         mode.",
    )
    .published(&[seed("2.1"), seed("2.2")])
    .tried(|lab, see| {
        let file = alias::source(lab)?;
        let (near, far) = sockets::tcp()?;
        let mut buffer = vec![0; alias::LENGTH];
        let (entries, sent) = lab.entries(|| read_and_write(&file, &near, alias::LENGTH, &mut buffer));
        sent.setup("read and write")?;
        aside(|| sockets::wait_for_arrival(&far, alias::LENGTH))?;
        see.push("one chunk", entries).is(2);
        see.receives(RECEIVED, &far, &[alias::OLD; alias::LENGTH])?.says(AS_SENT);
        Ok(())
    }),
    about_entries(
        "rw.entries.whole-file",
        "Sending 1 MiB enters the kernel once for each read() and write(): 32 times through a buffer of 64 KiB, twice \
         through one of 1 MiB.",
    )
    .published(&[MEASURED])
    .tried(|lab, see| {
        for (name, size, entries) in [("64 KiB", 1 << 16, 32), ("1 MiB", ENTRIES_LENGTH, 2)] {
            let mut buffer = vec![0; size];
            let (counted, ()) = entries_to_tcp(lab, |file, socket| {
                read_and_write(file, socket, ENTRIES_LENGTH, &mut buffer).setup("read and write")
            })?;
            see.push(format!("1 MiB through a {name} buffer"), counted).is(entries);
        }
        Ok(())
    }),
];

/// Sends `length` bytes of `file`, from its position, through `buffer`.
fn read_and_write(file: &impl AsFd, sink: &impl AsFd, length: usize, buffer: &mut [u8]) -> Result<(), Errno> {
    let mut left = 0..0;
    io::all_done(length, |done| {
        if left.is_empty() {
            let wanted = buffer.len().min(length - done);
            left = 0..io::read(file, &mut buffer[..wanted])?;
        }
        let count = io::write(sink, &buffer[left.clone()])?;
        left.start += count;
        Ok(count)
    })
}
