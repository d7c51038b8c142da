//! Programs that go into a guest: what they are, and which shared objects they load.

#![forbid(unsafe_code)]

use crate::error::{Context, Error};
use crate::initramfs;
use nocopy_host::input;
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Reads a file that goes into a guest, with its permissions.
///
/// # Errors
///
/// Errors of the system calls, a file that is not regular, and one that is too long for a guest.
pub fn content(path: &Path) -> Result<(Vec<u8>, u32), Error> {
    let file = input::open(path).at(path)?;
    let mode = file.metadata().at(path)?.permissions().mode();
    let mut content = Vec::new();
    let most = initramfs::LARGEST;
    file.take(most + 1).read_to_end(&mut content).at(path)?;
    if content.len() as u64 > most {
        return Err(Error::host(format!(
            "{}: longer than {} MiB, and a guest holds its files in memory",
            path.display(),
            most >> 20
        )));
    }
    Ok((content, mode))
}

/// How a program is started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Alone.
    Static,
    /// By a dynamic linker, which loads shared objects.
    Dynamic(PathBuf),
}

/// The kind of a program.
///
/// # Errors
///
/// Why a guest, which has this machine's architecture, cannot run it.
pub fn kind(program: &[u8]) -> Result<Kind, String> {
    const OWN: elf::Machine = if cfg!(target_arch = "aarch64") {
        elf::EM_AARCH64
    } else {
        elf::EM_X86_64
    };
    if program.starts_with(b"#!") {
        return Err(
            "it is a script: run its interpreter, and bring the script by --with".to_owned(),
        );
    }
    let not_elf = |_| "it is not a 64-bit ELF program".to_owned();
    let header = elf::FileHeader64::<Endianness>::parse(program).map_err(not_elf)?;
    let endian = header.endian().map_err(not_elf)?;
    let machine = header.e_machine(endian);
    if machine != OWN {
        return Err(format!(
            "it is built for another architecture (ELF machine {}; the guest has {}, {})",
            machine.0,
            OWN.0,
            std::env::consts::ARCH
        ));
    }
    let segments = header.program_headers(endian, program).map_err(not_elf)?;
    let linker = segments
        .iter()
        .find_map(|segment| segment.interpreter(endian, program).transpose());
    match linker {
        None => Ok(Kind::Static),
        Some(Ok(path)) => Ok(Kind::Dynamic(OsStr::from_bytes(path).into())),
        Some(Err(_)) => Err("it does not say which dynamic linker it needs".to_owned()),
    }
}

/// Why a program cannot run as the only one of a guest.
pub fn cannot_run_alone(program: &[u8]) -> Option<String> {
    match kind(program) {
        Ok(Kind::Static) => None,
        Ok(Kind::Dynamic(_)) => Some(
            "it is not a static program: build it with RUSTFLAGS=-Ctarget-feature=+crt-static and --target \
             x86_64-unknown-linux-gnu"
                .to_owned(),
        ),
        Err(why) => Some(why),
    }
}

/// A program and what it loads, as pairs of a path in the guest and a path here. They are the same: the linker looks in the same
/// places there.
///
/// # Errors
///
/// The file cannot be read, or a guest cannot run it, or a shared object is missing.
pub fn with_libraries(program: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let path = std::path::absolute(program).at(program)?;
    let (content, _) = content(&path)?;
    let kind =
        kind(&content).map_err(|why| Error::host(format!("{}: {why}", program.display())))?;
    let mut files = vec![path.clone()];
    if let Kind::Dynamic(linker) = kind {
        files.extend(libraries(&linker, &path)?);
        files.push(linker);
    }
    files.into_iter().map(same).collect()
}

/// A file that has the same path in the guest.
///
/// # Errors
///
/// The path is not UTF-8, which the names of an archive are here.
pub fn same(path: PathBuf) -> Result<(String, PathBuf), Error> {
    match path.to_str() {
        Some(text) => Ok((text.to_owned(), path)),
        None => Err(Error::host(format!("{}: not UTF-8", path.display()))),
    }
}

/// The shared objects that the dynamic linker loads for a program, by the linker's own account.
fn libraries(linker: &Path, program: &Path) -> Result<Vec<PathBuf>, Error> {
    let output = Command::new(linker)
        .arg("--list")
        .arg(program)
        .stdin(Stdio::null())
        .output()
        .context(format!("run {}", linker.display()))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let missing = said.lines().find(|line| line.ends_with("not found"));
    if let Some(line) = missing {
        let line = line.trim();
        return Err(Error::host(format!("{}: {line}", program.display())));
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = said.lines().next().unwrap_or("it says nothing");
        let linker = linker.display();
        return Err(Error::host(format!("{linker} --list: {line}")));
    }
    Ok(said.lines().filter_map(library).collect())
}

/// A line of the linker: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f..)`, or only a path.
fn library(line: &str) -> Option<PathBuf> {
    let (found, _) = line.trim().rsplit_once(" (0x")?;
    let path = found.split_once(" => ").map_or(found, |(_, path)| path);
    path.starts_with('/').then(|| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_linker_says_is_read() {
        let path = |line| library(line).map(|path| path.display().to_string());
        assert_eq!(
            path("\tlibm.so.6 => /lib/x86_64-linux-gnu/libm.so.6 (0x00007fd4a9b21000)").as_deref(),
            Some("/lib/x86_64-linux-gnu/libm.so.6")
        );
        assert_eq!(
            path("\t/lib64/ld-linux-x86-64.so.2 (0x00007fd4aa5d3000)").as_deref(),
            Some("/lib64/ld-linux-x86-64.so.2")
        );
        assert_eq!(path("\tlinux-vdso.so.1 (0x00007ffc6a5f9000)"), None);
        assert_eq!(path("\tstatically linked"), None);
    }

    #[test]
    fn a_program_that_cannot_run_in_a_guest_is_known() {
        let own = std::fs::read("/proc/self/exe").expect("readable");
        assert_eq!(cannot_run_alone(&own), None);
        let says = |program: &[u8], what: &str| {
            let reason = cannot_run_alone(program).expect("it cannot");
            assert!(reason.contains(what), "{reason}");
        };
        says(b"#!/bin/sh", "a script");
        says(b"text", "not a 64-bit ELF");
        let mut foreign = own;
        // `e_machine`: s390x.
        foreign[18..20].copy_from_slice(&22_u16.to_le_bytes());
        says(&foreign, "another architecture");
    }
}
