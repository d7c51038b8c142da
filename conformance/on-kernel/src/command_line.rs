//! How the command line is read: its help, and what is wrong with it.

#![forbid(unsafe_code)]

use crate::options::{Accel, MOST_UID, Options};
use lexopt::{Arg, Parser};
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::str::FromStr;

const USAGE: &str = "Usage: on-kernel [OPTIONS] [KERNEL] [-- <COMMAND>...]";

/// Every option is at the beginning of a line here, with the name of its value: what reads the command line takes both from it.
const HELP: &str = r"
Arguments:
  [KERNEL]      Kernel: a series of the distribution (6.1), an exact release
                (6.1.0-50), a name of on-kernel.toml, or the path of a bzImage
                or vmlinux
  [COMMAND]...  The program and its arguments

Options:
      --with <PATH[:GUEST_PATH]>  File or directory to bring, at its own path or
                                  another (can be repeated)
      --env <NAME[=VALUE]>        Variable for the program, with a value or with
                                  the one that it has here (can be repeated)
      --uid <UID>                 Run as this user instead of root
      --timeout <SECONDS>         Kill the guest, or a command in one that is
                                  kept, after this many seconds [default: 300]
      --keep                      Keep the guest for further commands of the same
                                  parent process, such as cargo
  -h, --help                      Print help
  -V, --version                   Print version

The machine:
      --modules <DIR>             For a kernel by path: directory with its modules
      --expect <RELEASE>          For a kernel by path: required beginning of its
                                  release
      --load <NAME>               Module to load first, with those that it needs
                                  (can be repeated)
      --disk <FS>                 Disk with this file system (can be repeated):
                                  ext4 at /var/tmp, others at /mnt/FS
      --network                   Two network cards that are connected with each
                                  other
      --memory <MIB>              Memory in MiB [default: 1024]
      --append <TEXT>             Arguments to add to the kernel's command line
      --accel <ACCEL>             Accelerator [default: auto]
                                  - auto: KVM if a guest boots under it,
                                    otherwise TCG
                                  - tcg:  Translation in user space
                                  - kvm:  The host's kernel
      --mirror <URL>              Mirror of the distribution [default: the one in
                                  this machine's apt configuration]

Looking at it:
      --shell                     Open a shell in the guest instead of running a
                                  program (needs busybox)
      --console <FILE>            Write the kernel's console to FILE
      --dry-run                   Print what would be run, and with which files,
                                  and run nothing
  -v, --verbose                   Print how long the guest takes, and which files
                                  it gets

Kernels:
      --list                      List the kernels and what is fetched
      --fetch                     Fetch the kernel, and run nothing
      --clean                     Remove all that was fetched

Exit status: the program's; 128 + N if signal N ended it; 2 if this machine
lacks something or an option is wrong; 125 if the guest failed: it did not come
up, died, exceeded its time, or its kernel reported a bug.

Kernels are fetched by apt from the distribution's signed index into
target/kernels, or into the directory in NOCOPY_KERNELS.
";

const ABOUT: &str = r#"Run a program on another Linux kernel, in QEMU, without root and without KVM

The program gets its shared objects, the working directory, standard input, and
the variables of cargo's tests. Its output and exit status are this command's:
`on-kernel 6.1 -- uname -r`.

As cargo's runner:
CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="on-kernel 6.1 --keep --" cargo test
"#;

/// Options that are only used alone: each excludes the others of its line.
const EXCLUSIVE: &[(&str, &[&str])] = &[
    ("shell", &["[COMMAND]...", "keep"]),
    ("list", &["[KERNEL]", "clean", "fetch", "dry-run"]),
    (
        "fetch",
        &["[COMMAND]...", "shell", "keep", "with", "env", "uid"],
    ),
    ("clean", &["[KERNEL]", "fetch"]),
];

/// Options that can be given more than once.
const REPEATED: [&str; 4] = ["with", "env", "load", "disk"];

/// What the command line asks for.
pub enum Asked {
    /// To run with these options.
    Options(Box<Options>),
    /// Only to print this.
    Text(String),
}

/// What is wrong with the command line.
#[derive(Debug)]
pub struct Wrong {
    what: String,
    tips: Vec<String>,
}

impl Wrong {
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            tips: Vec::new(),
        }
    }

    fn value(name: &str, value: &str, why: impl Display) -> Self {
        let shown = shown(name);
        Self::new(format!("invalid value '{value}' for '{shown}': {why}"))
    }

    fn unexpected(argument: &str) -> Self {
        let mut wrong = Self::new(format!("unexpected argument '{argument}' found"));
        if let Some(written) = argument.strip_prefix("--") {
            let alike = |name: &&str| strsim::jaro(written, name);
            let best = names().max_by(|a, b| alike(a).total_cmp(&alike(b)));
            if let Some(best) = best.filter(|best| alike(best) > 0.7) {
                wrong
                    .tips
                    .push(format!("a similar argument exists: '--{best}'"));
            }
        }
        let tip = format!("the program and its arguments follow '--': '-- {argument}'");
        wrong.tips.push(tip);
        wrong
    }
}

impl Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "error: {}", self.what)?;
        for (index, tip) in self.tips.iter().enumerate() {
            let before = if index == 0 { "\n" } else { "" };
            writeln!(f, "{before}  tip: {tip}")?;
        }
        writeln!(f, "\n{USAGE}\n\nFor more information, try '--help'.")
    }
}

impl From<lexopt::Error> for Wrong {
    fn from(error: lexopt::Error) -> Self {
        match error {
            lexopt::Error::UnexpectedOption(option) => Self::unexpected(&option),
            lexopt::Error::UnexpectedArgument(argument) => {
                Self::unexpected(&argument.to_string_lossy())
            }
            other => Self::new(other.to_string()),
        }
    }
}

/// Reads this process's command line. What only prints, or is wrong, is printed, and has an exit status.
pub fn read() -> Result<Options, ExitCode> {
    match parse(std::env::args_os().skip(1)) {
        Ok(Asked::Options(options)) => Ok(*options),
        Ok(Asked::Text(text)) => {
            // A reader who has gone needs no more of it.
            let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
            Err(ExitCode::SUCCESS)
        }
        Err(wrong) => {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), wrong.to_string().as_bytes());
            Err(ExitCode::from(2))
        }
    }
}

/// Reads a command line.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Asked, Wrong> {
    let mut options = Options::default();
    let mut parser = Parser::from_args(arguments);
    let mut given: Vec<String> = Vec::new();
    loop {
        let separator = parser
            .try_raw_args()
            .and_then(|mut rest| rest.next_if(|argument| argument == "--"));
        if separator.is_some() {
            for argument in parser.raw_args()? {
                options.command.push(text("[COMMAND]...", argument)?);
            }
            break;
        }
        let Some(argument) = parser.next()? else {
            break;
        };
        let name = match argument {
            Arg::Value(kernel) if options.kernel.is_none() => {
                options.kernel = Some(text("[KERNEL]", kernel)?);
                continue;
            }
            Arg::Short('h') | Arg::Long("help") => {
                return Ok(Asked::Text(format!("{ABOUT}\n{USAGE}\n{HELP}")));
            }
            Arg::Short('V') | Arg::Long("version") => {
                let version = env!("CARGO_PKG_VERSION");
                return Ok(Asked::Text(format!("on-kernel {version}\n")));
            }
            Arg::Short('v') => "verbose".to_owned(),
            Arg::Long(name) => name.to_owned(),
            other => return Err(other.unexpected().into()),
        };
        if given.contains(&name) && !REPEATED.contains(&name.as_str()) {
            let shown = shown(&name);
            return Err(Wrong::new(format!(
                "the argument '{shown}' cannot be used multiple times"
            )));
        }
        set(&mut options, &name, &mut parser)?;
        given.push(name);
    }
    check(&options, &given)?;
    Ok(Asked::Options(Box::new(options)))
}

fn set(options: &mut Options, name: &str, parser: &mut Parser) -> Result<(), Wrong> {
    match name {
        "keep" => options.keep = true,
        "network" => options.network = true,
        "shell" => options.shell = true,
        "dry-run" => options.dry_run = true,
        "verbose" => options.verbose = true,
        "list" => options.list = true,
        "fetch" => options.fetch = true,
        "clean" => options.clean = true,
        _ => {
            let value = text(name, value(name, parser)?)?;
            let path = || match value.as_str() {
                "" => Err(Wrong::value(name, "", "it is empty")),
                path => Ok(Some(path.into())),
            };
            match name {
                "with" => options.with.push(value),
                "env" => options.env.push(value),
                "load" => options.load.push(value),
                "disk" => options.disk.push(value),
                "uid" => options.uid = Some(number(name, &value, 0..=MOST_UID)?),
                "timeout" => options.timeout = Some(number(name, &value, 1..=u64::MAX)?),
                "memory" => options.memory = Some(number(name, &value, 128..=u32::MAX)?),
                "modules" => options.modules = path()?,
                "console" => options.console = path()?,
                "expect" => options.expect = Some(value),
                "append" => options.append = Some(value),
                "mirror" => options.mirror = Some(value),
                "accel" => {
                    options.accel = match value.as_str() {
                        "auto" => Accel::Auto,
                        "tcg" => Accel::Tcg,
                        "kvm" => Accel::Kvm,
                        other => {
                            return Err(Wrong::value(name, other, "it is auto, tcg or kvm"));
                        }
                    }
                }
                _ => unreachable!("only options with a value have one"),
            }
        }
    }
    Ok(())
}

/// The value of an option. A word that looks like an option is not a value, except as an argument of a kernel.
fn value(name: &str, parser: &mut Parser) -> Result<OsString, Wrong> {
    if !has_value(name) {
        return Err(Wrong::unexpected(&format!("--{name}")));
    }
    if let Some(attached) = parser.optional_value() {
        return Ok(attached);
    }
    let is_value = |next: &OsStr| name == "append" || !next.as_encoded_bytes().starts_with(b"-");
    let next = parser
        .try_raw_args()
        .and_then(|mut rest| rest.next_if(is_value));
    next.ok_or_else(|| {
        let shown = shown(name);
        Wrong::new(format!(
            "a value is required for '{shown}' but none was supplied"
        ))
    })
}

fn number<N: FromStr<Err: Display> + PartialOrd + Display>(
    name: &str,
    text: &str,
    range: RangeInclusive<N>,
) -> Result<N, Wrong> {
    let number = text
        .parse()
        .map_err(|error| Wrong::value(name, text, error))?;
    if range.contains(&number) {
        Ok(number)
    } else {
        let (from, to) = range.into_inner();
        Err(Wrong::value(
            name,
            text,
            format!("it is not in {from}..={to}"),
        ))
    }
}

fn text(name: &str, value: OsString) -> Result<String, Wrong> {
    value
        .into_string()
        .map_err(|value| Wrong::value(name, &value.to_string_lossy(), "it is not UTF-8"))
}

/// Checks what is given together, and what is missing.
fn check(options: &Options, given: &[String]) -> Result<(), Wrong> {
    let is_given = |what: &str| match what {
        "[KERNEL]" => options.kernel.is_some(),
        "[COMMAND]..." => !options.command.is_empty(),
        name => given.iter().any(|given| given == name),
    };
    for (name, others) in EXCLUSIVE.iter().filter(|(name, _)| is_given(name)) {
        if let Some(other) = others.iter().find(|other| is_given(other)) {
            let other = shown(other);
            return Err(Wrong::new(format!(
                "the argument '--{name}' cannot be used with '{other}'"
            )));
        }
    }
    if options.kernel.is_none() && !options.list && !options.clean {
        return Err(Wrong::new("a kernel is required: [KERNEL]"));
    }
    Ok(())
}

/// The options of the help, as they are written there: `--with <PATH[:GUEST_PATH]>`.
fn listed() -> impl Iterator<Item = &'static str> {
    HELP.lines().filter_map(|line| {
        let option = line.trim_start().split("  ").next()?;
        option.get(option.find("--")?..)
    })
}

fn names() -> impl Iterator<Item = &'static str> {
    listed().filter_map(|option| option[2..].split(' ').next())
}

/// An option with its value, for messages; an argument as it is.
fn shown(name: &str) -> String {
    if name.starts_with('[') {
        return name.to_owned();
    }
    let is_it = |option: &&str| option[2..].split(' ').next() == Some(name);
    listed()
        .find(is_it)
        .map_or_else(|| format!("--{name}"), str::to_owned)
}

fn has_value(name: &str) -> bool {
    shown(name).contains('<')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn parsed(line: &str) -> Result<Asked, Wrong> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn options(line: &str) -> Options {
        match parsed(line) {
            Ok(Asked::Options(options)) => *options,
            Ok(Asked::Text(text)) => panic!("{text}"),
            Err(wrong) => panic!("{wrong}"),
        }
    }

    #[test]
    fn every_option_of_the_help_is_taken() {
        let names: Vec<&str> = names().collect();
        assert_eq!(names.len(), 23, "{names:?}");
        for name in names {
            let value = if has_value(name) { "=200" } else { "" };
            let kernel = if ["list", "clean"].contains(&name) {
                ""
            } else {
                "6.1"
            };
            if name != "accel" {
                assert!(
                    parsed(&format!("{kernel} --{name}{value}")).is_ok(),
                    "{name}"
                );
            }
        }
        let options = options("--accel kvm 6.1");
        assert_eq!(options.accel, Accel::Kvm);
    }

    #[test]
    fn the_command_follows_the_hyphens() {
        let found = options("--with a:/b 6.1 -v --with c --append -x --uid=7 -- ls -- -l --keep");
        assert_eq!(found.command, ["ls", "--", "-l", "--keep"]);
        assert_eq!(found.with, ["a:/b", "c"]);
        assert_eq!(found.kernel.as_deref(), Some("6.1"));
        assert_eq!(found.append.as_deref(), Some("-x"));
        assert_eq!(
            (found.uid, found.verbose, found.keep),
            (Some(7), true, false)
        );
    }

    #[rstest]
    #[case("", "a kernel is required")]
    #[case("6.1 x", "unexpected argument 'x'")]
    #[case("6.1 --wiht x", "similar argument exists: '--with'")]
    #[case("6.1 --mem 300", "similar argument exists: '--memory'")]
    #[case("6.1 -x", "unexpected argument '-x'")]
    #[case("6.1 --keep=1", "unexpected")]
    #[case("6.1 --with", "a value is required for '--with <PATH[:GUEST_PATH]>'")]
    #[case("6.1 --with --keep", "a value is required for '--with")]
    #[case("6.1 --with -- x", "a value is required for '--with")]
    #[case("6.1 --console=", "'--console <FILE>': it is empty")]
    #[case("6.1 --uid 4294967295", "'--uid <UID>': it is not in 0..=4294967294")]
    #[case("6.1 --memory 3", "'3' for '--memory <MIB>': it is not in 128..=")]
    #[case("6.1 --timeout 0", "'--timeout <SECONDS>'")]
    #[case("6.1 --timeout x", "'x' for '--timeout <SECONDS>': invalid digit")]
    #[case("6.1 --accel foo", "auto, tcg or kvm")]
    #[case(
        "6.1 --memory 200 --memory 300",
        "'--memory <MIB>' cannot be used multiple"
    )]
    #[case("6.1 --list", "'--list' cannot be used with '[KERNEL]'")]
    #[case("--list --clean", "'--list' cannot be used with '--clean'")]
    #[case("6.1 --shell -- a", "'--shell' cannot be used with '[COMMAND]...'")]
    #[case(
        "6.1 --fetch --env A",
        "'--fetch' cannot be used with '--env <NAME[=VALUE]>'"
    )]
    fn what_is_wrong_is_said(#[case] line: &str, #[case] part: &str) {
        let Err(wrong) = parsed(line) else {
            panic!("`{line}` is taken");
        };
        let wrong = wrong.to_string();
        assert!(wrong.contains(part) && wrong.contains(USAGE), "{wrong}");
    }

    #[test]
    fn help_fits_a_terminal_and_needs_no_kernel() {
        let Ok(Asked::Text(help)) = parsed("--list 6.1 --help") else {
            panic!("no help");
        };
        let longest = help.lines().map(str::len).max();
        assert!(longest <= Some(82), "{longest:?}");
    }
}
