//! gVisor: a program, `runsc`, that implements Linux's system calls in a sandbox that it makes.
//!
//! There is no kernel to boot and no port. This program is process 1 of a container whose files are a temporary directory. Its
//! output comes through pipes, and its exit status is that of the container. The network is a loopback interface of the sandbox. The
//! platform is the default of `runsc`: ptrace in Debian 12.

use crate::error::{Context, Error};
use crate::frames::Kind;
use crate::talk::plain;
use nocopy_host::kernel::{DISPOSABLE, SANDBOX_VERSION};
use nocopy_host::process;
use serde_json::json;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The program, from Debian's package of the same name.
const RUNSC: &str = "runsc";
/// The command of the probe. A sandbox that works runs it with exit status 0.
const PROBE: [&str; 2] = ["/init", "--version"];
/// The time limit of the probe.
const PROBE_LIMIT: Duration = Duration::from_mins(1);

/// A command to run in a sandbox.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// The command; `/init` is this program.
    pub command: Vec<String>,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// Files for `/files`, by name.
    pub files: Vec<(String, PathBuf)>,
    /// The user that runs the command; root of the sandbox, if none.
    pub uid: Option<u32>,
    /// The time limit of the sandbox.
    pub limit: Duration,
}

/// A run that ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The command's exit status, 128 + n for signal n.
    pub status: i32,
    /// From the start to the end.
    pub total: Duration,
}

/// The version of `runsc`, as it prints it.
///
/// # Errors
///
/// [`Error::NotRun`], if it is not installed.
pub fn version() -> Result<String, Error> {
    let output = Command::new(RUNSC)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_there(&error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("runsc version "));
    version.map(plain).ok_or_else(|| {
        Error::NotRun(format!(
            "`{RUNSC} --version` does not say its version: {}",
            text.lines().next().map(plain).unwrap_or_default()
        ))
    })
}

fn not_there(error: &std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::NotFound {
        Error::NotRun(format!(
            "{RUNSC} is not installed: run `just setup-foreign` (Debian: apt-get install runsc)"
        ))
    } else {
        Error::NotRun(format!("cannot start {RUNSC}: {error}"))
    }
}

impl Sandbox {
    /// Runs the command to its end. `output` gets its output as it arrives.
    ///
    /// # Errors
    ///
    /// [`Error::NotRun`] if no sandbox can be made, which a probe finds out by making one; [`Error::Guest`] if the command does not
    /// end within the limit.
    pub fn run(&self, output: impl FnMut(Kind, &[u8])) -> Result<Ended, Error> {
        let version = version()?;
        let mut said = Vec::new();
        let probe = Self {
            command: PROBE.map(str::to_owned).to_vec(),
            environment: vec![],
            files: vec![],
            uid: None,
            limit: PROBE_LIMIT,
        };
        let refused = match probe.run_once(&version, |_, bytes| said.extend_from_slice(bytes)) {
            Ok(Ended { status: 0, .. }) => None,
            Ok(ended) => Some(format!("exit status {}", ended.status)),
            Err(Error::Guest(what)) => Some(what),
            Err(error) => return Err(error),
        };
        if let Some(what) = refused {
            let said = String::from_utf8_lossy(&said).into_owned();
            let last = said.lines().rev().find(|line| !line.trim().is_empty());
            let last = last.map_or_else(|| "it said nothing".to_owned(), plain);
            return Err(Error::NotRun(format!(
                "{RUNSC} makes no sandbox here ({what}): {last}"
            )));
        }
        self.run_once(&version, output)
    }

    fn run_once(&self, version: &str, mut output: impl FnMut(Kind, &[u8])) -> Result<Ended, Error> {
        let bundle = self.bundle(version)?;
        let started = Instant::now();
        let mut running = Running::start(bundle)?;
        while !running.is_silent() {
            if started.elapsed() > self.limit {
                return Err(Error::guest(format!(
                    "the command has not ended after {} s",
                    self.limit.as_secs()
                )));
            }
            running.wait(Duration::from_millis(500), &mut output)?;
        }
        // A process that has closed both pipes may still run.
        loop {
            if let Some(status) = running.child.try_wait().context("wait for runsc")? {
                return Ok(Ended {
                    status: status.code().unwrap_or(-1),
                    total: started.elapsed(),
                });
            }
            if started.elapsed() > self.limit {
                return Err(Error::guest(format!(
                    "{RUNSC} has not ended after {} s",
                    self.limit.as_secs()
                )));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The container's files and its description, in the format of the Open Container Initiative's runtime specification.
    fn bundle(&self, version: &str) -> Result<TempDir, Error> {
        let bundle = tempfile::Builder::new()
            .prefix("nocopy-gvisor-")
            .tempdir()
            .context("make a temporary directory")?;
        let root = bundle.path().join("rootfs");
        for directory in ["proc", "sys", "dev", "tmp", "var/tmp", "root", "files"] {
            let path = root.join(directory);
            std::fs::create_dir_all(&path).at(&path)?;
        }
        let copy = |from: &Path, to: PathBuf| std::fs::copy(from, &to).map(drop).at(from);
        copy(Path::new("/proc/self/exe"), root.join("init"))?;
        for (name, path) in &self.files {
            let to = match name.strip_prefix('/') {
                Some(path) => root.join(path),
                None => root.join("files").join(name),
            };
            if let Some(above) = to.parent() {
                std::fs::create_dir_all(above).at(above)?;
            }
            copy(path, to)?;
        }
        let environment = [
            ("PATH", "/files"),
            ("HOME", "/root"),
            ("TMPDIR", "/tmp"),
            (DISPOSABLE, "1"),
            (SANDBOX_VERSION, version),
        ];
        let environment: Vec<String> = environment
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .chain(
                self.environment
                    .iter()
                    .map(|(name, value)| format!("{name}={value}")),
            )
            .collect();
        let uid = self.uid.unwrap_or(0);
        // A user other than root has no capabilities, as everywhere.
        let capabilities: &[&str] = if uid == 0 { &CAPABILITIES } else { &[] };
        let spaces = ["pid", "network", "ipc", "uts", "mount"].map(|kind| json!({"type": kind}));
        let memory = |at: &str| json!({"destination": at, "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]});
        let description = json!({
            "ociVersion": "1.0.0",
            "root": {"path": "rootfs", "readonly": true},
            "process": {
                "args": self.command,
                "env": environment,
                "cwd": "/root",
                "user": {"uid": uid, "gid": uid},
                "capabilities": {
                    "bounding": capabilities,
                    "effective": capabilities,
                    "inheritable": capabilities,
                    "permitted": capabilities,
                },
            },
            "hostname": "nocopy",
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
                memory("/tmp"),
                memory("/var/tmp"),
            ],
            "linux": {"namespaces": spaces},
        });
        let path = bundle.path().join("config.json");
        let text = serde_json::to_vec_pretty(&description).expect("plain data");
        std::fs::write(&path, text).at(&path)?;
        Ok(bundle)
    }
}

/// The capabilities of root inside the sandbox. They give no rights outside.
const CAPABILITIES: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FOWNER",
    "CAP_IPC_LOCK",
    "CAP_KILL",
    "CAP_NET_ADMIN",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETPCAP",
    "CAP_SETUID",
    "CAP_SYS_ADMIN",
    "CAP_SYS_PTRACE",
    "CAP_SYS_RESOURCE",
];

/// A sandbox that has been started, and its two pipes.
struct Running {
    child: Child,
    output: Option<File>,
    errors: Option<File>,
    bundle: TempDir,
}

/// The container's name. It is unique on this machine: `runsc` names a socket after it.
fn name(bundle: &Path) -> &OsStr {
    bundle.file_name().unwrap_or_default()
}

/// `runsc`, with its state directory inside the bundle.
fn runsc(bundle: &Path) -> Command {
    let mut command = Command::new(RUNSC);
    command
        .arg("--root")
        .arg(bundle.join("states"))
        .args(["--network=none", "--ignore-cgroups"])
        .stdin(Stdio::null());
    if process::effective_user() != 0 {
        command.arg("--rootless");
    }
    command
}

impl Running {
    fn start(bundle: TempDir) -> Result<Self, Error> {
        let mut command = runsc(bundle.path());
        command
            .arg("run")
            .arg("--bundle")
            .arg(bundle.path())
            .arg(name(bundle.path()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // SAFETY: prctl takes no pointer here: safe after fork.
        unsafe {
            command.pre_exec(|| {
                process::die_with_parent();
                Ok(())
            });
        }
        let mut child = command.spawn().map_err(|error| not_there(&error))?;
        let output = child.stdout.take().expect("piped");
        let errors = child.stderr.take().expect("piped");
        Ok(Self {
            child,
            output: Some(std::os::fd::OwnedFd::from(output).into()),
            errors: Some(std::os::fd::OwnedFd::from(errors).into()),
            bundle,
        })
    }

    fn is_silent(&self) -> bool {
        self.output.is_none() && self.errors.is_none()
    }

    fn wait(&mut self, limit: Duration, output: &mut impl FnMut(Kind, &[u8])) -> Result<(), Error> {
        let pipes = [
            (&mut self.output, Kind::Output),
            (&mut self.errors, Kind::Error),
        ];
        let fds = pipes
            .each_ref()
            .map(|(pipe, _)| pipe.as_ref().map_or(-1, AsRawFd::as_raw_fd));
        let ready = process::poll(&fds, Some(limit)).context("poll")?;
        for ((pipe, kind), ready) in pipes.into_iter().zip(ready) {
            if !ready {
                continue;
            }
            let Some(file) = pipe else { continue };
            let mut buffer = [0; 8192];
            match file.read(&mut buffer) {
                Ok(count) if count > 0 => output(kind, &buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                _ => *pipe = None,
            }
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // The sandbox is a separate process, which `runsc` finds by its state directory. The result does not matter.
            let _ = runsc(self.bundle.path())
                .args(["delete", "--force"])
                .arg(name(self.bundle.path()))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
