//! A crate folder that is copied into another tree builds there as it is.
//!
//! `cargo test --test suite vendoring::` is the whole check: the manifests are read, and each crate is compiled and tested alone.

mod host_only {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use rstest::rstest;
    use toml::{Table, Value};

    use crate::crates::folders;
    use crate::nested_cargo::cargo;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// What in a manifest keeps its folder from being copied away; that of a layer, together with the primitives beside it.
    fn complaints(manifest: &str) -> Vec<String> {
        let manifest: Table = manifest.parse().expect("a manifest");
        let mut complaints = Vec::new();
        find(&Value::Table(manifest.clone()), "", &mut complaints);

        let package = |field: &str| manifest.get("package").and_then(|table| table.get(field));
        for (field, expected) in [
            ("edition", "2024"),
            ("rust-version", "1.87"),
            ("license", "MIT OR Apache-2.0"),
            ("readme", "README.md"),
        ] {
            if package(field).and_then(Value::as_str) != Some(expected) {
                complaints.push(format!("package.{field} is not {expected}"));
            }
        }

        let metadata = package("metadata").and_then(|table| table.get("docs"));
        if metadata.and_then(|table| table.get("rs")).is_none() {
            complaints.push("no package.metadata.docs.rs".to_owned());
        }

        let dependencies = manifest.get("dependencies").and_then(Value::as_table);
        let dependencies = dependencies.cloned().unwrap_or_default();
        let (parts, others): (Vec<_>, Vec<_>) = dependencies
            .iter()
            .partition(|(name, _)| name.starts_with("nocopy-"));
        let is_layer = !parts.is_empty();
        // A registry has no paths: there the version counts.
        for (name, part) in parts {
            if part.get("version").and_then(Value::as_str).is_none() {
                complaints.push(format!("{name} without a version"));
            }
        }
        let mut names: Vec<_> = others.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        if !is_layer && names != ["libc", "syscalls"] {
            complaints.push(format!("the dependencies are {names:?}"));
        }
        for (name, dependency) in others {
            if dependency.get("default-features") != Some(&Value::Boolean(false)) {
                complaints.push(format!("{name} with its default features"));
            }
        }
        for table in ["build-dependencies", "target"] {
            if manifest.contains_key(table) {
                complaints.push(format!("a table {table}"));
            }
        }
        complaints
    }

    /// Looks for what points out of the folder, wherever it stands.
    fn find(value: &Value, at: &str, complaints: &mut Vec<String>) {
        let Value::Table(table) = value else { return };
        for (key, value) in table {
            let at = format!("{at}.{key}");
            match (key.as_str(), value) {
                ("workspace", _) => complaints.push(format!("{at}: inherits")),
                ("path", Value::String(path))
                    if at
                        == format!(
                            ".dependencies.nocopy-{}.path",
                            path.strip_prefix("../").unwrap_or_default()
                        ) => {}
                ("path", Value::String(path)) if path.starts_with('/') || path.contains("..") => {
                    complaints.push(format!("{at}: leads out of the folder"));
                }
                _ => find(value, &at, complaints),
            }
        }
    }

    #[test]
    fn a_manifest_stands_alone() {
        for folder in folders() {
            let complaints = complaints(&read(&folder.join("Cargo.toml")));
            assert_eq!(complaints, [""; 0], "{}", folder.display());
        }
    }

    const GOOD: &str = r#"
        [package]
        name = "nocopy-example"
        edition = "2024"
        rust-version = "1.87"
        license = "MIT OR Apache-2.0"
        readme = "README.md"
        [package.metadata.docs.rs]
        all-features = true
        [dependencies]
        libc = { version = "0.2", default-features = false }
        syscalls = { version = "0.8", default-features = false }
    "#;

    /// Without this a checker that accepts everything would pass.
    #[rstest]
    #[case::inherited(r#"edition = "2024""#, "edition.workspace = true", "inherits")]
    #[case::edition("2024", "2021", "edition is not")]
    #[case::rust_version("1.87", "1.95", "rust-version is not")]
    #[case::docs("docs.rs", "docs.io", "no package.metadata")]
    #[case::another("[dependencies]", "[dependencies]\nbitflags = '2'", "bitflags")]
    #[case::fewer("libc =", "#", "the dependencies are")]
    #[case::defaults("8\", default-features = false", "8\"", "syscalls with")]
    #[case::sibling(
        "[dependencies]",
        "[dev-dependencies]\nx = { path = '../x' }\n[dependencies]",
        "leads out"
    )]
    #[case::layer(
        "[dependencies]",
        "[dependencies]\nnocopy-mmap = { path = '../mmap' }",
        "without a version"
    )]
    #[case::farther(
        "[dependencies]",
        "[dependencies]\nnocopy-mmap = { path = '../../mmap', version = '0.1' }",
        "leads out"
    )]
    #[case::build("[dependencies]", "[build-dependencies]\n[dependencies]", "build-")]
    fn a_manifest_is_refused(#[case] good: &str, #[case] bad: &str, #[case] reason: &str) {
        assert_eq!(complaints(GOOD), [""; 0]);
        let complaints = complaints(&GOOD.replacen(good, bad, 1));
        assert!(
            complaints
                .iter()
                .any(|complaint| complaint.contains(reason)),
            "{complaints:?}"
        );
    }

    #[rstest]
    #[case::everywhere("src/fd.rs", 6)]
    #[case::where_descriptors_are_owned("src/owned_fd.rs", 3)]
    #[case::of_flags("src/bits.rs", 5)]
    #[case::of_properties("tests/properties/check.rs", 6)]
    #[case::of_properties_of_files("tests/properties/files.rs", 4)]
    #[case::of_properties_of_transfers("tests/properties/model.rs", 3)]
    fn a_shared_file_is_the_same_in_all_crates(#[case] file: &str, #[case] at_least: usize) {
        let files = folders().into_iter().map(|folder| folder.join(file));
        let files: Vec<_> = files.filter(|file| file.exists()).collect();
        assert!(files.len() >= at_least, "{files:?}");
        for other in &files[1..] {
            let (first, other_text) = (read(&files[0]), read(other));
            assert!(
                first == other_text,
                "{} and {} differ",
                files[0].display(),
                other.display()
            );
        }
    }

    #[rstest]
    fn a_folder_carries_its_papers(
        #[values("README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE")] name: &str,
    ) {
        for folder in folders() {
            let text = read(&folder.join(name));
            assert!(!text.trim().is_empty(), "{name} in {}", folder.display());
            if name.starts_with("LICENSE") {
                let ours = read(&root().join(name));
                assert!(text == ours, "{name} in {}", folder.display());
            }
        }
    }

    /// What `cargo package` lists beside the files that it makes itself.
    fn packaged(folder: &Path) -> BTreeSet<String> {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("package");
        let arguments = ["package", "--list", "--allow-dirty"];
        let output = cargo(folder, &target, &arguments, None);
        let listed = String::from_utf8(output.stdout).expect("UTF-8");
        let made = [
            ".cargo_vcs_info.json",
            "Cargo.lock",
            "Cargo.toml",
            "Cargo.toml.orig",
        ];
        let names = listed.lines().filter(|name| !made.contains(name));
        names.map(str::to_owned).collect()
    }

    fn files(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder.join(below)).expect("a folder") {
            let name = entry.expect("an entry").file_name();
            let name = format!("{below}/{}", name.to_string_lossy());
            if folder.join(&name).is_dir() {
                files(folder, &name, found);
            } else {
                found.insert(name);
            }
        }
    }

    /// A package has sources, tests, examples, papers, and no other file that lies in the folder.
    #[test]
    fn a_package_has_what_a_user_wants_and_nothing_else() {
        for folder in folders() {
            let papers = ["README.md", "CHANGELOG.md", "LICENSE-MIT", "LICENSE-APACHE"];
            let mut expected = BTreeSet::from(papers.map(str::to_owned));
            for below in ["src", "tests", "examples"] {
                files(&folder, below, &mut expected);
            }
            assert_eq!(packaged(&folder), expected, "{}", folder.display());
        }
        // A copy, so that nothing is left in the repository if this fails.
        let elsewhere = tempfile::tempdir().expect("a temporary directory");
        let folder = elsewhere.path().join("vendored");
        copy(&folders()[0], &folder);
        let manifest = read(&folder.join("Cargo.toml")) + "\n[workspace]\n";
        fs::write(folder.join("Cargo.toml"), manifest).expect("a manifest");
        fs::copy(root().join("Cargo.lock"), folder.join("Cargo.lock")).expect("the lock file");
        let before = packaged(&folder);
        fs::write(folder.join("notes.txt"), "left over").expect("a file");
        fs::create_dir(folder.join("corpus")).expect("a folder");
        fs::write(folder.join("corpus/src"), "left over").expect("a file");
        assert_eq!(packaged(&folder), before);
        fs::write(folder.join("src/more.rs"), "").expect("a file");
        assert_eq!(packaged(&folder).len(), before.len() + 1);
    }

    /// Copies a folder, but not what is made in it.
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).expect("a new folder");
        for entry in fs::read_dir(from).expect("a folder") {
            let entry = entry.expect("an entry");
            let name = entry.file_name();
            let (from, to) = (entry.path(), to.join(&name));
            if from.is_dir() {
                if name != "target" {
                    copy(&from, &to);
                }
            } else {
                fs::copy(&from, &to).expect("a copy");
            }
        }
    }

    /// One after the other, with one target directory, so that the dependencies are built once.
    #[test]
    fn a_folder_alone_builds_and_passes_its_tests() {
        // Each copy has a new path, so nothing in it could be used again.
        let target = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
        for folder in folders() {
            // Not below this repository, whose cargo configuration would apply.
            let elsewhere = tempfile::tempdir().expect("a temporary directory");
            let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"vendored\"]\n";
            // What it is made of lies beside it, as in the repository.
            for part in crate::crates::parts(&folder) {
                copy(
                    &root().join("crates").join(&part),
                    &elsewhere.path().join(part),
                );
            }
            fs::write(elsewhere.path().join("Cargo.toml"), workspace).expect("a manifest");
            let lock = root().join("Cargo.lock");
            fs::copy(lock, elsewhere.path().join("Cargo.lock")).expect("the lock file");
            copy(&folder, &elsewhere.path().join("vendored"));

            // A layer's tests need a runtime and take long: they are compiled, and one program of them is run.
            let tests: &[&[&str]] = if crate::crates::parts(&folder).is_empty() {
                &[&["test"]]
            } else {
                &[
                    &["check", "--tests", "--examples"],
                    &["test", "--lib", "--test", "pairs"],
                ]
            };
            let builds: [&[&str]; 2] = [&["build"], &["build", "--no-default-features"]];
            for arguments in builds.iter().chain(tests) {
                println!("{}: cargo {}", folder.display(), arguments.join(" "));
                cargo(elsewhere.path(), target.path(), arguments, None);
            }
        }
    }
}
