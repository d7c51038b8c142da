//! Which file of a package names something of which other file.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use syn::ext::IdentExt as _;
use syn::visit::{self, Visit};

/// A module that has a file of its own, as its path in the crate: empty for the root.
pub type Module = Vec<String>;

/// The modules of one crate and the arrows between them.
#[derive(Debug, Default)]
pub struct Graph {
    /// Each module with its file.
    pub files: BTreeMap<Module, PathBuf>,
    /// Each module with those whose items it names.
    pub arrows: BTreeMap<Module, BTreeSet<Module>>,
}

impl Graph {
    /// Reads a crate from its root file.
    pub fn read(root: &Path) -> Result<Self, String> {
        let mut graph = Self::default();
        let mut parsed = BTreeMap::new();
        graph.find(root, Vec::new(), &mut parsed)?;
        for (module, file) in &parsed {
            let mut names = Names {
                graph: &graph,
                module,
                inline: Vec::new(),
                found: BTreeSet::new(),
            };
            names.visit_file(file);
            let mut found = names.found;
            found.remove(module);
            graph.arrows.insert(module.clone(), found);
        }
        Ok(graph)
    }

    fn find(
        &mut self,
        path: &Path,
        module: Module,
        parsed: &mut BTreeMap<Module, syn::File>,
    ) -> Result<(), String> {
        let text =
            fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file =
            syn::parse_file(&text).map_err(|error| format!("{}: {error}", path.display()))?;
        let is_root = module.is_empty();
        let directory = path.parent().unwrap_or(Path::new("."));
        let stem = path.file_stem().unwrap_or_default();
        let below = if is_root || stem == "mod" {
            directory.to_owned()
        } else {
            directory.join(stem)
        };
        for item in &file.items {
            let syn::Item::Mod(child) = item else {
                continue;
            };
            if child.content.is_some() || is_for_tests(&child.attrs) {
                continue;
            }
            let name = child.ident.unraw().to_string();
            let places = [
                below.join(format!("{name}.rs")),
                below.join(&name).join("mod.rs"),
            ];
            let found = places.into_iter().find(|place| place.exists());
            let found = found
                .ok_or_else(|| format!("{}: the module {name} has no file", path.display()))?;
            let mut inner = module.clone();
            inner.push(name);
            self.find(&found, inner, parsed)?;
        }
        self.files.insert(module.clone(), path.to_owned());
        parsed.insert(module, file);
        Ok(())
    }

    /// The module with a file that a path leads to, from a module: the deepest one.
    fn resolve(&self, from: &[String], inline: usize, path: &[String]) -> Option<Module> {
        let mut at = match path.first()?.as_str() {
            "crate" => Vec::new(),
            "self" => from.to_vec(),
            // Out of a module inside the file, that is the file.
            "super" if inline > 0 => from.to_vec(),
            "super" => from.split_last()?.1.to_vec(),
            first => {
                let mut child = from.to_vec();
                child.push(first.to_owned());
                if !self.files.contains_key(&child) {
                    return None;
                }
                child
            }
        };
        for name in &path[1..] {
            if name == "super" {
                at.pop()?;
                continue;
            }
            at.push(name.clone());
            if !self.files.contains_key(&at) {
                at.pop();
                break;
            }
        }
        Some(at)
    }

    /// As a drawing for Graphviz: `dot -Tsvg`.
    pub fn dot(&self, depth: usize) -> String {
        let name = |module: &Module| {
            let shown = module.iter().take(depth).cloned().collect::<Vec<_>>();
            if shown.is_empty() {
                "the crate's root".to_owned()
            } else {
                shown.join("::")
            }
        };
        let mut lines = BTreeSet::new();
        for (from, all) in &self.arrows {
            for to in all {
                let (from, to) = (name(from), name(to));
                if from != to {
                    lines.insert(format!("  \"{from}\" -> \"{to}\";"));
                }
            }
        }
        let lines: Vec<String> = lines.into_iter().collect();
        format!("digraph modules {{\n{}\n}}\n", lines.join("\n"))
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute
                .parse_args::<syn::Path>()
                .is_ok_and(|what| what.is_ident("test"))
    })
}

/// Collects the modules that a file names.
struct Names<'graph> {
    graph: &'graph Graph,
    module: &'graph Module,
    /// The modules inside the file that are open.
    inline: Vec<String>,
    found: BTreeSet<Module>,
}

impl Names<'_> {
    fn note(&mut self, path: &[String]) {
        let inline = self.inline.len();
        if let Some(module) = self.graph.resolve(self.module, inline, path) {
            self.found.insert(module);
        }
    }

    fn uses(&mut self, before: &[String], tree: &syn::UseTree) {
        let with = |name: &syn::Ident| {
            let mut path = before.to_vec();
            path.push(name.to_string());
            path
        };
        match tree {
            syn::UseTree::Path(path) => self.uses(&with(&path.ident), &path.tree),
            // `use self::x::{self}` is of x.
            syn::UseTree::Name(name) if name.ident == "self" => self.note(before),
            syn::UseTree::Name(name) => self.note(&with(&name.ident)),
            syn::UseTree::Rename(name) => self.note(&with(&name.ident)),
            syn::UseTree::Glob(_) => self.note(before),
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.uses(before, tree);
                }
            }
        }
    }

    /// The paths in what a macro is given, which is not parsed.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons != 2 {
                        self.note(&path);
                        path.clear();
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' => colons += 1,
                other => {
                    self.note(&path);
                    path.clear();
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.note(&path);
    }
}

impl<'ast> Visit<'ast> for Names<'_> {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        if is_for_tests(&module.attrs) {
            return;
        }
        if module.content.is_some() {
            self.inline.push(module.ident.unraw().to_string());
            visit::visit_item_mod(self, module);
            self.inline.pop();
        }
    }

    fn visit_item_use(&mut self, declaration: &'ast syn::ItemUse) {
        self.uses(&[], &declaration.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let names: Vec<String> = path
                .segments
                .iter()
                .map(|segment| segment.ident.unraw().to_string())
                .collect();
            self.note(&names);
        }
        visit::visit_path(self, path);
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {
        // `pub(in crate::x)` and `pub(super)` name no item.
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        self.visit_path(&invocation.path);
        self.tokens(invocation.tokens.clone());
    }

    fn visit_item_macro(&mut self, definition: &'ast syn::ItemMacro) {
        self.tokens(definition.mac.tokens.clone());
    }
}
