//! One transfer, timed: a process that sends and one that receives, both new and connected before the clock starts.

use crate::lab::{Lab, io, sockets};
use crate::ledger::methods::Method;
use crate::ledger::sinks::{Ends, Sink};
use crate::process;
use crate::verdict::{Setup, Stop};
use serde::Serialize;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// On which processors the two processes run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Both on the same one: the wall is what both cost.
    Same,
    /// On two.
    Split,
}

/// What a trial took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// From the sender's start until the receiver has seen the end.
    pub wall: Duration,
    /// CPU time of the sender.
    pub sender: Duration,
    /// CPU time of the receiver, 0 where there is none.
    pub receiver: Duration,
}

impl Figures {
    /// CPU time of both.
    pub fn cpu(&self) -> Duration {
        self.sender + self.receiver
    }
}

/// What is the same in all trials.
pub struct Trial<'run> {
    /// Where files are made.
    pub lab: &'run Lab,
    /// The file that is sent.
    pub source: &'run File,
    /// Its content.
    pub content: &'run [u8],
    /// The congestion control of TCP, if not the system's own.
    pub congestion: Option<&'run str>,
}

/// What a process reports: when it began and ended, by the monotonic clock, and its CPU time, all in nanoseconds; the bytes.
type Report = [u64; 4];

impl Trial<'_> {
    /// Sends the content once. `verify` compares every byte at the receiver, so its figures are not to be used.
    pub fn run(
        &self,
        method: Method,
        sink: Sink,
        placement: Placement,
        verify: bool,
    ) -> Result<Figures, Stop> {
        let Ends { near, far } = match self.congestion {
            Some(name) if matches!(sink, Sink::Tcp | Sink::TcpDropped) => tcp_under(name)?,
            _ => sink.open(self.lab)?,
        };
        let (go, mut start) = std::io::pipe().setup("pipe")?;
        let (sent, send) = std::io::pipe().setup("pipe")?;
        let (received, receive) = std::io::pipe().setup("pipe")?;
        let written = match &far {
            None => Some(near.try_clone().setup("dup")?),
            Some(_) => None,
        };
        let receiver = far.map(|far| {
            let receive = &receive;
            let child = process::fork(move || {
                process::close_all_but(&[far.as_raw_fd(), receive.as_raw_fd()]);
                pin(0);
                let expected = verify.then_some(self.content);
                let stamp = Stamp::now();
                if let Ok(came) = sink.take_all(&far, expected) {
                    stamp.report(receive, came);
                }
            });
            child.setup("fork")
        });
        let receiver = receiver.transpose()?;
        let sender = process::fork(move || {
            let keep = [near.as_fd(), self.source.as_fd(), go.as_fd(), send.as_fd()];
            process::close_all_but(&keep.map(|fd| fd.as_raw_fd()));
            pin(usize::from(placement == Placement::Split));
            let Ok(mut sending) = method.begin(self.source, &near, self.content) else {
                return;
            };
            if (&go).read_exact(&mut [0]).is_err() {
                return;
            }
            let stamp = Stamp::now();
            let all = sending.drive().is_ok() && sending.end().is_ok();
            drop(near);
            if all {
                stamp.report(&send, self.content.len());
            }
        })
        .setup("fork")?;
        drop(receive);
        start.write_all(&[1]).setup("start the sender")?;
        let sent = read_report(sent);
        process::wait(sender);
        let received = receiver.map(|pid| {
            let report = read_report(received);
            process::wait(pid);
            report
        });
        let sent = sent?;
        let received = received.transpose()?;
        let length = self.content.len();
        if let Some(file) = written.filter(|_| verify) {
            let mut bytes = vec![0; length + 1];
            let came = io::pread_full(&file, &mut bytes, 0).setup("read what was written")?;
            if bytes[..came] != *self.content {
                return Err(Stop::broken("other bytes were written"));
            }
        }
        if received.is_some_and(|received| received[3] != length as u64) {
            return Err(Stop::broken(format!(
                "{received:?}: fewer bytes came than {length}, or others"
            )));
        }
        let end = received.map_or(sent[1], |received| received[1]);
        Ok(Figures {
            wall: Duration::from_nanos(end.saturating_sub(sent[0])),
            sender: Duration::from_nanos(sent[2]),
            receiver: Duration::from_nanos(received.map_or(0, |received| received[2])),
        })
    }
}

/// Where the clocks stood.
struct Stamp {
    monotonic: u64,
    cpu: u64,
}

impl Stamp {
    fn now() -> Self {
        Self {
            cpu: nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID),
            monotonic: nanoseconds(libc::CLOCK_MONOTONIC),
        }
    }

    /// Says what it took since.
    fn report(&self, mut to: &PipeWriter, bytes: usize) {
        let now = Self::now();
        let words: Report = [
            self.monotonic,
            now.monotonic,
            now.cpu - self.cpu,
            bytes as u64,
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // If the parent is gone, nobody wants it.
        let _ = to.write_all(&bytes);
    }
}

fn read_report(mut from: PipeReader) -> Result<Report, Stop> {
    let mut words = Report::default();
    for word in &mut words {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes)
            .map_err(|_| Stop::broken("a process of the trial has failed"))?;
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(words)
}

fn nanoseconds(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// Keeps this process on a processor, if there are as many.
fn pin(cpu: usize) {
    // SAFETY: a set is plain bits, for which zero is valid; the macros set one of them, and the kernel reads it.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

/// A connection under a congestion control, which is set before it is made: what BBR has begun to pace stays paced.
fn tcp_under(congestion: &str) -> Result<Ends, Stop> {
    let socket = sockets::of_protocol(libc::AF_INET, libc::SOCK_STREAM, 0)?;
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_CONGESTION);
    sockets::set_bytes(&socket, level, name, congestion.as_bytes()).setup("TCP_CONGESTION")?;
    let (near, far) = sockets::tcp_from(socket)?;
    Ok(Ends {
        near: near.into(),
        far: Some(far.into()),
    })
}
