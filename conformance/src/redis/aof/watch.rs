//! Events from outside that end an attempt: a signal, or a server that has the files open or opens them.

use super::bad::{At, Bad, bad};
use super::replace::Stamp;
use nocopy_host::input::is_regular;
use nocopy_host::process::KeptBack;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The signals that ask a program to end.
const SIGNALS: &[libc::c_int] = &[libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM];

/// Events from outside that end an attempt: a signal, or a process that opens the files.
pub(super) struct Watch {
    leases: Vec<Lease>,
    kept: KeptBack,
}

impl Watch {
    pub(super) fn begin() -> Self {
        Self { leases: Vec::new(), kept: KeptBack::of(SIGNALS) }
    }

    /// Leases a file that no other process has open. During the lease, an open by another process waits.
    pub(super) fn lease(&mut self, path: &Path) -> Result<&File, Bad> {
        let known = self.leases.iter().position(|lease| lease.path == path);
        let index = known.unwrap_or(self.leases.len());
        if known.is_none() {
            self.leases.push(Lease::take(path)?);
        }
        Ok(&self.leases[index].file)
    }

    pub(super) fn release(&self) -> Result<(), Bad> {
        self.leases.iter().try_for_each(Lease::release)
    }

    pub(super) fn take_again(&mut self) -> Result<(), Bad> {
        self.leases.iter_mut().try_for_each(Lease::take_again)
    }

    pub(super) fn look(&self) -> Result<(), Bad> {
        if self.kept.has_come() {
            return Err(Bad::Stopped);
        }
        self.leases.iter().try_for_each(Lease::look)
    }
}

/// A file that only this process has open. A server does not lock its files, but the kernel gives a lease only on a file that no
/// other process has open.
struct Lease {
    path: PathBuf,
    file: File,
    stamp: Stamp,
    is_given: bool,
}

impl Lease {
    fn take(path: &Path) -> Result<Self, Bad> {
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).custom_flags(libc::O_NONBLOCK);
        let file = options.open(path).and_then(is_regular).at(path)?;
        let stamp = Stamp::of(&file.metadata().at(path)?);
        let mut lease = Self { path: path.to_owned(), file, stamp, is_given: false };
        lease.take_again()?;
        Ok(lease)
    }

    /// Takes the lease again, if the file is unchanged.
    fn take_again(&mut self) -> Result<(), Bad> {
        // If another process opens the file, its open waits and this process gets a signal. SIGURG, because SIGIO would end this
        // program.
        // SAFETY: fcntl with F_SETSIG and F_SETLEASE takes a number.
        let given = unsafe {
            libc::fcntl(self.file.as_raw_fd(), F_SETSIG, libc::SIGURG);
            libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
        };
        let why = io::Error::last_os_error();
        self.is_given = given == 0;
        let other = if self.is_given { None } else { who_has(&self.file) };
        let other = match (why.kind(), other) {
            (_, Some(pid)) => format!("process {pid} has it open"),
            (io::ErrorKind::WouldBlock, None) if !self.is_given => "another process has it open".to_owned(),
            // This file system has no leases, and /proc shows no other process that has the file open.
            _ => return self.look(),
        };
        Err(bad(&self.path, format!("{other}: stop the server, which would write over what is added")))
    }

    fn release(&self) -> Result<(), Bad> {
        if self.is_given {
            // SAFETY: fcntl with F_SETLEASE takes a number.
            let done = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_SETLEASE, libc::F_UNLCK) };
            if done != 0 {
                return Err(Bad::Io(self.path.clone(), io::Error::last_os_error()));
            }
        }
        Ok(())
    }

    /// Checks that no other process has opened or changed it.
    fn look(&self) -> Result<(), Bad> {
        // SAFETY: fcntl with F_GETLEASE takes nothing.
        let state = unsafe { libc::fcntl(self.file.as_raw_fd(), libc::F_GETLEASE) };
        if self.is_given && state != libc::F_WRLCK {
            return Err(bad(&self.path, "another process opens it: stop the server, and try again"));
        }
        let now = Stamp::of(&fs::metadata(&self.path).at(&self.path)?);
        if now == self.stamp {
            Ok(())
        } else {
            Err(bad(&self.path, "another process has changed it: stop the server, and try again"))
        }
    }
}

/// From `asm-generic/fcntl.h`.
const F_SETSIG: libc::c_int = 10;

/// Another process that has a file open, if `/proc` shows one.
fn who_has(file: &File) -> Option<u32> {
    let own = file.metadata().ok()?;
    let is_same = |path: PathBuf| {
        let other = fs::metadata(path).ok();
        other.is_some_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()))
    };
    let processes = fs::read_dir("/proc").ok()?;
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut others = numbers.filter(|pid| *pid != std::process::id());
    others.find(|pid| {
        let fds = fs::read_dir(format!("/proc/{pid}/fd"));
        let mut fds = fds.into_iter().flatten();
        fds.any(|entry| entry.is_ok_and(|entry| is_same(entry.path())))
    })
}
