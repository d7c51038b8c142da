//! The size of a pipe.

use super::{USER, about_fcntl, pipe_of, put};
use crate::claims::prelude::*;
use crate::lab::settings::{PIPE_MAX_SIZE, Setting};
use nocopy_splice::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size};

pub const CLAIMS: &[Claim] = &[
    about_fcntl("pipe.size.default", "By default, a new pipe holds 16 pages of bytes, which F_GETPIPE_SZ returns.")
        .published(&[man("pipe(7)", "DESCRIPTION, Pipe capacity").since("2.6.35")])
        .tried(|_lab, see| {
            let pipe = super::made(PipeFlags::NONBLOCK)?;
            see.call("F_GETPIPE_SZ", fcntl_getpipe_size(&pipe.write)).is(16 * page());
            let written = io::fill(&pipe.write, &vec![0; page()]).setup("fill a pipe")?;
            see.count("bytes written until EAGAIN", written).is(16 * page());
            Ok(())
        }),
    about_fcntl(
        "pipe.size.rounded",
        "F_SETPIPE_SZ rounds up to the next power of two of pages, at least one page, and returns what it set.",
    )
    .published(&[
        man("F_GETPIPE_SZ(2const)", "DESCRIPTION, F_SETPIPE_SZ"),
        ltp("pipe2_04.c", "setup, a size of 0"),
        gvisor("pipe.cc", "PipeTest.SizeChange: it grows").leaves_open(),
    ])
    .tried(|_lab, see| {
        let pipe = pipe()?;
        let sizes = [("0", 0, 1), ("1", 1, 1), ("a page + 1", page() + 1, 2), ("3 pages + 1", 3 * page() + 1, 4)];
        for (name, size, pages) in sizes {
            sets(see, name, &pipe, size, pages);
        }
        Ok(())
    }),
    about_fcntl(
        "pipe.size.busy",
        "F_SETPIPE_SZ to less than the buffer space in use fails with EBUSY, and the size stays.",
    )
    .published(&[
        man("F_GETPIPE_SZ(2const)", "ERRORS, EBUSY"),
        ltp("fcntl37.c", "half of a full pipe"),
        gvisor("pipe.cc", "PipeTest.SizeChangeFull"),
        kernel("fs/pipe.c", "pipe_resize_ring"),
    ])
    .tried(|_lab, see| {
        let pages = vec![0; page()];
        let packets = ("two packets of one byte", PipeFlags::DIRECT, &b"b"[..]);
        for (what, flags, bytes) in [("two pages of bytes", PipeFlags::empty(), &pages[..]), packets] {
            let pipe = pipe_of(4, flags)?;
            for _ in 0..2 {
                put(&pipe.write, bytes)?;
            }
            let shrunk = fcntl_setpipe_size(&pipe.write, page());
            see.call(format!("F_SETPIPE_SZ of a page with {what} in the pipe"), shrunk).fails(EBUSY);
            see.call(format!("F_GETPIPE_SZ with {what}"), fcntl_getpipe_size(&pipe.write)).is(4 * page());
        }
        Ok(())
    }),
    about_fcntl(
        "pipe.size.maximum",
        "Without CAP_SYS_RESOURCE, F_SETPIPE_SZ accepts the value of /proc/sys/fs/pipe-max-size; one byte more fails \
         with EPERM.",
    )
    .published(&[
        man("F_GETPIPE_SZ(2const)", "DESCRIPTION, F_SETPIPE_SZ"),
        man("pipe(7)", "DESCRIPTION, /proc files").since("2.6.35"),
        ltp("fcntl37.c", "one more than pipe-max-size, without CAP_SYS_RESOURCE"),
    ])
    .turned_by(&[Lie::about(Sysno::fcntl, What::OtherErrno(libc::ENOLINK)), Lie::accepted(Sysno::fcntl)])
    .tried(|_lab, see| {
        let text = aside(|| std::fs::read_to_string(PIPE_MAX_SIZE)).map_err(|error| {
            Stop::untestable(
                Lack::Kernel,
                format!("{PIPE_MAX_SIZE}: {error}"),
                "use a kernel that shows the limit of pipes",
            )
        })?;
        let maximum: usize = text.trim().parse().map_err(|_| Stop::broken("pipe-max-size is not a number"))?;
        let (other, pipe) = two()?;
        let as_user = fcntl_setpipe_size(&other.write, maximum + 1);
        see.call("F_SETPIPE_SZ of one more than the maximum, with this user's capabilities", as_user);
        drop(other);
        privilege::drop_sys_resource().setup("drop CAP_SYS_RESOURCE")?;
        see.call("F_SETPIPE_SZ of the maximum", fcntl_setpipe_size(&pipe.write, maximum)).is(maximum);
        see.call("F_SETPIPE_SZ of one more", fcntl_setpipe_size(&pipe.write, maximum + 1)).fails(EPERM);
        Ok(())
    }),
    about_fcntl("pipe.size.too-large", "F_SETPIPE_SZ of 2^31 + 1 bytes fails with EINVAL.")
        .published(&[
            ltp("fcntl37.c", "2^31 + 1"),
            kernel("fs/pipe.c", "round_pipe_size"),
            man("F_GETPIPE_SZ(2const)", "DESCRIPTION, F_SETPIPE_SZ").denies(),
        ])
        .tried(|_lab, see| {
            let pipe = pipe()?;
            see.call("F_SETPIPE_SZ 2^31 + 1", fcntl_setpipe_size(&pipe.write, (1 << 31) + 1)).fails(EINVAL);
            see.call("F_SETPIPE_SZ 2^31", fcntl_setpipe_size(&pipe.write, 1 << 31));
            Ok(())
        }),
    about_fcntl(
        "pipe.size.argument-width",
        "F_SETPIPE_SZ looks at all 64 bits of fcntl()'s argument: 2^32 + a page + 1 fails with EINVAL.",
    )
    .published(&[
        thread(
            "linux-fsdevel, [PATCH 3/5] pipe: Pass argument of pipe_fcntl as int \
             (20230414100212.766118-4-Luca.Vizzarro@arm.com)",
            "says that the code treats the argument as a long before this patch",
        )
        .until("6.5"),
        thread(
            "linux-fsdevel, [GIT PULL] misc updates (20230824-umgerechnet-luftschicht-6dc072d6dbc2@brauner)",
            "lists the patch, which casts the argument to int, for Linux 6.6",
        )
        .denies()
        .since("6.6"),
        kernel("fs/fcntl.c", "do_fcntl").denies().since("7.3"),
    ])
    .turned_by(&[Lie::accepted(Sysno::fcntl), Lie::refused(Sysno::fcntl, libc::EINVAL).where_it(false)])
    .tried(|_lab, see| {
        let wide = fcntl_setpipe_size(&pipe()?.write, (1 << 32) + page() + 1);
        see.call("F_SETPIPE_SZ 2^32 + a page + 1", wide).fails(EINVAL);
        Ok(())
    }),
    about_fcntl("pipe.size.no-pipe", "F_GETPIPE_SZ and F_SETPIPE_SZ fail with EBADF for a regular file.")
        .published(&[kernel("fs/pipe.c", "pipe_fcntl")])
        .tried(|lab, see| {
            let (file, pipe) = (lab.empty_file()?, pipe()?);
            see.call("F_GETPIPE_SZ of a file", fcntl_getpipe_size(&file)).fails(EBADF);
            see.call("F_SETPIPE_SZ of a file", fcntl_setpipe_size(&file, page())).fails(EBADF);
            sets(see, "a page, of a pipe", &pipe, page(), 1);
            Ok(())
        }),
    about_fcntl(
        "pipe.size.limit-of-new",
        "A new pipe is not larger than /proc/sys/fs/pipe-max-size, unless its maker has CAP_SYS_RESOURCE.",
    )
    .published(&[
        man("pipe(7)", "DESCRIPTION, /proc files").since("4.9"),
        ltp("fcntl35.c", "an unprivileged user, a privileged user"),
        commit("086e774a57fb", "pipe: cap initial pipe capacity according to pipe-max-size limit").since("4.9"),
    ])
    .turned_by(&[Lie::returned(Sysno::fcntl, 1 << 16)])
    .method("Sets the limit to 8 pages on a machine that is not needed afterwards, and restores it.")
    .sharing(&[Resource::Machine, Resource::UserPipePages])
    .tried(|_lab, see| {
        let setting = Setting::change(PIPE_MAX_SIZE, &(8 * page()).to_string())?;
        let privileged = pipe()?;
        privilege::drop_sys_resource().setup("drop CAP_SYS_RESOURCE")?;
        let pipe = pipe()?;
        drop(setting);
        see.call("F_GETPIPE_SZ, made with CAP_SYS_RESOURCE", fcntl_getpipe_size(&privileged.read)).is(16 * page());
        see.call("F_GETPIPE_SZ, made without it", fcntl_getpipe_size(&pipe.read)).at_most(8 * page());
        Ok(())
    }),
    about_fcntl(
        "pipe.size.keeps",
        "F_SETPIPE_SZ keeps the bytes that are in the pipe, when it grows and when it shrinks to what they need.",
    )
    .published(&[kernel("fs/pipe.c", "pipe_resize_ring")])
    .turned_by(&[Lie::refused(Sysno::fcntl, libc::EBUSY), Lie::about(Sysno::read, What::Garbled)])
    .method("The second pipe's ring has wrapped: of three pages that were written, the first one has been read.")
    .sharing(USER)
    .tried(|_lab, see| {
        let bytes = pattern(3 * page());
        for (which, wraps) in [("pipe", false), ("wrapped pipe", true)] {
            let pipe = pipe_of(2, PipeFlags::empty())?;
            put(&pipe.write, &bytes[..2 * page()])?;
            if wraps {
                read_page(&pipe.read)?;
                put(&pipe.write, &bytes[2 * page()..])?;
            }
            for pages in [32, 2] {
                sets(see, &format!("{pages} pages, {which}"), &pipe, pages * page(), pages);
            }
            let first = usize::from(wraps) * page();
            see.holds(&format!("the {which}'s bytes"), &pipe.read, &bytes[first..first + 2 * page()])?.says(AS_SENT);
        }
        Ok(())
    }),
];

/// Notes that `F_SETPIPE_SZ` of a size sets this number of pages.
fn sets(see: &mut Observation, what: &str, pipe: &Pipe, size: usize, pages: usize) {
    see.call(format!("F_SETPIPE_SZ {what}"), fcntl_setpipe_size(&pipe.write, size)).is(pages * page());
    see.call(format!("F_GETPIPE_SZ after {what}"), fcntl_getpipe_size(&pipe.read)).is(pages * page());
}
