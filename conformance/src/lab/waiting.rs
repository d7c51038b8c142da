//! Waiting without a clock.

use crate::verdict::Stop;

/// Waits until `ready` says so. The process's time limits end a wait that never does.
pub fn wait_until(mut ready: impl FnMut() -> Result<bool, Stop>) -> Result<(), Stop> {
    while !ready()? {
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    Ok(())
}
