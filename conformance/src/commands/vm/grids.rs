//! Grids in guests: the options that `fds`, `pairs`, `fs` and `ledger` share.

use crate::commands::failure::Failure;
use crate::commands::vm::options::{From_, GuestOptions, Named, say};
use clap::Args;
use conformance::claim::Claim;
use conformance::grids::grid::Grid;
use conformance::grids::records;
use conformance::grids::sheet::Sheet;
use conformance::vm::chosen::Chosen;
use conformance::vm::grids::Order;
use conformance::vm::matrix;
use on_kernel::error::Error;
use on_kernel::kernels::Image;
use std::path::{Path, PathBuf};

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
            return Err(Failure::Usage(format!("{} has no grids: they are made by Linux kernels in guests", row.name)));
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
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let order = Order {
            grid,
            rows,
            arguments,
            directory,
            jobs: self.guests.map_or(cpus, usize::from),
            is_limited: self.guest.limit.is_some(),
        };
        Ok(order.sheets(&images, |image, job| self.guest.machine(image, job), &say)?)
    }
}
