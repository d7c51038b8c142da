//! `redis bench`.

use super::super::bench::{Shown, progress, read};
use crate::commands::failure::Failure;
use clap::Args;
use conformance::bench::run::Conditions;
use conformance::lab::netns;
use conformance::lab::redis::servers::Program;
use conformance::redis::bench::{Bench, Receiver, Run, SENDERS, report};
use conformance::verdict::{Setup, Stop};
use std::fs;
use std::io::Write;
use std::path::PathBuf;

#[derive(Args)]
pub struct Options {
    /// Number of rounds; each runs every sender once
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=1000))]
    rounds: u16,
    /// Size of the file, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 1024, value_parser = clap::value_parser!(u16).range(1..=16384))]
    mib: u16,
    /// Only to receivers that discard the file: real replicas take seconds to load it
    #[arg(long)]
    null: bool,
    /// Congestion control of every sender (masters then run in a network namespace): reno, or one that the system allows
    #[arg(long, value_name = "NAME")]
    congestion: Option<String>,
    #[command(flatten)]
    shown: Shown,
    /// Report an earlier run, written by `--format json`, without measuring
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rounds", "mib", "null", "congestion"])]
    from: Option<PathBuf>,
}

pub fn bench_command(options: &Options) -> Result<bool, Failure> {
    let output = options.shown.prepare()?;
    let run: Run = match &options.from {
        Some(path) => read(path)?,
        None => measure(options).map_err(|stop| Failure::Usage(stop.to_string()))?,
    };
    let tables = |output: &mut dyn Write, markdown| report::write(output, &run, markdown);
    let pictures = || report::pictures(&run);
    options.shown.show(output, &run, pictures, tables)?;
    Ok(true)
}

fn measure(options: &Options) -> Result<Run, Stop> {
    let program = Program::redis()?;
    let own = std::env::current_exe().map_err(|error| Stop::broken(format!("where this program is: {error}")))?;
    if let Some(name) = &options.congestion {
        let path = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
        let allowed = fs::read_to_string(path).setup(path)?;
        if !allowed.split_whitespace().any(|one| one == name) {
            let why = format!(
                "{name}: a network namespace may have one of these: {} (sysctl net.ipv4.tcp_allowed_congestion_control)",
                allowed.trim()
            );
            return Err(Stop::broken(why));
        }
        // It is this thread that goes there, and all that it starts from here on.
        netns::alone(&[("net/ipv4/tcp_congestion_control", name)])?;
    }
    let mut on = Conditions::here();
    eprintln!("making a file of {} MiB, and masters that have it", options.mib);
    let mut bench = Bench::new(program, own, options.mib.into())?;
    let receivers: &[Receiver] = if options.null { &[Receiver::Null] } else { &[Receiver::Null, Receiver::Replica] };
    let rounds = usize::from(options.rounds);
    let progress = progress(receivers.len() * SENDERS.len() * rounds);
    let lines = bench.run(receivers, rounds, || progress.inc(1))?;
    progress.finish_and_clear();
    on.end();
    Ok(Run { on, server: bench.server()?, length: bench.length, lines })
}
