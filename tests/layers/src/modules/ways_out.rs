//! Which paths of a crate lead out of it.

use std::collections::BTreeSet;

use super::{Crate, Module, ROOT};
use crate::source::Brings;

/// One file's use of what another crate defines, or the standard library.
#[derive(Debug)]
pub(crate) struct WayOut {
    pub(crate) from: usize,
    pub(crate) line: usize,
    /// The path as it is written there, braces resolved.
    pub(crate) path: String,
    /// The path from the other crate on. What is in `core` or `alloc` is in `std` here.
    pub(crate) to: String,
    /// The file whose words leave the crate: another one, where the path goes by its re-export.
    pub(crate) by: usize,
}

/// Where a path leads.
#[derive(Clone, Debug)]
enum End {
    Module(usize),
    /// Out of the crate.
    Outside {
        path: Vec<String>,
        /// The module whose words say so.
        by: usize,
    },
}

/// What a name is in a module.
#[derive(Debug, Default)]
struct Meaning {
    ends: Vec<End>,
    /// Whether the crate says what it is: if not, it may be another crate's name.
    is_declared: bool,
}

/// The names and stars that are being looked up, so that those that lead in a circle come to an end.
type Seen = BTreeSet<(usize, String)>;

impl Crate {
    /// All paths that lead out of the crate, or may: a name that nobody declares is taken for another
    /// crate's, such as that of a type which needs no import.
    pub(crate) fn ways_out(&self) -> Vec<WayOut> {
        let mut ways = Vec::new();
        for (number, module) in self.modules.iter().enumerate() {
            let Module { file, said, .. } = module;
            let mut add = |line: usize, path: &str, ends: Vec<End>| {
                ways.extend(ends.into_iter().filter_map(|end| {
                    let End::Outside { path: to, by } = end else {
                        return None;
                    };
                    Some(WayOut {
                        from: *file,
                        line,
                        path: path.to_owned(),
                        to: written(&to),
                        by: self.modules[by].file,
                    })
                }));
            };
            for declared in &said.uses {
                let mut path = declared.path.join("::");
                let mut ends = self.ends(number, &declared.path, &mut Seen::new());
                if declared.brings == Brings::All {
                    path += "::*";
                    let names = said.names.iter().filter(|name| !module.declares(name));
                    let brought = names.flat_map(|name| self.all_below(&ends, name));
                    ends = ends.iter().cloned().chain(brought).collect();
                }
                add(declared.line, &path, ends);
            }
            for mention in &said.mentions {
                let ends = self.ends(number, &mention.path, &mut Seen::new());
                add(mention.line, &mention.path.join("::"), ends);
            }
        }
        ways.sort_by_key(|way| (way.from, way.line));
        ways
    }

    /// Where a path in a module leads to: nowhere, if it ends at what the crate itself defines.
    fn ends(&self, module: usize, path: &[String], seen: &mut Seen) -> Vec<End> {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        let outside = |path: &[String]| End::Outside {
            path: path.to_vec(),
            by: module,
        };
        let first = match &**first {
            "crate" => vec![End::Module(ROOT)],
            "self" => vec![End::Module(module)],
            "super" => self.above(module),
            "" => return vec![outside(rest)],
            name => {
                let Meaning {
                    mut ends,
                    is_declared,
                } = self.meaning(module, name, seen);
                if !is_declared {
                    ends.push(outside(&path[..1]));
                }
                ends
            }
        };
        rest.iter().fold(first, |ends, name| {
            let below = ends.iter().map(|end| self.below(end, name, seen));
            below.flatten().collect()
        })
    }

    fn all_below(&self, ends: &[End], name: &str) -> Vec<End> {
        let mut seen = Seen::new();
        let below = ends.iter().map(|end| self.below(end, name, &mut seen));
        below.flatten().collect()
    }

    /// What `name` is within what a path leads to.
    fn below(&self, end: &End, name: &str, seen: &mut Seen) -> Vec<End> {
        match end {
            End::Module(module) if name == "super" => self.above(*module),
            End::Module(module) => self.meaning(*module, name, seen).ends,
            End::Outside { path, by } => {
                let mut path = path.clone();
                path.push(name.to_owned());
                vec![End::Outside { path, by: *by }]
            }
        }
    }

    fn above(&self, module: usize) -> Vec<End> {
        let parent = self.modules[module].parent;
        parent.map(End::Module).into_iter().collect()
    }

    fn meaning(&self, module: usize, name: &str, seen: &mut Seen) -> Meaning {
        // What `use log;` brings is no `log` of this module's.
        if !seen.insert((module, name.to_owned())) {
            return Meaning::default();
        }
        let at = &self.modules[module];
        let mut meaning = Meaning {
            ends: Vec::new(),
            is_declared: at.declares(name),
        };
        let child = at.children.get(name).copied();
        meaning.ends.extend(child.map(End::Module));
        for declared in &at.said.uses {
            match &declared.brings {
                Brings::Name(brought) if brought == name => {
                    let ends = self.ends(module, &declared.path, seen);
                    meaning.ends.extend(ends);
                }
                Brings::All if !at.declares(name) => {
                    // No star brings the name that its own path begins with.
                    let star = (module, declared.path.join("::") + "::*");
                    if !seen.insert(star.clone()) {
                        continue;
                    }
                    let ends = self.ends(module, &declared.path, seen);
                    seen.remove(&star);
                    for end in ends {
                        if let End::Module(within) = end {
                            let brought = self.meaning(within, name, seen);
                            meaning.is_declared |= brought.is_declared;
                            meaning.ends.extend(brought.ends);
                        } else {
                            meaning.ends.extend(self.below(&end, name, seen));
                        }
                    }
                }
                _ => {}
            }
        }
        seen.remove(&(module, name.to_owned()));
        meaning
    }
}

impl Module {
    /// Whether the module itself says what a name is, other than by `use …::*`.
    fn declares(&self, name: &str) -> bool {
        let mut uses = self.said.uses.iter();
        self.children.contains_key(name)
            || self.said.defined.contains(name)
            || uses.any(
                |declared| matches!(&declared.brings, Brings::Name(brought) if brought == name),
            )
    }
}

fn written(path: &[String]) -> String {
    let path = path.join("::");
    let (first, rest) = path.split_once("::").unwrap_or((&path, ""));
    match first {
        "core" | "alloc" if !rest.is_empty() => format!("std::{rest}"),
        _ => path,
    }
}
