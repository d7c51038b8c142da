//! The program in surroundings that refuse, lack or end things: it says what it lost, decides the rest, leaves nothing.
//!
//! What a test needs and this machine refuses makes the test ignored, with the reason: it is not a pass.

mod seccomp;

use conformance::claim::Claim;
use conformance::seed::Document;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use seccomp::step;
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_int};
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

type Test = Result<Completion, Failed>;

fn main() {
    let arguments = Arguments::from_args();
    let trial = |name: &str, test: fn() -> Test| Trial::ignorable_test(name, test);
    let trials = vec![
        trial("an-unprivileged-user-decides-all-but-three", unprivileged),
        trial("ptrace-refused.only-counting-is-lost", ptrace_refused),
        // A guest has NFS and overlays, too, whose experiments enter namespaces.
        trial(
            "host_only::unshare-refused.only-namespaces-are-lost",
            unshare_refused,
        ),
        trial(
            "host_only::io_uring-refused.the-benchmark-goes-on",
            uring_refused,
        ),
        trial(
            "host_only::vmsplice-refused.the-benchmark-ends",
            vmsplice_refused,
        ),
        trial("sixteen-descriptors.no-panic-no-hang", sixteen_descriptors),
        trial(
            "thirty-two-descriptors.real-servers-are-untestable",
            too_few_descriptors_for_servers,
        ),
        trial("loopback-down.real-servers-are-untestable", loopback_down),
        trial(
            "proc-of-another-namespace.every-claim-ends",
            proc_of_another_namespace,
        ),
        trial("standard-input-closed", stdin_closed),
        trial("standard-output-full.one-clear-line", stdout_full),
        trial("standard-output-closed-early.ends", stdout_closed_early),
        trial("directory-without-write-permission", read_only_directory),
        trial("temp-directory-full.another-is-used", temp_full),
        trial("scratch-full.one-clear-line", scratch_full),
        trial("killed-half-way.nothing-is-left", || {
            ended_by(libc::SIGKILL)
        }),
        trial("terminated-half-way.nothing-is-left", || {
            ended_by(libc::SIGTERM)
        }),
        trial("interrupted-half-way.nothing-is-left", || {
            ended_by(libc::SIGINT)
        }),
        trial("grid-killed-at-any-moment.nothing-is-left", || {
            grids_ended_by(libc::SIGKILL)
        }),
        trial("grid-terminated-at-any-moment.nothing-is-left", || {
            grids_ended_by(libc::SIGTERM)
        }),
        trial("grid-interrupted-at-any-moment.nothing-is-left", || {
            grids_ended_by(libc::SIGINT)
        }),
        trial("supervisor-killed.the-rest-is-broken", supervisor_killed),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// The program with a variable in its environment by which all its processes can be found.
struct Marked {
    command: Command,
    mark: String,
    scratch: tempfile::TempDir,
}

impl Marked {
    fn new(arguments: &[&str]) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let mark = format!(
            "{}.{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let scratch = tempfile::tempdir().expect("a temporary directory");
        // Any user may make files there.
        std::fs::set_permissions(scratch.path(), std::fs::Permissions::from_mode(0o777))
            .expect("chmod");
        let mut command = Command::new(env!("CARGO_BIN_EXE_conformance"));
        command
            .args(arguments)
            .env("NOCOPY_MARK", &mark)
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null());
        Self {
            command,
            mark: format!("NOCOPY_MARK={mark}"),
            scratch,
        }
    }

    /// A run of all claims in the stored form.
    fn check() -> Self {
        Self::new(&["check", "--format", "jsonl"])
    }

    /// A run of the selected claims in the stored form.
    fn check_selected() -> Self {
        Self::check().of(selected())
    }

    /// A run of the source document's claims in the stored form.
    fn check_document() -> Self {
        let registry = conformance::claims::REGISTRY.all();
        Self::check().of(registry.filter(|claim| Document::load().is_decided_by(claim)))
    }

    /// The same run of these claims only.
    fn of(mut self, claims: impl IntoIterator<Item = &'static Claim>) -> Self {
        for claim in claims {
            self.command.arg("--filter").arg(format!("={}", claim.id));
        }
        self
    }

    /// A run of some, where any will do.
    fn check_some() -> Self {
        Self::new(&["check", "--format", "jsonl", "--filter", "sendfile.errors."])
    }

    /// Runs to the end; nothing may be left.
    fn output(mut self) -> Result<Output, Failed> {
        let output = self.command.output()?;
        self.nothing_is_left()?;
        Ok(output)
    }

    /// No process and no file. Processes that have been killed may take a moment to go.
    fn nothing_is_left(&self) -> Result<(), Failed> {
        let limit = Instant::now() + Duration::from_mins(1);
        while !self.processes().is_empty() {
            if Instant::now() > limit {
                return Err(format!("processes are left: {:?}", self.processes()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let files: Vec<_> = std::fs::read_dir(self.scratch.path())?.collect();
        if files.is_empty() {
            Ok(())
        } else {
            Err(format!("files are left: {files:?}").into())
        }
    }

    fn processes(&self) -> Vec<String> {
        let entries = std::fs::read_dir("/proc").expect("/proc");
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        pids.filter(|pid| {
            let environment =
                std::fs::read(Path::new("/proc").join(pid).join("environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == self.mark.as_bytes())
        })
        .collect()
    }

    /// Prepares the process by system calls between fork and exec.
    fn prepared(mut self, prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static) -> Self {
        // SAFETY: the functions below make system calls on their own stack only: safe after fork.
        unsafe { self.command.pre_exec(prepare) };
        self
    }
}

/// What surroundings can take away, and a few of all others: the same run by run, and several times in these tests.
fn selected() -> Vec<&'static Claim> {
    let registry = conformance::claims::REGISTRY.all().enumerate();
    registry
        .filter(|(index, claim)| claim.traced || !claim.modules.is_empty() || index % 32 == 0)
        .map(|(_, claim)| claim)
        .collect()
}

/// The results of a run in the stored form.
struct Results(Vec<Value>);

impl Results {
    fn of(output: &Output) -> Result<Self, Failed> {
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Result<Vec<Value>, _> = text.lines().map(serde_json::from_str).collect();
        let errors = String::from_utf8_lossy(&output.stderr);
        if errors.contains("panicked") {
            return Err(format!("it panicked: {errors}").into());
        }
        let results = Self(lines.map_err(|error| format!("{error}: {text} {errors}"))?);
        match results.0.last() {
            Some(end) if end["type"] == "end" => Ok(results),
            _ => Err(format!("no end: {text} {errors}").into()),
        }
    }

    fn claims(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(|line| line["type"] == "claim")
    }

    fn with_verdict(&self, verdict: &str) -> BTreeSet<&str> {
        self.claims()
            .filter(|claim| claim["verdict"] == verdict)
            .filter_map(|claim| claim["id"].as_str())
            .collect()
    }

    fn lost(&self, what: &str) -> bool {
        self.0[0]["lost"][what].is_string()
    }
}

fn check(good: bool, what: impl FnOnce() -> String) -> Result<(), Failed> {
    if good { Ok(()) } else { Err(what().into()) }
}

/// Green, nothing broken, every selected claim there; untestable are exactly those, and what is untestable here in any case.
fn only_untestable(output: &Output, expected: impl Fn(&Claim) -> bool) -> Test {
    let results = Results::of(output)?;
    let broken: Vec<_> = results
        .claims()
        .filter(|claim| claim["failure"].is_string())
        .collect();
    check(broken.is_empty(), || format!("{broken:?}"))?;
    check(output.status.code() == Some(0), || {
        format!("{}", output.status)
    })?;
    let registry = selected();
    check(results.claims().count() == registry.len(), || {
        "claims are missing".into()
    })?;
    let anyway = untestable_anyway()?;
    let expected: BTreeSet<&str> = registry
        .iter()
        .filter(|claim| expected(claim) || anyway.iter().any(|id| id == claim.id))
        .map(|claim| claim.id)
        .collect();
    let untestable = results.with_verdict("untestable");
    check(untestable == expected, || {
        format!("untestable: {untestable:?}, expected: {expected:?}")
    })?;
    Ok(Completion::Completed)
}

/// The claims that are untestable on this machine without any surroundings, found out once.
fn untestable_anyway() -> Result<Vec<String>, Failed> {
    static FOUND: Mutex<Option<Vec<String>>> = Mutex::new(None);
    let mut found = FOUND.lock().map_err(|_| "who looked first failed")?;
    if found.is_none() {
        let output = Marked::check_selected().output()?;
        let results = Results::of(&output)?;
        let untestable = results.with_verdict("untestable");
        *found = Some(untestable.into_iter().map(str::to_owned).collect());
    }
    Ok(found.clone().unwrap_or_default())
}

/// At most three of the source document's claims are untestable, and the run is green.
fn at_most_three_untestable(output: &Output) -> Test {
    let results = Results::of(output)?;
    let of_document = |id: &&str| {
        conformance::claims::REGISTRY
            .find(id)
            .is_some_and(Claim::is_of_document)
    };
    // What the kernel does not have, or what is not installed, nobody has.
    let is_missing = |reason: &Value| {
        let what = reason["what"].as_str().unwrap_or_default();
        reason["kind"] == "kernel" || what.ends_with(" is not installed")
    };
    let lacking: Vec<&str> = results
        .claims()
        .filter(|claim| claim["verdict"] == "untestable" && !is_missing(&claim["reason"]))
        .filter_map(|claim| claim["id"].as_str())
        .filter(of_document)
        .collect();
    check(lacking.len() <= 3, || format!("untestable: {lacking:?}"))?;
    check(output.status.code() == Some(0), || {
        format!("{}", output.status)
    })?;
    Ok(Completion::Completed)
}

fn unprivileged() -> Test {
    // SAFETY: geteuid takes nothing.
    let root = unsafe { libc::geteuid() } == 0;
    let mut run = Marked::check_document();
    if root {
        run.command.uid(65534).gid(65534);
    }
    let output = match run.output() {
        // The build directory may be closed to others.
        Err(error) if root && format!("{error:?}").contains("Permission denied") => {
            return Ok(Completion::ignored_with(format!("{error:?}")));
        }
        output => output?,
    };
    at_most_three_untestable(&output)
}

fn ptrace_refused() -> Test {
    let output = Marked::check_selected()
        .prepared(|| refuse(&[libc::SYS_ptrace]))
        .output()?;
    check(Results::of(&output)?.lost("ptrace"), || {
        "the environment does not say so".into()
    })?;
    only_untestable(&output, |claim| claim.traced)
}

fn unshare_refused() -> Test {
    let output = Marked::check_selected()
        .prepared(|| refuse(&[libc::SYS_unshare, libc::SYS_setns, libc::SYS_clone3]))
        .output()?;
    check(Results::of(&output)?.lost("pid_namespace"), || {
        "the environment does not say so".into()
    })?;
    only_untestable(&output, |claim| {
        claim
            .modules
            .iter()
            .any(|module| ["dummy", "veth"].contains(module))
    })
}

fn bench(sink: &str, refused: &'static [libc::c_long]) -> Result<Output, Failed> {
    let arguments = ["bench", "--rounds", "3", "--mib", "1", "--sink", sink];
    Marked::new(&arguments)
        .prepared(move || refuse(refused))
        .output()
}

/// What a sandbox has not is left out, and named.
fn uring_refused() -> Test {
    let output = bench("TCP", &[libc::SYS_io_uring_setup])?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    check(output.status.success(), || format!("{output:?}"))?;
    check(text.contains("not measured: io_uring: EPERM"), || text)?;
    Ok(Completion::Completed)
}

/// A sender that fails does not keep the benchmark waiting for its report.
fn vmsplice_refused() -> Test {
    let output = bench("AF_UNIX", &[libc::SYS_vmsplice])?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    check(output.status.code() == Some(2), || format!("{output:?}"))?;
    check(text.contains("vmsplice, pipe 1 MiB: "), || text)?;
    Ok(Completion::Completed)
}

/// A seccomp filter that answers `EPERM` to these calls (x86-64 numbers; clone3 falls back to clone in every libc).
#[expect(
    clippy::cast_possible_truncation,
    reason = "codes of 16 bits, declared wider"
)]
fn refuse(calls: &[libc::c_long]) -> io::Result<()> {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let mut program = [step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW); 16];
    program[0] = step(LOAD_NUMBER, 0, 0, 0);
    let mut length = 1;
    for call in calls {
        let refusal = if *call == libc::SYS_clone3 {
            libc::ENOSYS
        } else {
            libc::EPERM
        };
        program[length] = step(IF_EQUAL, 0, 1, u32::try_from(*call).unwrap_or(u32::MAX));
        program[length + 1] = step(
            RETURN,
            0,
            0,
            libc::SECCOMP_RET_ERRNO | refusal.cast_unsigned(),
        );
        length += 2;
    }
    seccomp::install(&mut program[..=length])
}

fn limit_descriptors(number: u64) -> io::Result<()> {
    let limit = libc::rlimit {
        rlim_cur: number,
        rlim_max: number,
    };
    // SAFETY: the limit is read during the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// A run of the claims about real servers: none is red, and every one that can be tried elsewhere says that this stands in its way.
fn servers_are_untestable(
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
    remedy: &str,
) -> Test {
    let of_servers = |claim: &&Claim| claim.programs.contains(&"redis-server");
    let claims = || {
        let registry = conformance::claims::REGISTRY.all();
        registry.filter(of_servers)
    };
    if conformance::lab::redis::servers::Program::redis().is_err() {
        return Ok(Completion::ignored_with("redis-server is not installed"));
    }
    let output = Marked::check()
        .of(claims())
        .prepared(prepare)
        .output()
        .map_err(|error| format!("{error:?}"))?;
    let results = Results::of(&output)?;
    check(results.claims().count() == claims().count(), || {
        "claims are missing".into()
    })?;
    for claim in results.claims() {
        let said = claim["reason"]["remedy"].as_str().unwrap_or_default();
        check(said.contains(remedy), || format!("{claim}"))?;
    }
    // Nothing is wrong, and nothing was decided: that is not green.
    let said = String::from_utf8_lossy(&output.stderr);
    check(output.status.code() == Some(1), || {
        format!("{}", output.status)
    })?;
    check(said.contains("nothing was decided"), || said.to_string())?;
    Ok(Completion::Completed)
}

fn too_few_descriptors_for_servers() -> Test {
    servers_are_untestable(|| limit_descriptors(32), "ulimit -n")
}

fn loopback_down() -> Test {
    let enter = || {
        // SAFETY: unshare takes no pointer.
        let done = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    servers_are_untestable(enter, "ip link set lo up")
}

/// Process 1 of a PID namespace whose `/proc` is the outer one: a number there is of another process than the same number here.
fn proc_of_another_namespace() -> Test {
    const LIMIT: Duration = Duration::from_mins(2);
    let claims = ["=splice.sample.two-steps", "=sendfile.errors.ebadf"];
    let mut run = Marked::new(&[]);
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--pid", "--fork"])
        .arg("--kill-child=KILL")
        .arg(env!("CARGO_BIN_EXE_conformance"))
        .args(["check", "--format", "jsonl"]);
    for claim in claims {
        command.args(["--filter", claim]);
    }
    let (_, mark) = run.mark.split_once('=').ok_or("a variable")?;
    command
        .env("NOCOPY_MARK", mark)
        .env("TMPDIR", run.scratch.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    run.command = command;
    let mut child = match run.command.spawn() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Completion::ignored_with("unshare(1) is not installed"));
        }
        child => child?,
    };
    let since = Instant::now();
    while child.try_wait()?.is_none() {
        if since.elapsed() > LIMIT {
            child.kill()?; // and, by its own signal, process 1 of the namespace
            let output = child.wait_with_output()?;
            return Err(format!("it has not ended: {output:?}").into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    run.nothing_is_left()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("unshare failed") {
        return Ok(Completion::ignored_with(said.trim()));
    }
    let results = Results::of(&output)?;
    check(results.claims().count() == claims.len(), || {
        "claims are missing".into()
    })?;
    for claim in results.claims() {
        let verdict = claim["verdict"].as_str().unwrap_or_default();
        check(["holds", "refuted"].contains(&verdict), || {
            format!("{claim}")
        })?;
    }
    Ok(Completion::Completed)
}

fn sixteen_descriptors() -> Test {
    let limited = Marked::check_selected().prepared(|| limit_descriptors(16));
    let output = limited.output()?;
    let results = Results::of(&output)?;
    let broken: Vec<_> = results
        .claims()
        .filter(|claim| claim["failure"].is_string())
        .collect();
    check(broken.is_empty(), || format!("{broken:?}"))?;
    let anyway = untestable_anyway()?;
    let lost = results
        .claims()
        .filter(|claim| claim["verdict"] == "untestable");
    for claim in lost.filter(|claim| {
        !claim["id"]
            .as_str()
            .is_some_and(|id| anyway.iter().any(|known| known == id))
    }) {
        check(claim["reason"]["kind"] == "resource", || format!("{claim}"))?;
    }
    check(output.status.code() == Some(0), || {
        format!("{}", output.status)
    })?;
    Ok(Completion::Completed)
}

fn stdin_closed() -> Test {
    let output = Marked::check_some()
        .prepared(|| {
            // SAFETY: closes this process's own descriptor.
            unsafe { libc::close(0) };
            Ok(())
        })
        .output()?;
    at_most_three_untestable(&output)
}

fn stdout_full() -> Test {
    for format in ["human", "jsonl"] {
        let mut run = Marked::new(&["check", "--filter", "call.present", "--format", format]);
        run.command
            .stdout(std::fs::File::options().write(true).open("/dev/full")?);
        let output = run.output()?;
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        let complaint: Vec<&str> = message
            .lines()
            .filter(|line| !line.starts_with("deciding"))
            .collect();
        check(
            complaint.len() == 1 && complaint[0].contains("space"),
            || message.clone(),
        )?;
        check(output.status.code() == Some(2), || {
            format!("{}", output.status)
        })?;
    }
    Ok(Completion::Completed)
}

fn stdout_closed_early() -> Test {
    let mut run = Marked::check_some();
    let mut child = run
        .command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let mut errors = String::new();
    child
        .stderr
        .take()
        .expect("piped")
        .read_to_string(&mut errors)?;
    child.wait()?;
    check(!errors.contains("panicked"), || errors.clone())?;
    run.nothing_is_left()?;
    Ok(Completion::Completed)
}

fn read_only_directory() -> Test {
    let mut run = Marked::check_some();
    run.command.current_dir("/proc");
    at_most_three_untestable(&run.output()?)
}

/// Puts a full file system on `directory`, in a mount namespace of its own.
fn fill(directory: &CStr) -> io::Result<()> {
    let result = |done: c_int| {
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: unshare takes no pointer; mount reads strings that end with a zero.
    unsafe {
        result(libc::unshare(libc::CLONE_NEWNS))
            .or_else(|_| result(libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNS)))?;
        let none = std::ptr::null();
        result(libc::mount(
            none,
            c"/".as_ptr(),
            none,
            libc::MS_REC | libc::MS_PRIVATE,
            none.cast(),
        ))?;
        let size = c"size=4k,nr_inodes=2".as_ptr().cast();
        result(libc::mount(
            c"none".as_ptr(),
            directory.as_ptr(),
            c"tmpfs".as_ptr(),
            0,
            size,
        ))
    }
}

/// A run whose directory for files is full.
fn with_full_directory(run: Marked) -> Result<Output, Failed> {
    let directory = CString::new(run.scratch.path().as_os_str().as_bytes())?;
    run.prepared(move || fill(&directory)).output()
}

fn temp_full() -> Test {
    let output = match with_full_directory(Marked::check_some()) {
        Err(error) => {
            return Ok(Completion::ignored_with(format!(
                "no mount namespace: {error:?}"
            )));
        }
        Ok(output) => output,
    };
    let results = Results::of(&output)?;
    let passed_over = results.0[0]["passed_over"].to_string();
    check(passed_over.contains("No space"), || passed_over.clone())?;
    at_most_three_untestable(&output)
}

fn scratch_full() -> Test {
    let mut run = Marked::new(&["check", "--filter", "sendfile"]);
    let full = run.scratch.path().to_owned();
    run.command.arg("--scratch").arg(&full);
    let output = match with_full_directory(run) {
        Err(error) => {
            return Ok(Completion::ignored_with(format!(
                "no mount namespace: {error:?}"
            )));
        }
        Ok(output) => output,
    };
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    check(
        message.contains("No space") && message.contains("--scratch"),
        || message.clone(),
    )?;
    check(output.status.code() == Some(2), || {
        format!("{}", output.status)
    })?;
    Ok(Completion::Completed)
}

/// A run that has brought its first result and has many to go.
fn half_way(run: &mut Marked) -> Result<(Child, BufReader<std::process::ChildStdout>), Failed> {
    run.command
        .args(["--jobs", "1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut child = run.command.spawn()?;
    let mut lines = BufReader::new(child.stdout.take().expect("piped"));
    let mut said = String::new();
    while !said.contains(r#""type":"claim""#) {
        check(lines.read_line(&mut said)? > 0, || "it ended early".into())?;
    }
    Ok((child, lines))
}

fn ended_by(signal: c_int) -> Test {
    let mut run = Marked::check();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let (mut child, mut lines) = half_way(&mut run)?;
    // SAFETY: kill takes no pointer; the child has not been waited for.
    unsafe { libc::kill(child.id().cast_signed(), signal) };
    // It reports the claims that it has not reached, which is more than a pipe holds.
    io::copy(&mut lines, &mut io::sink())?;
    let status = child.wait()?;
    check(!status.success(), || format!("{status}"))?;
    run.nothing_is_left()?;
    check(
        mounts == std::fs::read_to_string("/proc/self/mountinfo")?,
        || "a mount is left".into(),
    )?;
    Ok(Completion::Completed)
}

/// What of this machine a grid could leave otherwise than it was: mounts, settings, loop devices over files of the run.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    mounts: String,
    settings: Vec<String>,
    loops: Vec<String>,
}

impl Machine {
    fn now(scratch: &Path) -> Result<Self, Failed> {
        const SETTINGS: [&str; 5] = [
            "vm/nr_hugepages",
            "fs/pipe-max-size",
            "fs/pipe-user-pages-soft",
            "kernel/domainname",
            "net/core/optmem_max",
        ];
        let read = |path: String| std::fs::read_to_string(path).unwrap_or_default();
        let settings = SETTINGS.map(|name| read(format!("/proc/sys/{name}")));
        let devices = std::fs::read_dir("/sys/block").into_iter().flatten();
        let files = devices.flatten().map(|device| {
            let name = device.file_name();
            read(format!("/sys/block/{}/loop/backing_file", name.display()))
        });
        let scratch = scratch.display().to_string();
        Ok(Self {
            mounts: std::fs::read_to_string("/proc/self/mountinfo")?,
            settings: settings.to_vec(),
            loops: files.filter(|file| file.contains(&scratch)).collect(),
        })
    }
}

/// Ends runs of three grids, each at a moment of its own between their first process and their end.
fn grids_ended_by(signal: c_int) -> Test {
    const RUNS: u64 = 6;
    let seed = std::process::id();
    for (grid, longest) in [("fds", 600), ("pairs", 1000), ("fs", 1500)] {
        for run in 0..RUNS {
            let mut marked = Marked::new(&[grid, "--format", "jsonl"]);
            let before = Machine::now(marked.scratch.path())?;
            // Any moment will do, so it need not be a good random number.
            let random = u64::from(seed).wrapping_mul(6_364_136_223_846_793_005);
            let moment = random.rotate_left(20).wrapping_add(run * longest / RUNS) % longest;
            let mut child = marked
                .command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()?;
            std::thread::sleep(Duration::from_millis(moment));
            // SAFETY: kill takes no pointer; the child has not been waited for.
            unsafe { libc::kill(child.id().cast_signed(), signal) };
            child.wait()?;
            let what = format!("{grid}, ended after {moment} ms");
            let left = marked.nothing_is_left();
            left.map_err(|failed| format!("{what}: {}", failed.message().unwrap_or_default()))?;
            let after = Machine::now(marked.scratch.path())?;
            check(before == after, || format!("{what}: {before:?}, {after:?}"))?;
        }
    }
    Ok(Completion::Completed)
}

fn supervisor_killed() -> Test {
    let mut run = Marked::check();
    let (mut child, mut lines) = half_way(&mut run)?;
    let pid = child.id();
    let supervisor = run.processes().into_iter().find(|found| {
        std::fs::read(format!("/proc/{found}/cmdline"))
            .is_ok_and(|line| line.ends_with(b"__supervise\0"))
            && std::fs::read_to_string(format!("/proc/{found}/status"))
                .is_ok_and(|status| status.contains(&format!("PPid:\t{pid}\n")))
    });
    let supervisor: c_int = supervisor.ok_or("no supervisor was found")?.parse()?;
    // SAFETY: kill takes no pointer; the process is the one found above.
    unsafe { libc::kill(supervisor, libc::SIGKILL) };
    let mut rest = String::new();
    lines.read_to_string(&mut rest)?;
    let status = child.wait()?;
    run.nothing_is_left()?;
    check(status.code() == Some(1), || format!("{status}"))?;
    check(
        rest.contains("no result: the supervisor ended early"),
        || rest.clone(),
    )?;
    let claims = rest
        .lines()
        .filter(|line| line.contains(r#""type":"claim""#))
        .count();
    // One claim was read above.
    check(
        claims + 1 == conformance::claims::REGISTRY.all().count(),
        || format!("{claims} claims"),
    )?;
    Ok(Completion::Completed)
}
