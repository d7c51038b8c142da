//! The ways to bring a file's bytes to a sink, a file per route, over the crates.
//!
//! Each is the plain loop that a program would write: it goes on after a short count and after `EINTR`, and stops at an error
//! or at the end of the file. All begin at offset 0 and return the bytes that the sink has taken.

pub mod mmap_write;
pub mod msg_zerocopy;
pub mod read_write;
pub mod sendfile;
pub mod splice;
pub mod vmsplice;

use syscalls::Errno;

/// Calls `step` with the bytes done so far until `length` is reached, it returns 0, or it fails; `EINTR` is tried again.
fn until_done(
    length: usize,
    mut step: impl FnMut(usize) -> Result<usize, Errno>,
) -> Result<u64, Errno> {
    let mut done = 0;
    while done < length {
        match step(done) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(done as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_count_goes_on_an_interruption_repeats_an_error_ends() {
        let mut answers = [Ok(3), Err(Errno::EINTR), Ok(4), Ok(1)].into_iter();
        let mut seen = Vec::new();
        let done = until_done(8, |at| {
            seen.push(at);
            answers.next().expect("no call after the end")
        });
        assert_eq!(done, Ok(8));
        assert_eq!(seen, [0, 3, 3, 7]);
        assert_eq!(
            until_done(8, |at| if at == 0 { Ok(5) } else { Ok(0) }),
            Ok(5)
        );
        assert_eq!(until_done(8, |_| Err(Errno::EPIPE)), Err(Errno::EPIPE));
    }
}
