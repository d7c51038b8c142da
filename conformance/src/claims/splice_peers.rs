//! `splice`: behaviour that tests of other projects check, beyond its manual page.

use super::tools::{arrived, filled, pipe};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Exception};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::kernel::to_have;
use crate::lab::fds::{Descriptor, Kind as Fd};
use crate::lab::{Lab, io, privilege};
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
