//! `splice`: behaviour that tests of other projects check, beyond its manual page.

use super::tools::{arrived, filled, note_readable, pipe};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception, Resource};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::kernel::to_have;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::{Lab, io, pattern, privilege};
use crate::verdict::{Lack, Observation, Setup, Stop};
use nocopy_splice::{Pipe, SpliceFlags, splice};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use syscalls::{Errno, Sysno};

const SPLICE: &[Sysno] = &[Sysno::splice];
const NONBLOCK: SpliceFlags = SpliceFlags::NONBLOCK;
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::splice);
const GVISOR: Source = Source::Thread("gVisor @3c5eee1, test/syscalls/linux/splice.cc");
const SHORT_READ: Source = Source::Thread("Linux 7.3, tools/testing/selftests/splice/short_splice_read.sh");
/// Lies that refute such a claim: the call fails, or returns another number of bytes.
const BROUGHT: &[Lie] = &[Lie::refused(Sysno::splice, libc::EINVAL), Lie::returned(Sysno::splice, 1).with(4, 4096)];

/// Claims about splice that come from other projects' tests.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "splice() between two files fails with EINVAL whichever of them has an offset.",
        sources: &[GVISOR],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.ends.two-files",
            |lab| {
                let (first, second) = (lab.file(b"abc")?, lab.file(b"def")?);
                let mut seen = Observation::new();
                let mut note = |fact: &str, from: Option<&mut u64>, to: Option<&mut u64>| {
                    seen.call(fact, splice(&first, from, &second, to, 1, NONBLOCK));
                };
                note("splice(file, file)", None, None);
                note("splice(file at 0, file)", Some(&mut 0), None);
                note("splice(file, file at 0)", None, Some(&mut 0));
                note("splice(file at 0, file at 0)", Some(&mut 0), Some(&mut 0));
                Ok(seen)
            },
            &[
                ("splice(file, file)", Answer::Fails(Errno::EINVAL)),
                ("splice(file at 0, file)", Answer::Fails(Errno::EINVAL)),
                ("splice(file, file at 0)", Answer::Fails(Errno::EINVAL)),
                ("splice(file at 0, file at 0)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
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
    Claim {
        statement: "splice() into a file of /proc/sys sets the value, as write() does.",
        method: "In a UTS namespace of its own, splices a name into /proc/sys/kernel/domainname and reads it.",
        sources: &[Source::Thread(
            "LTP @6958277, testcases/kernel/syscalls/splice/splice06.c; Linux 5.11, commit 14e3e989f6a5",
        )],
        about: SPLICE,
        lies: &[Lie::skipped(Sysno::splice), Lie::refused(Sysno::splice, libc::EINVAL)],
        exceptions: &[Exception::Of(
            Sysno::splice,
            What::Shortened,
            "a value is set by one write: half of a name is another one",
        )],
        ..Claim::of_answers(
            "splice.sink.sysctl",
            splice_sink_sysctl,
            &[
                ("splice(pipe, domainname)", Answer::Is(NAME.len() as u64)),
                ("domain name", Answer::Says("nocopy.test")),
            ],
        )
    },
    Claim {
        statement: "From /dev/zero and /dev/full splice() brings as many bytes as were asked for, a page or not, and all are zeros.",
        sources: &[Source::Thread("LTP @6958277, testcases/kernel/syscalls/splice/splice08.c and splice09.c")],
        about: SPLICE,
        lies: &[Lie::refused(Sysno::splice, libc::EINVAL).where_it(true)],
        exceptions: &[Exception::Lacking("no lie brings zeros into a pipe")],
        gates: &[super::tools::ZERO],
        ..Claim::of_answers(
            "splice.source.zeros",
            splice_source_zeros,
            &[
                ("zeros of /dev/zero", Answer::Is(LENGTHS_TOTAL)),
                ("zeros of /dev/full", Answer::Is(LENGTHS_TOTAL)),
                ("returned for /dev/zero", Answer::Is(LENGTHS_TOTAL)),
                ("returned for /dev/full", Answer::Is(LENGTHS_TOTAL)),
                ("other bytes", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "/proc/PID/limits and /proc/PID/comm cannot be spliced: EINVAL.",
        sources: &[SHORT_READ],
        about: SPLICE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "splice.source.proc-pid",
            |_lab| {
                let mut seen = Observation::new();
                for name in ["limits", "comm"] {
                    let file = open(&Path::new("/proc/self").join(name), File::options().read(true))?;
                    let pipe = pipe()?;
                    seen.call(
                        format!("splice(/proc/self/{name}, pipe, 4096)"),
                        splice(&file, None, &pipe.write, None, 4096, NONBLOCK),
                    );
                }
                Ok(seen)
            },
            &[
                ("splice(/proc/self/limits, pipe, 4096)", Answer::Fails(Errno::EINVAL)),
                ("splice(/proc/self/comm, pipe, 4096)", Answer::Fails(Errno::EINVAL)),
            ],
        )
    },
    Claim {
        statement: "splice() of two bytes, and then of a page, brings from a file of /proc/sys what read() brings.",
        sources: &[SHORT_READ],
        about: SPLICE,
        lies: BROUGHT,
        ..Claim::of_answers(
            "splice.source.sysctl-parts",
            |lab| {
                let path = Path::new("/proc/sys/kernel/ostype");
                let text = content(path)?;
                let file = Descriptor::open(lab, Fd::ProcSysctl)?;
                let pipe = pipe()?;
                let mut seen = Observation::new();
                let first = io::until_done(2, |done| splice(&file, None, &pipe.write, None, 2 - done, NONBLOCK));
                seen.call("splice(ostype, pipe, 2)", first);
                let rest = io::again(|| splice(&file, None, &pipe.write, None, 4096, NONBLOCK));
                seen.call("splice(ostype, pipe, 4096)", rest);
                drop(pipe.write);
                seen.text("bytes", whose(arrived(&pipe.read, &text)?));
                Ok(seen)
            },
            &[
                ("splice(ostype, pipe, 2)", Answer::Is(2)),
                ("splice(ostype, pipe, 4096)", Answer::Is(4)),
                ("bytes", Answer::Says("those of read()")),
            ],
        )
    },
    Claim {
        statement: "An attribute of a module in /sys can be spliced, be it of text or of bytes: what comes is what read() brings.",
        method: "Splices `coresize`, which is text, and a note, which is bytes, of a module that is loaded.",
        sources: &[SHORT_READ],
        about: SPLICE,
        modules: &["dummy"],
        lies: BROUGHT,
        ..Claim::of_answers(
            "splice.source.module-attribute",
            splice_source_module_attribute,
            &[
                ("bytes of the text", Answer::Says("those of read()")),
                ("splice(text, pipe, 4096)", Answer::Says("as many as came")),
                ("bytes of the note", Answer::Says("those of read()")),
                ("splice(note, pipe, 4096)", Answer::Says("as many as came")),
            ],
        )
    },
];

const NAME: &[u8] = b"nocopy.test";
/// The requested numbers of bytes from a device of zeros: one byte; a page, one byte less and one byte more; and a length that
/// ends inside a page.
const LENGTHS: [usize; 5] = [1, 4095, 4096, 4097, 9000];
/// Their sum.
const LENGTHS_TOTAL: u64 = 1 + 4095 + 4096 + 4097 + 9000;

fn whose(same: bool) -> &'static str {
    if same { "those of read()" } else { "others" }
}

fn open(path: &Path, options: &OpenOptions) -> Result<File, Stop> {
    aside(|| options.open(path)).map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            let what = format!("{} is not there", path.display());
            return Stop::untestable(Lack::Kernel, what, "use a kernel with this file");
        }
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        Stop::from_setup(&format!("open {}", path.display()), Errno::new(errno))
    })
}

/// The bytes that `read` returns for a file.
fn content(path: &Path) -> Result<Vec<u8>, Stop> {
    let mut file = open(path, File::options().read(true))?;
    let mut bytes = Vec::new();
    aside(|| file.read_to_end(&mut bytes)).setup(&format!("read {}", path.display()))?;
    Ok(bytes)
}

fn splice_sink_sysctl(_lab: &Lab) -> Result<Observation, Stop> {
    const PATH: &str = "/proc/sys/kernel/domainname";
    aside(|| privilege::unshare(libc::CLONE_NEWUTS)).map_err(|errno| match errno {
        Errno::EIO => Stop::from_setup("unshare", errno),
        _ => Stop::untestable(Lack::Privilege, format!("no UTS namespace can be made: {errno:?}"), "run as root"),
    })?;
    let file = open(Path::new(PATH), File::options().write(true))?;
    let pipe = filled(NAME)?;
    let mut seen = Observation::new();
    let done = io::again(|| splice(&pipe.read, None, &file, None, NAME.len(), NONBLOCK));
    seen.call("splice(pipe, domainname)", done);
    let name = aside(|| std::fs::read_to_string(PATH)).setup("read domainname")?;
    seen.text("domain name", name.trim_end());
    Ok(seen)
}

fn splice_source_zeros(lab: &Lab) -> Result<Observation, Stop> {
    let mut seen = Observation::new();
    let mut others = 0;
    for kind in [Fd::DevZero, Fd::DevFull] {
        let device = Descriptor::open(lab, kind)?;
        let (mut returned, mut zeros) = (0, 0);
        for length in LENGTHS {
            let Pipe { read, write } = pipe()?;
            let brought = io::until_done(length, |done| splice(&device, None, &write, None, length - done, NONBLOCK));
            match brought {
                Ok(count) => returned += count as u64,
                Err(_) => _ = seen.call(format!("splice({kind}, pipe, {length})"), brought),
            }
            drop(write);
            let mut bytes = vec![b'x'; length + 1];
            let count = io::read_full(&read, &mut bytes).setup("read a pipe")?;
            let of_these = bytes[..count].iter().filter(|byte| **byte == 0).count();
            zeros += of_these as u64;
            others += (count - of_these) as u64;
        }
        seen.count(format!("zeros of {kind}"), zeros).count(format!("returned for {kind}"), returned);
    }
    seen.count("other bytes", others);
    Ok(seen)
}

fn splice_source_module_attribute(_lab: &Lab) -> Result<Observation, Stop> {
    let (text, note) = aside(module_attributes)
        .ok_or_else(|| Stop::untestable(Lack::Device, "no module with notes is loaded", to_have("modules", "dummy")))?;
    let mut seen = Observation::new();
    for (what, path) in [("text", text), ("note", note)] {
        let expected = content(&path)?;
        let file = open(&path, File::options().read(true))?;
        let pipe = pipe()?;
        let brought = io::until_done(4096, |done| splice(&file, None, &pipe.write, None, 4096 - done, NONBLOCK));
        drop(pipe.write);
        let mut bytes = vec![0; 4096];
        let count = io::read_full(&pipe.read, &mut bytes).setup("read the pipe")?;
        let same = bytes[..count] == expected;
        seen.text(format!("bytes of the {what}"), whose(same));
        let told = match brought {
            Ok(told) if told == count => "as many as came".to_owned(),
            other => format!("{other:?}"),
        };
        seen.text(format!("splice({what}, pipe, 4096)"), told);
    }
    Ok(seen)
}

/// A text attribute and a binary attribute of a module that has both.
fn module_attributes() -> Option<(PathBuf, PathBuf)> {
    let modules = std::fs::read_dir("/sys/module").ok()?;
    modules.flatten().find_map(|module| {
        let text = module.path().join("coresize");
        let mut notes = std::fs::read_dir(module.path().join("notes")).ok()?;
        let note = notes.next()?.ok()?.path();
        text.exists().then_some((text, note))
    })
}
