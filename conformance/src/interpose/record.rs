//! Counts kernel entries inside stretches that the experiment marks.

use super::{Call, Hook};
use std::collections::HashMap;
use syscalls::Sysno;

/// First argument of the `getpid` calls that mark a stretch; `getpid` takes none and ignores it.
const MARK: usize = 0x6e6f_636f_7079_0000;
const BEGIN: usize = 1;
const END: usize = 2;

/// Marks the beginning of stretch `index` on this thread.
pub fn begin(index: usize) {
    mark(BEGIN, index);
}

/// Marks the end of stretch `index` on this thread.
pub fn end(index: usize) {
    mark(END, index);
}

fn mark(edge: usize, index: usize) {
    // SAFETY: getpid takes no arguments; the registers that we fill mean nothing to the kernel.
    let pid = unsafe { syscalls::raw::syscall3(Sysno::getpid as usize, MARK, edge, index) };
    debug_assert_ne!(pid, 0);
}

/// How often each call was made in each stretch, by the thread that marked it.
#[derive(Debug, Default)]
pub struct Recorder {
    /// The stretch that each thread is in.
    inside: HashMap<libc::pid_t, usize>,
    /// Per stretch, calls in the order of their first use.
    stretches: Vec<Vec<(u64, u64)>>,
}

impl Recorder {
    /// The calls of a stretch by name, in the order of their first use.
    pub fn stretch(&self, index: usize) -> Option<Vec<(String, u64)>> {
        let calls = self.stretches.get(index)?;
        Some(
            calls
                .iter()
                .map(|(number, count)| (name(*number), *count))
                .collect(),
        )
    }
}

/// The call's name, or its number for one newer than our table.
pub fn name(number: u64) -> String {
    usize::try_from(number)
        .ok()
        .and_then(Sysno::new)
        .map_or_else(
            || format!("syscall {number}"),
            |call| call.name().to_owned(),
        )
}

impl Hook for Recorder {
    fn enter(&mut self, call: &Call) {
        let [mark, edge, index, ..] = call.arguments;
        if call.number == Sysno::getpid as u64 && mark == MARK as u64 {
            let Ok(index) = usize::try_from(index) else {
                return;
            };
            if edge == BEGIN as u64 {
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
    }

    fn exit(&mut self, _call: &Call, _result: i64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(tid: libc::pid_t, number: Sysno, arguments: [u64; 3]) -> Call {
        let [a, b, c] = arguments;
        Call {
            tid,
            number: number as u64,
            arguments: [a, b, c, 0, 0, 0],
        }
    }

    #[test]
    fn counts_between_the_marks_and_only_on_the_marking_thread() {
        let mut recorder = Recorder::default();
        recorder.enter(&call(1, Sysno::read, [0; 3]));
        recorder.enter(&call(1, Sysno::getpid, [MARK as u64, BEGIN as u64, 0]));
        recorder.enter(&call(1, Sysno::read, [0; 3]));
        recorder.enter(&call(2, Sysno::read, [0; 3]));
        recorder.enter(&call(1, Sysno::write, [0; 3]));
        recorder.enter(&call(1, Sysno::read, [0; 3]));
        recorder.enter(&call(1, Sysno::getpid, [0; 3]));
        recorder.enter(&call(1, Sysno::getpid, [MARK as u64, END as u64, 0]));
        recorder.enter(&call(1, Sysno::write, [0; 3]));
        let expected = [("read", 2), ("write", 1), ("getpid", 1)];
        let expected = expected.map(|(name, count)| (name.to_owned(), count));
        assert_eq!(recorder.stretch(0), Some(expected.to_vec()));
        assert_eq!(recorder.stretch(1), None);
    }
}
