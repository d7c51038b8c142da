//! Pages of a file that were given away by reference: the bytes that the receiver reads if the file changes before that.
//!
//! If the page cache uses folios of several pages, a truncation clears the rest of the whole folio in place, and so does punching
//! a hole. Bytes that a call has reported as sent then arrive as zeros.

use crate::claim::source::Source;
use crate::claim::{Answer, Claim};
use crate::interpose::lie::Lie;
use crate::interpose::record::aside;
use crate::lab::alias::{LENGTH, OLD};
use crate::lab::changed::{self, AS_GIVEN, CHANGES, Carrier, Change};
use crate::lab::open;
use crate::lab::unnamed::unnamed_file;
use crate::lab::volumes::Volume;
use crate::lab::{Lab, io, nfs};
use crate::verdict::{Observation, Setup, Stop, Verdict};
use std::fs::File;
use syscalls::Sysno;

const SOCKETS: &[Carrier] = &[Carrier::Tcp, Carrier::Unix];

const LIES: &[Lie] = &[Lie::bytes(Sysno::read, OLD, 0).where_it(true), Lie::bytes(Sysno::read, 0, OLD).where_it(false)];

/// The claim that whole pages of one kind of file stay as they were.
macro_rules! whole_pages {
    ($id:literal, sendfile, $on:literal, $file:expr) => {
        whole_pages!($id, "sendfile() has given to a socket", SOCKETS, Sysno::sendfile, $on, $file)
    };
    ($id:literal, $given:literal, $carriers:expr, $call:expr, $on:literal, $file:expr) => {
        Claim {
            statement: concat!(
                "Of ", $on, ", whole pages that ", $given,
                " stay as they were when the file is truncated or the pages are punched out."
            ),
            method: "Gives away a file of four pages for each change, changes it before anybody reads, and reads. Changes inside a \
                     page are noted and decide nothing.",
            sources: &[Source::Measured],
            about: &[$call],
            lies: LIES,
            ..Claim::new(
                $id,
                |lab| each_change(lab, $carriers, $file, CHANGES.iter()),
                |seen| all_stay(seen, $carriers, changed::of_whole_pages()),
            )
        }
    };
}

/// Claims about pages that were given away by reference.
pub const CLAIMS: &[Claim] = &[
    Claim {
        statement: "What sendfile() has given to a TCP socket stays as it was when the file is truncated before the receiver reads.",
        method: "Gives away a memfd of four pages for each change, changes it before anybody reads, and reads.",
        sources: &[Source::Measured],
        about: &[Sysno::sendfile],
        lies: &[Lie::bytes(Sysno::read, 0, OLD)],
        ..Claim::of_answers(
            "sendfile.sharing.truncated-later",
            |lab| each_change(lab, &[Carrier::Tcp], of_memfd, changed::truncations()),
            &[
                ("TCP, truncated to 0", Answer::Says(AS_GIVEN)),
                ("TCP, truncated to 100", Answer::Says(AS_GIVEN)),
                ("TCP, truncated to 4096", Answer::Says(AS_GIVEN)),
                ("TCP, truncated to 4196", Answer::Says(AS_GIVEN)),
                ("TCP, truncated to 8192", Answer::Says(AS_GIVEN)),
            ],
        )
    },
    whole_pages!("sendfile.sharing.pages-memfd", sendfile, "a memfd", of_memfd),
    Claim { ..whole_pages!("sendfile.sharing.pages-tmpfs", sendfile, "a file on tmpfs", |lab| { on(lab, "tmpfs") }) },
    Claim {
        modules: &["loop", "ext4"],
        ..whole_pages!("sendfile.sharing.pages-ext4", sendfile, "a file on ext4", |lab| { on(lab, "ext4") })
    },
    Claim {
        modules: &["xfs", "loop"],
        ..whole_pages!("sendfile.sharing.pages-xfs", sendfile, "a file on xfs", |lab| { on(lab, "xfs") })
    },
    Claim {
        modules: &["btrfs", "loop"],
        ..whole_pages!("sendfile.sharing.pages-btrfs", sendfile, "a file on btrfs", |lab| { on(lab, "btrfs") })
    },
    Claim {
        modules: nfs::MODULES,
        ..whole_pages!("sendfile.sharing.pages-nfs", sendfile, "a file on NFS", |lab| on(lab, "nfs"))
    },
];

/// Makes a new file of one kind with each call.
type Files = Box<dyn Fn() -> Result<File, Stop>>;

fn of_memfd(_lab: &Lab) -> Result<Files, Stop> {
    Ok(Box::new(|| {
        let memfd = File::from(open::sealed_memfd(0)?);
        fill(&memfd)?;
        Ok(memfd)
    }))
}

fn on(lab: &Lab, kind: &str) -> Result<Files, Stop> {
    let volume = Volume::mount(lab, kind)?;
    // The closure owns the volume, which stays mounted as long as the closure lives.
    Ok(Box::new(move || new_file(&volume)))
}

/// A new file whose name has been removed.
fn new_file(volume: &Volume) -> Result<File, Stop> {
    let file = aside(|| unnamed_file(&volume.directory)).setup("create a file")?;
    fill(&file)?;
    Ok(file)
}

/// Fills the file by one write, so that the page cache may use one folio for it.
fn fill(file: &File) -> Result<(), Stop> {
    match aside(|| io::write(file, &[OLD; LENGTH])).setup("write a file")? {
        LENGTH => Ok(()),
        count => Err(Stop::broken(format!("{count} bytes were written of {LENGTH}"))),
    }
}

/// Observes these changes, with a new file for each. A change that the kernel refuses is an error, not an observation.
fn each_change(
    lab: &Lab,
    carriers: &[Carrier],
    files: fn(&Lab) -> Result<Files, Stop>,
    changes: impl Iterator<Item = &'static (&'static str, Change)>,
) -> Result<Observation, Stop> {
    let new = files(lab)?;
    let mut seen = Observation::new();
    for (name, change) in changes {
        for carrier in carriers {
            let arrived = changed::observe(&new()?, *carrier, *change)?;
            let arrived = arrived.map_err(|(call, errno)| Stop::from_setup(call, errno))?;
            seen.push(carrier.with(name), arrived);
        }
    }
    Ok(seen)
}

fn all_stay(seen: &Observation, carriers: &[Carrier], mut changes: impl Iterator<Item = &'static str>) -> Verdict {
    let stays = |change: &str| {
        let mut carriers = carriers.iter();
        carriers.all(|carrier| seen.is(&carrier.with(change), AS_GIVEN))
    };
    Verdict::holds_if(changes.all(stays))
}
