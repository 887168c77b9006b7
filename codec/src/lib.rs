//! AMQP 0-9-1 without I/O.

pub mod frame;
pub mod method;
pub mod properties;
pub mod table;

mod encode;
mod error;
mod parse;
mod reply;
mod text;
mod types;

pub use self::{
    error::{FrameError, MethodError, PropertiesError, TableError, TooLong},
    frame::{Frame, FrameHeader, FrameKind},
    method::{Method, MethodId},
    properties::{Properties, PropertiesBuilder, PropertiesRef},
    reply::ReplyCode,
    table::{FieldArray, FieldArrayRef, FieldTable, FieldTableRef, FieldValue},
    types::{ChannelId, Secret, ShortStr, ShortString},
};
