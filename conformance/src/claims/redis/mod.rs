//! The Redis proposals of the source document: calls on descriptors opened as Redis opens them, and real servers.
//!
//! Redis must be installed for the latter (`just setup-redis`). If Valkey is installed, both must behave the same.

pub(super) mod aof;
pub(super) mod r#loop;
pub(super) mod rdb;
pub(super) mod replica;

use crate::claims::prelude::*;
use crate::lab::redis::servers::{Program, Running};
use nocopy_sendfile::sendfile;
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// A claim about real servers. `dd` is a control.
#[track_caller]
const fn about_servers(id: &'static str, statement: &'static str, calls: &'static [Sysno]) -> Claim {
    claim(id, statement).about(calls).programs(&["redis-server", "dd"])
}

/// The experiment of a claim about servers: it is made with each of them.
macro_rules! each {
    ($experiment:expr) => {
        |lab, see| crate::lab::redis::roles::each(lab, see, $experiment)
    };
}
use each;

/// A sentence about Redis 7 is not about another version.
fn is_redis_7(program: &Program, server: &mut Running) -> Result<(), Stop> {
    let version = aside(|| server.info("server", "redis_version"))?;
    if program.name == "Redis" && !version.starts_with("7.") {
        return Err(Stop::untestable(Lack::Device, format!("Redis {version}"), "install Redis 7 (Debian 12 has it)"));
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
