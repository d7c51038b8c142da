//! Kernels from the distribution's signed package index.
//!
//! apt finds the mirror that this machine is configured for. It checks the index's signature with the distribution's keyring, and
//! the SHA-256 of every package. Its state and configuration are separate from the system's, in the cache, one per suite. Of the
//! system's configuration, only the name of the mirror is read, and nothing is written.

use crate::cache::{Cache, Fetching};
use crate::error::{Context, Error};
use crate::image;
use crate::kernels::{Image, Package, Row};
use nocopy_host::interrupt;
use std::cmp::Ordering;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The distribution's keyring, from the package `debian-archive-keyring`.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Fetches a kernel, or takes it from the cache. `say` gets a line of progress from time to time.
pub fn fetch(
    cache: &Cache,
    row: &Row,
    mirror: Option<&str>,
    say: &dyn Fn(&str),
) -> Result<Image, Error> {
    if let Some(image) = cache.find(&row.name) {
        if mirror.is_some() {
            say(&format!(
                "{}: fetched already, so --mirror has no use (`conformance kernels clean` removes what was fetched)",
                row.name
            ));
        }
        return Ok(image);
    }
    let _lock = cache.lock()?;
    // Another process may have fetched it in the meantime.
    if let Some(image) = cache.find(&row.name) {
        return Ok(image);
    }
    let apt = Apt::new(cache, &row.suite, mirror)?;
    apt.update()?;
    let wanted = apt.newest(row)?;
    let fetching = Fetching::begin(cache, &row.name)?;
    let modules = fetching.directory.join("modules");
    std::fs::create_dir(&modules).at(&modules)?;
    let mut kernel = None;
    for package in &wanted {
        say(&format!(
            "{}: fetching {} {}",
            row.name, package.name, package.version
        ));
        let file = apt.download(&fetching.directory, package)?;
        say(&format!("{}: unpacking {}", row.name, package.name));
        kernel = unpack(&file, &modules)?.or(kernel);
        std::fs::remove_file(&file).at(&file)?;
    }
    let kernel =
        kernel.ok_or_else(|| Error::host(format!("{}: the packages hold no vmlinuz", row.name)))?;
    let (name, content) = match image::bootable_elf(&kernel) {
        Some(elf) => ("vmlinux", elf),
        None => ("vmlinuz", kernel),
    };
    let boot = fetching.directory.join(name);
    std::fs::write(&boot, &content).at(&boot)?;
    let to = std::path::absolute(&fetching.to).at(&fetching.to)?;
    let image = Image {
        name: row.name.clone(),
        expect: row.exact.clone().unwrap_or_else(|| row.series.clone()),
        packages: wanted,
        boot: to.join(name),
        bytes: Some(content.len() as u64),
        modules: row.modules.then(|| to.join("modules")),
        user_mode: false,
    };
    Cache::keep(&fetching.directory, &image)?;
    if let Some(signal) = interrupt::came() {
        return Err(Error::host(format!("{}: ended by {signal}", row.name)));
    }
    fetching.finish()?;
    Ok(image)
}

/// apt with a separate state for one suite.
struct Apt {
    config: PathBuf,
    suite: String,
}

impl Apt {
    fn new(cache: &Cache, suite: &str, mirror: Option<&str>) -> Result<Self, Error> {
        let mirror = mirror_of(suite, mirror)?;
        let directory = cache.directory.join("apt").join(suite);
        for part in ["state/lists/partial", "cache/archives/partial"] {
            let path = directory.join(part);
            std::fs::create_dir_all(&path).at(&path)?;
        }
        let directory = directory.canonicalize().at(&directory)?;
        let sources = directory.join("sources.list");
        std::fs::write(
            &sources,
            format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"),
        )
        .at(&sources)?;
        let shown = directory.display();
        let config = directory.join("apt.conf");
        // Without the system's configuration: its additions, such as indexes of files, are not needed, and can fail. The index of an
        // old suite is not signed again, so it may be old; its signature is still checked.
        let text = format!(
            "Dir::State \"{shown}/state\";\nDir::State::status \"/dev/null\";\nDir::Cache \"{shown}/cache\";\n\
             Dir::Etc::sourcelist \"{shown}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             Dir::Etc::main \"/dev/null\";\nDir::Etc::parts \"/dev/null\";\nAPT::Architecture \"amd64\";\nAPT::Sandbox::User \"\";\n\
             Acquire::Languages \"none\";\nAcquire::Retries \"3\";\nAcquire::Check-Valid-Until \"false\";\n"
        );
        std::fs::write(&config, text).at(&config)?;
        Ok(Self {
            config,
            suite: suite.to_owned(),
        })
    }

    fn run(&self, program: &str, arguments: &[&str], directory: &Path) -> Result<String, Error> {
        let output = Command::new(program)
            .args(arguments)
            .env("APT_CONFIG", &self.config)
            .env("LC_ALL", "C")
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .and_then(interrupt::output_of)
            .context(format!(
                "run {program} (kernels come by apt; elsewhere use --kernel PATH)"
            ))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let subcommand = arguments
            .iter()
            .find(|argument| !argument.starts_with('-'))
            .unwrap_or(&"");
        let said = String::from_utf8_lossy(&output.stderr);
        let complaint: Vec<&str> = said.lines().filter(|line| line.starts_with("E:")).collect();
        Err(Error::host(format!(
            "{program} {} for {}: {}",
            subcommand,
            self.suite,
            complaint.join(" ")
        )))
    }

    fn update(&self) -> Result<(), Error> {
        let updated = self.run("apt-get", &["--error-on=any", "update"], Path::new("/"));
        updated
            .map(drop)
            .map_err(|error| Error::host(format!("{error} (another mirror: --mirror URL)")))
    }

    /// The newest packages of the row's series and flavour: the image, or, in releases that split it, binary and modules.
    fn newest(&self, row: &Row) -> Result<Vec<Package>, Error> {
        let names = self.run("apt-cache", &["pkgnames", "linux-"], Path::new("/"))?;
        let newest = |kind: &str| {
            names
                .lines()
                .filter(|name| is_kernel(name, kind, row))
                .max_by(|a, b| natural(a, b))
        };
        // Since 6.19 the image is an empty package that depends on the others.
        let (first, second) = if let Some(binary) = newest("binary") {
            (
                binary,
                row.modules.then(|| binary.replacen("binary", "modules", 1)),
            )
        } else {
            let gone = || match &row.exact {
                Some(exact) => Error::Gone(format!(
                    "{} has no Linux {exact} for {}: it has {}",
                    row.suite,
                    row.flavour,
                    releases(&names, row).join(", ")
                )),
                None => Error::Gone(format!(
                    "{} has no linux-image-{}.*-{} any more; take another kernel, or --kernel PATH",
                    row.suite, row.series, row.flavour
                )),
            };
            (newest("image").ok_or_else(gone)?, None)
        };
        std::iter::once(first.to_owned())
            .chain(second)
            .map(|name| self.describe(&name))
            .collect()
    }

    fn describe(&self, name: &str) -> Result<Package, Error> {
        let text = self.run(
            "apt-cache",
            &["show", "--no-all-versions", name],
            Path::new("/"),
        )?;
        let field = |key: &str| {
            let value = text
                .lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            value
                .map(str::to_owned)
                .ok_or_else(|| Error::host(format!("the index says no {key} of {name}")))
        };
        Ok(Package {
            name: field("Package")?,
            version: field("Version")?,
            sha256: field("SHA256")?,
        })
    }

    /// Downloads a package. apt compares its checksum with the signed index.
    fn download(&self, directory: &Path, package: &Package) -> Result<PathBuf, Error> {
        let Package { name, version, .. } = package;
        self.run(
            "apt-get",
            &["download", &format!("{name}={version}")],
            directory,
        )?;
        // apt writes a colon of the version as %3a.
        let file = directory.join(format!("{name}_{}_amd64.deb", version.replace(':', "%3a")));
        if file.exists() {
            Ok(file)
        } else {
            Err(Error::host(format!(
                "apt-get did not write {}",
                file.display()
            )))
        }
    }
}

/// Whether a package name is `linux-KIND-SERIES.N...-FLAVOUR`, of the exact release if the row has one.
fn is_kernel(name: &str, kind: &str, row: &Row) -> bool {
    let wanted = row.exact.as_deref();
    release(name, kind, row).is_some_and(|release| {
        wanted.is_none_or(|wanted| {
            let rest = release.strip_prefix(wanted);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-']))
        })
    })
}

/// The release in a package name `linux-KIND-SERIES.N...-FLAVOUR`, without the flavour.
fn release<'name>(name: &'name str, kind: &str, row: &Row) -> Option<&'name str> {
    let release = name
        .strip_prefix("linux-")?
        .strip_prefix(kind)?
        .strip_prefix('-')?
        .strip_suffix(&row.flavour)?
        .strip_suffix('-')?;
    let rest = release.strip_prefix(&row.series)?.strip_prefix('.')?;
    // The names of the generic flavour end like those of the others: the rest must not end in the word of a flavour.
    let is_other = |word: &&str| rest.ends_with(*word);
    let is_of_row = rest.starts_with(|first: char| first.is_ascii_digit())
        && !["cloud", "rt", "unsigned"].iter().any(is_other);
    is_of_row.then_some(release)
}

/// The releases of the row's series, oldest first.
fn releases<'names>(names: &'names str, row: &Row) -> Vec<&'names str> {
    let kinds = ["image", "binary"];
    let mut releases: Vec<&str> = names
        .lines()
        .filter_map(|name| kinds.iter().find_map(|kind| release(name, kind, row)))
        .collect();
    releases.sort_by(|a, b| natural(a, b));
    releases.dedup();
    releases
}

/// Compares names; digits in them are compared as numbers.
fn natural(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        let mut parts = Vec::new();
        let mut rest = text;
        while !rest.is_empty() {
            let digits = rest
                .find(|letter: char| !letter.is_ascii_digit())
                .unwrap_or(rest.len());
            let number = rest[..digits].parse().unwrap_or(0);
            let word = rest[digits..]
                .find(|letter: char| letter.is_ascii_digit())
                .unwrap_or(rest.len() - digits);
            parts.push((number, rest[digits..digits + word].to_owned()));
            rest = &rest[digits + word..];
        }
        parts
    };
    parts(a).cmp(&parts(b))
}

/// The mirror of the suite: the requested one, or the one that this machine's apt is configured for.
fn mirror_of(suite: &str, asked: Option<&str>) -> Result<String, Error> {
    if !Path::new(KEYRING).exists() {
        return Err(Error::host(format!(
            "{KEYRING} is missing: apt-get install debian-archive-keyring"
        )));
    }
    let security = suite.ends_with("-security");
    let archive = |base: &str| {
        let base = base.trim_end_matches('/').trim_end_matches("-security");
        if security {
            format!("{base}-security")
        } else {
            base.to_owned()
        }
    };
    if let Some(asked) = asked {
        return Ok(archive(asked));
    }
    let output = Command::new("apt-get")
        .args([
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE)",
            "Created-By: Packages",
        ])
        .output()
        .context("run apt-get (kernels come by apt; elsewhere use --kernel PATH)")?;
    let targets = String::from_utf8_lossy(&output.stdout).into_owned();
    let debian = |uri: &str| {
        uri.trim_end_matches('/')
            .trim_end_matches("-security")
            .ends_with("/debian")
    };
    let mut known = targets
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(uri, _)| debian(uri));
    let same_kind = known
        .clone()
        .find(|(_, release)| release.ends_with("-security") == security);
    let found = same_kind.or_else(|| known.next());
    let none = || {
        Error::host(
            "this machine's apt has no Debian mirror: name one with --mirror URL (one that ends in /debian)",
        )
    };
    found.map(|(uri, _)| archive(uri)).ok_or_else(none)
}

/// Unpacks kernel and modules from a package. Returns the kernel, if the package has one.
fn unpack(package: &Path, modules: &Path) -> Result<Option<Vec<u8>>, Error> {
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("run dpkg-deb")?;
    let mut kernel = None;
    let mut archive = tar::Archive::new(dpkg.stdout.take().expect("piped"));
    let damaged = || Error::host(format!("{}: damaged package", package.display()));
    for entry in archive.entries().map_err(|_| damaged())? {
        let mut entry = entry.map_err(|_| damaged())?;
        let path = entry.path().map_err(|_| damaged())?.into_owned();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        if name.starts_with("vmlinuz") && entry.header().entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).map_err(|_| damaged())?;
            kernel = Some(content).filter(|content| !content.is_empty());
        } else if name.contains(".ko") && entry.header().entry_type().is_file() {
            let to = modules.join(name);
            File::create(&to)
                .and_then(|mut file| std::io::copy(&mut entry, &mut file))
                .at(&to)?;
        }
    }
    let status = dpkg.wait().context("wait for dpkg-deb")?;
    if status.success() {
        Ok(kernel)
    } else {
        Err(damaged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn row(series: &str, flavour: &str) -> Row {
        Row {
            name: series.into(),
            series: series.into(),
            suite: "s".into(),
            flavour: flavour.into(),
            modules: true,
            optional: false,
            exact: None,
        }
    }

    #[rstest]
    #[case("linux-image-6.1.0-56-cloud-amd64", "6.1", "cloud-amd64", true)]
    #[case("linux-image-6.12.117+deb13-cloud-amd64", "6.12", "cloud-amd64", true)]
    #[case("linux-image-6.1-cloud-amd64", "6.1", "cloud-amd64", false)]
    #[case("linux-image-6.12.117+deb13-cloud-amd64", "6.1", "cloud-amd64", false)]
    #[case(
        "linux-image-6.1.0-56-cloud-amd64-unsigned",
        "6.1",
        "cloud-amd64",
        false
    )]
    #[case("linux-image-6.1.0-56-amd64", "6.1", "cloud-amd64", false)]
    #[case("linux-image-6.1.0-56-amd64", "6.1", "amd64", true)]
    #[case("linux-image-6.1.0-56-cloud-amd64", "6.1", "amd64", false)]
    #[case("linux-image-6.1.0-56-rt-amd64", "6.1", "amd64", false)]
    #[case("linux-headers-6.1.0-56-amd64", "6.1", "amd64", false)]
    fn names(
        #[case] name: &str,
        #[case] series: &str,
        #[case] flavour: &str,
        #[case] expected: bool,
    ) {
        assert_eq!(is_kernel(name, "image", &row(series, flavour)), expected);
    }

    #[test]
    fn newer_is_by_number() {
        assert_eq!(natural("6.1.0-9", "6.1.0-56"), Ordering::Less);
        assert_eq!(
            natural("6.12.115+deb13.1", "6.12.115+deb13"),
            Ordering::Greater
        );
        assert_eq!(natural("6.12.117+deb13", "6.12.117+deb13"), Ordering::Equal);
    }
}
