//! Breaks the client on purpose, and demands that the machines which are to see it do: the simulation,
//! and the fuzzer of futures.

#![allow(clippy::print_stdout, reason = "a test shows what it saw")]

mod breakages;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use breakages::{Breakage, FOR_THE_FUTURES, FOR_THE_SIMULATION};

#[test]
fn every_breakage_is_seen() {
    assert_eq!(
        misplaced(),
        [""; 0],
        "the table of breakages is out of date"
    );
    let copy = Copy::take();
    let mut unseen = Vec::new();
    for (machine, breakages) in MACHINES {
        let breakages: Vec<_> = breakages.iter().filter(|it| is_wanted(it)).collect();
        let most = breakages.iter().map(|it| it.seeds).max().unwrap_or(0);
        copy.build(machine);
        assert_eq!(copy.run(machine, most), None, "nothing is broken yet");
        for breakage in breakages {
            match copy.break_and_run(machine, breakage) {
                Some(caught) => print(breakage, &caught),
                None => {
                    print(breakage, "NOT SEEN");
                    unseen.push(breakage.what);
                }
            }
        }
    }
    assert_eq!(unseen, [""; 0], "nobody sees these");
}

/// Whether it is to be tried: all are, unless `BREAKAGE` names some by a part of what they are.
fn is_wanted(breakage: &Breakage) -> bool {
    let wanted = env::var("BREAKAGE").unwrap_or_default();
    breakage.number.contains(&wanted) || breakage.what.contains(&wanted)
}

/// What runs seeds: a package, and what it is told.
#[derive(Debug)]
struct Machine {
    package: &'static str,
    arguments: &'static [&'static str],
}

const MACHINES: &[(Machine, &[Breakage])] = &[
    (
        Machine {
            package: "simulation",
            arguments: &[],
        },
        FOR_THE_SIMULATION,
    ),
    (
        Machine {
            package: "fuzz-harness",
            arguments: &["futures"],
        },
        FOR_THE_FUTURES,
    ),
];

/// In a second, and all at once: where sources move, the table has to follow.
#[test]
fn what_is_to_be_broken_is_in_the_sources() {
    assert_eq!(
        misplaced(),
        [""; 0],
        "the table of breakages is out of date"
    );
}

/// The breakages of which the file is not there, or the sound text is not in it exactly once.
fn misplaced() -> Vec<String> {
    let all = MACHINES.iter().flat_map(|(_, breakages)| *breakages);
    let misplaced = all.filter_map(|breakage| {
        let Breakage {
            what, file, sound, ..
        } = breakage;
        match fs::read_to_string(root().join(file)) {
            Err(error) => Some(format!("{what}: {file}: {error}")),
            Ok(text) => match text.matches(sound).count() {
                1 => None,
                times => Some(format!("{what}: {sound:?} is {times} times in {file}")),
            },
        }
    });
    misplaced.collect()
}

/// How it was seen: the first seed that fails, and the invariant that does not hold.
fn print(breakage: &Breakage, caught: &str) {
    let Breakage { number, what, .. } = breakage;
    println!("{number:<8} | {what:<66} | {caught}");
}

/// The sources at another place, where they can be broken.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn take() -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sabotage");
        fs::create_dir_all(&root).expect("the copy can be written");
        // Cargo wants to see all members of the workspace with all that their manifests name, though
        // it builds no more than one of them. In `tests` are some.
        for file in ["Cargo.toml", "Cargo.lock"] {
            copy_file(&self::root().join(file), &root.join(file));
        }
        for folder in ["src", "codec", "examples", "tests", "fuzz/harness"] {
            copy_folder(&self::root().join(folder), &root.join(folder));
        }
        Self { root }
    }

    /// The seed at which the machine fails once this is broken, and how.
    fn break_and_run(&self, machine: &Machine, breakage: &Breakage) -> Option<String> {
        let Breakage {
            file,
            sound,
            broken,
            ..
        } = breakage;
        let path = self.root.join(file);
        let text = fs::read_to_string(&path).expect("the file was copied");
        fs::write(&path, text.replace(sound, broken)).expect("the copy can be written");
        self.build(machine);
        let caught = self.run(machine, breakage.seeds);
        fs::write(&path, text).expect("the copy can be written");
        caught
    }

    fn build(&self, machine: &Machine) {
        let built = self
            .cargo(&["build", "--offline", "--locked", "-p", machine.package])
            .output()
            .expect("cargo can be run");
        let errors = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "it does not compile:\n{errors}");
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .current_dir(&self.root)
            .args(arguments)
            // The shortest way to an answer: more would take longer to build than it saves.
            .env("CARGO_PROFILE_DEV_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .env("CARGO_PROFILE_DEV_INCREMENTAL", "true")
            .env("CARGO_TARGET_DIR", self.root.join("target"));
        command
    }

    /// Runs a machine. Only what it tells as a broken invariant counts.
    fn run(&self, machine: &Machine, seeds: u32) -> Option<String> {
        let run = Command::new(self.root.join("target/debug").join(machine.package))
            .args(machine.arguments)
            .args(["--brief", "true", "--seeds", &seeds.to_string()])
            .output()
            .expect("it was built");
        let said = String::from_utf8_lossy(&run.stdout).trim().to_owned();
        match run.status.code() {
            Some(0) => None,
            Some(2) => Some(said),
            _ => panic!(
                "{}: {said}{}",
                run.status,
                String::from_utf8_lossy(&run.stderr)
            ),
        }
    }
}

/// That of the repository.
fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// What is there no more is not left over from an earlier copy either.
fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy can be written");
    for old in fs::read_dir(to).expect("the copy can be read") {
        let old = old.expect("the copy can be read");
        if !from.join(old.file_name()).exists() {
            remove(&old.path());
        }
    }
    for entry in fs::read_dir(from).expect("the sources are there") {
        let entry = entry.expect("the sources can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            copy_file(&from, &to);
        }
    }
}

fn remove(path: &Path) {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    removed.expect("the copy can be written");
}

/// A file that is the same already stays untouched, so that it is not compiled again.
fn copy_file(from: &Path, to: &Path) {
    let text = fs::read(from).expect("the sources can be read");
    if fs::read(to).is_ok_and(|old| old == text) {
        return;
    }
    fs::write(to, text).expect("the copy can be written");
}
