//! How often `mmap` and `write` enter the kernel.

use crate::claims::prelude::*;
use crate::lab::usage::Usage;
use nocopy_transfer::{Route, WHOLE};

pub const CLAIMS: &[Claim] = &[claim(
    "mmap-write.entries.count",
    "Sending a file by mmap() and write() makes one system call, two crossings: two fewer than read() and write().",
)
.published(&[seed("3.1"), seed("6.1")])
.about(&[Sysno::mmap, Sysno::write])
.traced()
.except(&[Exception::Controls(
    "three calls are three whatever the kernel answers; the interposer's count is checked by rw.entries.one-chunk",
)])
.varying(&["page faults meanwhile"])
.method("The document's \"context switches\" are crossings between user and kernel mode. Page faults cross, too.")
.tried(|lab, see| {
    let before = Usage::now();
    let (entries, _, arrived) = entries_of(lab, Route::MmapWrite { window: WHOLE })?;
    let faults = Usage::now().since(before).minor_faults;
    all_arrived(arrived)?;
    see.push("1 MiB mapped, written, unmapped", entries).is(1);
    see.count("page faults meanwhile", faults);
    Ok(())
})];
