//! Parses the two ports of a guest, and checks the order: its release, then output, then one end marker, and nothing after that.
//!
//! Anything else is a lie or damage, and makes the run red. Nothing here trusts a number or a length from a guest, and memory is
//! limited whatever a guest sends.

#![forbid(unsafe_code)]

use crate::frames::{self, End, Kind, Reader};
use crate::log;

/// The state of the result channel.
#[derive(Debug, Default)]
pub struct Talk {
    /// Whether numbered commands are expected.
    session: bool,
    records: Reader,
    release: Option<String>,
    end: Option<End>,
}

impl Talk {
    /// The channel of a guest that runs commands which the host numbers, or of one that runs its own.
    pub fn new(session: bool) -> Self {
        Self {
            session,
            ..Self::default()
        }
    }

    /// Takes more bytes. `output` gets the command's output.
    ///
    /// # Errors
    ///
    /// A clause about the record that a working guest does not send.
    pub fn hear(
        &mut self,
        bytes: &[u8],
        mut output: impl FnMut(Kind, &[u8]),
    ) -> Result<(), String> {
        self.records.push(bytes);
        while let Some((kind, payload)) = self.records.take()? {
            let before = self.records.taken() - 1;
            if self.end.is_some() {
                return Err(if kind == Kind::End {
                    "there were two end markers".into()
                } else {
                    "a record came after the end marker".into()
                });
            }
            match (kind, &self.release) {
                (Kind::Hello, None) => self.release = Some(release(&payload)?),
                (Kind::Hello, Some(_)) => {
                    return Err("it came up twice: two first records".into());
                }
                (_, None) => return Err("its first record does not say what it is".into()),
                (Kind::End, Some(_)) => self.end = Some(end(&payload, before)?),
                (Kind::Output | Kind::Error, Some(_)) => output(kind, &payload),
                // A guest with one command takes input for it, which has the number 0.
                (Kind::TookOf, Some(_)) if frames::numbered(&payload).is_some() => {
                    output(kind, &payload);
                }
                (Kind::OutputOf | Kind::ErrorOf | Kind::ExitOf | Kind::FailureOf, Some(_))
                    if self.session && frames::numbered(&payload).is_some() =>
                {
                    output(kind, &payload);
                }
                (_, Some(_)) => {
                    return Err(format!(
                        "record {before} is one that a guest does not send here"
                    ));
                }
            }
        }
        Ok(())
    }

    /// `uname -r` of the guest, after its first record.
    pub fn release(&self) -> Option<&str> {
        self.release.as_deref()
    }

    /// The whole conversation, after the guest has ended.
    ///
    /// # Errors
    ///
    /// A clause about the missing record.
    pub fn finish(&self) -> Result<(&str, &End), String> {
        let count = self.records.taken();
        let cut = if self.records.is_cut() {
            format!(" and with a part of record {count}")
        } else {
            String::new()
        };
        match (&self.release, &self.end) {
            (None, _) if cut.is_empty() => Err("it never came up".into()),
            (None, _) => Err("it did not come up: its first record is truncated".into()),
            (_, None) => Err(format!(
                "it ended without an end marker, after {count} records{cut}"
            )),
            (_, Some(_)) if !cut.is_empty() => {
                Err("a part of a record came after the end marker".into())
            }
            (Some(release), Some(end)) => Ok((release, end)),
        }
    }
}

/// Checks that a payload is a plausible `uname -r`.
fn release(payload: &[u8]) -> Result<String, String> {
    let plain = !payload.is_empty() && payload.iter().all(u8::is_ascii_graphic);
    if plain && payload.len() <= 64 {
        Ok(String::from_utf8_lossy(payload).into_owned())
    } else {
        let text = String::from_utf8_lossy(&payload[..payload.len().min(64)]).into_owned();
        Err(format!("it says that it is Linux {text:?}"))
    }
}

fn end(payload: &[u8], before: u64) -> Result<End, String> {
    let marker: End = serde_json::from_slice(payload)
        .map_err(|error| format!("the end marker cannot be read: {error}"))?;
    if marker.records == before {
        Ok(marker)
    } else {
        Err(format!("{before} of {} records came", marker.records))
    }
}

/// The end of the console, and the first line in which the kernel reports a bug.
#[derive(Debug, Default)]
pub struct Console {
    kept: Vec<u8>,
    line: Vec<u8>,
    complaint: Option<String>,
}

/// The least number of bytes of a console that are kept.
const KEPT: usize = 1 << 16;
/// The length of the part of a line that is examined and printed.
const WIDTH: usize = 240;

impl Console {
    /// Takes more bytes.
    pub fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_of_line();
            } else if self.line.len() < WIDTH {
                self.line.push(*byte);
            }
        }
        self.kept.extend_from_slice(bytes);
        if self.kept.len() > 2 * KEPT {
            self.kept.drain(..self.kept.len() - KEPT);
        }
    }

    fn end_of_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        if self.complaint.is_none() && is_of_kernel(&line) && log::is_complaint(&line) {
            self.complaint = Some(plain(&line));
        }
        self.line.clear();
    }

    /// The first line in which the kernel, and not a program, reports a bug.
    pub fn complaint(&self) -> Option<&str> {
        self.complaint.as_deref()
    }

    /// The last lines, as a clause.
    pub fn tail(&self) -> String {
        let text = String::from_utf8_lossy(&self.kept);
        let lines: Vec<String> = text.lines().map(plain).collect();
        let lines: Vec<&str> = lines
            .iter()
            .map(String::as_str)
            .filter(|line| !line.is_empty())
            .collect();
        if lines.is_empty() {
            return "nothing on its console".into();
        }
        let last = lines[lines.len().saturating_sub(12)..].join("\n  ");
        format!("its console ends:\n  {last}")
    }
}

/// Whether a line has the time stamp of the kernel's log: `[    3.141592] `.
fn is_of_kernel(line: &str) -> bool {
    let stamp = line
        .trim_start()
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(stamp, _)| stamp.trim());
    stamp.is_some_and(|stamp| {
        stamp.contains('.')
            && stamp
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.')
    })
}

/// A line without the control characters that a terminal would obey.
pub fn plain(line: &str) -> String {
    let visible = line.chars().filter(|letter| !letter.is_control());
    visible
        .take(WIDTH)
        .collect::<String>()
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames;
    use quickcheck::quickcheck;
    use rstest::rstest;

    const HELLO: (Kind, &[u8]) = (Kind::Hello, b"5.10.0");
    const SAID: (Kind, &[u8]) = (Kind::Output, b"said");
    const NAMELESS: (Kind, &[u8]) = (Kind::Hello, b"");
    const ILL_NAMED: (Kind, &[u8]) = (Kind::Hello, b"5.10\x1b[2J");

    fn marker(records: u64) -> Vec<u8> {
        let end = End {
            records,
            status: 0,
            tainted: 0,
            complaints: vec![],
            refused: None,
        };
        serde_json::to_vec(&end).expect("plain data")
    }

    fn bytes(records: &[(Kind, &[u8])]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, payload) in records {
            frames::write(&mut bytes, *kind, payload).expect("a vector takes all");
        }
        bytes
    }

    /// The result of a whole conversation.
    fn outcome(bytes: &[u8]) -> Result<(), String> {
        let mut talk = Talk::default();
        talk.hear(bytes, |_, _| {})?;
        talk.finish().map(drop)
    }

    #[test]
    fn who_it_is_output_and_one_end_marker() {
        let bytes = bytes(&[HELLO, SAID, (Kind::End, &marker(2))]);
        assert_eq!(outcome(&bytes), Ok(()));
    }

    #[rstest]
    #[case(&[], "never came up")]
    #[case(&[SAID], "does not say what it is")]
    #[case(&[HELLO, HELLO], "came up twice")]
    #[case(&[HELLO, SAID], "without an end marker, after 2 records")]
    #[case(&[HELLO, (Kind::End, &marker(2))], "1 of 2 records came")]
    #[case(&[HELLO, (Kind::End, &marker(u64::MAX))], "1 of 18446744073709551615 records came")]
    #[case(&[HELLO, (Kind::End, &marker(1)), (Kind::End, &marker(2))], "two end markers")]
    #[case(&[HELLO, (Kind::End, &marker(1)), SAID], "after the end marker")]
    #[case(&[HELLO, (Kind::End, b"{}")], "cannot be read")]
    #[case(&[NAMELESS], "it says that it is")]
    #[case(&[ILL_NAMED], "it says that it is")]
    fn what_is_out_of_order_is_said(#[case] records: &[(Kind, &[u8])], #[case] part: &str) {
        let said = outcome(&bytes(records)).expect_err("a lie");
        assert!(said.contains(part), "{said}");
    }

    quickcheck! {
        // Bytes that are not a conversation are always an error, and never a panic.
        fn nothing_else_passes(noise: Vec<u8>, cut: usize) -> bool {
            let whole = bytes(&[HELLO, SAID, (Kind::End, &marker(2))]);
            let cut = cut % whole.len();
            let longer = [&whole[..], &noise[..]].concat();
            outcome(&noise).is_err()
                && outcome(&whole[..cut]).is_err()
                && outcome(&whole[cut..]).is_err() == (cut != 0)
                && outcome(&longer).is_err() != noise.is_empty()
        }
    }

    #[rstest]
    #[case("[    3.141592] Kernel panic - not syncing: x\r\n", true)]
    #[case("[   12.000001] watchdog: BUG: soft lockup - CPU#0\n", true)]
    #[case("Kernel panic - not syncing: says a program\n", false)]
    #[case("[PASSED] no BUG: here\n", false)]
    #[case("[    3.141592] ordinary\n", false)]
    fn the_kernel_complains_and_programs_do_not(#[case] line: &str, #[case] expected: bool) {
        let mut console = Console::default();
        for byte in line.as_bytes().chunks(1) {
            console.hear(byte);
        }
        assert_eq!(console.complaint().is_some(), expected);
    }

    #[test]
    fn a_flooded_console_keeps_its_end_and_the_complaint() {
        let mut console = Console::default();
        console.hear(b"[    1.000000] BUG: first\n");
        for _ in 0..1000 {
            console.hear(&[b'x'; 4096]);
        }
        console.hear(b"\nlast \x1b[2Jline\n");
        assert!(console.kept.len() <= 2 * KEPT && console.line.len() <= WIDTH);
        assert!(console.tail().ends_with("last [2Jline"));
        assert_eq!(console.complaint(), Some("[    1.000000] BUG: first"));
    }
}
