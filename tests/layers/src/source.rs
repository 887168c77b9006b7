//! What a file says of modules: which it declares, what it defines, and which paths it names.
//!
//! Nothing is expanded, so what a macro defines is not seen; whoever looks for it and does not find it
//! takes it for defined where it was looked for. What stands in the text of a macro counts for the file in
//! which it stands, with `$crate` as `crate`.

use std::collections::BTreeSet;

use crate::token::Tree;

/// A module: a file, or a block within one.
#[derive(Debug, Default)]
pub(crate) struct Module {
    /// The modules declared here that stand in files of their own.
    pub(crate) files: Vec<String>,
    /// The modules that stand here in a block.
    pub(crate) blocks: Vec<(String, Self)>,
    /// What is defined here, other than modules.
    pub(crate) defined: BTreeSet<String>,
    pub(crate) uses: Vec<Use>,
    pub(crate) mentions: Vec<Mention>,
    /// Every name that occurs, for the sake of `use …::*`.
    pub(crate) names: BTreeSet<String>,
    /// Whether a module is declared whose file `#[path]` chooses, which nobody here understands.
    pub(crate) has_chosen_paths: bool,
}

/// One name of a use declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Begins with an empty name where it says by `::` that another crate's follows.
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    pub(crate) brings: Brings,
}

/// What a use declaration adds to the names of its module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Brings {
    /// One, which a rename has made another, perhaps.
    Name(String),
    /// All that the module has: `*`.
    All,
}

/// A path of at least two parts that stands somewhere else than in a use declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mention {
    /// Begins as that of a use declaration does.
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
}

/// Reads a file; `None` where all of it is for tests.
pub(crate) fn read(trees: &[Tree<'_>]) -> Option<Module> {
    let mut inner = trees;
    while let [
        Tree::Mark('#'),
        Tree::Mark('!'),
        Tree::Group('[', attribute),
        rest @ ..,
    ] = inner
    {
        if is_for_tests(attribute) {
            return None;
        }
        inner = rest;
    }
    let mut module = Module::default();
    module.scan(trees, true);
    Some(module)
}

impl Module {
    /// Takes in a group of trees. Only at the `top`, outside of all other groups, are things defined.
    fn scan(&mut self, trees: &[Tree<'_>], top: bool) {
        let mut rest = trees;
        let mut before = None;
        while !rest.is_empty() {
            let taken = self.take(rest, before, top);
            before = rest.get(taken - 1);
            rest = &rest[taken..];
        }
    }

    /// Takes in what stands in front, which comes after `before`, and tells how many trees it was.
    fn take(&mut self, trees: &[Tree<'_>], before: Option<&Tree<'_>>, top: bool) -> usize {
        match trees {
            [Tree::Mark('#'), Tree::Group('[', attribute), item @ ..] => {
                if is_for_tests(attribute) {
                    return 2 + item_len(item);
                }
                let chooses = matches!(attribute[..], [Tree::Name("path", _), Tree::Mark('='), ..]);
                self.has_chosen_paths |= chooses;
                self.scan(attribute, false);
                2
            }
            // Of generics that are captured, `use<'a>`, there is nothing to know.
            [Tree::Name("use", line), path @ ..] if !matches!(path, [Tree::Mark('<'), ..]) => {
                let len = until(path, ';');
                self.add_use(&path[..len], &[], *line);
                1 + len
            }
            [
                Tree::Name("extern", _),
                Tree::Name("crate", line),
                name @ ..,
            ] => {
                let len = until(name, ';');
                self.add_use(&name[..len], &[String::new()], *line);
                2 + len
            }
            [
                Tree::Name("mod", _),
                Tree::Name(name, _),
                Tree::Mark(';'),
                ..,
            ] => {
                self.files.push((*name).to_owned());
                3
            }
            [
                Tree::Name("mod", _),
                Tree::Name(name, _),
                Tree::Group('{', inside),
                ..,
            ] => {
                let block = read(inside).map(|block| ((*name).to_owned(), block));
                self.blocks.extend(block);
                3
            }
            [Tree::Name("pub", _), Tree::Group('(', place), ..] if is_visibility(place) => 2,
            [Tree::Name(kind, _), Tree::Name(name, _), ..] if top && defines(kind, name) => {
                self.defined.insert((*name).to_owned());
                2
            }
            [
                Tree::Name("macro_rules", _),
                Tree::Mark('!'),
                Tree::Name(name, _),
                ..,
            ] if top => {
                self.defined.insert((*name).to_owned());
                3
            }
            // `return ::std::…`, for example, where no path goes on.
            [Tree::Name(word, _), Tree::Sep, ..] if !can_begin_a_path(word) => 1,
            [Tree::Sep, Tree::Name(_, line), ..] => {
                let (mut path, len) = path(&trees[1..]);
                self.names.extend(path.iter().cloned());
                // One name alone is the rest of `<T as Trait>::Item`. Where it is the rest, but longer, it
                // begins with no crate's name.
                if path.len() > 1 {
                    path.insert(0, String::new());
                    let line = *line;
                    self.mentions.push(Mention { path, line });
                }
                1 + len
            }
            [Tree::Name(name, line), ..] => {
                let (path, len) = path(trees);
                self.names.extend(path.iter().cloned());
                let begins = match before {
                    // What follows a parameter of a macro is known only to who calls it.
                    Some(Tree::Mark('$')) => *name == "crate",
                    _ => true,
                };
                if begins && path.len() > 1 {
                    let line = *line;
                    self.mentions.push(Mention { path, line });
                }
                len
            }
            [Tree::Group(_, inside), ..] => {
                self.scan(inside, false);
                1
            }
            _ => 1,
        }
    }

    /// Takes in a use declaration, or the part of one that follows `prefix`, which ends in `line`.
    fn add_use(&mut self, trees: &[Tree<'_>], prefix: &[String], mut line: usize) {
        let mut path = prefix.to_vec();
        let mut rest = trees;
        let brings = loop {
            match rest {
                [Tree::Mark('$'), Tree::Name("crate", _), ..] => rest = &rest[1..],
                [Tree::Sep, after @ ..] if path.is_empty() => {
                    path.push(String::new());
                    rest = after;
                }
                [Tree::Name(name, of_name), Tree::Sep, after @ ..] => {
                    path.push((*name).to_owned());
                    (rest, line) = (after, *of_name);
                }
                [Tree::Name(name, of_name)] => {
                    line = *of_name;
                    break Brings::Name(end_with(&mut path, name));
                }
                [
                    Tree::Name(name, of_name),
                    Tree::Name("as", _),
                    Tree::Name(alias, _),
                ] => {
                    line = *of_name;
                    end_with(&mut path, name);
                    break Brings::Name((*alias).to_owned());
                }
                [Tree::Mark('*')] => break Brings::All,
                [Tree::Group('{', parts)] => {
                    for part in parts.split(|tree| *tree == Tree::Mark(',')) {
                        self.add_use(part, &path, line);
                    }
                    return;
                }
                // The parameters of a macro are unknown.
                _ => return,
            }
        };
        self.uses.push(Use { path, line, brings });
    }
}

/// Adds the last name of a use declaration, and tells what it brings: of `path::self` the path.
fn end_with(path: &mut Vec<String>, name: &str) -> String {
    match path.last() {
        Some(module) if name == "self" => module.clone(),
        _ => {
            path.push(name.to_owned());
            name.to_owned()
        }
    }
}

/// The path that begins here, and the number of its trees.
fn path(trees: &[Tree<'_>]) -> (Vec<String>, usize) {
    let (mut path, mut len) = (Vec::new(), 0);
    let mut rest = trees;
    while let [Tree::Name(name, _), after @ ..] = rest {
        path.push((*name).to_owned());
        len += 1;
        match after {
            [Tree::Sep, Tree::Name(..), ..] => {
                len += 1;
                rest = &after[1..];
            }
            _ => break,
        }
    }
    (path, len)
}

/// Whether these two words define what the second one names.
fn defines(kind: &str, name: &str) -> bool {
    let is_item = matches!(
        kind,
        "const" | "enum" | "fn" | "static" | "struct" | "trait" | "type" | "union"
    );
    is_item && !is_qualifier(name)
}

/// Whether a word is no keyword, or one of those that paths begin with.
fn can_begin_a_path(word: &str) -> bool {
    !matches!(
        word,
        "as" | "break"
            | "const"
            | "dyn"
            | "else"
            | "for"
            | "if"
            | "impl"
            | "in"
            | "match"
            | "move"
            | "mut"
            | "pub"
            | "return"
            | "static"
            | "unsafe"
            | "where"
            | "while"
    )
}

/// Whether a word can stand between `const` or `static` and what it defines.
fn is_qualifier(word: &str) -> bool {
    matches!(word, "async" | "extern" | "fn" | "mut" | "unsafe")
}

/// Whether a group after `pub` says where to; otherwise it is the type of a field.
fn is_visibility(place: &[Tree<'_>]) -> bool {
    matches!(
        place,
        [Tree::Name("crate" | "self" | "super", _)] | [Tree::Name("in", _), ..]
    )
}

/// Whether an attribute leaves what follows it out of all that is not a test.
fn is_for_tests(attribute: &[Tree<'_>]) -> bool {
    match attribute {
        [Tree::Name("test", _)] => true,
        [Tree::Name("cfg", _), Tree::Group('(', condition)] => holds(condition) == Some(false),
        _ => false,
    }
}

/// Whether a condition of `cfg` holds where `test` does not; `None` where that is up to something else.
fn holds(condition: &[Tree<'_>]) -> Option<bool> {
    match condition {
        [Tree::Name("test", _)] => Some(false),
        [Tree::Name(operator, _), Tree::Group('(', parts)] => {
            let parts = || {
                let parts = parts.split(|tree| *tree == Tree::Mark(','));
                parts.filter(|part| !part.is_empty()).map(holds)
            };
            let decisive = match *operator {
                "not" => return parts().next()?.map(|holds| !holds),
                "all" => false,
                "any" => true,
                _ => return None,
            };
            if parts().any(|part| part == Some(decisive)) {
                Some(decisive)
            } else if parts().all(|part| part == Some(!decisive)) {
                Some(!decisive)
            } else {
                None
            }
        }
        _ => None,
    }
}

/// The number of trees that the item, field, arm or statement in front is.
fn item_len(trees: &[Tree<'_>]) -> usize {
    let is_block = |tree: &Tree<'_>| matches!(tree, Tree::Group('{', _));
    let ends_item = |tree: &Tree<'_>| is_block(tree) || *tree == Tree::Mark(';');
    let ends_any = |tree: &Tree<'_>| ends_item(tree) || *tree == Tree::Mark(',');
    let end = match trees {
        [Tree::Mark('#'), Tree::Group('[', _), rest @ ..] => return 2 + item_len(rest),
        [Tree::Name("pub", _), Tree::Group('(', place), rest @ ..] if is_visibility(place) => {
            return 2 + item_len(rest);
        }
        [Tree::Name("pub", _), rest @ ..] => return 1 + item_len(rest),
        // A `const fn`, or the like.
        [Tree::Name("const", _), Tree::Name(next, _), ..] if is_qualifier(next) => {
            trees.iter().position(ends_item)
        }
        // These may hold blocks that do not end them.
        [
            Tree::Name("const" | "let" | "static" | "type" | "use", _),
            ..,
        ] => Some(until(trees, ';')),
        // And these may hold commas.
        [
            Tree::Name(
                "async" | "enum" | "extern" | "fn" | "impl" | "struct" | "trait" | "union"
                | "unsafe",
                _,
            ),
            ..,
        ] => trees.iter().position(ends_item),
        _ => trees.iter().position(ends_any),
    };
    end.map_or(trees.len(), |end| (end + 1).min(trees.len()))
}

/// Where the mark stands, or the end.
fn until(trees: &[Tree<'_>], mark: char) -> usize {
    let end = trees.iter().position(|tree| *tree == Tree::Mark(mark));
    end.unwrap_or(trees.len())
}
