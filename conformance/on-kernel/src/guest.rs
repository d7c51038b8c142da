//! The guest's side: this program as process 1.
//!
//! It mounts file systems and loads modules, runs the job's commands, sends their output over the second serial port, and powers
//! off. If anything fails, it reports that to the host, or the host notices that the end marker is missing.

use crate::frames::{self, End, Kind};
use crate::modules;
use nocopy_host::kernel::DISPOSABLE;
use nocopy_host::{images, interfaces, kernel};
use serde::{Deserialize, Serialize};
use std::ffi::{CString, c_int};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;

/// The file in which the host leaves the job.
pub const JOB: &str = "/job.json";

/// The job of the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Modules to load, by their file names below `/modules`, in order.
    pub modules: Vec<String>,
    /// The release that the host's modules are built for, if there are modules. It must be this kernel's.
    #[serde(default)]
    pub built_for: Option<String>,
    /// Modules that must be loaded or built in.
    #[serde(default)]
    pub required: Vec<String>,
    /// The commands, which run one after the other; `/init` is this program.
    pub commands: Vec<Vec<String>>,
    /// Variables added to the environment.
    pub environment: Vec<(String, String)>,
    /// Symbolic links: path and target.
    pub links: Vec<(String, String)>,
    /// The user that runs the commands; root, if none.
    pub uid: Option<u32>,
    /// The file systems of its disks: ext4 is mounted at `/var/tmp`, others below `/mnt`.
    pub disks: Vec<String>,
    /// Whether a person uses the command at the console.
    pub interactive: bool,
}

/// Whether this process is the first one of a guest.
pub fn is_guest() -> bool {
    std::process::id() == 1 && Path::new(JOB).exists()
}

/// The exit status of QEMU for a command that passed. With `isa-debug-exit` it is `(value << 1) | 1`.
pub const EXIT_PASSED: c_int = 33;
/// The exit status of QEMU for a command that failed.
pub const EXIT_FAILED: c_int = 35;

/// The main function of process 1. It does not return, because the kernel would panic.
pub fn main() -> ! {
    let ended = live();
    if let Err(error) = &ended {
        eprintln!("guest: {error}"); // to the console, which the host prints for a failed run
    }
    power_off(ended.is_ok_and(|status| status == 0))
}

fn live() -> io::Result<i32> {
    mount_all();
    let port = Mutex::new(Port::open()?);
    let send = |kind, bytes: &[u8]| {
        port.lock()
            .map_err(|_| io::Error::other("a writer panicked"))?
            .send(kind, bytes)
    };
    send(Kind::Hello, kernel::uname().0.as_bytes())?;
    let done = work(&send);
    // A failure is reported in the end marker, so that the host does not wait for more.
    let (status, refused) = match &done {
        Ok(Done::Ran(status)) => (*status, None),
        Ok(Done::Refused(what)) => (1, Some(what.clone())),
        Err(error) => {
            send(Kind::Error, format!("guest: {error}\n").as_bytes())?;
            (1, None)
        }
    };
    let tainted = std::fs::read_to_string("/proc/sys/kernel/tainted").unwrap_or_default();
    let port = port
        .into_inner()
        .map_err(|_| io::Error::other("a writer panicked"))?;
    let end = End {
        records: port.sent,
        status,
        tainted: tainted.trim().parse().unwrap_or(0),
        complaints: complaints(),
        refused,
    };
    port.finish(&end)?;
    Ok(status)
}

/// The result of a job.
enum Done {
    /// Its commands ran; this is the highest of their exit statuses.
    Ran(i32),
    /// Its commands did not run, for this reason.
    Refused(String),
}

/// Errors of a module that was built for another kernel: another version, or symbols that this kernel does not have.
const UNFIT: [c_int; 5] = [
    libc::ENOEXEC,
    libc::ENOENT,
    libc::EINVAL,
    libc::ENOSYS,
    libc::EKEYREJECTED,
];

/// Loads the job's modules. Returns why they do not fit this kernel, if they do not.
fn load_modules(
    job: &Job,
    send: &impl Fn(Kind, &[u8]) -> io::Result<()>,
) -> io::Result<Option<String>> {
    let release = kernel::uname().0;
    if let Some(version) = job
        .built_for
        .as_ref()
        .filter(|version| **version != release)
    {
        return Ok(Some(format!(
            "modules of {version} do not fit Linux {release}"
        )));
    }
    for module in &job.modules {
        let content = std::fs::read(Path::new("/modules").join(module))?;
        let Err(error) = load(&content) else { continue };
        match error.raw_os_error() {
            Some(libc::EEXIST) => {}
            Some(errno) if UNFIT.contains(&errno) => {
                let version = modules::version(&content);
                let version = version.unwrap_or_else(|| "an unknown version".to_owned());
                return Ok(Some(format!(
                    "modules of {version} do not fit Linux {}: {module}: {error}",
                    kernel::uname().0
                )));
            }
            _ => send(
                Kind::Error,
                format!("guest: module {module}: {error}\n").as_bytes(),
            )?,
        }
    }
    let is_missing = |name: &&String| !Path::new("/sys/module").join(name.as_str()).exists();
    Ok(job.required.iter().find(is_missing).map(|name| {
        format!(
            "Linux {} has no module {name}: it is neither among the modules nor built in",
            kernel::uname().0
        )
    }))
}

fn work(send: &(impl Fn(Kind, &[u8]) -> io::Result<()> + Sync)) -> io::Result<Done> {
    let job: Job = serde_json::from_slice(&std::fs::read(JOB)?)?;
    if let Some(why) = load_modules(&job, send)? {
        return Ok(Done::Refused(why));
    }
    if let Err(errno) = interfaces::up("lo") {
        send(
            Kind::Error,
            format!("guest: loopback: {errno}\n").as_bytes(),
        )?;
    }
    for filesystem in &job.disks {
        if let Err(error) = mount_disk(filesystem) {
            send(
                Kind::Error,
                format!("guest: no disk with {filesystem}: {error}\n").as_bytes(),
            )?;
        }
    }
    open_to_all(&["/tmp", "/dev/shm"]);
    for (at, to) in &job.links {
        if let Some(above) = Path::new(at).parent() {
            std::fs::create_dir_all(above)?;
        }
        std::os::unix::fs::symlink(to, at)?;
    }
    let mut worst = 0;
    for command in &job.commands {
        let begun = std::time::Instant::now();
        let status = if job.interactive {
            talk(&job, command)?
        } else {
            run(&job, command, send)?
        };
        let status = status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
        if job.commands.len() > 1 {
            let name = command
                .first()
                .map_or("", |path| path.rsplit('/').next().unwrap_or(path));
            send(
                Kind::Output,
                format!(
                    "guest: {name}: exit status {status} in {:.1} s\n",
                    begun.elapsed().as_secs_f32()
                )
                .as_bytes(),
            )?;
        }
        worst = worst.max(status);
    }
    Ok(Done::Ran(worst))
}

/// The result channel, in raw mode.
struct Port {
    file: File,
    sent: u64,
}

impl Port {
    fn open() -> io::Result<Self> {
        let file = File::options().read(true).write(true).open("/dev/ttyS1")?;
        // SAFETY: termios is plain integers, for which zero is valid; the calls read and write this one.
        unsafe {
            let mut modes: libc::termios = std::mem::zeroed();
            libc::tcgetattr(file.as_raw_fd(), &raw mut modes);
            libc::cfmakeraw(&raw mut modes);
            libc::tcsetattr(file.as_raw_fd(), libc::TCSANOW, &raw const modes);
        }
        Ok(Self { file, sent: 0 })
    }

    fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        frames::write(&mut self.file, kind, payload)?;
        self.sent += 1;
        Ok(())
    }

    fn finish(mut self, end: &End) -> io::Result<()> {
        let end = serde_json::to_vec(end)?;
        self.send(Kind::End, &end)?;
        // SAFETY: tcdrain takes no pointer: it waits until the port has sent everything.
        unsafe { libc::tcdrain(self.file.as_raw_fd()) };
        Ok(())
    }
}

fn prepare(job: &Job, command: &[String]) -> io::Result<Command> {
    let (program, arguments) = command
        .split_first()
        .ok_or_else(|| io::Error::other("no command"))?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir("/root")
        .envs(job.environment.iter().cloned());
    command
        .env("PATH", "/files:/bin")
        .env("LD_LIBRARY_PATH", "/files")
        .env("HOME", "/root")
        .env("TMPDIR", "/tmp")
        .env(DISPOSABLE, "1");
    if let Some(uid) = job.uid {
        command.uid(uid).gid(uid);
    }
    Ok(command)
}

/// Runs the command with its output in records.
fn run(
    job: &Job,
    command: &[String],
    send: &(impl Fn(Kind, &[u8]) -> io::Result<()> + Sync),
) -> io::Result<ExitStatus> {
    let mut command = prepare(job, command)?;
    // In a new process group, so that signals that the command sends to its group do not reach process 1.
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let mut output = child.stdout.take().expect("piped");
    let mut errors = child.stderr.take().expect("piped");
    std::thread::scope(|scope| {
        let errors = scope.spawn(|| pass_on(&mut errors, Kind::Error, send));
        let output = pass_on(&mut output, Kind::Output, send);
        output.and(
            errors
                .join()
                .map_err(|_| io::Error::other("a reader panicked"))?,
        )
    })?;
    child.wait()
}

fn pass_on(
    from: &mut impl Read,
    kind: Kind,
    send: &(impl Fn(Kind, &[u8]) -> io::Result<()> + Sync),
) -> io::Result<()> {
    let mut buffer = [0; 4096];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => send(kind, &buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Runs the command at the console, with the console as its controlling terminal.
fn talk(job: &Job, command: &[String]) -> io::Result<ExitStatus> {
    let console = File::options().read(true).write(true).open("/dev/ttyS0")?;
    let mut command = prepare(job, command)?;
    command
        .stdin(console.try_clone()?)
        .stdout(console.try_clone()?)
        .stderr(console);
    // SAFETY: setsid and the ioctl take no pointers: safe after fork.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
    command.status()
}

/// Mounts the usual file systems. One that the kernel does not have is left out: claims are then untestable, not broken.
fn mount_all() {
    for (kind, at, options) in [
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("devtmpfs", "/dev", ""),
        ("tmpfs", "/tmp", ""),
        ("tmpfs", "/run", ""),
        ("tracefs", "/sys/kernel/tracing", ""),
        ("debugfs", "/sys/kernel/debug", ""),
    ] {
        let _ = mount("none", at, kind, options);
    }
    for (kind, at, options) in [
        ("devpts", "/dev/pts", "ptmxmode=666,mode=620"),
        ("tmpfs", "/dev/shm", ""),
    ] {
        let _ = std::fs::create_dir(at);
        let _ = mount("none", at, kind, options);
    }
    let _ = std::os::unix::fs::symlink("/proc/self/fd", "/dev/fd");
}

fn mount(source: &str, at: &str, kind: &str, options: &str) -> io::Result<()> {
    mount_with(0, source, at, kind, options)
}

fn mount_with(
    flags: libc::c_ulong,
    source: &str,
    at: &str,
    kind: &str,
    options: &str,
) -> io::Result<()> {
    let [source, at, kind, options] =
        [source, at, kind, options].map(|text| CString::new(text).expect("no zero inside"));
    // SAFETY: four strings that end with a zero, read during the call.
    let done = unsafe {
        libc::mount(
            source.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Mounts the disk whose serial number is the file system's name.
fn mount_disk(filesystem: &str) -> io::Result<()> {
    let is_it = |controller: &Path| {
        let serial = std::fs::read_to_string(controller.join("serial")).unwrap_or_default();
        serial.trim() == filesystem
    };
    let controllers = std::fs::read_dir("/sys/class/nvme")?;
    let controller = controllers
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|controller| is_it(controller))
        .ok_or_else(|| io::Error::other("there is no such disk"))?;
    let name = controller
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let at = if filesystem == "ext4" {
        "/var/tmp".to_owned()
    } else {
        format!("/mnt/{filesystem}")
    };
    std::fs::create_dir_all(&at)?;
    let flags = match images::find(filesystem) {
        Some(known) if !known.is_writable() => libc::MS_RDONLY,
        _ => 0,
    };
    mount_with(flags, &format!("/dev/{name}n1"), &at, filesystem, "")?;
    open_to_all(&[&at]);
    Ok(())
}

/// Lets every user create files in these directories.
fn open_to_all(directories: &[&str]) {
    use std::os::unix::fs::PermissionsExt;
    for directory in directories {
        let _ = std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o1777));
    }
}

fn load(module: &[u8]) -> io::Result<()> {
    // SAFETY: the module's bytes and the empty parameters are read during the call.
    let done = unsafe {
        libc::syscall(
            libc::SYS_init_module,
            module.as_ptr(),
            module.len(),
            c"".as_ptr(),
        )
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Whether a line of the kernel's log shows a bug: no healthy run has such a line.
pub fn is_complaint(line: &str) -> bool {
    [
        "BUG:",
        "WARNING:",
        "Oops",
        "Kernel panic",
        "soft lockup",
        "detected stall",
        "Call Trace",
    ]
    .iter()
    .any(|sign| line.contains(sign))
}

/// The lines of the kernel's log that show a bug.
fn complaints() -> Vec<String> {
    let mut log = vec![0_u8; 1 << 20];
    let length = libc::c_int::try_from(log.len()).expect("1 MiB");
    // SAFETY: reads at most `length` bytes of the log into the buffer (3 is SYSLOG_ACTION_READ_ALL).
    let read = unsafe { libc::klogctl(3, log.as_mut_ptr().cast(), length) };
    log.truncate(usize::try_from(read).unwrap_or(0));
    let log = String::from_utf8_lossy(&log);
    log.lines()
        .filter(|line| is_complaint(line))
        .take(20)
        .map(str::to_owned)
        .collect()
}

/// Powers the machine off: by QEMU's exit port, or, without one, by `reboot`.
fn power_off(passed: bool) -> ! {
    let _ = io::stdout().flush();
    exit_port(u8::try_from(if passed { EXIT_PASSED } else { EXIT_FAILED } >> 1).expect("small"));
    // SAFETY: these take no pointers; process 1 has nothing to lose.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
        loop {
            libc::pause();
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn exit_port(value: u8) {
    const PORT: u16 = 0xf4;
    // SAFETY: ioperm takes no pointer. Writing to the port ends the machine, which is intended; without the device nothing happens.
    unsafe {
        if libc::ioperm(libc::c_ulong::from(PORT), 1, 1) == 0 {
            std::arch::asm!("out dx, al", in("dx") PORT, in("al") value, options(nomem, nostack, preserves_flags));
        }
    }
}
