//! One JSON document of all runs, for programs.
//!
//! | field | |
//! |---|---|
//! | `schema` | the version of this document, 1 |
//! | `conformance` | the version of the program that wrote it |
//! | `claims` | by id, of each claim that ran and is in this program's registry: `statement`, `method`, `sources`, `interface` |
//! | `runs` | a list: `name`, `environment` and `claims`, which are the lines of the stored form ([`crate::run::jsonl`]) |

#![forbid(unsafe_code)]

use crate::claim::Registry;
use crate::run::record::{Environment, Record};
use crate::run::stored::{Stored, ids};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// The version of the document.
pub const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Document<'run> {
    schema: u32,
    conformance: &'static str,
    claims: BTreeMap<&'static str, About>,
    runs: Vec<Item<'run>>,
}

#[derive(Serialize)]
struct About {
    interface: &'static str,
    statement: &'static str,
    method: &'static str,
    sources: Vec<String>,
}

#[derive(Serialize)]
struct Item<'run> {
    name: &'run str,
    environment: &'run Environment,
    claims: &'run [Record],
}

/// Writes the document.
pub fn write(output: &mut dyn Write, runs: &[Stored], registry: Registry) -> io::Result<()> {
    let about = ids(runs, registry).into_iter().filter_map(|id| {
        let claim = registry.find(&id)?;
        let about = About {
            interface: claim.interface(),
            statement: claim.statement,
            method: claim.method,
            sources: claim.sources.iter().map(ToString::to_string).collect(),
        };
        Some((claim.id, about))
    });
    let document = Document {
        schema: SCHEMA,
        conformance: env!("CARGO_PKG_VERSION"),
        claims: about.collect(),
        runs: runs
            .iter()
            .map(|stored| Item {
                name: &stored.name,
                environment: &stored.run.environment,
                claims: &stored.run.records,
            })
            .collect(),
    };
    serde_json::to_writer_pretty(&mut *output, &document)?;
    writeln!(output)
}
