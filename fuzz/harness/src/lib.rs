//! What the targets in `fuzz/` run: each function takes arbitrary bytes, makes something of them and
//! panics if what must not happen does. The tests run the same over the seeds in `fuzz/seeds`, and
//! over whatever else comes to mind.

mod clients;
mod connection;
mod decoders;
mod futures;
mod operations;
mod pair;
mod script;
mod session;
mod uri;
mod vocabulary;

pub use self::clients::hostile_clients;
pub use self::connection::{held_by_hostile_peer, hostile_peer};
pub use self::decoders::{content_headers, frames, methods, tables};
pub use self::futures::futures;
pub use self::operations::operations;
pub use self::session::session;
pub use self::uri::uris;
