//! Every `unsafe` of the crates stands in its README with what it relies on, so that a new one is not added unnoticed; and
//! what is pure says so to the compiler.

mod host_only {
    use proc_macro2::{Delimiter, TokenStream, TokenTree};
    use rstest::rstest;
    use std::fs;
    use std::path::{Path, PathBuf};

    /// The section of a README that lists them.
    const HEADING: &str = "## What its `unsafe` relies on";

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
    }

    /// Every `unsafe` of a source, by the words that the README has for it. The tokens are those of the language: comments,
    /// documentation and strings are none or literals. A module of tests is left out.
    fn unsafe_code(source: &str) -> Vec<String> {
        let mut found = Vec::new();
        let tokens = source.parse().expect("a source that compiles");
        walk(tokens, "the module", &mut found);
        found
    }

    fn walk(tokens: TokenStream, within: &str, found: &mut Vec<String>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let word = |at: usize| match tokens.get(at) {
            Some(TokenTree::Ident(ident)) => ident.to_string(),
            _ => String::new(),
        };
        let is_braces = |token: &TokenTree| matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace);
        // The function whose body comes next at this level.
        let mut function: Option<String> = None;
        for (at, token) in tokens.iter().enumerate() {
            match (token, word(at).as_str()) {
                (_, "fn") => function = Some(word(at + 1)).filter(|name| !name.is_empty()),
                (_, "unsafe") => {
                    let what = match word(at + 1).as_str() {
                        "fn" => format!("fn `{}`", word(at + 2)),
                        "extern" => "extern".to_owned(),
                        "trait" => format!("trait `{}`", word(at + 2)),
                        // The name of the trait is the last word before its type: parameters have punctuation around them.
                        "impl" => {
                            let of = (at..tokens.len()).find(|at| word(*at) == "for");
                            format!("impl `{}`", word(of.map_or(0, |of| of - 1)))
                        }
                        _ if tokens.get(at + 1).is_some_and(is_braces) => {
                            format!("block in `{within}`")
                        }
                        other => format!("`{other}` in `{within}`"),
                    };
                    found.push(what);
                }
                (TokenTree::Punct(punct), _) if punct.as_char() == ';' => function = None,
                (TokenTree::Group(group), _) => {
                    if at >= 2 && word(at - 2) == "mod" && word(at - 1) == "tests" {
                        continue;
                    }
                    let body = function.take_if(|_| is_braces(token));
                    walk(group.stream(), body.as_deref().unwrap_or(within), found);
                }
                _ => {}
            }
        }
    }

    #[test]
    fn comments_strings_and_tests_do_not_count() {
        let source = r##"
            #![forbid(unsafe_code)]
            //! unsafe { }
            /// unsafe fn documented() {}
            fn one() -> &'static str { /* unsafe {} */ "unsafe {}"; r#"unsafe {}"#; 'u'; loop { unsafe { two() } } }
            unsafe fn two() { let closure = |it: fn(u8)| unsafe { it(1) }; }
            pub const unsafe fn three<T: Fn() -> u8>() -> [u8; { 4 }] where T: Copy { unsafe { unsafe { four() } } }
            unsafe trait Four { fn five(); fn six() { unsafe {} } }
            unsafe impl<'a, T: Four> Four for &'a [T] { fn five() {} }
            macro_rules! seven { () => { unsafe { eight() } } }
            #[unsafe(no_mangle)] extern "C" fn nine() {}
            #[cfg(test)]
            mod tests { fn ten() { unsafe {} } }
        "##;
        assert_eq!(
            unsafe_code(source),
            [
                "block in `one`",
                "fn `two`",
                "block in `two`",
                "fn `three`",
                "block in `three`",
                "block in `three`",
                "trait `Four`",
                "block in `six`",
                "impl `Four`",
                "block in `the module`",
                "`` in `the module`",
            ]
        );
    }

    /// The first cells of the table below [`HEADING`].
    fn listed(readme: &str) -> Vec<String> {
        let (_, section) = readme.split_once(HEADING).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let rows = section.lines().filter_map(|line| line.strip_prefix("| "));
        let cells = rows.map(|row| row.split(" | ").map(str::trim).collect::<Vec<_>>());
        cells
            .skip(1) // the head; the line below it has no space
            .map(|cells| {
                assert!(
                    cells.len() == 4 && cells.iter().all(|cell| cell.len() > 1),
                    "a cell is empty: {cells:?}"
                );
                cells[0].to_owned()
            })
            .collect()
    }

    /// The sources in a folder and below it, by their paths from there.
    fn sources(folder: &Path, below: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let entries = fs::read_dir(folder.join(below));
        for entry in entries.unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str());
            let name = format!("{below}{}", name.expect("a name"));
            if path.is_dir() {
                found.extend(sources(folder, &format!("{name}/")));
                continue;
            }
            let text = fs::read_to_string(&path);
            let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            found.push((name, text));
        }
        found.sort();
        found
    }

    #[test]
    fn each_readme_lists_every_unsafe_of_its_crate() {
        for folder in crate::crates::folders() {
            lists_every_unsafe(&folder);
        }
    }

    fn lists_every_unsafe(folder: &Path) {
        let name = folder.display();
        let mut there: Vec<String> = sources(&folder.join("src"), "")
            .into_iter()
            // Tests of the whole file, which is not in what others compile.
            .filter(|(_, text)| !text.contains("#![cfg(test)]"))
            .flat_map(|(file, text)| {
                let found = unsafe_code(&text);
                // What has none can be told not to get one: only what has some is exempt.
                let forbids = text.contains("#![forbid(unsafe_code)]");
                assert!(
                    forbids == found.is_empty() || file == "lib.rs" || file.ends_with("mod.rs"),
                    "{file} of {name}: `#![forbid(unsafe_code)]` and {found:?}"
                );
                found
                    .into_iter()
                    .map(move |what| format!("`{file}`: {what}"))
            })
            .collect();
        let readme = fs::read_to_string(folder.join("README.md")).expect("a README");
        let mut listed = listed(&readme);
        there.sort();
        listed.sort();
        assert!(
            there == listed,
            "review what is new or gone, then mend the table in its README.md, {name}\n\
             in the sources only: {:#?}\nin the README only: {:#?}",
            without(&there, &listed),
            without(&listed, &there),
        );
        assert!(!there.is_empty(), "nothing found in {}", folder.display());
    }

    /// What judges is plain computation, as is what reads bytes from elsewhere. The compiler holds them to it, below them too.
    #[rstest]
    fn what_is_pure_says_so(
        #[values(
            "claim/mod.rs",
            "kernel.rs",
            "main.rs",
            "pages/mod.rs",
            "report/mod.rs",
            "run/mod.rs",
            "seed.rs",
            "verdict.rs",
            "../on-kernel/src/frames.rs"
        )]
        file: &str,
    ) {
        let text = fs::read_to_string(root().join("conformance/src").join(file)).expect("a source");
        let attribute = text
            .lines()
            .find(|line| !line.starts_with("//!") && !line.is_empty());
        assert_eq!(attribute, Some("#![forbid(unsafe_code)]"), "{file}");
    }

    /// What is in the first list, as often as it is there more often than in the second.
    fn without(list: &[String], other: &[String]) -> Vec<String> {
        let mut other = other.to_vec();
        let mut left = list.to_vec();
        left.retain(|item| match other.iter().position(|it| it == item) {
            Some(at) => {
                other.remove(at);
                false
            }
            None => true,
        });
        left
    }
}
