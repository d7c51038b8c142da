//! What a guest finds in memory: the program that made it, the job, modules and files.

#![forbid(unsafe_code)]

use crate::error::{Context, Error};
use crate::initramfs::Archive;
use crate::job::{self, PORT_MODULES};
use crate::machine::description::Machine;
use crate::modules;
use crate::program;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

impl Machine<'_> {
    /// This program, the job, the modules and the files.
    pub fn archive(&self) -> Result<File, Error> {
        let mut archive = Archive::new();
        let own = Path::new("/proc/self/exe");
        let content = std::fs::read(own).at(own)?;
        if let Some(reason) = program::cannot_run_alone(&content) {
            return Err(Error::host(format!(
                "this program cannot be a guest's only one: {reason}"
            )));
        }
        archive.program("init", &content);
        let mut job = self.job.clone();
        job.disks = self.disks().to_vec();
        if let Some(directory) = &self.image.modules {
            let mut wanted = self.modules.clone();
            wanted.extend(job.disks.iter().cloned());
            if !job.disks.is_empty() {
                wanted.insert("nvme".into()); // built in, in Debian's cloud kernels
            }
            let ordered = modules::in_order(directory, &PORT_MODULES, &wanted)?;
            job.built_for = ordered.built_for;
            for module in ordered.modules {
                archive.file(&format!("modules/{}", module.file()), &module.content);
                job.modules.push(module.file());
            }
            job.port = job.modules[..ordered.first].to_vec();
        }
        for (name, path) in &self.files {
            let (content, mode) = program::content(path)?;
            archive.add(&place(name), mode, &content);
        }
        archive.file(
            &job::FILE[1..],
            &serde_json::to_vec(&job).expect("a job is plain data"),
        );
        let file = rustix::fs::memfd_create(c"initramfs", rustix::fs::MemfdFlags::CLOEXEC);
        let mut file = File::from(
            file.map_err(io::Error::from)
                .context("make a memory file")?,
        );
        file.write_all(&archive.finish())
            .context("write the initramfs")?;
        Ok(file)
    }
}

/// The place of a file in the archive, relative to its root.
fn place(name: &str) -> String {
    const HIDDEN: [&str; 6] = ["/tmp/", "/run/", "/dev/", "/var/tmp/", "/mnt/", "/proc/"];
    match name.strip_prefix('/') {
        None => format!("files/{name}"),
        // A mount of the guest hides it until the guest moves it.
        Some(_) if HIDDEN.iter().any(|mount| name.starts_with(mount)) => {
            format!("{}{name}", &job::LATER[1..])
        }
        Some(path) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_mount_hides_is_placed_later() {
        assert_eq!(place("name"), "files/name");
        assert_eq!(place("/usr/lib/x"), "usr/lib/x");
        assert_eq!(place("/tmp/x/y"), "later/tmp/x/y");
        assert_eq!(place("/tmpx"), "tmpx");
    }
}
