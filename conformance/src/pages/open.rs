//! Open edges: versions in which something changed, and next to which no kernel was measured.
//!
//! An edge is open in one of these cases:
//!
//! - The verdict differs between two measured kernels that are not neighbours.
//! - The facts differ between two such kernels ([`recorded`]).
//! - A [`Gate`] documents a change, and the kernels on both sides of it were not both measured.
//!
//! A user with such a kernel closes the edge with `conformance vm run --kernel PATH`.

#![forbid(unsafe_code)]

use crate::claim::{Claim, Gate};
use crate::kernel::MEASURED;
use crate::known::Known;
use crate::report::diff;
use crate::run::recorded;
use nocopy_host::kernel::{Release, Series};
use std::io::{self, Write};

/// The oldest kernel on which a static program starts: glibc refuses older ones.
const STARTS: Series = Series::new(3, 2);

/// An open edge, and its claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The first release with the change, if it is documented.
    pub since: Option<&'static str>,
    /// The change.
    pub what: String,
    /// The source that documents it.
    pub source: Option<String>,
    /// The claims.
    pub claims: Vec<&'static str>,
    /// The nearest measured kernels below and above the edge.
    pub measured: (Option<Series>, Option<Series>),
    /// The kernels that would close it, or, if it is not documented, narrow it.
    pub needs: Vec<String>,
}

impl Edge {
    /// Whether this program can run on the needed kernels.
    fn can_be_closed(&self) -> bool {
        let series = |need: &String| need.parse().map(|release: Release| release.series);
        self.needs.iter().all(|need| series(need).is_ok_and(|series| series >= STARTS))
    }

    /// The commands that close it.
    pub fn commands(&self) -> Vec<String> {
        if !self.can_be_closed() {
            return vec![];
        }
        let filters: Vec<String> = self.claims.iter().map(|id| format!(" --filter ={id}")).collect();
        let command = |need: &String| {
            let filters = filters.concat();
            format!("conformance vm run --kernel PATH --expect {need}{filters}")
        };
        self.needs.iter().map(command).collect()
    }

    fn between(&self) -> String {
        match self.measured {
            (Some(below), Some(above)) => format!("{below} and {above}"),
            (None, Some(above)) => format!("{above} and newer"),
            (Some(below), None) => format!("{below} and older"),
            (None, None) => "nothing".into(),
        }
    }
}

/// The open edges of some claims, oldest first.
pub fn edges(claims: &[&'static Claim]) -> Vec<Edge> {
    let mut edges: Vec<Edge> = Vec::new();
    for claim in claims {
        for edge in of_claim(claim, &Known::of(claim)) {
            let same = |other: &&mut Edge| {
                other.since == edge.since && other.what == edge.what && other.measured == edge.measured
            };
            match edges.iter_mut().find(same) {
                Some(known) => known.claims.extend(edge.claims),
                None => edges.push(edge),
            }
        }
    }
    edges.extend(between_records(claims));
    edges.sort_by_key(|edge| {
        let first = edge.needs.iter().find_map(|need| need.parse().ok());
        first.map(|release: Release| (release.series, release.patch))
    });
    edges
}

fn of_claim(claim: &'static Claim, known: &Known) -> Vec<Edge> {
    let decided = known.rows().iter().filter(|row| row.verdict.is_decided());
    let measured: Vec<Series> = decided.map(|row| row.release.series).collect();
    let mut edges: Vec<Edge> = claim.gates.iter().filter_map(|gate| of_gate(claim, gate, &measured)).collect();
    for pair in known.intervals().windows(2) {
        let (below, above) = (pair[0].to, pair[1].from);
        let between = series_between(below, above);
        if is_documented(claim, below, above) || between.is_empty() {
            continue;
        }
        let what = format!("the verdict differs between {below} and {above}");
        edges.push(undocumented(what, vec![claim.id], below, above, &between));
    }
    edges
}

/// Edges between two records that are not neighbours, where the facts differ and the verdict does not.
fn between_records(claims: &[&'static Claim]) -> Vec<Edge> {
    let mut edges = Vec::new();
    for pair in MEASURED.windows(2) {
        let (below, above) = (pair[0], pair[1]);
        let between = series_between(below, above);
        let records = [below, above].map(|series| recorded::find(&series.to_string()));
        let [Some(first), Some(second)] = records else {
            continue;
        };
        if between.is_empty() {
            continue;
        }
        let differs = |claim: &Claim| {
            let found = [first, second].map(|stored| stored.run.find(claim.id));
            let [Some(one), Some(other)] = found else {
                return false;
            };
            one.verdict == other.verdict
                && one.verdict.is_decided()
                && !diff::facts(one, other, claim.varies).is_empty()
        };
        let of_these = claims.iter().filter(|claim| differs(claim) && !is_documented(claim, below, above));
        let of_these: Vec<&str> = of_these.map(|claim| claim.id).collect();
        if !of_these.is_empty() {
            let what = format!("what is seen differs between {below} and {above}, not the verdict");
            edges.push(undocumented(what, of_these, below, above, &between));
        }
    }
    edges
}

fn is_documented(claim: &Claim, below: Series, above: Series) -> bool {
    let mut gates = claim.gates.iter().filter_map(|gate| gate.since.parse().ok());
    gates.any(|release: Release| below < release.series && release.series <= above)
}

/// An edge without documentation. The kernel in the middle halves the gap.
fn undocumented(what: String, claims: Vec<&'static str>, below: Series, above: Series, between: &[Series]) -> Edge {
    Edge {
        since: None,
        what,
        source: None,
        claims,
        measured: (Some(below), Some(above)),
        needs: vec![between[between.len() / 2].to_string()],
    }
}

fn of_gate(claim: &'static Claim, gate: &'static Gate, measured: &[Series]) -> Option<Edge> {
    let since: Release = gate.since.parse().ok()?;
    let before = previous(&since);
    // Before 3.0 a series has several releases, by the third number; none of those series is measured.
    let is_measured = |release: &Release| measured.contains(&release.series);
    let needs: Vec<String> =
        [before, since.clone()].iter().filter(|release| !is_measured(release)).map(ToString::to_string).collect();
    if needs.is_empty() {
        return None;
    }
    let below = measured.iter().rev().find(|series| **series < since.series);
    let above = measured.iter().find(|series| **series >= since.series);
    Some(Edge {
        since: Some(gate.since),
        what: gate.what.to_owned(),
        source: Some(gate.source.to_string()),
        claims: vec![claim.id],
        measured: (below.copied(), above.copied()),
        needs,
    })
}

/// The last minor number of each major number that has ended.
const LAST: [(u32, u32); 5] = [(2, 6), (3, 19), (4, 20), (5, 19), (6, 19)];

/// The series after this one.
fn next(series: Series) -> Series {
    if LAST.contains(&(series.major, series.minor)) {
        Series::new(series.major + 1, 0)
    } else {
        Series::new(series.major, series.minor + 1)
    }
}

/// The release before this one: by the third number for 2.6, by series for later ones.
fn previous(release: &Release) -> Release {
    let Series { major, minor } = release.series;
    let (series, patch) = match (release.patch, minor) {
        (Some(patch @ 1..), _) if major == 2 => (release.series, Some(patch - 1)),
        (_, 1..) => (Series::new(major, minor - 1), None),
        _ => {
            let last = LAST.iter().find(|(ended, _)| ended + 1 == major);
            let minor = last.map_or(0, |(_, minor)| *minor);
            (Series::new(major.saturating_sub(1), minor), None)
        }
    };
    Release { series, patch, local: String::new() }
}

/// The series between two, both excluded.
fn series_between(below: Series, above: Series) -> Vec<Series> {
    let following = std::iter::successors(Some(next(below)), |series| Some(next(*series)));
    following.take_while(|series| *series < above).collect()
}

/// Why the oldest edges stay open.
const TOO_OLD: &str = "cannot be closed by this program: glibc needs Linux 3.2";

/// For a terminal: each edge with the commands that close it.
pub fn human(output: &mut dyn Write, edges: &[Edge]) -> io::Result<()> {
    for edge in edges {
        let since = edge.since.map_or("not documented".into(), |since| format!("Linux {since}"));
        writeln!(output, "{since}: {}", edge.what)?;
        if let Some(source) = &edge.source {
            writeln!(output, "  says      {source}")?;
        }
        writeln!(output, "  claims    {}", edge.claims.join(", "))?;
        writeln!(output, "  measured  {}", edge.between())?;
        let commands = edge.commands();
        if commands.is_empty() {
            writeln!(output, "  {TOO_OLD}")?;
        }
        for command in commands {
            let verb = if edge.since.is_some() { "close it" } else { "narrow it" };
            writeln!(output, "  {verb:<9} {command}")?;
        }
        writeln!(output)?;
    }
    if edges.is_empty() {
        writeln!(output, "no edge of these claims is open")?;
    }
    Ok(())
}

/// The table of docs/open-edges.md.
pub fn markdown(edges: &[Edge]) -> String {
    let mut table = String::from("| since | what | measured | would close it |\n|---|---|---|---|\n");
    for edge in edges {
        let needs = if edge.can_be_closed() { edge.needs.join(", ") } else { "nothing: glibc needs 3.2".into() };
        let halves = if edge.since.is_some() { "" } else { " halves it" };
        let (since, between) = (edge.since.unwrap_or("?"), edge.between());
        let cells = [since, &edge.what, &between, &(needs + halves)].join(" | ");
        table.extend(["| ", &cells, " |\n"]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claim::source::MEASURED as MEASURED_BY_US;
    use crate::claim::{claim, gate};
    use crate::known::Row;
    use crate::verdict::Word;
    use rstest::rstest;

    #[rstest]
    #[case("5.0", "4.20")]
    #[case("6.0", "5.19")]
    #[case("3.0", "2.6")]
    #[case("6.7", "6.6")]
    #[case("2.6.33", "2.6.32")]
    #[case("2.2", "2.1")]
    fn the_release_before(#[case] since: &str, #[case] before: &str) {
        let since: Release = since.parse().expect("a release");
        assert_eq!(previous(&since).to_string(), before);
    }

    /// What is known if these kernels refute a claim, and those let it hold.
    fn known(refuted: &[&str], holding: &[&str]) -> Known {
        let row = |verdict| move |release: &&str| Row { release: release.parse().expect("a release"), verdict };
        Known::new(refuted.iter().map(row(Word::Refuted)).chain(holding.iter().map(row(Word::Holds))).collect())
    }

    #[test]
    fn neighbours_leave_no_edge_open() {
        const CLAIM: Claim = claim("a.b.c", "").gated(&[gate("6.18", "it works", MEASURED_BY_US)]);
        assert_eq!(of_claim(&CLAIM, &known(&["5.10", "6.17"], &["6.18", "7.3"])), []);
    }

    #[test]
    fn a_documented_edge_asks_for_both_of_its_sides() {
        const CLAIM: Claim = claim("a.b.c", "").gated(&[gate("6.7", "it works", MEASURED_BY_US)]);
        let edges = of_claim(&CLAIM, &known(&["5.10", "6.1"], &["6.12", "7.3"]));
        assert_eq!(edges.len(), 1);
        assert_eq!(edges[0].needs, ["6.6", "6.7"]);
        assert_eq!(edges[0].commands()[0], "conformance vm run --kernel PATH --expect 6.6 --filter =a.b.c");
    }

    #[test]
    fn an_undocumented_edge_is_halved() {
        const CLAIM: Claim = claim("a.b.c", "");
        let edges = of_claim(&CLAIM, &known(&["5.10", "6.1"], &["6.12", "7.3"]));
        assert_eq!((edges.len(), edges[0].since, edges[0].needs.as_slice()), (1, None, ["6.7".to_owned()].as_slice()));
    }

    #[test]
    fn facts_that_differ_are_an_edge_too() {
        let claim = crate::claims::REGISTRY.find("zerocopy.copies.unix").expect("a claim");
        let edges = edges(&[claim]);
        assert_eq!(edges.len(), 1);
        assert!(edges[0].what.contains("between 5.10 and 6.1"), "{edges:?}");
        assert_eq!(edges[0].needs, ["5.16"]);
    }

    #[test]
    fn one_measured_side_asks_for_the_other_alone() {
        const CLAIM: Claim = claim("a.b.c", "")
            .gated(&[gate("5.10", "it works", MEASURED_BY_US), gate("2.6.17", "it came", MEASURED_BY_US)]);
        let edges = of_claim(&CLAIM, &known(&[], &["5.10", "7.3"]));
        assert_eq!(edges[0].needs, ["5.9"]);
        assert_eq!(edges[1].needs, ["2.6.16", "2.6.17"]);
        assert_eq!(edges[1].commands(), Vec::<String>::new());
    }
}
