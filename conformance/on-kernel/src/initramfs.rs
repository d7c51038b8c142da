//! The guest's first file system: a newc archive, written without tools and without root.
//!
//! It holds the program as `/init`, the device nodes that `std` needs before anything can be mounted (nodes in an archive need no
//! privilege), modules, and the files of the run.

use std::collections::BTreeSet;
use std::io::Write;

/// The size limit of a packed file. The format has 32 bits for a length; a guest has little memory, and holds the whole archive
/// there.
pub const LARGEST: u64 = 1 << 30;

/// An archive in memory.
#[derive(Debug)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// An archive with the directories and device nodes of every guest.
    pub fn new() -> Self {
        let mut archive = Self {
            bytes: Vec::new(),
            inode: 0,
            directories: BTreeSet::new(),
        };
        for directory in [
            "dev", "proc", "sys", "tmp", "run", "mnt", "etc", "root", "var", "var/tmp", "modules",
            "files", "lib64",
        ] {
            archive.directory(directory);
        }
        for (name, major, minor) in [
            ("console", 5, 1),
            ("null", 1, 3),
            ("zero", 1, 5),
            ("full", 1, 7),
            ("random", 1, 8),
            ("urandom", 1, 9),
            ("kmsg", 1, 11),
            ("ptmx", 5, 2),
            ("ttyS0", 4, 64),
            ("ttyS1", 4, 65),
        ] {
            archive.entry(&format!("dev/{name}"), 0o020_666, major << 16 | minor, &[]);
        }
        archive
    }

    /// Adds a directory and those above it, if they are not there yet.
    fn directory(&mut self, name: &str) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.directory(above);
        }
        if self.directories.insert(name.to_owned()) {
            self.entry(name, 0o040_755, 0, &[]);
        }
    }

    /// Adds a file with these permissions, and the directories above it.
    pub fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        if let Some((above, _)) = name.rsplit_once('/') {
            self.directory(above);
        }
        self.entry(name, 0o100_000 | mode & 0o777, 0, content);
    }

    /// Adds an executable file.
    pub fn program(&mut self, name: &str, content: &[u8]) {
        self.add(name, 0o755, content);
    }

    /// Adds a file.
    pub fn file(&mut self, name: &str, content: &[u8]) {
        self.add(name, 0o644, content);
    }

    /// `device` is the major number in the upper and the minor in the lower half.
    fn entry(&mut self, name: &str, mode: u32, device: u32, content: &[u8]) {
        self.inode += 1;
        let size = u32::try_from(content.len()).expect("whoever adds a file has asked LARGEST");
        let name_size = u32::try_from(name.len() + 1).expect("a short name");
        // inode, mode, uid, gid, links, mtime, size, the archive's device, the node's device, name's size, no checksum.
        let fields = [
            self.inode,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device >> 16,
            device & 0xffff,
            name_size,
            0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            write!(self.bytes, "{field:08x}").expect("a vector takes all");
        }
        self.bytes.extend(name.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, 0, &[]);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self.bytes
    }
}

impl Default for Archive {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode, device, content.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    /// Reads an archive as the kernel does.
    fn entries(mut bytes: &[u8]) -> Vec<Entry> {
        let mut found = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let text = |index: usize| {
                std::str::from_utf8(&bytes[6 + 8 * index..][..8]).expect("hexadecimal")
            };
            let field = |index: usize| u32::from_str_radix(text(index), 16).expect("hexadecimal");
            let (mode, size, name_size) = (field(1), field(6) as usize, field(11) as usize);
            let device = (field(9), field(10));
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).expect("a name");
            let content_at = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                return found;
            }
            found.push((
                name,
                mode,
                device,
                bytes[content_at..content_at + size].to_vec(),
            ));
            bytes = &bytes[(content_at + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        let mut archive = Archive::new();
        archive.program("init", b"#!");
        archive.file("files/odd", b"12345");
        archive.add("a/b/c", 0o640, b"x");
        archive.add("a/b/d", 0o600, b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 512, 0);
        let entries = entries(&bytes);
        assert!(entries.contains(&("init".into(), 0o100_755, (0, 0), b"#!".to_vec())));
        assert!(entries.contains(&("files/odd".into(), 0o100_644, (0, 0), b"12345".to_vec())));
        let is = |name: &str| entries.iter().filter(|entry| entry.0 == name).count();
        assert_eq!([is("a"), is("a/b"), is("files"), is("var/tmp")], [1; 4]);
        assert!(entries.contains(&("a/b/c".into(), 0o100_640, (0, 0), b"x".to_vec())));
        assert!(entries.contains(&("dev/ttyS1".into(), 0o020_666, (4, 65), vec![])));
    }
}
