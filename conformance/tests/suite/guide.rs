//! The README and the guide: their commands run, their links lead somewhere, and the claims that they name are as they say.

// A guest, and a kernel that is made to look old, have not what they read.
mod host_only {
    use conformance::claim::Claim;
    use conformance::claim::source::{Kind, Source};
    use conformance::claims::REGISTRY;
    use conformance::grids::fds::FDS;
    use conformance::grids::fs::FS;
    use conformance::grids::pairs::PAIRS;
    use conformance::kernel::MEASURED;
    use conformance::pages::registry::contradicted;
    use conformance::run::recorded;
    use conformance::seed::Document;
    use conformance::ways::methods;
    use conformance::ways::sinks::Sink;
    use nocopy_transfer::Route;
    use rstest::rstest;
    use std::collections::BTreeSet;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    fn top() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Every page, with its path from the top.
    fn pages() -> Vec<(String, String)> {
        let mut names = vec![
            "README.md".to_owned(),
            "CONTRIBUTING.md".to_owned(),
            "conformance/on-kernel/README.md".to_owned(),
            "fixtures/README.md".to_owned(),
        ];
        let docs = fs::read_dir(top().join("conformance/docs")).expect("the guide");
        let docs = docs.map(|entry| entry.expect("an entry").file_name());
        let docs = docs.map(|name| name.to_string_lossy().into_owned());
        let docs = docs.filter(|name| Path::new(name).extension().is_some_and(|kind| kind == "md"));
        names.extend(docs.map(|name| format!("conformance/docs/{name}")));
        names.sort();
        let read = |name: String| {
            let text = fs::read_to_string(top().join(&name)).expect("a page");
            (name, text)
        };
        names.into_iter().map(read).collect()
    }

    /// The blocks of a page between fences of this language, each with the line above its fence.
    fn blocks<'page>(text: &'page str, language: &str) -> Vec<(&'page str, Vec<&'page str>)> {
        let fence = format!("```{language}");
        let mut found = Vec::new();
        let mut above = "";
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            // In a list, a block is indented.
            if line.trim_start() == fence {
                let block = lines.by_ref().map(str::trim);
                found.push((above, block.take_while(|line| *line != "```").collect()));
            }
            above = line.trim_start();
        }
        found
    }

    /// What stands between backticks.
    fn quoted(text: &str) -> impl Iterator<Item = &str> {
        text.lines()
            .flat_map(|line| line.split('`').skip(1).step_by(2))
    }

    #[test]
    fn the_readme_fits_a_first_visit() {
        let length = fs::metadata(top().join("README.md"))
            .expect("a README")
            .len();
        assert!(length <= 9 << 10, "{length} bytes");
    }

    /// Each sentence of the first table is published, and every kernel of the matrix refutes it.
    #[test]
    fn the_ten_sentences_are_contradicted_on_every_kernel() {
        let readme = fs::read_to_string(top().join("README.md")).expect("a README");
        let rows = readme
            .lines()
            .skip_while(|line| !line.starts_with("| man-pages "));
        let rows = rows.skip(2).take_while(|line| line.starts_with('|'));
        let ids: Vec<&str> = rows
            .filter_map(|row| {
                let cell = row.trim_end_matches([' ', '|']).rsplit('|').next()?;
                Some(cell.trim().trim_matches('`'))
            })
            .collect();
        assert_eq!(ids.len(), 10);
        for id in ids {
            let claim = REGISTRY.find(id).unwrap_or_else(|| panic!("no claim {id}"));
            let mut sources = contradicted(claim).into_iter();
            let everywhere = |(source, kernels): (&Source, Vec<_>)| {
                let spoken_of = MEASURED
                    .iter()
                    .filter(|series| source.speaks_of(**series))
                    .count();
                source.kind == Kind::Man && kernels.len() == spoken_of
            };
            assert!(
                sources.any(everywhere),
                "{id}: no page is contradicted on every kernel that it speaks of"
            );
        }
    }

    #[test]
    fn every_claim_that_is_named_is_one() {
        let interfaces: BTreeSet<&str> = REGISTRY.all().map(Claim::interface).collect();
        let mut named = 0;
        for (page, text) in pages() {
            for id in quoted(&text) {
                let mut parts = id.split('.');
                let is_id = parts.next().is_some_and(|first| interfaces.contains(first))
                    && parts.clone().count() == 2
                    && id.chars().all(|letter| {
                        letter.is_ascii_lowercase()
                            || letter.is_ascii_digit()
                            || "-.*".contains(letter)
                    });
                if !is_id {
                    continue;
                }
                named += 1;
                let is_meant = |claim: &Claim| match id.split_once('*') {
                    Some((beginning, _)) => claim.id.starts_with(beginning),
                    None => claim.id == id,
                };
                let is_there = REGISTRY.all().any(is_meant) || id.starts_with("tee.example.");
                assert!(is_there, "{page} names {id}, which is not a claim");
            }
        }
        assert!(named > 20, "{named} claims are named");
    }

    #[test]
    fn every_link_leads_to_a_file() {
        let mut links = 0;
        for (page, text) in pages() {
            let directory = top().join(&page).parent().expect("a directory").to_owned();
            for target in text
                .split("](")
                .skip(1)
                .filter_map(|rest| rest.split(')').next())
            {
                if target.starts_with("https://") || target.starts_with('#') {
                    continue;
                }
                links += 1;
                assert!(directory.join(target).exists(), "{page}: {target}");
            }
        }
        assert!(links > 40, "{links} links");
    }

    #[test]
    fn the_changelog_counts_right() {
        let changelog = fs::read_to_string(top().join("CHANGELOG.md")).expect("a changelog");
        let document = Document::load();
        for (count, what) in [
            (
                document.statements.len() + document.retired.len(),
                "S01 to S{}",
            ),
            (recorded::names().len(), "what {} kernels did"),
            (FDS.rows.len(), "{} kinds of descriptors"),
            (PAIRS.rows.len(), "{} pairs of source and sink"),
            (FS.rows.len(), "{} file systems"),
            (methods::ALL.len(), "{} methods of sending"),
            (Sink::ALL.len(), "{} sinks"),
            (Route::ALL.len(), "{} routes"),
        ] {
            let words = what.replace("{}", &count.to_string());
            assert!(changelog.contains(&words), "{words}");
        }
    }

    /// The workflow of the matrix asks a script for the kernels, and starts a job for each.
    #[test]
    fn the_workflow_starts_a_job_for_every_kernel() {
        let output = Command::new("bash")
            .arg("conformance/scripts/matrix-kernels.sh")
            .current_dir(top())
            .output()
            .expect("a shell");
        assert!(output.status.success(), "{output:?}");
        let names: Vec<String> = serde_json::from_slice(&output.stdout).expect("a JSON array");
        let unique: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(unique.len(), names.len(), "{names:?}");
        for kernel in recorded::names().into_iter().chain(["gvisor", "uml"]) {
            assert!(unique.contains(kernel), "{kernel} is missing in {names:?}");
        }
        // Optional rows run only where they are named.
        assert!(!unique.contains("6.1-generic"), "{names:?}");
        let workflow = top().join(".github/workflows/matrix.yml");
        let workflow = fs::read_to_string(workflow).expect("a workflow");
        assert!(workflow.contains("$(bash conformance/scripts/matrix-kernels.sh)"));
        assert!(workflow.contains("kernel: ${{ fromJSON(needs.kernels.outputs.names) }}"));
    }

    const TASKS: [&str; 4] = ["wrapper.md", "claims.md", "new-kernel.md", "new-report.md"];

    /// Each task of a contributor is one page, which begins with a command and ends with what a change must pass.
    #[test]
    fn a_task_is_one_page() {
        let contributing = fs::read_to_string(top().join("CONTRIBUTING.md")).expect("a page");
        for name in TASKS {
            let page = fs::read_to_string(top().join("conformance/docs").join(name));
            let page = page.expect("a page");
            assert!(page.lines().count() <= 70, "{name}");
            assert!(contributing.contains(&format!("docs/{name}")), "{name}");
            let commands: Vec<&str> = blocks(&page, "sh")
                .into_iter()
                .flat_map(|(_, lines)| lines)
                .collect();
            assert!(commands.contains(&"just ci"), "{name}: {commands:?}");
        }
    }

    /// A recipe that a page names is one.
    #[test]
    fn the_recipes_of_the_pages_exist() {
        let justfile = fs::read_to_string(top().join("justfile")).expect("a justfile");
        let is_recipe = |name: &str| {
            justfile.lines().any(|line| {
                let rest = line.strip_prefix(name).unwrap_or_default();
                let is_variable = rest.contains(":=");
                rest.starts_with([' ', ':']) && rest.contains(':') && !is_variable
            })
        };
        let mut named = 0;
        for (page, text) in pages() {
            let blocks = blocks(&text, "sh");
            let lines = blocks.iter().flat_map(|(_, lines)| lines.iter().copied());
            for line in lines {
                for command in line.split("&&") {
                    let mut words = command.split_whitespace();
                    if words.next() != Some("just") {
                        continue;
                    }
                    let name = words.next().unwrap_or_default();
                    assert!(is_recipe(name), "{page}: {line}");
                    named += 1;
                }
            }
        }
        assert!(named > 10, "{named} recipes are named");
        assert!(!is_recipe("no-such-recipe") && !is_recipe("export"));
    }

    /// What a page quotes from a source file stands there.
    #[rstest]
    #[case("wrapper.md", "crates/sendfile/src/lib.rs")]
    #[case("new-report.md", "conformance/src/report/ktap.rs")]
    fn a_quoted_function_is_as_quoted(#[case] page: &str, #[case] source: &str) {
        let page = top().join("conformance/docs").join(page);
        let page = fs::read_to_string(page).expect("a page");
        let source = fs::read_to_string(top().join(source)).expect("a source file");
        let lines = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
        let quoted = blocks(&page, "rust");
        assert_eq!(quoted.len(), 1);
        let quoted = quoted[0].1.join("\n");
        assert!(lines(&source).contains(&quoted), "{quoted}");
    }

    #[test]
    fn the_summary_names_every_page() {
        let summary = top().join("conformance/docs/SUMMARY.md");
        let summary = fs::read_to_string(summary).expect("a summary");
        for (page, _) in pages() {
            if let Some(name) = page.strip_prefix("conformance/docs/")
                && name != "SUMMARY.md"
            {
                assert!(summary.contains(&format!("({name})")), "{name}");
            }
        }
    }

    /// A block of commands is run, line by line, unless the line above it says why not.
    #[test]
    fn the_commands_of_the_pages_run() {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("guide");
        let work = directory.join("work");
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&work).expect("a directory");
        symlink(
            top().join("fixtures").canonicalize().expect("fixtures"),
            directory.join("fixtures"),
        )
        .expect("a link");
        let mut run = 0;
        for (page, text) in pages() {
            for (above, lines) in blocks(&text, "sh") {
                if let Some(reason) = above.strip_prefix("<!-- ") {
                    assert!(reason.len() > 20, "{page}: {above}");
                    continue;
                }
                for line in lines {
                    let mut words = line.split_whitespace();
                    assert_eq!(words.next(), Some("conformance"), "{page}: {line}");
                    let output = Command::new(env!("CARGO_BIN_EXE_conformance"))
                        .args(words)
                        .current_dir(&work)
                        .output()
                        .expect("the program");
                    let said = String::from_utf8_lossy(&output.stderr);
                    assert!(
                        output.status.success(),
                        "{page}: {line}: {} {said}",
                        output.status
                    );
                    run += 1;
                }
            }
        }
        assert!(run > 12, "{run} commands were run");
    }
}
