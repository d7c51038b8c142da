//! The count that `sendfile` is asked for.

use super::{Descriptor, Fd, TO_PIPE, about_sendfile, lie, refused, sendfile};
use crate::claims::prelude::*;

const LARGEST: usize = isize::MAX.unsigned_abs();

pub const CLAIMS: &[Claim] = &[
    about_sendfile("sendfile.count.zero", "sendfile() with a count of 0 returns 0.")
        .published(&[gvisor("sendfile.cc", "SendFileTest.SendZeroBytes")])
        .turned_by(&[refused(libc::EINVAL), lie(What::Returned(1))])
        .tried(|lab, see| {
            let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
            see.call("sendfile(file, file, 0, 0)", sendfile(&target, &source, Some(&mut 0), 0)).is(0);
            Ok(())
        }),
    about_sendfile("sendfile.count.negative", "A count that is negative as a signed number fails with EINVAL.")
        .published(&[
            man("sendfile(2)", "ERRORS, EINVAL"),
            gvisor("sendfile.cc", "SendFileTest.DoNotSendANegativeNumberOfBytes"),
        ])
        .tried(|lab, see| {
            let (source, target) = (lab.file(b"abc")?, lab.empty_file()?);
            for (name, count) in [("SIZE_MAX", usize::MAX), ("SSIZE_MAX + 1", LARGEST + 1)] {
                let sent = sendfile(&target, &source, Some(&mut 0), count);
                see.call(format!("sendfile(file, file, 0, {name})"), sent).fails(EINVAL);
            }
            Ok(())
        }),
    about_sendfile(
        "sendfile.count.largest",
        "A count of SSIZE_MAX is accepted at offset 0 and refused with EINVAL at offset 1.",
    )
    .published(&[gvisor("sendfile.cc", "SendFileTest.Overflow"), kernel("fs/read_write.c", "rw_verify_area")])
    .tried(|lab, see| {
        let (source, target) = (lab.file(b"a")?, lab.empty_file()?);
        let sent = sendfile(&target, &source, Some(&mut 0), LARGEST);
        see.call("sendfile(file, file of 1, 0, SSIZE_MAX)", sent).is(1);
        let sent = sendfile(&target, &source, Some(&mut 1), LARGEST);
        see.call("sendfile(file, file of 1, 1, SSIZE_MAX)", sent).fails(EINVAL);
        see.length("length of the target", &target)?.is(1);
        Ok(())
    }),
    about_sendfile("sendfile.count.cap", "One sendfile() transfers at most 0x7ffff000 bytes.")
        .published(&[man("sendfile(2)", "NOTES")])
        .turned_by(&[lie(What::Returned(3 << 30)), lie(What::Returned(0))])
        .tried(|lab, see| {
            let null = Descriptor::open(lab, Fd::DevNull)?;
            // The same change made the holes of a file in memory one page of zeros, which is given again and again.
            let zero = Descriptor::open(lab, Fd::DevZero)?;
            if aside(|| sendfile(&null, &zero, None, 1)).is_err() {
                return Err(Stop::untestable(
                    Lack::Kernel,
                    "two GiB of holes would be two GiB of pages: this kernel cannot splice /dev/zero",
                    "use Linux 6.7 or newer",
                ));
            }
            let source = lab.empty_file()?;
            aside(|| io::truncate(&source, 3 << 30)).setup("ftruncate")?;
            let mut offset = 0;
            let sent = sendfile(&null, &source, Some(&mut offset), 3 << 30);
            // The page's number is that of pages of 4 KiB. That of larger ones is smaller.
            see.call("sendfile(/dev/null, file of 3 GiB, 0, 3 GiB)", sent).at_most(0x7fff_f000);
            let moved = sent.is_ok_and(|count| count > 0 && count as u64 == offset);
            see.whether("the offset moved by as many, at least 1", moved).says("yes");
            Ok(())
        }),
    about_sendfile(
        "sendfile.count.pipe-room",
        "Into an empty pipe, a blocking sendfile() of more than the pipe holds returns when the pipe is full.",
    )
    .published(&[
        kernel("fs/splice.c", "splice_file_to_pipe, do_splice_read"),
        man("sendfile(2)", "RETURN VALUE").leaves_open(),
    ])
    .turned_by(&[lie(What::Returned(1 << 24)).where_it(true), lie(What::Skipped).where_it(true)])
    .except(&[
        Exception::Of(Sysno::sendfile, What::Shortened, "half of the file is more than the pipe holds"),
        Exception::Lacking("the call sleeps for more room, and no lie makes it return"),
    ])
    .sharing(&[Resource::UserPipePages])
    .gated(&[TO_PIPE])
    .method("Sends in a thread to a pipe that is read only after the call has returned, or sleeps with the pipe full.")
    .tried(|lab, see| {
        let Pipe { read, write } = pipe()?;
        let size = aside(|| nocopy_splice::fcntl_getpipe_size(&write)).setup("F_GETPIPE_SZ")?;
        let bytes = pattern(16 * size);
        let (source, length) = (lab.file(&bytes)?, bytes.len());
        let sender = Caller::start(Sysno::sendfile, move || sendfile(&write, &source, Some(&mut 0), length))?;
        let sleeps = sender.sleeps_with(|| Ok(aside(|| sockets::readable(&read))? == size))?;
        see.readable("bytes in the pipe", &read)?.is(size);
        let mut held = vec![0; size];
        io::read_full(&read, &mut held).setup("read the pipe")?;
        see.whether("they are the file's first", bytes.starts_with(&held)).says("yes");
        while !sender.has_returned() {
            aside(|| io::read(&read, &mut held)).setup("read the pipe")?; // so that the call ends
        }
        let result = sender.join()?;
        let word = if sleeps { SLEEPS.to_owned() } else { returned(result) };
        see.text("sendfile(empty pipe, file of 16 times its size)", word).says(format!("returned {size}"));
        Ok(())
    }),
];
