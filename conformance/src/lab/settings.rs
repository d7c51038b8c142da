//! Settings of the whole machine. They are changed on disposable machines only, and restored.

use crate::interpose::record::aside;
use crate::lab::netns::is_disposable;
use crate::lab::open;
use crate::verdict::{Lack, Setup, Stop};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// The largest size of a pipe that is made without privilege.
pub const PIPE_MAX_SIZE: &str = "/proc/sys/fs/pipe-max-size";
/// How much memory of a socket's own there can be for options and completions.
pub const OPTMEM_MAX: &str = "/proc/sys/net/core/optmem_max";
/// How many huge pages are set aside.
pub const HUGE_PAGES: &str = "/proc/sys/vm/nr_hugepages";

/// Those that experiments change.
const CHANGED: [&str; 3] = [PIPE_MAX_SIZE, OPTMEM_MAX, HUGE_PAGES];

/// The settings as they were: on drop they are so again. It stands around an experiment that is killed, or that is lied to about the write
/// with which it restores one.
#[derive(Debug)]
pub struct AsBefore(Vec<(&'static str, String)>);

impl AsBefore {
    /// Reads the settings that are there.
    pub fn now() -> Self {
        let read = |path| fs::read_to_string(path).ok().map(|value| (path, value));
        Self(if is_disposable() { CHANGED.into_iter().filter_map(read).collect() } else { Vec::new() })
    }
}

impl Drop for AsBefore {
    fn drop(&mut self) {
        for (path, value) in &self.0 {
            if fs::read_to_string(path).is_ok_and(|now| now != *value) {
                let restored = fs::write(path, value);
                assert!(restored.is_ok(), "{path} is not put back: {restored:?}");
            }
        }
    }
}

/// A changed setting, which is restored on drop.
#[derive(Debug)]
pub struct Setting {
    file: File,
    before: String,
}

impl Setting {
    /// Changes one of the settings above.
    pub fn change(path: &str, value: &str) -> Result<Self, Stop> {
        if !CHANGED.contains(&path) {
            return Err(Stop::broken(format!("{path} is not in the list of what is put back")));
        }
        if !is_disposable() {
            return Err(Stop::untestable(
                Lack::Device,
                format!("this machine is not disposable: {path} is left alone"),
                "run it in a guest: conformance vm run --kernel 6.1",
            ));
        }
        aside(|| {
            let mut options = File::options();
            options.read(true).write(true);
            let remedy = "use a kernel that has it";
            let file = open::open_present(path.as_ref(), &options, Lack::Kernel, remedy)?;
            let before = fs::read_to_string(path).setup(&format!("read {path}"))?;
            match file.write_all_at(value.as_bytes(), 0) {
                // The answer of gVisor for a read-only setting.
                Err(error) if error.raw_os_error() == Some(libc::EIO) => {
                    let what = format!("{path} cannot be changed: EIO");
                    return Err(Stop::untestable(Lack::Kernel, what, remedy));
                }
                written => written.setup(&format!("write {path}"))?,
            }
            Ok(Self { file, before })
        })
    }
}

impl Drop for Setting {
    fn drop(&mut self) {
        // A process that could change it can restore it, because the file is still open as it was. The value is written at offset
        // 0. Past offset 0 Linux 7.3 takes nothing, and earlier kernels take the value anyway (sysctl_writes_strict).
        let restored = aside(|| self.file.write_all_at(self.before.as_bytes(), 0));
        assert!(restored.is_ok() || std::thread::panicking(), "a setting is not put back: {restored:?}");
    }
}
