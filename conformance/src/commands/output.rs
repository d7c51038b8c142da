//! Where reports go.

use super::failure::Failure;
use anstream::stream::IsTerminal;
use conformance::run::text::plural;
use indicatif::{ProgressBar, ProgressStyle};
use nocopy_host::input;
use nocopy_host::replace::{self, Replacement};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Where a report goes: standard output, a file that has its old content until [`finish`](Output::finish), or a device.
pub enum Output {
    Stream(Box<dyn Write>),
    File(PathBuf, Replacement),
}

impl Output {
    /// The report is whole.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.flush()?;
        match self {
            Self::Stream(_) => Ok(()),
            Self::File(path, file) => file.commit().map_err(|error| cannot_write(&path, &error)),
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(stream) => stream.write(bytes),
            Self::File(path, file) => file.write(bytes).map_err(|error| of_file(path, &error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(stream) => stream.flush(),
            Self::File(_, file) => file.flush(),
        }
    }
}

/// An error of a file, which names it.
fn of_file(path: &Path, error: &io::Error) -> io::Error {
    let what = format!("cannot write {}: {error}", path.display());
    io::Error::new(error.kind(), what)
}

/// The file that a report is for, or standard output.
pub fn open_output(path: Option<&Path>) -> Result<Output, Failure> {
    let Some(path) = path else {
        return Ok(Output::Stream(Box::new(anstream::stdout())));
    };
    let opened = if replace::is_replaceable(path) {
        Replacement::begin(path).map(|file| Output::File(path.to_owned(), file))
    } else {
        open_device(path).map(|device| Output::Stream(Box::new(device)))
    };
    opened.map_err(|error| cannot_write(path, &error))
}

/// A device, or a pipe that has a reader. It does not wait for a reader.
fn open_device(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    let opened = options.write(true).custom_flags(libc::O_NONBLOCK).open(path);
    let device = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ENXIO) => io::Error::other("this pipe has no reader: start one first"),
        _ => error,
    })?;
    input::wait_again(&device)?;
    Ok(device)
}

/// Refuses to write over what is read.
pub fn keep_inputs<'path>(
    output: Option<&Path>,
    inputs: impl IntoIterator<Item = &'path PathBuf>,
) -> Result<(), Failure> {
    match output.and_then(|output| input::same_file(output, inputs)) {
        Some(input) => Err(Failure::Usage(format!(
            "--output would replace {}, of which the report is made: name another file",
            input.display()
        ))),
        None => Ok(()),
    }
}

pub fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Usage(of_file(path, error).to_string())
}

/// A bar on a terminal, a plain line elsewhere.
pub fn progress(claims: usize) -> ProgressBar {
    if !io::stderr().is_terminal() {
        let _ = writeln!(io::stderr(), "deciding {}", plural(claims, "claim"));
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} claims").expect("a constant template");
    ProgressBar::new(claims as u64).with_style(style)
}
