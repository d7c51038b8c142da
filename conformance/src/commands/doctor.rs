//! `conformance doctor`: what this machine lacks, what that costs, and the command that mends it.

use super::failure::Failure;
use super::options::{Running, Selection, select};
use super::output::{open_output, progress};
use super::running::run;
use clap::Args;
use conformance::run::record::Run;
use conformance::run::text::plural;
use conformance::verdict::Reason;
use nocopy_host::{interrupt, programs};
use serde_json::{Value, json};
use std::io::{self, Write};

#[derive(Args)]
pub struct Doctor {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    running: Running,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Programs that parts of the suite start.
struct Tools {
    names: &'static [&'static str],
    /// What is done with them.
    what: &'static str,
    remedy: &'static str,
}

const TOOLS: &[Tools] = &[
    Tools {
        names: &["qemu-system-x86_64"],
        what: "other kernels: matrix, vm, grids with --kernels",
        remedy: "just setup",
    },
    Tools {
        names: &[
            "mkfs.ext4",
            "mkfs.xfs",
            "mkfs.btrfs",
            "mkfs.f2fs",
            "mkfs.vfat",
            "mkfs.exfat",
            "mkfs.ntfs",
            "mksquashfs",
            "mkfs.erofs",
            "xorriso",
        ],
        what: "file systems: fs, and claims about them",
        remedy: "just setup",
    },
    Tools { names: &["redis-server", "redis-cli"], what: "real masters: just redis-test", remedy: "just setup-redis" },
    Tools {
        names: &["nginx", "haproxy", "python3"],
        what: "other programs: bench --peers",
        remedy: "just setup-peers",
    },
    Tools { names: &["chromium", "npm"], what: "the site in a browser: just site-test", remedy: "just setup-site" },
    Tools { names: &["valgrind"], what: "instructions per call: just callgrind", remedy: "apt install valgrind" },
];

impl Tools {
    fn missing(&self) -> Vec<&'static str> {
        self.names.iter().copied().filter(|name| programs::find_of_root(name).is_none()).collect()
    }
}

/// A reason for which claims cannot be decided here, with their ids.
type Lacking<'run> = (&'run Reason, Vec<&'run str>);

/// The reasons, that of most claims first.
fn lacking(run: &Run) -> Vec<Lacking<'_>> {
    let mut all: Vec<Lacking<'_>> = Vec::new();
    for record in &run.records {
        let Some(reason) = &record.reason else { continue };
        match all.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, ids)) => ids.push(&record.id),
            None => all.push((reason, vec![&record.id])),
        }
    }
    all.sort_by_key(|(_, ids)| std::cmp::Reverse(ids.len()));
    all
}

pub fn doctor_command(options: &Doctor) -> Result<bool, Failure> {
    let claims = select(&options.selection)?;
    interrupt::watch()?;
    let progress = progress(claims.len());
    let run = run(&claims, &options.running, &progress, |_| Ok(()))?;
    progress.finish_and_clear();
    let mut output = open_output(None)?;
    if options.json {
        writeln!(output, "{:#}", as_json(&run))?;
    } else {
        human(&mut output, &run)?;
    }
    output.finish()?;
    Ok(true)
}

fn decided(run: &Run) -> usize {
    run.records.iter().filter(|record| record.verdict.is_decided()).count()
}

fn human(output: &mut dyn Write, run: &Run) -> io::Result<()> {
    let environment = &run.environment;
    writeln!(output, "Linux {} ({}), user {}\n", environment.kernel, environment.machine, environment.uid)?;
    for tools in TOOLS {
        let missing = tools.missing();
        if missing.is_empty() {
            writeln!(output, "there     {}: {}", tools.what, tools.names.join(", "))?;
        } else {
            writeln!(output, "missing   {}: {}\n          mend it: {}", tools.what, missing.join(", "), tools.remedy)?;
        }
    }
    writeln!(output, "\n{} of {} can be decided here", decided(run), plural(run.records.len(), "claim"))?;
    for (reason, ids) in lacking(run) {
        let rest = if ids.len() > 3 { format!(" and {} more", ids.len() - 3) } else { String::new() };
        let first = ids.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        let text = format!("{}: {first}{rest}", reason.what);
        let count = format!("{:>7}   ", ids.len());
        let options = textwrap::Options::new(width()).initial_indent(&count).subsequent_indent("          ");
        writeln!(output, "{}", textwrap::fill(&text, &options))?;
        writeln!(output, "          mend it: {}", reason.remedy)?;
    }
    for record in run.records.iter().filter(|record| record.verdict.is_failure()) {
        writeln!(output, "failed    {}: {}", record.id, record.what_happened())?;
    }
    Ok(())
}

fn width() -> usize {
    textwrap::termwidth().min(100)
}

fn as_json(run: &Run) -> Value {
    let tools = TOOLS.iter().map(|tools| {
        json!({ "for": tools.what, "programs": tools.names, "missing": tools.missing(), "remedy": tools.remedy })
    });
    let lacking = lacking(run).into_iter().map(
        |(reason, ids)| json!({ "kind": reason.kind, "what": reason.what, "remedy": reason.remedy, "claims": ids }),
    );
    let failed = run.records.iter().filter(|record| record.verdict.is_failure());
    json!({
        "schema": 1,
        "environment": run.environment,
        "programs": tools.collect::<Value>(),
        "claims": run.records.len(),
        "decided": decided(run),
        "undecided": lacking.collect::<Value>(),
        "failed": failed.map(|record| json!({ "id": record.id, "what": record.what_happened() })).collect::<Value>(),
    })
}
