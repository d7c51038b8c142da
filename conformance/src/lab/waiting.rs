//! Waiting without a clock.

use crate::verdict::Stop;

/// Waits until `ready` returns true. The time limits of the process end a wait that never ends.
pub fn wait_until(mut ready: impl FnMut() -> Result<bool, Stop>) -> Result<(), Stop> {
    while !ready()? {
        std::thread::sleep(std::time::Duration::from_micros(100));
    }
    Ok(())
}
