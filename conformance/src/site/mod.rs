//! A static site from the registry, the records and the grids: no server, no network. It works from `file://`.
//!
//! | file | what it is |
//! |---|---|
//! | `index.html` | which route works from which source to which sink, on which kernel |
//! | `claim/ID.html` | one claim |
//! | `statements.html`, `contradicted.html`, `indexes.html`, `fallback.html`, `descriptors.html`, `file-systems.html`, `claims.html` | lists |
//! | `claims.json`, `claims.schema.json` | the same for programs |
//! | `pairs.js`, `search.js` | what the first screen and the search field read |

#![forbid(unsafe_code)]

mod claims;
pub mod data;
mod facts;
mod grids;
mod layout;
mod lists;

use crate::claim::Claim;
use facts::Facts;
use std::io;

/// The style of every page.
const STYLE: &str = include_str!("assets/site.css");
/// The search field of every page, and the first screen.
const SCRIPT: &str = include_str!("assets/site.js");
/// The schema of `claims.json`.
pub const SCHEMA: &str = include_str!("../../docs/claims.schema.json");

/// Every file of the site: its path below the directory, and its text.
///
/// # Errors
///
/// If the data cannot be written as JSON.
pub fn files(claims: Vec<&'static Claim>) -> io::Result<Vec<(String, String)>> {
    let (facts, pairs) = (Facts::of(claims), grids::pairs());
    let page = |name: &str, text: maud::Markup| (name.to_owned(), text.into_string());
    let mut files = vec![
        page("index.html", grids::front(&pairs)),
        page("claims.html", claims::list(&facts)),
        page("contradicted.html", lists::contradicted(&facts)),
        page("statements.html", lists::statements(&facts)),
        page("indexes.html", lists::indexes(&facts)),
        page("fallback.html", lists::fallback()),
        page("descriptors.html", grids::descriptors()),
        page("file-systems.html", grids::file_systems()),
        ("site.css".to_owned(), STYLE.to_owned()),
        ("site.js".to_owned(), SCRIPT.to_owned()),
        ("claims.schema.json".to_owned(), SCHEMA.to_owned()),
        ("claims.json".to_owned(), serde_json::to_string(&data::Data::of(&facts.claims, &facts.document))?),
        ("pairs.js".to_owned(), format!("window.nocopyPairs={};\n", serde_json::to_string(&pairs)?)),
        ("search.js".to_owned(), format!("window.nocopyIndex={};\n", serde_json::to_string(&lists::search(&facts))?)),
    ];
    for claim in &facts.claims {
        files.push((format!("claim/{}.html", claim.id), claims::page(&facts, claim).into_string()));
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::REGISTRY;
    use std::collections::BTreeMap;

    /// `just site-test` looks at the rest in a browser.
    #[test]
    fn every_claim_has_a_page_and_text_is_escaped() {
        let claims: Vec<_> = REGISTRY.all().collect();
        let all = files(claims.clone()).expect("a site");
        let files: BTreeMap<_, _> = all.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        assert_eq!(files.len(), all.len(), "two files of one name");
        for claim in claims {
            let page = files[format!("claim/{}.html", claim.id).as_str()];
            let sentence = claim.statement.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            assert!(page.contains(&sentence.replace('"', "&quot;")), "{}", claim.id);
        }
        let data: serde_json::Value = serde_json::from_str(files["claims.json"]).expect("JSON");
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).expect("JSON");
        assert_eq!(data["schema"], data::VERSION);
        assert_eq!(schema["properties"]["schema"]["const"], data::VERSION);
    }
}
