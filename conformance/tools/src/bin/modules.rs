//! Draws the modules of a crate for Graphviz, and names its circles on standard error: `modules conformance/src/lib.rs 1`.

#![forbid(unsafe_code)]

use nocopy_tools::{cycles, modules::Graph};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let root = arguments.next();
    let depth = arguments.next().map_or(Ok(1), |depth| depth.parse());
    let (Some(root), Ok(depth)) = (root, depth) else {
        eprintln!("usage: modules ROOT.rs [DEPTH]");
        return ExitCode::from(2);
    };
    let graph = match Graph::read(Path::new(&root)) {
        Ok(graph) => graph,
        Err(error) => {
            eprintln!("modules: {error}");
            return ExitCode::from(2);
        }
    };
    print!("{}", graph.dot(depth));
    let circles = cycles::of_crate(&graph);
    for circle in &circles {
        eprintln!("{circle}");
    }
    ExitCode::from(u8::from(!circles.is_empty()))
}
