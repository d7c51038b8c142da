//! What the host asks of a guest.

#![forbid(unsafe_code)]

use serde::{Deserialize, Serialize};

/// The file in which the host leaves the job.
pub const FILE: &str = "/job.json";
/// The directory of files whose place is below a mount of the guest. It moves them after mounting.
pub const LATER: &str = "/later";
/// The name of the virtio port.
pub const PORT: &str = "on-kernel";
/// The modules that the port needs, where they are not built in.
pub const PORT_MODULES: [&str; 2] = ["virtio_pci", "virtio_console"];
/// The most bytes of input that a command is sent before it has taken some.
pub const WINDOW: usize = 1 << 20;

/// The exit status of QEMU for a command that passed. With `isa-debug-exit` it is `(value << 1) | 1`.
pub const EXIT_PASSED: i32 = 33;
/// The exit status of QEMU for a command that failed.
pub const EXIT_FAILED: i32 = 35;

/// The job of the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Modules to load, by their file names below `/modules`, in order.
    pub modules: Vec<String>,
    /// Those of them that the virtio port needs. They are loaded first.
    #[serde(default)]
    pub port: Vec<String>,
    /// The release that the host's modules are built for, if there are modules. It must be this kernel's.
    #[serde(default)]
    pub built_for: Option<String>,
    /// Modules that must be loaded or built in.
    #[serde(default)]
    pub required: Vec<String>,
    /// The commands, which run one after the other; `/init` is the program that made the guest.
    pub commands: Vec<Vec<String>>,
    /// Whether the first command gets its input from the host.
    #[serde(default)]
    pub input: bool,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// The working directory, made if it is missing; `/root`, if none.
    #[serde(default)]
    pub directory: Option<String>,
    /// The user that runs the commands; root, if none.
    pub uid: Option<u32>,
    /// The file systems of its disks: ext4 is mounted at `/var/tmp`, others below `/mnt`.
    pub disks: Vec<String>,
    /// Whether a person uses the command at the console.
    pub interactive: bool,
    /// Whether the guest takes more commands from the host after its own, until it is told to end.
    #[serde(default)]
    pub session: bool,
}

/// A command of a session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// The working directory, made if it is missing; `/root`, if none.
    pub directory: Option<String>,
    /// The user; root, if none.
    pub uid: Option<u32>,
    /// Whether the host sends its input.
    pub input: bool,
}

impl Job {
    /// One of its commands.
    pub fn start(&self, index: usize) -> Start {
        Start {
            command: self.commands[index].clone(),
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            uid: self.uid,
            input: self.input && index == 0,
        }
    }
}
