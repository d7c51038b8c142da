//! A machine that runs: its process, its console, and its channel.

use crate::cache::Cache;
use crate::disks;
use crate::error::{Context, Error};
use crate::frames::{self, Kind};
use crate::machine::command::{self, Ends, QEMU};
use crate::machine::description::Machine;
use crate::machine::home::{Home, Watcher};
use crate::talk::{Console, Talk};
use nocopy_host::process;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The two ways by which a guest can talk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The second serial port: the guest cannot hear.
    Serial,
    /// The virtio port.
    Virtio,
}

/// A running QEMU or User-mode Linux.
pub struct Started {
    child: Child,
    /// Whether it has our terminal, and is in our process group.
    interactive: bool,
    /// Ends it if we cannot. It is dropped after QEMU has ended.
    _watcher: Option<Watcher>,
    console_pipe: Pipe<File>,
    /// The console, as far as it was kept.
    pub console: Console,
    /// Another place for the console.
    copy: Option<File>,
    serial: Pipe<File>,
    port: Pipe<UnixStream>,
    /// Bytes that the port has not taken yet.
    unsent: VecDeque<u8>,
    /// By which of the two the guest talks, after its first bytes.
    pub channel: Option<Channel>,
    /// What the guest has said.
    pub talk: Talk,
    /// Whether its channel is not read for now: what it has said before has not been taken.
    pub is_held: bool,
}

struct Pipe<F> {
    file: Option<F>,
    bytes: Vec<u8>,
}

impl<F: Read> Pipe<F> {
    fn new(file: F) -> Self {
        Self {
            file: Some(file),
            bytes: Vec::new(),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) {
        let Some(file) = &mut self.file else { return };
        match file.read(buffer) {
            Ok(count) if count > 0 => self.bytes.extend_from_slice(&buffer[..count]),
            Err(error) if is_passing(&error) => {}
            _ => self.file = None,
        }
    }
}

/// Whether the next try may succeed.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
    )
}

/// The result of a wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Whether the machine said anything or closed a pipe.
    pub machine: bool,
    /// Which of the others can be read.
    pub others: Vec<bool>,
}

impl Started {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// The emulator is not installed, or a disk cannot be made.
    pub fn new(machine: &Machine<'_>, archive: &File) -> Result<Self, Error> {
        let cache = Cache::open();
        let disks = machine
            .disks()
            .iter()
            .map(|name| Ok((name.clone(), disks::image(&cache, name)?)));
        let disks = disks.collect::<Result<Vec<_>, Error>>()?;
        let (console, console_end) = pipe()?;
        let (serial, serial_end) = pipe()?;
        let (port, port_end) = UnixStream::pair().context("make a pair of sockets")?;
        port.set_nonblocking(true).context("fcntl")?;
        let path = |fd: &dyn AsRawFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let ends = Ends {
            archive: path(archive),
            console: path(&console_end),
            serial: path(&serial_end),
            port: port_end.as_raw_fd().to_string(),
        };
        let copy = machine.console.as_ref().map(|path| {
            let others = std::iter::once(&machine.image.boot)
                .chain(machine.files.iter().map(|(_, from)| from));
            console_file(path, others)
        });
        let copy = copy.transpose()?;
        // User-mode Linux needs a directory for its sockets. The watcher, which outlives us, removes it.
        let home = Home::new(machine.image.user_mode)?;
        let mut qemu = if let Some(home) = &home.0 {
            let numbers = [&console_end, &serial_end].map(AsRawFd::as_raw_fd);
            command::user_mode(machine, &ends, numbers, home)
        } else {
            command::qemu(machine, &ends, &disks)
        };
        let inherited = [
            archive.as_raw_fd(),
            console_end.as_raw_fd(),
            serial_end.as_raw_fd(),
            port_end.as_raw_fd(),
        ];
        if !machine.job.interactive {
            qemu.stdin(Stdio::null()).stdout(Stdio::null());
        }
        qemu.stderr(console_end.try_clone().context("dup")?);
        // SAFETY: prctl, fcntl and setpgid take no pointers: safe after fork. A separate group, so that Ctrl-C ends the guest only
        // through the end of its parent.
        unsafe {
            let interactive = machine.job.interactive;
            qemu.pre_exec(move || {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                if !interactive {
                    libc::setpgid(0, 0);
                }
                for fd in &inherited {
                    libc::fcntl(*fd, libc::F_SETFD, 0);
                }
                Ok(())
            });
        }
        let mut child = qemu.spawn().map_err(|error| missing(&error))?;
        let watcher = home.hand_over(child.id()).inspect_err(|_| {
            let _ = child.kill();
        })?;
        Ok(Self {
            child,
            _watcher: watcher,
            interactive: machine.job.interactive,
            console_pipe: Pipe::new(console.into()),
            console: Console::default(),
            copy,
            serial: Pipe::new(serial.into()),
            port: Pipe::new(port),
            unsent: VecDeque::new(),
            channel: None,
            talk: Talk::new(machine.job.session),
            is_held: false,
        })
    }

    /// Queues a record for the guest. [`wait`](Self::wait) sends it.
    pub fn send(&mut self, kind: Kind, payload: &[u8]) {
        frames::write(&mut self.unsent, kind, payload).expect("a queue takes all");
    }

    /// Waits until the machine says something or one of the others can be read, and takes what the machine says.
    ///
    /// # Errors
    ///
    /// The one of `poll`, or of the copy of the console.
    pub fn wait(&mut self, limit: Duration, others: &[BorrowedFd<'_>]) -> Result<Ready, Error> {
        let mut buffer = vec![0; 64 << 10];
        let console = self.console_pipe.file.as_ref();
        let serial = self.serial.file.as_ref();
        let port = self.port.file.as_ref();
        let to_send = !self.unsent.is_empty() && self.channel == Some(Channel::Virtio);
        let mut fds = Vec::new();
        let mut at = [None; 3];
        for (index, file) in [console, serial].into_iter().enumerate() {
            if let Some(file) = file {
                at[index] = Some(fds.len());
                fds.push(PollFd::new(file, PollFlags::IN));
            }
        }
        if let Some(port) = port {
            at[2] = Some(fds.len());
            let out = if to_send {
                PollFlags::OUT
            } else {
                PollFlags::empty()
            };
            let read = if self.is_held {
                PollFlags::empty()
            } else {
                PollFlags::IN
            };
            fds.push(PollFd::new(port, read | out));
        }
        let first_other = fds.len();
        fds.extend(others.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
        let limit = Timespec::try_from(limit).expect("some seconds");
        match poll(&mut fds, Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(io::Error::from(error)).context("poll"),
        }
        let events = |at: Option<usize>| at.map_or(PollFlags::empty(), |at| fds[at].revents());
        let [console, serial, port] = at.map(events);
        let ready = Ready {
            machine: [console, serial, port]
                .iter()
                .any(|events| !events.is_empty()),
            others: fds[first_other..]
                .iter()
                .map(|fd| !fd.revents().is_empty())
                .collect(),
        };
        let to_read = |events: PollFlags| !(events - PollFlags::OUT).is_empty();
        if to_read(console) {
            self.console_pipe.read(&mut buffer);
            let bytes = std::mem::take(&mut self.console_pipe.bytes);
            if let Some(copy) = &mut self.copy {
                copy.write_all(&bytes).context("write the console's file")?;
            }
            self.console.hear(&bytes);
        }
        if to_read(serial) {
            self.serial.read(&mut buffer);
        }
        if to_read(port) {
            self.port.read(&mut buffer);
        }
        if port.contains(PollFlags::OUT)
            && let Some(file) = &mut self.port.file
        {
            match file.write(self.unsent.as_slices().0) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(error) if is_passing(&error) => {}
                Err(_) => self.unsent.clear(), // its end is noticed elsewhere
            }
        }
        Ok(ready)
    }

    /// Parses what has come. `output` gets what is not for [`Talk`].
    ///
    /// # Errors
    ///
    /// A clause about a record that a working guest does not send.
    pub fn hear(&mut self, output: impl FnMut(Kind, &[u8])) -> Result<(), String> {
        if self.channel.is_none() {
            self.channel = if !self.port.bytes.is_empty() {
                Some(Channel::Virtio)
            } else if !self.serial.bytes.is_empty() {
                Some(Channel::Serial)
            } else {
                None
            };
        }
        let [serial, port] = [
            std::mem::take(&mut self.serial.bytes),
            std::mem::take(&mut self.port.bytes),
        ];
        match self.channel {
            Some(Channel::Virtio) => self.talk.hear(&port, output),
            Some(Channel::Serial) => self.talk.hear(&serial, output),
            None => Ok(()),
        }
    }

    /// The status of its process, if that has ended.
    ///
    /// # Errors
    ///
    /// The one of `waitpid`.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.child.try_wait().context("wait for QEMU")
    }

    /// Whether it has closed its pipes.
    pub fn is_silent(&self) -> bool {
        self.console_pipe.file.is_none() && self.serial.file.is_none()
    }

    /// Ends it, and makes an error of this text, the kernel's message about a bug, and the end of the console.
    pub fn failed(&mut self, what: &str) -> Error {
        // Reads a limited number of times: a guest may flood its console without end.
        self.kill();
        for _ in 0..64 {
            if !self
                .wait(Duration::ZERO, &[])
                .is_ok_and(|ready| ready.machine)
            {
                break;
            }
        }
        let said = self
            .console
            .complaint()
            .map(|line| format!("; the kernel said: {line}"))
            .unwrap_or_default();
        Error::guest(format!("{what}{said}; {}", self.console.tail()))
    }

    /// Ends it, if it has not ended. User-mode Linux has several processes: its whole group is killed, which it leads unless it is
    /// interactive.
    pub fn kill(&mut self) {
        if !self.interactive
            && matches!(self.child.try_wait(), Ok(None))
            && let Ok(group) = libc::pid_t::try_from(self.child.id())
        {
            process::kill(-group);
        }
        let _ = self.child.kill();
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
        // A killed process is not gone at once. The others of the group are not our children, but they hold the pipes until they
        // end.
        let given_up = Instant::now() + Duration::from_secs(10);
        while !self.interactive && !self.is_silent() && Instant::now() < given_up {
            if self.wait(Duration::from_millis(100), &[]).is_err() {
                break;
            }
        }
    }
}

/// A file for the console. It is emptied, unless it is one of those that the guest needs.
fn console_file<'others>(
    path: &Path,
    mut others: impl Iterator<Item = &'others PathBuf>,
) -> Result<File, Error> {
    let mut options = File::options();
    // Opening a pipe would wait for its reader.
    options
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_NONBLOCK);
    let file = options.open(path).at(path)?;
    let own = file.metadata().at(path)?;
    if !own.is_file() {
        return Err(Error::host(format!(
            "{}: the console needs a regular file",
            path.display()
        )));
    }
    let is_own = |other: &PathBuf| {
        let other = other.metadata();
        other.is_ok_and(|other| (other.dev(), other.ino()) == (own.dev(), own.ino()))
    };
    if others.any(is_own) {
        return Err(Error::host(format!(
            "{}: the guest reads this file: name another for the console",
            path.display()
        )));
    }
    file.set_len(0).at(path)?;
    Ok(file)
}

fn missing(error: &io::Error) -> Error {
    if error.kind() == io::ErrorKind::NotFound {
        Error::host(format!(
            "{QEMU} is not installed: run `just setup` (Debian: apt-get install qemu-system-x86)"
        ))
    } else {
        Error::host(format!("cannot start {QEMU}: {error}"))
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let (reader, writer) = io::pipe().context("make a pipe")?;
    Ok((reader.into(), writer.into()))
}
