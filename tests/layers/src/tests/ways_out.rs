//! Paths that lead out of a crate: of made-up ones, and planted in this repository's own.

use std::fs;
use std::path::Path;

use super::{FLAT, broken};
use crate::check::check;
use crate::modules::Crate;
use crate::plan;
use crate::rules::{Asks, Exception, Rule};

/// What `a` is to do without.
const NONE_IN_A: &[Rule] = &[Rule {
    asks: Asks::NoneOf {
        what: "locks or clocks",
        paths: &["std::sync", "std::time::Instant::now", "log"],
        by: &["a"],
    },
    except: &[],
}];

/// What only `b` may name.
const ONLY_IN_B: &[Rule] = &[Rule {
    asks: Asks::OnlyIn {
        what: "locks",
        paths: &["std::sync::Mutex", "std::sync::atomic"],
        by: &["b"],
    },
    except: &[],
}];

/// What breaks `rules` where the text is that of `a`.
fn broken_in_a(rules: &'static [Rule], text: &'static str) -> String {
    let files = [("lib.rs", "mod a;\nmod b;"), ("a.rs", text), ("b.rs", "")];
    broken(FLAT, rules, &files)
}

#[test]
fn a_path_out_of_the_crate_that_a_module_is_to_do_without_is_told_once() {
    assert_eq!(
        broken_in_a(
            NONE_IN_A,
            "use std::fmt;\nuse std::sync::Mutex;\nfn f() { Mutex::new() }"
        ),
        "src/a.rs:2: use std::sync::Mutex;\n    \
         `std::sync::Mutex` leads to `std::sync::Mutex`\n    \
         `a` may not name `std::sync`\n    \
         rule: [\"a\"] do without locks or clocks"
    );
}

#[test]
fn a_path_out_of_the_crate_is_told_in_every_form() {
    let forms = [
        "use std::sync;",
        "use std::sync::*;",
        "use std::{fmt, sync::{self, Arc}};",
        "use std as s; fn f(_: s::sync::Mutex) {}",
        "use std::*; fn f(_: sync::Mutex) {}",
        "fn f(_: std::sync::Mutex<u8>) {}",
        "fn f() -> Option<::std::sync::Mutex<u8>> {}",
        "fn f() { return ::std::sync::Mutex::new(1); }",
        "impl<T> ::std::sync::Lock for A<T> {}",
        "use ::std::sync::Mutex;",
        "use ::{std::sync::Mutex};",
        "use core::sync::atomic::AtomicBool;",
        "fn f() { alloc::sync::Arc::new(1); }",
        "extern crate std as s;\nuse s::sync::Mutex;",
        "mod block { use std::sync::Mutex; }",
        "macro_rules! m { () => { std::sync::Mutex::new(1) } }",
        "#[derive(std::sync::Lock)] struct A;",
        "fn f() { use std::sync::Mutex; }",
        "fn f() { std::time::Instant::now() }",
        "use std::time; fn f() { time::Instant::now() }",
        "use std::time::{Duration, Instant}; fn f() { Instant::now() }",
        "use std::time::Instant; fn f() { g(Instant::now) }",
        "use std::time::Instant as Clock; fn f() { Clock::now() }",
        "use std::time::*; fn f() { Instant::now() }",
        "use log::warn;",
        "use log; fn f() { log::warn!(1) }",
        "fn f() { log::warn!(1) }",
    ];
    for form in forms {
        let broken = broken_in_a(NONE_IN_A, form);
        assert_eq!(broken.matches("rule: ").count(), 1, "{form}\n{broken}");
    }
}

#[test]
fn what_is_not_named_or_is_the_crates_own_leads_not_out_of_it() {
    let forms = [
        "use std::time::Instant; fn f(now: Instant) -> Instant { now.now() }",
        "use std::synchronous::Mutex;",
        "use crate::b as log; fn f() { log::warn() }",
        "mod log; fn f() { log::warn() }",
        "mod sync {} use self::sync::Mutex;",
        "struct Instant; fn f() { Instant::now() }",
        "use super::b::*; fn f() { log::warn() }",
        "fn f() { <f64>::log(1.0); Self::std() }",
        "// use std::sync::Mutex;\n/// [`std::sync::Mutex`]\nfn f() { \"std::sync::Mutex\" }",
        "#[cfg(test)] mod tests { use std::sync::Mutex; }",
    ];
    for form in forms {
        let files = [
            ("lib.rs", "mod a;\nmod b;"),
            ("a.rs", form),
            ("a/log.rs", "pub fn warn() {}"),
            ("b.rs", "pub mod log { pub fn warn() {} }\npub fn warn() {}"),
        ];
        assert_eq!(broken(FLAT, NONE_IN_A, &files), "", "{form}");
    }
}

#[test]
fn a_re_export_does_not_hide_that_a_path_leads_out() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "use crate::b::Lock;\nfn f() { super::b::all::Arc::new() }",
        ),
        (
            "b.rs",
            "pub use std::sync::Mutex as Lock;\npub mod all { pub use std::sync::*; }",
        ),
    ];
    let broken = broken(FLAT, NONE_IN_A, &files);
    assert!(broken.starts_with(
        "src/a.rs:1: use crate::b::Lock;\n    \
         `crate::b::Lock` leads to `std::sync::Mutex` by src/b.rs\n"
    ));
    assert!(
        broken.contains("`super::b::all::Arc::new` leads to `std::sync::Arc::new` by src/b.rs")
    );
    assert_eq!(broken.matches("rule: ").count(), 2, "{broken}");
}

#[test]
fn names_that_lead_in_a_circle_come_to_an_end() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "pub use crate::b::{X, *};\nfn f() { X::new(); Y::new() }",
        ),
        ("b.rs", "pub use crate::a::{X, *};"),
    ];
    assert_eq!(broken(FLAT, NONE_IN_A, &files), "");
}

#[test]
fn what_is_for_one_module_alone_others_may_import_from_it() {
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        (
            "a.rs",
            "use std::sync::Arc;\nuse crate::b::Mutex;\nfn f() { Mutex::new() }",
        ),
        ("b.rs", "pub use std::sync::Mutex;"),
    ];
    assert_eq!(broken(FLAT, ONLY_IN_B, &files), "");
    assert_eq!(
        broken_in_a(ONLY_IN_B, "use std::sync;\nfn f() { sync::Mutex::new() }"),
        "src/a.rs:2: fn f() { sync::Mutex::new() }\n    \
         `sync::Mutex::new` leads to `std::sync::Mutex::new`\n    \
         `a` may not name `std::sync::Mutex`\n    \
         rule: locks are named in [\"b\"] alone"
    );
    assert_ne!(
        broken_in_a(ONLY_IN_B, "use std::sync::*; fn f(_: Mutex) {}"),
        ""
    );
}

#[test]
fn what_is_for_no_module_is_told_in_all() {
    const NOWHERE: &[Rule] = &[Rule {
        asks: Asks::OnlyIn {
            what: "sockets",
            paths: &["std::net"],
            by: &[],
        },
        except: &[],
    }];
    let files = [
        ("lib.rs", "mod a;\nmod b;\nuse std::net;"),
        ("a.rs", "use std::net::TcpStream;"),
        ("b.rs", ""),
    ];
    let broken = broken(FLAT, NOWHERE, &files);
    assert_eq!(
        broken
            .matches("rule: the crate does without sockets")
            .count(),
        2
    );
}

#[test]
fn an_exception_of_a_path_out_of_the_crate_is_for_its_module_and_what_is_below_the_path() {
    const EXCEPT: &[Rule] = &[Rule {
        asks: Asks::NoneOf {
            what: "locks",
            paths: &["std::sync"],
            by: &["a", "b"],
        },
        except: &[Exception {
            from: "a",
            to: "std::sync::Arc",
            because: "it is no lock",
        }],
    }];
    assert_eq!(broken_in_a(EXCEPT, "use std::sync::Arc;"), "");
    assert_eq!(broken_in_a(EXCEPT, "fn f() { std::sync::Arc::new() }"), "");
    assert!(broken_in_a(EXCEPT, "use std::sync::{Arc, Weak};").contains("`std::sync::Weak`"));
    let files = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a.rs", "use std::sync::Arc;"),
        ("b.rs", "use std::sync::Arc;"),
    ];
    assert!(broken(FLAT, EXCEPT, &files).starts_with("src/b.rs:1: "));
    assert_eq!(
        broken_in_a(EXCEPT, "use std::rc::Rc;"),
        "the exception from `a` to `std::sync::Arc` (\"it is no lock\") is not needed any more\n    \
         rule: [\"a\", \"b\"] do without locks"
    );
}

/// What is told when lines are planted at the end of one of this repository's own files, each in a block.
fn told_when_planted(name: &str, at: &str, lines: &[&str]) -> Vec<String> {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let blocks = lines.iter().enumerate();
    let blocks = blocks.map(|(number, line)| format!("\nmod planted_{number} {{ {line} }}\n"));
    let planted: String = blocks.collect();
    let read = |path: &str| {
        let text = fs::read_to_string(repository.join(path)).ok()?;
        Some(match path == at {
            true => text + &planted,
            false => text,
        })
    };
    let plan = plan::ALL.iter().find(|plan| plan.name == name).unwrap();
    let planted = Crate::load(plan.source, &read).unwrap();
    check(plan, &planted).err().unwrap_or_default()
}

#[test]
fn io_clock_lock_and_waker_are_told_where_they_are_planted_in_a_state_machine() {
    let lines = [
        "use async_channel::Sender;",
        "use async_executor::LocalExecutor;",
        "use async_lock::Mutex;",
        "use futures_lite::AsyncRead;",
        "use loom::sync::Mutex;",
        "use mio::Poll;",
        "use socket2::SockRef;",
        "use std::cell::RefCell;",
        "use std::future::Future;",
        "use std::io::{self, Read as _};",
        "use std::sync::Mutex;",
        "use std::sync::atomic::AtomicU64;",
        "use core::sync::atomic::AtomicU64;",
        "use std::thread;",
        "fn f(_: &mut core::task::Context<'_>) {}",
        "fn f(_: std::task::Waker) {}",
        "fn f() { log::warn!(\"\"); }",
        "fn f() { std::fs::read(\"\"); }",
        "fn f() { std::env::var(\"\"); }",
        "fn f() { std::process::exit(1); }",
        "fn f() { std::time::Instant::now(); }",
        "fn f() { std::time::SystemTime::now(); }",
        "fn f() { async_io::Timer::never(); }",
        "fn f() { futures_rustls::TlsConnector::from(1); }",
        "fn f() { rustls_native_certs::load_native_certs(); }",
        "fn f(_: std::net::TcpStream) {}",
        "fn f(_: std::os::fd::OwnedFd) {}",
        "fn f(_: tokio::net::TcpStream) {}",
    ];
    let files = [
        ("snowshoe", "src/core/acks.rs"),
        ("snowshoe", "src/core/session/stage.rs"),
        ("snowshoe", "src/outcome.rs"),
        ("codec", "codec/src/connection/time.rs"),
        ("codec", "codec/src/lib.rs"),
    ];
    for (name, file) in files {
        let told = told_when_planted(name, file, &lines);
        for line in lines {
            let is_told = told.iter().any(|told| {
                told.contains(line) && told.ends_with(" without I/O, clock, lock or waker")
            });
            assert!(is_told, "{file}: {line}\n{}", told.join("\n"));
        }
    }
}

#[test]
fn what_breaks_the_plan_by_a_path_out_of_a_crate_is_told_where_it_is_planted() {
    let plants = [
        (
            "src/core/backoff.rs",
            "use std::time::Instant; fn f() { Instant::now() }",
        ),
        ("src/core/acks.rs", "use crate::sync::lock;"),
        ("src/core/acks.rs", "use crate::sync::Mutex;"),
        ("src/core/backoff.rs", "fn f() { fastrand::u64(..); }"),
        ("src/core/backoff.rs", "fn f() { fastrand::Rng::new(); }"),
        ("src/core/topology.rs", "use std::collections::HashMap;"),
        ("src/driver/mod.rs", "use std::sync::Mutex;"),
        ("src/driver/link.rs", "fn f() { super::Instant::now(); }"),
        ("src/driver/stream.rs", "use std::net::TcpStream;"),
        ("src/driver/stream.rs", "use tokio::net::TcpStream;"),
        ("src/shared/inbox.rs", "use std::sync::atomic::AtomicU64;"),
        ("src/shared/outbox.rs", "use std::sync::Condvar;"),
        ("src/shared/outbox.rs", "fn f() { log::warn!(\"\"); }"),
        ("src/producer.rs", "use std::sync::RwLock;"),
        ("src/consumer.rs", "fn f() { std::thread::yield_now(); }"),
        ("src/client.rs", "use std::sync::mpsc;"),
        ("src/delivery.rs", "use loom::sync::Mutex;"),
        ("src/runtime/thread.rs", "use std::sync::Mutex;"),
        ("src/connector/tcp.rs", "use std::net::ToSocketAddrs;"),
        ("src/connector/tcp.rs", "use futures_rustls::rustls;"),
        ("src/channel.rs", "use crate::rustls;"),
    ];
    for (file, line) in plants {
        let told = told_when_planted("snowshoe", file, &[line]);
        let is_told = told
            .iter()
            .any(|told| told.starts_with(file) && told.contains(line));
        assert!(is_told, "{file}: {line}\n{told:?}");
    }
}
