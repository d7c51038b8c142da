//! Packets: pipes with `O_DIRECT`.

use super::{USER, bytes_until_full, made, pipe_of};
use crate::claims::prelude::*;
use nocopy_splice::PipeFlags;

pub const CLAIMS: &[Claim] = &[
    claim(
        "pipe.packets.one-each",
        "With O_DIRECT each write() of up to PIPE_BUF bytes is a packet, and each read() returns one packet.",
    )
    .published(SOURCES)
    .about(&[Sysno::pipe2])
    .turned_by(GARBLED)
    .tried(|_lab, see| packets(see, &[3, 1, 4096, 2], 8192)),
    claim("pipe.packets.discarded", "With O_DIRECT a read() of less than a packet discards the rest of it.")
        .published(SOURCES)
        .about(&[Sysno::pipe2])
        .turned_by(GARBLED)
        .tried(|_lab, see| packets(see, &[3, 4096, 2], 2)),
    claim(
        "pipe.packets.split",
        "With O_DIRECT a write() of more than PIPE_BUF (4096) bytes is split into packets of at most PIPE_BUF bytes.",
    )
    .published(&[man("pipe(2)", "DESCRIPTION, O_DIRECT").since("3.4")])
    .about(&[Sysno::read])
    .turned_by(GARBLED)
    .sharing(USER)
    .tried(|_lab, see| {
        for length in [4097, 5000, 8192, 10_000] {
            let pipe = pipe_of(4, PipeFlags::DIRECT | PipeFlags::NONBLOCK)?;
            let bytes = pattern(length);
            aside(|| io::write_whole(&pipe.write, &bytes)).setup("write to a pipe")?;
            let (mut all, mut largest, mut packet) = (Vec::new(), 0, vec![0; 8192]);
            let last = loop {
                match io::again(|| io::read(&pipe.read, &mut packet)) {
                    Ok(count @ 1..) => {
                        all.extend_from_slice(&packet[..count]);
                        largest = largest.max(count as u64);
                    }
                    last => break last,
                }
            };
            see.count(format!("largest packet of a write of {length} bytes"), largest).at_most(4096);
            see.text(format!("bytes of {length}"), as_sent(all == bytes)).says(AS_SENT);
            see.call(format!("read() after {length} bytes"), last).fails(EAGAIN);
        }
        Ok(())
    }),
    claim(
        "pipe.packets.pages",
        "With O_DIRECT each packet takes a page of the pipe: one-byte packets, one for each page, fill it.",
    )
    .published(&[
        kernel("fs/pipe.c", "anon_pipe_write"),
        man("F_GETPIPE_SZ(2const)", "DESCRIPTION, F_SETPIPE_SZ").leaves_open(),
    ])
    .about(&[Sysno::write])
    .turned_by(&[Lie::accepted(Sysno::write), Lie::refused(Sysno::write, libc::EAGAIN).after(3)])
    .sharing(USER)
    .tried(|_lab, see| {
        let pipe = pipe_of(16, PipeFlags::DIRECT | PipeFlags::NONBLOCK)?;
        let (taken, next) = bytes_until_full(&pipe)?;
        see.count("packets of one byte that a pipe of 16 pages takes", taken as u64).is(16);
        see.call("the next write", next).fails(EAGAIN);
        see.readable("bytes in the pipe", &pipe.read)?.is(16);
        Ok(())
    }),
];

const SOURCES: &[Source] = &[
    man("pipe(2)", "DESCRIPTION, O_DIRECT").since("3.4"),
    doc("filesystems/autofs.rst", "Communicating with autofs: the event pipe"),
];
const GARBLED: &[Lie] = &[Lie::about(Sysno::read, What::Garbled)];

/// Writes packets of these lengths, and reads as often, `length` bytes each.
fn packets(see: &mut Observation, lengths: &[usize], length: usize) -> Result<(), Stop> {
    let pipe = made(PipeFlags::DIRECT | PipeFlags::NONBLOCK)?;
    let bytes = pattern(2 * 4096);
    for packet in lengths {
        // Packets of different lengths begin with different bytes.
        aside(|| io::write_whole(&pipe.write, &bytes[*packet..2 * packet])).setup("write to a pipe")?;
    }
    for (number, packet) in (1..).zip(lengths) {
        let mut buffer = vec![0; length];
        let read = io::again(|| io::read(&pipe.read, &mut buffer));
        see.call(format!("read() number {number}, a packet of {packet}"), read).is(length.min(*packet));
        let same = buffer[..read.unwrap_or(0)] == bytes[*packet..packet + length.min(*packet)];
        see.text(format!("bytes of read() number {number}"), as_sent(same)).says(AS_SENT);
    }
    see.readable("bytes left in the pipe", &pipe.read)?.is(0);
    Ok(())
}
