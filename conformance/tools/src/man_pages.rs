//! The places of a manual page that a source can name: its sections, and in each the headings and the tags of its lists.
//!
//! A tag is what stands before a paragraph: an errno in `ERRORS`, a flag in `DESCRIPTION`. The text is not kept.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write;

/// A page's sections in their order, with the headings and tags of each.
pub type Places = Vec<(String, Vec<String>)>;

/// The places of a page, from its source in the `man` macros.
pub fn places(source: &str) -> Places {
    let mut places: Places = Vec::new();
    let mut is_tag = false;
    for line in source.lines() {
        let (macro_name, rest) = line
            .strip_prefix('.')
            .and_then(|line| line.split_once(' '))
            .unwrap_or_default();
        let text = text(macro_name, if macro_name.is_empty() { line } else { rest });
        match macro_name {
            "SH" => places.push((text, Vec::new())),
            "SS" => note(&mut places, text),
            "IP" => note(
                &mut places,
                arguments(rest).into_iter().next().unwrap_or_default(),
            ),
            _ if is_tag => note(&mut places, text),
            _ => {}
        }
        is_tag = line.starts_with(".TP") || line.starts_with(".TQ");
    }
    places
}

fn note(places: &mut Places, tag: String) {
    let is_word = tag.chars().any(char::is_alphanumeric);
    if let Some((_, tags)) = places.last_mut().filter(|_| is_word)
        && !tags.contains(&tag)
    {
        tags.push(tag);
    }
}

/// The text of a line without its macros.
fn text(macro_name: &str, rest: &str) -> String {
    let alternates =
        macro_name.len() == 2 && macro_name.chars().all(|letter| "BIR".contains(letter));
    arguments(rest)
        .join(if alternates { "" } else { " " })
        .trim()
        .to_owned()
}

/// The arguments of a macro, without quotes and escapes.
fn arguments(rest: &str) -> Vec<String> {
    let mut arguments = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = rest.chars().peekable();
    while let Some(letter) = letters.next() {
        let last = arguments.last_mut().expect("there is one");
        match letter {
            '"' => is_quoted = !is_quoted,
            ' ' if !is_quoted => arguments.push(String::new()),
            '\\' => match letters.next() {
                Some('-') => last.push('-'),
                Some('~' | ' ') => last.push(' '),
                Some('f') => drop(letters.next()),
                Some('[') => drop(letters.by_ref().find(|letter| *letter == ']')),
                Some('"') => break,
                _ => {}
            },
            letter => last.push(letter),
        }
    }
    arguments
}

/// Whether a place is on a page: `ERRORS`, or `ERRORS, EINVAL` with the first words of a heading or tag of that section.
pub fn has(places: &BTreeMap<String, Vec<String>>, place: &str) -> bool {
    let (section, tag) = place
        .split_once(", ")
        .map_or((place, None), |(section, tag)| (section, Some(tag)));
    let of_section = places.get(section);
    of_section
        .is_some_and(|tags| tag.is_none_or(|tag| tags.iter().any(|known| known.starts_with(tag))))
}

/// The pages that a source file of claims cites: `man("tee(2)", ...)`.
pub fn cited(code: &str) -> impl Iterator<Item = &str> {
    code.split("man(\"")
        .skip(1)
        .filter_map(|rest| rest.split_once('"'))
        .map(|(page, _)| page)
}

/// The places of pages, as TOML.
pub fn table(pages: &BTreeMap<String, Places>) -> String {
    let mut table = String::from(
        "# Made by `just man-pages`: sections, headings and tags of the manual pages that claims cite.\n",
    );
    for (page, places) in pages {
        write!(table, "\n[{page:?}]\n").expect("a string takes all");
        for (section, tags) in places {
            writeln!(table, "{section:?} = {tags:?}").expect("a string takes all");
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
.TH tee 2\n.SH NAME\ntee \\- x\n.SH DESCRIPTION\nText\n.TP\n.BR SPLICE_F_MOVE \" (since Linux 2.6)\"\nIt moves.\n\
.SS Notes on \\-1\n.IP \\[bu] 3\nx\n.SH ERRORS\n.TP\n.B EINVAL\nBad.\n.TP\n.B EINVAL\nAgain.\n";

    #[test]
    fn sections_with_headings_and_tags() {
        let places = places(PAGE);
        let sections: Vec<&str> = places.iter().map(|(section, _)| section.as_str()).collect();
        assert_eq!(sections, ["NAME", "DESCRIPTION", "ERRORS"]);
        assert_eq!(
            places[1].1,
            ["SPLICE_F_MOVE (since Linux 2.6)", "Notes on -1"]
        );
        assert_eq!(places[2].1, ["EINVAL"]);
        let places = places.into_iter().collect();
        assert!(
            has(&places, "ERRORS")
                && has(&places, "ERRORS, EINVAL")
                && has(&places, "DESCRIPTION, SPLICE_F_MOVE")
        );
        assert!(
            !has(&places, "BUGS") && !has(&places, "ERRORS, EIO") && !has(&places, "NAME, EINVAL")
        );
    }

    #[test]
    fn cited_pages() {
        let code = "published(&[man(\"tee(2)\", \"NOTES\"), man(\"pipe(7)\", \"\")])";
        assert_eq!(cited(code).collect::<Vec<_>>(), ["tee(2)", "pipe(7)"]);
    }
}
