//! The directory of User-mode Linux, and the process that removes it.

use crate::error::{Context, Error};
use nocopy_host::process;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The hidden command of a process that outlives this one, and ends a process group.
pub const END_GROUP: &str = "__end-group";

/// The main function of the hidden command. It waits for the end of the process that started it, ends the group if that process did
/// not end in order, and removes the group's directory.
pub fn end_group() {
    let mut arguments = std::env::args_os().skip(2);
    let group = arguments
        .next()
        .and_then(|text| text.to_str()?.parse::<libc::pid_t>().ok());
    let in_order = std::io::stdin().read(&mut [0]).is_ok_and(|count| count > 0);
    if let (Some(group @ 2..), false) = (group, in_order) {
        process::kill(-group);
    }
    let home = arguments.next().map(PathBuf::from);
    if let Some(home) = home.filter(|home| Home::is_one(home)) {
        // The group may still exist, and write there.
        for _ in 0..100 {
            if std::fs::remove_dir_all(&home).is_ok() || !home.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The directory of User-mode Linux, if one is needed. It is removed with this value, unless it is handed over.
pub struct Home(pub Option<PathBuf>);

impl Home {
    const PREFIX: &str = "nocopy-uml-";

    /// Makes one, if one is wanted.
    pub fn new(wanted: bool) -> Result<Self, Error> {
        if !wanted {
            return Ok(Self(None));
        }
        let made = tempfile::Builder::new().prefix(Self::PREFIX).tempdir();
        let made = made.context("make a temporary directory")?;
        Ok(Self(Some(made.keep())))
    }

    fn is_one(path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(Self::PREFIX)) && !path.is_symlink()
    }

    /// Hands it over to a watcher of this group.
    pub fn hand_over(mut self, group: u32) -> Result<Option<Watcher>, Error> {
        let Some(home) = &self.0 else {
            return Ok(None);
        };
        let watcher = Watcher::start(group, home)?;
        self.0 = None;
        Ok(Some(watcher))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(home) = &self.0 {
            let _ = std::fs::remove_dir_all(home);
        }
    }
}

/// Ends the group of User-mode Linux if this process ends first. Its first process dies with us, but its children do not.
pub struct Watcher(Child);

impl Watcher {
    fn start(group: u32, home: &Path) -> Result<Self, Error> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(END_GROUP).arg(group.to_string()).arg(home);
        command.stdin(Stdio::piped()).process_group(0);
        command.spawn().context("start a watcher").map(Self)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"."); // ended in order
        }
        let _ = self.0.wait();
    }
}
