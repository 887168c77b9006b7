//! Fails when an import of this repository's crates runs up the layers, or in a loop, or out of its crate
//! to what its module is to do without.
//!
//! ```sh
//! cargo run -p layers            # all crates
//! cargo run -p layers codec      # one of them
//! ```
//!
//! It reads the sources as they are, follows every `use` declaration and every path to the file that
//! defines what is named there, through all re-exports, or out of the crate, and holds the result against
//! `plan.rs`. What is under `cfg(test)` may import whatever it likes, and is not looked at; nor is documentation.
//!
//! # To change the plan
//!
//! - *A new module* of a folder that is in a layer needs nothing. Any other is named in the layer where it
//!   belongs: the lowest that holds all it imports, unless it is of another kind than what is there.
//! - *A layer* is one more entry of `layers`, in its place from the lowest to the highest.
//! - *A rule* is one more entry of `rules`. A kind that there is not yet is a variant of
//!   [`Asks`](rules::Asks): say in its doc comment and its `Display` what it asks, in `Rule::broken_by` when
//!   an import breaks it, or in `Rule::broken_out_by` when a path does that leads out of the crate, in `Rule::modules` which modules it names, and plant a breach in `tests.rs`.
//! - *An exception* belongs to one rule, and says why it is one. When it is not needed any more, that is an
//!   error too, so that the list tells how things are.
//!
//! # What it does not see
//!
//! Nothing is expanded. What a macro defines is taken for defined where it is looked for, which is right
//! unless it is looked for by way of `use …::*`. Macros that are in scope by the order of the text, without
//! a path, are no imports here; nor is a method that one module gives to the type of another. `#[path]` is
//! refused.
//!
//! Of what leads out of the crate, it sees what is named by a path, or by a use declaration. It knows no
//! types: a clock that is read by `then.elapsed()`, or by the name that a `type` has given to `Instant`, is
//! not seen, nor is `println!`, nor what another crate's function does.

mod check;
mod loops;
mod modules;
mod plan;
mod rules;
mod source;
#[cfg(test)]
mod tests;
mod token;

use std::io::{Write as _, stdout};
use std::path::Path;
use std::process::ExitCode;
use std::{env, fs, io};

use crate::check::{Summary, check};
use crate::modules::Crate;
use crate::rules::Plan;

fn main() -> io::Result<ExitCode> {
    let names: Vec<String> = env::args().skip(1).collect();
    let is_meant = |plan: &&&Plan| names.is_empty() || names.iter().any(|name| name == plan.name);
    let plans: Vec<&Plan> = plan::ALL.iter().filter(is_meant).copied().collect();
    let mut out = stdout().lock();
    if plans.len() < names.len() {
        let known: Vec<&str> = plan::ALL.iter().map(|plan| plan.name).collect();
        writeln!(out, "there are plans of: {}", known.join(", "))?;
        return Ok(ExitCode::FAILURE);
    }
    let mut code = ExitCode::SUCCESS;
    for plan in plans {
        match run(plan) {
            Ok(summary) => writeln!(out, "{}: {summary}", plan.source)?,
            Err(broken) => {
                let count = broken.len();
                writeln!(out, "{}: breaches of its plan: {count}\n", plan.source)?;
                for breach in broken {
                    writeln!(out, "{breach}\n")?;
                }
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

fn run(plan: &Plan) -> Result<Summary, Vec<String>> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let read = |path: &str| fs::read_to_string(repository.join(path)).ok();
    let read = Crate::load(plan.source, &read).map_err(|error| vec![error])?;
    check(plan, &read)
}
