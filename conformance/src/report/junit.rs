//! `JUnit` XML, as read by the test reports of GitHub and GitLab and as defined by Jenkins' schema.
//!
//! | element | meaning |
//! |---|---|
//! | `testsuite` | a kernel; its properties are the environment and, as `verdict of ID`, every verdict |
//! | `testcase` | a claim, whose `classname` is kernel and interface |
//! | `failure` | a red result: broken, timed out, not reached, and, if requested, changed and untestable |
//! | `skipped` | untestable, with the reason |
//! | `system-out` | verdict and judgement, and what the kernel did |
//!
//! A refuted claim is not a failure: the experiment worked, and the sentence is false.

#![forbid(unsafe_code)]

use crate::run::record::{Record, Run};
use crate::run::red::Strictness;
use crate::run::stored::Stored;
use crate::run::text::one_line;
use crate::verdict::Word;
use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesText, Event};
use std::io::{self, Write};

type Xml = Writer<Vec<u8>>;

/// Writes the report.
pub fn write(output: &mut dyn Write, runs: &[Stored], strictness: &Strictness) -> io::Result<()> {
    let mut xml = Writer::new_with_indent(Vec::new(), b' ', 2);
    xml.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let sum = |count: &dyn Fn(&Run) -> usize| -> String {
        let counts = runs.iter().map(|stored| count(&stored.run));
        counts.sum::<usize>().to_string()
    };
    let tests = sum(&|run| run.records.len());
    let failed = sum(&|run| failures(run, strictness));
    xml.create_element("testsuites")
        .with_attribute(("name", "conformance"))
        .with_attribute(("tests", tests.as_str()))
        .with_attribute(("failures", failed.as_str()))
        .with_attribute(("errors", "0"))
        .write_inner_content(|xml| runs.iter().try_for_each(|stored| suite(xml, stored, strictness)))?;
    output.write_all(&xml.into_inner())?;
    writeln!(output)
}

fn failures(run: &Run, strictness: &Strictness) -> usize {
    let failed = run.records.iter();
    failed.filter(|record| run.fails(record, strictness)).count()
}

/// The untestable results that are not failures.
fn skipped(run: &Run, strictness: &Strictness) -> usize {
    let untestable =
        run.records.iter().filter(|record| record.verdict == Word::Untestable && !run.fails(record, strictness));
    untestable.count()
}

fn suite(xml: &mut Xml, stored: &Stored, strictness: &Strictness) -> io::Result<()> {
    let records = &stored.run.records;
    let milliseconds = records.iter().map(|record| record.milliseconds).sum();
    xml.create_element("testsuite")
        .with_attribute(("name", clean(&stored.name).as_str()))
        .with_attribute(("tests", records.len().to_string().as_str()))
        .with_attribute(("failures", failures(&stored.run, strictness).to_string().as_str()))
        .with_attribute(("errors", "0"))
        .with_attribute(("skipped", skipped(&stored.run, strictness).to_string().as_str()))
        .with_attribute(("time", seconds(milliseconds).as_str()))
        .write_inner_content(|xml| {
            properties(xml, stored)?;
            records.iter().try_for_each(|record| case(xml, stored, record, strictness))
        })?;
    Ok(())
}

/// In the schema, only suites have properties.
fn properties(xml: &mut Xml, stored: &Stored) -> io::Result<()> {
    let environment = &stored.run.environment;
    let mut all = vec![
        ("kernel".to_owned(), environment.kernel.clone()),
        ("machine".to_owned(), environment.machine.clone()),
        ("uid".to_owned(), environment.uid.to_string()),
        ("conformance".to_owned(), environment.conformance.clone()),
    ];
    all.extend(environment.config.iter().cloned());
    let verdicts = stored.run.records.iter();
    all.extend(verdicts.map(|record| (format!("verdict of {}", record.id), record.words())));
    xml.create_element("properties").write_inner_content(|xml| {
        for (name, value) in &all {
            xml.create_element("property")
                .with_attribute(("name", clean(name).as_str()))
                .with_attribute(("value", clean(value).as_str()))
                .write_empty()?;
        }
        Ok(())
    })?;
    Ok(())
}

fn case(xml: &mut Xml, stored: &Stored, record: &Record, strictness: &Strictness) -> io::Result<()> {
    let happened = clean(&record.what_happened());
    let class = clean(&format!("{}/{}", stored.name, record.interface()));
    xml.create_element("testcase")
        .with_attribute(("name", clean(&record.id).as_str()))
        .with_attribute(("classname", class.as_str()))
        .with_attribute(("time", seconds(record.milliseconds).as_str()))
        .write_inner_content(|xml| {
            if stored.run.fails(record, strictness) {
                xml.create_element("failure")
                    .with_attribute(("type", failure_type(record)))
                    .with_attribute(("message", happened.as_str()))
                    .write_empty()?;
            } else if record.verdict == Word::Untestable {
                xml.create_element("skipped").with_attribute(("message", happened.as_str())).write_empty()?;
            }
            let said = format!("{}: {happened}", record.words());
            xml.create_element("system-out").write_text_content(BytesText::new(&said))?;
            Ok(())
        })?;
    Ok(())
}

fn failure_type(record: &Record) -> &'static str {
    match record.verdict {
        Word::Holds | Word::Refuted => "changed",
        other => other.text(),
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

/// The text in one line, without characters that XML does not allow.
fn clean(text: &str) -> String {
    one_line(text).replace(['\u{fffe}', '\u{ffff}'], "\u{fffd}")
}
