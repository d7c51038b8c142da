//! Two recorded runs side by side: of two machines, two kernels, or before and after a change.

#![forbid(unsafe_code)]

use crate::bench::report::{heading, title};
use crate::bench::run::{Outcome, Run};
use crate::bench::stats::Interval;
use crate::run::table::draw;
use std::io::{self, Write};

/// Whether two plans ask the same.
fn is_same(one: &Outcome, other: &Outcome) -> bool {
    fn of(outcome: &Outcome) -> impl PartialEq + '_ {
        (outcome.kind, &outcome.sink, outcome.length, outcome.placement, &outcome.congestion)
    }
    of(one) == of(other)
}

/// In words: which is faster, where the intervals are apart and no run was too noisy.
fn verdict(one: Interval, other: Interval, is_quiet: bool) -> &'static str {
    match () {
        () if !is_quiet => "too noisy to say",
        () if one.low > other.high => "A",
        () if other.low > one.high => "B",
        () => "no difference",
    }
}

/// Writes a table for each plan that both runs have. Returns how many there are.
pub fn write(output: &mut dyn Write, one: &Run, other: &Run, markdown: bool) -> io::Result<usize> {
    writeln!(output, "A: {}\nB: {}\n", one.on, other.on)?;
    let mut number = 0;
    for before in &one.outcomes {
        let Some(after) = other.outcomes.iter().find(|after| is_same(before, after)) else { continue };
        let is_quiet = before.is_quiet() && after.is_quiet();
        title(output, &heading(before), markdown)?;
        let head = ["", "A, times as fast", "B, times as fast", "gains more", "A, GB/s", "B, GB/s"];
        let mut lines = vec![head.map(str::to_owned).to_vec()];
        for (at, line) in before.lines.iter().enumerate() {
            let Some(found) = after.find(&line.name) else { continue };
            let of = |ratio: Interval| if at == 0 { "1".to_owned() } else { ratio.to_string() };
            lines.push(vec![
                line.name.clone(),
                of(line.faster),
                of(found.faster),
                if at == 0 { String::new() } else { verdict(line.faster, found.faster, is_quiet).to_owned() },
                format!("{:.2}", line.speed()),
                format!("{:.2}", found.speed()),
            ]);
        }
        draw(output, &lines, markdown)?;
        writeln!(output)?;
        number += 1;
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_intervals_that_are_apart_differ() {
        let interval = |low, high| Interval { low, median: low, high };
        assert_eq!(verdict(interval(1.0, 1.2), interval(1.1, 1.3), true), "no difference");
        assert_eq!(verdict(interval(1.4, 1.5), interval(1.1, 1.3), true), "A");
        assert_eq!(verdict(interval(1.0, 1.1), interval(1.2, 1.3), true), "B");
        assert_eq!(verdict(interval(1.0, 1.1), interval(1.2, 1.3), false), "too noisy to say");
    }
}
