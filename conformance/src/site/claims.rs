//! A page for each claim, and the list of all.

use super::facts::Facts;
use super::layout::{claim_link, page as in_layout};
use crate::claim::Claim;
use crate::claim::source::{Kind, Source, Stance};
use crate::known::Known;
use crate::pages::registry::{by_interface, errnos, range};
use crate::run::answer::{answers, instead, needed};
use crate::run::recorded;
use crate::run::text::plural;
use crate::verdict::Word;
use maud::{Markup, html};
use nocopy_host::kernel::Series;

/// The class of a verdict in the style.
const fn class(word: Word) -> &'static str {
    match word {
        Word::Holds => "holds",
        Word::Refuted => "refuted",
        Word::Untestable | Word::Broken | Word::TimeOut | Word::NotReached => "undecided",
    }
}

/// What kernels do, a line for each interval of kernels that did the same.
pub(super) fn answered(claim: &Claim) -> Markup {
    html! {
        @for answer in answers(claim) {
            li {
                span class={ "word " (class(answer.verdict)) } { (answer.verdict.text()) }
                " on Linux " (answer.range())
                @if let Some(reason) = &answer.reason { ": " (reason) }
                @for (index, fact) in answer.instead.iter().enumerate() {
                    @if index == 0 { ": " } @else { "; " }
                    code { (instead(fact)) }
                }
            }
        }
    }
}

fn sources(claim: &Claim) -> Markup {
    let known = Known::of(claim);
    let verb = |source: &Source| match source.stance {
        _ if source.kind == Kind::Measured => "found by",
        Stance::NotReread => "not re-read:",
        stance => stance.by(),
    };
    html! {
        @for source in claim.sources {
            @let against: Vec<Series> = known.against(source).iter().map(|release| release.series).collect();
            li {
                (verb(source)) " " (source.to_string())
                @if !against.is_empty() { " " strong { "(not so on " (range(&against)) ")" } }
            }
        }
    }
}

pub(super) fn page(facts: &Facts, claim: &'static Claim) -> Markup {
    let root = "../";
    let all = facts.document.statements.iter();
    let statements: Vec<_> = all.filter(|statement| statement.all_claims().any(|id| id == claim.id)).collect();
    let needed = recorded::newest(claim.id).map(needed).unwrap_or_default();
    let (file, line) = (claim.at.file(), claim.at.line());
    let beside: Vec<_> = facts
        .claims
        .iter()
        .filter(|other| other.interface() == claim.interface() && other.subject() == claim.subject())
        .filter(|other| other.id != claim.id)
        .collect();
    let body = html! {
        p.sentence { (claim.statement) }
        h2 { "What kernels do" }
        ul.answers { (answered(claim)) }
        h2 { "Who says so" }
        ul { (sources(claim)) }
        h2 { "How it is decided" }
        @if !claim.method.is_empty() { p { (claim.method) } }
        @if !needed.is_empty() {
            p { "It holds if:" }
            ul { @for fact in &needed { li { code { (fact) } } } }
        }
        dl {
            @if !claim.about.is_empty() {
                dt { "Calls" }
                dd { @for (index, call) in claim.about.iter().enumerate() {
                    @if index > 0 { ", " }
                    a href={ (root) "indexes.html#" (call.name()) } { (call.name()) }
                } }
            }
            @let errnos = errnos(claim);
            @if !errnos.is_empty() {
                dt { "Errnos" }
                dd { @for (index, errno) in errnos.iter().enumerate() {
                    @if index > 0 { ", " }
                    a href={ (root) "indexes.html#" (errno) } { (errno) }
                } }
            }
            @if !statements.is_empty() {
                dt { "Source document" }
                dd { @for (index, statement) in statements.iter().enumerate() {
                    @if index > 0 { ", " }
                    a href={ (root) "statements.html#" (statement.id) } { (statement.id) }
                } }
            }
            @for edge in facts.edges.iter().filter(|edge| edge.claims.contains(&claim.id)) {
                dt { "Not bracketed" }
                dd {
                    @if let Some(since) = edge.since { "Linux " (since) ": " }
                    (edge.what) " (needs " (edge.needs.join(", ")) ")"
                }
            }
            dt { "Experiment" }
            dd { code { (file) ":" (line) } }
            dt { "On your kernel" }
            dd { code { "conformance show " (claim.id) } }
        }
        @if !beside.is_empty() {
            h2 { "Beside it" }
            ul { @for other in beside { li { (claim_link(root, other.id)) " " (other.statement) } } }
        }
    };
    in_layout(root, "", claim.id, &body)
}

pub(super) fn list(facts: &Facts) -> Markup {
    let interfaces = by_interface(&facts.claims);
    let body = html! {
        p { (plural(facts.claims.len(), "claim")) ", by interface." }
        ul.across { @for (interface, claims) in &interfaces {
            li { a href={ "#" (interface) } { (interface) } " " (claims.len()) }
        } }
        @for (interface, claims) in &interfaces {
            h2 id=(interface) { (interface) }
            ul { @for claim in claims { li { (claim_link("", claim.id)) " " (claim.statement) } } }
        }
    };
    in_layout("", "claims.html", "All claims", &body)
}
