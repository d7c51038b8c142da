//! What must be true of every entry of the registry, and of what refers to it.

use conformance::claim::Claim;
use conformance::claims;
use conformance::kernel::MEASURED;
use conformance::pages::catalogue;
use rstest::rstest;
use std::collections::BTreeSet;
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
    for Claim {
        id,
        statement,
        method,
        sources,
        finds,
        about,
        ..
    } in claims::REGISTRY.all()
    {
        assert!(
            statement.ends_with('.') && !statement.contains("  "),
            "{id}: {statement}"
        );
        assert!(
            method.ends_with('.') && !method.contains("  "),
            "{id}: {method}"
        );
        assert!(!sources.is_empty(), "{id} has no source");
        assert!(!finds.is_empty(), "{id} has no finds");
        assert!(!about.is_empty(), "{id} is about no system call");
    }
}

#[test]
fn finds_are_intervals_between_measured_kernels_that_do_not_overlap() {
    for claim in claims::REGISTRY.all() {
        for find in claim.finds {
            assert!(
                MEASURED.contains(&find.from) && MEASURED.contains(&find.to),
                "{}",
                claim.id
            );
            assert!(find.from <= find.to, "{}", claim.id);
        }
        assert!(
            claim.finds.windows(2).all(|pair| pair[0].to < pair[1].from),
            "{}",
            claim.id
        );
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
#[rstest]
fn host_only_claims_named_in_the_crates_exist(
    #[values("sendfile", "splice", "mmap", "msg-zerocopy")] folder: &str,
) {
    let interfaces: BTreeSet<&str> = claims::REGISTRY.all().map(Claim::interface).collect();
    let mut files = vec![root().join("crates").join(folder).join("README.md")];
    rust_files(&root().join("crates").join(folder).join("src"), &mut files);
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
    assert!(named > 0, "nothing in {folder} names a claim");
}

#[test]
fn host_only_the_page_of_claims_is_of_this_registry() {
    let mut page = Vec::new();
    catalogue::write(&mut page, &claims::REGISTRY.all().collect::<Vec<_>>())
        .expect("written to memory");
    let page = String::from_utf8(page).expect("it is text");
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("CLAIMS.md");
    let kept = std::fs::read_to_string(path).expect("conformance/CLAIMS.md");
    let differs = page
        .lines()
        .zip(kept.lines())
        .find(|(made, kept)| made != kept);
    assert!(
        page == kept,
        "CLAIMS.md is stale: `just claims` makes it again; the first difference: {differs:?}"
    );
}
