//! The table of cases in `tests/README.md` and the tests of this repository say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::fault_table::{Test, tests_in};

const TABLE: &str = include_str!("../README.md");

/// How many cases of each kind there are.
const KINDS: [(char, u32); 9] = [
    ('A', 5),
    ('B', 8),
    ('C', 3),
    ('D', 3),
    ('E', 2),
    ('F', 6),
    ('G', 5),
    ('H', 6),
    ('I', 9),
];

/// Where tests are, from the root of the repository.
const FOLDERS: [&str; 4] = ["src", "codec", "tests", "fuzz/harness"];

fn cases() -> impl Iterator<Item = String> {
    let numbers = |(kind, most)| (1..=most).map(move |number| format!("{kind}{number}"));
    KINDS.into_iter().flat_map(numbers)
}

/// What the table says: the tests of each row, and whether it can be without, since its answer is in the
/// documentation, or checked by other means.
fn table() -> BTreeMap<String, (BTreeSet<Test>, bool)> {
    let mut rows = BTreeMap::new();
    let is_case = |number: &str| cases().any(|case| case == number);
    for line in TABLE.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let [_, number, case, answer, tests, _] = cells[..] else {
            continue;
        };
        if is_case(number) {
            assert!(!case.is_empty() && !answer.is_empty(), "row {number}");
            let row = (
                tests_in(tests),
                answer.starts_with("documented") || answer.starts_with("checked"),
            );
            let before = rows.insert(number.to_owned(), row);
            assert!(before.is_none(), "row {number} is there twice");
        }
    }
    rows
}

/// What the sources say: the cases of each test.
fn cases_by_test() -> BTreeMap<Test, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut tests = BTreeMap::new();
    let mut folders: Vec<_> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let file = path.strip_prefix(root).unwrap().to_str().unwrap();
                for (test, cases) in tests_of(&fs::read_to_string(&path).unwrap()) {
                    tests.insert((file.to_owned(), test), cases);
                }
            }
        }
    }
    tests
}

/// The tests of one source that name cases in the comment above them.
fn tests_of(source: &str) -> Vec<(String, BTreeSet<String>)> {
    let mut tests = Vec::new();
    let mut cases = BTreeSet::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        if let Some(comment) = line.strip_prefix("// ") {
            let named = comment
                .split(", ")
                .filter_map(|part| part.strip_prefix("case "));
            let number = |it: &str| Some(it.split(':').next()?.trim_end_matches('.').to_owned());
            cases.extend(named.filter_map(number));
        } else if line == "#[test]" {
            is_test = true;
        } else if let Some(function) = line.strip_prefix("fn ") {
            if is_test && !cases.is_empty() {
                let name = function.split('(').next().unwrap().to_owned();
                tests.push((name, cases.clone()));
            }
            (is_test, cases) = (false, BTreeSet::new());
        }
    }
    tests
}

#[test]
fn every_case_has_a_row_with_a_test_or_stands_in_the_documentation() {
    let table = table();
    for case in cases() {
        let row = table.get(&case);
        let (tests, is_documented) = row.unwrap_or_else(|| panic!("{case} has no row"));
        assert!(*is_documented || !tests.is_empty(), "{case} has no test");
    }
}

#[test]
fn the_table_of_cases_and_the_tests_say_the_same() {
    let table = table();
    let by_test = cases_by_test();
    for (case, (tests, _)) in &table {
        for test in tests {
            let cases = by_test.get(test);
            let cases = cases.unwrap_or_else(|| panic!("{case}: there is no {test:?}"));
            assert!(cases.contains(case), "{test:?} is not of {case}");
        }
    }
    for (test, cases) in &by_test {
        for case in cases {
            let row = table.get(case);
            let (tests, _) = row.unwrap_or_else(|| panic!("{test:?}: there is no case {case}"));
            assert!(tests.contains(test), "{case} does not name {test:?}");
        }
    }
}
