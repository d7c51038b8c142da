//! `splice`: behaviour that tests of other projects check, beyond its manual page.

use super::tools::{arrived, filled, note_readable, pipe};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource};
use crate::interpose::lie::{Lie, What};
use crate::lab::{io, pattern};
use crate::verdict::Observation;
use nocopy_splice::{SpliceFlags, splice};
use syscalls::{Errno, Sysno};

const SPLICE: &[Sysno] = &[Sysno::splice];
const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::splice);
const GVISOR: Source = Source::Thread("gVisor @3c5eee1, test/syscalls/linux/splice.cc");

/// Claims about splice that come from other projects' tests.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "An offset of the target that is negative, or that with the length is beyond the largest one, fails with EINVAL: \
                    nothing leaves the pipe.",
        sources: &[GVISOR],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.offset.bad-target",
            |lab| {
                let file = lab.empty_file()?;
                let pipe = filled(b"abc")?;
                let mut seen = Observation::new();
                for (fact, offset) in [
                    ("splice(pipe, file at -1)", u64::MAX),
                    ("splice(pipe, file at 2^63 - 2, 3)", i64::MAX.cast_unsigned() - 1),
                ] {
                    let done = splice(&pipe.read, None, &file, Some(&mut { offset }), 3, NONBLOCK);
                    seen.call(fact, done);
                }
                note_readable(&mut seen, "bytes left in the pipe", &pipe.read)?;
                Ok(seen)
            },
            &[
                ("splice(pipe, file at -1)", Answer::Fails(Errno::EINVAL)),
                ("splice(pipe, file at 2^63 - 2, 3)", Answer::Fails(Errno::EINVAL)),
                ("bytes left in the pipe", Answer::Is(3)),
            ],
        )
    },
    Claim {
        statement: "From pipe to pipe, a length below what the first holds moves that much: the rest stays, in its order.",
        sources: &[GVISOR],
        about: SPLICE,
        lies: &[Lie::skipped(Sysno::splice), Lie::refused(Sysno::splice, libc::EINVAL)],
        ..Claim::of_answers(
            "splice.moves.part-of-pipe",
            |_lab| {
                let content = pattern(4096);
                let (first, second) = (filled(&content)?, pipe()?);
                let moved =
                    io::until_done(2048, |done| splice(&first.read, None, &second.write, None, 2048 - done, NONBLOCK));
                let mut seen = Observation::new();
                seen.call("splice(pipe of 4096, pipe, 2048)", moved);
                note_readable(&mut seen, "bytes left in the first", &first.read)?;
                note_readable(&mut seen, "bytes in the second", &second.read)?;
                drop((first.write, second.write));
                let half = |done: bool| if done { "its half" } else { "others" };
                seen.text("the second's bytes", half(arrived(&second.read, &content[..2048])?));
                seen.text("the first's bytes", half(arrived(&first.read, &content[2048..])?));
                Ok(seen)
            },
            &[
                ("splice(pipe of 4096, pipe, 2048)", Answer::Is(2048)),
                ("bytes left in the first", Answer::Is(2048)),
                ("bytes in the second", Answer::Is(2048)),
                ("the second's bytes", Answer::Says("its half")),
                ("the first's bytes", Answer::Says("its half")),
            ],
        )
    },
    Claim {
        statement: "splice() into a pipe in which one slot is free moves one page, though it was asked for two.",
        sources: &[GVISOR],
        about: SPLICE,
        lies: &[Lie::returned(Sysno::splice, 8192).with(4, 8192), Lie::refused(Sysno::splice, libc::EAGAIN)],
        exceptions: &[Exception::Of(Sysno::splice, What::Shortened, "half of two pages is what there is room for")],
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "splice.length.one-slot",
            |_lab| {
                let (source, target) = (filled(&[b's'; 8192])?, filled(&[b't'; 15 * 4096])?);
                let moved = io::again(|| splice(&source.read, None, &target.write, None, 8192, NONBLOCK));
                let mut seen = Observation::new();
                seen.call("splice(pipe of two pages, pipe with a slot, 8192)", moved);
                note_readable(&mut seen, "bytes left in the first", &source.read)?;
                note_readable(&mut seen, "bytes in the second", &target.read)?;
                Ok(seen)
            },
            &[
                ("splice(pipe of two pages, pipe with a slot, 8192)", Answer::Is(4096)),
                ("bytes left in the first", Answer::Is(4096)),
                ("bytes in the second", Answer::Is(1 << 16)),
            ],
        )
    },
];
