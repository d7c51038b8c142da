//! What must be true of every entry of the registry, and of what refers to it.

use conformance::claim::source::{Kind, Source, Stance};
use conformance::claim::{Claim, retired};
use conformance::claims;
use conformance::pages::registry;
use nocopy_tools::man_pages;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[test]
fn ids_are_interface_subject_fact_and_unique() {
    let mut seen = BTreeSet::new();
    for claim in claims::REGISTRY.all() {
        let parts: Vec<&str> = claim.id.split('.').collect();
        assert_eq!(parts.len(), 3, "{}", claim.id);
        let good = |part: &str| {
            !part.is_empty()
                && part.chars().all(|letter| {
                    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-'
                })
        };
        assert!(parts.into_iter().all(good), "{}", claim.id);
        assert!(seen.insert(claim.id), "{} twice", claim.id);
    }
}

#[test]
fn every_claim_says_all_about_itself() {
    for claim in claims::REGISTRY.all() {
        let Claim {
            id,
            statement,
            method,
            ..
        } = claim;
        assert!(
            statement.ends_with('.') && !statement.contains("  "),
            "{id}: {statement}"
        );
        assert!(
            method.is_empty() || method.ends_with('.') && !method.contains("  "),
            "{id}: {method}"
        );
        assert!(!claim.sources.is_empty(), "{id} has no source");
        assert!(!claim.about.is_empty(), "{id} is about no system call");
        let asserts =
            |source: &Source| source.stance == Stance::Asserts && source.kind != Kind::Measured;
        let measured = claim
            .sources
            .iter()
            .any(|source| source.kind == Kind::Measured);
        assert!(
            !measured || !claim.sources.iter().any(asserts),
            "{id}: somebody else asserts it"
        );
        // A text that was dropped from a document of the kernel is cited with the edition that has it.
        let dropped = |source: &&Source| source.kind == Kind::Document && source.until.is_some();
        for source in claim.sources.iter().filter(dropped) {
            assert!(source.edition.is_some(), "{id}: {source}");
        }
    }
}

/// The path is the id: `splice.source.dev-zero` is in `claims/splice/source.rs`.
#[test]
fn the_path_of_a_claim_is_its_id() {
    for claim in claims::REGISTRY.all() {
        let [interface, subject] =
            [claim.interface(), claim.subject()].map(|part| part.replace('-', "_"));
        // A keyword that cannot be the name of a module.
        let subject = if subject == "self" {
            "self_".into()
        } else {
            subject
        };
        let path = format!("conformance/src/claims/{interface}/{subject}.rs");
        assert_eq!(claim.at.file(), path, "{}", claim.id);
    }
}

/// What files of claims may import: their interface, the toolbox, and what stands below the registry.
#[test]
fn host_only_no_subject_imports_another() {
    let folder = root().join("conformance/src/claims");
    let mut files = Vec::new();
    rust_files(&folder, &mut files);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let names = text.split("crate::claims::").skip(1);
        for name in names.map(|rest| rest.split([':', ';', '{', ' ']).next().unwrap_or_default()) {
            assert!(
                ["prelude", "tools"].contains(&name),
                "{}: crate::claims::{name}",
                file.display()
            );
        }
        assert!(!text.contains("super::super"), "{}", file.display());
        let is_subject = file.parent() != Some(folder.as_path()) && !file.ends_with("mod.rs");
        let siblings = text
            .split("use super::")
            .skip(1)
            .map(|rest| rest.trim_start_matches('{'));
        for sibling in siblings.filter(|_| is_subject) {
            let path = sibling.split(';').next().unwrap_or_default();
            assert!(
                !path.contains("::"),
                "{}: use super::{path}",
                file.display()
            );
        }
    }
}

/// A claim is short on the average, and no line is long. The goal is 25 lines and 1,000 bytes: these numbers may only become smaller.
const LINES: usize = 27;
const BYTES: usize = 1_225;

#[test]
fn host_only_claims_are_short() {
    let mut files = Vec::new();
    rust_files(&root().join("conformance/src/claims"), &mut files);
    let texts: Vec<(PathBuf, String)> = files
        .into_iter()
        .map(|file| {
            (
                file.clone(),
                std::fs::read_to_string(file).expect("a source file"),
            )
        })
        .collect();
    let claims = claims::REGISTRY.all().count();
    let lines: usize = texts.iter().map(|(_, text)| text.lines().count()).sum();
    let bytes: usize = texts.iter().map(|(_, text)| text.len()).sum();
    assert!(lines <= LINES * claims, "{lines} lines for {claims} claims");
    assert!(bytes <= BYTES * claims, "{bytes} bytes for {claims} claims");
    for (file, text) in texts {
        let long = text.lines().find(|line| line.chars().count() > 120);
        assert!(long.is_none(), "{}: {long:?}", file.display());
    }
}

/// The README's first paragraph counts them.
#[test]
fn host_only_the_readme_counts_the_claims() {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("the README");
    let is_published = |claim: &&Claim| {
        let mut sources = claim.sources.iter();
        sources.any(|source| source.kind != Kind::Measured)
    };
    let (all, published) = (
        claims::REGISTRY.all().count(),
        claims::REGISTRY.all().filter(is_published).count(),
    );
    let sentence = format!("{all} sentences about these calls, {published} of them from");
    assert!(readme.contains(&sentence), "{sentence}");
}

/// A manual page has the place that a source names: `fixtures/man-pages.toml`, which `just man-pages` makes.
#[test]
fn host_only_every_place_of_a_manual_page_is_there() {
    let table = std::fs::read_to_string(root().join("fixtures/man-pages.toml")).expect("the table");
    let pages: BTreeMap<String, BTreeMap<String, Vec<String>>> =
        toml::from_str(&table).expect("it is valid");
    let mut wrong = Vec::new();
    for claim in claims::REGISTRY.all() {
        for source in claim
            .sources
            .iter()
            .filter(|source| source.kind == Kind::Man)
        {
            let is_there = pages
                .get(source.name)
                .is_some_and(|page| man_pages::has(page, source.at));
            if !is_there {
                wrong.push(format!("{}: {}, {}", claim.id, source.name, source.at));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not in fixtures/man-pages.toml (`just man-pages` makes it again): {wrong:#?}"
    );
}

#[test]
fn what_is_retired_is_no_claim_and_its_successor_is_one() {
    for retired in retired::all() {
        assert!(
            claims::REGISTRY.find(&retired.id).is_none(),
            "{} is used again",
            retired.id
        );
        let is_there = |id: &String| claims::REGISTRY.find(id).is_some();
        assert!(
            retired.successor.as_ref().is_none_or(is_there),
            "{}: {:?}",
            retired.id,
            retired.successor
        );
        assert!(!retired.because.is_empty(), "{}", retired.id);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn rust_files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("a folder of the repository") {
        let path = entry.expect("readdir").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "rs" || extension == "md")
        {
            found.push(path);
        }
    }
}

/// A crate's doc names the claim that proves a version or a behaviour; it must be one.
#[test]
fn host_only_claims_named_in_the_crates_exist() {
    let interfaces: BTreeSet<&str> = claims::REGISTRY.all().map(Claim::interface).collect();
    for folder in crate::crates::folders() {
        let mut files = vec![folder.join("README.md")];
        rust_files(&folder.join("src"), &mut files);
        let mut named = 0;
        for file in files {
            let text = std::fs::read_to_string(&file).expect("a source file");
            for quoted in text.split('`').skip(1).step_by(2) {
                let parts: Vec<&str> = quoted.split('.').collect();
                if parts.len() == 3
                    && interfaces.contains(parts[0])
                    && !quoted.contains(char::is_whitespace)
                {
                    named += 1;
                    assert!(
                        claims::REGISTRY.find(quoted).is_some(),
                        "{}: `{quoted}` is no claim",
                        file.display()
                    );
                }
            }
        }
        assert!(named > 0, "nothing in {} names a claim", folder.display());
    }
}

#[test]
fn host_only_the_pages_are_of_this_registry() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/registry");
    let pages = registry::pages(&claims::REGISTRY.all().collect::<Vec<_>>());
    for (name, page) in &pages {
        let kept = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
        let differs = page
            .lines()
            .zip(kept.lines())
            .find(|(made, kept)| made != kept);
        assert!(
            *page == kept,
            "docs/registry/{name} is stale: `just claims` makes it again; the first difference: {differs:?}"
        );
    }
    let kept: BTreeSet<String> = std::fs::read_dir(folder)
        .expect("the pages")
        .map(|entry| {
            entry
                .expect("readable")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    assert_eq!(kept, pages.into_iter().map(|(name, _)| name).collect());
}

/// Calls that newer architectures do not have: an experiment makes the one that all have.
#[test]
fn host_only_no_experiment_makes_a_call_of_old_architectures() {
    const OLD: [&str; 12] = [
        "poll",
        "epoll_wait",
        "newfstatat",
        "stat",
        "lstat",
        "dup2",
        "pipe",
        "open",
        "fork",
        "eventfd",
        "signalfd",
        "inotify_init",
    ];
    let mut files = Vec::new();
    for folder in ["claims", "lab", "grids"] {
        rust_files(&root().join("conformance/src").join(folder), &mut files);
    }
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let names = text.split("Sysno::").skip(1);
        let called = |rest: &str| {
            rest.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        for name in names.map(called) {
            assert!(
                !OLD.contains(&name.as_str()),
                "{}: Sysno::{name}",
                file.display()
            );
        }
    }
}
