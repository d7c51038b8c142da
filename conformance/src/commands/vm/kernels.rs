//! `conformance kernels`.

use crate::commands::failure::Failure;
use crate::commands::options::Form;
use crate::commands::vm::options::{From_, say};
use clap::Subcommand;
use conformance::run::recorded;
use conformance::vm::chosen::{Chosen, Kind};
use nocopy_host::interrupt;
use on_kernel::cache::Cache;
use on_kernel::gvisor;
use on_kernel::kernels::{self, ForeignKind};
use on_kernel::project::Project;
use serde_json::{Value, json};
use std::io::Write;

#[derive(Subcommand)]
pub enum Kernels {
    /// List the kernels of the matrix and of on-kernel.toml, and what has been fetched
    List {
        /// Format of the list
        #[arg(long, value_enum, default_value_t)]
        format: Form,
    },
    /// Fetch kernels (without names, all)
    Fetch {
        /// Names as `list` prints them
        names: Vec<String>,
        #[command(flatten)]
        from: From_,
    },
    /// Remove fetched kernels, disks and package lists, but no other files
    Clean {
        /// Print what would be removed without removing it
        #[arg(long)]
        dry_run: bool,
    },
}

pub fn kernels_command(command: &Kernels) -> Result<bool, Failure> {
    let cache = Cache::open();
    match command {
        Kernels::List { format: Form::Human } => list(&cache),
        Kernels::List { format: Form::Json } => {
            let rows = kernels::rows().into_iter().map(|row| {
                let recorded = recorded::find(&row.name).map(|stored| stored.run.environment.kernel.as_str());
                let fetched = cache.find(&row.name).map(|image| {
                    image.packages.iter().map(|package| json!({ "name": package.name, "version": package.version })).collect::<Value>()
                });
                json!({
                    "name": row.name, "suite": row.suite, "flavour": row.flavour, "recorded": recorded, "packages": fetched,
                })
            });
            let kernels = rows.collect::<Value>();
            writeln!(anstream::stdout(), "{:#}", json!({ "schema": 1, "kernels": kernels }))?;
            Ok(true)
        }
        Kernels::Fetch { names, from } => {
            interrupt::watch()?;
            for kernel in Chosen::all(names)? {
                match &kernel.kind {
                    Kind::Package(_) => {}
                    Kind::Program(_) if !kernel.is_named => continue,
                    Kind::Program(row) => {
                        return Err(Failure::Usage(format!(
                            "{} is not fetched but installed: run `just setup-foreign` (Debian: apt-get install {})",
                            row.name, row.package
                        )));
                    }
                    Kind::File(image) => {
                        return Err(Failure::Usage(format!(
                            "{} is not fetched: it is the file {}",
                            kernel.name,
                            image.boot.display()
                        )));
                    }
                }
                let image = kernel.image(from.mirror.as_deref(), &say)?;
                say(&format!("{}: {}", kernel.name, image.boot.display()));
            }
            Ok(true)
        }
        Kernels::Clean { dry_run } => {
            let cleaned = cache.clean(*dry_run)?;
            let mut output = anstream::stdout().lock();
            let word = if *dry_run { "would remove" } else { "removed" };
            for (path, bytes) in &cleaned.removed {
                let mib = bytes.div_ceil(1 << 20);
                writeln!(output, "{word} {} ({mib} MiB)", path.display())?;
            }
            for path in &cleaned.left {
                writeln!(output, "left {}, which nocopy has not made", path.display())?;
            }
            if cleaned.removed.is_empty() && cleaned.left.is_empty() {
                let directory = cache.directory.display();
                writeln!(output, "nothing to remove in {directory}")?;
            }
            Ok(true)
        }
    }
}

/// The kernels of the matrix, programs that are kernels, and those of the project's own file.
fn list(cache: &Cache) -> Result<bool, Failure> {
    let mut output = anstream::stdout().lock();
    for row in kernels::rows() {
        let recorded = recorded::find(&row.name).map_or_else(
            || "not fetched".to_owned(),
            |stored| format!("not fetched; recorded {}", stored.run.environment.kernel),
        );
        let fetched = cache.find(&row.name).map_or_else(
            || recorded,
            |image| {
                image
                    .packages
                    .iter()
                    .map(|package| format!("{} {}", package.name, package.version))
                    .collect::<Vec<_>>()
                    .join(", ")
            },
        );
        writeln!(output, "{:<8} {:<18} {:<12} {fetched}", row.name, row.suite, row.flavour)?;
    }
    for row in kernels::foreign_rows() {
        let found = match row.kind {
            ForeignKind::Gvisor => gvisor::version().map(|version| format!("{} {version}", row.program)),
            ForeignKind::UserModeLinux => row.user_mode_linux().map(|image| image.boot.display().to_string()),
        };
        let installed = found.unwrap_or_else(|_| "not installed: just setup-foreign".to_owned());
        let package = format!("package {}", row.package);
        writeln!(output, "{:<8} {package:<18} {:<12} {installed}", row.name, "-")?;
    }
    let here = std::env::current_dir().unwrap_or_default();
    let (project, path) = Project::of(&here)?;
    let path = path.unwrap_or_default();
    for (name, kernel) in project.kernels {
        let file = kernel.path.map(|path| path.display().to_string());
        let what = file.or(kernel.kernel).unwrap_or_default();
        writeln!(output, "{name:<8} {what} ({})", path.display())?;
    }
    Ok(true)
}
