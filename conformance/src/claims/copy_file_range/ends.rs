//! Between which mounts `copy_file_range` copies.

use super::{BETWEEN_FILE_SYSTEMS, about_copying, control, ltp01, manual, one};
use crate::claims::prelude::*;
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::Volume;

pub const CLAIMS: &[Claim] = &[about_copying(
    "copy-file-range.ends.two-mounts",
    "Between two mounts of tmpfs, copy_file_range() fails with EXDEV.",
)
.published(&[
    manual("ERRORS, EXDEV").since("5.19"),
    manual("BUGS").leaves_open().since("5.3").until("5.18"),
    ltp01("cross-device").leaves_open(),
])
.gated(BETWEEN_FILE_SYSTEMS)
.tried(|lab, see| {
    let (mount, other) = (Volume::mount(lab, "tmpfs")?, Volume::mount(lab, "tmpfs")?);
    let on = |volume: &Volume| aside(|| unnamed_file(&volume.directory)).setup("create a file on the new mount");
    let (source, near, far) = (on(&mount)?, on(&mount)?, on(&other)?);
    aside(|| io::pwrite_all(&source, b"b", 0)).setup("write the file")?;
    see.call("copy_file_range(file, file of another mount)", one(&source, &far)).fails(EXDEV);
    see.length("length of that", &far)?.is(0);
    control(see, &source, &near)
})];
