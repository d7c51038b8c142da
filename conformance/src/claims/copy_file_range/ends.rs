//! Between which mounts `copy_file_range` copies.

use super::{control, one, refused_between};
use crate::claims::prelude::*;
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::Volume;

pub const CLAIMS: &[Claim] = &[refused_between(
    "copy-file-range.ends.two-mounts",
    "Between two mounts of tmpfs, copy_file_range() fails with EXDEV.",
)
.tried(|lab, see| {
    let (mount, other) = (Volume::mount(lab, "tmpfs")?, Volume::mount(lab, "tmpfs")?);
    let on = |volume: &Volume| aside(|| unnamed_file(&volume.directory)).setup("create a file on the new mount");
    let (source, near, far) = (on(&mount)?, on(&mount)?, on(&other)?);
    aside(|| io::pwrite_all(&source, b"b", 0)).setup("write the file")?;
    see.call("copy_file_range(file, file of another mount)", one(&source, &far)).fails(EXDEV);
    see.length("length of that", &far)?.is(0);
    control(see, &source, &near)
})];
