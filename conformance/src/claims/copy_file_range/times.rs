//! The times that `copy_file_range` changes.

use super::{about_copying, holding, one};
use crate::claims::prelude::*;
use crate::lab::filesystems::{Status, set_old_time};

pub const CLAIMS: &[Claim] =
    &[about_copying("copy-file-range.times.target", "copy_file_range() updates the modification time of its target.")
        .published(&[
            ltp("copy_file_range03.c", "verify_copy_file_range_timestamp"),
            thread("Linux tag copy-file-range-fixes-1", "the modification time is updated as by a write").since("5.3"),
        ])
        .turned_by(&[Lie::skipped(Sysno::fstat).after(1)])
        .tried(|lab, see| {
            let (source, target) = (lab.file(b"abc")?, lab.file(b"0")?);
            set_old_time(&target)?;
            let mut status = Status::default();
            let before = status.last_change(&target)?;
            see.call("copy_file_range(file, file, 1)", one(&source, &target)).is(1);
            let is_kept = status.last_change(&target)? == before;
            see.text("modification time of the target", if is_kept { "as before" } else { "updated" }).says("updated");
            holding(see, "target", &target)?.says("a");
            Ok(())
        })];
