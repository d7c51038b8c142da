//! The protection of mappings.

use super::{
    DONE, EXECUTE, MAPPED, PRIVATE, READ, SHARED, SIGSEGV, SeeMapped, TYPES, WRITE, about_mmap, byte_of, load, map,
    mapped, protect, read_zero_into, store_in_child,
};
use crate::claims::prelude::*;
use crate::lab::mounts;
use crate::lab::pages::{UNHARMED, letter, lettered, store, touch};

pub const CLAIMS: &[Claim] = &[
    about_mmap(
        "mmap.protection.noexec",
        "For a file on a noexec mount (tmpfs), PROT_EXEC fails with EPERM in mmap() and with EACCES in mprotect().",
    )
    .published(&[kernel("mm/mmap.c", "do_mmap"), man("mmap(2)", "ERRORS, EPERM"), man("mprotect(2)", "ERRORS, EACCES")])
    .about(&[Sysno::mmap, Sysno::mprotect])
    .turned_by(&[
        Lie::accepted(Sysno::mmap),
        Lie::about(Sysno::mmap, What::OtherErrno(libc::EACCES)),
        Lie::accepted(Sysno::mprotect),
        Lie::about(Sysno::mprotect, What::OtherErrno(libc::EPERM)),
    ])
    .tried(|_lab, see| {
        let file = mounts::empty_file(mounts::NOEXEC)?;
        for (name, protection) in [("PROT_EXEC", EXECUTE), ("PROT_READ|PROT_EXEC", READ | EXECUTE)] {
            for (kind, flags) in TYPES {
                see.mapped(format!("mmap({name}, {kind})"), map(&file, page(), protection, flags, 0))?.fails(EPERM);
            }
        }
        for (kind, flags) in TYPES {
            let area = map(&file, page(), READ, flags, 0);
            see.mapped(format!("mmap(PROT_READ, {kind})"), area)?.says(MAPPED);
            let result = protect(area.setup("mmap")?, page(), READ | EXECUTE);
            see.call(format!("mprotect({kind} page, PROT_READ|PROT_EXEC)"), result).fails(EACCES);
        }
        Ok(())
    }),
    about_mmap(
        "mmap.protection.none",
        "A load from a PROT_NONE mapping of a file raises SIGSEGV; write() from it fails with EFAULT.",
    )
    .published(&[man("mprotect(2)", "DESCRIPTION"), man("write(2)", "ERRORS, EFAULT")])
    .turned_by(&[UNHARMED, Lie::accepted(Sysno::write)])
    .tried(|lab, see| {
        let area = map(&lettered(lab, 1)?, page(), 0, SHARED, 0);
        see.mapped("mmap(PROT_NONE)", area)?.says(MAPPED);
        let area = area.setup("mmap")?;
        see.text("load from the page", load(area)?).says(SIGSEGV);
        see.call("write(pipe, the page)", touch(area)?).fails(EFAULT);
        Ok(())
    }),
    about_mmap(
        "mmap.protection.read-only",
        "A store to a shared PROT_READ page raises SIGSEGV and read() into it fails with EFAULT: no byte changes.",
    )
    .published(&[man("mmap(2)", "ERRORS, SIGSEGV"), man("read(2)", "ERRORS, EFAULT")])
    .turned_by(&[UNHARMED, Lie::accepted(Sysno::read)])
    .tried(|lab, see| {
        let file = lettered(lab, 1)?;
        let area = map(&file, page(), READ, SHARED, 0);
        see.mapped("mmap(PROT_READ)", area)?.says(MAPPED);
        let area = area.setup("mmap")?;
        see.text("store to the page", store_in_child(area, b'x')?).says(SIGSEGV);
        see.call("read(/dev/zero, the page)", read_zero_into(area)?).fails(EFAULT);
        see.text("byte of the file", byte_of(&file, 0)?).says('a');
        Ok(())
    }),
    claim(
        "mmap.protection.read-only-file",
        "mprotect(PROT_WRITE) of a file opened for reading fails with EACCES if mapped shared, succeeds if private.",
    )
    .published(&[kernel("mm/mmap.c", "do_mmap"), man("mprotect(2)", "ERRORS, EACCES").leaves_open()])
    .about(&[Sysno::mprotect])
    .turned_by(&[
        Lie::accepted(Sysno::mprotect),
        Lie::about(Sysno::mprotect, What::OtherErrno(libc::EPERM)),
        Lie::refused(Sysno::mprotect, libc::EACCES).after(1),
    ])
    .tried(|lab, see| {
        let file = reopen(&lettered(lab, 1)?, File::options().read(true))?;
        let (shared, private) = (mapped(&file, 1, READ, SHARED)?, mapped(&file, 1, READ, PRIVATE)?);
        see.call("mprotect(shared page, PROT_WRITE)", protect(shared, page(), READ | WRITE)).fails(EACCES);
        see.text("store to the shared page", store_in_child(shared, b'x')?).says(SIGSEGV);
        see.call("mprotect(private page, PROT_WRITE)", protect(private, page(), READ | WRITE)).is(0);
        see.text("store to the private page", store_in_child(private, b'x')?).says(DONE);
        Ok(())
    }),
    about_mmap(
        "mmap.protection.write-alone",
        "On x86, a page of a file that is mapped with PROT_WRITE alone can be read, by a load and by write().",
    )
    .published(&[kernel("arch/x86/mm/pgprot.c", "protection_map"), man("mmap(2)", "VERSIONS").leaves_open()])
    .turned_by(&[
        Lie::about(Sysno::wait4, What::Output { argument: 1, value: libc::SIGSEGV }),
        Lie::bytes(Sysno::read, b'b', b'x'),
    ])
    .tried(|lab, see| {
        see.text("architecture", std::env::consts::ARCH);
        let area = map(&lettered(lab, 1)?, page(), WRITE, SHARED, 0);
        see.mapped("mmap(PROT_WRITE)", area)?.says(MAPPED);
        let area = area.setup("mmap")?;
        see.text("load before the store", load(area)?).says(DONE);
        // User-mode Linux checks its own page table in place of the processor's.
        if touch(area)? == Err(EFAULT) {
            const LACK: &str = "this kernel does not ask the processor what it may read for a call";
            return Err(Stop::untestable(Lack::Kernel, LACK, "use one that runs on the machine itself"));
        }
        see.text("byte before the store", letter(area)?).says('a');
        // SAFETY: the page belongs to this function, and lies in the file.
        unsafe { store(area, b'b') };
        see.text("load after the store", load(area)?).says(DONE);
        see.text("byte after the store", letter(area)?).says('b');
        Ok(())
    }),
];
