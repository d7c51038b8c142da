//! A table as text.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{self, Write};

/// Prints columns that are as wide as their content.
pub fn draw(output: &mut dyn Write, table: &[Vec<String>], markdown: bool) -> io::Result<()> {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for (at, row) in table.iter().enumerate() {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let bar = if markdown { "| " } else { "" };
            let _ = write!(line, "{bar}{cell:<width$}{}", if markdown { " " } else { "  " });
        }
        let end = if markdown { "|" } else { "" };
        writeln!(output, "{}{end}", if markdown { &line } else { line.trim_end() })?;
        if markdown && at == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(width + 2)).collect();
            writeln!(output, "|{}|", rule.join("|"))?;
        }
    }
    Ok(())
}
