//! A crate held against its plan.

use std::collections::BTreeSet;
use std::fmt;

use crate::loops;
use crate::modules::{Crate, File};
use crate::rules::{Plan, Rule, covers, graph};

/// Counts of a crate that keeps its plan.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    files: usize,
    imports: usize,
    loops: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            files,
            imports,
            loops,
        } = self;
        write!(
            f,
            "{files} files, {imports} imports from file to file, {loops} loops, each of a module and \
             those below it"
        )
    }
}

/// Holds a crate against its plan; what breaks it, told one by one, if anything does.
pub(crate) fn check(plan: &Plan, on: &Crate) -> Result<Summary, Vec<String>> {
    let (imports, ways) = (on.imports(), on.ways_out());
    let mut broken = unknown_modules(plan, on);
    broken.extend(outside_of_layers(plan, on));
    for rule in plan.rules {
        let found = rule.broken(plan, on, &imports, &ways, None);
        for (number, exception) in rule.except.iter().enumerate() {
            if rule.broken(plan, on, &imports, &ways, Some(number)) == found {
                broken.push(exception.is_not_needed(rule));
            }
        }
        broken.extend(found);
    }
    if !broken.is_empty() {
        return Err(broken);
    }
    let graph = graph(&imports);
    Ok(Summary {
        files: on.files().len(),
        imports: graph.values().map(BTreeSet::len).sum(),
        loops: loops::largest(&graph).len(),
    })
}

/// What the plan names and the crate does not have.
fn unknown_modules(plan: &Plan, on: &Crate) -> Vec<String> {
    let layers = plan.layers.iter().flat_map(|layer| layer.modules);
    let rules = plan.rules.iter().flat_map(Rule::modules);
    let named: BTreeSet<&str> = layers.copied().chain(rules).collect();
    let is_there = |module: &str| on.files().iter().any(|file| covers(module, &file.module));
    let unknown = named.into_iter().filter(|module| !is_there(module));
    unknown
        .map(|module| format!("the plan names `{module}`, which is not there"))
        .collect()
}

fn outside_of_layers(plan: &Plan, on: &Crate) -> Vec<String> {
    let outside = on.files().iter().filter(|file| plan.height(file).is_none());
    outside
        .map(|File { path, module, .. }| {
            format!("{path}\n    `{module}` is in no layer of the plan")
        })
        .collect()
}
