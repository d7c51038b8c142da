//! The flags of `copy_file_range`.

use super::{about_copying, files, ltp02, manual};
use crate::claims::prelude::*;

pub const CLAIMS: &[Claim] =
    &[about_copying("copy-file-range.flags.none", "copy_file_range() with flags other than 0 fails with EINVAL.")
        .published(&[manual("ERRORS, EINVAL"), ltp02("invalid flags")])
        .tried(|lab, see| {
            let (source, target) = files(lab)?;
            for flags in [1, 2, 1 << 31, u32::MAX] {
                let arguments = [argument(&source), 0, argument(&target), 0, 1, flags as usize];
                // SAFETY: both offsets are null.
                let copied = unsafe { ask(Sysno::copy_file_range, arguments) };
                see.call(format!("copy_file_range(file, other file, flags {flags:#x})"), copied).fails(EINVAL);
            }
            see.length("length of the target", &target)?.is(0);
            Ok(())
        })];
