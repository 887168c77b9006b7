//! Made-up crates in memory, each with something in it that is to be seen or not to be seen.

mod ways_out;

use crate::check::check;
use crate::modules::Crate;
use crate::rules::{Asks, Exception, Layer, Plan, Rule};

/// Files by their path below `src`.
type Files = [(&'static str, &'static str)];

fn load(files: &Files) -> Result<Crate, String> {
    let read = |path: &str| {
        let path = path.strip_prefix("src/")?;
        let file = files.iter().find(|(name, _)| *name == path)?;
        Some(file.1.to_owned())
    };
    Crate::load("src", &read)
}

/// What each file imports, as `from:line -> to`.
fn imports(files: &Files) -> Vec<String> {
    let read = load(files).unwrap();
    let module = |file: usize| &read.files()[file].module;
    let led = read
        .imports()
        .into_iter()
        .filter(|import| !import.is_passing);
    let shown = led.map(|import| {
        let (from, to) = (module(import.from), module(import.to));
        format!("{from}:{} -> {to}", import.line)
    });
    // What lib.rs gathers is in most of them, and beside the point.
    shown.filter(|shown| !shown.starts_with("crate:")).collect()
}

const NO_LOOPS: &[Rule] = &[Rule {
    asks: Asks::NoLoops,
    except: &[],
}];

const DOWNWARDS: &[Rule] = &[Rule {
    asks: Asks::Downwards,
    except: &[],
}];

/// Everything on one height.
const FLAT: &[Layer] = &[Layer {
    name: "all",
    modules: &["crate", "a", "b"],
}];

/// `a` below `b`.
const TWO: &[Layer] = &[
    Layer {
        name: "low",
        modules: &["a"],
    },
    Layer {
        name: "high",
        modules: &["b"],
    },
    Layer {
        name: "the interface",
        modules: &["crate"],
    },
];

/// What breaks a plan of these layers and rules, all in one text.
fn broken(layers: &'static [Layer], rules: &'static [Rule], files: &Files) -> String {
    let plan = Plan {
        name: "made-up",
        source: "src",
        layers,
        rules,
    };
    match check(&plan, &load(files).unwrap()) {
        Ok(_) => String::new(),
        Err(broken) => broken.join("\n\n"),
    }
}

#[test]
fn an_import_to_a_higher_layer_is_told_with_its_line() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use self::b::Top;"),
        ("a.rs", "//! Low.\n\nuse crate::b::Top;\n"),
        ("b.rs", "pub struct Top;"),
    ];
    assert_eq!(
        broken(TWO, DOWNWARDS, &files),
        "src/a.rs:3: use crate::b::Top;\n    \
         `crate::b::Top` leads to src/b.rs\n    \
         `a` in layer \"low\" is below `b` in layer \"high\"\n    \
         rule: an import goes to its own layer or to a lower one, and by no higher one"
    );
}

#[test]
fn an_import_to_a_lower_layer_is_fine() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use self::b::Top;"),
        ("a.rs", "pub struct Low;"),
        ("b.rs", "use crate::a::Low;\npub struct Top(Low);"),
    ];
    assert_eq!(broken(TWO, DOWNWARDS, &files), "");
}

#[test]
fn an_inline_path_to_a_higher_layer_is_an_import() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "fn low() {\n    match 1 { _ => crate::b::top() }\n}",
        ),
        ("b.rs", "pub fn top() {}"),
    ];
    assert!(broken(TWO, DOWNWARDS, &files).starts_with("src/a.rs:2: "));
}

#[test]
fn the_closest_module_that_is_named_tells_the_layer() {
    const LAYERS: &[Layer] = &[
        Layer {
            name: "low",
            modules: &["a"],
        },
        Layer {
            name: "high",
            modules: &["a::top", "b", "crate"],
        },
    ];
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "pub mod top;\npub mod low;"),
        ("a/top.rs", "use crate::b::B;"),
        ("a/low.rs", "use crate::b::B;"),
        ("b.rs", "pub struct B;"),
    ];
    let broken = broken(LAYERS, DOWNWARDS, &files);
    assert!(broken.starts_with("src/a/low.rs:1: "));
    assert!(!broken.contains("a/top.rs"));
}

#[test]
fn two_files_that_import_each_other_are_a_loop() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::B;\npub struct A;"),
        ("b.rs", "use crate::a::A;\npub struct B;"),
    ];
    assert_eq!(
        broken(FLAT, NO_LOOPS, &files),
        "a loop:\n\
         src/a.rs:1: use crate::b::B;\n    `crate::b::B` leads to src/b.rs\n\
         src/b.rs:1: use crate::a::A;\n    `crate::a::A` leads to src/a.rs\n    \
         rule: no loops but those of a module with each of the modules below it"
    );
}

#[test]
fn a_loop_by_inline_paths_is_one() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "pub struct A(crate::b::B);"),
        (
            "b.rs",
            "pub struct B;\nimpl B { fn a() -> Option<super::a::A> { None } }",
        ),
    ];
    let broken = broken(FLAT, NO_LOOPS, &files);
    assert!(broken.contains("src/a.rs:1: "));
    assert!(broken.contains("src/b.rs:2: "));
}

#[test]
fn a_module_and_those_below_it_may_import_each_other() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "mod inner;\npub use self::inner::Inner;\npub struct A(Inner);",
        ),
        (
            "a/inner.rs",
            "mod most;\nuse super::A;\npub struct Inner(Box<A>, most::Most);",
        ),
        (
            "a/inner/most.rs",
            "use super::super::A;\nuse super::Inner;\npub struct Most;",
        ),
        ("b.rs", ""),
    ];
    assert_eq!(broken(FLAT, NO_LOOPS, &files), "");
}

#[test]
fn siblings_in_a_loop_through_what_their_parent_imports_are_told() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "mod one;\nmod other;\nuse self::one::One;\nuse self::other::Other;",
        ),
        ("a/one.rs", "use super::Other;\npub struct One;"),
        ("a/other.rs", "use super::One;\npub struct Other;"),
        ("b.rs", ""),
    ];
    let broken = broken(FLAT, NO_LOOPS, &files);
    assert!(
        broken.contains(
            "src/a/one.rs:1: use super::Other;\n    `super::Other` leads to src/a/other.rs"
        )
    );
    assert!(
        broken
            .contains("src/a/other.rs:1: use super::One;\n    `super::One` leads to src/a/one.rs")
    );
}

#[test]
fn a_child_does_not_excuse_a_loop_that_leaves_its_parent() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "mod inner;\nuse self::inner::Inner;\npub struct A;"),
        ("a/inner.rs", "use crate::b::B;\npub struct Inner;"),
        ("b.rs", "use crate::a::A;\npub struct B;"),
    ];
    let broken = broken(FLAT, NO_LOOPS, &files);
    assert!(broken.starts_with("a loop, one of 3 files: a, a::inner, b\n"));
}

#[test]
fn an_exception_lets_an_import_pass_that_would_break_its_rule() {
    const EXCEPT: &[Rule] = &[Rule {
        asks: Asks::Downwards,
        except: &[Exception {
            from: "a",
            to: "b",
            because: "it is so",
        }],
    }];
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::B;"),
        ("b.rs", "pub struct B;"),
    ];
    assert_ne!(broken(TWO, DOWNWARDS, &files), "");
    assert_eq!(broken(TWO, EXCEPT, &files), "");
}

#[test]
fn an_exception_that_is_not_needed_is_told() {
    const EXCEPT: &[Rule] = &[Rule {
        asks: Asks::Downwards,
        except: &[Exception {
            from: "b",
            to: "a",
            because: "it was so",
        }],
    }];
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "use crate::a::A;"),
    ];
    assert_eq!(
        broken(TWO, EXCEPT, &files),
        "the exception from `b` to `a` (\"it was so\") is not needed any more\n    \
         rule: an import goes to its own layer or to a lower one, and by no higher one"
    );
}

#[test]
fn what_the_plan_and_the_crate_do_not_both_have_is_told() {
    let files = [("lib.rs", "mod a;\nmod c;"), ("a.rs", ""), ("c.rs", "")];
    assert_eq!(
        broken(TWO, DOWNWARDS, &files),
        "the plan names `b`, which is not there\n\n\
         src/c.rs\n    `c` is in no layer of the plan"
    );
}

#[test]
fn modules_that_are_to_stand_apart_may_not_import_each_other() {
    const APART: &[Rule] = &[Rule {
        asks: Asks::Apart("a"),
        except: &[Exception {
            from: "a::sum",
            to: "a",
            because: "it composes them",
        }],
    }];
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "pub mod one;\npub mod other;\npub mod sum;"),
        ("a/one.rs", "mod part;\npub struct One;"),
        (
            "a/one/part.rs",
            "use super::One;\nuse crate::a::other::Other;\nuse crate::b::B;",
        ),
        ("a/other.rs", "pub struct Other;"),
        ("a/sum.rs", "use super::{one::One, other::Other};"),
        ("b.rs", "pub struct B;"),
    ];
    let broken = broken(FLAT, APART, &files);
    assert!(broken.starts_with("src/a/one/part.rs:2: "));
    assert_eq!(broken.matches("rule: ").count(), 1);
}

#[test]
fn of_a_module_with_a_face_nothing_else_is_seen() {
    const FACE: &[Rule] = &[Rule {
        asks: Asks::OnlyTheFace {
            of: &["a"],
            by: &["b"],
        },
        except: &[],
    }];
    let files = [
        ("lib.rs", "mod a;\nmod b;\nuse self::a::thread::Thread;"),
        (
            "a.rs",
            "pub mod thread;\npub use self::thread::Thread;\npub trait Face {}",
        ),
        ("a/thread.rs", "pub struct Thread;"),
        ("b.rs", "use crate::a::Face;\nuse crate::a::Thread;"),
    ];
    let broken = broken(FLAT, FACE, &files);
    assert!(broken.starts_with("src/b.rs:2: use crate::a::Thread;\n"));
    assert_eq!(broken.matches("rule: ").count(), 1);
}

#[test]
fn a_module_that_is_to_do_without_another_may_not_import_it() {
    const WITHOUT: &[Rule] = &[Rule {
        asks: Asks::Without {
            of: &["b"],
            by: &["a"],
        },
        except: &[],
    }];
    let files = [
        ("lib.rs", "mod a;\nmod b;\nuse self::b::B;"),
        ("a.rs", "mod below;"),
        ("a/below.rs", "fn f() { crate::b::B::new() }"),
        ("b.rs", "pub struct B;"),
    ];
    assert_eq!(
        broken(FLAT, WITHOUT, &files),
        "src/a/below.rs:1: fn f() { crate::b::B::new() }\n    \
         `crate::b::B::new` leads to src/b.rs\n    \
         `a::below` is to do without `b`\n    \
         rule: [\"a\"] import nothing of [\"b\"]"
    );
}

#[test]
fn a_name_that_a_higher_layer_passes_on_is_told() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\npub use self::a::A;"),
        ("a.rs", "pub struct A;"),
        ("b.rs", "use crate::A;\nfn f() { A::new() }"),
    ];
    assert_eq!(
        broken(TWO, DOWNWARDS, &files),
        "src/b.rs:1: use crate::A;\n    \
         `crate::A` passes src/lib.rs\n    \
         `b` in layer \"high\" is below `crate` in layer \"the interface\"\n    \
         rule: an import goes to its own layer or to a lower one, and by no higher one"
    );
}

#[test]
fn what_lib_defines_or_brings_from_another_crate_is_an_import_of_lib() {
    let files = [
        (
            "lib.rs",
            "mod a;\npub use codec as wire;\npub const MAX: u8 = 1;",
        ),
        (
            "a.rs",
            "use crate::MAX;\nuse crate::wire::Frame;\nuse codec::Table;",
        ),
    ];
    assert_eq!(imports(&files), ["a:1 -> crate", "a:2 -> crate"]);
}

#[test]
fn every_form_of_a_use_declaration_is_followed() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        (
            "a.rs",
            "use crate::{\n    b::{self, B as Other},\n    c::{inner::{C, *}},\n};\n\
             pub(crate) use super::b::B;\nuse self::below::Below;\nmod below;\n\
             fn f() { use super::c::f; }\nfn g() -> impl Sized + use<> {}",
        ),
        ("a/below.rs", "pub struct Below;"),
        ("b.rs", "pub struct B;"),
        ("c.rs", "pub mod inner;\npub fn f() {}"),
        ("c/inner.rs", "pub struct C;"),
    ];
    assert_eq!(
        imports(&files),
        [
            "a:2 -> b",
            "a:2 -> b",
            "a:3 -> c::inner",
            "a:3 -> c::inner",
            "a:5 -> b",
            "a:6 -> a::below",
            "a:8 -> c",
        ]
    );
}

#[test]
fn a_re_export_is_followed_to_what_it_names_however_often() {
    let files = [
        ("lib.rs", "mod a;\nmod b;\nmod c;"),
        ("a.rs", "use crate::b::Renamed;\nuse crate::b::Starred;"),
        (
            "b.rs",
            "pub use crate::c::Second as Renamed;\npub use crate::c::*;",
        ),
        (
            "c.rs",
            "mod d;\npub use self::d::{First as Second, Starred};",
        ),
        ("c/d.rs", "pub struct First;\npub struct Starred;"),
    ];
    assert_eq!(
        imports(&files),
        [
            "a:1 -> c::d",
            "a:2 -> c::d",
            "b:1 -> c::d",
            "b:2 -> c",
            "c:2 -> c::d",
            "c:2 -> c::d",
        ]
    );
}

#[test]
fn a_star_counts_for_each_file_whose_names_are_used() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use super::b::*;\nfn f() { Used::new() }"),
        (
            "b.rs",
            "mod used;\nmod idle;\npub use self::{used::Used, idle::Idle};",
        ),
        ("b/used.rs", "pub struct Used;"),
        ("b/idle.rs", "pub struct Idle;"),
    ];
    assert_eq!(imports(&files)[..2], ["a:1 -> b", "a:1 -> b::used"]);
    assert!(!imports(&files).contains(&"a:1 -> b::idle".to_owned()));
}

#[test]
fn a_short_path_counts_where_it_leads_to_another_file_than_its_import() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "use crate::b;\nfn f() {\n    b::here();\n    b::inner::there();\n}",
        ),
        ("b.rs", "pub mod inner;\npub fn here() {}"),
        ("b/inner.rs", "pub fn there() {}"),
    ];
    assert_eq!(imports(&files), ["a:1 -> b", "a:4 -> b::inner"]);
}

#[test]
fn a_name_that_a_macro_defines_is_where_it_is_looked_for() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use crate::b::Made;"),
        ("b.rs", "make! { Made }"),
    ];
    assert_eq!(imports(&files), ["a:1 -> b"]);
}

#[test]
fn the_text_of_a_macro_counts_for_its_file() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "macro_rules! make {\n    ($class:ident) => {\n        use $crate::b::B;\n        \
             $crate::b::f();\n        $class::B;\n    };\n}\npub(crate) use make;",
        ),
        ("b.rs", "use super::a::make;\npub struct B;\nmake!(b);"),
    ];
    assert_eq!(imports(&files), ["a:3 -> b", "a:4 -> b", "b:1 -> a"]);
}

#[test]
fn blocks_belong_to_their_file() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "pub struct A;\nmod block {\n    mod deep;\n    use super::A;\n    use super::super::b::B;\n}",
        ),
        ("a/block/deep.rs", "use super::B;\nuse super::super::A;"),
        ("b.rs", "pub struct B;"),
    ];
    assert_eq!(
        imports(&files),
        ["a:5 -> b", "a::block::deep:1 -> b", "a::block::deep:2 -> a"]
    );
}

#[test]
fn comments_strings_and_visibility_are_no_imports() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "//! See [`crate::b::B`].\n/// Or [`super::b`].\npub(in crate::b) fn f() {\n    \
             let _ = \"crate::b::B\"; // crate::b::B\n    /* use crate::b::B; */\n}",
        ),
        ("b.rs", "pub struct B;"),
    ];
    assert!(imports(&files).is_empty());
}

#[test]
fn tests_may_import_what_they_like() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "#[cfg(test)]\nuse crate::b::{B, b};\n\
             #[cfg(all(test, not(loom)))]\nmod tests { use crate::b::B; }\n\
             #[cfg(test)]\nmod models;\n\
             #[cfg(test)]\nimpl<A, C> From<A> for crate::b::B<A, C> { fn f() { crate::b::b() } }\n\
             enum E { #[cfg(test)] A(crate::b::B), #[cfg(test)] C { c: crate::b::B }, D }\n\
             fn f() { #[cfg(test)] crate::b::b(); }\n\
             #[test]\nfn g() { crate::b::b() }",
        ),
        ("b.rs", "#![cfg(test)]\nuse crate::a::A;"),
    ];
    assert!(imports(&files).is_empty());
}

#[test]
fn what_is_built_for_more_than_tests_is_looked_at() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "#[cfg(not(test))]\nuse crate::b::B;\n#[cfg(any(test, feature = \"x\"))]\nuse crate::b::b;\n\
             #[cfg(feature = \"test\")]\nuse crate::b::c;",
        ),
        ("b.rs", "pub struct B;"),
    ];
    assert_eq!(imports(&files), ["a:2 -> b", "a:4 -> b", "a:6 -> b"]);
}

#[test]
fn what_cannot_be_read_is_told() {
    let error = |files: &Files| load(files).unwrap_err();
    assert_eq!(error(&[]), "src/lib.rs is not there");
    assert_eq!(
        error(&[("lib.rs", "mod a;")]),
        "neither src/a.rs nor src/a/mod.rs is there"
    );
    assert_eq!(
        error(&[("lib.rs", "fn f() {")]),
        "src/lib.rs: the brackets do not match in line 1"
    );
    assert_eq!(
        error(&[("lib.rs", "#[path = \"b.rs\"]\nmod a;")]),
        "src/lib.rs: what #[path] says is not understood"
    );
}
