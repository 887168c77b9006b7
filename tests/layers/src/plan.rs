//! The plan: which layers there are in each crate, and what else is asked of its imports.

use crate::rules::Asks::{Apart, Downwards, NoLoops, OnlyTheFace};
use crate::rules::{Exception, Layer, Plan, Rule};

/// All crates that have a plan.
pub(crate) const ALL: &[&Plan] = &[&CODEC, &CLIENT];

/// `snowshoe-codec`: from bytes to a connection.
const CODEC: Plan = Plan {
    name: "codec",
    source: "codec/src",
    layers: &[
        Layer {
            name: "bytes, texts and numbers",
            modules: &["outbound", "reply", "text"],
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
            name: "messages, logins, and who sends what",
            modules: &["content", "sasl", "side"],
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
    ],
};

/// `snowshoe`: from primitives to what users hold.
const CLIENT: Plan = Plan {
    name: "snowshoe",
    source: "src",
    layers: &[
        Layer {
            name: "primitives",
            modules: &["sync"],
        },
        Layer {
            name: "values",
            modules: &[
                "declare", "error", "events", "message", "name", "outcome", "uri",
            ],
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
                "guarantees",
                "producer",
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
                    from: "core::subscription",
                    to: "core::backoff",
                    because: "a consumer is brought back after a back-off",
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
            except: &[],
        },
    ],
};
