//! `SIGINT`, `SIGTERM` and `SIGHUP` as a request to end in order: report the results so far, and remove all temporary state.
//!
//! Data that must not be lost does not depend on this module: files are [replaced](crate::replace) as a whole, and children end with
//! their parents. A second signal ends the process at once.

#![forbid(unsafe_code)]

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, signal_name};
use std::io;
use std::process::{Child, Output};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

struct State {
    came: Option<i32>,
    next: u64,
    actions: Vec<(u64, Box<dyn FnOnce() + Send>)>,
}

static STATE: Mutex<State> = Mutex::new(State {
    came: None,
    next: 0,
    actions: Vec::new(),
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts to handle the signals. An ignored signal, as under `nohup`, stays ignored.
///
/// # Errors
///
/// If the kernel refuses the handlers or the thread that waits for the signals.
pub fn watch() -> io::Result<()> {
    let ignored = ignored();
    let taken = [SIGINT, SIGTERM, SIGHUP].into_iter();
    let mut signals = Signals::new(taken.filter(|number| ignored & (1 << (number - 1)) == 0))?;
    std::thread::Builder::new().spawn(move || {
        for number in signals.forever() {
            let actions = {
                let mut state = state();
                if state.came.replace(number).is_some() {
                    let _ = emulate_default_handler(number); // the second: at once
                }
                std::mem::take(&mut state.actions)
            };
            for (_, action) in actions {
                action();
            }
        }
    })?;
    Ok(())
}

/// The signals that this process ignores, as the kernel's mask.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok())
        .unwrap_or(0)
}

/// The name of the signal that was received, if there was one.
pub fn came() -> Option<&'static str> {
    let number = state().came?;
    Some(signal_name(number).unwrap_or("a signal"))
}

/// Ends this process by the signal that was received, as its parent expects. Returns if there was none.
pub fn end_as_asked() {
    let came = state().came;
    if let Some(number) = came {
        let _ = emulate_default_handler(number);
    }
}

/// An action that runs when a signal is received, as long as this value lives.
#[must_use]
pub struct AtInterrupt(u64);

/// Runs `action` in another thread when a signal is received. Runs it at once if one was received already.
pub fn at_interrupt(action: impl FnOnce() + Send + 'static) -> AtInterrupt {
    let mut state = state();
    let number = state.next;
    state.next += 1;
    if state.came.is_some() {
        drop(state);
        action();
    } else {
        state.actions.push((number, Box::new(action)));
    }
    AtInterrupt(number)
}

impl Drop for AtInterrupt {
    fn drop(&mut self) {
        state().actions.retain(|(number, _)| *number != self.0);
    }
}

/// Waits for a child, and returns its output. The child is killed when a signal is received.
///
/// # Errors
///
/// If the child cannot be waited for; [`io::ErrorKind::Interrupted`] if a signal was received.
pub fn output_of(mut child: Child) -> io::Result<Output> {
    let ended = Arc::new(Mutex::new(false));
    let (pid, known) = (child.id(), Arc::clone(&ended));
    let guard = at_interrupt(move || {
        // Not after the child has been waited for: its number may belong to another process.
        let ended = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let (false, Ok(pid)) = (*ended, libc::pid_t::try_from(pid)) {
            crate::process::kill(pid);
        }
    });
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = std::thread::scope(|scope| {
        let errors = scope.spawn(move || all_of(stderr));
        let output = all_of(stdout);
        let errors = errors.join().unwrap_or_else(|_| Ok(Vec::new()));
        (output, errors)
    });
    let mut ended = ended.lock().unwrap_or_else(PoisonError::into_inner);
    let status = child.wait();
    *ended = true;
    drop(ended);
    drop(guard);
    match came() {
        Some(name) => Err(io::Error::new(
            io::ErrorKind::Interrupted,
            format!("ended by {name}"),
        )),
        None => Ok(Output {
            status: status?,
            stdout: stdout?,
            stderr: stderr?,
        }),
    }
}

fn all_of(pipe: Option<impl io::Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(mut pipe) = pipe {
        pipe.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}
