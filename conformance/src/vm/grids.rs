//! Grids that are made in guests.

use crate::claim::Claim;
use crate::grids::grid::Grid;
use crate::grids::sheet::Sheet;
use crate::vm::chosen::Chosen;
use crate::vm::matrix;
use nocopy_host::images;
use on_kernel::error::Error;
use on_kernel::job::Job;
use on_kernel::kernels::Image;
use on_kernel::machine::Machine;
use std::path::Path;
use std::time::Duration;

/// The limit of a guest that makes a grid, if the user has named none.
const LIMIT: Duration = Duration::from_mins(15);

/// The order for every kernel.
pub struct Order<'order> {
    /// The grid.
    pub grid: &'order Grid,
    /// Its rows.
    pub rows: &'order [&'static Claim],
    /// Options for the command that makes it.
    pub arguments: Vec<String>,
    /// The directory for the results.
    pub directory: &'order Path,
    /// How many guests run at a time.
    pub jobs: usize,
    /// Whether the user has named a limit for the guests.
    pub is_limited: bool,
}

impl Order<'_> {
    /// Makes the grid on each kernel, and stores it. A kernel that the distribution has dropped is left out, with a word.
    ///
    /// # Errors
    ///
    /// The first kernel's that could not be had, or whose guest failed.
    pub fn sheets(
        &self,
        images: &[(Chosen, Result<Image, Error>)],
        machine: impl for<'image> Fn(&'image Image, Job) -> Machine<'image> + Sync,
        say: &(dyn Fn(&str) + Sync),
    ) -> Result<Vec<(Chosen, Sheet)>, Error> {
        // A row of the ledger takes ten seconds where the processor is emulated, and more where others use it, too.
        let mut command =
            ["/init", self.grid.name, "--format", "jsonl", "--timeout", "120"].map(str::to_owned).to_vec();
        command.extend(self.arguments.iter().cloned());
        let made = matrix::side_by_side(images, self.jobs, |(kernel, image)| {
            let name = &kernel.name;
            let made = image.as_ref().map_err(Clone::clone).and_then(|image| {
                let job = Job { commands: vec![command.clone()], ..Job::default() };
                let mut guest = machine(image, job);
                guest.modules = matrix::modules(self.rows);
                if !self.is_limited {
                    guest.limit = LIMIT; // a ledger takes three minutes, and this machine may be busy
                }
                if self.grid.on_disks {
                    let names = images::ALL.iter().map(|image| image.name.to_owned());
                    guest.job.disks = names.collect();
                }
                matrix::grid(&guest)
            });
            // At once, so that a fault in another kernel's grid does not lose it.
            let made = made.and_then(|made| {
                matrix::store_grid(self.directory, name, &made.0)?;
                Ok(made)
            });
            match &made {
                Ok((_, ran)) => {
                    let (boot, total) = (ran.boot.as_secs_f32(), ran.total.as_secs_f32());
                    say(&format!("{name}: {} up in {boot:.1} s, done in {total:.1} s", ran.release));
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
                Err(error) => return Err(error),
            }
        }
        if sheets.is_empty() {
            return Err(Error::host("no kernel could be had"));
        }
        Ok(sheets)
    }
}
