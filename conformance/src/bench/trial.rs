//! A timed transfer between a sending and a receiving process. Both processes are started and connected before the clock starts.

use super::peers::{self, Peer};
use super::relays::Relay;
use crate::bench::plan::{How, Kind, Placement, Plan};
use crate::lab::netns::Elsewhere;
use crate::lab::{Lab, io, sockets};
use crate::verdict::{Setup, Stop};
use crate::ways::methods::Method;
use crate::ways::sinks::Ends;
use nocopy_host::process;
use nocopy_host::process::pin;
use nocopy_sendfile::sendfile;
use std::ffi::c_int;
use std::fs::File;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

/// The results of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// From the sender's start until the receiver has seen the end. For `nginx` it is from the receiver's request.
    pub wall: Duration,
    /// CPU time of the sender.
    pub sender: Duration,
    /// CPU time of the receiver. 0 if the sink has no receiver.
    pub receiver: Duration,
}

impl Figures {
    /// CPU time of both.
    pub fn cpu(&self) -> Duration {
        self.sender + self.receiver
    }
}

/// The state that all trials of a plan share.
pub struct Trial<'run> {
    lab: &'run Lab,
    /// The file that is sent.
    source: &'run File,
    /// Its content.
    content: &'run [u8],
    plan: &'run Plan,
    /// The process with the sink's network namespaces.
    elsewhere: Option<Elsewhere>,
}

/// The report of a process: its start and end by the monotonic clock, and its CPU time, all in nanoseconds; and the number of
/// bytes.
type Report = [u64; 4];

/// The number of bytes that the sender sends to warm up.
const LITTLE: usize = 1 << 20;
/// The descriptor from which another program reads the start signal.
const GO: c_int = 3;
/// The descriptor to which it writes its report.
const REPORT: c_int = 4;

impl<'run> Trial<'run> {
    /// Prepares the state that all trials of a plan share. `content` must be the beginning of `source`.
    pub fn of(lab: &'run Lab, source: &'run File, content: &'run [u8], plan: &'run Plan) -> Result<Self, Stop> {
        let way = plan.sink.way();
        Ok(Self { lab, source, content, plan, elsewhere: way.map(Elsewhere::start).transpose()? })
    }

    /// Opens both ends. The congestion control is set before they are connected, because BBR does not stop pacing a connection
    /// once it has started.
    fn ends(&self) -> Result<Ends, Stop> {
        let sink = self.plan.sink;
        let congestion = self.plan.congestion.as_deref().unwrap_or("");
        if let Some(elsewhere) = &self.elsewhere {
            let (near, far) = elsewhere.connect(congestion)?;
            return Ok(Ends { near, far });
        }
        if sink.is_tcp() {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).setup("listen")?;
            let (near, far) = sockets::tcp_to(&listener, congestion.as_bytes())?;
            return Ok(Ends { near: near.into(), far: Some(far.into()) });
        }
        sink.open(self.lab)
    }

    /// Sends the content as many times as the plan requires. With `verify` it sends it once, and the receiver compares every
    /// byte. The times of such a trial are not comparable.
    pub fn run(&self, how: How, verify: bool) -> Result<Figures, Stop> {
        match how {
            How::Peer(Peer::Nginx(server)) => return self.fetch(server, verify),
            How::Peer(Peer::Relay(relay)) => return self.relay(relay, verify),
            How::Method(_) | How::Peer(_) => {}
        }
        let sink = self.plan.sink;
        let (before, ends) = (self.ends()?, self.ends()?);
        let Ends { near, far } = ends;
        let (go, mut start) = std::io::pipe().setup("pipe")?;
        let (sent, send) = std::io::pipe().setup("pipe")?;
        let (received, receive) = std::io::pipe().setup("pipe")?;
        let written = match &far {
            None if !sink.is_lost() => Some(near.try_clone().setup("dup")?),
            _ => None,
        };
        let receiver = far.map(|far| {
            let warm = before.far.as_ref();
            self.receive(&far, &receive, verify, warm, || Ok(()))
        });
        let receiver = receiver.transpose()?;
        let repeat = if verify { 1 } else { self.plan.repeat };
        let sender = process::fork(|| {
            let warm = &before.near;
            let keep = [&near, warm].map(AsRawFd::as_raw_fd);
            let keep = [keep, [self.source.as_raw_fd(), go.as_raw_fd()]].concat();
            process::close_all_but(&[keep, vec![send.as_raw_fd()]].concat());
            pin(usize::from(self.plan.placement == Placement::Split));
            match how {
                How::Method(method) => {
                    let all = self.send(method, warm, &near, &go, repeat);
                    drop(near);
                    match all {
                        Ok(stamp) => stamp.report(&send, self.content.len() * repeat),
                        // Whoever waits for its report gets to know it by its end.
                        Err(stop) => return eprintln!("the sender: {stop:?}"),
                    }
                    // The process ends only after everything has been received, so that the cost of its end does not count in the
                    // receiver's time.
                    let _ = { &go }.read(&mut [0]);
                }
                How::Peer(peer) => {
                    let ends = [self.source.as_fd(), near.as_fd(), go.as_fd(), send.as_fd()];
                    let error = peer.exec(ends, [GO, REPORT], self.content.len());
                    eprintln!("{}: {error}", peer.name());
                }
            }
        })
        .setup("fork")?;
        // A copy of an end would keep it open.
        drop((receive, send, go, before));
        start.write_all(&[1]).setup("start the sender")?;
        let sent = read_report(sent);
        let received = receiver.map(|pid| (pid, read_report(received)));
        drop(start);
        process::wait(sender);
        let received = received.map(|(pid, report)| {
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
        self.figures(sent, received, repeat)
    }

    /// Starts a process that reads everything at the far end and reports. Before that it reads everything at `warm`, and calls
    /// `first`.
    fn receive(
        &self,
        far: &OwnedFd,
        receive: &PipeWriter,
        verify: bool,
        warm: Option<&OwnedFd>,
        first: impl FnOnce() -> Result<(), Stop>,
    ) -> Result<libc::pid_t, Stop> {
        let child = process::fork(move || {
            let keep = [far.as_raw_fd(), receive.as_raw_fd()];
            let warm_fd = warm.map(AsRawFd::as_raw_fd);
            process::close_all_but(&keep.into_iter().chain(warm_fd).collect::<Vec<_>>());
            pin(0);
            let sink = self.plan.sink;
            let expected = verify.then_some(self.content);
            let warmed = warm.map_or(Ok(0), |warm| sink.take_all(warm, None));
            let stamp = Stamp::now();
            let came = warmed.and_then(|_| first());
            let came = came.and_then(|()| sink.take_all(far, expected));
            match came {
                Ok(came) => stamp.report(receive, came),
                Err(stop) => eprintln!("the receiver: {stop:?}"),
            }
        });
        child.setup("fork")
    }

    /// The sender's part, in a separate process. Returns its start time.
    ///
    /// It first sends a few bytes to `warm`, so that the costs that a process pays once, such as faults of new pages, are not
    /// measured. The preparation before the clock starts belongs to the program, not to the file. For small files the preparation
    /// is measured for each file.
    fn send(
        &self,
        method: Method,
        warm: &OwnedFd,
        near: &OwnedFd,
        mut go: &PipeReader,
        repeat: usize,
    ) -> Result<Stamp, Stop> {
        let method = method.within(self.plan.sink);
        let little = &self.content[..self.content.len().min(LITTLE)];
        let mut sending = method.begin(self.source, warm, little)?;
        sending.drive().setup("send a little before")?;
        sending.end()?;
        // SAFETY: nothing uses the number any more, and this process ends without dropping its owner.
        unsafe { libc::close(warm.as_raw_fd()) };
        let begin = || method.begin(self.source, near, self.content);
        let is_small = self.plan.kind == Kind::Size;
        let ready = if is_small { None } else { Some(begin()?) };
        go.read_exact(&mut [0]).map_err(|_| Stop::broken("no process starts it"))?;
        let stamp = Stamp::now();
        if let Some(mut sending) = ready {
            sending.drive().setup("send")?;
            sending.end()?;
            return Ok(stamp);
        }
        let mut earlier = None;
        for _ in 0..repeat {
            let mut sending = method.begin_after(earlier.as_ref(), self.source, near, self.content)?;
            sending.drive().setup("send")?;
            earlier = sending.outcome()?;
        }
        Ok(stamp)
    }

    /// Measures `nginx`, which sends the file on request.
    fn fetch(&self, server: peers::Nginx, verify: bool) -> Result<Figures, Stop> {
        let far = OwnedFd::from(server.connect()?);
        let (received, receive) = std::io::pipe().setup("pipe")?;
        let before = server.cpu()?;
        let child = self.receive(&far, &receive, verify, None, || peers::ask(&far))?;
        drop(far);
        drop(receive);
        let received = read_report(received);
        process::wait(child);
        let received = received?;
        let cpu = server.cpu()?.saturating_sub(before);
        let sent = [received[0], received[1], cpu, received[3]];
        self.figures(sent, Some(received), 1)
    }

    /// Measures a program between two connections. Another process sends the file to it, and that process's CPU time is not counted.
    fn relay(&self, relay: Relay, verify: bool) -> Result<Figures, Stop> {
        let (go, mut start) = std::io::pipe().setup("pipe")?;
        let (sent, send) = std::io::pipe().setup("pipe")?;
        let (received, receive) = std::io::pipe().setup("pipe")?;
        let mut program = None;
        let (feed, far) = match relay {
            Relay::Haproxy(server) => {
                let (feed, far) = server.connect()?;
                (OwnedFd::from(feed), OwnedFd::from(far))
            }
            Relay::Program(_) => {
                let (Ends { near: feed, far: source }, Ends { near, far }) = (self.ends()?, self.ends()?);
                let (Some(source), Some(far)) = (source, far) else {
                    return Err(Stop::broken("a connection has two ends"));
                };
                let child = process::fork(|| {
                    let kept = [source.as_raw_fd(), near.as_raw_fd(), go.as_raw_fd(), send.as_raw_fd()];
                    process::close_all_but(&kept);
                    pin(usize::from(self.plan.placement == Placement::Split));
                    let ends = [source.as_fd(), near.as_fd(), go.as_fd(), send.as_fd()];
                    let error = Peer::Relay(relay).exec(ends, [GO, REPORT], self.content.len());
                    eprintln!("{}: {error}", relay.name());
                });
                program = Some(child.setup("fork")?);
                (feed, far)
            }
        };
        drop((go, send));
        let receiver = self.receive(&far, &receive, verify, None, || Ok(()))?;
        drop((far, receive));
        let (wait, ready) = std::io::pipe().setup("pipe")?;
        let feeder = process::fork(|| {
            process::close_all_but(&[feed.as_raw_fd(), self.source.as_raw_fd(), wait.as_raw_fd()]);
            pin(0);
            let (mut offset, mut left) = (0, self.content.len());
            let _ = { &wait }.read(&mut [0]);
            while left > 0 {
                match sendfile(&feed, self.source, Some(&mut offset), left) {
                    Ok(count @ 1..) => left -= count,
                    answer => return eprintln!("the feeder: {answer:?}"),
                }
            }
        })
        .setup("fork")?;
        drop((feed, wait));
        let before = if let Relay::Haproxy(server) = relay { server.cpu()? } else { 0 };
        if program.is_some() {
            start.write_all(&[1]).setup("start the relay")?;
        }
        let began = process::nanoseconds(libc::CLOCK_MONOTONIC);
        drop(ready);
        let received = read_report(received);
        process::wait(receiver);
        process::wait(feeder);
        let sent = program.map(|program| {
            let sent = read_report(sent);
            process::wait(program);
            sent
        });
        let received = received?;
        let cpu = match (sent, relay) {
            (Some(sent), _) => sent?[2],
            (None, Relay::Haproxy(server)) => server.cpu()?.saturating_sub(before),
            (None, Relay::Program(_)) => 0,
        };
        self.figures([began, received[1], cpu, received[3]], Some(received), 1)
    }

    fn figures(&self, sent: Report, received: Option<Report>, repeat: usize) -> Result<Figures, Stop> {
        let all = (self.content.len() * repeat) as u64;
        let came = received.map_or(sent[3], |received| received[3]);
        if came != all {
            return Err(Stop::broken(format!("{came} bytes of {all} came, or others")));
        }
        let end = received.map_or(sent[1], |received| received[1]);
        Ok(Figures {
            wall: Duration::from_nanos(end.saturating_sub(sent[0])),
            sender: Duration::from_nanos(sent[2]),
            receiver: Duration::from_nanos(received.map_or(0, |received| received[2])),
        })
    }
}

/// The values of the clocks at one moment.
struct Stamp {
    monotonic: u64,
    cpu: u64,
}

impl Stamp {
    fn now() -> Self {
        Self {
            cpu: process::nanoseconds(libc::CLOCK_PROCESS_CPUTIME_ID),
            monotonic: process::nanoseconds(libc::CLOCK_MONOTONIC),
        }
    }

    /// Reports the start, the end, the CPU time used, and the number of bytes.
    fn report(&self, mut to: &PipeWriter, bytes: usize) {
        let now = Self::now();
        let words: Report = [self.monotonic, now.monotonic, now.cpu - self.cpu, bytes as u64];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        // If the parent has ended, nothing reads the report.
        let _ = to.write_all(&bytes);
    }
}

fn read_report(mut from: PipeReader) -> Result<Report, Stop> {
    let mut words = Report::default();
    for word in &mut words {
        let mut bytes = [0; 8];
        from.read_exact(&mut bytes).map_err(|_| Stop::broken("a process of the trial has failed"))?;
        *word = u64::from_ne_bytes(bytes);
    }
    Ok(words)
}
