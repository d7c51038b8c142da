//! The end of `tee`'s input.

use super::{BLOCKING, NONBLOCK, about_tee};
use crate::claims::prelude::*;
use nocopy_splice::tee;

pub const CLAIMS: &[Claim] =
    &[about_tee("tee.end.no-writers", "tee() returns 0 if its input pipe is empty and has no writers.")
        .published(&[man("tee(2)", "RETURN VALUE"), kernel("fs/splice.c", "ipipe_prep")])
        .tried(|_lab, see| {
            let (from, to) = two()?;
            let with_a_writer = tee(&from.read, &to.write, 5, NONBLOCK);
            see.call("tee(empty pipe with a writer, pipe, SPLICE_F_NONBLOCK)", with_a_writer).fails(EAGAIN);
            drop(from.write);
            see.call("tee(empty pipe without writers, pipe)", tee(&from.read, &to.write, 5, BLOCKING)).is(0);
            Ok(())
        })];
