//! The records in `fixtures`, as they were when the program was built. The build script lists them.

#![forbid(unsafe_code)]

use nocopy_host::kernel::Series;

include!(concat!(env!("OUT_DIR"), "/records.rs"));
