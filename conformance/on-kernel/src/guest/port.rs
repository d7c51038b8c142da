//! The guest's end of the channel: a virtio port where the kernel has one, and the second serial port otherwise.

use crate::frames::{self, End, Kind};
use crate::job::PORT;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The channel. Threads may send at the same time.
pub struct Port {
    file: File,
    /// The number of records sent, until the end marker.
    sent: Mutex<Option<u64>>,
    is_virtio: bool,
}

impl Port {
    /// Opens the channel.
    ///
    /// # Errors
    ///
    /// Neither of the two can be opened.
    pub fn open() -> io::Result<Self> {
        let virtio = virtio_port();
        let is_virtio = virtio.is_some();
        let path = virtio.unwrap_or_else(|| PathBuf::from("/dev/ttyS1"));
        let file = File::options().read(true).write(true).open(path)?;
        if !is_virtio {
            // SAFETY: termios is plain integers, for which zero is valid; the calls read and write this one.
            unsafe {
                let mut modes: libc::termios = std::mem::zeroed();
                libc::tcgetattr(file.as_raw_fd(), &raw mut modes);
                libc::cfmakeraw(&raw mut modes);
                libc::tcsetattr(file.as_raw_fd(), libc::TCSANOW, &raw const modes);
            }
        }
        Ok(Self {
            file,
            sent: Mutex::new(Some(0)),
            is_virtio,
        })
    }

    /// Another descriptor to read from, if the host can send anything.
    pub fn reader(&self) -> io::Result<Option<File>> {
        self.is_virtio.then(|| self.file.try_clone()).transpose()
    }

    /// Sends one record.
    pub fn send(&self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = sent.as_mut() else {
            return Err(io::ErrorKind::BrokenPipe.into()); // nothing may follow the end marker
        };
        frames::write(&mut &self.file, kind, payload)?;
        *count += 1;
        Ok(())
    }

    /// Sends the end marker, with the number of records before it.
    pub fn finish(&self, mut end: End) -> io::Result<()> {
        let mut sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
        end.records = sent.take().unwrap_or(0);
        let end = serde_json::to_vec(&end)?;
        frames::write(&mut &self.file, Kind::End, &end)?;
        if !self.is_virtio {
            // SAFETY: tcdrain takes no pointer: it waits until the port has sent everything.
            unsafe { libc::tcdrain(self.file.as_raw_fd()) };
        }
        Ok(())
    }
}

/// The device of the port with our name. The driver learns the name from the host a moment after it finds the device.
fn virtio_port() -> Option<PathBuf> {
    const LIMIT: Duration = Duration::from_secs(5);
    let driver = Path::new("/sys/bus/virtio/drivers/virtio_console");
    let begun = Instant::now();
    loop {
        let ports = std::fs::read_dir("/sys/class/virtio-ports").into_iter();
        let named = ports.flatten().flatten().find(|port| {
            let name = std::fs::read_to_string(port.path().join("name"));
            name.is_ok_and(|name| name.trim() == PORT)
        });
        if let Some(port) = named {
            return Some(Path::new("/dev").join(port.file_name()));
        }
        // Without the driver, or without a device that is bound to it, no port comes.
        let is_bound = std::fs::read_dir(driver)
            .is_ok_and(|mut entries| entries.any(|entry| is_device(&entry)));
        if !is_bound || begun.elapsed() > LIMIT {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn is_device(entry: &io::Result<std::fs::DirEntry>) -> bool {
    let name = entry.as_ref().map(std::fs::DirEntry::file_name);
    name.is_ok_and(|name| name.to_string_lossy().starts_with("virtio"))
}
