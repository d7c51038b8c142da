//! The kernel entries of a send with `MSG_ZEROCOPY`.

use super::{SENDS, completing, document, send_all, wait};
use crate::claims::prelude::*;
use nocopy_transfer::{Route, WHOLE};

pub const CLAIMS: &[Claim] = &[claim(
    "zerocopy.entries.notifications",
    "A send with MSG_ZEROCOPY, its completion included, takes one system call.",
)
.published(&[seed("6.1"), document("Notification Reception").denies()])
.about(SENDS)
.traced()
.except(&[Exception::Controls(
    "no lie makes a completion known without a call; a plain write(), counted too, takes one",
)])
.varying(&[MANY])
.tried(|lab, see| {
    static BYTES: [u8; 1 << 14] = [b'b'; 1 << 14];
    let (near, far) = completing()?;
    let (entries, written) = lab.entries(|| io::write_all(&near, &BYTES));
    written.setup("write")?;
    all_arrived(arrived(&far, &BYTES)?)?;
    see.push("write() of 16 KiB", entries).is(1);
    let (entries, completions) = lab.entries(|| {
        let sends = send_all(&near, &BYTES)?;
        io::wait_for_error_queue(near.as_fd()).setup("poll")?;
        wait(&near, sends)
    });
    see.push("send() of 16 KiB with the flag, until its completion is known", entries).is(1);
    completions?;
    all_arrived(arrived(&far, &BYTES)?)?;
    let (entries, sent, arrived) = entries_of(lab, Route::MsgZerocopy { window: WHOLE, chunk: BYTES.len() })?;
    all_arrived(arrived)?;
    see.push(MANY, entries);
    see.count("sends of 16 KiB", sent.notified.map_or(0, |notified| notified.sends));
    Ok(())
})];

const MANY: &str = "1 MiB in sends of 16 KiB with the flag, until all completions are known";
