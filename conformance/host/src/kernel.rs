//! The running kernel: its release, and whether the machine is discarded after the run.

#![forbid(unsafe_code)]

use crate::process;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The variable by which a guest states that its machine is discarded after the run.
pub const DISPOSABLE: &str = "NOCOPY_DISPOSABLE";

/// Whether this is a guest made for one run, so that machine-wide state may be changed.
pub fn is_disposable() -> bool {
    std::env::var_os(DISPOSABLE).is_some()
}

/// The variable in which the program that starts a sandbox passes the version of the sandbox: a process inside cannot ask for it.
pub const SANDBOX_VERSION: &str = "NOCOPY_SANDBOX_VERSION";

/// A kernel series, `6.12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Series {
    /// `6` of `6.12`.
    pub major: u32,
    /// `12` of `6.12`.
    pub minor: u32,
}

impl Series {
    /// A series by its two numbers.
    pub const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor }
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// A kernel's release string, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The first two numbers.
    pub series: Series,
    /// The third number, if there is one.
    pub patch: Option<u32>,
    /// The rest, with separators: `-46-cloud-amd64`, `+rpt-rpi-v8`, `-rc3`.
    pub local: String,
}

/// A release string that does not begin with two numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotARelease(String);

impl fmt::Display for NotARelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a kernel release, such as 6.12", self.0)
    }
}

impl std::error::Error for NotARelease {}

impl FromStr for Release {
    type Err = NotARelease;

    fn from_str(text: &str) -> Result<Self, NotARelease> {
        let bad = || NotARelease(text.to_owned());
        let (major, rest) = number(text).ok_or_else(bad)?;
        let (minor, rest) = rest.strip_prefix('.').and_then(number).ok_or_else(bad)?;
        let (patch, local) = match rest.strip_prefix('.').and_then(number) {
            Some((patch, rest)) => (Some(patch), rest),
            None => (None, rest),
        };
        Ok(Self {
            series: Series { major, minor },
            patch,
            local: local.to_owned(),
        })
    }
}

/// The number at the beginning of `text`, and the rest of it.
fn number(text: &str) -> Option<(u32, &str)> {
    let digits = text
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, rest))
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.series)?;
        if let Some(patch) = self.patch {
            write!(f, ".{patch}")?;
        }
        f.write_str(&self.local)
    }
}

/// `uname -r -m`.
pub fn uname() -> (String, String) {
    process::uname()
}

/// The running kernel's release.
///
/// # Errors
///
/// Only if the kernel does not name itself as Linux does.
pub fn running() -> Result<Release, NotARelease> {
    uname().0.parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use rstest::rstest;

    #[rstest]
    #[case("6.18.44-fc-v595", (6, 18), Some(44), "-fc-v595")]
    #[case("5.10.0-46-cloud-amd64", (5, 10), Some(0), "-46-cloud-amd64")]
    #[case("6.6.20+rpt-rpi-v8", (6, 6), Some(20), "+rpt-rpi-v8")]
    #[case("7.0-rc3", (7, 0), None, "-rc3")]
    #[case("4.4.0", (4, 4), Some(0), "")]
    #[case("5.15.167.4-microsoft-standard-WSL2", (5, 15), Some(167), ".4-microsoft-standard-WSL2")]
    #[case("6.12.107+deb13-cloud-amd64", (6, 12), Some(107), "+deb13-cloud-amd64")]
    #[case("6.1.0-rc1+", (6, 1), Some(0), "-rc1+")]
    fn real_releases(
        #[case] text: &str,
        #[case] series: (u32, u32),
        #[case] patch: Option<u32>,
        #[case] local: &str,
    ) {
        let release: Release = text.parse().expect("a real release");
        assert_eq!(
            release,
            Release {
                series: Series::new(series.0, series.1),
                patch,
                local: local.into()
            }
        );
        assert_eq!(release.to_string(), text);
    }

    #[rstest]
    #[case("")]
    #[case("6")]
    #[case("6.")]
    #[case("linux-6.1")]
    #[case(".6.1")]
    #[case("99999999999.1")]
    fn not_a_release(#[case] text: &str) {
        assert_eq!(text.parse::<Release>(), Err(NotARelease(text.into())));
    }

    quickcheck! {
        fn whatever_parses_prints_as_it_was(major: u32, minor: u32, patch: Option<u32>, local: String) -> bool {
            // The part that a build appends does not begin with a digit. Without a patch number, it does not begin with a dot
            // either.
            let local = local.trim_start_matches(|letter: char| letter.is_ascii_digit() || letter == '.').to_owned();
            let release = Release { series: Series::new(major, minor), patch, local };
            release.to_string().parse() == Ok(release)
        }

        fn no_text_makes_it_panic(text: String) -> bool {
            text.parse::<Release>().is_ok_and(|release| !release.to_string().is_empty()) || text.parse::<Release>().is_err()
        }
    }

    #[test]
    fn series_are_ordered_by_number() {
        assert!(Series::new(5, 9) < Series::new(5, 10));
        assert!(Series::new(5, 19) < Series::new(6, 0));
    }

    #[test]
    fn the_running_kernel_has_a_release() {
        assert!(running().expect("Linux names itself").series > Series::new(2, 6));
    }
}
