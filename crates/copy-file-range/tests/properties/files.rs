//! Files of random sizes, and places in them.

use crate::check::{below, index_below};
use quickcheck::{Arbitrary, Gen};
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A file that has no name, with `content`, at position 0.
pub fn file(content: &[u8]) -> File {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("nocopy-properties-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .expect("a temporary file");
    std::fs::remove_file(&path).expect("unlink");
    file.write_all(content).expect("write");
    file.rewind().expect("lseek");
    file
}

/// Bytes that do not repeat at any power of two: 251 is the largest prime below 256.
pub fn pattern(length: usize) -> Vec<u8> {
    let rows = (0..251).cycle().enumerate();
    let shifted = rows.map(|(at, byte)| ((at / 251 + byte) % 251).to_le_bytes()[0]);
    shifted.take(length).collect()
}

/// The size of a file.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize);

/// The largest file.
pub const LARGEST: usize = 200 << 10;

impl Arbitrary for Size {
    fn arbitrary(g: &mut Gen) -> Self {
        Self(length(g).min(LARGEST))
    }

    fn shrink(&self) -> Box<dyn Iterator<Item = Self>> {
        Box::new(self.0.shrink().map(Self))
    }
}

/// A number of bytes: around a whole number of pages, small, anything, and now and then much more than there is.
pub fn length(g: &mut Gen) -> usize {
    match below(g, 10) {
        0..=3 => (index_below(g, 51) << 12)
            .saturating_add(index_below(g, 5))
            .saturating_sub(2),
        4..=5 => index_below(g, 300),
        6..=8 => index_below(g, LARGEST + 1),
        _ => 1 << (18 + below(g, 20)),
    }
}
