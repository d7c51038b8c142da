//! The Redis proposals of the source document: calls on descriptors opened as Redis opens them, and real servers.
//!
//! Redis must be installed for the latter (`just setup-redis`). If Valkey is installed, both must behave the same.

mod aof;
mod r#loop;
mod rdb;
mod replica;

use crate::claims::prelude::*;
use crate::lab::redis::servers::Program;
use nocopy_sendfile::sendfile;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// Claims about the document's Redis samples, and about Redis.
pub const CLAIMS: &[&[Claim]] = &[aof::CLAIMS, rdb::CLAIMS, replica::CLAIMS, r#loop::CLAIMS];

/// A claim about real servers. `dd` is a control.
#[track_caller]
const fn about_servers(id: &'static str, statement: &'static str, calls: &'static [Sysno]) -> Claim {
    claim(id, statement).about(calls).programs(&["redis-server", "dd"])
}

/// The experiment of a claim about servers: it is made with each of them.
macro_rules! each {
    ($experiment:expr) => {
        |lab, see| $crate::claims::redis::of_each(lab, see, $experiment)
    };
}
use each;

type Experiment = fn(&Lab, &Program, &mut Observation) -> Result<(), Stop>;

/// Makes an experiment with every installed server. A fact on which they differ has the value of each, in words.
fn of_each(lab: &Lab, see: &mut Observation, experiment: Experiment) -> Result<(), Stop> {
    // The descriptors of a server, and those that watch it.
    privilege::may_have_descriptors(128)?;
    // Without a working loopback connection, the client of a server would wait for ever.
    sockets::tcp()?;
    let redis = aside(Program::redis)?;
    let valkey = aside(Program::valkey).ok();
    let mut all = Vec::new();
    for program in std::iter::once(redis).chain(valkey) {
        let mut seen = Observation::new();
        experiment(lab, &program, &mut seen)?;
        all.push((program.name, seen));
    }
    for (at, fact) in all[0].1.facts().iter().enumerate() {
        let each = || all.iter().filter_map(|(name, seen)| Some((name, seen, seen.facts().get(at)?)));
        if each().all(|(_, _, one)| one == fact) {
            see.repeat(fact);
            continue;
        }
        let values: Vec<String> = each().map(|(name, _, one)| format!("{name}: {}", one.value)).collect();
        let noted = see.text(&fact.fact, values.join(", "));
        if let Some(expected) = &fact.expected
            && !each().all(|(_, seen, one)| seen.meets(one))
        {
            noted.says(expected);
        }
    }
    Ok(())
}

/// The content of a file. The interposer sees the read.
fn content(path: &Path) -> Result<Vec<u8>, Stop> {
    let mut file = aside(|| File::open(path)).setup("open a server's file")?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).setup("read a server's file")?;
    Ok(bytes)
}

/// Sends a part of a file to a blocking socket or to a file.
fn send(sink: &impl AsFd, file: &File, part: Range<u64>) -> Result<(), Stop> {
    let mut offset = part.start;
    while offset < part.end {
        let left = usize::try_from(part.end - offset).unwrap_or(usize::MAX);
        let before = offset;
        let sent = sendfile(sink, file, Some(&mut offset), left).setup("sendfile")?;
        if sent == 0 || offset != before + sent as u64 {
            return Err(Stop::broken(format!("sendfile() returned {sent}, and moved {before} to {offset}")));
        }
    }
    Ok(())
}
