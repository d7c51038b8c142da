//! Images of file systems, made at run time by the tools of their authors.

#![forbid(unsafe_code)]

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// A file system for which a tool makes an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filesystem {
    /// Its name in the kernel. It is also the name of its module, except for ISO 9660.
    pub name: &'static str,
    /// The tool and its options. [`IMAGE`] and [`DIRECTORY`] stand for the image file and for the directory with its content.
    mkfs: &'static [&'static str],
    /// Debian's package with the tool.
    package: &'static str,
    /// The smallest size that the tool accepts, in MiB. The image is sparse: an empty file system uses little of it.
    ///
    /// `None` for a read-only file system: it is as large as its content.
    mib: Option<u64>,
}

const IMAGE: &str = "IMAGE";
const DIRECTORY: &str = "DIRECTORY";

/// Every file system that has a tool.
pub const ALL: &[Filesystem] = &[
    Filesystem {
        name: "ext4",
        mkfs: &["mkfs.ext4", "-q", "-F", "-O", "^has_journal", IMAGE],
        package: "e2fsprogs",
        mib: Some(64),
    },
    Filesystem {
        name: "xfs",
        mkfs: &["mkfs.xfs", "-q", "-f", IMAGE],
        package: "xfsprogs",
        mib: Some(320),
    },
    Filesystem {
        name: "btrfs",
        mkfs: &["mkfs.btrfs", "-q", "-f", IMAGE],
        package: "btrfs-progs",
        mib: Some(128),
    },
    Filesystem {
        name: "f2fs",
        mkfs: &["mkfs.f2fs", "-q", "-f", IMAGE],
        package: "f2fs-tools",
        mib: Some(128),
    },
    Filesystem {
        name: "vfat",
        mkfs: &["mkfs.vfat", IMAGE],
        package: "dosfstools",
        mib: Some(64),
    },
    Filesystem {
        name: "exfat",
        mkfs: &["mkfs.exfat", IMAGE],
        package: "exfatprogs",
        mib: Some(64),
    },
    Filesystem {
        name: "ntfs3",
        mkfs: &["mkntfs", "--quiet", "--fast", "--force", IMAGE],
        package: "ntfs-3g",
        mib: Some(64),
    },
    Filesystem {
        name: "squashfs",
        mkfs: &[
            "mksquashfs",
            DIRECTORY,
            IMAGE,
            "-noappend",
            "-quiet",
            "-no-progress",
        ],
        package: "squashfs-tools",
        mib: None,
    },
    Filesystem {
        name: "erofs",
        mkfs: &["mkfs.erofs", "--quiet", IMAGE, DIRECTORY],
        package: "erofs-utils",
        mib: None,
    },
    Filesystem {
        name: "iso9660",
        mkfs: &[
            "xorriso", "-as", "mkisofs", "-quiet", "-R", "-o", IMAGE, DIRECTORY,
        ],
        package: "xorriso",
        mib: None,
    },
];

/// The file on a read-only file system. It has [`LENGTH`] bytes, each of them [`BYTE`].
pub const CONTENT: &str = "content";
/// The length of [`CONTENT`] and of [`HOLE`].
pub const LENGTH: usize = 4 * 4096;
/// Every byte of [`CONTENT`].
pub const BYTE: u8 = b'O';
/// A second file, to which no byte was written.
pub const HOLE: &str = "hole";

/// Finds the file system with this name.
pub fn find(name: &str) -> Option<&'static Filesystem> {
    ALL.iter().find(|known| known.name == name)
}

impl Filesystem {
    /// Whether it can be written after it was made.
    pub fn is_writable(&self) -> bool {
        self.mib.is_some()
    }

    /// The tool that makes it.
    pub fn tool(&self) -> &'static str {
        self.mkfs[0]
    }

    /// How to get the tool.
    pub fn remedy(&self) -> String {
        format!("apt-get install {}, or `just setup`", self.package)
    }

    /// Makes the image. Files beside it with its name and `.content` are used and removed.
    ///
    /// # Errors
    ///
    /// The tool cannot be started, or it has failed. The error has the first line that the tool printed.
    pub fn make(&self, path: &Path) -> io::Result<()> {
        self.make_with(path, |_| {})
    }

    /// [`make`](Self::make), after a change to the command that starts the tool.
    ///
    /// # Errors
    ///
    /// Those of [`make`](Self::make).
    pub fn make_with(&self, path: &Path, change: impl FnOnce(&mut Command)) -> io::Result<()> {
        let content = path.with_extension("content");
        match self.mib {
            Some(mib) => File::create(path)?.set_len(mib << 20)?,
            None => Self::fill(&content)?,
        }
        let argument = |word: &'static str| match word {
            IMAGE => path.as_os_str(),
            DIRECTORY => content.as_os_str(),
            other => other.as_ref(),
        };
        let mut command = Command::new(self.tool());
        command
            .args(self.mkfs[1..].iter().copied().map(argument))
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .stdin(Stdio::null());
        change(&mut command);
        let output = command.output();
        if self.mib.is_none() {
            std::fs::remove_dir_all(&content)?;
        }
        let output = output?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let line = said.lines().find(|line| !line.trim().is_empty());
        let first = line.unwrap_or("no message");
        Err(io::Error::other(format!("{}: {first}", self.tool())))
    }

    fn fill(directory: &Path) -> io::Result<()> {
        std::fs::create_dir(directory)?;
        std::fs::write(directory.join(CONTENT), [BYTE; LENGTH])?;
        let mut hole = File::create(directory.join(HOLE))?;
        // The last byte is a written zero, so that tools that look for zeros and tools that look for holes find the same.
        hole.seek(SeekFrom::Start(LENGTH as u64 - 1))?;
        hole.write_all(&[0])
    }
}
