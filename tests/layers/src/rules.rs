//! What a plan can ask of a crate, and which imports break it.

use std::collections::BTreeSet;
use std::fmt;

use crate::loops::{self, Graph};
use crate::modules::{Crate, File, Import, WayOut};

/// How the modules of a crate are to stand to each other.
///
/// A module is named by its path without the crate, such as `core::session`, and stands for all modules
/// below it too, where these are not named themselves. The file `lib.rs` is `crate`.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// The folder of its `lib.rs`, from the root of the repository.
    pub(crate) source: &'static str,
    /// From the lowest to the highest. Each module is in one of them.
    pub(crate) layers: &'static [Layer],
    pub(crate) rules: &'static [Rule],
}

/// Modules that stand on the same height.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) name: &'static str,
    pub(crate) modules: &'static [&'static str],
}

/// Something that is asked of all imports, or of all paths that lead out of the crate, but a few.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) asks: Asks,
    pub(crate) except: &'static [Exception],
}

/// What a rule asks.
#[derive(Debug)]
pub(crate) enum Asks {
    /// An import goes to its own layer or to a lower one, and passes no higher one on its way: what
    /// `lib.rs` brings together, for example, is for users, and inside the crate everything is imported
    /// from where it is defined.
    Downwards,
    /// No files import each other in a loop, except for a module and the modules below it; and there the
    /// loop is broken where the module itself is taken away.
    NoLoops,
    /// The modules directly below this one do not import each other.
    Apart(&'static str),
    /// `by` may import each module `of` itself, but none below it: the trait, and no implementation.
    OnlyTheFace {
        of: &'static [&'static str],
        by: &'static [&'static str],
    },
    /// `by` imports nothing of the modules `of`.
    Without {
        of: &'static [&'static str],
        by: &'static [&'static str],
    },
    /// `by` names none of these paths, which lead out of the crate, nor what is below them: neither in
    /// its own words nor by a re-export of another module. They are written as they lead, from the other
    /// crate on, such as `std::sync`, and stand for `core::sync` and `alloc::sync` too.
    NoneOf {
        /// What they are, in a word.
        what: &'static str,
        paths: &'static [&'static str],
        by: &'static [&'static str],
    },
    /// These paths, which lead out of the crate, and what is below them are named in `by` alone. What it
    /// makes of them is for others too, and so are its re-exports.
    OnlyIn {
        /// What they are, in a word.
        what: &'static str,
        paths: &'static [&'static str],
        /// Where nothing is in it, the crate does without them.
        by: &'static [&'static str],
    },
}

/// Imports that a rule lets pass.
#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) from: &'static str,
    /// A module, or a path out of the crate where the rule is about those.
    pub(crate) to: &'static str,
    /// The reason.
    pub(crate) because: &'static str,
}

impl Plan {
    /// The number of a file's layer, the lowest first: that of the closest module that is named.
    pub(crate) fn height(&self, file: &File) -> Option<usize> {
        let named = self.layers.iter().enumerate().flat_map(|(height, layer)| {
            layer
                .modules
                .iter()
                .map(move |module| (module.len(), module, height))
        });
        let closest = named.filter(|(_, module, _)| covers(module, &file.module));
        closest.max().map(|(_, _, height)| height)
    }
}

/// Whether a module, or path, of the plan stands for this one: itself, or one above it.
pub(crate) fn covers(module: &str, file: &str) -> bool {
    let below = file.strip_prefix(module);
    below.is_some_and(|below| below.is_empty() || below.starts_with("::"))
}

impl Exception {
    fn lets_pass(&self, from: &File, to: &File) -> bool {
        covers(self.from, &from.module) && covers(self.to, &to.module)
    }

    fn lets_out(&self, from: &File, to: &str) -> bool {
        covers(self.from, &from.module) && covers(self.to, to)
    }

    pub(crate) fn is_not_needed(&self, rule: &Rule) -> String {
        let Self { from, to, because } = self;
        let asks = &rule.asks;
        format!(
            "the exception from `{from}` to `{to}` (\"{because}\") is not needed any more\n    rule: {asks}"
        )
    }
}

impl Rule {
    /// What breaks the rule, where all exceptions but one are made.
    pub(crate) fn broken(
        &self,
        plan: &Plan,
        on: &Crate,
        imports: &[Import],
        ways: &[WayOut],
        but: Option<usize>,
    ) -> Vec<String> {
        let exceptions = self.except.iter().enumerate();
        let exceptions: Vec<&Exception> = exceptions
            .filter(|(number, _)| Some(*number) != but)
            .map(|(_, exception)| exception)
            .collect();
        let counts = |import: &&Import| {
            let (from, to) = (&on.files()[import.from], &on.files()[import.to]);
            !exceptions
                .iter()
                .any(|exception| exception.lets_pass(from, to))
        };
        let imports: Vec<&Import> = imports.iter().filter(counts).collect();
        match self.asks {
            Asks::NoLoops => return self.loops(on, &imports),
            Asks::NoneOf { .. } | Asks::OnlyIn { .. } => {
                let counts = |way: &&WayOut| {
                    let from = &on.files()[way.from];
                    !exceptions
                        .iter()
                        .any(|exception| exception.lets_out(from, &way.to))
                };
                return self.ways_out(on, ways.iter().filter(counts));
            }
            _ => {}
        }
        let breaks = |import: &&Import| {
            let why = self.broken_by(plan, on, import)?;
            Some(format!(
                "{}\n    {why}\n    rule: {}",
                shown(on, import),
                self.asks
            ))
        };
        imports.iter().filter_map(breaks).collect()
    }

    /// Why an import breaks the rule by itself, if it does.
    fn broken_by(&self, plan: &Plan, on: &Crate, import: &Import) -> Option<String> {
        let (from, to) = (&on.files()[import.from], &on.files()[import.to]);
        let (here, there) = (&from.module, &to.module);
        match self.asks {
            Asks::Downwards => {
                let (low, high) = (plan.height(from)?, plan.height(to)?);
                let name = |height: usize| plan.layers[height].name;
                (low < high).then(|| {
                    let (low, high) = (name(low), name(high));
                    format!("`{here}` in layer \"{low}\" is below `{there}` in layer \"{high}\"")
                })
            }
            Asks::NoLoops | Asks::NoneOf { .. } | Asks::OnlyIn { .. } => None,
            Asks::Apart(parent) => {
                let (one, other) = (child_of(parent, here)?, child_of(parent, there)?);
                (one != other).then(|| format!("`{one}` and `{other}` are both below `{parent}`"))
            }
            Asks::OnlyTheFace { of, by } => {
                by.iter().find(|by| covers(by, here))?;
                let face = of.iter().find(|face| child_of(face, there).is_some())?;
                Some(format!(
                    "`{there}` is below `{face}`, and no part of its face"
                ))
            }
            Asks::Without { of, by } => {
                by.iter().find(|by| covers(by, here))?;
                let of = of.iter().find(|of| covers(of, there))?;
                Some(format!("`{here}` is to do without `{of}`"))
            }
        }
    }

    /// What is asked for where paths lead out of the crate to what their file may not name.
    fn ways_out<'a>(&self, on: &Crate, ways: impl Iterator<Item = &'a WayOut>) -> Vec<String> {
        let breaks = |way: &'a WayOut| Some((way, self.broken_out_by(on, way)?));
        let broken: Vec<(&WayOut, &str)> = ways.filter_map(breaks).collect();
        // Of a name and what follows from it in the same file, the name is enough.
        let is_told_by = |way: &WayOut, other: &WayOut| {
            other.from == way.from && other.to != way.to && covers(&other.to, &way.to)
        };
        let told = broken
            .iter()
            .filter(|(way, _)| !broken.iter().any(|(other, _)| is_told_by(way, other)));
        told.map(|(way, path)| {
            let here = &on.files()[way.from].module;
            format!(
                "{}\n    `{here}` may not name `{path}`\n    rule: {}",
                shown_out(on, way),
                self.asks
            )
        })
        .collect()
    }

    /// The path of the rule that a file may not name and does, if it does.
    fn broken_out_by(&self, on: &Crate, way: &WayOut) -> Option<&'static str> {
        let here = &on.files()[way.from].module;
        let (paths, is_meant) = match self.asks {
            Asks::NoneOf { paths, by, .. } => (paths, by.iter().any(|by| covers(by, here))),
            Asks::OnlyIn { paths, by, .. } => {
                let is_direct = way.by == way.from;
                (paths, is_direct && !by.iter().any(|by| covers(by, here)))
            }
            _ => return None,
        };
        let path = paths.iter().find(|path| covers(path, &way.to));
        path.copied().filter(|_| is_meant)
    }

    /// What is asked for where the loops are larger than they may be.
    fn loops(&self, on: &Crate, imports: &[&Import]) -> Vec<String> {
        let graph = graph(imports.iter().copied());
        let mut broken = Vec::new();
        let mut left = loops::largest(&graph);
        while let Some(members) = left.pop() {
            let within = loops::among(&graph, &members);
            if let Some(above) = above_all(on, &members) {
                let below = &members - &BTreeSet::from([above]);
                left.extend(loops::largest(&loops::among(&within, &below)));
            } else {
                broken.push(self.told_loop(on, imports, &within));
            }
        }
        broken
    }

    fn told_loop(&self, on: &Crate, imports: &[&Import], within: &Graph) -> String {
        let ways = within
            .keys()
            .filter_map(|&file| loops::shortest_through(within, file));
        let is_too_large = |way: &Vec<usize>| {
            let members = way.iter().copied().collect();
            above_all(on, &members).is_none()
        };
        let modules = within.keys().map(|file| &*on.files()[*file].module);
        let modules: Vec<&str> = modules.collect();
        let mut told = match modules.len() {
            2 => "a loop:".to_owned(),
            all => format!("a loop, one of {all} files: {}", modules.join(", ")),
        };
        // Where each file by itself has a short way back that is allowed, all imports tell the loop.
        let edges: Vec<(usize, usize)> = match ways.filter(is_too_large).min_by_key(Vec::len) {
            Some(way) => {
                let next = way.iter().copied().cycle().skip(1);
                way.iter().copied().zip(next).collect()
            }
            None => {
                let each = within.iter();
                each.flat_map(|(from, to)| to.iter().map(|to| (*from, *to)))
                    .collect()
            }
        };
        for edge in edges {
            let import = imports
                .iter()
                .find(|import| !import.is_passing && (import.from, import.to) == edge);
            if let Some(import) = import {
                told = format!("{told}\n{}", shown(on, import));
            }
        }
        format!("{told}\n    rule: {}", self.asks)
    }

    /// All modules that the rule names.
    pub(crate) fn modules(&self) -> Vec<&'static str> {
        let mut modules = match self.asks {
            Asks::Downwards | Asks::NoLoops => Vec::new(),
            Asks::Apart(parent) => vec![parent],
            Asks::OnlyTheFace { of, by } | Asks::Without { of, by } => [of, by].concat(),
            Asks::NoneOf { by, .. } | Asks::OnlyIn { by, .. } => {
                let from = self.except.iter().map(|except| except.from);
                return by.iter().copied().chain(from).collect();
            }
        };
        modules.extend(
            self.except
                .iter()
                .flat_map(|except| [except.from, except.to]),
        );
        modules
    }
}

/// The file whose module all others of them are below, if there is one.
fn above_all(on: &Crate, members: &BTreeSet<usize>) -> Option<usize> {
    let module = |file: usize| &*on.files()[file].module;
    let is_above = |file: &usize| {
        members
            .iter()
            .all(|other| covers(module(*file), module(*other)))
    };
    members.iter().copied().find(is_above)
}

/// The module directly below `parent` in which another is, if it is below it.
fn child_of<'a>(parent: &str, module: &'a str) -> Option<&'a str> {
    let below = module.strip_prefix(parent)?.strip_prefix("::")?;
    let len = below.find("::").unwrap_or(below.len());
    Some(&module[..module.len() - below.len() + len])
}

/// Which file imports what which other defines.
pub(crate) fn graph<'a>(imports: impl IntoIterator<Item = &'a Import>) -> Graph {
    let mut graph = Graph::new();
    for import in imports.into_iter().filter(|import| !import.is_passing) {
        graph.entry(import.from).or_default().insert(import.to);
        graph.entry(import.to).or_default();
    }
    graph
}

/// An import: where it is, the line, and what it leads to.
fn shown(on: &Crate, import: &Import) -> String {
    let (from, to) = (&on.files()[import.from], &on.files()[import.to]);
    let Import { line, path, .. } = import;
    let text = from.line(*line);
    let leads = match import.is_passing {
        true => "passes",
        false => "leads to",
    };
    format!(
        "{}:{line}: {text}\n    `{path}` {leads} {}",
        from.path, to.path
    )
}

/// A path out of the crate: where it is, the line, and what it leads to.
fn shown_out(on: &Crate, way: &WayOut) -> String {
    let from = &on.files()[way.from];
    let WayOut { line, path, to, .. } = way;
    let text = from.line(*line);
    let shown = format!("{}:{line}: {text}\n    `{path}` leads to `{to}`", from.path);
    match way.by == way.from {
        true => shown,
        false => format!("{shown} by {}", on.files()[way.by].path),
    }
}

impl fmt::Display for Asks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Downwards => f.write_str(
                "an import goes to its own layer or to a lower one, and by no higher one",
            ),
            Self::NoLoops => {
                f.write_str("no loops but those of a module with each of the modules below it")
            }
            Self::Apart(parent) => {
                write!(f, "the modules of `{parent}` do not import each other")
            }
            Self::OnlyTheFace { of, by } => write!(
                f,
                "{by:?} may import the modules {of:?} themselves, and none below them"
            ),
            Self::Without { of, by } => write!(f, "{by:?} import nothing of {of:?}"),
            Self::NoneOf { what, by, .. } => write!(f, "{by:?} do without {what}"),
            Self::OnlyIn { what, by: [], .. } => write!(f, "the crate does without {what}"),
            Self::OnlyIn { what, by, .. } => write!(f, "{what} are named in {by:?} alone"),
        }
    }
}
