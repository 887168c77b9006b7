//! What the tests of Snowshoe share does what it says.

mod nodes;
mod proxy;
