//! The recorded run of the benchmark: what the guide shows of it is what it says. No time is judged.

mod host_only {
    use conformance::bench::plan::{Kind, Placement};
    use conformance::bench::run::{Line, Outcome, Run};
    use conformance::bench::{plots, report};
    use std::fs;
    use std::path::{Path, PathBuf};

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/bench")
    }

    fn run() -> Run {
        recorded("run.json")
    }

    fn recorded(name: &str) -> Run {
        let text = fs::read_to_string(fixtures().join(name)).expect("a recorded run");
        serde_json::from_str(&text).expect("a run")
    }

    fn page() -> String {
        let page = fixtures().join("../../conformance/docs/bench.md");
        fs::read_to_string(page).expect("the page")
    }

    /// A line of a run with both ends on one CPU, over TCP with reno.
    fn line<'run>(run: &'run Run, kind: Kind, sink: &str, length: usize, name: &str) -> &'run Line {
        let is_meant = |outcome: &&Outcome| {
            outcome.kind == kind
                && outcome.sink == sink
                && outcome.length == length
                && outcome.placement == Placement::Same
                && (!outcome.sink.starts_with("TCP")
                    || outcome.congestion.as_deref() == Some("reno"))
        };
        let outcome = run.outcomes.iter().find(is_meant).expect(sink);
        outcome.find(name).expect(name)
    }

    #[test]
    fn every_comparison_was_made() {
        let run = run();
        for kind in [
            Kind::Ways,
            Kind::Size,
            Kind::Pipe,
            Kind::Chunk,
            Kind::Peers,
            Kind::Relays,
        ] {
            assert!(
                run.outcomes.iter().any(|outcome| outcome.kind == kind),
                "no {kind:?}: just record-bench"
            );
        }
        assert!(run.is_locked, "the source was not kept in memory");
    }

    #[test]
    fn the_page_has_the_article_s_table() {
        let page = page();
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

    /// The cells of the page's lines that begin with `first`.
    fn cells(page: &str, first: &str) -> Vec<Vec<String>> {
        let line = |line: &str| {
            line.trim_matches('|')
                .split('|')
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let rows = page.lines().filter(|line| line.starts_with('|')).map(line);
        rows.filter(|row: &Vec<String>| row[0] == first).collect()
    }

    /// The first cell of a line of the page, the digits of the others, and how they are found in a run.
    type Row<'page> = (&'page str, usize, &'page dyn Fn(&Run) -> f64);

    #[test]
    fn the_two_machines_are_in_the_table() {
        const LARGE: usize = 64 << 20;
        let page = page();
        let of_tcp =
            |run: &Run, name: &str| line(run, Kind::Ways, "TCP", LARGE, name).faster.median;
        let rows: [Row; 9] = [
            ("`read` and `write` of 1 MiB", 2, &|run| {
                of_tcp(run, "read+write 1 MiB")
            }),
            ("`sendfile`", 2, &|run| of_tcp(run, "sendfile")),
            ("the sender's CPU time saved by `sendfile`", 1, &|run| {
                line(run, Kind::Ways, "TCP", LARGE, "sendfile")
                    .sender_saves
                    .median
            }),
            ("`splice`, pipe of 64 KiB", 2, &|run| {
                of_tcp(run, "splice, pipe 64 KiB")
            }),
            ("`splice`, pipe of 1 MiB", 2, &|run| {
                of_tcp(run, "splice, pipe 1 MiB")
            }),
            (
                "`splice`, pipe of 1 MiB, to a receiver that drops",
                2,
                &|run| {
                    line(run, Kind::Ways, "TCP, dropped", LARGE, "splice, pipe 1 MiB")
                        .faster
                        .median
                },
            ),
            ("`sendfile`, 4 KiB", 2, &|run| {
                line(run, Kind::Size, "TCP", 4 << 10, "sendfile")
                    .faster
                    .median
            }),
            (
                "`MSG_ZEROCOPY` of memory against `write` of it",
                2,
                &|run| of_tcp(run, "MSG_ZEROCOPY, memory") / of_tcp(run, "write of memory"),
            ),
            (
                "`MSG_ZEROCOPY` of huge pages to a device that drops, against `write`",
                1,
                &|run| {
                    line(
                        run,
                        Kind::Ways,
                        "UDP, no receiver",
                        LARGE,
                        "MSG_ZEROCOPY of huge pages",
                    )
                    .faster
                    .median
                },
            ),
        ];
        let runs = [recorded("epyc.json"), run()];
        for (first, digits, figure) in rows {
            let mut row = vec![first.to_owned()];
            row.extend(runs.iter().map(|run| format!("{:.digits$}", figure(run))));
            assert_eq!(cells(&page, first), [row]);
        }
    }

    #[test]
    fn the_peers_are_in_the_tables() {
        let (page, run) = (page(), run());
        for (kind, names) in [
            (
                Kind::Peers,
                &[
                    "nocopy-transfer, shared",
                    "nocopy-transfer, tokio",
                    "nocopy-transfer, snapshot",
                    "nginx, sendfile on",
                    "nginx, sendfile off",
                    "Python socket.sendfile",
                    "std::io::copy",
                    "tokio::io::copy",
                ],
            ),
            (
                Kind::Relays,
                &[
                    "nocopy-transfer, shared",
                    "nocopy-transfer, tokio",
                    "nocopy-transfer, snapshot",
                    "splice, pipe 1 MiB",
                    "tokio-splice2",
                    "HAProxy, splice on",
                    "HAProxy, splice off",
                    "read+write 64 KiB",
                ],
            ),
        ] {
            let figure = |name: &&str| {
                format!(
                    "{:.2}",
                    line(&run, kind, "TCP", 64 << 20, name).faster.median
                )
            };
            let row: Vec<_> = names.iter().map(figure).collect();
            let found = cells(&page, &row[0]);
            assert!(found.contains(&row), "{kind:?}: {row:?}, and not {found:?}");
        }
    }

    #[test]
    fn the_pictures_are_of_the_run() {
        for (name, picture) in plots::draw(&run()).expect("pictures") {
            let kept = fs::read_to_string(fixtures().join(name)).expect(name);
            assert_eq!(kept, picture, "{name}: just record-bench");
        }
    }
}
