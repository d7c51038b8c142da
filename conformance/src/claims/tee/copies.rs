//! Whether `tee` copies bytes.

use super::{NONBLOCK, about_tee};
use crate::claims::prelude::*;
use nocopy_splice::{splice, tee};

pub const CLAIMS: &[Claim] = &[about_tee(
    "tee.copies.none",
    "tee() of pages that were spliced from a file copies no bytes: both pipes then refer to the file's pages.",
)
.published(&[
    man("tee(2)", "NOTES"),
    man("splice(2)", "NOTES").leaves_open(),
    commit("70524490ee2e", "splice: add support for sys_tee()").since("2.6.17"),
    kernel("fs/splice.c", "do_tee"),
])
.turned_by(alias::SHARING_LIES)
.method("Splices a file into a pipe and tees that into another, changes the file, and reads both.")
.tried(|lab, see| {
    let file = alias::source(lab)?;
    let (first, second) = two()?;
    let mut offset = 0;
    alias::send_all(|done| splice(&file, Some(&mut offset), &first.write, None, alias::LENGTH - done, NONBLOCK))
        .setup("splice")?;
    let teed = io::again(|| tee(&first.read, &second.write, alias::LENGTH, NONBLOCK));
    see.call("tee(first pipe, second pipe)", teed).at_least(1);
    let copied = teed.unwrap_or(0);
    see.readable("bytes in the second pipe", &second.read)?.is(copied);
    alias::change(&file)?;
    for (name, pipe, length) in [("first", &first, alias::LENGTH), ("second", &second, copied)] {
        if length == 0 {
            continue;
        }
        let mut bytes = vec![0; length];
        let count = io::read_full(&pipe.read, &mut bytes).setup("read a pipe")?;
        see.text(format!("file changed after tee(), {name} pipe's bytes"), Sharing::of(&bytes[..count])?)
            .says(Sharing::Shared);
    }
    Ok(())
})];
