//! KTAP version 1, the kernel's format for test results: nested by kernel, interface and claim.
//!
//! `not ok` is a red result: broken, timed out, not reached and, if requested, changed and untestable. `# SKIP` is any other
//! untestable claim, with the reason. Verdict, judgement and what the kernel did are diagnostic lines above each result. A refuted
//! claim is `ok`: the experiment worked.

#![forbid(unsafe_code)]

use crate::run::record::{Record, Run};
use crate::run::red::Strictness;
use crate::run::stored::{Stored, ids, interfaces};
use crate::run::text::one_line;
use crate::verdict::Word;
use std::io::{self, Write};

/// Writes the report.
pub fn write(output: &mut dyn Write, runs: &[Stored], strictness: &Strictness) -> io::Result<()> {
    writeln!(output, "KTAP version 1\n1..{}", runs.len())?;
    for (number, stored) in (1..).zip(runs) {
        let ids = ids([stored], strictness.registry);
        let interfaces = interfaces(&ids);
        let environment = &stored.run.environment;
        writeln!(output, "  KTAP version 1")?;
        writeln!(
            output,
            "  # Linux {} {}, as user {}",
            one_line(&environment.kernel),
            one_line(&environment.machine),
            environment.uid
        )?;
        writeln!(output, "  1..{}", interfaces.len())?;
        let mut passed = true;
        for (number, interface) in (1..).zip(interfaces) {
            let of_it = |record: &&Record| record.interface() == interface;
            let records: Vec<&Record> = stored.run.records.iter().filter(of_it).collect();
            let ok = claims(output, &stored.run, &records, strictness)?;
            passed &= ok;
            writeln!(output, "  {}", point(ok, number, interface))?;
        }
        writeln!(output, "{}", point(passed, number, &stored.name))?;
    }
    Ok(())
}

/// Prints the claims of an interface. Returns whether all are `ok`.
fn claims(output: &mut dyn Write, run: &Run, records: &[&Record], strictness: &Strictness) -> io::Result<bool> {
    writeln!(output, "    KTAP version 1\n    1..{}", records.len())?;
    for (number, record) in (1..).zip(records) {
        let happened = one_line(&record.what_happened());
        writeln!(output, "    # {}: {happened}", record.words())?;
        let ok = !run.fails(record, strictness);
        let mut line = point(ok, number, &record.id);
        if ok && record.verdict == Word::Untestable {
            line += " # SKIP ";
            line += &description(&happened);
        }
        writeln!(output, "    {}", line.trim_end())?;
    }
    Ok(!records.iter().any(|record| run.fails(record, strictness)))
}

fn point(ok: bool, number: usize, name: &str) -> String {
    let word = if ok { "ok" } else { "not ok" };
    format!("{word} {number} {}", description(name))
}

/// A description ends at a `#`, which KTAP cannot escape: a full-width `#` replaces it.
fn description(text: &str) -> String {
    one_line(text).replace('#', "\u{ff03}")
}
