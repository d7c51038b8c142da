//! Block devices over files: loop devices.

use crate::interpose::record::aside;
use crate::kernel::to_have;
use crate::lab::open;
use crate::lab::sockets::last_errno;
use crate::verdict::{Lack, Stop};
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use syscalls::Errno;

/// A loop device over a file, and its path. The kernel removes the device after its last user.
pub fn device_over(file: &File) -> Result<(File, CString), Stop> {
    aside(|| device(file))
}

fn device(file: &File) -> Result<(File, CString), Stop> {
    /// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` of include/uapi/linux/loop.h, and `LO_FLAGS_AUTOCLEAR`.
    const GET_FREE: libc::Ioctl = 0x4c82;
    const CONFIGURE: libc::Ioctl = 0x4c0a;
    const AUTOCLEAR: u32 = 4;
    let mut options = File::options();
    options.read(true).write(true);
    let remedy = to_have("CONFIG_BLK_DEV_LOOP", "loop");
    let open = |path: &str| open::open_present(path.as_ref(), &options, Lack::Device, &remedy);
    let control = open("/dev/loop-control")?;
    loop {
        // SAFETY: the command takes no argument.
        let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
        if number == -1 {
            return Err(Stop::from_setup("LOOP_CTL_GET_FREE", last_errno()));
        }
        let path = format!("/dev/loop{number}");
        let device = open(&path)?;
        // struct loop_config: the descriptor, the size of a block, struct loop_info64 with its flags at byte 60, and a reserve.
        let mut settings = [0_u32; 76];
        settings[0] = file.as_raw_fd().cast_unsigned();
        settings[15] = AUTOCLEAR;
        // SAFETY: the command reads one loop_config, of 304 bytes.
        if unsafe { libc::ioctl(device.as_raw_fd(), CONFIGURE, settings.as_ptr()) } == 0 {
            let path = CString::new(path).map_err(|_| Stop::broken("a path with a zero"))?;
            return Ok((device, path));
        }
        match last_errno() {
            // Another process has taken the device since.
            Errno::EBUSY => {}
            errno => return Err(Stop::from_setup("LOOP_CONFIGURE", errno)),
        }
    }
}
