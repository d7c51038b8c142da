//! File systems of every kind, mounted for one experiment and removed with it.
//!
//! Those that need a disk are a disk of the guest, or an image that is made at run time and mounted through a loop device.

use crate::interpose::record::{aside, start_aside};
use crate::lab::filesystems::filesystem_of;
use crate::lab::fuse::Fuse;
use crate::lab::fuse::settings::Settings;
use crate::lab::nfs::Nfs;
use crate::lab::open;
use crate::lab::settings::{HUGE_PAGES, Setting};
use crate::lab::{Lab, io as lab_io, loops, mounts, netns};
use crate::verdict::{Lack, Stop};
use nocopy_host::images::{self, Filesystem};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use syscalls::Errno;

/// The object that keeps a volume mounted.
#[derive(Debug)]
enum Keeper {
    /// A disk of the machine.
    Machine,
    /// The descriptors of the mounts, and a setting that they need.
    #[expect(dead_code, reason = "they are held")]
    Mount(Vec<OwnedFd>, Option<Setting>),
    Fuse(#[expect(dead_code, reason = "it is held")] Fuse),
    Nfs(#[expect(dead_code, reason = "it is held")] Nfs),
}

/// A mounted file system.
#[derive(Debug)]
pub struct Volume {
    /// Its root directory, by a path that is valid in this process.
    pub directory: PathBuf,
    /// Whether files can be created on it.
    pub is_writable: bool,
    /// Whether its space ends before that of the machine.
    pub is_limited: bool,
    _keeper: Keeper,
}

/// Every kind: the kernel's name of the file system, and its special options, if any.
pub const ALL: &[&str] = &[
    "ext4",
    "xfs",
    "btrfs",
    "f2fs",
    "vfat",
    "exfat",
    "ntfs3",
    "tmpfs",
    "ramfs",
    "hugetlbfs",
    "overlay",
    "squashfs",
    "erofs",
    "iso9660",
    "fuse",
    "fuse, direct_io",
    "fuse, direct_io, no size",
    "nfs",
];

impl Volume {
    /// Mounts a file system of this kind.
    ///
    /// The experiment must have only one thread so far. It may be in a new user and mount namespace afterwards.
    pub fn mount(lab: &Lab, kind: &str) -> Result<Self, Stop> {
        aside(|| match kind {
            "tmpfs" => Self::tmpfs(c"1M", c"never"),
            "tmpfs, huge" => Self::tmpfs(c"16M", c"within_size"),
            "ramfs" => Self::of_memory(c"ramfs", &[], false),
            "hugetlbfs" => {
                let setting = huge_pages()?;
                let mount = mounts::as_allowed(|| mounts::mounted(c"hugetlbfs", &[], 0))?;
                Ok(Self {
                    directory: path_of(&mount),
                    is_writable: true,
                    is_limited: false,
                    _keeper: Keeper::Mount(vec![mount], setting),
                })
            }
            "overlay" => Self::overlay(),
            "nfs" => {
                let nfs = Nfs::mount(c"1M")?;
                Ok(Self { directory: nfs.directory(), is_writable: true, is_limited: true, _keeper: Keeper::Nfs(nfs) })
            }
            "fuse" => Self::fuse(Settings::default()),
            "fuse, direct_io" => Self::fuse(Settings { direct_io: true, ..Settings::default() }),
            "fuse, direct_io, no size" => {
                Self::fuse(Settings { direct_io: true, hides_sizes: true, ..Settings::default() })
            }
            name => {
                let filesystem =
                    images::find(name).ok_or_else(|| Stop::broken(format!("cannot create a {name} volume")))?;
                Self::of_image(lab, filesystem)
            }
        })
    }

    /// Takes all free space, until the returned value is dropped.
    pub fn fill_up(&self) -> Result<Filler, Stop> {
        aside(|| {
            let path = self.directory.join("filler");
            let flags = libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
            let filler = Filler { file: open::open_with(&path, flags)?, path };
            filler.fill()?;
            Ok(filler)
        })
    }

    fn of_mount(mount: OwnedFd, is_writable: bool, is_limited: bool) -> Self {
        Self { directory: path_of(&mount), is_writable, is_limited, _keeper: Keeper::Mount(vec![mount], None) }
    }

    fn of_memory(name: &CStr, options: &[(&CStr, Option<&CStr>)], is_limited: bool) -> Result<Self, Stop> {
        let mount = mounts::as_allowed(|| mounts::mounted(name, options, 0))?;
        Ok(Self::of_mount(mount, true, is_limited))
    }

    /// A tmpfs with this use of huge pages, which is `never` where the kernel has no such option.
    fn tmpfs(size: &CStr, huge: &CStr) -> Result<Self, Stop> {
        let options = [(c"size", Some(size)), (c"huge", Some(huge))];
        let mount = mounts::as_allowed(|| match mounts::mounted(c"tmpfs", &options, 0) {
            Err(Errno::EINVAL) if huge == c"never" => mounts::mounted(c"tmpfs", &options[..1], 0).map(Some),
            Err(Errno::EINVAL) => Ok(None),
            mount => mount.map(Some),
        })?;
        let mount = mount.ok_or_else(|| {
            let what = format!("tmpfs does not take huge={}", huge.to_string_lossy());
            Stop::untestable(Lack::Kernel, what, "use a kernel with CONFIG_TRANSPARENT_HUGEPAGE")
        })?;
        Ok(Self::of_mount(mount, true, true))
    }

    /// An overlay whose upper and lower layers are on one tmpfs.
    fn overlay() -> Result<Self, Stop> {
        let mounts = mounts::as_allowed(|| {
            let below = mounts::mounted(c"tmpfs", &[(c"size", Some(c"1M"))], 0)?;
            let mount = overlay_on(&path_of(&below)).or_else(|errno| match errno {
                // Old kernels accept layers only on mounts that are in the process's mount tree.
                Errno::EINVAL => {
                    mounts::attach(&below, SEEN_BY_NOBODY)?;
                    overlay_on(SEEN_BY_NOBODY.as_ref())
                }
                errno => Err(errno),
            })?;
            Ok(vec![mount, below])
        })?;
        Ok(Self {
            directory: path_of(&mounts[0]),
            is_writable: true,
            is_limited: true,
            _keeper: Keeper::Mount(mounts, None),
        })
    }

    fn fuse(settings: Settings) -> Result<Self, Stop> {
        let fuse = Fuse::mount(&[images::BYTE; images::LENGTH], settings)?;
        Ok(Self { directory: fuse.directory(), is_writable: true, is_limited: false, _keeper: Keeper::Fuse(fuse) })
    }

    /// The machine's disk with this file system, or a new image.
    fn of_image(lab: &Lab, filesystem: &Filesystem) -> Result<Self, Stop> {
        let below_mnt = Path::new("/mnt").join(filesystem.name);
        for directory in [below_mnt.as_path(), Path::new("/var/tmp")] {
            let is_one = filesystem_of(directory).is_ok_and(|found| found == filesystem.name);
            if netns::is_disposable() && is_one {
                return Ok(Self {
                    directory: directory.to_owned(),
                    is_writable: filesystem.is_writable(),
                    is_limited: true,
                    _keeper: Keeper::Machine,
                });
            }
        }
        let image = made(lab.scratch()?, filesystem)?;
        let (_device, path) = loops::device_over(&image)?;
        let name = CString::new(filesystem.name).map_err(|_| Stop::broken("a name with a zero"))?;
        let options = [(c"source", Some(&*path)), (c"ro", None)];
        let options = &options[..if filesystem.is_writable() { 1 } else { 2 }];
        let mount = mounts::mounted(&name, options, 0).map_err(|errno| {
            let (lack, remedy) = match errno {
                Errno::EPERM => (Lack::Privilege, "run as root, outside of user namespaces"),
                _ => (Lack::Device, "use a kernel with this file system"),
            };
            let said = format!("no {} can be mounted here: {errno:?}", filesystem.name);
            Stop::untestable(lack, said, remedy)
        })?;
        Ok(Self::of_mount(mount, filesystem.is_writable(), true))
    }
}

/// A file that takes all the space of a volume.
#[derive(Debug)]
pub struct Filler {
    file: File,
    path: PathBuf,
}

impl Filler {
    fn fill(&self) -> Result<(), Stop> {
        const CHUNK: usize = 1 << 20;
        // A remote file system allocates space for written bytes later. `fallocate` makes it report a full disk now.
        let is_remote = filesystem_of(&self.path).is_ok_and(|name| name == "nfs");
        let bytes = vec![images::BYTE; CHUNK];
        let mut step = CHUNK;
        let mut length = 0;
        loop {
            let taken = if is_remote {
                lab_io::allocate(&self.file, length as u64, step as u64).map(|()| step)
            } else {
                lab_io::write(&self.file, &bytes[..step])
            };
            match taken {
                Ok(count) if count > 0 => length += count,
                Ok(_) | Err(Errno::ENOSPC) if step > 1 => step /= 2,
                Ok(_) | Err(Errno::ENOSPC) => return Ok(()),
                Err(errno) => return Err(Stop::from_setup("fill the file system", errno)),
            }
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// An image of the file system in an unnamed file.
fn made(scratch: &Path, filesystem: &Filesystem) -> Result<File, Stop> {
    let path = scratch.join(format!("{}.img", filesystem.name));
    let image = filesystem
        .make_with(&path, |command| {
            start_aside(command);
        })
        .and_then(|()| File::options().read(true).write(true).open(&path));
    let _ = std::fs::remove_file(&path);
    image.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            Stop::untestable(Lack::Resource, format!("{} is not installed", filesystem.tool()), filesystem.remedy())
        }
        _ => Stop::untestable(
            Lack::Resource,
            format!("no image of {} can be made: {error}", filesystem.name),
            "name a directory with space by --scratch DIR",
        ),
    })
}

/// Reserves huge pages if there are too few, on a disposable machine.
fn huge_pages() -> Result<Option<Setting>, Stop> {
    const WANTED: u32 = 8;
    let there = std::fs::read_to_string(HUGE_PAGES).unwrap_or_default();
    if there.trim().parse().unwrap_or(0) >= WANTED {
        return Ok(None);
    }
    Setting::change(HUGE_PAGES, &WANTED.to_string()).map(Some)
}

/// A directory that every machine has, and that the experiment does not use. The mount is visible in its mount namespace only.
const SEEN_BY_NOBODY: &str = "/mnt";

/// The use of huge pages for memfds and other unnamed files of tmpfs: the word that is chosen in `shmem_enabled`.
///
/// Untestable if such a file gets huge pages without asking for them.
pub fn huge_pages_of_memfds() -> Result<String, Stop> {
    const SETTINGS: &str = "/sys/kernel/mm/transparent_hugepage";
    let chosen = |directory: &Path| {
        let text = std::fs::read_to_string(directory.join("shmem_enabled")).unwrap_or_default();
        text.split(['[', ']']).nth(1).unwrap_or("no such setting").to_owned()
    };
    aside(|| {
        let word = chosen(Path::new(SETTINGS));
        // Since Linux 6.11 there is one for each size as well.
        let of_sizes = std::fs::read_dir(SETTINGS).into_iter().flatten().flatten();
        let words = of_sizes.map(|size| chosen(&size.path())).chain([word.clone()]);
        match words.into_iter().find(|word| matches!(&**word, "always" | "within_size" | "force")) {
            None => Ok(word),
            Some(word) => Err(Stop::untestable(
                Lack::Device,
                format!("a memfd has huge pages here: shmem_enabled of {SETTINGS} is {word}"),
                "write never into the files shmem_enabled there",
            )),
        }
    })
}

/// Mounts an overlay whose layers are in this directory.
fn overlay_on(directory: &Path) -> Result<OwnedFd, Errno> {
    let layer = |name: &str| {
        let path = directory.join(name);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(errno(&error));
            }
            _ => {}
        }
        CString::new(path.into_os_string().into_encoded_bytes()).map_err(|_| Errno::EINVAL)
    };
    let (lower, upper, work) = (layer("lower")?, layer("upper")?, layer("work")?);
    let options = [(c"lowerdir", Some(&*lower)), (c"upperdir", Some(&*upper)), (c"workdir", Some(&*work))];
    mounts::mounted(c"overlay", &options, 0)
}

fn path_of(mount: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(mount.as_raw_fd().to_string())
}

fn errno(error: &io::Error) -> Errno {
    Errno::new(error.raw_os_error().unwrap_or(libc::EIO))
}
