//! The tables of `nocopy-transfer` are held against what was measured: the grid of pairs, and the claims that they name.

mod host_only {
    use nocopy_transfer::choice::{self, Row, Way};
    use nocopy_transfer::{SinkKind, SourceKind, Sysno, fallback};
    use serde_json::Value;
    use std::fs;
    use std::path::Path;

    /// What became of the bytes of one pair by one route on one kernel.
    struct Cell {
        place: String,
        source: SourceKind,
        sink: SinkKind,
        way: Way,
        word: String,
    }

    /// What became of the bytes of one pair on one kernel when the route was chosen.
    struct Chosen {
        place: String,
        row: &'static Row,
        is_snapshot: bool,
        word: String,
    }

    /// Calls `with` for every cell of the recorded grids whose source and sink the crate has a kind for: its place, the kinds, the
    /// column, and what is in it.
    fn each(mut with: impl FnMut(String, SourceKind, SinkKind, &str, String)) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/grids/pairs");
        for entry in fs::read_dir(folder).expect("the records") {
            let path = entry.expect("a record").path();
            let text = fs::read_to_string(&path).expect("a record");
            let kernel = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            for line in text.lines() {
                let line: Value = serde_json::from_str(line).expect("a line");
                let Some((from, to)) = line["row"].as_str().and_then(|row| row.split_once(" to "))
                else {
                    continue;
                };
                let from = if from == "memfd" {
                    "regular file"
                } else {
                    from
                };
                let source = SourceKind::ALL.iter().find(|kind| kind.name() == from);
                let sink = SinkKind::ALL.iter().find(|kind| kind.name() == to);
                let sink = sink.unwrap_or_else(|| panic!("no kind of sink is called {to}"));
                let Some(source) = source else {
                    assert_eq!(from, "memory", "no kind of source is called {from}");
                    continue;
                };
                for cell in line["cells"].as_array().into_iter().flatten() {
                    let fact = cell["fact"].as_str().expect("a route");
                    let errno = cell["errno"].as_i64().map(|number| {
                        let errno =
                            nocopy_transfer::Errno::new(i32::try_from(number).expect("an errno"));
                        format!("{fact}: {}", errno.name().expect("a known errno"))
                    });
                    let word = errno
                        .or_else(|| cell["text"].as_str().map(str::to_owned))
                        .unwrap_or_else(|| "returned".to_owned());
                    let place = format!("{kernel}, {from} to {to}, {fact}: {word}");
                    with(place, *source, *sink, fact, word);
                }
            }
        }
    }

    fn cells() -> Vec<Cell> {
        let mut cells = Vec::new();
        each(|place, source, sink, fact, word| {
            let way = match fact {
                "read-write" => Way::ReadWrite,
                "sendfile" => Way::Sendfile,
                "splice" => Way::Splice,
                "copy-file-range" => Way::CopyFileRange,
                _ => return,
            };
            cells.push(Cell {
                place,
                source,
                sink,
                way,
                word,
            });
        });
        assert!(cells.len() > 2000, "{} cells", cells.len());
        cells
    }

    fn chosen() -> Vec<Chosen> {
        let mut cells = Vec::new();
        each(|place, source, sink, fact, word| {
            let is_snapshot = match fact {
                "chosen-shared" => false,
                "chosen-snapshot" => true,
                _ => return,
            };
            cells.push(Chosen {
                place,
                row: choice::row(source, sink),
                is_snapshot,
                word,
            });
        });
        assert!(cells.len() > 1000, "{} cells", cells.len());
        cells
    }

    /// On each kernel, for each pair: all bytes arrive, a snapshot is one, and the way is the first that is not refused there.
    #[test]
    fn what_is_chosen_moves_everything_and_copies_for_a_snapshot() {
        for cell in chosen() {
            let (what, routes) = cell
                .word
                .split_once(" by ")
                .unwrap_or_else(|| panic!("{}", cell.place));
            let is_copy = what == "copied" || what.parse::<u64>().is_ok();
            assert!(
                is_copy || what == "shared" && !cell.is_snapshot,
                "{}",
                cell.place
            );
            let ways = if cell.is_snapshot {
                cell.row.snapshot
            } else {
                cell.row.shared
            };
            assert!(
                ways.iter().any(|step| step.way.name() == routes),
                "{}",
                cell.place
            );
        }
    }

    fn moves(cell: &Cell) -> bool {
        !cell.word.contains(": ")
    }

    fn copies(cell: &Cell) -> bool {
        cell.word == "copied" || cell.word == "returned"
    }

    fn has(ways: &[choice::Step], way: Way) -> bool {
        ways.iter().any(|step| step.way == way)
    }

    #[test]
    fn the_first_way_of_each_row_moves_bytes_on_every_kernel() {
        let is_first = |row: &Row, way| {
            [row.shared, row.snapshot]
                .iter()
                .any(|ways| ways[0].way == way)
        };
        let mut tried = 0;
        for cell in cells() {
            // Of two files on two file systems, the first way is refused, and the second one moves them.
            let is_two_disks = cell.word == "copy-file-range: EXDEV";
            if is_first(choice::row(cell.source, cell.sink), cell.way) && !is_two_disks {
                tried += 1;
                assert!(moves(&cell), "{}", cell.place);
            }
        }
        assert!(tried > 400, "{tried}");
    }

    #[test]
    fn each_way_of_a_snapshot_copies_on_every_kernel() {
        let mut tried = 0;
        for cell in cells() {
            if has(choice::row(cell.source, cell.sink).snapshot, cell.way) && moves(&cell) {
                tried += 1;
                assert!(copies(&cell), "{}", cell.place);
            }
        }
        assert!(tried > 500, "{tried}");
    }

    /// A pair that the kernel can join on every kernel is joined, except where a message has a size.
    #[test]
    fn no_way_that_always_works_is_left_out() {
        let cells = cells();
        for source in SourceKind::ALL {
            for sink in SinkKind::ALL {
                let row = choice::row(*source, *sink);
                let of_pair: Vec<_> = cells
                    .iter()
                    .filter(|cell| {
                        (cell.source, cell.sink) == (*source, *sink) && cell.way != Way::ReadWrite
                    })
                    .collect();
                let joins = |way| {
                    of_pair.iter().any(|cell| cell.way == way)
                        && of_pair
                            .iter()
                            .filter(|cell| cell.way == way)
                            .all(|cell| moves(cell))
                };
                let can_be_joined = [Way::Sendfile, Way::Splice, Way::CopyFileRange]
                    .into_iter()
                    .any(joins);
                let is_joined = row.shared.len() > 1;
                assert!(
                    is_joined == can_be_joined || *sink == SinkKind::Datagram || of_pair.is_empty(),
                    "{} to {}",
                    source.name(),
                    sink.name()
                );
            }
        }
    }

    #[test]
    fn each_errno_of_a_way_in_the_table_is_one_to_fall_back_after() {
        let mut met = 0;
        for cell in cells() {
            if moves(&cell) || !has(choice::row(cell.source, cell.sink).shared, cell.way) {
                continue;
            }
            let call = match cell.way {
                Way::Sendfile => Sysno::sendfile,
                Way::Splice => Sysno::splice,
                Way::CopyFileRange => Sysno::copy_file_range,
                _ => panic!("{}", cell.place),
            };
            let (_, name) = cell.word.rsplit_once(": ").expect("an errno");
            met += 1;
            assert!(
                (1..134)
                    .map(nocopy_transfer::Errno::new)
                    .any(|errno| errno.name() == Some(name) && fallback::is_refusal(call, errno)),
                "{}",
                cell.place
            );
        }
        assert!(met > 0, "no way of the table is refused on any kernel");
    }

    fn way(step: &choice::Step) -> String {
        let name = match step.way {
            Way::ReadWrite => "read and write".to_owned(),
            way => way.name().replace('-', "_"),
        };
        match step.least {
            0 => name,
            least => format!("{name} from {} MiB", least >> 20),
        }
    }

    fn routes() -> String {
        let mut table =
            "| from | to | Shared | Snapshot | measured |\n|---|---|---|---|---|\n".to_owned();
        for row in choice::TABLE {
            let sources: Vec<_> = row.sources.iter().map(|kind| kind.name()).collect();
            let sinks: Vec<_> = row.sinks.iter().map(|kind| kind.name()).collect();
            let is_all = |named: usize, all: usize| named == all;
            let sources = if is_all(sources.len(), SourceKind::ALL.len()) {
                "anything".to_owned()
            } else {
                sources.join(", ")
            };
            let sinks = if is_all(sinks.len(), SinkKind::ALL.len()) {
                "anything".to_owned()
            } else {
                sinks.join(", ")
            };
            let ways =
                |steps: &[choice::Step]| steps.iter().map(way).collect::<Vec<_>>().join("; ");
            let line = format!(
                "| {sources} | {sinks} | {} | {} | {} |\n",
                ways(row.shared),
                ways(row.snapshot),
                row.evidence
            );
            table.push_str(&line);
        }
        table
    }

    fn errnos() -> String {
        let mut table =
            "| call | errno | what is refused | evidence |\n|---|---|---|---|\n".to_owned();
        for line in fallback::TABLE {
            let errno = line.errno.name().expect("a known errno");
            let line = format!(
                "| `{}` | `{errno}` | {} | {} |\n",
                line.call, line.why, line.evidence
            );
            table.push_str(&line);
        }
        table
    }

    /// `NOCOPY_BLESS=1` writes it.
    #[test]
    fn the_page_shows_the_tables() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/choices.md");
        let page = fs::read_to_string(&path).expect("the page");
        let mut wanted = String::new();
        let mut rest = page.as_str();
        for (mark, table) in [
            ("<!-- routes -->\n", routes()),
            ("<!-- errnos -->\n", errnos()),
        ] {
            let (before, after) = rest.split_once(mark).expect("the mark of a table");
            let old = after.trim_start_matches('\n');
            let end = old
                .lines()
                .take_while(|line| line.starts_with('|'))
                .map(|line| line.len() + 1)
                .sum();
            wanted.push_str(before);
            wanted.push_str(mark);
            wanted.push('\n');
            wanted.push_str(&table);
            let gap = if end == 0 { "\n" } else { "" };
            wanted.push_str(gap);
            rest = &old[end..];
        }
        wanted.push_str(rest);
        if std::env::var_os("NOCOPY_BLESS").is_some() {
            fs::write(&path, &wanted).expect("the page");
        }
        assert!(
            page == wanted,
            "{} is not of these tables: NOCOPY_BLESS=1 cargo test --test suite choices::",
            path.display()
        );
    }

    #[test]
    fn the_evidence_names_claims_that_exist() {
        let evidence = choice::TABLE
            .iter()
            .map(|row| row.evidence)
            .chain(fallback::TABLE.iter().map(|line| line.evidence));
        let mut named = 0;
        for text in evidence {
            for claim in text
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|quoted| quoted.contains('.'))
            {
                named += 1;
                let exists = match claim.strip_suffix('*') {
                    Some(front) => conformance::claims::REGISTRY
                        .all()
                        .any(|claim| claim.id.starts_with(front)),
                    None => conformance::claims::REGISTRY.find(claim).is_some(),
                };
                assert!(exists, "`{claim}` is no claim");
            }
        }
        assert!(named > 10, "{named}");
    }
}
