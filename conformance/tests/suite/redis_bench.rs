//! The recorded runs of the benchmark of replicas: what the guide shows of them is what they say. No time is judged.

mod host_only {
    use conformance::redis::bench::{Run, SENDERS, report};
    use std::fs;
    use std::path::{Path, PathBuf};

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/redis")
    }

    fn run(name: &str) -> Run {
        let text = fs::read_to_string(fixtures().join(name)).expect("a recorded run");
        serde_json::from_str(&text).expect("a run")
    }

    #[test]
    fn every_sender_was_measured() {
        for name in ["reno.json", "own.json"] {
            let run = run(name);
            let senders = SENDERS.iter().map(|(name, _)| *name);
            let expected: Vec<&str> = senders.clone().chain(senders).collect();
            let measured: Vec<&str> = run.lines.iter().map(|line| &*line.sender).collect();
            assert_eq!(measured, expected, "{name}: just record-redis-bench");
            let rounds = run.lines.iter().map(|line| line.taken.len());
            assert!(rounds.min() >= Some(5), "{name}");
            assert!(run.length > 1_000_000_000, "{name}");
        }
        assert_eq!(run("reno.json").on.congestion, "reno");
    }

    #[test]
    fn the_page_has_the_table() {
        let page = fs::read_to_string(fixtures().join("../../conformance/docs/redis.md"))
            .expect("the page");
        let (run, own) = (run("reno.json"), run("own.json"));
        let mut block = Vec::new();
        report::summary(&mut block, &run, &own).expect("a table");
        let block = String::from_utf8(block).expect("UTF-8");
        assert!(
            page.contains(&block),
            "the table of docs/redis.md of the benchmark is to be\n{block}"
        );
        assert!(page.contains(&run.on.to_string()), "{}", run.on);
        assert_eq!(run.on.to_string(), own.on.to_string());
    }

    #[test]
    fn the_picture_is_of_the_run() {
        for (name, picture) in report::pictures(&run("reno.json")).expect("pictures") {
            let kept = fs::read_to_string(fixtures().join(name)).expect(name);
            assert_eq!(kept, picture, "{name}: just record-redis-bench");
        }
    }
}
