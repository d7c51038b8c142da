//! One guest: starts QEMU, watches it, and judges its results.
//!
//! Nothing is written to a disk of the host: the archive is an anonymous memory file, console and results are pipes, and writes of a
//! guest to its disks are discarded at its end. QEMU dies with the thread that started it.

use crate::disks;
use crate::error::{Context, Error};
use crate::frames::{End, Kind};
use crate::guest::{self, Job};
use crate::initramfs::{self, Archive};
use crate::kernels::{Cache, Image};
use crate::modules;
use crate::talk::{Console, Talk, plain};
use nocopy_host::input;
use nocopy_host::interrupt;
use nocopy_host::process;
use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// The emulator, from Debian's package `qemu-system-x86`.
const QEMU: &str = "qemu-system-x86_64";

/// The time that a machine may take to power off after its end marker.
const SWITCHING_OFF: Duration = Duration::from_secs(10);

/// The command line of every kernel. It does not change the behaviour that claims are about: it speeds up the start, and ends the
/// guest after a panic.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=4 panic=-1 reboot=t mitigations=off nokaslr audit=0 apparmor=0 \
                            selinux=0 no_timer_check random.trust_cpu=on cryptomgr.notests=1";

/// The description of a guest.
#[derive(Clone, Debug)]
pub struct Machine<'image> {
    /// The kernel.
    pub image: &'image Image,
    /// The job of the guest.
    pub job: Job,
    /// Modules to load; the modules that they need are added.
    pub modules: BTreeSet<String>,
    /// Files for `/files`, by name. A name that begins with a slash is a path in the root directory.
    pub files: Vec<(String, PathBuf)>,
    /// Memory in MiB.
    pub memory: u32,
    /// Added to the kernel's command line.
    pub append: String,
    /// The time limit of the guest.
    pub limit: Duration,
    /// How the processor is emulated.
    pub accelerator: Accelerator,
}

/// How the processor is emulated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// By translation: works everywhere, and is about ten times slower.
    Tcg,
    /// By the host's kernel.
    Kvm,
    /// Not emulated: User-mode Linux is a program.
    UserMode,
}

impl Accelerator {
    /// KVM, if it works: a `/dev/kvm` that exists need not work, so a guest is booted with it once. The result is kept in the cache
    /// until the host boots again.
    pub fn find(cache: &Cache, image: &Image) -> Self {
        const LIMIT: Duration = Duration::from_secs(20);
        if File::options()
            .read(true)
            .write(true)
            .open("/dev/kvm")
            .is_err()
        {
            return Self::Tcg;
        }
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let note = cache.directory.join("accelerator");
        let known = std::fs::read_to_string(&note).unwrap_or_default();
        if let Some(name) = known.strip_prefix(&boot) {
            return if name.trim() == Self::Kvm.name() {
                Self::Kvm
            } else {
                Self::Tcg
            };
        }
        let machine = Machine {
            image,
            job: Job {
                commands: vec![vec!["/init".into(), "--version".into()]],
                ..Job::default()
            },
            modules: BTreeSet::new(),
            files: vec![],
            memory: 512,
            append: String::new(),
            limit: LIMIT,
            accelerator: Self::Kvm,
        };
        let found = if machine.run(|_, _| {}).is_ok() {
            Self::Kvm
        } else {
            Self::Tcg
        };
        // If the cache cannot be written, the next run repeats this probe.
        if cache.make().is_ok() {
            let _ = std::fs::write(&note, format!("{boot}{}\n", found.name()));
        }
        found
    }

    /// Its name in QEMU and in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
            Self::UserMode => "the host's processor, as a program",
        }
    }
}

/// A run that ended in order, whatever the result of its command.
#[derive(Clone, Debug)]
pub struct Ran {
    /// `uname -r` of the guest.
    pub release: String,
    /// The end marker.
    pub end: End,
    /// From the start of QEMU to the first record.
    pub boot: Duration,
    /// From the start of QEMU to its end.
    pub total: Duration,
}

impl Machine<'_> {
    /// Boots, runs, and returns when the guest has ended. `output` gets the command's output as it arrives.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] if something is missing here, or if the guest could not do its job.
    ///
    /// [`Error::Guest`], with the end of the console, if the guest did one of these:
    ///
    /// - It panicked, hung, or ended without its end marker.
    /// - It is not the expected kernel.
    /// - It sent invalid records.
    /// - Its kernel reported a bug.
    ///
    /// `output` has received all output until then.
    pub fn run(&self, mut output: impl FnMut(Kind, &[u8])) -> Result<Ran, Error> {
        let archive = self.archive()?;
        let cache = Cache::open();
        let disks = self
            .disks()
            .iter()
            .map(|name| Ok((name.clone(), disks::image(&cache, name)?)));
        let disks = disks.collect::<Result<Vec<_>, Error>>()?;
        let started = Instant::now();
        let mut guest = Started::new(self, &archive, &disks)?;
        let mut boot = None;
        let mut decided: Option<Instant> = None;
        let status = loop {
            if let Some(signal) = interrupt::came() {
                return Err(guest.failed(&format!("{signal} ended the run")));
            }
            let is_over = started.elapsed() > self.limit;
            if guest.talk.finish().is_ok() {
                // All results have arrived, even if the machine cannot power off.
                let since = decided.get_or_insert_with(Instant::now);
                if is_over || since.elapsed() > SWITCHING_OFF {
                    guest.kill();
                    break None;
                }
            } else if is_over {
                let seconds = self.limit.as_secs();
                return Err(guest.failed(&match guest.talk.release() {
                    Some(_) => format!("the command has not ended after {seconds} s"),
                    None => format!(
                        "it has not come up after {seconds} s (too little memory is one reason: {} MiB)",
                        self.memory
                    ),
                }));
            }
            let came = guest.wait(Duration::from_millis(500))?;
            let bytes = std::mem::take(&mut guest.result_pipe.bytes);
            if let Err(lie) = guest.talk.hear(&bytes, &mut output) {
                return Err(guest.failed(&lie));
            }
            if guest.talk.release().is_some() {
                boot.get_or_insert_with(|| started.elapsed());
            }
            // The end of its pipes is the first sign. Another process may hold them open, and the guest may close them and still
            // run.
            if guest.is_silent() || !came {
                if let Some(status) = guest.child.try_wait().context("wait for QEMU")? {
                    break Some(status);
                }
                if guest.is_silent() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        };
        let end = match self.judge(&guest, status) {
            Ok(end) => end,
            Err(what) => return Err(guest.failed(&what)),
        };
        if let Some(what) = &end.refused {
            let what = plain(what);
            return Err(Error::host(match &self.image.modules {
                Some(directory) => format!("{what} (modules of {})", directory.display()),
                None => what,
            }));
        }
        let release = guest.talk.release().unwrap_or_default().to_owned();
        Ok(Ran {
            release,
            end,
            boot: boot.unwrap_or_default(),
            total: started.elapsed(),
        })
    }

    /// The end marker of a guest that has ended, if everything known about it is consistent. Without `status` we ended the guest.
    fn judge(&self, guest: &Started, status: Option<ExitStatus>) -> Result<End, String> {
        let (release, end) = guest.talk.finish().map_err(|what| match status {
            Some(status) => format!("{what} (QEMU: {status})"),
            None => what,
        })?;
        if !is_series(release, &self.image.expect) {
            return Err(format!(
                "it is Linux {release}, and {} was expected",
                self.image.expect
            ));
        }
        let expected = match (self.image.user_mode, end.status) {
            (true, _) => 0, // there is no exit port
            (false, 0) => guest::EXIT_PASSED,
            (false, _) => guest::EXIT_FAILED,
        };
        // The end marker decides. A kernel that denies access to the exit port powers the machine off, and QEMU ends with 0. Any
        // other status contradicts the marker.
        if let Some(status) = status
            && ![Some(0), Some(expected)].contains(&status.code())
        {
            return Err(format!(
                "its end marker says exit status {}, for which {} ends with exit status {expected}: it ended with {status}",
                end.status,
                self.emulator()
            ));
        }
        if !end.complaints.is_empty() {
            let complaints: Vec<String> = end.complaints.iter().map(|line| plain(line)).collect();
            return Err(format!("the kernel complained: {}", complaints.join(" | ")));
        }
        if end.tainted & DYING != 0 {
            return Err(format!("the kernel is tainted: {:#x}", end.tainted));
        }
        if guest.console.complaint().is_some() {
            return Err("the kernel complained on its console".into());
        }
        Ok(end.clone())
    }

    /// The file systems of its disks. User-mode Linux has no disks.
    fn disks(&self) -> &[String] {
        if self.image.user_mode {
            &[]
        } else {
            &self.job.disks
        }
    }

    fn emulator(&self) -> &'static str {
        if self.image.user_mode {
            "User-mode Linux"
        } else {
            "QEMU"
        }
    }

    /// This program, the job, the modules and the files.
    fn archive(&self) -> Result<File, Error> {
        let mut archive = Archive::new();
        let own = Path::new("/proc/self/exe");
        let program = std::fs::read(own).at(own)?;
        if let Some(reason) = cannot_run_alone(&program) {
            return Err(Error::host(format!(
                "this program cannot be a guest's only one: {reason}"
            )));
        }
        archive.program("init", &program);
        let mut job = self.job.clone();
        job.disks = self.disks().to_vec();
        if let Some(directory) = &self.image.modules {
            let mut wanted = self.modules.clone();
            wanted.extend(job.disks.iter().cloned());
            if !job.disks.is_empty() {
                wanted.insert("nvme".into()); // built in, in Debian's cloud kernels
            }
            let (modules, _missing) = modules::in_order(directory, &wanted)?;
            job.built_for = modules::version_of_any(directory)?;
            for module in modules {
                let file = format!("{}.ko", module.name);
                archive.file(&format!("modules/{file}"), &module.content);
                job.modules.push(file);
            }
        }
        for (name, path) in &self.files {
            let content = content(path)?;
            let name = name
                .strip_prefix('/')
                .map_or_else(|| format!("files/{name}"), str::to_owned);
            archive.program(&name, &content);
        }
        archive.file(
            &guest::JOB[1..],
            &serde_json::to_vec(&job).expect("a job is plain data"),
        );
        let mut file = memory_file(c"initramfs")?;
        file.write_all(&archive.finish())
            .context("write the initramfs")?;
        Ok(file)
    }
}

/// The taint bits that a run must not set: machine check (4), bad page (5), died before (7), warning (9), soft lockup (14). The
/// other bits are about the licences of modules.
const DYING: u64 = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 9 | 1 << 14;

/// Whether a release belongs to the series: `6.1` includes 6.1.5, but not 6.12.
fn is_series(release: &str, series: &str) -> bool {
    release.strip_prefix(series).is_some_and(|rest| {
        series.is_empty() || !rest.starts_with(|next: char| next.is_ascii_digit())
    })
}

/// Reads a file that goes into a guest.
///
/// # Errors
///
/// Errors of the system calls, a file that is not regular, and one that is too long for a guest.
pub fn content(path: &Path) -> Result<Vec<u8>, Error> {
    let file = input::open(path).at(path)?;
    let mut content = Vec::new();
    let most = initramfs::LARGEST;
    file.take(most + 1).read_to_end(&mut content).at(path)?;
    if content.len() as u64 > most {
        return Err(Error::host(format!(
            "{}: longer than {} MiB, and a guest holds its files in memory",
            path.display(),
            most >> 20
        )));
    }
    Ok(content)
}

/// Why a program cannot run alone in a guest, which has this machine's architecture and no shared objects.
pub fn cannot_run_alone(program: &[u8]) -> Option<String> {
    use object::elf;
    use object::read::elf::{FileHeader, ProgramHeader};
    const OWN: elf::Machine = if cfg!(target_arch = "aarch64") {
        elf::EM_AARCH64
    } else {
        elf::EM_X86_64
    };
    let not_elf = || Some("it is not a 64-bit ELF program".to_owned());
    let Ok(header) = elf::FileHeader64::<object::Endianness>::parse(program) else {
        return not_elf();
    };
    let Ok(endian) = header.endian() else {
        return not_elf();
    };
    let machine = header.e_machine(endian);
    if machine != OWN {
        return Some(format!(
            "it is built for another architecture (ELF machine {}; the guest has {}, {})",
            machine.0,
            OWN.0,
            std::env::consts::ARCH
        ));
    }
    let Ok(segments) = header.program_headers(endian, program) else {
        return not_elf();
    };
    let mut segments = segments.iter();
    segments
        .any(|segment| segment.p_type(endian) == elf::PT_INTERP)
        .then(|| {
            "it is not a static program: build it with RUSTFLAGS=-Ctarget-feature=+crt-static and --target \
             x86_64-unknown-linux-gnu"
                .to_owned()
        })
}

/// The file names that QEMU gets for the initramfs and the two ports.
struct Ends {
    archive: String,
    console: String,
    results: String,
}

fn qemu_command(machine: &Machine<'_>, ends: &Ends, disks: &[(String, PathBuf)]) -> Command {
    let cpu = match machine.accelerator {
        Accelerator::Tcg | Accelerator::UserMode => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        Accelerator::Kvm => ["-accel", "kvm", "-cpu", "host"],
    };
    let mut qemu = Command::new(QEMU);
    qemu.args([
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-M",
        "pc",
        "-smp",
        "1",
    ])
    .args(cpu)
    .args(["-m", &machine.memory.to_string()])
    .arg("-kernel")
    .arg(&machine.image.boot)
    .args(["-initrd", &ends.archive])
    .args(["-append", &format!("{COMMAND_LINE} {}", machine.append)])
    .args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    if machine.job.interactive {
        qemu.args(["-serial", "stdio"]);
    } else {
        qemu.args([
            "-chardev",
            &format!("file,id=console,path={}", ends.console),
            "-serial",
            "chardev:console",
        ]);
    }
    qemu.args([
        "-chardev",
        &format!("file,id=results,path={}", ends.results),
        "-serial",
        "chardev:results",
    ]);
    if machine.modules.contains("vmxnet3") {
        // Two cards on a separate hub, without access to the host's network.
        for id in ["1", "2"] {
            qemu.args(["-netdev", &format!("hubport,id=card{id},hubid=0")])
                .args([
                    "-device",
                    &format!("vmxnet3,netdev=card{id},mac=52:54:00:00:00:0{id}"),
                ]);
        }
    }
    for (name, image) in disks {
        // The guest finds a disk by its serial number, which is the file system's name.
        let image = image.display();
        qemu.args([
            "-drive",
            &format!("file={image},format=raw,if=none,id={name},snapshot=on"),
        ])
        .args(["-device", &format!("nvme,serial={name},drive={name}")]);
    }
    qemu
}

/// User-mode Linux: its consoles and ports are inherited descriptors; its memory is a file without a name.
fn user_mode_command(
    machine: &Machine<'_>,
    ends: &Ends,
    [console, results]: [libc::c_int; 2],
    home: &Path,
) -> Command {
    let mut linux = Command::new(&machine.image.boot);
    linux
        .arg(format!("mem={}M", machine.memory))
        .arg(format!("initrd={}", ends.archive))
        .arg(format!("uml_dir={}", home.display()))
        .args(["con=null".to_owned(), format!("con0=null,fd:{console}")])
        .args(["ssl=null".to_owned(), format!("ssl1=null,fd:{results}")])
        .args([
            "quiet",
            "loglevel=4",
            "panic=-1",
            "audit=0",
            "apparmor=0",
            "selinux=0",
            "root=/dev/ram0",
        ])
        .args(machine.append.split_whitespace());
    linux
}

/// The hidden command of a process that outlives this one, and ends a process group.
pub const END_GROUP: &str = "__end-group";

/// The main function of the hidden command. It waits for the end of the process that started it, ends the group if that process did
/// not end in order, and removes the group's directory.
pub fn end_group() {
    let mut arguments = std::env::args_os().skip(2);
    let group = arguments
        .next()
        .and_then(|text| text.to_str()?.parse::<libc::pid_t>().ok());
    let in_order = std::io::stdin().read(&mut [0]).is_ok_and(|count| count > 0);
    if let (Some(group @ 2..), false) = (group, in_order) {
        process::kill(-group);
    }
    let home = arguments.next().map(PathBuf::from);
    if let Some(home) = home.filter(|home| Home::is_one(home)) {
        // The group may still exist, and write there.
        for _ in 0..100 {
            if std::fs::remove_dir_all(&home).is_ok() || !home.exists() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The directory of User-mode Linux, if one is needed. It is removed with this value, unless it is handed over.
struct Home(Option<PathBuf>);

impl Home {
    const PREFIX: &str = "nocopy-uml-";

    fn new(wanted: bool) -> Result<Self, Error> {
        if !wanted {
            return Ok(Self(None));
        }
        let made = tempfile::Builder::new().prefix(Self::PREFIX).tempdir();
        let made = made.context("make a temporary directory")?;
        Ok(Self(Some(made.keep())))
    }

    fn is_one(path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.starts_with(Self::PREFIX)) && !path.is_symlink()
    }

    /// Hands it over to a watcher of this group.
    fn hand_over(mut self, group: u32) -> Result<Option<Watcher>, Error> {
        let Some(home) = &self.0 else {
            return Ok(None);
        };
        let watcher = Watcher::start(group, home)?;
        self.0 = None;
        Ok(Some(watcher))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Some(home) = &self.0 {
            let _ = std::fs::remove_dir_all(home);
        }
    }
}

/// Ends the group of User-mode Linux if this process ends first. Its first process dies with us, but its children do not.
struct Watcher(Child);

impl Watcher {
    fn start(group: u32, home: &Path) -> Result<Self, Error> {
        let mut command = Command::new("/proc/self/exe");
        command.arg(END_GROUP).arg(group.to_string()).arg(home);
        command.stdin(Stdio::piped()).process_group(0);
        command.spawn().context("start a watcher").map(Self)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"."); // ended in order
        }
        let _ = self.0.wait();
    }
}

/// A running QEMU with its two pipes, and their data so far.
struct Started {
    child: Child,
    /// Whether it has our terminal, and is in our process group.
    interactive: bool,
    /// Ends it if we cannot. It is dropped after QEMU has ended.
    _watcher: Option<Watcher>,
    console_pipe: Pipe,
    console: Console,
    result_pipe: Pipe,
    talk: Talk,
}

struct Pipe {
    file: Option<File>,
    bytes: Vec<u8>,
}

impl Pipe {
    fn fd(&self) -> libc::c_int {
        self.file.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }

    fn read(&mut self) {
        let Some(file) = &mut self.file else { return };
        let mut buffer = [0; 8192];
        match file.read(&mut buffer) {
            Ok(count) if count > 0 => self.bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => self.file = None,
        }
    }
}

impl Started {
    fn new(
        machine: &Machine<'_>,
        archive: &File,
        disks: &[(String, PathBuf)],
    ) -> Result<Self, Error> {
        let (console, console_end) = pipe()?;
        let (results, results_end) = pipe()?;
        let path = |fd: &dyn AsRawFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let ends = Ends {
            archive: path(archive),
            console: path(&console_end),
            results: path(&results_end),
        };
        // User-mode Linux needs a directory for its sockets. The watcher, which outlives us, removes it.
        let home = Home::new(machine.image.user_mode)?;
        let mut qemu = if let Some(home) = &home.0 {
            let numbers = [&console_end, &results_end].map(AsRawFd::as_raw_fd);
            user_mode_command(machine, &ends, numbers, home)
        } else {
            qemu_command(machine, &ends, disks)
        };
        let inherited = [
            archive.as_raw_fd(),
            console_end.as_raw_fd(),
            results_end.as_raw_fd(),
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
        let missing = |error: std::io::Error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                Error::host(format!(
                    "{QEMU} is not installed: run `just setup` (Debian: apt-get install qemu-system-x86)"
                ))
            } else {
                Error::host(format!("cannot start {QEMU}: {error}"))
            }
        };
        let mut child = qemu.spawn().map_err(missing)?;
        let watcher = home.hand_over(child.id()).inspect_err(|_| {
            let _ = child.kill();
        })?;
        Ok(Self {
            child,
            _watcher: watcher,
            interactive: machine.job.interactive,
            console_pipe: console.into(),
            console: Console::default(),
            result_pipe: results.into(),
            talk: Talk::default(),
        })
    }

    /// Waits for output and takes it. Returns false if there was none.
    fn wait(&mut self, limit: Duration) -> Result<bool, Error> {
        let ready = process::poll(
            &[self.console_pipe.fd(), self.result_pipe.fd()],
            Some(limit),
        )
        .context("poll")?;
        if ready[0] {
            self.console_pipe.read();
            self.console
                .hear(&std::mem::take(&mut self.console_pipe.bytes));
        }
        if ready[1] {
            self.result_pipe.read();
        }
        Ok(ready[0] || ready[1])
    }

    /// Whether QEMU has closed both pipes.
    fn is_silent(&self) -> bool {
        self.console_pipe.file.is_none() && self.result_pipe.file.is_none()
    }

    /// An error with this text, the kernel's message about a bug, and the end of the console.
    fn failed(&mut self, what: &str) -> Error {
        // Reads a limited number of times: a guest may flood its console without end.
        self.kill();
        for _ in 0..64 {
            if !matches!(self.wait(Duration::ZERO), Ok(true)) {
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
}

impl Started {
    /// Ends it, if it has not ended. User-mode Linux has several processes: its whole group is killed, which it leads unless it is
    /// interactive.
    fn kill(&mut self) {
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
            if self.wait(Duration::from_millis(100)).is_err() {
                break;
            }
        }
    }
}

impl From<OwnedFd> for Pipe {
    fn from(fd: OwnedFd) -> Self {
        Self {
            file: Some(fd.into()),
            bytes: Vec::new(),
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), Error> {
    let (reader, writer) = std::io::pipe().context("make a pipe")?;
    Ok((reader.into(), writer.into()))
}

fn memory_file(name: &CStr) -> Result<File, Error> {
    // SAFETY: the name ends with a zero, and the kernel copies it.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) };
    if fd == -1 {
        return Err(std::io::Error::last_os_error()).context("make a memory file");
    }
    // SAFETY: the kernel has just made `fd` for us alone.
    Ok(unsafe { File::from_raw_fd(fd) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_not_the_beginning_of_another() {
        assert!(is_series("6.1.0-56-cloud-amd64", "6.1"));
        assert!(!is_series("6.12.117", "6.1"));
        assert!(is_series("7.0-rc1", "7.0"));
        assert!(is_series("anything", ""));
    }

    #[test]
    fn a_program_that_cannot_run_in_a_guest_is_known() {
        let own = std::fs::read("/proc/self/exe").expect("readable");
        assert_eq!(cannot_run_alone(&own), None);
        let says = |program: &[u8], what: &str| {
            let reason = cannot_run_alone(program).expect("it cannot");
            assert!(reason.contains(what), "{reason}");
        };
        says(b"#!/bin/sh", "not a 64-bit ELF");
        let mut foreign = own;
        // `e_machine`: s390x.
        foreign[18..20].copy_from_slice(&22_u16.to_le_bytes());
        says(&foreign, "another architecture");
    }
}
