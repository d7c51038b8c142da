//! Grids in guests: the options that `fds`, `fs` and `ledger` share.

use crate::commands::failure::Failure;
use crate::commands::vm::options::{From_, GuestOptions, Named, say};
use clap::Args;
use conformance::claim::Claim;
use conformance::grids::grid::Grid;
use conformance::grids::records;
use conformance::grids::sheet::Sheet;
use conformance::vm::chosen::Chosen;
use conformance::vm::matrix;
use nocopy_host::images;
use on_kernel::error::Error;
use on_kernel::job::Job;
use on_kernel::kernels::Image;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// When a guest that makes a grid is given up, if nothing else is said.
const GRID_LIMIT: Duration = Duration::from_mins(15);

/// The kernels on which a grid is made, instead of the running one.
#[derive(Args)]
pub struct GridMachines {
    /// Run on these kernels (comma-separated, or `all`) and print what differs
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    kernels: Vec<String>,
    #[command(flatten)]
    more: Named,
    /// Number of guests to run at a time [default: one per CPU]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    guests: Option<u16>,
    #[command(flatten)]
    guest: GuestOptions,
    #[command(flatten)]
    from: From_,
    /// Directory for the grids of guests, a file per kernel [default: target/grids/GRID]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
}

impl GridMachines {
    /// Whether there are any.
    pub fn are_named(&self) -> bool {
        !self.kernels.is_empty() || !self.more.kernel.is_empty()
    }

    /// Options that say something about guests, and are given although there are none.
    pub fn without_use(&self) -> Option<&'static str> {
        let of_guests = self.guest.given().first().copied();
        let others = [
            (self.from.mirror.is_some(), "--mirror"),
            (self.guests.is_some(), "--guests"),
            (self.results.is_some(), "--results"),
        ];
        let given = others.into_iter().find(|(is_given, _)| *is_given);
        of_guests.or(given.map(|(_, name)| name))
    }

    /// Makes the grid on each, and keeps it. A kernel that the distribution has dropped is left out, with a word.
    pub fn sheets(
        &self,
        grid: &Grid,
        rows: &[&'static Claim],
        arguments: Vec<String>,
    ) -> Result<Vec<(Chosen, Sheet)>, Failure> {
        if grid.on_disks && self.guest.disks.is_some() {
            return Err(Failure::Usage(format!(
                "{} has guests with every disk: --disks says nothing about it",
                grid.name
            )));
        }
        let mut kernels = Chosen::all(&self.more.and(&self.kernels))?;
        kernels.retain(|kernel| kernel.is_named || kernel.program().is_none());
        if let Some(row) = kernels.iter().find_map(Chosen::program) {
            return Err(Failure::Usage(format!(
                "{} has no grids: they are made by Linux kernels in guests",
                row.name
            )));
        }
        self.from.has_use(&kernels)?;
        let usual = Path::new(records::MADE).join(grid.name);
        let directory = self.results.as_ref().unwrap_or(&usual);
        matrix::prepare(directory)?;
        let images: Vec<(Chosen, Result<Image, Error>)> = kernels
            .into_iter()
            .map(|kernel| {
                let image = kernel.image(self.from.mirror.as_deref(), &say);
                (kernel, image)
            })
            .collect();
        // A row of the ledger takes ten seconds where the processor is emulated, and more where others use it, too.
        let mut command = ["/init", grid.name, "--format", "jsonl", "--timeout", "120"]
            .map(str::to_owned)
            .to_vec();
        command.extend(arguments);
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let jobs = self.guests.map_or(cpus, usize::from);
        let made = matrix::side_by_side(&images, jobs, |(kernel, image)| {
            let name = &kernel.name;
            let made = image.clone().and_then(|image| {
                let job = Job {
                    commands: vec![command.clone()],
                    ..Job::default()
                };
                let mut guest = self.guest.machine(&image, job);
                guest.modules = matrix::modules(rows);
                if self.guest.limit.is_none() {
                    guest.limit = GRID_LIMIT; // a ledger takes three minutes, and this machine may be busy
                }
                if grid.on_disks {
                    let names = images::ALL.iter().map(|image| image.name.to_owned());
                    guest.job.disks = names.collect();
                }
                matrix::grid(&guest)
            });
            // At once, so that a fault in another kernel's grid does not lose it.
            let made = made.and_then(|made| {
                matrix::store_grid(directory, name, &made.0)?;
                Ok(made)
            });
            match &made {
                Ok((_, ran)) => {
                    let (boot, total) = (ran.boot.as_secs_f32(), ran.total.as_secs_f32());
                    say(&format!(
                        "{name}: {} up in {boot:.1} s, done in {total:.1} s",
                        ran.release
                    ));
                }
                Err(error) => say(&format!("{name}: {error}")),
            }
            (kernel.clone(), made)
        });
        let mut sheets = Vec::new();
        for (kernel, made) in made {
            match made {
                Ok((sheet, _)) => sheets.push((kernel, sheet)),
                Err(Error::Gone(_)) if !kernel.is_named => {}
                Err(error) => return Err(error.into()),
            }
        }
        if sheets.is_empty() {
            return Err(Failure::Usage("no kernel could be had".to_owned()));
        }
        Ok(sheets)
    }
}
