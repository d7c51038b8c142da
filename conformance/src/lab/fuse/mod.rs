//! A FUSE file system for one experiment, whose server follows the experiment's instructions.
//!
//! The server is a child process. It ends with the experiment, and a call that waits for its answer ends with the server.

#![forbid(unsafe_code)]

mod server;
pub mod settings;

use crate::interpose::record::aside;
use crate::kernel::to_have;
use crate::lab::fuse::settings::{FILE, Settings};
use crate::lab::{mounts, open, sockets};
use crate::verdict::{Lack, Setup, Stop};
use nocopy_host::process;
use server::Server;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use syscalls::Errno;

/// The kernel module.
pub const MODULES: &[&str] = &["fuse"];
const DEVICE: &str = "/dev/fuse";

/// A mount with a server. Dropping this ends both.
#[derive(Debug)]
pub struct Fuse {
    mount: OwnedFd,
    line: UnixStream,
    server: libc::pid_t,
}

impl Fuse {
    /// Mounts a file system that contains [`FILE`] with this content.
    ///
    /// - The experiment must have only one thread so far.
    /// - The server does not keep the experiment's open files.
    /// - The calling process may be in a new user and mount namespace afterwards.
    pub fn mount(content: &[u8], settings: Settings) -> Result<Self, Stop> {
        aside(|| {
            let mut options = File::options();
            options.read(true).write(true);
            let remedy = to_have("CONFIG_FUSE_FS", "fuse");
            open::open_present(DEVICE.as_ref(), &options, Lack::Device, &remedy)?;
            let (mount, device) = mounts::as_allowed(|| {
                // A namespace can only mount a device that was opened in it.
                let device = options.open(DEVICE).map_err(|error| errno(&error))?;
                Ok((mounted(&device)?, device))
            })?;
            let (line, far) = UnixStream::pair().setup("socketpair")?;
            let server = process::fork(|| {
                aside(|| {
                    process::die_with_parent();
                    process::close_all_but(&[device.as_raw_fd(), far.as_raw_fd()]);
                    Server::new(&device, &far, content, settings).serve();
                });
            })
            .setup("fork")?;
            Ok(Self { mount, line, server })
        })
    }

    /// The root directory, by a path that is valid in this process only.
    pub fn directory(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.mount.as_raw_fd().to_string())
    }

    /// Mounts a file system that takes `bytes` bytes of a file, and opens its empty file.
    pub fn with_quota(bytes: usize) -> Result<(Self, File), Stop> {
        let settings = Settings { quota: Some(bytes), ..Settings::default() };
        let fuse = Self::mount(b"", settings)?;
        let file = fuse.open(File::options().read(true).write(true))?;
        Ok((fuse, file))
    }

    /// Opens [`FILE`].
    pub fn open(&self, options: &OpenOptions) -> Result<File, Stop> {
        aside(|| options.open(self.directory().join(FILE))).setup("open a file of the FUSE mount")
    }

    /// Whether the server has received a read that it withholds.
    pub fn is_asked(&self) -> Result<bool, Stop> {
        Ok(aside(|| sockets::readable(&self.line))? > 0)
    }

    /// Makes the server answer the withheld reads, and every later read at once.
    pub fn answer(&self) -> Result<(), Stop> {
        aside(|| (&self.line).write_all(&[server::ANSWER])).setup("tell the server to answer")
    }

    /// Sets every byte of [`FILE`] to this one. The kernel is not notified of the change.
    pub fn change(&self, byte: u8) -> Result<(), Stop> {
        aside(|| (&self.line).write_all(&[byte]).and_then(|()| (&self.line).read_exact(&mut [0])))
            .setup("have the server change the file")
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        aside(|| {
            process::kill(self.server);
            process::wait(self.server);
        });
    }
}

/// A mount that is served by the reader of this open file.
fn mounted(device: &File) -> Result<OwnedFd, Errno> {
    let text = |text: String| CString::new(text).map_err(|_| Errno::EINVAL);
    let fd = text(device.as_raw_fd().to_string())?;
    let user = text(process::effective_user().to_string())?;
    let group = text(process::effective_group().to_string())?;
    let options = [
        (c"source", Some(c"nocopy")),
        (c"fd", Some(&*fd)),
        (c"rootmode", Some(c"40755")),
        (c"user_id", Some(&*user)),
        (c"group_id", Some(&*group)),
    ];
    mounts::mounted(c"fuse", &options, 0)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::new(error.raw_os_error().unwrap_or(libc::EIO))
}

#[cfg(test)]
mod tests {
    //! Other tests run in threads of this process. The forked child needs only memory, whose lock the C library handles.

    use super::*;
    use crate::lab::{Lab, filesystems, pattern};
    use rstest::rstest;
    use std::io::Seek;
    use std::os::unix::fs::{FileExt, MetadataExt};

    /// A mount, if this machine allows one.
    fn mount(settings: Settings) -> Option<Fuse> {
        match Fuse::mount(b"bytes", settings) {
            Ok(fuse) => Some(fuse),
            Err(Stop::Untestable(reason)) => {
                eprintln!("not tested: {reason}");
                None
            }
            Err(stop) => panic!("{stop:?}"),
        }
    }

    fn direct_io(direct_io: bool) -> Settings {
        Settings { direct_io, ..Settings::default() }
    }

    #[rstest]
    #[case(direct_io(false))]
    #[case(direct_io(true))]
    fn its_files_are_files(#[case] settings: Settings) {
        let Some(fuse) = mount(settings) else { return };
        let directory = fuse.directory();
        assert_eq!(filesystems::filesystem_of(&directory).expect("statfs"), "fuse");
        let mut options = File::options();
        let there = fuse.open(options.read(true)).expect("the file");
        assert_eq!(there.metadata().expect("fstat").len(), 5);
        // Two pieces of the kernel's maximum size, and a rest.
        let content = pattern((1 << 18) + 777);
        let lab = Lab::new(Some(directory.clone()));
        let mut file = lab.file(&content).expect("a new file");
        assert_eq!(file.metadata().expect("fstat").nlink(), 0);
        let mut read = Vec::new();
        file.read_to_end(&mut read).expect("read");
        assert_eq!(read, content);
        file.write_all_at(b"hole", 1 << 20).expect("pwrite");
        file.set_len((1 << 20) + 2).expect("ftruncate");
        let mut end = [1; 4];
        file.read_exact_at(&mut end, (1 << 20) - 2).expect("pread");
        assert_eq!(&end, b"\0\0ho");
        assert_eq!(file.stream_position().expect("lseek"), content.len() as u64);
        filesystems::set_old_time(&file).expect("futimens");
        assert_eq!(file.metadata().expect("fstat").mtime(), 1_000_000_000);
        let names = std::fs::read_dir(&directory).expect("readdir").count();
        assert_eq!(names, 1, "the file without a name has none");
    }

    #[test]
    fn a_hidden_size_is_no_size() {
        let settings = Settings { hides_sizes: true, ..direct_io(true) };
        let Some(fuse) = mount(settings) else { return };
        let mut file = fuse.open(File::options().read(true)).expect("the file");
        assert_eq!(file.metadata().expect("fstat").len(), 0);
        let mut read = String::new();
        file.read_to_string(&mut read).expect("read");
        assert_eq!(read, "bytes");
    }
}
