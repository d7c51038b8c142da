//! What `read` fetches from a disk. Whether that is DMA is not seen.

use crate::claims::prelude::*;
use crate::lab::filesystems::file_on;
use crate::lab::map_file;
use crate::lab::open::set_status_flags;
use crate::lab::pages::resident;
use crate::lab::usage::Io;

pub const CLAIMS: &[Claim] = &[
    claim("rw.dma.disk", "read() of a file that is in the page cache fetches nothing from the disk.")
        .published(&[MEASURED, seed("2.2").leaves_open()])
        .about(&[Sysno::read])
        .except(&[Exception::Controls("the account of disk reads is the kernel's own, and it counts the first read")])
        .method(METHOD)
        .tried(|lab, see| {
            let file = uncached(lab, see)?;
            first(see, &file)?;
            let (fetched, bytes) = reading(|| read(&file))?;
            see.count("disk bytes of the second read()", fetched).is(0);
            note(see, "second", &bytes);
            Ok(())
        }),
    claim("rw.dma.disk-uncached", "read() of a file that is not in the page cache fetches its data from the disk.")
        .published(&[seed("2.2")])
        .about(&[Sysno::read])
        .turned_by(&[Lie::skipped(Sysno::read)])
        .method(METHOD)
        .tried(|lab, see| {
            let file = uncached(lab, see)?;
            first(see, &file)
        }),
];

const METHOD: &str = "Writes a file past the page cache (O_DIRECT), reads it, and asks read_bytes of /proc/self/io. \
                      A read past the page cache shows that the account counts.";

/// The bytes that `work` fetches from a disk, by the kernel's account, and its result.
fn reading<T>(work: impl FnOnce() -> Result<T, Stop>) -> Result<(u64, T), Stop> {
    let before = Io::now()?;
    let done = work()?;
    Ok((Io::now()?.since(before).read_bytes, done))
}

/// The bytes of a file, from the beginning.
fn read(file: &File) -> Result<Vec<u8>, Stop> {
    aside(|| io::seek(file, 0)).setup("lseek")?;
    let mut bytes = vec![0; alias::LENGTH];
    let count = io::read_full(file, &mut bytes).setup("read the file")?;
    bytes.truncate(count);
    Ok(bytes)
}

fn note(see: &mut Observation, which: &str, bytes: &[u8]) {
    let word = if *bytes == [alias::OLD; alias::LENGTH] { "as written" } else { "others" };
    see.text(format!("bytes of the {which} read()"), word).says("as written");
}

fn first(see: &mut Observation, file: &File) -> Result<(), Stop> {
    let (fetched, bytes) = reading(|| read(file))?;
    see.count("disk bytes of the first read()", fetched).at_least(alias::LENGTH);
    note(see, "first", &bytes);
    Ok(())
}

/// A file on a disk that is not in the page cache. Dropping cached pages would not be enough: that is advice.
fn uncached(lab: &Lab, see: &mut Observation) -> Result<File, Stop> {
    let (file, name) = file_on(lab, &["ext4", "xfs", "btrfs", "f2fs", "vfat", "exfat", "overlay"])?;
    let not_a_disk = |what: &str| {
        let remedy = "name a directory on a local disk with --scratch DIR";
        Stop::untestable(Lack::Device, format!("{what} on {name}"), remedy)
    };
    if set_status_flags(&file, libc::O_DIRECT).is_err() {
        return Err(not_a_disk("O_DIRECT is refused"));
    }
    let mut aligned = alias::memory(alias::LENGTH)?;
    aside(|| io::pwrite_all(&file, &aligned, 0)).setup("write past the page cache")?;
    let (fetched, _) = reading(|| aside(|| io::pread_full(&file, &mut aligned, 0)).setup("read past the page cache"))?;
    if fetched < alias::LENGTH as u64 {
        return Err(not_a_disk("reads past the page cache are not disk reads"));
    }
    set_status_flags(&file, 0)?;
    aside(|| file.sync_all()).setup("fsync")?;
    // Some file systems write by way of the page cache nevertheless.
    let mapping = map_file(&file, alias::LENGTH).setup("mmap")?;
    let address = mapping.as_ptr().expose_provenance();
    if aside(|| resident(address, alias::LENGTH.div_ceil(page())))? > 0 {
        return Err(not_a_disk("what was written past the page cache is in it"));
    }
    see.text("file system", name);
    Ok(file)
}
