//! Words and lines of every report.

#![forbid(unsafe_code)]

/// A number of things: `1 claim`, `2 claims`.
pub fn plural(count: usize, thing: &str) -> String {
    format!("{count} {thing}{}", if count == 1 { "" } else { "s" })
}

/// The text in one line. Characters that end a line or control a terminal become spaces.
pub fn one_line(text: &str) -> String {
    let spaces = text.replace(|letter: char| letter.is_control(), " ");
    spaces.split_whitespace().collect::<Vec<_>>().join(" ")
}
