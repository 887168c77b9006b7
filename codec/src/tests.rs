//! The data layer against what RabbitMQ encodes and accepts, against the specification, and against chance.

mod field_types;
mod hostile_bytes;
mod methods;
mod properties;
mod round_trips;
mod tables;
pub(crate) mod vectors;
