//! The guest's side: this program as process 1.
//!
//! It mounts file systems and loads modules, runs the job's commands, sends their output over the second serial port, and powers
//! off. If anything fails, it reports that to the host, or the host notices that the end marker is missing.

mod commands;
mod mounts;
mod port;

use crate::frames::{End, Kind};
use crate::guest::commands::{Input, ONLY, Running, Sort, Word};
use crate::guest::port::Port;
use crate::job::{self, EXIT_FAILED, EXIT_PASSED, Job, Start};
use crate::log;
use crate::modules;
use nocopy_host::{interfaces, kernel};
use std::ffi::c_int;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

/// Whether this process is the first one of a guest.
pub fn is_guest() -> bool {
    std::process::id() == 1 && Path::new(job::FILE).exists()
}

/// The main function of process 1. It does not return, because the kernel would panic.
pub fn main() -> ! {
    let ended = live();
    if let Err(error) = &ended {
        eprintln!("guest: {error}"); // to the console, which the host prints for a failed run
    }
    power_off(ended.is_ok_and(|status| status == 0))
}

fn live() -> io::Result<i32> {
    mounts::mount_all();
    let job: Job = serde_json::from_slice(&std::fs::read(job::FILE)?)?;
    let unloaded = load_modules_of_port(&job);
    let port = Arc::new(Port::open()?);
    let running = Arc::new(Running::default());
    // From the first record on, the host may send input.
    let input = running.expect(ONLY, job.input);
    port.send(Kind::Hello, kernel::uname().0.as_bytes())?;
    let (sender, said) = channel();
    let reader = port.reader()?;
    let hears = reader.is_some();
    if let Some(reader) = reader {
        let (port, running) = (Arc::clone(&port), Arc::clone(&running));
        if job.session {
            let running = Arc::clone(&running);
            std::thread::spawn(move || running.reap());
        }
        std::thread::spawn(move || commands::hear(reader, &port, &running, &sender));
    }
    let done = match unloaded {
        Some(why) => Ok(Done::Refused(why)),
        None => work(&job, &port, &running, input).inspect(|done| {
            if job.session && hears && matches!(done, Done::Ran(_)) {
                // The host says when; without a host, this machine is killed.
                while said.recv().is_ok_and(|word| word != Word::Quit) {}
            }
        }),
    };
    // A failure is reported in the end marker, so that the host does not wait for more.
    let (status, refused) = match done {
        Ok(Done::Ran(status)) => (status, None),
        Ok(Done::Refused(what)) => (1, Some(what)),
        Err(error) => {
            port.send(Kind::Error, format!("guest: {error}\n").as_bytes())?;
            (1, None)
        }
    };
    port.finish(End {
        records: 0,
        status,
        tainted: log::tainted(),
        complaints: log::complaints().into_iter().take(20).collect(),
        refused,
    })?;
    if hears {
        // The end of this machine may otherwise be faster than its last words.
        const LIMIT: Duration = Duration::from_secs(5);
        let _ = said.recv_timeout(LIMIT);
    }
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

/// Loads the modules of the virtio port. Returns why they do not fit this kernel, if they do not.
fn load_modules_of_port(job: &Job) -> Option<String> {
    let release = kernel::uname().0;
    let unfit = job
        .built_for
        .as_ref()
        .filter(|version| **version != release);
    if let Some(version) = unfit {
        return Some(format!("modules of {version} do not fit Linux {release}"));
    }
    for module in &job.port {
        // What cannot be loaded gives no port, and then there is the serial one.
        let _ = std::fs::read(Path::new("/modules").join(module)).and_then(|module| load(&module));
    }
    None
}

/// Loads the job's modules. Returns why they do not fit this kernel, if they do not.
fn load_modules(job: &Job, port: &Port) -> io::Result<Option<String>> {
    let release = kernel::uname().0;
    for module in job
        .modules
        .iter()
        .filter(|module| !job.port.contains(module))
    {
        let content = std::fs::read(Path::new("/modules").join(module))?;
        let Err(error) = load(&content) else { continue };
        match error.raw_os_error() {
            Some(libc::EEXIST) => {}
            Some(errno) if UNFIT.contains(&errno) => {
                let version = modules::version(&content);
                let version = version.unwrap_or_else(|| "an unknown version".to_owned());
                return Ok(Some(format!(
                    "modules of {version} do not fit Linux {release}: {module}: {error}"
                )));
            }
            _ => tell(port, &format!("module {module}: {error}"))?,
        }
    }
    let is_missing = |name: &&String| !Path::new("/sys/module").join(name.as_str()).exists();
    Ok(job.required.iter().find(is_missing).map(|name| {
        format!(
            "Linux {release} has no module {name}: it is neither among the modules nor built in"
        )
    }))
}

/// A line of the guest's own among the errors of its command.
fn tell(port: &Port, what: &str) -> io::Result<()> {
    port.send(Kind::Error, format!("guest: {what}\n").as_bytes())
}

fn work(
    job: &Job,
    port: &Arc<Port>,
    running: &Running,
    mut input: Option<Input>,
) -> io::Result<Done> {
    if let Some(why) = load_modules(job, port)? {
        return Ok(Done::Refused(why));
    }
    if let Err(error) = interfaces::up("lo") {
        tell(port, &format!("loopback: {error}"))?;
    }
    for filesystem in &job.disks {
        if let Err(error) = mounts::mount_disk(filesystem) {
            tell(port, &format!("no disk with {filesystem}: {error}"))?;
        }
    }
    mounts::open_to_all(&["/tmp", "/dev/shm"]);
    mounts::place(Path::new(job::LATER))?;
    let kinds = [Kind::Output, Kind::Error].map(|kind| Sort { kind, number: None });
    let mut worst = 0;
    for (index, command) in job.commands.iter().enumerate() {
        let begun = Instant::now();
        let start = job.start(index);
        let status = if job.interactive {
            talk(&start)?
        } else {
            running.run((ONLY, input.take()), &start, port, kinds)?
        };
        let status = commands::code(status);
        if job.commands.len() > 1 {
            let name = command
                .first()
                .map_or("", |path| path.rsplit('/').next().unwrap_or(path));
            let seconds = begun.elapsed().as_secs_f32();
            let line = format!("guest: {name}: exit status {status} in {seconds:.1} s\n");
            port.send(Kind::Output, line.as_bytes())?;
        }
        worst = worst.max(status);
    }
    Ok(Done::Ran(worst))
}

/// Runs the command at the console, with the console as its controlling terminal.
fn talk(start: &Start) -> io::Result<ExitStatus> {
    let console = File::options().read(true).write(true).open("/dev/ttyS0")?;
    let mut command = commands::prepare(start)?;
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
