//! The modules of a crate, and what each of its files imports from which other.

mod ways_out;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::ways_out::WayOut;
use crate::source::{self, Brings};
use crate::token;

/// The module that is the crate itself.
const ROOT: usize = 0;

/// All modules of a crate but those for tests.
#[derive(Debug)]
pub(crate) struct Crate {
    modules: Vec<Module>,
    files: Vec<File>,
}

#[derive(Debug)]
struct Module {
    /// Its path, without the crate in front.
    path: Vec<String>,
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    said: source::Module,
}

/// A source file.
#[derive(Debug)]
pub(crate) struct File {
    /// Where it is, from the root of the repository.
    pub(crate) path: String,
    /// The module it holds, `crate` for that of the whole crate.
    pub(crate) module: String,
    lines: Vec<String>,
}

/// One file's use of what another defines.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) line: usize,
    /// The path as it is written there, braces resolved.
    pub(crate) path: String,
    /// Whether the path only passes there, by a re-export, on its way to where it leads.
    pub(crate) is_passing: bool,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Found {
    Module(usize),
    /// To something that this module defines, by a macro perhaps.
    Item(usize),
}

impl Found {
    fn module(self) -> usize {
        match self {
            Self::Module(module) | Self::Item(module) => module,
        }
    }
}

/// What was looked up on the way to one thing, so that names that lead in a circle come to an end.
#[derive(Debug, Default)]
struct Trail {
    seen: BTreeSet<(usize, String)>,
    /// The modules whose own imports were followed.
    passed: BTreeSet<usize>,
}

impl Crate {
    /// Reads a crate from `lib.rs` in the folder `source` on. `read` gives the text of a file, if it is
    /// there.
    pub(crate) fn load(
        source: &str,
        read: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let mut loader = Loader {
            read,
            loaded: Self {
                modules: Vec::new(),
                files: Vec::new(),
            },
        };
        let root = format!("{source}/lib.rs");
        let text = read(&root).ok_or_else(|| format!("{root} is not there"))?;
        loader.add_file(None, Vec::new(), &root, &text, source)?;
        Ok(loader.loaded)
    }

    pub(crate) fn files(&self) -> &[File] {
        &self.files
    }

    /// What each file imports from others. A path that is short because a use declaration brought its
    /// first name counts only where it leads to yet another file.
    pub(crate) fn imports(&self) -> Vec<Import> {
        let mut imports = Vec::new();
        for module in 0..self.modules.len() {
            self.add_uses(module, &mut imports);
        }
        let declared = imports.len();
        for module in 0..self.modules.len() {
            self.add_mentions(module, declared, &mut imports);
        }
        imports.sort_by_key(|import| (import.from, import.line));
        imports
    }

    fn add_uses(&self, module: usize, imports: &mut Vec<Import>) {
        let said = &self.modules[module].said;
        for declared in &said.uses {
            let mut trail = Trail::default();
            let mut found = self.resolve(module, &declared.path, &mut trail);
            let mut path = declared.path.join("::");
            if declared.brings == Brings::All {
                path += "::*";
                for at in found.clone() {
                    let mut names = BTreeSet::new();
                    self.add_names(at, &mut names, &mut BTreeSet::new());
                    for name in names.intersection(&said.names) {
                        found.extend(self.member(at, name, &mut trail));
                    }
                }
            }
            self.add(module, declared.line, &path, found, trail, imports);
        }
    }

    fn add_mentions(&self, module: usize, declared: usize, imports: &mut Vec<Import>) {
        let file = self.modules[module].file;
        let known: BTreeSet<usize> = imports[..declared]
            .iter()
            .filter(|import| import.from == file && !import.is_passing)
            .map(|import| import.to)
            .collect();
        for mention in &self.modules[module].said.mentions {
            let mut trail = Trail::default();
            let mut found = self.resolve(module, &mention.path, &mut trail);
            let is_whole = matches!(&*mention.path[0], "crate" | "self" | "super");
            if !is_whole {
                found.retain(|at| !known.contains(&self.modules[at.module()].file));
                trail.passed.clear();
            }
            let path = mention.path.join("::");
            self.add(module, mention.line, &path, found, trail, imports);
        }
    }

    /// Notes an import for each other file to which a path leads, and for each that it passes.
    fn add(
        &self,
        module: usize,
        line: usize,
        path: &str,
        found: Vec<Found>,
        trail: Trail,
        imports: &mut Vec<Import>,
    ) {
        let from = self.modules[module].file;
        let found = found.into_iter().map(Found::module);
        let mut to = self.files_of(found);
        let mut passed = self.files_of(trail.passed);
        to.remove(&from);
        passed.remove(&from);
        let passed: Vec<usize> = passed.difference(&to).copied().collect();
        let led = to.into_iter().map(|to| (to, false));
        let passed = passed.into_iter().map(|to| (to, true));
        imports.extend(led.chain(passed).map(|(to, is_passing)| Import {
            from,
            to,
            line,
            path: path.to_owned(),
            is_passing,
        }));
    }

    fn files_of(&self, modules: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
        let modules = modules.into_iter();
        modules.map(|module| self.modules[module].file).collect()
    }

    /// What a path in a module leads to: nothing, if it leads out of the crate.
    fn resolve(&self, module: usize, path: &[String], trail: &mut Trail) -> Vec<Found> {
        let Some((first, rest)) = path.split_first() else {
            return Vec::new();
        };
        let mut found = match &**first {
            "crate" => vec![Found::Module(ROOT)],
            "self" => vec![Found::Module(module)],
            "super" => self.parent(module),
            name => self.look_up(module, name, trail),
        };
        for name in rest {
            let members = found.iter().map(|&at| self.member(at, name, trail));
            found = members.flatten().collect();
        }
        found
    }

    /// What `name` is within what was found.
    fn member(&self, within: Found, name: &str, trail: &mut Trail) -> Vec<Found> {
        let Found::Module(module) = within else {
            return vec![within];
        };
        if name == "super" {
            return self.parent(module);
        }
        let found = self.look_up(module, name, trail);
        if found.is_empty() {
            // A macro has defined it, or it comes from another crate by way of this module.
            vec![Found::Item(module)]
        } else {
            found
        }
    }

    fn parent(&self, module: usize) -> Vec<Found> {
        let parent = self.modules[module].parent;
        parent.map(Found::Module).into_iter().collect()
    }

    /// What a name means in a module, by declaration or by import. It may be several things: one name
    /// can stand for a module, a type and a function.
    fn look_up(&self, module: usize, name: &str, trail: &mut Trail) -> Vec<Found> {
        if !trail.seen.insert((module, name.to_owned())) {
            return Vec::new();
        }
        let Module { children, said, .. } = &self.modules[module];
        let mut found: Vec<Found> = Vec::new();
        found.extend(children.get(name).copied().map(Found::Module));
        if said.defined.contains(name) {
            found.push(Found::Item(module));
        }
        for declared in &said.uses {
            if matches!(&declared.brings, Brings::Name(brought) if brought == name) {
                trail.passed.insert(module);
                found.extend(self.resolve(module, &declared.path, trail));
            }
        }
        if found.is_empty() {
            found = self.look_up_in_globs(module, name, trail);
        }
        trail.seen.remove(&(module, name.to_owned()));
        found
    }

    /// What a name means that only `use …::*` can have brought.
    fn look_up_in_globs(&self, module: usize, name: &str, trail: &mut Trail) -> Vec<Found> {
        let mut found = Vec::new();
        for declared in &self.modules[module].said.uses {
            if declared.brings == Brings::All {
                for at in self.resolve(module, &declared.path, trail) {
                    if let Found::Module(within) = at {
                        found.extend(self.look_up(within, name, trail));
                    }
                }
            }
        }
        if !found.is_empty() {
            trail.passed.insert(module);
        }
        found
    }

    /// Adds all names that a module has, for the sake of `use …::*`.
    fn add_names(&self, at: Found, names: &mut BTreeSet<String>, seen: &mut BTreeSet<usize>) {
        let Found::Module(module) = at else {
            return;
        };
        if !seen.insert(module) {
            return;
        }
        let Module { children, said, .. } = &self.modules[module];
        names.extend(children.keys().cloned());
        names.extend(said.defined.iter().cloned());
        for declared in &said.uses {
            match &declared.brings {
                Brings::Name(name) => _ = names.insert(name.clone()),
                Brings::All => {
                    for at in self.resolve(module, &declared.path, &mut Trail::default()) {
                        self.add_names(at, names, seen);
                    }
                }
            }
        }
    }
}

impl File {
    /// A line of its text, numbered from 1.
    pub(crate) fn line(&self, number: usize) -> &str {
        let line = self.lines.get(number.wrapping_sub(1));
        line.map_or("", |line| line.trim())
    }
}

/// A crate that is being read.
struct Loader<'a> {
    read: &'a dyn Fn(&str) -> Option<String>,
    loaded: Crate,
}

impl Loader<'_> {
    /// Takes in a file and all modules below it, whose files are in `folder`.
    fn add_file(
        &mut self,
        parent: Option<usize>,
        path: Vec<String>,
        name: &str,
        text: &str,
        folder: &str,
    ) -> Result<(), String> {
        let trees = token::trees(text).map_err(|error| format!("{name}: {error}"))?;
        let Some(said) = source::read(&trees) else {
            return Ok(());
        };
        let file = self.loaded.files.len();
        self.loaded.files.push(File {
            path: name.to_owned(),
            module: match path.is_empty() {
                true => "crate".to_owned(),
                false => path.join("::"),
            },
            lines: text.lines().map(str::to_owned).collect(),
        });
        self.add_module(parent, path, file, said, folder)
    }

    fn add_module(
        &mut self,
        parent: Option<usize>,
        path: Vec<String>,
        file: usize,
        mut said: source::Module,
        folder: &str,
    ) -> Result<(), String> {
        if said.has_chosen_paths {
            let File { path, .. } = &self.loaded.files[file];
            return Err(format!("{path}: what #[path] says is not understood"));
        }
        let files = std::mem::take(&mut said.files);
        let blocks = std::mem::take(&mut said.blocks);
        let module = self.loaded.modules.len();
        if let (Some(parent), Some(name)) = (parent, path.last()) {
            let siblings = &mut self.loaded.modules[parent].children;
            siblings.insert(name.clone(), module);
        }
        self.loaded.modules.push(Module {
            path,
            file,
            parent,
            children: BTreeMap::new(),
            said,
        });
        for name in files {
            self.add_child_in_file(module, &name, folder)?;
        }
        for (name, said) in blocks {
            let folder = format!("{folder}/{name}");
            let path = self.path_of_child(module, &name);
            self.add_module(Some(module), path, file, said, &folder)?;
        }
        Ok(())
    }

    fn add_child_in_file(&mut self, parent: usize, name: &str, folder: &str) -> Result<(), String> {
        if self.loaded.modules[parent].children.contains_key(name) {
            // Declared a second time, under another `cfg`.
            return Ok(());
        }
        let path = self.path_of_child(parent, name);
        let below = format!("{folder}/{name}");
        let names = [format!("{below}.rs"), format!("{below}/mod.rs")];
        for name in &names {
            if let Some(text) = (self.read)(name) {
                return self.add_file(Some(parent), path, name, &text, &below);
            }
        }
        Err(format!("neither {} nor {} is there", names[0], names[1]))
    }

    fn path_of_child(&self, parent: usize, name: &str) -> Vec<String> {
        let mut path = self.loaded.modules[parent].path.clone();
        path.push(name.to_owned());
        path
    }
}
