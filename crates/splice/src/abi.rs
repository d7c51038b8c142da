//! Constants of the kernel's interface that `libc` lacks.

#![forbid(unsafe_code)]

use libc::c_int;

/// `include/uapi/linux/watch_queue.h`
pub(crate) const O_NOTIFICATION_PIPE: c_int = libc::O_EXCL;
