//! Runs a guest to its end, and judges that.

use crate::error::{Context, Error};
use crate::frames::{self, End, Kind};
use crate::job::{self, WINDOW};
use crate::log;
use crate::machine::description::Machine;
use crate::machine::started::{Channel, Started};
use crate::talk::plain;
use nocopy_host::interrupt;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The time that a machine may take to power off after its end marker.
const SWITCHING_OFF: Duration = Duration::from_secs(10);

/// A run that ended in order, whatever the result of its command.
#[derive(Clone, Debug)]
pub struct Ran {
    /// `uname -r` of the guest.
    pub release: String,
    /// The end marker.
    pub end: End,
    /// From the start of QEMU to the first record.
    pub boot: Duration,
    /// From the start of QEMU to its end.
    pub total: Duration,
}

impl Machine<'_> {
    /// Boots, runs, and returns when the guest has ended. `output` gets the command's output as it arrives.
    ///
    /// # Errors
    ///
    /// [`Error::Host`] if something is missing here, or if the guest could not do its job.
    ///
    /// [`Error::Guest`], with the end of the console, if the guest did one of these:
    ///
    /// - It panicked, hung, or ended without its end marker.
    /// - It is not the expected kernel.
    /// - It sent invalid records.
    /// - Its kernel reported a bug.
    ///
    /// `output` has received all output until then.
    pub fn run(&self, mut output: impl FnMut(Kind, &[u8])) -> Result<Ran, Error> {
        let archive = self.archive()?;
        let started = Instant::now();
        let mut guest = Started::new(self, &archive)?;
        let mut input = self.job.input.then(Input::default);
        let mut boot = None;
        let mut decided: Option<Instant> = None;
        let status = loop {
            if let Some(signal) = interrupt::came() {
                return Err(guest.failed(&format!("{signal} ended the run")));
            }
            let is_over = started.elapsed() > self.limit;
            if guest.talk.finish().is_ok() {
                // All results have arrived, even if the machine cannot power off.
                if decided.is_none() {
                    guest.send(Kind::Heard, &[]);
                }
                let since = decided.get_or_insert_with(Instant::now);
                if is_over || since.elapsed() > SWITCHING_OFF {
                    guest.kill();
                    break None;
                }
            } else if is_over {
                return Err(guest.failed(&self.overdue(&guest)));
            }
            let stdin = io::stdin();
            let from = input
                .as_ref()
                .filter(|input| input.wants() && guest.talk.release().is_some())
                .map(|_| stdin.as_fd());
            let others: Vec<BorrowedFd> = from.into_iter().collect();
            let ready = guest.wait(Duration::from_millis(500), &others)?;
            if let Some(input) = &mut input
                && ready.others == [true]
            {
                input.read(&mut guest)?;
            }
            let heard = guest.hear(|kind, bytes| match (kind, &mut input) {
                (Kind::TookOf, Some(input)) => input.took(bytes),
                (Kind::Output | Kind::Error, _) => output(kind, bytes),
                _ => {}
            });
            if let Err(lie) = heard {
                return Err(guest.failed(&lie));
            }
            if guest.talk.release().is_some() {
                boot.get_or_insert_with(|| started.elapsed());
            }
            // The end of its pipes is the first sign. Another process may hold them open, and the guest may close them and still
            // run.
            if guest.is_silent() || !ready.machine {
                if let Some(status) = guest.try_wait()? {
                    break Some(status);
                }
                if guest.is_silent() {
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        };
        let end = match self.judge(&guest, status) {
            Ok(end) => end,
            Err(what) => return Err(guest.failed(&what)),
        };
        if let Some(what) = &end.refused {
            let what = plain(what);
            return Err(Error::host(match &self.image.modules {
                Some(directory) => format!("{what} (modules of {})", directory.display()),
                None => what,
            }));
        }
        let release = guest.talk.release().unwrap_or_default().to_owned();
        Ok(Ran {
            release,
            end,
            boot: boot.unwrap_or_default(),
            total: started.elapsed(),
        })
    }

    /// Why a guest that is killed after its limit may have needed longer.
    pub fn overdue(&self, guest: &Started) -> String {
        let seconds = self.limit.as_secs();
        match guest.talk.release() {
            Some(_) => format!("the command has not ended after {seconds} s"),
            None => format!(
                "it has not come up after {seconds} s (too little memory is one reason: {} MiB)",
                self.memory
            ),
        }
    }

    /// The end marker of a guest that has ended, if everything known about it is consistent. Without `status` we ended the guest.
    pub fn judge(&self, guest: &Started, status: Option<ExitStatus>) -> Result<End, String> {
        let (release, end) = guest.talk.finish().map_err(|what| match status {
            Some(status) => format!("{what} (QEMU: {status})"),
            None => what,
        })?;
        if !is_series(release, &self.image.expect) {
            return Err(format!(
                "it is Linux {release}, and {} was expected",
                self.image.expect
            ));
        }
        let expected = match (self.image.user_mode, end.status) {
            (true, _) => 0, // there is no exit port
            (false, 0) => job::EXIT_PASSED,
            (false, _) => job::EXIT_FAILED,
        };
        // The end marker decides. A kernel that denies access to the exit port powers the machine off, and QEMU ends with 0. Any
        // other status contradicts the marker.
        if let Some(status) = status
            && ![Some(0), Some(expected)].contains(&status.code())
        {
            return Err(format!(
                "its end marker says exit status {}, for which {} ends with exit status {expected}: it ended with {status}",
                end.status,
                self.emulator()
            ));
        }
        if !end.complaints.is_empty() {
            let complaints: Vec<String> = end.complaints.iter().map(|line| plain(line)).collect();
            return Err(format!("the kernel complained: {}", complaints.join(" | ")));
        }
        if end.tainted & log::DYING != 0 {
            return Err(format!("the kernel is tainted: {:#x}", end.tainted));
        }
        if guest.console.complaint().is_some() {
            return Err("the kernel complained on its console".into());
        }
        Ok(end.clone())
    }
}

/// Our standard input, on its way to the only command of a guest.
#[derive(Debug, Default)]
struct Input {
    is_over: bool,
    /// Bytes that were sent and not taken.
    on_the_way: usize,
}

impl Input {
    /// Whether it has room for more.
    fn wants(&self) -> bool {
        !self.is_over && self.on_the_way < WINDOW
    }

    fn took(&mut self, payload: &[u8]) {
        let count = frames::numbered(payload).and_then(|(_, rest)| rest.first_chunk());
        let count = count.map_or(0, |bytes| u32::from_le_bytes(*bytes));
        self.on_the_way = self.on_the_way.saturating_sub(count as usize);
    }

    fn read(&mut self, guest: &mut Started) -> Result<(), Error> {
        let mut buffer = vec![0; 64 << 10];
        let count = loop {
            match io::stdin().read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read.context("read standard input")?,
            }
        };
        self.is_over = count == 0;
        self.on_the_way += count;
        if guest.channel == Some(Channel::Virtio) {
            guest.send(Kind::InputOf, &frames::of(0, &buffer[..count]));
        } else if count > 0 {
            return Err(Error::host(
                "this kernel has no virtio console, by which a guest gets standard input: use < /dev/null, and --with FILE for what \
                 the program reads",
            ));
        }
        Ok(())
    }
}

/// Whether a release belongs to the series: `6.1` includes 6.1.5, but not 6.12.
fn is_series(release: &str, series: &str) -> bool {
    release.strip_prefix(series).is_some_and(|rest| {
        series.is_empty() || !rest.starts_with(|next: char| next.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_not_the_beginning_of_another() {
        assert!(is_series("6.1.0-56-cloud-amd64", "6.1"));
        assert!(!is_series("6.12.117", "6.1"));
        assert!(is_series("7.0-rc1", "7.0"));
        assert!(is_series("anything", ""));
    }
}
