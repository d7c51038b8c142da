//! No circle of files, modules or packages: whoever reads one of them need not have read the other.

// A guest, and a kernel that is made to look old, have not what they read.
mod host_only {
    use nocopy_tools::cycles::{circles, of_crate};
    use nocopy_tools::modules::Graph;
    use std::collections::{BTreeMap, BTreeSet};
    use std::fs;
    use std::path::{Path, PathBuf};

    fn top() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
    }

    /// Every package of this repository, whether or not it is a member of the workspace.
    fn packages() -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut open = vec![top()];
        while let Some(directory) = open.pop() {
            if directory.join("Cargo.toml").exists() {
                found.push(directory.clone());
            }
            for entry in fs::read_dir(&directory).expect("a directory").flatten() {
                let name = entry.file_name();
                let is_made = name == "target" || name.to_string_lossy().starts_with('.');
                if entry.path().is_dir() && !is_made {
                    open.push(entry.path());
                }
            }
        }
        found.sort();
        found
    }

    #[test]
    fn no_files_and_no_modules_go_in_a_circle() {
        let mut roots = 0;
        let mut found = Vec::new();
        for package in packages() {
            for root in ["src/lib.rs", "src/main.rs"] {
                let root = package.join(root);
                if root.exists() {
                    let graph = Graph::read(&root).expect("it can be read");
                    roots += 1;
                    found.extend(of_crate(&graph));
                }
            }
        }
        assert!(roots > 6, "{roots} crates were found");
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    /// The picture of the guide has the graph of the suite as a comment.
    #[test]
    fn the_picture_is_of_todays_modules() {
        let graph = Graph::read(&top().join("conformance/src/lib.rs")).expect("it can be read");
        let picture = fs::read_to_string(top().join("conformance/docs/modules.svg"));
        let picture = picture.expect("the picture");
        let (_, drawn) = picture.split_once("<!--\ndigraph").expect("the graph");
        let (drawn, _) = drawn.split_once("-->").expect("its end");
        let dot = graph.dot(1).replace("->", "to");
        assert!(
            dot.trim_end() == format!("digraph{drawn}").trim_end(),
            "conformance/docs/modules.svg is of other modules: just picture"
        );
    }

    #[test]
    fn no_packages_go_in_a_circle() {
        // The repository of the vendored example is completed in a copy: what it names is not there yet.
        let canonical = |path: &Path| path.canonicalize().ok();
        let mut arrows: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for package in packages() {
            let text = fs::read_to_string(package.join("Cargo.toml")).expect("a manifest");
            let manifest: toml::Table = text.parse().expect("it is TOML");
            let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
            let tables = tables
                .iter()
                .filter_map(|table| manifest.get(*table)?.as_table());
            for dependency in tables.flat_map(toml::Table::values) {
                if let Some(path) = dependency.get("path").and_then(toml::Value::as_str) {
                    let ends = canonical(&package).zip(canonical(&package.join(path)));
                    if let Some((from, to)) = ends {
                        arrows.entry(from).or_default().insert(to);
                    }
                }
            }
        }
        assert!(arrows.len() > 3, "{arrows:?}");
        assert_eq!(circles(&arrows), Vec::<Vec<PathBuf>>::new());
    }

    /// A small crate in a directory of its own.
    fn graph(name: &str, files: &[(&str, &str)]) -> Graph {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        for (file, text) in files {
            let path = directory.join(file);
            fs::create_dir_all(path.parent().expect("a directory")).expect("it can be made");
            fs::write(path, text).expect("it can be written");
        }
        Graph::read(&directory.join("lib.rs")).expect("it can be read")
    }

    fn circle_of(name: &str, one: &str, other: &str) -> Vec<String> {
        of_crate(&graph(
            name,
            &[
                ("lib.rs", "mod one; mod other;"),
                ("one.rs", one),
                ("other.rs", other),
            ],
        ))
    }

    /// Every way in which a path can stand in a file.
    #[test]
    fn a_circle_is_found_however_it_is_written() {
        const BACK: &str = "use crate::one::ONE; pub const OTHER: u8 = 1;";
        for (at, one) in [
            "use crate::other::OTHER; pub const ONE: u8 = 1;",
            "use super::other::{OTHER as X}; pub const ONE: u8 = 1;",
            "use crate::{other::*}; pub const ONE: u8 = 1;",
            "pub const ONE: u8 = crate::other::OTHER;",
            "pub fn one() -> Vec<u8> { vec![super::other::OTHER] }",
            "pub fn one(it: &crate::other::It) {}",
            "mod within { pub const ONE: u8 = super::super::other::OTHER; }",
            "macro_rules! one { () => { $crate::other::OTHER } }",
        ]
        .iter()
        .enumerate()
        {
            let found = circle_of(&format!("written-{at}"), one, BACK);
            assert!(!found.is_empty(), "{one}");
        }
    }

    #[test]
    fn what_is_no_circle_is_none() {
        let one = "pub const ONE: u8 = 1; #[cfg(test)] mod tests { use crate::other::OTHER; }";
        let other = "//! Of [`crate::one`].\nuse crate::one::ONE; pub const OTHER: u8 = ONE;";
        assert_eq!(circle_of("none", one, other), Vec::<String>::new());
        // Two folders that use each other, by files that do not.
        let found = of_crate(&graph(
            "folders",
            &[
                ("lib.rs", "mod left; mod right;"),
                ("left/mod.rs", "mod high; mod low;"),
                ("left/high.rs", "use crate::right::low::LOW;"),
                ("left/low.rs", "pub const LOW: u8 = 1;"),
                ("right/mod.rs", "mod high; mod low;"),
                ("right/high.rs", "use crate::left::low::LOW;"),
                ("right/low.rs", "pub const LOW: u8 = 1;"),
            ],
        ));
        assert_eq!(found[0], "modules of the crate: left, right");
    }
}
