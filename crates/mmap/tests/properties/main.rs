//! A mapping on random input is read as a slice is.
//!
//! A property that only ever met easy cases shows nothing, so each counts the hard ones ([`Met`]) and fails without them.

mod check;
mod files;

use check::{Met, below, check, index_below, were_met};
use files::{Size, file, length, pattern};
use nocopy_mmap::{MapFlags, Mapping, Prot};
use quickcheck::{Arbitrary, Gen};
use std::os::unix::fs::FileExt;

/// Bytes of a page.
fn page_size() -> usize {
    // SAFETY: sysconf takes no pointer.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).expect("a page has a size")
}

#[derive(Clone, Debug)]
enum Looking {
    /// Reads into a buffer that starts this far from an aligned address.
    Read {
        offset: usize,
        length: usize,
        misaligned: usize,
    },
    /// Changes the file behind the mapping.
    Write { at: usize, length: usize, byte: u8 },
}

impl Arbitrary for Looking {
    fn arbitrary(g: &mut Gen) -> Self {
        if below(g, 4) == 0 {
            return Self::Write {
                at: length(g),
                length: length(g).min(10_000),
                byte: u8::arbitrary(g),
            };
        }
        Self::Read {
            offset: match below(g, 10) {
                0 => usize::MAX - index_below(g, 3),
                _ => length(g),
            },
            length: length(g).min(1 << 18),
            misaligned: index_below(g, 8),
        }
    }
}

#[test]
fn a_mapping_is_read_as_a_slice_is() {
    static SHORT: Met = Met::new("a read over the end");
    static BEYOND: Met = Met::new("a read beyond the end");
    static TAIL: Met = Met::new("a read of the zeros after the file");
    static CHANGED: Met = Met::new("a change behind the mapping");

    /// The mapping starts at a page of the file, and is some bytes shorter or longer than the rest of it.
    fn property(Size(size): Size, first_page: usize, cut: u16, longer: bool, looks: Vec<Looking>) {
        let page = page_size();
        let mut content = pattern(size);
        let file = file(&content);
        if size == 0 {
            let none = Mapping::of_file(0, Prot::READ, MapFlags::SHARED, &file, 0);
            assert!(none.is_err(), "an empty file has no bytes to map");
            return;
        }
        let start = first_page % size.div_ceil(page) * page;
        let rest = size - start;
        // To the end of the last page there are zeros, beyond it there is SIGBUS.
        let cut = usize::from(cut);
        let length = if longer {
            rest + cut % (rest.next_multiple_of(page) - rest + 1)
        } else {
            rest - cut % rest
        };
        content.resize(size.next_multiple_of(page), 0);
        let offset = start as u64;
        let mapping = Mapping::of_file(length, Prot::READ, MapFlags::SHARED, &file, offset)
            .expect("map a file");
        assert_eq!(mapping.len(), length);
        for look in looks {
            match look {
                Looking::Write { at, length, byte } => {
                    // Within the file: its size stays.
                    let at = at.min(size);
                    let end = (at + length).min(size);
                    let bytes = vec![byte; end - at];
                    file.write_all_at(&bytes, at as u64).expect("pwrite");
                    content[at..end].copy_from_slice(&bytes);
                    CHANGED.note_if(end > start && !bytes.is_empty());
                }
                Looking::Read {
                    offset,
                    length: room,
                    misaligned,
                } => {
                    let mapped = &content[start..start + length];
                    let expected = mapped.get(offset..).unwrap_or(&[]);
                    let expected = &expected[..expected.len().min(room)];
                    SHORT.note_if((1..room).contains(&expected.len()));
                    BEYOND.note_if(offset > length && room > 0);
                    TAIL.note_if(!expected.is_empty() && start + offset >= size);

                    let mut buffer = vec![0xee; misaligned + room + 1];
                    let into = &mut buffer[misaligned..misaligned + room];
                    assert_eq!(mapping.read_at(offset, into), Ok(expected.len()));
                    let (before, rest) = buffer.split_at(misaligned);
                    let (read, after) = rest.split_at(expected.len());
                    assert!(read == expected, "other bytes");
                    assert!(
                        before.iter().chain(after).all(|byte| *byte == 0xee),
                        "more bytes were written"
                    );
                }
            }
        }
    }
    check(
        property as fn(Size, usize, u16, bool, Vec<Looking>),
        250,
        16,
    );
    were_met([&SHORT, &BEYOND, &TAIL, &CHANGED]);
}
