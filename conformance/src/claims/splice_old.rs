//! `splice`.

use super::tools::{SPLICE, arrived, carry, pipe};
use crate::claim::source::{Source, seed};
use crate::claim::{Claim, Exception, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::sinks::{Kind, Sink};
use crate::lab::{Lab, alias, io, pattern, sockets};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use nocopy_splice::{SpliceFlags, splice};
use syscalls::Sysno;

const MAN: Source = Source::Man("splice(2), man-pages 6.20");

/// Claims about `splice`.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "splice(file, NULL, socket, NULL, size, SPLICE_F_MOVE), as in the sample, sends a file to a socket.",
        method: "Makes the call with the sample's arguments. With a pipe in between the same data goes through.",
        sources: &[seed("3.3")],
        about: &[Sysno::splice],
        lies: &[Lie::accepted(Sysno::splice).after(0)],
        ..Claim::new("splice.sample.file-to-socket", splice_sample_file_to_socket, |seen| {
            Verdict::holds_if(seen.succeeded("splice(file, NULL, socket, NULL, 16384, SPLICE_F_MOVE)"))
        })
    },
    Claim {
        statement: "splice() moves data: the source does not have it afterwards.",
        method: "Splices a file into a pipe and reads the file again; for contrast, splices that pipe into another.",
        sources: &[seed("3.3")],
        about: &[Sysno::splice],
        lies: &[Lie::bytes(Sysno::pread64, alias::OLD, 0)],
        ..Claim::new("splice.moves.out-of-file", splice_moves_out_of_file, |seen| {
            Verdict::holds_if(!seen.is("file afterwards", "has the bytes"))
        })
    },
    Claim {
        statement: "splice() from a pipe takes the data out of it.",
        method: "Splices from one pipe to another and counts what is left.",
        sources: &[seed("3.3"), MAN],
        about: &[Sysno::splice],
        lies: &[Lie::about(Sysno::ioctl, What::Output { argument: 2, value: 5 })],
        ..Claim::new("splice.moves.out-of-pipe", splice_moves_out_of_pipe, |seen| {
            let moved = seen.returned("splice(pipe, other pipe)");
            let left = seen.counted("bytes left in the first pipe");
            let came = seen.counted("bytes in the second pipe");
            Verdict::holds_if(moved == Some(came) && came > 0 && left + came == 5)
        })
    },
    Claim {
        statement: "A pipe and two splice() calls of the whole length, as in the sample, send a file that fits into the pipe.",
        method: "Makes the sample's calls for 16 KiB and reads what arrives.",
        sources: &[seed("5.2")],
        about: &[Sysno::splice, Sysno::pipe2],
        lies: &[Lie::shortened(Sysno::splice), Lie::refused(Sysno::splice, libc::EINVAL)],
        ..Claim::new(
            "splice.sample.two-steps",
            |lab| two_steps(lab, alias::LENGTH),
            |seen| Verdict::holds_if(whole(seen)),
        )
    },
    Claim {
        statement: "A pipe and two splice() calls of the whole length, as in the sample, send a file of any size.",
        method: "Makes the sample's calls for 1 MiB with a pipe of the default size.",
        sources: &[seed("5.2")],
        about: &[Sysno::splice, Sysno::pipe2],
        exceptions: &[Exception::Controls(
            "no lie makes a pipe larger; the same experiment with a file that fits holds (splice.sample.two-steps)",
        )],
        ..Claim::new(
            "splice.sample.two-steps-large",
            |lab| two_steps(lab, 1 << 20),
            |seen| Verdict::holds_if(whole(seen)),
        )
    },
    Claim {
        statement: "Into a pipe, the length of splice() is a bound that may be any number.",
        method: "Splices a file of 16 bytes into a pipe, with its length and with the largest number as length.",
        sources: &[Source::Thread("tokio-splice, issue 2: such a length was taken on Linux 6.5 and is refused on 6.8")],
        about: &[Sysno::splice],
        lies: &[Lie::refused(Sysno::splice, libc::EINVAL).where_it(true), Lie::accepted(Sysno::splice).where_it(false)],
        gates: &[gate(
            "6.8",
            "into a pipe, splice() refuses a length above SSIZE_MAX",
            Source::Thread("tokio-splice, issue 2"),
        )],
        ..Claim::new("splice.length.any-number", splice_length_any_number, |seen| {
            Verdict::holds_if(seen.succeeded(LARGEST))
        })
    },
];

fn splice_sample_file_to_socket(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let (near, far) = sockets::tcp()?;
    let mut seen = Observation::new();
    seen.call(
        "splice(file, NULL, socket, NULL, 16384, SPLICE_F_MOVE)",
        splice(&file, None, &near, None, alias::LENGTH, SpliceFlags::MOVE),
    );
    let through_a_pipe = carry(SPLICE, &file, &near, alias::LENGTH)?;
    seen.count("bytes sent through a pipe", through_a_pipe);
    if !arrived(&far, &[alias::OLD; alias::LENGTH])? {
        return Err(Stop::broken("the receiver got other bytes"));
    }
    Ok(seen)
}

fn splice_moves_out_of_file(lab: &Lab) -> Result<Observation, Stop> {
    let file = alias::source(lab)?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    let moved = splice(&file, Some(&mut 0), &pipe.write, None, alias::LENGTH, SpliceFlags::MOVE);
    seen.call("splice(file, pipe, SPLICE_F_MOVE)", moved);
    let came = aside(|| sockets::readable(&pipe.read))?;
    seen.count("bytes in the pipe", came as u64);
    if came == 0 {
        return Err(Stop::broken("nothing was moved"));
    }
    let mut bytes = vec![0; alias::LENGTH];
    let left = io::pread_full(&file, &mut bytes, 0).setup("read the file")?;
    let kept = left == alias::LENGTH && bytes == [alias::OLD; alias::LENGTH];
    seen.text("file afterwards", if kept { "has the bytes" } else { "has lost bytes" });
    Ok(seen)
}

fn splice_moves_out_of_pipe(_lab: &Lab) -> Result<Observation, Stop> {
    let (first, second) = (pipe()?, pipe()?);
    io::write_all(&first.write, b"bytes").setup("write to a pipe")?;
    let mut seen = Observation::new();
    seen.call("splice(pipe, other pipe)", splice(&first.read, None, &second.write, None, 5, SpliceFlags::empty()));
    seen.count("bytes left in the first pipe", sockets::readable(&first.read)? as u64);
    seen.count("bytes in the second pipe", sockets::readable(&second.read)? as u64);
    Ok(seen)
}

/// The sample's calls: `splice` of `length` into a new pipe, then `splice` of `length` out of it.
fn two_steps(lab: &Lab, length: usize) -> Result<Observation, Stop> {
    let content = pattern(length);
    let file = lab.file(&content)?;
    let sink = Sink::open(lab, Kind::Tcp)?;
    let pipe = pipe()?;
    let mut seen = Observation::new();
    seen.count("length", length as u64);
    let into = splice(&file, None, &pipe.write, None, length, SpliceFlags::MOVE);
    let out = splice(&pipe.read, None, &sink, None, length, SpliceFlags::MOVE);
    seen.call("splice(file, NULL, pipe, NULL, length, SPLICE_F_MOVE)", into);
    seen.call(SECOND_STEP, out);
    let count = out.unwrap_or(0);
    if sink.take(count)? != content[..count] {
        return Err(Stop::broken("the receiver got other bytes"));
    }
    Ok(seen)
}

const SECOND_STEP: &str = "splice(pipe, NULL, socket, NULL, length, SPLICE_F_MOVE)";

/// Whether the sample's two calls sent the whole length.
fn whole(seen: &Observation) -> bool {
    seen.returned(SECOND_STEP) == Some(seen.counted("length"))
}

const LARGEST: &str = "splice(file, pipe, SIZE_MAX)";

fn splice_length_any_number(lab: &Lab) -> Result<Observation, Stop> {
    let file = lab.file(&pattern(16))?;
    let mut seen = Observation::new();
    for (fact, length, bytes) in
        [("splice(file, pipe, 16)", 16, "bytes in the pipe"), (LARGEST, usize::MAX, "bytes in the other pipe")]
    {
        let pipe = pipe()?;
        let mut offset = 0;
        seen.call(fact, splice(&file, Some(&mut offset), &pipe.write, None, length, SpliceFlags::empty()));
        seen.count(bytes, sockets::readable(&pipe.read)? as u64);
        seen.count(format!("offset after {fact}"), offset);
    }
    Ok(seen)
}
