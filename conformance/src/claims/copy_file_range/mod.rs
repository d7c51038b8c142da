//! `copy_file_range`.

pub(super) mod call;
pub(super) mod content;
pub(super) mod end;
pub(super) mod ends;
pub(super) mod errors;
pub(super) mod flags;
pub(super) mod length;
pub(super) mod moves;
pub(super) mod offset;
pub(super) mod proc;
pub(super) mod same_file;
pub(super) mod times;

use crate::claims::prelude::*;

/// A place in the manual page.
const fn manual(at: &'static str) -> Source {
    man("copy_file_range(2)", at)
}

const fn ltp01(case: &'static str) -> Source {
    ltp("copy_file_range01.c", case)
}

const fn ltp02(case: &'static str) -> Source {
    ltp("copy_file_range02.c", case)
}

const fn lie(what: What) -> Lie {
    Lie::about(Sysno::copy_file_range, what)
}

const fn refused(errno: i32) -> Lie {
    lie(What::Refused(errno))
}

const OTHERWISE: &[Lie] = &Lie::otherwise(Sysno::copy_file_range);

/// A claim about the answers of `copy_file_range`.
#[track_caller]
const fn about_copying(id: &'static str, statement: &'static str) -> Claim {
    claim(id, statement).about(&[Sysno::copy_file_range]).turned_by(OTHERWISE)
}

/// A side of the copy: a descriptor, and the offset there or, without one, its file position.
type Side<'a, Fd> = (&'a Fd, Option<&'a mut i64>);

/// One `copy_file_range`.
fn copy(from: Side<'_, impl AsFd>, to: Side<'_, impl AsFd>, length: usize) -> Result<usize, Errno> {
    let pointer = |offset: Option<&mut i64>| offset.map_or(0, |offset| std::ptr::from_mut(offset).expose_provenance());
    let arguments = [argument(from.0), pointer(from.1), argument(to.0), pointer(to.1), length, 0];
    // SAFETY: each offset is null, or belongs to the caller during the call, which writes it.
    io::again(|| unsafe { ask(Sysno::copy_file_range, arguments) })
}

/// One `copy_file_range` of one byte between the file positions.
fn one(from: &impl AsFd, to: &impl AsFd) -> Result<usize, Errno> {
    copy((from, None), (to, None), 1)
}

/// Copies a range to an offset. Continues after a short count.
fn range((from, mut at): (&File, i64), (to, mut target): (&File, i64), length: usize) -> Result<usize, Errno> {
    io::until_done(length, |done| copy((from, Some(&mut at)), (to, Some(&mut target)), length - done))
}

/// A file of three bytes, and an empty one.
fn files(lab: &Lab) -> Result<(File, File), Stop> {
    Ok((lab.file(b"abc")?, lab.empty_file()?))
}

/// The control: one byte of a file is copied to another, which is empty before and has this byte afterwards.
fn control(see: &mut Observation, from: &File, to: &File) -> Result<(), Stop> {
    see.call("copy_file_range(file, file)", one(from, to)).is(1);
    see.length("length of the target", to)?.is(1);
    Ok(())
}

/// Notes the whole content of a short file.
fn holding<'see>(see: &'see mut Observation, fact: &str, file: &File) -> Result<Noted<'see>, Stop> {
    let mut bytes = [0; 16];
    let read = aside(|| io::pread_full(file, &mut bytes, 0)).setup("pread")?;
    Ok(see.text(fact, bytes[..read].escape_ascii()))
}

/// Notes whether a file has exactly these bytes, as it must.
fn has(see: &mut Observation, fact: &str, file: &File, bytes: &[u8]) -> Result<(), Stop> {
    let mut there = vec![0; bytes.len() + 1];
    let read = aside(|| io::pread_full(file, &mut there, 0)).setup("pread")?;
    see.text(fact, if there[..read] == *bytes { "as copied" } else { "others" }).says("as copied");
    Ok(())
}

/// Sets the positions of two files.
fn seek((source, at): (&File, u64), (target, to): (&File, u64)) -> Result<(), Stop> {
    aside(|| io::seek(source, at).and_then(|()| io::seek(target, to))).setup("lseek")
}

/// Notes the positions of two files, with what they must be.
fn positions(
    see: &mut Observation,
    when: &str,
    (source, at): (&File, u64),
    (target, to): (&File, u64),
) -> Result<(), Stop> {
    for (name, file, expected) in [("source", source, at), ("target", target, to)] {
        let position = aside(|| io::position(file)).setup("lseek")?;
        see.count(format!("position of the {name}{when}"), position).is(expected);
    }
    Ok(())
}

/// A claim that copies from one file system or mount to another fail with `EXDEV`.
#[track_caller]
const fn refused_between(id: &'static str, statement: &'static str) -> Claim {
    const PUBLISHED: &[Source] = &[
        manual("ERRORS, EXDEV").since("5.19"),
        manual("BUGS").leaves_open().since("5.3").until("5.18"),
        ltp01("cross-device").leaves_open(),
    ];
    about_copying(id, statement).published(PUBLISHED).gated(BETWEEN_FILE_SYSTEMS)
}

/// The changes of copies from one file system to another. Stable kernels before 5.19 may have the second one.
const BETWEEN_FILE_SYSTEMS: &[crate::claim::Gate] = &[
    gate(
        "5.3",
        "the VFS allows copies between file systems",
        commit("5dae222a5ff0", "vfs: allow copy_file_range to copy across devices"),
    ),
    gate(
        "5.19",
        "the VFS refuses them again where the file system does not implement copy_file_range",
        commit("868f9f2f8e00", "vfs: fix copy_file_range() regression in cross-fs copies"),
    ),
];
