//! What every page has: head, navigation, search field, foot.

use crate::kernel::{NEWEST, OLDEST};
use maud::{DOCTYPE, Markup, html};

/// Pages in the navigation: file, name.
const PAGES: &[(&str, &str)] = &[
    ("index.html", "Can I zero-copy?"),
    ("contradicted.html", "Contradicted"),
    ("fallback.html", "Fall back?"),
    ("file-systems.html", "File systems"),
    ("descriptors.html", "Descriptors"),
    ("indexes.html", "Errnos, flags, calls"),
    ("statements.html", "Source document"),
    ("claims.html", "All claims"),
];

/// A page. `root` is the way to the site's directory: empty, or `../`.
pub(super) fn page(root: &str, file: &str, title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-root=(root) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · nocopy" }
                link rel="icon" href="data:,";
                link rel="stylesheet" href={ (root) "site.css" };
                script defer src={ (root) "site.js" } {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header {
                    nav aria-label="Pages" {
                        ul {
                            @for (name, text) in PAGES {
                                li { a href={ (root) (name) } aria-current=[(*name == file).then_some("page")] { (text) } }
                            }
                        }
                    }
                    search {
                        label for="search" { "Search claims, statements, errnos, flags" }
                        input id="search" type="search" autocomplete="off" spellcheck="false" placeholder="tmpfs splice EINVAL";
                        p id="count" role="status" {}
                        ol id="found" {}
                    }
                }
                main id="main" tabindex="-1" {
                    h1 { (title) }
                    (body)
                }
                footer {
                    p {
                        "Every answer was measured: by experiments on Linux " (OLDEST) " to " (NEWEST) " (x86-64, 4 KiB pages, Debian's kernels). "
                        "For programs: " a href={ (root) "claims.json" } { "claims.json" } ", "
                        a href={ (root) "claims.schema.json" } { "its schema" } "."
                    }
                }
            }
        }
    }
}

/// A link to a claim's page.
pub(super) fn claim_link(root: &str, id: &str) -> Markup {
    html! { a.id href={ (root) "claim/" (id) ".html" } { (id) } }
}
