//! The recorded ledgers: what two ways of counting say of a copy, what the claims say, and what the guide shows.

use conformance::claims;
use conformance::grids::records;
use conformance::grids::sheet::{Row, Sheet};
use conformance::ledger::{LEDGER, Quantity, disagreements, fact};
use conformance::run::recorded;
use conformance::verdict::{Observation, Value, Word};
use conformance::ways::sinks::Sink;
use rstest::rstest;

fn value(row: &Row, sink: Sink, quantity: Quantity) -> Option<&Value> {
    let name = fact(sink, quantity);
    let facts = row.cells.as_ref()?.facts();
    facts
        .iter()
        .find(|fact| fact.fact == name)
        .map(|fact| &fact.value)
}

fn find<'sheet>(ledger: &'sheet Sheet, method: &str) -> &'sheet Row {
    let row = ledger.rows.iter().find(|row| row.row == method);
    row.unwrap_or_else(|| panic!("no row {method}"))
}

/// Whether the page is shared, and how many bytes the kernel's copy functions were called with, are independent of each other.
#[test]
fn both_ways_of_counting_copies_agree_on_every_kernel() {
    let mut compared = 0;
    for (kernel, ledger) in records::of_grid(&LEDGER) {
        let none: Vec<String> = vec![];
        assert_eq!(disagreements(&ledger), none, "{kernel}");
        for row in &ledger.rows {
            for sink in Sink::ALL {
                let Some(counted) = value(row, *sink, Quantity::Counted) else {
                    continue;
                };
                let place = format!("{kernel}: {} to {}", row.row, sink.name());
                assert!(matches!(counted, Value::Count(_)), "{place}: {counted:?}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 11 * 36, "{compared}");
}

/// A kernel on which the functions that are watched do not copy, or copy more.
#[rstest]
#[case(Quantity::Counted, Value::Count(0))]
#[case(Quantity::Counted, Value::Text("1.50".into()))]
#[case(Quantity::CountedOfReceiver, Value::Count(0))]
fn a_disagreement_of_the_two_is_a_sentence(#[case] quantity: Quantity, #[case] wrong: Value) {
    let (_, mut ledger) = records::of_grid(&LEDGER).pop().expect("a record");
    let row = ledger.rows.iter_mut();
    let row = row
        .into_iter()
        .find(|row| row.row == "read+write 64 KiB")
        .expect("a row");
    let cells = row.cells.as_mut().expect("facts");
    let name = fact(Sink::Unix, quantity);
    let mut changed = Observation::new();
    for fact in cells.facts() {
        let is_it = fact.fact == name;
        let value = if is_it { &wrong } else { &fact.value };
        changed.push(fact.fact.clone(), value.clone());
    }
    *cells = changed;
    let found = disagreements(&ledger);
    let [sentence] = &found[..] else {
        panic!("{found:?}")
    };
    assert!(
        sentence.contains("read+write 64 KiB to AF_UNIX"),
        "{sentence}"
    );
}

/// What was not counted, with its reason, is not compared.
#[test]
fn what_was_not_counted_does_not_disagree() {
    let (_, mut ledger) = records::of_grid(&LEDGER).pop().expect("a record");
    for cells in ledger.rows.iter_mut().filter_map(|row| row.cells.as_mut()) {
        let mut changed = Observation::new();
        for fact in cells.facts() {
            let value = match Quantity::of_fact(&fact.fact) {
                Some(Quantity::Counted | Quantity::CountedOfReceiver) => {
                    Value::Text("not counted: no function is known".into())
                }
                _ => fact.value.clone(),
            };
            changed.push(fact.fact.clone(), value);
        }
        *cells = changed;
    }
    assert_eq!(disagreements(&ledger), Vec::<String>::new());
    let mut table = Vec::new();
    conformance::ledger::table::write(&mut table, &ledger, false).expect("a table");
    let table = String::from_utf8(table).expect("UTF-8");
    let reason = "not counted: no function is known";
    assert_eq!(table.matches(reason).count(), 1, "{table}");
}

/// Where nobody receives it, the flag does what the article says, and where somebody does, the kernel copies after all.
#[test]
fn memory_is_sent_without_a_copy_where_nobody_receives_it() {
    for (kernel, ledger) in records::of_grid(&LEDGER) {
        let row = find(&ledger, "MSG_ZEROCOPY, memory");
        for (sink, copies) in [(Sink::Tcp, 1), (Sink::Veth, 1), (Sink::Udp, 0)] {
            let Some(counted) = value(row, sink, Quantity::Counted) else {
                let is_there = value(row, sink, Quantity::Copies);
                assert_eq!(is_there, Some(&Value::Text("not here".into())), "{kernel}");
                continue;
            };
            assert_eq!(counted, &Value::Count(copies), "{kernel}: {}", sink.name());
        }
    }
}

#[rstest]
#[case("read+write 64 KiB", Sink::Tcp, 2, "rw.copies.tcp")]
#[case("read+write 64 KiB", Sink::Unix, 2, "rw.copies.unix")]
#[case("read+write 64 KiB", Sink::Pipe, 2, "rw.copies.pipe")]
#[case("read+write 64 KiB", Sink::File, 2, "rw.copies.file")]
#[case("mmap+write", Sink::Tcp, 1, "mmap-write.copies.tcp")]
#[case("mmap+write", Sink::Unix, 1, "mmap-write.copies.unix")]
#[case("mmap+write", Sink::Pipe, 1, "mmap-write.copies.pipe")]
#[case("mmap+write", Sink::File, 1, "mmap-write.copies.file")]
#[case("sendfile", Sink::Tcp, 0, "sendfile.copies.tcp")]
#[case("sendfile", Sink::Unix, 0, "sendfile.copies.unix")]
#[case("sendfile", Sink::Pipe, 0, "sendfile.copies.pipe")]
#[case("sendfile", Sink::File, 1, "sendfile.copies.file")]
#[case("splice, pipe 64 KiB", Sink::Tcp, 0, "splice.copies.tcp")]
#[case("splice, pipe 64 KiB", Sink::Unix, 0, "splice.copies.unix")]
#[case("splice, pipe 64 KiB", Sink::Pipe, 0, "splice.copies.pipe")]
#[case("splice, pipe 64 KiB", Sink::File, 0, "splice.copies.file")]
fn the_ledger_says_what_the_claims_say(
    #[case] method: &str,
    #[case] sink: Sink,
    #[case] claimed: u64,
    #[case] claim: &str,
) {
    assert!(
        claims::REGISTRY.find(claim).is_some(),
        "{claim} is no claim"
    );
    for (kernel, ledger) in records::of_grid(&LEDGER) {
        let counted = value(find(&ledger, method), sink, Quantity::Copies);
        let record = recorded::find(kernel).expect("it is recorded");
        let verdict = record.run.find(claim).expect("it is recorded").verdict;
        let holds = counted == Some(&Value::Count(claimed));
        assert_eq!(
            holds,
            verdict == Word::Holds,
            "{kernel}: {claim}, {counted:?} counted"
        );
    }
}

/// Nothing that differs from run to run is recorded.
#[test]
fn a_record_has_what_is_the_same_in_each_run() {
    for (kernel, ledger) in records::of_grid(&LEDGER) {
        for column in ledger.columns() {
            let quantity = Quantity::of_fact(column).expect("a quantity");
            assert!(!quantity.varies(), "{kernel}: {column}");
        }
    }
}

mod host_only {
    use super::{LEDGER, records};
    use conformance::ledger::table;

    #[test]
    fn the_page_has_the_table_of_the_newest_kernel() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/ledger.md");
        let page = std::fs::read_to_string(page).expect("the page");
        let records = records::of_grid(&LEDGER);
        let (_, newest) = records.last().expect("a record");
        let mut block = Vec::new();
        table::document(&mut block, newest, true).expect("a table");
        let block = String::from_utf8(block).expect("UTF-8");
        let table = block.split_once("\n\n").expect("a title").1;
        assert!(
            page.contains(table),
            "the table of docs/ledger.md of the ledger is to be\n{table}"
        );
        let kernel = format!("Linux {}", newest.environment.kernel);
        assert!(page.contains(&kernel), "{kernel}");
    }
}
