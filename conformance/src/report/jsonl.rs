//! The stored form: JSON Lines, from which all other reports are derived.
//!
//! Schema 1. Each line is an object with a `type`:
//!
//! | `type` | when | fields |
//! |---|---|---|
//! | `environment` | first | those of [`Environment`]: `schema`, `conformance`, `kernel`, `machine`, `uid`, `arguments`, `scratch`, `passed_over`, `config`, `lost` |
//! | `claim` | one per claim, in the order of their ends | those of [`Record`]: `id`, `verdict`, `judgement`, `reason`, `failure`, `observation`, `milliseconds`; what does not apply is left out |
//! | `end` | last | `claims`: how many lines of type `claim` there were |
//!
//! A file without the `end` line, or with another number of claims, is of a run that was cut off. An observation is a list of
//! facts: `fact`, and one of `returned`, `errno`, `count`, `text` or `entries` (pairs of system call and count).

use super::{Environment, Record};
use serde::{Deserialize, Serialize};
use std::io::{self, Write};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Line {
    /// The first line.
    Environment(Environment),
    /// A result.
    Claim(Record),
    /// The last line.
    End {
        /// How many results there were.
        claims: usize,
    },
}

/// Writes one line and flushes it, so that a reader sees results as they come.
pub fn write(output: &mut dyn Write, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    output.write_all(text.as_bytes())?;
    output.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_can_be_read_back() {
        let line = Line::Environment(Environment::now(
            Some("/scratch".into()),
            vec!["/full: ENOSPC".into()],
        ));
        let mut stored = Vec::new();
        write(&mut stored, &line).expect("a vector takes all");
        assert_eq!(stored.last(), Some(&b'\n'));
        assert_eq!(
            serde_json::from_slice::<Line>(&stored).expect("what was written can be read"),
            line
        );
    }
}
