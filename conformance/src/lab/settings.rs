//! Settings of the whole machine. They are changed on disposable machines only, and restored.

use crate::interpose::record::aside;
use crate::lab::netns::is_disposable;
use crate::lab::open;
use crate::verdict::{Lack, Setup, Stop};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A changed setting, which is restored on drop.
#[derive(Debug)]
pub struct Setting {
    file: File,
    before: String,
}

impl Setting {
    /// Changes a file of `/proc/sys`.
    pub fn change(path: &str, value: &str) -> Result<Self, Stop> {
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
