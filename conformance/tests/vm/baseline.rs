//! `vm run --baseline`: what differs from an earlier run is printed, and is the exit status. And the language of its report.

use super::fake::{Fake, Step, end};
use super::lies::{ASKED, PANIC, PASSED, ends, environment, hello, output, text};
use super::support::{Test, check, conformance, expect_line, red, result};
use conformance::claims::REGISTRY;
use conformance::run::jsonl::Line;
use conformance::run::record::Record;
use conformance::seed::Document;
use conformance::verdict::{Observation, Value, Word};
use libtest_mimic::{Completion, Failed, Trial};
use std::path::PathBuf;
use std::process::{Command, Output};

pub fn trials() -> Vec<Trial> {
    let trial =
        |name: &str, test: fn() -> Test| Trial::ignorable_test(format!("host_only::{name}"), test);
    vec![
        trial("baseline.the-same-is-0", the_same),
        trial("baseline.what-varies-is-0", what_varies),
        trial("baseline.others-than-asked-for-are-0", others),
        trial("baseline.another-fact-is-1", another_fact),
        trial("baseline.another-verdict-is-1", another_verdict),
        trial("baseline.what-it-lacks-is-said", lacking),
        trial("baseline.recorded", recorded),
        trial("baseline.of-a-run-that-broke-off", broke_off),
        trial("baseline.that-is-none.before-a-guest", no_baseline),
        trial("language.of-the-source-document", language),
    ]
}

/// A result with a fact.
fn fact(id: &str, verdict: Word, name: &str, count: u64) -> Record {
    let mut seen = Observation::new();
    seen.push(name, Value::Count(count));
    Record {
        observation: Some(seen),
        ..result(id, verdict)
    }
}

/// The stored form of some results.
fn lines(records: &[Record]) -> Vec<String> {
    let claims = records.iter().cloned().map(Line::Claim);
    let end = Line::End {
        claims: records.len(),
    };
    let all = [environment()].into_iter().chain(claims).chain([end]);
    all.map(|line| text(&line)).collect()
}

/// A guest that reports these results, or says so much and panics.
fn guest(records: &[Record], panics: bool) -> std::io::Result<Fake> {
    let mut said: Vec<Step> = lines(records).iter().map(|line| output(line)).collect();
    let last = if panics {
        said.pop();
        vec![Step::Console(PANIC.into()), Step::Exit(0)]
    } else {
        vec![ends(&end(said.len() as u64 + 1, 0)), PASSED]
    };
    Fake::new(&[&[hello()], &said[..], &last[..]].concat())
}

fn run(fake: &Fake, ids: &[&str]) -> Command {
    let mut command = conformance(&["vm", "run", "--accel", "tcg", "--disks="]);
    for name in ["LC_ALL", "LC_MESSAGES", "LANG"] {
        command.env_remove(name);
    }
    fake.first_for(&mut command)
        .arg("--kernel")
        .arg(format!("mine={}", fake.file("kernel").display()))
        .args(ids.iter().map(|id| format!("--filter=={id}")));
    command
}

/// The run of a guest that reports `now`, compared with a file of `before`.
fn compared(before: &[Record], now: &[Record], panics: bool) -> std::io::Result<Output> {
    let fake = guest(now, panics)?;
    let ids: Vec<&str> = now.iter().map(|record| &*record.id).collect();
    let file: PathBuf = fake.file("before.jsonl");
    std::fs::write(&file, lines(before).concat())?;
    run(&fake, &ids).arg("--baseline").arg(&file).output()
}

/// The exit status, and what the report says and does not say.
fn says(output: &Output, status: i32, parts: &[&str], not: &str) -> Test {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    check(output.status.code() == Some(status), || {
        format!("{output:?}")
    })?;
    for part in parts {
        check(said.contains(part), || format!("no `{part}` in {said}"))?;
    }
    check(!said.contains(not), || format!("`{not}` in {said}"))?;
    Ok(Completion::Completed)
}

const HEADING: &str = "before (Linux 5.10.0-1-test) -> mine (Linux 5.10.0-1-test)";

fn the_same() -> Test {
    let both = ASKED.map(|id| fact(id, Word::Holds, "a fact", 1));
    let output = compared(&both, &both, false)?;
    says(&output, 0, &["2 hold", HEADING, "no difference"], "only in")
}

/// A fact that the claim declares as varying.
fn what_varies() -> Test {
    let varies = REGISTRY.all().find(|claim| !claim.varies.is_empty());
    let claim = varies.ok_or("no claim has a fact that varies")?;
    let of = |count| [fact(claim.id, Word::Holds, claim.varies[0], count)];
    let output = compared(&of(1), &of(2), false)?;
    says(&output, 0, &["no difference"], " -> 2")
}

fn others() -> Test {
    let before = ASKED.map(|id| result(id, Word::Holds));
    let output = compared(&before, &before[..1], false)?;
    says(&output, 0, &["no difference"], ASKED[1])
}

fn another_fact() -> Test {
    let of = |count| [fact(ASKED[0], Word::Holds, "a fact", count)];
    let output = compared(&of(1), &of(2), false)?;
    let parts = [
        "1 claim, with the same verdict and other facts",
        "a fact: 1 -> 2",
    ];
    says(&output, 1, &parts, "no difference")
}

fn another_verdict() -> Test {
    let of = |verdict| [result(ASKED[0], verdict)];
    let output = compared(&of(Word::Holds), &of(Word::Refuted), false)?;
    let words = format!("{}  holds -> refuted", ASKED[0]);
    says(
        &output,
        1,
        &["with another verdict", &words],
        "no difference",
    )
}

fn lacking() -> Test {
    let now = ASKED.map(|id| result(id, Word::Holds));
    let output = compared(&now[..1], &now, false)?;
    let parts = ["1 claim, only in mine", ASKED[1]];
    says(&output, 1, &parts, "no difference")
}

/// The record of 5.10, against the same results and against other ones.
fn recorded() -> Test {
    let known = conformance::run::recorded::find("5.10").ok_or("no record")?;
    let known = known.run.find(ASKED[0]).ok_or("no result")?;
    let other = match known.verdict {
        Word::Holds => Word::Refuted,
        _ => Word::Holds,
    };
    for (verdict, status, part) in [
        (known.verdict, 0, "no difference"),
        (other, 1, "with another verdict"),
    ] {
        let now = Record {
            verdict,
            ..known.clone()
        };
        let fake = guest(&[now], false)?;
        let output = run(&fake, &[ASKED[0]])
            .args(["--baseline", "recorded:5.10"])
            .output()?;
        says(&output, status, &["5.10 (Linux 5.10.", part], "only in")?;
    }
    Ok(Completion::Completed)
}

/// Results that did not come are no difference: the reason is why it is red.
fn broke_off() -> Test {
    let both = ASKED.map(|id| result(id, Word::Holds));
    let output = compared(&both, &both, true)?;
    red(&output, &["without an end marker"])?;
    says(&output, 1, &["not compared with before"], HEADING)
}

fn no_baseline() -> Test {
    let fake = Fake::new(&[])?;
    let file = fake.file("before.jsonl");
    std::fs::write(&file, lines(&[result(ASKED[0], Word::Holds)]).concat())?;
    let file = file.to_str().ok_or("not UTF-8")?.to_owned();
    for (more, parts) in [
        (
            &["--baseline", "recorded:nosuch"][..],
            &["no record is of `nosuch`", "6.1"][..],
        ),
        (
            &["--baseline", "nosuch"],
            &["`nosuch` is neither a file nor a kernel"],
        ),
        (&["--baseline", "/etc/passwd"], &["/etc/passwd: line 1"]),
        (&["--baseline", &file], &["none of the selected claims"]),
        (
            &["--baseline", &file, "--output", &file],
            &["--output would replace"],
        ),
    ] {
        let output = run(&fake, &[ASKED[1]]).args(more).output()?;
        expect_line(&output, parts)?;
    }
    let kept = std::fs::read_to_string(&file)?;
    check(
        kept == lines(&[result(ASKED[0], Word::Holds)]).concat(),
        || kept,
    )?;
    Ok(Completion::Completed)
}

/// The same rules as `check`: `--language`, or the locale.
fn language() -> Test {
    let document = Document::load();
    let claim = REGISTRY.all().find(|claim| document.is_decided_by(claim));
    let claim = claim.ok_or("no claim decides the document")?;
    let report = |variable: Option<&str>, options: &[&str]| -> Result<String, Failed> {
        let fake = guest(&[result(claim.id, Word::Holds)], false)?;
        let mut command = run(&fake, &[claim.id]);
        command.args(["--source", "seed"]).args(options);
        command.envs(variable.map(|locale| ("LANG", locale)));
        let output = command.output()?;
        check(output.status.success(), || format!("{output:?}"))?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for (variable, options, is_chinese) in [
        (None, &[][..], false),
        (None, &["--language", "zh"][..], true),
        (Some("zh_CN.UTF-8"), &[], true),
        (Some("zh_CN.UTF-8"), &["--language", "en"], false),
    ] {
        let said = report(variable, options)?;
        let has_chinese = said.chars().any(|letter| letter >= '\u{4e00}');
        check(has_chinese == is_chinese, || {
            format!("{variable:?} {options:?}: {said}")
        })?;
    }
    // Without the document there is nothing to translate.
    let fake = Fake::new(&[])?;
    let output = run(&fake, &[claim.id])
        .args(["--language", "zh"])
        .output()?;
    expect_line(&output, &["--language", "--source seed"])
}
