//! Extracts the kernel from a bzImage: under emulation, the boot-time decompressor takes up to two seconds per boot.
//!
//! QEMU boots an ELF only by its PVH note. A kernel without one, or in an unknown format, is booted unchanged.

use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, elf};
use std::io::{Cursor, Read};

/// The kernel inside a bzImage, decompressed, if QEMU can boot it.
pub fn bootable_elf(image: &[u8]) -> Option<Vec<u8>> {
    let kernel = if image.starts_with(b"\x7fELF") {
        image.to_vec()
    } else {
        decompress(payload(image)?)?
    };
    has_pvh_note(&kernel).then_some(kernel)
}

/// The compressed kernel in a bzImage: Documentation/arch/x86/boot.rst, protocol 2.08.
fn payload(image: &[u8]) -> Option<&[u8]> {
    let byte = |at: usize| image.get(at).copied();
    let number =
        |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let setup_sectors = match byte(0x1f1)? {
        0 => 4,
        sectors => usize::from(sectors),
    };
    let start = (setup_sectors + 1) * 512 + number(0x248)?;
    image.get(start..start + number(0x24c)?)
}

/// Four bytes with the kernel's size follow the stream; the decoders stop before them.
fn decompress(payload: &[u8]) -> Option<Vec<u8>> {
    let mut kernel = Vec::new();
    let stream = &payload[..payload.len().checked_sub(4)?];
    if stream.starts_with(&[0x1f, 0x8b]) {
        flate2::read::GzDecoder::new(stream)
            .read_to_end(&mut kernel)
            .ok()?;
    } else if stream.starts_with(&[0xfd, b'7', b'z', b'X', b'Z', 0]) {
        xz4rust::XzReader::new(Cursor::new(stream.to_vec()))
            .read_to_end(&mut kernel)
            .ok()?;
    } else if stream.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        ruzstd::decoding::StreamingDecoder::new(stream)
            .ok()?
            .read_to_end(&mut kernel)
            .ok()?;
    } else if stream.starts_with(&[0x02, 0x21, 0x4c, 0x18]) {
        kernel = lz4_legacy(&stream[4..])?;
    } else {
        return None;
    }
    Some(kernel)
}

/// The "legacy" frames of lz4: blocks of at most 8 MiB, each preceded by its compressed length.
fn lz4_legacy(mut stream: &[u8]) -> Option<Vec<u8>> {
    const BLOCK: usize = 8 << 20;
    let mut kernel = Vec::new();
    while let Some((length, rest)) = stream.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let block = rest.get(..length)?;
        kernel.extend(lz4_flex::block::decompress(block, BLOCK).ok()?);
        stream = &rest[length..];
    }
    Some(kernel)
}

/// Whether the ELF has an entry point for 32-bit protected mode (`XEN_ELFNOTE_PHYS32_ENTRY`).
fn has_pvh_note(kernel: &[u8]) -> bool {
    const PHYS32_ENTRY: elf::NoteType = elf::NoteType(18);
    let Ok(header) = elf::FileHeader64::<Endianness>::parse(kernel) else {
        return false;
    };
    let Ok(endian) = header.endian() else {
        return false;
    };
    let Ok(segments) = header.program_headers(endian, kernel) else {
        return false;
    };
    segments.iter().any(|segment| {
        let Ok(Some(mut notes)) = segment.notes(endian, kernel) else {
            return false;
        };
        std::iter::from_fn(|| notes.next().ok().flatten())
            .any(|note| note.name() == b"Xen" && note.n_type(endian) == PHYS32_ENTRY)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_kernel_is_none() {
        assert_eq!(bootable_elf(b""), None);
        assert_eq!(bootable_elf(b"\x7fELF and no more"), None);
        assert_eq!(bootable_elf(&[0; 4096]), None);
    }
}
