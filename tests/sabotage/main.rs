//! Breaks the client on purpose, and demands that the simulation sees it.

#![allow(clippy::print_stdout, reason = "a test shows what it saw")]

mod breakages;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use breakages::{BREAKAGES, Breakage};

#[test]
fn the_simulation_sees_every_breakage() {
    let copy = Copy::take();
    let most = BREAKAGES.iter().map(|it| it.seeds).max().unwrap_or(0);
    copy.build();
    assert_eq!(copy.simulate(most), None, "nothing is broken yet");
    let mut unseen = Vec::new();
    for breakage in BREAKAGES {
        match copy.break_and_simulate(breakage) {
            Some(caught) => print(breakage, &caught),
            None => {
                print(breakage, "NOT SEEN");
                unseen.push(breakage.what);
            }
        }
    }
    assert_eq!(unseen, [""; 0], "the simulation is too weak to see these");
}

/// How the simulation saw it: the first seed that fails, and the invariant that does not hold.
fn print(breakage: &Breakage, caught: &str) {
    let Breakage { fault, what, .. } = breakage;
    println!("fault {fault:>2} | {what:<66} | {caught}");
}

/// The sources at another place, where they can be broken.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn take() -> Self {
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("sabotage");
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        // Cargo wants to see every target that the manifest names. As a binary, the example needs no
        // dependency of the tests.
        let files = [
            ("Cargo.toml", "Cargo.toml"),
            ("Cargo.lock", "Cargo.lock"),
            ("tests/simulation.rs", "tests/simulation.rs"),
            ("examples/simulate.rs", "examples/simulate.rs"),
            ("examples/simulate.rs", "src/bin/simulate.rs"),
        ];
        for (from, to) in files {
            copy_file(&sources.join(from), &root.join(to));
        }
        for folder in ["src", "codec"] {
            copy_folder(&sources.join(folder), &root.join(folder));
        }
        Self { root }
    }

    /// The seed at which the simulation fails once this is broken, and how.
    fn break_and_simulate(&self, breakage: &Breakage) -> Option<String> {
        let Breakage {
            what,
            file,
            sound,
            broken,
            ..
        } = breakage;
        let path = self.root.join(file);
        let text = fs::read_to_string(&path).expect("the file is there");
        let places = text.matches(sound).count();
        assert_eq!(places, 1, "{what}: {sound:?} has to be in {file} once");
        fs::write(&path, text.replace(sound, broken)).expect("the copy can be written");
        self.build();
        let caught = self.simulate(breakage.seeds);
        fs::write(&path, text).expect("the copy can be written");
        caught
    }

    fn build(&self) {
        let built = self
            .cargo(&["build", "--offline", "--locked", "--bin", "simulate"])
            .args(["--features", "testing"])
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

    /// Runs the simulation. Only a broken invariant counts, and no panic.
    fn simulate(&self, seeds: u32) -> Option<String> {
        let run = Command::new(self.root.join("target/debug/simulate"))
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

fn copy_folder(from: &Path, to: &Path) {
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

/// A file that is the same already stays untouched, so that it is not compiled again.
fn copy_file(from: &Path, to: &Path) {
    let text = fs::read(from).expect("the sources can be read");
    if fs::read(to).is_ok_and(|old| old == text) {
        return;
    }
    let folder = to.parent().expect("a file is in a folder");
    fs::create_dir_all(folder).expect("the copy can be written");
    fs::write(to, text).expect("the copy can be written");
}
