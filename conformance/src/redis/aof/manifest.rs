//! The manifest that names the files of an append-only file.

#![forbid(unsafe_code)]

use std::fmt;

/// One file of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name in the directory.
    pub name: String,
    /// Its number.
    pub sequence: u64,
    /// `b` for a base, `i` for an increment, `h` for history.
    pub kind: char,
    /// The rest of the line, unchanged.
    pub rest: String,
}

impl Named {
    pub(super) fn new(name: String, sequence: u64, kind: char) -> Self {
        Self { name, sequence, kind, rest: String::new() }
    }
}

/// The files that make up an append-only file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest(pub Vec<Named>);

impl Manifest {
    /// Parses the text of a manifest. A last line without a newline is refused, as Redis does.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.ends_with('\n') {
            return Err("its last line has no end".to_owned());
        }
        // As Redis reads it: spaces around a line are ignored.
        let lines = text.split_terminator('\n');
        let lines = lines.map(|line| line.trim_matches([' ', '\t', '\r']));
        let lines = lines.filter(|line| !line.starts_with('#'));
        let named = lines.map(|line| {
            let refused = || format!("\"{}\" names no file", line.escape_debug());
            let mut words = line.split(' ');
            let mut field = |name: &str| {
                let is_there = words.next() == Some(name);
                words.next().filter(|_| is_there).ok_or_else(refused)
            };
            let name = field("file")?.to_owned();
            let sequence = field("seq")?.parse().map_err(|_| refused())?;
            let kind = match field("type")? {
                "b" => 'b',
                "i" => 'i',
                "h" => 'h',
                _ => return Err(refused()),
            };
            if name.is_empty() || name.contains('/') {
                return Err(refused());
            }
            let rest = words.collect::<Vec<_>>().join(" ");
            Ok(Named { name, sequence, kind, rest })
        });
        named.collect::<Result<_, _>>().map(Self)
    }

    /// The files that a server loads, in this order: the base, then the increments.
    pub(super) fn loaded(&self) -> Vec<&Named> {
        let of = |kind| self.0.iter().filter(move |named| named.kind == kind);
        of('b').chain(of('i')).collect()
    }

    /// Whether a server accepts it: one base at most, increments in order.
    pub(super) fn check(&self) -> Result<(), String> {
        let sequences = |kind| {
            let same = self.0.iter().filter(move |named| named.kind == kind);
            same.map(|named| named.sequence).collect::<Vec<_>>()
        };
        if sequences('b').len() > 1 {
            return Err("it names more than one base, which a server refuses".to_owned());
        }
        if !sequences('i').is_sorted_by(|one, next| one < next) {
            return Err("its increments are not in order, which a server refuses".to_owned());
        }
        Ok(())
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|named| {
            let space = if named.rest.is_empty() { "" } else { " " };
            let (name, sequence, kind, rest) = (&named.name, named.sequence, named.kind, &named.rest);
            writeln!(f, "file {name} seq {sequence} type {kind}{space}{rest}")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quickcheck::quickcheck;
    use rstest::rstest;

    quickcheck! {
        fn a_manifest_is_read_as_it_was_written(numbers: Vec<(u64, u8)>) -> bool {
            let named = numbers.into_iter().map(|(sequence, kind)| Named {
                name: format!("appendonly.aof.{sequence}.incr.aof"),
                sequence,
                kind: ['b', 'i', 'h'][usize::from(kind % 3)],
                rest: if kind > 127 { "startoffset 7".to_owned() } else { String::new() },
            });
            let manifest = Manifest(named.collect());
            Manifest::parse(&manifest.to_string()) == Ok(manifest)
        }

        fn no_text_is_a_panic(text: String) -> bool {
            Manifest::parse(&text).is_ok() || Manifest::parse(&text).is_err()
        }
    }

    #[rstest]
    #[case("file a seq 1 type b", "no end")]
    #[case("file a seq x type b\n", "names no file")]
    #[case("file a/b seq 1 type b\n", "names no file")]
    #[case("file a seq 1 type z\n", "names no file")]
    #[case("nonsense\n", "names no file")]
    fn what_is_no_manifest(#[case] text: &str, #[case] why: &str) {
        let said = Manifest::parse(text).expect_err("none");
        assert!(said.contains(why), "{said}");
    }

    #[test]
    fn manifests_that_a_server_refuses_are_not_extended() {
        let refused = |text: &str| Manifest::parse(text).expect("a manifest").check().is_err();
        assert!(refused("file a seq 1 type b\nfile b seq 2 type b\n"));
        assert!(refused("file a seq 2 type i\nfile b seq 1 type i\n"));
        assert!(!refused("file a seq 2 type b\nfile b seq 1 type i\nfile c seq 7 type i\n"));
    }
}
