//! `conformance vm shell`.

use crate::commands::failure::Failure;
use crate::commands::vm::options::{MachineOptions, say};
use crate::commands::vm::through::inside;
use on_kernel::job::Job;
use std::path::Path;
use std::time::Duration;

pub(super) fn shell(machine: &MachineOptions) -> Result<bool, Failure> {
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        return Err(Failure::Usage("a shell needs /bin/busybox: apt-get install busybox-static".into()));
    }
    let image = machine.image()?;
    if image.user_mode {
        return Err(Failure::Usage(format!(
            "{} has no shell: `vm exec --kernel {} -- {} sh -c '..'` runs commands there",
            image.name,
            image.name,
            busybox.display()
        )));
    }
    let command = [inside(busybox), "sh".into()].to_vec();
    let job = Job { commands: vec![command], interactive: true, ..Job::default() };
    let mut guest = machine.guest.machine(&image, job);
    guest.files = vec![("busybox".into(), busybox.into())];
    guest.limit = Duration::from_hours(24);
    say("leave with `exit`; commands are `busybox NAME`");
    guest.run(|_, _| {})?;
    Ok(true)
}
