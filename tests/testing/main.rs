//! What the feature `testing` gives to users: the broker in memory, and the server around it.

mod credentials;
mod declared_where_used;
mod delayed;
mod error_texts;
mod given_up;
mod requests;
mod round_trips;
mod scenarios;
mod server;
mod settings;
mod states;
