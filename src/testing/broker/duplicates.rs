//! Messages that come twice, where somebody is to notice: LavinMQ's message deduplication, as its
//! documentation has it, without the times after which it forgets.

use std::collections::VecDeque;

use snowshoe_codec::{FieldTable, FieldValue};

use super::manner::Manner;
use super::message::Message;

/// What an exchange or a queue has seen.
#[derive(Debug)]
pub(super) struct Duplicates {
    /// The header that names a message.
    header: String,
    /// How many names are remembered.
    size: usize,
    seen: VecDeque<String>,
}

impl Duplicates {
    /// What the arguments of an exchange or a queue ask for.
    pub(super) fn of(arguments: &FieldTable, manner: Manner) -> Option<Self> {
        let get = |key| arguments.get(key).ok().flatten();
        let asked = get("x-message-deduplication").and_then(FieldValue::as_bool);
        if !manner.is_lavin() || asked != Some(true) {
            return None;
        }
        let header = get("x-deduplication-header").and_then(FieldValue::as_str);
        let size = get("x-cache-size").and_then(FieldValue::as_i64);
        Some(Self {
            header: header.unwrap_or("x-deduplication-header").to_owned(),
            size: size.and_then(|size| size.try_into().ok()).unwrap_or(128),
            seen: VecDeque::new(),
        })
    }

    /// Whether a message of this name was here before. If not, it is from now on.
    pub(super) fn is_one(&mut self, message: &Message) -> bool {
        let Some(name) = message.headers().get(&self.header).ok().flatten() else {
            return false;
        };
        // The same number in another type is another name.
        let name = format!("{name:?}");
        let is_one = self.seen.contains(&name);
        if !is_one {
            self.seen.push_back(name);
            if self.seen.len() > self.size {
                self.seen.pop_front();
            }
        }
        is_one
    }

    /// What a restart leaves.
    pub(super) fn forget(&mut self) {
        self.seen.clear();
    }
}
