//! Counts kernel entries in stretches that the experiment marks, and records every call if requested.

use super::{Call, Entry, Hook};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::os::unix::process::CommandExt;
use std::process::Command;
use syscalls::Sysno;

/// First argument of the `getpid` calls that mark a stretch; `getpid` takes none and ignores it.
const MARK: usize = 0x6e6f_636f_7079_0000;
const BEGIN: usize = 1;
const END: usize = 2;
const OVER: usize = 3;
const ASIDE: usize = 4;
const BACK: usize = 5;
const APART: usize = 6;
/// The most calls that are recorded.
const WRITTEN_DOWN: usize = 1 << 16;

/// Marks the beginning of stretch `index` on this thread.
pub fn begin(index: usize) {
    mark(BEGIN, index);
}

/// Marks the end of stretch `index` on this thread.
pub fn end(index: usize) {
    mark(END, index);
}

/// Marks the end of the experiment: later calls are those of the runner.
pub fn over() {
    mark(OVER, 0);
}

/// Runs `work` aside: set-up and checks, which the claim is not about. Only lies about set-up apply to it.
pub fn aside<T>(work: impl FnOnce() -> T) -> T {
    mark(ASIDE, 0);
    let result = work();
    mark(BACK, 0);
    result
}

/// Makes the program of a command do all of its work aside, with all threads and processes that it starts in turn.
pub fn start_aside(command: &mut Command) -> &mut Command {
    let marked = || {
        mark(APART, 0);
        Ok(())
    };
    // SAFETY: between fork and exec only a system call is made.
    unsafe { command.pre_exec(marked) }
}

fn mark(edge: usize, index: usize) {
    // SAFETY: getpid takes no arguments; the registers that we fill mean nothing to the kernel.
    let pid = unsafe { syscalls::raw::syscall3(Sysno::getpid as usize, MARK, edge, index) };
    debug_assert_ne!(pid, 0);
}

/// A call with its result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// The number of the thread that made it, in the order of their first stops.
    pub thread: u32,
    /// Its number.
    pub number: u64,
    /// Its arguments.
    pub arguments: [u64; 6],
    /// Its result, negative for an errno.
    pub result: i64,
    /// Whether it was made aside: set-up, or a check.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub aside: bool,
}

/// How often each call was made in each stretch, by the thread that marked it; and every call of the experiment.
#[derive(Debug, Default)]
pub struct Recorder {
    /// Every completed call, if calls are recorded.
    calls: Option<Vec<Made>>,
    /// Whether the experiment has ended.
    over: bool,
    /// The nesting depth of work aside, by thread.
    aside: HashMap<libc::pid_t, usize>,
    /// Threads that do everything aside.
    apart: HashSet<libc::pid_t>,
    /// The stretch that each thread is in.
    inside: HashMap<libc::pid_t, usize>,
    /// Per stretch, calls in the order of their first use.
    stretches: Vec<Vec<(u64, u64)>>,
}

impl Recorder {
    /// A recorder that also records every call.
    pub fn of_all_calls() -> Self {
        Self { calls: Some(Vec::new()), ..Self::default() }
    }

    /// The recorded calls, in the order of their ends.
    pub fn take_calls(&mut self) -> Vec<Made> {
        self.calls.take().unwrap_or_default()
    }

    /// Whether a call belongs to the experiment: the experiment has not ended, and the thread is not working aside.
    pub fn is_of_experiment(&self, call: &Call) -> bool {
        !self.over && !is_mark(call) && !self.is_aside(call.tid)
    }

    /// Whether a call belongs to the experiment's set-up or checks: the experiment itself makes it aside.
    pub fn is_of_set_up(&self, call: &Call) -> bool {
        let own = self.aside.contains_key(&call.tid) && !self.apart.contains(&call.tid);
        !self.over && !is_mark(call) && own
    }

    /// Whether a thread works aside.
    pub fn is_aside(&self, tid: libc::pid_t) -> bool {
        self.aside.contains_key(&tid) || self.apart.contains(&tid)
    }

    /// Whether the experiment has ended.
    pub fn is_over(&self) -> bool {
        self.over
    }

    fn note_aside(&mut self, tid: libc::pid_t, begins: bool) {
        let depth = self.aside.entry(tid).or_insert(0);
        *depth = if begins { *depth + 1 } else { depth.saturating_sub(1) };
        if *depth == 0 {
            self.aside.remove(&tid);
        }
    }

    /// The calls of a stretch by name, in the order of their first use.
    pub fn stretch(&self, index: usize) -> Option<Vec<(String, u64)>> {
        let calls = self.stretches.get(index)?;
        Some(calls.iter().map(|(number, count)| (name(*number), *count)).collect())
    }
}

/// The call's name, or its number if our table does not have it.
pub fn name(number: u64) -> String {
    usize::try_from(number)
        .ok()
        .and_then(Sysno::new)
        .map_or_else(|| format!("syscall {number}"), |call| call.name().to_owned())
}

impl Hook for Recorder {
    fn started(&mut self, by: libc::pid_t, tid: libc::pid_t) {
        // The same number may have belonged to another thread before.
        if self.apart.contains(&by) {
            self.apart.insert(tid);
        } else {
            self.apart.remove(&tid);
        }
    }

    fn asks_who_started(&self) -> bool {
        !self.apart.is_empty()
    }

    fn enter(&mut self, call: &Call) -> Entry {
        let [_, edge, index, ..] = call.arguments;
        if is_mark(call) {
            let Ok(index) = usize::try_from(index) else {
                return Entry::AsAsked;
            };
            if edge == OVER as u64 {
                self.over = true;
            } else if edge == APART as u64 {
                self.apart.insert(call.tid);
            } else if edge == ASIDE as u64 || edge == BACK as u64 {
                self.note_aside(call.tid, edge == ASIDE as u64);
            } else if edge == BEGIN as u64 {
                self.inside.insert(call.tid, index);
                if self.stretches.len() <= index {
                    self.stretches.resize(index + 1, Vec::new());
                }
            } else {
                self.inside.remove(&call.tid);
            }
        } else if let Some(&index) = self.inside.get(&call.tid) {
            let calls = &mut self.stretches[index];
            match calls.iter_mut().find(|(number, _)| *number == call.number) {
                Some((_, count)) => *count += 1,
                None => calls.push((call.number, 1)),
            }
        }
        Entry::AsAsked
    }

    fn exit(&mut self, call: &Call, result: i64) -> i64 {
        let aside = self.is_of_set_up(call);
        let counts = aside || self.is_of_experiment(call);
        if let Some(calls) = &mut self.calls
            && counts
            && calls.len() < WRITTEN_DOWN
        {
            calls.push(Made { thread: call.thread, number: call.number, arguments: call.arguments, result, aside });
        }
        result
    }
}

fn is_mark(call: &Call) -> bool {
    call.number == Sysno::getpid as u64 && call.arguments[0] == MARK as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tid: libc::pid_t, number: Sysno, arguments: [u64; 3]) -> Call {
        let [a, b, c] = arguments;
        Call { tid, thread: 0, number: number as u64, arguments: [a, b, c, 0, 0, 0], scratch: 0 }
    }

    fn see(recorder: &mut Recorder, call: &Call) {
        assert_eq!(recorder.enter(call), Entry::AsAsked);
        assert_eq!(recorder.exit(call, 7), 7);
    }

    #[test]
    fn counts_between_the_marks_and_only_on_the_marking_thread() {
        let mut recorder = Recorder::default();
        see(&mut recorder, &call(1, Sysno::read, [0; 3]));
        see(&mut recorder, &call(1, Sysno::getpid, [MARK as u64, BEGIN as u64, 0]));
        see(&mut recorder, &call(1, Sysno::read, [0; 3]));
        see(&mut recorder, &call(2, Sysno::read, [0; 3]));
        see(&mut recorder, &call(1, Sysno::write, [0; 3]));
        see(&mut recorder, &call(1, Sysno::read, [0; 3]));
        see(&mut recorder, &call(1, Sysno::getpid, [0; 3]));
        see(&mut recorder, &call(1, Sysno::getpid, [MARK as u64, END as u64, 0]));
        see(&mut recorder, &call(1, Sysno::write, [0; 3]));
        let expected = [("read", 2), ("write", 1), ("getpid", 1)];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(recorder.stretch(0), Some(expected.to_vec()));
        assert_eq!(recorder.stretch(1), None);
    }

    #[test]
    fn what_a_program_does_apart_is_not_the_experiment_s() {
        let mut recorder = Recorder::of_all_calls();
        assert!(!recorder.asks_who_started());
        see(&mut recorder, &call(2, Sysno::getpid, [MARK as u64, APART as u64, 0]));
        assert!(recorder.asks_who_started());
        recorder.started(2, 3);
        recorder.started(3, 4);
        recorder.started(1, 5);
        for (tid, is_of_experiment) in [(1, true), (2, false), (3, false), (4, false), (5, true)] {
            let read = call(tid, Sysno::read, [0; 3]);
            assert_eq!(recorder.is_of_experiment(&read), is_of_experiment, "{tid}");
        }
        // The number of a thread that has ended.
        recorder.started(1, 4);
        assert!(recorder.is_of_experiment(&call(4, Sysno::read, [0; 3])));
    }

    #[test]
    fn writes_down_what_the_experiment_called() {
        let mut recorder = Recorder::of_all_calls();
        see(&mut recorder, &call(1, Sysno::getpid, [MARK as u64, BEGIN as u64, 0]));
        see(&mut recorder, &call(1, Sysno::read, [3, 4, 5]));
        for edge in [ASIDE, ASIDE, BACK, BACK] {
            see(&mut recorder, &call(1, Sysno::getpid, [MARK as u64, edge as u64, 0]));
            if edge == ASIDE {
                see(&mut recorder, &call(1, Sysno::pwrite64, [3, 4, 5]));
            }
        }
        see(&mut recorder, &call(1, Sysno::getpid, [MARK as u64, OVER as u64, 0]));
        see(&mut recorder, &call(1, Sysno::write, [3, 4, 5]));
        let calls = recorder.take_calls();
        let own: Vec<(u64, bool)> = calls.iter().map(|made| (made.number, made.aside)).collect();
        let [read, aside] = [Sysno::read, Sysno::pwrite64].map(|call| call as u64);
        assert_eq!(own, [(read, false), (aside, true), (aside, true)]);
        assert!(calls.iter().all(|made| made.result == 7));
        assert_eq!(calls[0].arguments, [3, 4, 5, 0, 0, 0]);
    }
}
