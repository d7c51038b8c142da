//! Servers of other authors, which run as long as the benchmark.

use crate::lab::sockets;
use crate::lab::waiting::wait_until;
use crate::verdict::{Lack, Setup, Stop};
use nocopy_host::process;
use std::ffi::c_int;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Where a server is asked: a listener, whose congestion control its connections inherit.
pub(super) struct Entry {
    listener: TcpListener,
    /// Its port.
    pub(super) port: u16,
}

impl Entry {
    pub(super) fn new(congestion: &str) -> Result<Self, Stop> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).setup("listen")?;
        let (level, option) = (libc::IPPROTO_TCP, libc::TCP_CONGESTION);
        let set = sockets::set_bytes(&listener, level, option, congestion.as_bytes());
        set.setup("TCP_CONGESTION")?;
        let port = listener.local_addr().setup("getsockname")?.port();
        Ok(Self { listener, port })
    }

    /// The listener of what this program serves.
    pub(super) fn into_listener(self) -> TcpListener {
        self.listener
    }

    /// Starts a server that inherits the listener, whose number `command` gets.
    pub(super) fn serve(
        self,
        directory: PathBuf,
        command: impl FnOnce(c_int) -> Result<Command, Stop>,
    ) -> Result<Server, Stop> {
        // SAFETY: a duplicate that the server inherits across exec; ours is closed below.
        let inherited = unsafe { libc::dup(self.listener.as_raw_fd()) };
        let mut command = command(inherited)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: these calls take no lock and no memory.
        unsafe {
            command.pre_exec(|| {
                // On SIGTERM it ends its worker as well.
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM);
                process::pin(0);
                Ok(())
            });
        }
        let child = command.spawn();
        // SAFETY: made above, and nothing else uses it.
        unsafe { libc::close(inherited) };
        let child = child.setup("start a server")?;
        Ok(Server { child, directory })
    }
}

/// A directory for a server's files.
pub(super) fn directory_of(name: &str, port: u16) -> Result<PathBuf, Stop> {
    let directory = std::env::temp_dir().join(format!("nocopy-{name}-{port}"));
    fs::create_dir(&directory).setup("make a directory")?;
    Ok(directory)
}

/// A running server.
pub(super) struct Server {
    child: Child,
    directory: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        // The signal ends its worker as well. A server that has already ended is not waited for.
        process::terminate(&self.child);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Server {
    pub(super) fn pid(&self) -> libc::pid_t {
        self.child.id().cast_signed()
    }

    /// The worker process, which sends the file, once it exists.
    pub(super) fn worker(&mut self) -> Result<libc::pid_t, Stop> {
        let master = self.child.id();
        let path = format!("/proc/{master}/task/{master}/children");
        let mut worker = None;
        wait_until(|| {
            let ended = self.child.try_wait().setup("wait for nginx")?;
            if let Some(status) = ended {
                let log = fs::read_to_string(self.directory.join("log")).unwrap_or_default();
                let what = format!("nginx has ended: {status}: {log}");
                return Err(Stop::untestable(Lack::Kernel, what, "leave out --peers"));
            }
            let text = fs::read_to_string(&path).setup("nginx's worker")?;
            worker = text.split_ascii_whitespace().next().and_then(|word| word.parse().ok());
            Ok(worker.is_some())
        })?;
        worker.ok_or_else(|| Stop::broken("nginx has no worker"))
    }
}

/// The CPU time that the first thread of a process has used, in nanoseconds.
pub(super) fn cpu_of(pid: libc::pid_t) -> Result<u64, Stop> {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).setup("a server's CPU time")?;
    let first = text.split(' ').next().and_then(|word| word.parse().ok());
    first.ok_or_else(|| Stop::broken("a server has no CPU time"))
}
