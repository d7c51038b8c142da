//! Kernel modules in the order in which they must be loaded.

use crate::error::{Context, Error};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

/// Modules that must be loaded before these work, but are not in `depends=`.
const SOFT: &[(&str, &[&str])] = &[
    ("libcrc32c", &["crc32c_generic"]),
    (
        "btrfs",
        &["crc32c_generic", "crc32c_cryptoapi", "xxhash_generic"],
    ),
    ("f2fs", &["crc32_generic"]),
    (
        "vfat",
        &["nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8"],
    ),
];

/// A module ready to be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// Its name, with `_`.
    pub name: String,
    /// The ELF, decompressed.
    pub content: Vec<u8>,
}

impl Module {
    /// The name of its file in a guest.
    pub fn file(&self) -> String {
        format!("{}.ko", self.name)
    }
}

/// The modules that a guest loads, each after those that it needs, and the kernel that they are built for.
pub struct Ordered {
    /// The modules.
    pub modules: Vec<Module>,
    /// How many of them, at the beginning, the first names need.
    pub first: usize,
    /// The `uname -r` of their kernel; if none was wanted, of the kernel of any other module there.
    pub built_for: Option<String>,
}

/// The modules `first` and then `wanted`, with all that they need. A name without a module file is built in, or does not exist.
pub fn in_order(
    directory: &Path,
    first: &[&str],
    wanted: &BTreeSet<String>,
) -> Result<Ordered, Error> {
    let mut order = Order {
        files: files(directory)?,
        done: BTreeSet::new(),
        modules: Vec::new(),
    };
    for name in first {
        order.add(name)?;
    }
    let first = order.modules.len();
    for name in wanted {
        order.add(name)?;
    }
    let built_for = match (order.modules.first(), order.files.values().next()) {
        (Some(module), _) => version(&module.content),
        (None, Some(other)) => version(&read(other)?),
        (None, None) => None,
    };
    Ok(Ordered {
        modules: order.modules,
        first,
        built_for,
    })
}

/// The files of all modules below the directory.
pub fn paths(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(files(directory)?.into_values().collect())
}

/// The names of all modules below the directory.
pub fn names(directory: &Path) -> Result<BTreeSet<String>, Error> {
    Ok(files(directory)?.into_keys().collect())
}

struct Order {
    files: BTreeMap<String, PathBuf>,
    done: BTreeSet<String>,
    modules: Vec<Module>,
}

impl Order {
    fn add(&mut self, name: &str) -> Result<(), Error> {
        let name = name.replace('-', "_");
        if !self.done.insert(name.clone()) {
            return Ok(());
        }
        let Some(path) = self.files.get(&name).cloned() else {
            return Ok(());
        };
        let content = read(&path)?;
        let soft = SOFT
            .iter()
            .filter(|(module, _)| *module == name)
            .flat_map(|(_, needs)| needs.iter().copied());
        let needed: Vec<String> = depends(&content)
            .into_iter()
            .chain(soft.map(str::to_owned))
            .collect();
        for other in &needed {
            self.add(other)?;
        }
        self.modules.push(Module { name, content });
        Ok(())
    }
}

/// Every module file below the directory by its name.
fn files(directory: &Path) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(&directory).at(&directory)? {
            let path = entry.at(&directory)?.path();
            if path.is_dir() {
                directories.push(path);
            } else if let Some((name, _)) = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.split_once(".ko"))
            {
                found.insert(name.replace('-', "_"), path.clone());
            }
        }
    }
    Ok(found)
}

/// The kernel that a module was built for, according to the module: its `uname -r`.
pub fn version(content: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"vermagic=";
    let at = content.windows(KEY.len()).position(|here| here == KEY)? + KEY.len();
    let rest = &content[at..];
    let end = rest
        .iter()
        .position(|byte| !byte.is_ascii_graphic())
        .unwrap_or(rest.len());
    let text = String::from_utf8_lossy(&rest[..end.min(64)]).into_owned();
    (!text.is_empty()).then_some(text)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let packed = std::fs::read(path).at(path)?;
    let mut content = Vec::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => xz4rust::XzReader::new(Cursor::new(packed))
            .read_to_end(&mut content)
            .at(path)?,
        Some("gz") => flate2::read::GzDecoder::new(&packed[..])
            .read_to_end(&mut content)
            .at(path)?,
        Some("zst") => ruzstd::decoding::StreamingDecoder::new(&packed[..])
            .map_err(std::io::Error::other)
            .and_then(|mut decoder| decoder.read_to_end(&mut content))
            .at(path)?,
        _ => return Ok(packed),
    };
    Ok(content)
}

/// The `depends=` entry of the section `.modinfo`, which has zero-terminated strings.
fn depends(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = &module[at + KEY.len()..];
    let end = value
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(value.len());
    let names = String::from_utf8_lossy(&value[..end]).into_owned();
    names
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_comes_first_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let below = directory.path().join("kernel/fs");
        std::fs::create_dir_all(&below).expect("mkdir");
        let module = |depends: &str| {
            [
                b"\x7fELF\0license=GPL\0depends=",
                depends.as_bytes(),
                b"\0name=x\0",
            ]
            .concat()
        };
        std::fs::write(below.join("xfs.ko"), module("libcrc32c,other-thing")).expect("write");
        std::fs::write(below.join("libcrc32c.ko"), module("")).expect("write");
        std::fs::write(below.join("other-thing.ko"), module("libcrc32c")).expect("write");
        std::fs::write(below.join("crc32c_generic.ko"), module("")).expect("write");
        let wanted = ["xfs", "not_there"].map(str::to_owned).into();
        let ordered = |first: &[&str]| {
            let ordered = in_order(directory.path(), first, &wanted).expect("readable");
            let names = ordered.modules.into_iter().map(|module| module.name);
            (names.collect::<Vec<_>>().join(" "), ordered.first)
        };
        let all = "crc32c_generic libcrc32c other_thing xfs";
        assert_eq!(ordered(&[]), (all.to_owned(), 0));
        assert_eq!(ordered(&["libcrc32c", "nor_there"]), (all.to_owned(), 2));
    }
}
