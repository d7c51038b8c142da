//! What a client and its keeper say to each other, and how they meet.

#![forbid(unsafe_code)]

use crate::error::{Context, Error};
use crate::job::Start;
use crate::plan::Plan;
use nocopy_host::{local, process};
use serde::{Deserialize, Serialize};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::path::PathBuf;

/// The hidden command of a keeper.
pub const KEEP: &str = "__keep";

/// What a keeper is told at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The machine.
    pub plan: Plan,
    /// The process with which the guest ends.
    pub owner: i32,
    /// When that was started: its number may become another's.
    pub since: u64,
    /// The name of the socket.
    pub name: String,
}

/// What a client asks of its keeper.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// The command.
    pub start: Start,
    /// Its files: paths in the guest, and paths here.
    pub files: Vec<(String, PathBuf)>,
}

/// When a process was started, in clock ticks after boot.
pub fn start_time(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let time = fields.split_whitespace().nth(19);
    time.and_then(|time| time.parse().ok()).unwrap_or(0)
}

/// The address of a socket by its name.
pub fn address(name: &str) -> Result<SocketAddr, Error> {
    SocketAddr::from_abstract_name(name).context("name a socket")
}

/// Checks that the other side belongs to the same user: any user can take the name of such a socket.
pub fn is_ours(socket: &UnixStream) -> Result<(), Error> {
    let peer = local::peer_user(socket).context("ask who is there")?;
    if peer == process::effective_user() {
        Ok(())
    } else {
        Err(Error::host("another user has the socket of this guest"))
    }
}
