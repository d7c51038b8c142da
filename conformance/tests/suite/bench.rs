//! The recorded run of the benchmark: what the guide shows of it is what it says. No time is judged.

mod host_only {
    use conformance::bench::plan::Kind;
    use conformance::bench::run::Run;
    use conformance::bench::{plots, report};
    use std::fs;
    use std::path::{Path, PathBuf};

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/bench")
    }

    fn run() -> Run {
        let text = fs::read_to_string(fixtures().join("run.json")).expect("a recorded run");
        serde_json::from_str(&text).expect("a run")
    }

    #[test]
    fn every_comparison_was_made() {
        let run = run();
        for kind in [Kind::Ways, Kind::Size, Kind::Pipe, Kind::Chunk, Kind::Peers] {
            assert!(
                run.outcomes.iter().any(|outcome| outcome.kind == kind),
                "no {kind:?}: just record-bench"
            );
        }
        assert!(run.is_locked, "the source was not kept in memory");
    }

    #[test]
    fn the_page_has_the_article_s_table() {
        let page = fixtures().join("../../conformance/docs/bench.md");
        let page = fs::read_to_string(page).expect("the page");
        let mut block = Vec::new();
        let run = run();
        report::article(&mut block, &run, true).expect("a table");
        let block = String::from_utf8(block).expect("UTF-8");
        assert!(
            page.contains(&block),
            "the table of docs/bench.md is to be\n{block}"
        );
        let day = run.on.to_string();
        assert!(page.contains(&day), "{day}");
        assert!(page.contains("fixtures/bench/faster.svg)"), "no plot");
    }

    #[test]
    fn the_pictures_are_of_the_run() {
        for (name, picture) in plots::draw(&run()).expect("pictures") {
            let kept = fs::read_to_string(fixtures().join(name)).expect(name);
            assert_eq!(kept, picture, "{name}: just record-bench");
        }
    }
}
