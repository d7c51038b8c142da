//! Circles in a graph.

use crate::modules::{Graph, Module};
use std::collections::{BTreeMap, BTreeSet};

/// The strongly connected parts of a graph that have more than one member.
pub fn circles<Node: Ord + Clone>(arrows: &BTreeMap<Node, BTreeSet<Node>>) -> Vec<Vec<Node>> {
    let nodes: BTreeSet<&Node> = arrows
        .iter()
        .flat_map(|(from, to)| std::iter::once(from).chain(to))
        .collect();
    let reached: BTreeMap<&Node, BTreeSet<&Node>> = nodes
        .iter()
        .map(|node| (*node, reach(arrows, node)))
        .collect();
    let mut circles: Vec<Vec<Node>> = Vec::new();
    for node in nodes {
        if circles.iter().any(|circle| circle.contains(node)) {
            continue;
        }
        let others = reached[node].iter().copied();
        let circle: Vec<Node> = others
            .filter(|other| reached[other].contains(node))
            .cloned()
            .collect();
        if circle.len() > 1 {
            circles.push(circle);
        }
    }
    circles
}

fn reach<'graph, Node: Ord>(
    arrows: &'graph BTreeMap<Node, BTreeSet<Node>>,
    from: &Node,
) -> BTreeSet<&'graph Node> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Node> = arrows.get(from).into_iter().flatten().collect();
    while let Some(node) = open.pop() {
        if reached.insert(node) {
            open.extend(arrows.get(node).into_iter().flatten());
        }
    }
    reached
}

/// Circles of files, and of modules that stand beside each other, as sentences.
pub fn of_crate(graph: &Graph) -> Vec<String> {
    let shown = |module: &Module| {
        let file = graph.files.get(module);
        file.map_or_else(|| module.join("::"), |file| file.display().to_string())
    };
    let mut found = Vec::new();
    for circle in circles(&graph.arrows) {
        let names: Vec<String> = circle.iter().map(shown).collect();
        found.push(format!("files: {}", names.join(", ")));
        for from in &circle {
            for to in graph.arrows[from].iter().filter(|to| circle.contains(to)) {
                found.push(format!("    {} -> {}", shown(from), shown(to)));
            }
        }
    }
    let parents: BTreeSet<Module> = graph
        .files
        .keys()
        .filter_map(|module| Some(module.split_last()?.1.to_vec()))
        .collect();
    for parent in parents {
        let child = |module: &Module| {
            let name = module.strip_prefix(parent.as_slice())?.first()?;
            Some(name.clone())
        };
        let mut arrows: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (from, all) in &graph.arrows {
            for to in all {
                if let (Some(from), Some(to)) = (child(from), child(to))
                    && from != to
                {
                    arrows.entry(from).or_default().insert(to);
                }
            }
        }
        for circle in circles(&arrows) {
            let within = if parent.is_empty() {
                "the crate".to_owned()
            } else {
                parent.join("::")
            };
            found.push(format!("modules of {within}: {}", circle.join(", ")));
            for (from, all) in &graph.arrows {
                for to in all {
                    if let (Some(a), Some(b)) = (child(from), child(to))
                        && a != b
                        && circle.contains(&a)
                        && circle.contains(&b)
                    {
                        found.push(format!("    {} -> {}", shown(from), shown(to)));
                    }
                }
            }
        }
    }
    found
}
