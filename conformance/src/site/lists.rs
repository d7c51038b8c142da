//! Lists: what is contradicted, the source document's statements, indexes, errnos after which another route may be tried.

use super::claims::answered;
use super::facts::Facts;
use super::layout::{claim_link, page as in_layout};
use crate::kernel::NEWEST;
use crate::pages::registry::{
    contradicted as contradicted_sources, errnos, indexes as of_claims, is_contradicted, range, timed,
};
use crate::run::recorded;
use crate::seed::Language;
use maud::{Markup, html};
use nocopy_transfer::fallback::TABLE;

pub(super) fn contradicted(facts: &Facts) -> Markup {
    let claims: Vec<_> = facts.claims.iter().filter(|claim| is_contradicted(claim)).collect();
    let body = html! {
        p { (claims.len()) " sentences that are published for a kernel which does something else." }
        @for claim in claims {
            section {
                h2 id=(claim.id) { (claim_link("", claim.id)) }
                p.sentence { (claim.statement) }
                ul.answers { (answered(claim)) }
                ul { @for (source, kernels) in contradicted_sources(claim) {
                    li { (source.stance.verb()) ": " (source.to_string()) " " strong { "(not so on " (range(&kernels)) ")" } }
                } }
            }
        }
    };
    in_layout("", "contradicted.html", "What is published and not so", &body)
}

pub(super) fn statements(facts: &Facts) -> Markup {
    let newest = recorded::find(&NEWEST.to_string()).expect("the newest kernel has a record");
    let body = html! {
        p { "The statements of the source document (Chinese), in our words, with how each stands on Linux " (NEWEST) "." }
        @for section in &facts.document.sections {
            h2 { (section.number) " " (section.english) " " span lang="zh" { (section.chinese) } }
            @for statement in facts.document.of_section(section) {
                @let standing = statement.standing(|id| newest.run.find(id).map(|record| record.verdict));
                section.statement {
                    h3 id=(statement.id) { (statement.id) ": " (standing.word()) }
                    p { (statement.sentence(Language::English)) }
                    p lang="zh" { (statement.sentence(Language::Chinese)) }
                    @if let Some(reason) = &statement.reason { p { (reason) } }
                    ul {
                        @for line in timed(&statement.recorded) { li { (line) } }
                        @for (word, ids) in [("for it", &statement.claims), ("against it", &statement.denied_by)] {
                            @for claim in ids.iter().filter_map(|id| facts.find(id)) {
                                li {
                                    (word) ": " (claim_link("", claim.id)) " " (claim.statement)
                                    ul.answers { (answered(claim)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    in_layout("", "statements.html", "The source document", &body)
}

pub(super) fn indexes(facts: &Facts) -> Markup {
    let indexes = of_claims(&facts.claims);
    let body = html! {
        ul.across { @for (heading, _) in &indexes { li { a href={ "#" (heading.replace(' ', "-")) } { (heading) } } } }
        @for (heading, index) in &indexes {
            h2 id=(heading.replace(' ', "-")) { (heading) }
            dl.index { @for (name, ids) in index {
                dt id=(name) { (name) }
                dd { @for (at, id) in ids.iter().enumerate() {
                    @if at > 0 { " · " }
                    (claim_link("", id))
                } }
            } }
        }
    };
    in_layout("", "indexes.html", "Errnos, flags, file systems, calls", &body)
}

pub(super) fn fallback() -> Markup {
    let body = html! {
        p {
            "After these errnos another route may be tried: the call has moved nothing, and the errno says something of the call and not of "
            "the bytes. What has gone by then is exact: bytes that earlier calls returned are in the sink; after " code { "splice" }
            " out of a pipe failed, the bytes that " code { "splice" } " put into the pipe have left the source and are there, and must be read and "
            "written first. After any other errno (" code { "EPIPE" } ", " code { "ECONNRESET" } ", " code { "ENOSPC" } ", " code { "EIO" }
            " and their like) nothing may be tried again: the kernel may report it only once."
        }
        div.wide tabindex="0" role="region" aria-label="Errnos" {
            table {
                thead { tr { th scope="col" { "call" } th scope="col" { "errno" } th scope="col" { "what is refused" } th scope="col" { "evidence" } } }
                tbody { @for line in TABLE {
                    tr {
                        th scope="row" { code { (if line.call.name() == "ioctl" { "ioctl FICLONERANGE" } else { line.call.name() }) } }
                        td { code { (crate::verdict::errno_name(line.errno.into_raw())) } }
                        td { (line.why) }
                        td { (evidence(line.evidence)) }
                    }
                } }
            }
        }
    };
    in_layout("", "fallback.html", "After which errno may I fall back?", &body)
}

/// A claim's id in back quotes becomes a link.
fn evidence(text: &str) -> Markup {
    html! { @for (index, part) in text.split('`').enumerate() {
        @if index % 2 == 0 { (part) }
        @else if part.matches('.').count() == 2 { (claim_link("", part)) }
        @else { code { (part) } }
    } }
}

/// What the search field looks through: page, name, sentence, and other words, of claims and statements.
pub(super) fn search(facts: &Facts) -> Vec<[String; 4]> {
    let claims = facts.claims.iter().map(|claim| {
        let sources: Vec<String> =
            claim.sources.iter().map(|source| format!("{} {}", source.name, source.at)).collect();
        let calls: Vec<&str> = claim.about.iter().map(syscalls::Sysno::name).collect();
        let errnos: Vec<String> = errnos(claim).into_iter().collect();
        let facts = recorded::newest(claim.id).map(ToString::to_string).unwrap_or_default();
        let words = [claim.method, &sources.join(" "), &calls.join(" "), &errnos.join(" "), &facts].join(" ");
        [format!("claim/{}.html", claim.id), claim.id.to_owned(), claim.statement.to_owned(), words]
    });
    let statements = facts.document.statements.iter().map(|statement| {
        let words = [statement.sentence(Language::Chinese), statement.reason.as_deref().unwrap_or_default()].join(" ");
        [format!("statements.html#{0}", statement.id), statement.id.clone(), statement.english.clone(), words]
    });
    claims.chain(statements).collect()
}
