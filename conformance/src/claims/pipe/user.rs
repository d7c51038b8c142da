//! The limits of a user's pipes.

use super::about_fcntl;
use crate::claims::prelude::*;
use nocopy_splice::{PipeFlags, fcntl_getpipe_size, fcntl_setpipe_size, pipe2};

pub const CLAIMS: &[Claim] = &[
    about_fcntl("pipe.user.small-pipes", "Past pipe-user-pages-soft an unprivileged user's new pipe has two pages.")
        .published(&[
            man("pipe(7)", "DESCRIPTION, /proc files").since("5.14"),
            // 5.10 and older stable series have got the change as well.
            man("pipe(7)", "DESCRIPTION, /proc files").denies().since("4.5").until("5.13"),
            commit("46c4c9d1beb7", "pipe: increase minimum default pipe size to 2 pages").since("5.14"),
            doc("admin-guide/sysctl/fs.rst", "pipe-user-pages-soft").since("5.14"),
        ])
        .method("As a user who has no other pipes: makes and grows pipes up to the limit.")
        .tried(|_lab, see| {
            privilege::become_another_user()?;
            let (_all, last) = pipes_up_to_the_limit()?;
            see.call("F_GETPIPE_SZ", fcntl_getpipe_size(&last.read)).is(2 * page());
            Ok(())
        }),
    about_fcntl(
        "pipe.user.no-growth",
        "Past pipe-user-pages-soft, unprivileged F_SETPIPE_SZ to more pages fails with EPERM, to fewer it succeeds.",
    )
    .published(&[
        man("pipe(7)", "DESCRIPTION, /proc files").since("4.9"),
        man("pipe(7)", "DESCRIPTION, BUGS").since("4.9"),
        man("F_GETPIPE_SZ(2const)", "ERRORS, EPERM"),
    ])
    .method("As a user who has no other pipes: grows a pipe, makes pipes up to the limit, and grows one past it.")
    .tried(|_lab, see| {
        privilege::become_another_user()?;
        let first = super::pipe_of(2, PipeFlags::CLOEXEC)?;
        let grown = fcntl_setpipe_size(&first.write, 16 * page());
        see.call("F_SETPIPE_SZ of 16 pages, before the limit", grown).is(16 * page());
        let (_all, last) = pipes_up_to_the_limit()?;
        see.call("F_SETPIPE_SZ of 16 pages", fcntl_setpipe_size(&last.write, 16 * page())).fails(EPERM);
        see.call("F_SETPIPE_SZ of 1 page", fcntl_setpipe_size(&last.write, page())).is(page());
        see.call("F_GETPIPE_SZ", fcntl_getpipe_size(&last.write)).is(page());
        Ok(())
    }),
];

/// Makes pipes up to the user's limit. Returns them, and the first one past the limit.
fn pipes_up_to_the_limit() -> Result<(Vec<Pipe>, Pipe), Stop> {
    const LARGE: usize = 1 << 20;
    /// With the default limit, 64 pipes are enough.
    const MOST: usize = 200;
    aside(|| {
        let mut all = Vec::new();
        while all.len() < MOST {
            let pipe = pipe2(PipeFlags::CLOEXEC).setup("pipe2")?;
            // Past the limit a pipe has two pages, or one, as documented for Linux before 5.14.
            if fcntl_getpipe_size(&pipe.read).setup("F_GETPIPE_SZ")? <= 2 * page() {
                return Ok((all, pipe));
            }
            // Near the limit a large size is refused.
            let _refused = fcntl_setpipe_size(&pipe.write, LARGE);
            all.push(pipe);
        }
        Err(Stop::untestable(
            Lack::Kernel,
            "no limit is reached: /proc/sys/fs/pipe-user-pages-soft is 0 or large",
            "set it to its default: sysctl fs.pipe-user-pages-soft=16384",
        ))
    })
}
