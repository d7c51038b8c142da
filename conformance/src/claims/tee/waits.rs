//! When `tee` sleeps.

use super::{BLOCKING, about_tee};
use crate::claims::prelude::*;
use nocopy_splice::tee;

pub const CLAIMS: &[Claim] = &[
    about_tee(
        "tee.waits.empty-pipe",
        "tee() from an empty pipe that has a writer sleeps until something is written to it.",
    )
    .published(&[gvisor("splice.cc", "TeeTest.Blocking"), kernel("fs/splice.c", "ipipe_prep")])
    .turned_by(&does_not_wait(Sysno::tee))
    .tried(|_lab, see| {
        // The reader of this pipe stays open, whatever the call does.
        let (first, Pipe { read, write }) = (Arc::new(pipe()?), pipe()?);
        let from = Arc::clone(&first);
        let caller = Caller::start(Sysno::tee, move || io::again(|| tee(&from.read, &write, 1, BLOCKING)))?;
        see.sleeps("tee(empty pipe, pipe, 1)", caller, |_| io::write_all(&first.write, b"b").setup("write to a pipe"))?
            .is(1);
        see.holds("the second pipe's byte", &read, b"b")?.says(AS_SENT);
        Ok(())
    }),
    about_tee("tee.waits.full-pipe", "tee() into a full pipe sleeps until there is room: reading one page is enough.")
        .published(&[
            gvisor("splice.cc", "TeeTest.BlockingWrite, which reads the whole pipe").leaves_open(),
            kernel("fs/splice.c", "opipe_prep"),
        ])
        .turned_by(&does_not_wait(Sysno::tee))
        .sharing(&[Resource::UserPipePages])
        .tried(|_lab, see| {
            let (source, Pipe { read, write }) = (filled(b"b")?, full()?);
            let rest = aside(|| sockets::readable(&read))? - page();
            let caller = Caller::start(Sysno::tee, move || io::again(|| tee(&source.read, &write, 1, BLOCKING)))?;
            see.sleeps("tee(pipe, full pipe, 1)", caller, |_| read_page(&read))?.is(1);
            see.holds("the full pipe's bytes", &read, &[vec![0; rest], vec![b'b']].concat())?.says(AS_SENT);
            Ok(())
        }),
];
