//! An emulator that plays what a test wrote: this program under the name of QEMU.
//!
//! It gets QEMU's arguments, finds console and result channel among them, and says and does there what its script says. Or it
//! spoils the guest's first file system and becomes the real QEMU.

use on_kernel::frames::{self, End, Kind};
use on_kernel::kernels::Image;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// The name under which this program is an emulator.
pub const NAME: &str = "qemu-system-x86_64";
/// The variable with the path of the script.
const SCRIPT: &str = "NOCOPY_TEST_SCRIPT";

/// What the emulator does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Step {
    /// Bytes for the result channel.
    Results(Vec<u8>),
    /// So many MiB of output in records, the like of what programs say.
    Output(u32),
    /// Text for the console.
    Console(String),
    /// So many MiB of text for the console.
    ConsoleFlood(u32),
    /// Closes both.
    Close,
    /// Leaves a process behind that keeps both open for some seconds.
    Leave(u32),
    /// Never ends.
    Hang,
    /// Is killed.
    Killed,
    /// Ends with this status.
    Exit(i32),
    /// Cuts the guest's first file system to so many hundredths and goes on as the real QEMU, which is at this path.
    Truncate(u64, PathBuf),
    /// Replaces a text by another of the same length there, and goes on as the real QEMU.
    Replace(String, String, PathBuf),
}

/// A directory with the emulator and its script.
pub struct Fake {
    directory: tempfile::TempDir,
}

impl Fake {
    pub fn new(script: &[Step]) -> std::io::Result<Self> {
        let directory = tempfile::tempdir()?;
        let at = |name: &str| directory.path().join(name);
        std::os::unix::fs::symlink(std::env::current_exe()?, at(NAME))?;
        std::fs::write(at("script"), serde_json::to_vec(script)?)?;
        std::fs::write(at("kernel"), "\x7fELF, and no more is looked at")?;
        // As much of a static program as is looked at: an ELF header without segments.
        let mut program = b"\x7fELF\x02\x01\x01".to_vec();
        program.resize(64, 0);
        program[18] = 62; // x86-64
        program[52] = 64;
        program[54] = 56;
        std::fs::write(at("program"), program)?;
        Ok(Self { directory })
    }

    /// A file beside the emulator: `kernel` or `program`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts the kernel into the cache that the command will have, as a fetched one of this name.
    pub fn fetched(&self, name: &str, expect: &str) -> std::io::Result<()> {
        let directory = self.directory.path().join("cache").join(name);
        std::fs::create_dir_all(&directory)?;
        let image = Image {
            name: name.into(),
            expect: expect.into(),
            packages: vec![],
            boot: self.file("kernel"),
            bytes: None,
            modules: None,
            user_mode: false,
        };
        let text = serde_json::to_vec(&image)?;
        std::fs::write(directory.join("image.json"), text)
    }

    /// Makes the command find this emulator first.
    pub fn first_for<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let directory = self.directory.path();
        command
            .env("PATH", format!("{}:{path}", directory.display()))
            .env("NOCOPY_KERNELS", directory.join("cache"))
            .env(SCRIPT, directory.join("script"))
    }
}

/// Whether this process is the emulator.
pub fn is_asked_for() -> bool {
    let name = std::env::args().next().unwrap_or_default();
    Path::new(&name).file_name() == Some(NAME.as_ref())
}

/// Plays the script. What cannot be written has no reader any more.
#[expect(clippy::zombie_processes, reason = "it is to be left behind")]
pub fn main() -> ! {
    let script = std::env::var(SCRIPT).expect("the test says where");
    let script = std::fs::read(script).expect("the test's script");
    let script: Vec<Step> = serde_json::from_slice(&script).expect("written by the test");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let port = |name: &str| {
        let start = format!("file,id={name},path=");
        let path = arguments
            .iter()
            .find_map(|argument| argument.strip_prefix(&start));
        path.expect("QEMU's argument").to_owned()
    };
    let paths = [port("results"), port("console")];
    let open = |path: &String| File::options().write(true).open(path).expect("a pipe");
    let mut ports = paths.iter().map(open).collect::<Vec<_>>();
    for step in script {
        match step {
            Step::Results(bytes) => say(&mut ports[0], &bytes),
            Step::Output(mib) => {
                let record = record(Kind::Output, &vec![b'x'; 1 << 16]);
                (0..mib * 16).for_each(|_| say(&mut ports[0], &record));
            }
            Step::Console(text) => say(&mut ports[1], text.as_bytes()),
            Step::ConsoleFlood(mib) => {
                let line = format!("{}\n", "x".repeat((1 << 16) - 1));
                (0..mib * 16).for_each(|_| say(&mut ports[1], line.as_bytes()));
            }
            Step::Close => {
                ports.clear();
                let inherited = paths.iter().filter_map(|path| path.rsplit('/').next());
                for number in inherited.chain(["2"]) {
                    let number = number.parse().expect("/proc/self/fd/NUMBER");
                    // SAFETY: closes a descriptor that nothing of this process uses any more.
                    unsafe { libc::close(number) };
                }
            }
            Step::Leave(seconds) => {
                let left = Command::new("sleep").arg(seconds.to_string()).spawn();
                left.expect("sleep");
            }
            Step::Hang => loop {
                std::thread::park();
            },
            // SAFETY: signals this process.
            Step::Killed => unsafe {
                libc::raise(libc::SIGKILL);
            },
            Step::Exit(status) => exit(status),
            Step::Truncate(hundredths, qemu) => become_qemu(&qemu, arguments.clone(), |archive| {
                let length = archive.len() as u64 * hundredths / 100;
                archive.truncate(usize::try_from(length).expect("shorter"));
            }),
            Step::Replace(from, to, qemu) => become_qemu(&qemu, arguments.clone(), |archive| {
                replace(archive, from.as_bytes(), to.as_bytes());
            }),
        }
    }
    exit(0)
}

fn say(port: &mut File, bytes: &[u8]) {
    if port.write_all(bytes).is_err() {
        exit(0);
    }
}

fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    let starts = 1..bytes.len() - from.len();
    let found: Vec<usize> = starts
        .filter(|start| bytes[*start..].starts_with(from))
        .filter(|start| bytes[start - 1] != b'-') // a part of a claim's name, which keeps it
        .collect();
    assert!(!found.is_empty(), "there is nothing to replace");
    for start in found {
        bytes[start..start + from.len()].copy_from_slice(to);
    }
}

/// Changes the guest's first file system and becomes the real QEMU.
fn become_qemu(qemu: &Path, mut arguments: Vec<String>, change: impl FnOnce(&mut Vec<u8>)) -> ! {
    let at = arguments.iter().position(|argument| argument == "-initrd");
    let path = &mut arguments[at.expect("QEMU's argument") + 1];
    let mut content = std::fs::read(&path).expect("the archive");
    change(&mut content);
    // SAFETY: the name ends with a zero. Without MFD_CLOEXEC, so that QEMU has it too.
    let fd = unsafe { libc::memfd_create(c"changed".as_ptr(), 0) };
    assert_ne!(fd, -1, "memfd_create");
    // SAFETY: the kernel has just made `fd` for us alone.
    let mut changed = unsafe { File::from_raw_fd(fd) };
    changed.write_all(&content).expect("memory");
    *path = format!("/proc/self/fd/{}", changed.as_raw_fd());
    let error = Command::new(qemu).args(arguments).exec();
    panic!("{}: {error}", qemu.display());
}

/// A record of the result channel.
pub fn record(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    frames::write(&mut bytes, kind, payload).expect("a vector takes all");
    bytes
}

/// The end marker of a healthy guest.
pub fn end(records: u64, status: i32) -> End {
    End {
        records,
        status,
        tainted: 0,
        complaints: vec![],
        refused: None,
    }
}

/// An end marker as a record.
pub fn marker(end: &End) -> Vec<u8> {
    record(
        Kind::End,
        &serde_json::to_vec(end).expect("an end is plain data"),
    )
}

/// The names under which this program is a package manager with one package, a kernel.
pub const MANAGER: [&str; 2] = ["apt-get", "apt-cache"];
/// The variable with the path of what it hands out.
const PACKAGE: &str = "NOCOPY_TEST_PACKAGE";

/// A directory with a package manager, its package, and a cache to fetch into.
pub struct Store {
    directory: tempfile::TempDir,
}

impl Store {
    /// `package` is what is handed out.
    pub fn new(package: &[u8]) -> std::io::Result<Self> {
        let directory = tempfile::tempdir()?;
        for name in MANAGER {
            std::os::unix::fs::symlink(std::env::current_exe()?, directory.path().join(name))?;
        }
        std::fs::write(directory.path().join("package"), package)?;
        Ok(Self { directory })
    }

    /// Where kernels go.
    pub fn cache(&self) -> PathBuf {
        self.directory.path().join("cache")
    }

    /// Makes the command find this package manager first.
    pub fn first_for<'command>(&self, command: &'command mut Command) -> &'command mut Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let directory = self.directory.path();
        command
            .env("PATH", format!("{}:{path}", directory.display()))
            .env("NOCOPY_KERNELS", self.cache())
            .env(PACKAGE, directory.join("package"))
    }
}

/// Whether this process is the package manager.
pub fn is_manager() -> bool {
    let name = std::env::args().next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str());
    name.is_some_and(|name| MANAGER.contains(&name))
}

/// Answers as apt does.
pub fn manager_main() {
    const NAME: &str = "linux-image-5.10.0-1-cloud-amd64";
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is = |word: &str| arguments.iter().any(|argument| argument == word);
    if is("pkgnames") {
        println!("{NAME}");
    } else if is("show") {
        println!("Package: {NAME}\nVersion: 5.10.1-1\nSHA256: 00");
    } else if is("download") {
        let package = std::env::var(PACKAGE).expect("the test says where");
        std::fs::copy(package, format!("{NAME}_5.10.1-1_amd64.deb")).expect("copy");
    }
}
