//! The table of faults in `tests/README.md` and the tests of this binary say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const FAULTS: u32 = 57;

/// A test by its file, as its path below this directory, and its name.
pub(crate) type Test = (String, String);

const TABLE: &str = include_str!("../README.md");

/// What the table says: the tests of each row.
fn table() -> BTreeMap<u32, BTreeSet<Test>> {
    let mut rows = BTreeMap::new();
    for line in TABLE.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, number, fault, answer, tests, _] = cells[..] else {
            continue;
        };
        let Ok(number) = number.parse() else {
            continue;
        };
        assert!(!fault.is_empty() && !answer.is_empty(), "row {number}");
        let before = rows.insert(number, tests_in(tests));
        assert!(before.is_none(), "row {number} is there twice");
    }
    rows
}

/// The tests in a cell such as `` `file.rs`: `one`, `another`<br>`other.rs`: `third` ``.
pub(crate) fn tests_in(cell: &str) -> BTreeSet<Test> {
    let mut tests = BTreeSet::new();
    for of_a_file in cell.split("<br>").filter(|part| !part.is_empty()) {
        let quoted: Vec<_> = of_a_file.split('`').skip(1).step_by(2).collect();
        let (file, names) = quoted.split_first().expect("a file and its tests");
        let name = |name: &&str| ((*file).to_owned(), (*name).to_owned());
        tests.extend(names.iter().map(name));
    }
    tests
}

/// What the sources say: the rows of each test of every file.
fn rows_by_test() -> BTreeMap<Test, BTreeSet<u32>> {
    let mut tests = BTreeMap::new();
    for (file, source) in sources() {
        for (name, faults) in tests_of(&source) {
            tests.insert((file.clone(), name), faults);
        }
    }
    tests
}

/// The text of every file of this directory, at any depth, by its path.
fn sources() -> BTreeMap<String, String> {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client"));
    let mut sources = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                sources.insert(name.to_owned(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    sources
}

/// The tests of one source, with the numbers in the comment above each.
fn tests_of(source: &str) -> Vec<(String, BTreeSet<u32>)> {
    let mut tests = Vec::new();
    let mut faults = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines() {
        if let Some(comment) = line.strip_prefix("// ") {
            let numbers = comment.split(", ").filter_map(|part| {
                let number = part.strip_prefix("fault ")?;
                number.parse::<u32>().ok()
            });
            faults.extend(numbers);
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(function) = line.strip_prefix("fn ") {
            if is_test {
                let name = function.split('(').next().unwrap().to_owned();
                tests.push((name, faults.clone()));
            }
            (is_test, faults) = (false, BTreeSet::new());
        }
    }
    tests
}

#[test]
fn every_fault_has_a_test_on_a_broker() {
    let table = table();
    let expected: Vec<u32> = (1..=FAULTS).collect();
    assert_eq!(table.keys().copied().collect::<Vec<_>>(), expected);
    for (number, tests) in &table {
        assert!(!tests.is_empty(), "row {number} has no test");
    }
}

#[test]
fn every_test_in_the_table_exists_and_names_its_row() {
    let rows = rows_by_test();
    for (number, tests) in table() {
        for test in tests {
            let faults = rows.get(&test);
            let faults = faults.unwrap_or_else(|| panic!("row {number}: there is no {test:?}"));
            assert!(faults.contains(&number), "{test:?} is not of row {number}");
        }
    }
}

#[test]
fn every_test_that_names_a_row_is_in_the_table() {
    let table = table();
    for (test, faults) in rows_by_test() {
        for number in faults {
            let row = table.get(&number);
            let row = row.unwrap_or_else(|| panic!("{test:?}: there is no row {number}"));
            assert!(row.contains(&test), "row {number} does not name {test:?}");
        }
    }
}

/// A file that no module names would not even be compiled, and nobody would miss its tests.
#[test]
fn every_source_is_a_module_of_this_binary() {
    let sources = sources();
    for name in sources.keys().filter(|name| *name != "main.rs") {
        let path = name.strip_suffix(".rs").unwrap();
        let (parent, module) = match path.rsplit_once('/') {
            Some((parent, module)) => (format!("{parent}.rs"), module),
            None => ("main.rs".to_owned(), path),
        };
        let declaration = format!("mod {module};");
        let is_declared = sources[&parent].lines().any(|line| line == declaration);
        assert!(is_declared, "{parent} does not say `{declaration}`");
    }
}
