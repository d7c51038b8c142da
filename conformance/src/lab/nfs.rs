//! NFS over loopback: the kernel's server and client, in a new network namespace.
//!
//! A running server keeps its namespace alive, so this is used on disposable machines only. The server would ask `mountd` about
//! clients and exports. Instead, the answers are written to the caches of sunrpc beforehand, which are files of /proc/net/rpc.

use crate::interpose::record::aside;
use crate::kernel::to_have;
use crate::lab::{mounts, netns, open};
use crate::verdict::{Lack, Setup, Stop};
use nocopy_host::kernel::is_disposable;
use nocopy_host::process;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The modules that a guest loads for it.
pub const MODULES: &[&str] = &["nfsd", "nfsv4"];

/// The exported directory, in a separate mount namespace.
const EXPORTED: &str = "/mnt";
/// `NFSEXP_INSECURE_PORT`, `NFSEXP_ASYNC`, `NFSEXP_NOSUBTREECHECK` and `NFSEXP_FSID` of include/uapi/linux/nfsd/export.h. Root is
/// not mapped to another user, and the export has a number in place of a disk's.
const EXPORT_FLAGS: u32 = 0x2 | 0x10 | 0x400 | 0x2000;
/// When an entry of a cache expires, in seconds since the epoch.
const NEVER: i32 = i32::MAX;

/// A mounted export with its server. Dropping this ends both.
#[derive(Debug)]
pub struct Nfs {
    // Fields are dropped in this order: the client must leave while the server still runs.
    client: OwnedFd,
    #[expect(dead_code, reason = "it ends the server")]
    server: Server,
}

impl Nfs {
    /// Exports a tmpfs of this size with the kernel's server, and mounts it.
    ///
    /// The calling process must have one thread. It is in new network and mount namespaces afterwards.
    pub fn mount(size: &std::ffi::CStr) -> Result<Self, Stop> {
        if !is_disposable() {
            return Err(Stop::untestable(
                Lack::Device,
                "this machine is not disposable: no server of NFS is started",
                "run it in a guest: conformance fs --kernels 6.1 --filter nfs",
            ));
        }
        let known = std::fs::read_to_string("/proc/filesystems").setup("/proc/filesystems")?;
        let is_known = |name| known.lines().any(|line| line.split('\t').next_back() == Some(name));
        if !(is_known("nfsd") && is_known("nfs4")) {
            return Err(Stop::untestable(
                Lack::Device,
                "the kernel has no NFS 4, or no server of it",
                to_have("CONFIG_NFSD_V4 and CONFIG_NFS_V4", "-a nfsd nfsv4"),
            ));
        }
        netns::alone(&[])?;
        let server = Server::start(size)?;
        let port = server.port.to_string();
        let port = std::ffi::CString::new(port).map_err(|_| Stop::broken("a port with a zero"))?;
        let options = [
            (c"source", Some(c"127.0.0.1:/")),
            (c"addr", Some(c"127.0.0.1")),
            (c"clientaddr", Some(c"127.0.0.1")),
            (c"vers", Some(c"4.2")),
            (c"proto", Some(c"tcp")),
            (c"port", Some(&*port)),
        ];
        let client = mounts::mounted(c"nfs4", &options, 0).setup("mount nfs4")?;
        Ok(Self { client, server })
    }

    /// The root directory, by a path that is valid in this process.
    pub fn directory(&self) -> PathBuf {
        Path::new("/proc/self/fd").join(self.client.as_raw_fd().to_string())
    }
}

/// The kernel's server of this network namespace.
#[derive(Debug)]
struct Server {
    /// The file system that controls the server.
    control: OwnedFd,
    #[expect(dead_code, reason = "it is held")]
    exported: OwnedFd,
    port: u16,
}

impl Server {
    fn start(size: &std::ffi::CStr) -> Result<Self, Stop> {
        let options = [(c"size", Some(size))];
        let exported = mounts::mounted(c"tmpfs", &options, 0).setup("mount a tmpfs")?;
        mounts::attach(&exported, EXPORTED).setup("attach the tmpfs")?;
        let control = mounts::mounted(c"nfsd", &[], 0).setup("mount nfsd")?;
        let listener = TcpListener::bind(("127.0.0.1", 0)).setup("bind")?;
        let port = listener.local_addr().setup("getsockname")?.port();
        let server = Self { control, exported, port };
        let export = format!("all {EXPORTED} {NEVER} {EXPORT_FLAGS} 65534 65534 0");
        for (cache, entry) in [
            ("auth.unix.ip", format!("nfsd 127.0.0.1 {NEVER} all")),
            ("nfsd.export", export),
            ("nfsd.fh", format!("all 1 \\x00000000 {NEVER} {EXPORTED}")),
        ] {
            tell(&Path::new("/proc/self/net/rpc").join(cache).join("channel"), &entry)?;
        }
        // Older versions need a portmapper. The kernel may lack these versions, so an error is ignored.
        for version in ["-2", "-3"] {
            let _ = server.control("versions", version);
        }
        server.control("versions", "+4.2").setup("nfsd/versions")?;
        server.control("portlist", &listener.as_raw_fd().to_string()).setup("nfsd/portlist")?;
        let pipes = mounts::mounted(c"rpc_pipefs", &[], 0).setup("mount rpc_pipefs")?;
        // The thread answers the server all the time: none of its calls is one that a claim is about.
        let tracker = std::thread::spawn(move || aside(|| track_clients(&pipes)));
        server.control("threads", "2").setup("nfsd/threads")?;
        if tracker.is_finished() {
            return Err(Stop::broken("the server has not asked for its clients"));
        }
        Ok(server)
    }

    fn control(&self, file: &str, words: &str) -> io::Result<()> {
        let directory = Path::new("/proc/self/fd").join(self.control.as_raw_fd().to_string());
        write_at_once(&directory.join(file), words)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.control("threads", "0");
    }
}

/// Answers every request of the server to the daemon that tracks known clients. There are no known clients, so the server waits
/// for none. Without this, the server's first 90 seconds are reserved for them. Returns when the pipe or the process ends.
fn track_clients(pipes: &OwnedFd) -> io::Result<()> {
    /// At least a `struct cld_msg_v2` of include/uapi/linux/nfsd/cld.h.
    const LONGEST: usize = 4096;
    /// The request, in the second byte: `enum cld_command`. The status follows, and the answer starts after 8 bytes.
    const GET_VERSION: u8 = 7;
    let path = Path::new("/proc/self/fd").join(pipes.as_raw_fd().to_string()).join("nfsd/cld");
    let mut options = File::options();
    options.read(true).write(true);
    // The pipe appears when the server needs an answer.
    let mut pipe = loop {
        match options.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(2));
            }
            opened => break opened?,
        }
    };
    let mut message = [0; LONGEST];
    loop {
        process::poll(&[pipe.as_raw_fd()], None)?;
        let count = pipe.read(&mut message)?;
        let Some(asked) = message.get_mut(..count).filter(|asked| asked.len() > 8) else {
            continue;
        };
        asked[2..4].fill(0);
        if asked[1] == GET_VERSION {
            asked[8] = 1;
        }
        pipe.write_all(asked)?;
    }
}

/// Writes an entry to a cache of sunrpc.
fn tell(path: &Path, entry: &str) -> Result<(), Stop> {
    let mut options = File::options();
    options.write(true);
    let mut file = open::open_present(path, &options, Lack::Kernel, "use a kernel with nfsd")?;
    file.write_all(format!("{entry}\n").as_bytes()).setup(&path.display().to_string())
}

/// These files take a command in one write.
fn write_at_once(path: &Path, words: &str) -> io::Result<()> {
    let mut file = File::options().write(true).open(path)?;
    file.write_all(format!("{words}\n").as_bytes())
}
