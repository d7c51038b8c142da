//! `sendfile`: the positions that it moves, the bytes that arrive, and its end if the file changes during the call.

use super::tools::{arrived, note_readable, pipe};
use crate::claim::source::Source;
use crate::claim::{Answer, Claim, Resource, gate};
use crate::interpose::lie::{Lie, What};
use crate::interpose::record::aside;
use crate::lab::fuse::{self, Fuse};
use crate::lab::io::{self, argument, ask};
use crate::lab::open;
use crate::lab::pages::PAGE;
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::Volume;
use crate::lab::waiting::wait_until;
use crate::lab::{Lab, alias, mounts, nfs, sockets};
use crate::verdict::{Observation, Setup, Stop};
use nocopy_mmap::{MapFlags, Mapping, Prot};
use nocopy_sendfile::sendfile;
use nocopy_splice::{PipeFlags, pipe2};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::net::{UnixDatagram, UnixStream};
use syscalls::{Errno, Sysno};

const MAN: Source = Source::Man("sendfile(2), man-pages 6.20");
const SENDFILE: &[Sysno] = &[Sysno::sendfile];
const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::sendfile);

pub(super) const COREUTILS_277: Source =
    Source::Thread("coreutils/coreutils#277: ENOSPC of a full tmpfs is told, /dev/full is not");

const BEYOND_LARGEST: &str = "sendfile(file on ext4, file on ext4, 2^63 - 4096, 1)";

/// Claims about the bytes that `sendfile` sends.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "A socket can be the source if the target is a pipe: the call is a splice() then.",
        sources: &[MAN],
        about: SENDFILE,
        gates: &[gate("5.12", "to a pipe, sendfile() does as splice() does", MAN)],
        lies: &[
            Lie::refused(Sysno::sendfile, libc::EINVAL).where_it(true),
            Lie::accepted(Sysno::sendfile).where_it(false),
        ],
        ..Claim::of_answers(
            "sendfile.source.tcp-to-pipe",
            |_lab| {
                let (near, far) = sockets::tcp()?;
                aside(|| io::write_all(&far, b"b")).setup("write")?;
                sockets::wait_for_arrival(&near, 1)?;
                let pipe = pipe()?;
                let mut seen = Observation::new();
                seen.call("sendfile(pipe, TCP socket)", sendfile(&pipe.write, &near, None, 1));
                note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
                Ok(seen)
            },
            &[("sendfile(pipe, TCP socket)", Answer::Is(1))],
        )
    },
    Claim {
        statement: "A full AF_UNIX datagram socket with O_NONBLOCK is EAGAIN, and the offset stays.",
        sources: &[Source::Thread("LTP @6958277, testcases/kernel/syscalls/sendfile/sendfile07.c")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.errors.eagain-datagram",
            |lab| {
                let source = alias::source(lab)?;
                let (near, _far) = UnixDatagram::pair().setup("socketpair")?;
                aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
                aside(|| io::fill(&near, b"b")).setup("fill a socket")?;
                let mut offset = 0;
                let mut seen = Observation::new();
                seen.call(
                    "sendfile(full AF_UNIX datagram socket, file)",
                    sendfile(&near, &source, Some(&mut offset), 1),
                );
                seen.count("offset afterwards", offset);
                Ok(seen)
            },
            &[
                ("sendfile(full AF_UNIX datagram socket, file)", Answer::Fails(Errno::EAGAIN)),
                ("offset afterwards", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "On ext4, an offset beyond the largest file that it can have fails with EOVERFLOW.",
        method: "Sends a byte at 2^63 - 4096 from a file to another one, on ext4, and between two memfds, whose file system has such \
                 offsets: there it is the end of the file.",
        sources: &[MAN],
        about: SENDFILE,
        modules: &["loop", "ext4"],
        lies: &[Lie::about(Sysno::sendfile, What::OtherErrno(libc::EINVAL)), Lie::accepted(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.offset.behind-the-largest",
            |lab| {
                let volume = Volume::mount(lab, "ext4")?;
                let mut seen = Observation::new();
                let mut ask = |fact: &str, source: &File, target: &File| {
                    // The smaller of the two files' maximum offsets is the limit.
                    let mut offset = i64::MAX.unsigned_abs() - 4095;
                    seen.call(fact, sendfile(target, source, Some(&mut offset), 1));
                };
                let of_volume = || aside(|| unnamed_file(&volume.directory)).setup("create a file");
                let memfd = || open::sealed_memfd(0).map(File::from);
                ask(BEYOND_LARGEST, &of_volume()?, &of_volume()?);
                ask("sendfile(memfd, memfd, 2^63 - 4096, 1)", &memfd()?, &memfd()?);
                Ok(seen)
            },
            &[
                (BEYOND_LARGEST, Answer::Fails(Errno::EOVERFLOW)),
                ("sendfile(memfd, memfd, 2^63 - 4096, 1)", Answer::Is(0)),
            ],
        )
    },
    Claim {
        statement: "The bytes go to the target's file position, which moves by their number.",
        sources: &[MAN, Source::Thread("LTP @6958277, testcases/kernel/syscalls/sendfile/sendfile08.c")],
        about: SENDFILE,
        lies: &[Lie::skipped(Sysno::sendfile), Lie::returned(Sysno::sendfile, 4)],
        ..Claim::of_answers(
            "sendfile.target.position",
            |lab| {
                let source = lab.file(b"world")?;
                let mut target = lab.file(b"hello")?;
                aside(|| target.seek(SeekFrom::End(0))).setup("lseek")?;
                let mut offset = 0;
                let done = io::until_done(5, |done| sendfile(&target, &source, Some(&mut offset), 5 - done));
                let mut seen = Observation::new();
                seen.call("sendfile(file at 5, file of 5)", done);
                seen.count("position of the target", aside(|| target.stream_position()).setup("lseek")?);
                seen.text("content of the target", content(&mut target)?);
                Ok(seen)
            },
            &[
                ("sendfile(file at 5, file of 5)", Answer::Is(5)),
                ("position of the target", Answer::Is(10)),
                ("content of the target", Answer::Says("helloworld")),
            ],
        )
    },
    Claim {
        statement: "The holes of a file are sent as zeros.",
        method: "Sends a memfd with a page, three pages of hole and a page to a TCP socket, and compares what arrives.",
        sources: &[
            Source::Thread("openzfs/zfs#15163: a page of zeros that comes again and again was taken for one"),
            Source::Measured,
        ],
        about: SENDFILE,
        lies: &[Lie::bytes(Sysno::read, 0, b'f')],
        ..Claim::of_answers(
            "sendfile.source.holes",
            |_lab| {
                let source = holed()?;
                let (near, far) = sockets::tcp()?;
                let mut offset = 0;
                io::all_done(HOLED, |done| sendfile(&near, &source, Some(&mut offset), HOLED - done))
                    .setup("sendfile")?;
                sockets::wait_for_arrival(&far, HOLED)?;
                let mut seen = Observation::new();
                let same = arrived(&far, &holed_bytes())?;
                seen.text("receiver's bytes", if same { "the file's" } else { "others" });
                Ok(seen)
            },
            &[("receiver's bytes", Answer::Says("the file's"))],
        )
    },
    Claim {
        statement: "When the target takes a part only, the file position moves by that part.",
        method: "Sends a file by its position to a TCP socket with O_NONBLOCK whose peer does not read, and compares.",
        sources: &[MAN, Source::Thread("asterinas/asterinas#3191, which moved it by what was read")],
        about: SENDFILE,
        varies: &["bytes taken"],
        lies: &[Lie::about(Sysno::sendfile, What::TooMany), Lie::about(Sysno::sendfile, What::TooFew)],
        ..Claim::of_answers(
            "sendfile.position.partial",
            |lab| {
                let content = crate::lab::pattern(4 << 20);
                let mut source = lab.file(&content)?;
                let (near, far) = sockets::tcp()?;
                aside(|| io::set_nonblocking(&near)).setup("O_NONBLOCK")?;
                let taken = io::again(|| sendfile(&near, &source, None, content.len())).setup("sendfile")?;
                let position = aside(|| source.stream_position()).setup("lseek")?;
                let mut seen = Observation::new();
                seen.count("bytes taken", taken as u64);
                seen.text("a part was taken", if taken < content.len() { "yes" } else { "no" });
                seen.text("position", if position == taken as u64 { "behind the part" } else { "elsewhere" });
                drop(near);
                let mut bytes = Vec::new();
                aside(|| File::from(std::os::fd::OwnedFd::from(far)).read_to_end(&mut bytes))
                    .setup("read at the receiver")?;
                seen.text(
                    "receiver's bytes",
                    if bytes == content[..taken.min(content.len())] { "the part" } else { "others" },
                );
                Ok(seen)
            },
            &[
                ("a part was taken", Answer::Says("yes")),
                ("position", Answer::Says("behind the part")),
                ("receiver's bytes", Answer::Says("the part")),
            ],
        )
    },
    Claim {
        statement: "When a file is shorter than what is left to send, sendfile() fails, so that a loop for the rest ends.",
        method: "Sends a page of two, cuts the file to one page, and asks for the second.",
        sources: &[
            Source::Thread("proftpd/proftpd#583 and yesodweb/wai#371, whose loops did not end"),
            Source::Measured,
        ],
        about: SENDFILE,
        lies: &[Lie::refused(Sysno::sendfile, libc::EIO).after(1)],
        ..Claim::new(
            "sendfile.end.truncated",
            |lab| {
                let source = lab.file(&[b'f'; 8192])?;
                let (near, far) = sockets::tcp()?;
                let mut offset = 0;
                let sent = sendfile(&near, &source, Some(&mut offset), 4096).setup("sendfile")?;
                if sent == 0 || offset != sent as u64 {
                    return Err(Stop::broken(format!("{sent} bytes were sent, and the offset is {offset}")));
                }
                aside(|| io::truncate(&source, offset)).setup("ftruncate")?;
                let mut seen = Observation::new();
                seen.call(
                    "sendfile(socket, file cut at the offset)",
                    sendfile(&near, &source, Some(&mut offset), 4096),
                );
                sockets::wait_until_acknowledged(&near, &far)?;
                seen.text(
                    "bytes at the receiver",
                    if sockets::readable(&far)? as u64 == offset { "up to the offset" } else { "others" },
                );
                Ok(seen)
            },
            |seen| crate::verdict::Verdict::holds_if(!seen.succeeded("sendfile(socket, file cut at the offset)")),
        )
    },
    Claim {
        statement: "Of an empty file nothing is sent to a datagram socket, however large the count: no datagram of no bytes.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/sendfile_socket.cc")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.udp.empty-file",
            |lab| {
                let source = lab.empty_file()?;
                let (near, far) = aside(sockets::udp)?;
                let mut seen = Observation::new();
                let sent = sendfile(&near, &source, Some(&mut 0), 0x0008_0000_0000_0004);
                seen.call("sendfile(UDP socket, empty file, 2^51 + 4)", sent);
                // A datagram sent after this one would arrive after it.
                aside(|| io::write_whole(&near, b"last")).setup("write")?;
                let mut bytes = [0; 8];
                let first = aside(|| io::read(&far, &mut bytes)).setup("read the datagram")?;
                seen.count("bytes of the first datagram that comes", first as u64);
                Ok(seen)
            },
            &[
                ("sendfile(UDP socket, empty file, 2^51 + 4)", Answer::Is(0)),
                ("bytes of the first datagram that comes", Answer::Is(4)),
            ],
        )
    },
    Claim {
        statement: "A file can be sent into itself, onto the same bytes.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/sendfile.cc")],
        about: SENDFILE,
        lies: &[Lie::skipped(Sysno::sendfile), Lie::refused(Sysno::sendfile, libc::EINVAL)],
        ..Claim::of_answers(
            "sendfile.target.itself",
            |lab| {
                let bytes = crate::lab::pattern(1 << 20);
                let mut file = lab.file(&bytes)?;
                let mut offset = 0;
                let done =
                    io::until_done(bytes.len(), |done| sendfile(&file, &file, Some(&mut offset), bytes.len() - done));
                let mut seen = Observation::new();
                seen.call("sendfile(file of 1 MiB, itself)", done);
                seen.count("position", aside(|| file.stream_position()).setup("lseek")?);
                let mut now = Vec::new();
                aside(|| file.rewind().and_then(|()| file.read_to_end(&mut now))).setup("read the file")?;
                seen.text("content", if now == bytes { "unchanged" } else { "changed" });
                Ok(seen)
            },
            &[
                ("sendfile(file of 1 MiB, itself)", Answer::Is(1 << 20)),
                ("position", Answer::Is(1 << 20)),
                ("content", Answer::Says("unchanged")),
            ],
        )
    },
    Claim {
        statement: "sendfile() sends a file over a multipath TCP connection.",
        sources: &[Source::Thread("Linux 7.3, tools/testing/selftests/net/mptcp/mptcp_connect_sendfile.sh")],
        about: SENDFILE,
        lies: &[Lie::bytes(Sysno::read, alias::OLD, alias::NEW)],
        ..Claim::of_answers(
            "sendfile.target.mptcp",
            |lab| {
                let source = alias::source(lab)?;
                let (near, far) = sockets::mptcp()?;
                let mut offset = 0;
                alias::send_all(|done| sendfile(&near, &source, Some(&mut offset), alias::LENGTH - done))
                    .setup("sendfile")?;
                let mut seen = Observation::new();
                let same = arrived(&far, &[alias::OLD; alias::LENGTH])?;
                seen.text("receiver's bytes", if same { "the file's" } else { "others" });
                wait_until(|| Ok(sockets::unacknowledged(&near)? == 0))?;
                Ok(seen)
            },
            &[("receiver's bytes", Answer::Says("the file's"))],
        )
    },
    Claim {
        statement: "An offset in a page of PROT_NONE, of PROT_EXEC, or of PROT_EXEC|PROT_READ fails with EFAULT.",
        method: "Makes the calls and compares the kernel's answers; in the last case the bytes have been sent \
                 (`sendfile.errors.efault-sends`).",
        sources: &[Source::Thread("LTP @6958277, testcases/kernel/syscalls/sendfile/sendfile04.c")],
        about: SENDFILE,
        lies: OTHERWISE,
        ..Claim::of_answers(
            "sendfile.offset.protected",
            |lab| {
                let (source, target) = (lab.file(b"abcdef")?, lab.empty_file()?);
                // A memfd can be executed, wherever the scratch directory is.
                let zeros = File::from(open::sealed_memfd(0)?);
                aside(|| io::truncate(&zeros, PAGE as u64)).setup("ftruncate")?;
                let mut seen = Observation::new();
                for (name, protection) in [
                    ("PROT_NONE", Prot::NONE),
                    ("PROT_EXEC", Prot::EXEC),
                    ("PROT_EXEC|PROT_READ", Prot::EXEC | Prot::READ),
                ] {
                    let page = Mapping::of_file(PAGE, protection, MapFlags::PRIVATE, &zeros, 0)
                        .map_err(|_| Stop::broken("no page could be mapped"))?;
                    let offset = page.as_ptr().expose_provenance();
                    let arguments = [argument(&target), argument(&source), offset, 1, 0, 0];
                    // SAFETY: the kernel may read the offset, 0, and cannot write it.
                    let sent = unsafe { ask(Sysno::sendfile, arguments) };
                    seen.call(format!("sendfile(file, file, offset in {name}, 1)"), sent);
                }
                Ok(seen)
            },
            &[
                ("sendfile(file, file, offset in PROT_NONE, 1)", Answer::Fails(Errno::EFAULT)),
                ("sendfile(file, file, offset in PROT_EXEC, 1)", Answer::Fails(Errno::EFAULT)),
                ("sendfile(file, file, offset in PROT_EXEC|PROT_READ, 1)", Answer::Fails(Errno::EFAULT)),
            ],
        )
    },
    Claim {
        statement: "Into a pipe with O_NONBLOCK, sendfile() takes what there is room for, and then fails with EAGAIN.",
        sources: &[Source::Thread(
            "gVisor @3c5eee1, test/syscalls/linux/sendfile.cc, whose authors hold it for a mistake of Linux that this is not so",
        )],
        about: SENDFILE,
        lies: OTHERWISE,
        resources: &[Resource::UserPipePages],
        ..Claim::of_answers(
            "sendfile.waits.nonblock-pipe",
            |lab| {
                let file = lab.file(&vec![b'f'; 1 << 17])?;
                let pipe = aside(|| pipe2(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)).setup("pipe2")?;
                let mut offset = 0;
                let (mut sent, mut last) = (0, Ok(0));
                // If one call fills the pipe, the next is refused. If it takes half of that, a second call is needed.
                for _ in 0..3 {
                    last = io::again(|| sendfile(&pipe.write, &file, Some(&mut offset), 1 << 17));
                    match last {
                        Ok(count) => sent += count as u64,
                        Err(_) => break,
                    }
                }
                let mut seen = Observation::new();
                note_readable(&mut seen, "bytes in the pipe", &pipe.read)?;
                seen.count("returned in all", sent).call("last sendfile(pipe, file, 128 KiB)", last);
                Ok(seen)
            },
            &[
                ("bytes in the pipe", Answer::Is(1 << 16)),
                ("returned in all", Answer::Is(1 << 16)),
                ("last sendfile(pipe, file, 128 KiB)", Answer::Fails(Errno::EAGAIN)),
            ],
        )
    },
    Claim {
        statement: "sendfile() of a memfd into itself, behind its end, goes on into what it has just written, up to the count.",
        method: "One byte, a target that is the same file with a position behind it, and a count of 64 KiB.",
        sources: &[Source::Thread("gVisor @3c5eee1, test/syscalls/linux/sendfile.cc")],
        about: SENDFILE,
        lies: &[Lie::refused(Sysno::sendfile, libc::EINVAL), Lie::skipped(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.ends.into-itself",
            |_lab| {
                let mut file = File::from(open::sealed_memfd(0)?);
                aside(|| io::write_all(&file, b"b")).setup("write a memfd")?;
                let mut offset = 0;
                let sent = io::until_done(1 << 16, |done| sendfile(&file, &file, Some(&mut offset), (1 << 16) - done));
                let mut seen = Observation::new();
                seen.call("sendfile(memfd behind its byte, same memfd at 0, 64 KiB)", sent);
                let mut bytes = Vec::new();
                io::seek(&file, 0).setup("lseek")?;
                file.read_to_end(&mut bytes).setup("read the memfd")?;
                seen.count("length of the memfd", bytes.len() as u64);
                let same = bytes.iter().all(|byte| *byte == b'b');
                seen.text("bytes", if same { "all as the first" } else { "others" });
                Ok(seen)
            },
            &[
                ("sendfile(memfd behind its byte, same memfd at 0, 64 KiB)", Answer::Is(1 << 16)),
                ("length of the memfd", Answer::Is((1 << 16) + 1)),
                ("bytes", Answer::Says("all as the first")),
            ],
        )
    },
    Claim {
        statement: "When the target's disk gets full, sendfile() returns what there was room for, and the next one fails with ENOSPC.",
        method: "Sends 64 KiB to a file on a tmpfs of 40 KiB, and the rest of them, until a call fails.",
        sources: &[COREUTILS_277],
        about: SENDFILE,
        lies: &[Lie::about(Sysno::sendfile, What::OtherErrno(libc::EINVAL)), Lie::returned(Sysno::sendfile, 1 << 16)],
        ..Claim::of_answers(
            "sendfile.errors.enospc",
            |_lab| sent_until_refused(ON_FULL, &mounts::empty_file_within(c"40k")?),
            &refused_after_40k(ON_FULL, Errno::ENOSPC),
        )
    },
    Claim {
        statement: "When the user's quota is used up, sendfile() returns what there was room for, and the next one fails with EDQUOT.",
        method: "Sends 64 KiB to a file whose server, of the experiment's own, takes 40 KiB and has a quota then, and the rest of them, until \
                 a call fails.",
        sources: &[Source::Man("write(2), man-pages 6.20"), Source::Measured],
        about: SENDFILE,
        modules: fuse::MODULES,
        lies: &[Lie::about(Sysno::sendfile, What::OtherErrno(libc::ENOSPC)), Lie::returned(Sysno::sendfile, 1 << 16)],
        ..Claim::of_answers(
            "sendfile.errors.edquot",
            |_lab| sent_until_refused(OVER_QUOTA, &Fuse::with_quota(40 << 10)?.1),
            &refused_after_40k(OVER_QUOTA, Errno::EDQUOT),
        )
    },
    Claim {
        statement: "When sendfile() into a file has returned a count, there was room for it: fsync() of the target succeeds.",
        method: "Exports a tmpfs by the kernel's server of NFS, in a network namespace of the experiment's own, mounts it, fills it up, \
                 and sends 16 KiB to a file there.",
        sources: &[COREUTILS_277, Source::Measured],
        about: &[Sysno::sendfile, Sysno::fsync],
        lies: &[Lie::accepted(Sysno::fsync)],
        modules: nfs::MODULES,
        ..Claim::of_answers(
            "sendfile.errors.nfs-full",
            |lab| {
                let source = alias::source(lab)?;
                let volume = Volume::mount(lab, "nfs")?;
                let target = aside(|| File::create(volume.directory.join("target")));
                let target = target.setup("create a file")?;
                let _filler = volume.fill_up()?;
                let mut seen = Observation::new();
                seen.call(
                    "sendfile(file on a full NFS, file)",
                    io::until_done(alias::LENGTH, |done| sendfile(&target, &source, None, alias::LENGTH - done)),
                );
                let fsync = [argument(&target), 0, 0, 0, 0, 0];
                // SAFETY: fsync takes no pointer.
                let synced = io::again(|| unsafe { ask(Sysno::fsync, fsync) });
                seen.call("fsync(file)", synced);
                Ok(seen)
            },
            &[
                ("sendfile(file on a full NFS, file)", Answer::Is(alias::LENGTH as u64)),
                ("fsync(file)", Answer::Succeeds),
            ],
        )
    },
    Claim {
        statement: "A file whose name is taken over by another with rename() is sent to its end: the descriptor is of the old one.",
        method: "Sends half of a file, renames another file over it, and sends the rest.",
        sources: &[Source::Man("rename(2), man-pages 6.20"), Source::Measured],
        about: SENDFILE,
        lies: &[Lie::returned(Sysno::sendfile, 0), Lie::bytes(Sysno::read, alias::OLD, alias::NEW)],
        ..Claim::of_answers(
            "sendfile.faults.replaced",
            sendfile_faults_replaced,
            &[
                ("sendfile(socket, file, half of it)", HALF_SENT),
                ("sendfile(socket, file, the rest), name taken over", HALF_SENT),
                (super::tools::RECEIVED, Answer::Says("the old file's")),
            ],
        )
    },
    Claim {
        statement: "0 from sendfile() is the end that the file has then: when it has grown, the next call sends more.",
        method: "Sends a file, sends again, appends as many bytes, and sends once more.",
        sources: &[Source::Measured],
        about: SENDFILE,
        lies: &[Lie::returned(Sysno::sendfile, 0), Lie::skipped(Sysno::sendfile)],
        ..Claim::of_answers(
            "sendfile.faults.grown",
            sendfile_faults_grown,
            &[
                ("sendfile(socket, file)", HALF_SENT),
                ("sendfile(socket, file), at its end", Answer::Is(0)),
                ("sendfile(socket, file), grown", HALF_SENT),
                (super::tools::RECEIVED, Answer::Says("the file's")),
            ],
        )
    },
];

/// The name of the fact for a target without room.
const ON_FULL: &str = "last sendfile(full tmpfs, file)";
const OVER_QUOTA: &str = "last sendfile(file at its quota, file)";

/// The expected facts if a target has taken 40 KiB and is then full.
const fn refused_after_40k(last: &'static str, errno: Errno) -> [(&'static str, Answer); 5] {
    [
        ("returned in all", Answer::Is(40 << 10)),
        ("offset", Answer::Is(40 << 10)),
        (last, Answer::Fails(errno)),
        ("bytes in the target", Answer::Is(40 << 10)),
        ("which", Answer::Says("the source's")),
    ]
}

/// Sends 64 KiB until a call fails.
fn sent_until_refused(last: &str, target: &File) -> Result<Observation, Stop> {
    let bytes = crate::lab::pattern(1 << 16);
    let source = File::from(open::sealed_memfd(0)?);
    aside(|| io::write_all(&source, &bytes)).setup("write a memfd")?;
    let mut offset = 0;
    let (sent, refused) =
        until_refused(bytes.len(), |done| sendfile(target, &source, Some(&mut offset), bytes.len() - done));
    let mut seen = Observation::new();
    seen.count("returned in all", sent as u64).count("offset", offset).call(last, refused);
    let mut now = vec![0; bytes.len()];
    let came = aside(|| io::pread_full(target, &mut now, 0)).setup("pread")?;
    let same = now[..came] == bytes[..came];
    seen.count("bytes in the target", came as u64).text("which", if same { "the source's" } else { "others" });
    Ok(seen)
}

/// Half of a file of [`alias::LENGTH`] bytes.
const HALF: usize = alias::LENGTH / 2;
const HALF_SENT: Answer = Answer::Is(HALF as u64);

fn sendfile_faults_replaced(lab: &Lab) -> Result<Observation, Stop> {
    let scratch = lab.scratch()?;
    let (path, other) = (scratch.join("replaced"), scratch.join("replacing"));
    let file = aside(|| {
        std::fs::write(&path, [alias::OLD; alias::LENGTH]).setup("write a file")?;
        std::fs::write(&other, [alias::NEW; alias::LENGTH]).setup("write a file")?;
        File::open(&path).setup("open")
    })?;
    let (near, far) = UnixStream::pair().setup("socketpair")?;
    let mut seen = Observation::new();
    seen.call(
        "sendfile(socket, file, half of it)",
        io::until_done(HALF, |done| sendfile(&near, &file, None, HALF - done)),
    );
    let replaced = aside(|| std::fs::rename(&other, &path)).setup("rename");
    let removed = aside(|| std::fs::remove_file(&path)).setup("unlink");
    replaced.and(removed)?;
    seen.call(
        "sendfile(socket, file, the rest), name taken over",
        io::until_done(HALF, |done| sendfile(&near, &file, None, HALF - done)),
    );
    drop(near);
    let mut bytes = vec![0; 2 * alias::LENGTH];
    let came = io::read_full(&far, &mut bytes).setup("read what arrived")?;
    let old = bytes[..came] == [alias::OLD; alias::LENGTH];
    seen.text(super::tools::RECEIVED, if old { "the old file's" } else { "others" });
    Ok(seen)
}

fn sendfile_faults_grown(lab: &Lab) -> Result<Observation, Stop> {
    let all = crate::lab::pattern(alias::LENGTH);
    let file = lab.file(&all[..HALF])?;
    let (near, far) = UnixStream::pair().setup("socketpair")?;
    let mut offset = 0;
    let mut seen = Observation::new();
    let mut send = |seen: &mut Observation, what: &str| {
        let sent = sendfile(&near, &file, Some(&mut offset), alias::LENGTH);
        seen.call(what, sent);
    };
    send(&mut seen, "sendfile(socket, file)");
    send(&mut seen, "sendfile(socket, file), at its end");
    aside(|| io::pwrite_all(&file, &all[HALF..], HALF as u64)).setup("append to the file")?;
    send(&mut seen, "sendfile(socket, file), grown");
    drop(near);
    let mut bytes = vec![0; 2 * alias::LENGTH];
    let came = io::read_full(&far, &mut bytes).setup("read what arrived")?;
    let same = bytes[..came] == all;
    seen.text(super::tools::RECEIVED, if same { "the file's" } else { "others" });
    Ok(seen)
}

/// The length of [`holed`].
pub(super) const HOLED: usize = 5 * 4096;

/// A memfd of a page of `f`, three pages of hole, a page of `f`.
pub(super) fn holed() -> Result<File, Stop> {
    let file = File::from(open::sealed_memfd(0)?);
    aside(|| {
        io::pwrite_all(&file, &[b'f'; 4096], 0).setup("write the file")?;
        io::pwrite_all(&file, &[b'f'; 4096], 4 * 4096).setup("write the file")
    })?;
    Ok(file)
}

/// The content of [`holed`].
pub(super) fn holed_bytes() -> Vec<u8> {
    let mut bytes = vec![0; HOLED];
    bytes[..4096].fill(b'f');
    bytes[4 * 4096..].fill(b'f');
    bytes
}

fn content(file: &mut File) -> Result<String, Stop> {
    let mut text = String::new();
    aside(|| file.rewind().and_then(|()| file.read_to_string(&mut text))).setup("read the file")?;
    Ok(text)
}

/// Calls `call` with the number of bytes done so far until it fails, returns 0, or has done `length`. Returns the number of bytes
/// and the last result.
pub(super) fn until_refused(
    length: usize,
    mut call: impl FnMut(usize) -> Result<usize, Errno>,
) -> (usize, Result<usize, Errno>) {
    let (mut done, mut last) = (0, Ok(0));
    while done < length {
        last = io::again(|| call(done));
        match last {
            Ok(count @ 1..) => done += count,
            Ok(0) | Err(_) => break,
        }
    }
    (done, last)
}
