//! The plan: which layers there are in each crate, and what else is asked of its imports.

use crate::rules::Asks::{Apart, Downwards, NoLoops, NoneOf, OnlyIn, OnlyTheFace, Without};
use crate::rules::{Exception, Layer, Plan, Rule};

/// All crates that have a plan.
pub(crate) const ALL: &[&Plan] = &[&CODEC, &CLIENT];

/// What a state machine does without: whoever runs it, under a test or on a socket, brings it.
const IO_CLOCK_LOCK_OR_WAKER: &[&str] = &[
    "async_channel",
    "async_executor",
    "async_io",
    "async_lock",
    "futures_lite",
    "futures_rustls",
    "log",
    "loom",
    "mio",
    "rustls",
    "rustls_native_certs",
    "socket2",
    "std::cell",
    "std::env",
    "std::fs",
    "std::future",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::sync",
    "std::task",
    "std::thread",
    "std::time::Instant::elapsed",
    "std::time::Instant::now",
    "std::time::SystemTime::elapsed",
    "std::time::SystemTime::now",
    "tokio",
];

/// Public values of the client, which are as plain as what its state machines know.
const VALUES: &[&str] = &[
    "credentials",
    "declare",
    "delays",
    "error",
    "events",
    "message",
    "name",
    "outcome",
    "retry",
    "settings",
    "state",
    "stream",
    "uri",
];

/// `snowshoe-codec`: from bytes to a connection.
const CODEC: Plan = Plan {
    name: "codec",
    source: "codec/src",
    layers: &[
        Layer {
            name: "bytes, texts and numbers",
            modules: &["outbound", "reply", "text", "time"],
        },
        Layer {
            name: "strings",
            modules: &["types"],
        },
        Layer {
            name: "what values are made of",
            modules: &["encode", "parse"],
        },
        Layer {
            name: "frames and tables",
            modules: &["frame", "table"],
        },
        Layer {
            name: "what is in a frame",
            modules: &["method", "properties"],
        },
        Layer {
            name: "messages, logins, who sends what, and what servers say of themselves",
            modules: &["content", "sasl", "side", "known_server"],
        },
        Layer {
            name: "what can be wrong with what is received and sent",
            modules: &["violation", "write"],
        },
        Layer {
            name: "what two ends agree on",
            modules: &["options"],
        },
        Layer {
            name: "how they come to it",
            modules: &["handshake"],
        },
        Layer {
            name: "what is told",
            modules: &["event"],
        },
        Layer {
            name: "messages put together",
            modules: &["assembly"],
        },
        Layer {
            name: "channels",
            modules: &["channel", "channels"],
        },
        Layer {
            name: "the connection",
            modules: &["connection"],
        },
        Layer {
            name: "the interface",
            modules: &["crate"],
        },
    ],
    rules: &[
        Rule {
            asks: Downwards,
            except: &[],
        },
        Rule {
            asks: NoLoops,
            except: &[],
        },
        Rule {
            asks: OnlyIn {
                what: "I/O, clock, lock or waker",
                paths: IO_CLOCK_LOCK_OR_WAKER,
                by: &[],
            },
            except: &[Exception {
                from: "outbound",
                to: "std::io::IoSlice",
                because: "a slice of bytes, and what is done with it is for whoever asks for it",
            }],
        },
    ],
};

/// `snowshoe`: from primitives to what users hold.
const CLIENT: Plan = Plan {
    name: "snowshoe",
    source: "src",
    layers: &[
        Layer {
            name: "primitives",
            modules: &["panics", "sync"],
        },
        Layer {
            name: "values",
            modules: VALUES,
        },
        Layer {
            name: "state machines, without I/O, clock, lock or waker",
            modules: &["core"],
        },
        Layer {
            name: "where a driver runs",
            modules: &["transport", "runtime"],
        },
        Layer {
            name: "from an endpoint to a stream",
            modules: &["connector"],
        },
        Layer {
            name: "where users' threads meet the driver",
            modules: &["shared"],
        },
        Layer {
            name: "the poll loop",
            modules: &["driver"],
        },
        Layer {
            name: "what users hold",
            modules: &[
                "channel",
                "client",
                "consumer",
                "delivery",
                "coming_from",
                "guarantees",
                "in_production",
                "producer",
                "typed",
                "replier",
                "requester",
            ],
        },
        Layer {
            name: "for tests, of users and our own",
            modules: &["internal", "testing"],
        },
        Layer {
            name: "the interface",
            modules: &["crate"],
        },
    ],
    rules: &[
        Rule {
            asks: Downwards,
            except: &[],
        },
        Rule {
            asks: NoLoops,
            except: &[],
        },
        Rule {
            asks: Apart("core"),
            except: &[
                Exception {
                    from: "core::session",
                    to: "core",
                    because: "it is what composes the others",
                },
                Exception {
                    from: "core",
                    to: "core::keyed_queue",
                    because: "a container, as those of the standard library are",
                },
                Exception {
                    from: "core::publisher",
                    to: "core::ring",
                    because: "a publisher is the ring and the confirms, joined",
                },
                Exception {
                    from: "core::publisher",
                    to: "core::confirms",
                    because: "a publisher is the ring and the confirms, joined",
                },
                Exception {
                    from: "core::publisher",
                    to: "core::wait_queue",
                    because: "who waits for room waits for messages to leave",
                },
                Exception {
                    from: "core::requests",
                    to: "core::backoff",
                    because: "a channel for requests is opened again after a back-off",
                },
                Exception {
                    from: "core::subscription",
                    to: "core::backoff",
                    because: "a consumer is brought back after a back-off",
                },
                Exception {
                    from: "core::renewal",
                    to: "core::backoff",
                    because: "credentials that could not be had are asked for again after a back-off",
                },
                Exception {
                    from: "core::supervisor",
                    to: "core::backoff",
                    because: "a connection is dialled again after a back-off",
                },
            ],
        },
        Rule {
            // Where it runs and how it connects is for whoever builds it to choose.
            asks: OnlyTheFace {
                of: &["runtime", "connector"],
                by: &["driver"],
            },
            except: &[Exception {
                from: "driver",
                to: "connector::progress",
                because: "it is what a connector tells, whichever it is",
            }],
        },
        Rule {
            asks: NoneOf {
                what: "I/O, clock, lock or waker",
                paths: IO_CLOCK_LOCK_OR_WAKER,
                by: &["core"],
            },
            except: &[],
        },
        Rule {
            asks: Without {
                of: &["sync"],
                by: &["core"],
            },
            except: &[],
        },
        Rule {
            // Chance comes from a seed.
            asks: NoneOf {
                what: "chance that no seed decides",
                paths: &[
                    "fastrand",
                    "std::collections::HashMap",
                    "std::collections::HashSet",
                    "std::collections::hash_map",
                    "std::collections::hash_set",
                    "std::hash::RandomState",
                ],
                by: &["core"],
            },
            except: &[Exception {
                from: "core",
                to: "fastrand::Rng",
                because: "it has a seed, except as the next rule says",
            }],
        },
        Rule {
            asks: NoneOf {
                what: "a seed by chance",
                paths: &["fastrand::Rng::default", "fastrand::Rng::new"],
                by: &["core"],
            },
            except: &[],
        },
        Rule {
            // What a state machine knows is to be as plain as itself.
            asks: NoneOf {
                what: "I/O, clock, lock or waker",
                paths: IO_CLOCK_LOCK_OR_WAKER,
                by: VALUES,
            },
            except: &[
                Exception {
                    from: "error",
                    to: "std::sync::Arc",
                    because: "an error is cloned for all who wait, and its cause cannot be",
                },
                Exception {
                    from: "error",
                    to: "std::io",
                    because: "its errors are what connections fail of",
                },
                Exception {
                    from: "error",
                    to: "std::net::SocketAddr",
                    because: "an address, as a value",
                },
                Exception {
                    from: "events",
                    to: "futures_lite::Stream",
                    because: "`Events` is a stream of them",
                },
                Exception {
                    from: "events",
                    to: "std::future",
                    because: "`Events` is where a user waits for them",
                },
                Exception {
                    from: "events",
                    to: "std::task",
                    because: "`Events` is where a user waits for them",
                },
                Exception {
                    from: "events",
                    to: "std::sync::Arc",
                    because: "`Events` is where a user waits for them",
                },
                Exception {
                    from: "events",
                    to: "std::sync::Mutex",
                    because: "`Events` shares with the driver what happened and was not taken",
                },
                Exception {
                    from: "events",
                    to: "std::sync::MutexGuard",
                    because: "the same, while it is looked at",
                },
                Exception {
                    from: "events",
                    to: "loom::sync::MutexGuard",
                    because: "the same, in the models of how threads meet",
                },
                Exception {
                    from: "events",
                    to: "loom::sync::Mutex",
                    because: "the same, in the models of how threads meet",
                },
                Exception {
                    from: "name",
                    to: "std::sync::Arc",
                    because: "a name is cloned with every message, and never changed",
                },
                Exception {
                    from: "state",
                    to: "std::sync::Arc",
                    because: "a snapshot shares with others what does not change",
                },
                Exception {
                    from: "state",
                    to: "std::net::SocketAddr",
                    because: "an address, as a value",
                },
                Exception {
                    from: "uri",
                    to: "std::net::Ipv6Addr",
                    because: "an address, as a value",
                },
            ],
        },
        Rule {
            // One of std's own would be out of sight of the models of how threads meet. An `Arc` or a
            // `OnceLock` that is set once is none of them.
            asks: OnlyIn {
                what: "locks and atomics",
                paths: &[
                    "loom",
                    "std::sync::Barrier",
                    "std::sync::Condvar",
                    "std::sync::Mutex",
                    "std::sync::MutexGuard",
                    "std::sync::Once",
                    "std::sync::RwLock",
                    "std::sync::RwLockReadGuard",
                    "std::sync::RwLockWriteGuard",
                    "std::sync::atomic",
                    "std::sync::mpsc",
                ],
                by: &["sync"],
            },
            except: &[],
        },
        Rule {
            // Elsewhere it is asked of the runtime, and so it can be that of a test.
            asks: OnlyIn {
                what: "clocks",
                paths: &[
                    "std::time::Instant::elapsed",
                    "std::time::Instant::now",
                    "std::time::SystemTime::elapsed",
                    "std::time::SystemTime::now",
                ],
                by: &["runtime"],
            },
            except: &[Exception {
                from: "testing::clock",
                to: "std::time::Instant::now",
                because: "an `Instant` to begin with is to be had nowhere else",
            }],
        },
        Rule {
            asks: OnlyIn {
                what: "sockets and timers",
                paths: &[
                    "async_io",
                    "mio",
                    "socket2",
                    "std::net::TcpListener",
                    "std::net::TcpStream",
                    "std::net::ToSocketAddrs",
                    "std::net::UdpSocket",
                    "std::os",
                    "tokio",
                ],
                by: &["runtime"],
            },
            except: &[
                Exception {
                    from: "testing::server::listener",
                    to: "async_io",
                    because: "it is for clients that come over TCP",
                },
                Exception {
                    from: "testing::server::listener",
                    to: "std::net",
                    because: "it is for clients that come over TCP",
                },
            ],
        },
        Rule {
            asks: OnlyIn {
                what: "threads",
                paths: &["std::thread"],
                by: &["runtime"],
            },
            except: &[
                Exception {
                    from: "testing::clock",
                    to: "std::thread",
                    because: "it is a runtime, too",
                },
                Exception {
                    from: "testing::server::listener",
                    to: "std::thread",
                    because: "its clients may be in the thread that would have to serve them",
                },
            ],
        },
        Rule {
            asks: OnlyIn {
                what: "TLS and its certificates",
                paths: &[
                    "futures_rustls",
                    "rustls",
                    "rustls_native_certs",
                    "rustls_platform_verifier",
                ],
                by: &["connector::tls"],
            },
            except: &[Exception {
                from: "crate",
                to: "rustls",
                because: "users who configure TLS themselves need the same version",
            }],
        },
        Rule {
            // A logger is code of the user's, which is not to be run under a lock.
            asks: OnlyIn {
                what: "logs",
                paths: &["log"],
                by: &["driver", "runtime"],
            },
            except: &[
                Exception {
                    from: "client::builder",
                    to: "log",
                    because: "nothing runs yet, and it is about what was set",
                },
                Exception {
                    from: "testing::server::listener",
                    to: "log",
                    because: "nobody waits to whom it could be told instead",
                },
            ],
        },
    ],
};
