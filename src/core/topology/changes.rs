//! What is being declared and deleted at the moment, by whichever session.
//!
//! Each session has a connection of its own, and the broker answers each in its own time. So a
//! declaration that one of them has under way, or begins, while another deletes the same thing can be
//! carried out after the deletion, and bring it back. Two rules keep that from happening:
//!
//! - What is being deleted, or goes with that, is not declared: whoever comes to it leaves it out, and
//!   looks at it again when the deletion has ended. If it was refused, the thing is declared then.
//! - A deletion is not sent while a declaration of it is under way. It waits for the answer, or for the
//!   end of the channel or connection that it would have come on: there is no other wait.
//!
//! ```text
//!             its turn has come           nobody declares it           answered, or nobody knows
//! (recorded) ───────────────────► begun ─────────────────────► sent ─────────────────────────► (forgotten)
//!      ▲                            │                            │
//!      └────────────────────────────┴────────────────────────────┘
//!                given up, or its connection is lost        refused
//! ```
//!
//! No declaration waits for a deletion, so no two wait for each other; and none is begun while one
//! waits, so that its wait is over soon.

use std::collections::{BTreeMap, BTreeSet};

use snowshoe_codec::Method;

use super::{Step, Topology};

#[derive(Debug, Default)]
pub(super) struct Changes {
    /// What was sent to be declared and not answered, and how often.
    declaring: BTreeMap<Step, usize>,
    /// What is being deleted, or goes with it, and how often.
    deleting: BTreeMap<Step, usize>,
    ended: u64,
}

/// Something that is being deleted, and what goes with it.
#[derive(Debug)]
#[must_use = "nothing of it is declared until its end is told"]
pub struct Deletion {
    doomed: BTreeSet<Step>,
}

/// Whether something can be declared.
#[derive(Debug, PartialEq)]
pub enum Declaring {
    /// By this method. Its end is to be told.
    Begun(Method),
    /// It is being deleted.
    BeingDeleted,
    /// Nobody wants it any more.
    Forgotten,
}

impl Topology {
    /// Begins what a call deletes, if it deletes anything: from now on nobody declares that.
    ///
    /// Its end is to be told by [`deletion_ended`](Self::deletion_ended).
    pub fn begin_deletion(&mut self, call: &Method) -> Option<Deletion> {
        let deleted = self.deleted_by(call)?;
        let doomed = self.with_what_goes_along(deleted);
        for step in &doomed {
            *self.changes.deleting.entry(step.clone()).or_default() += 1;
        }
        Some(Deletion { doomed })
    }

    /// Whether nobody is declaring what is to be deleted, or a binding of it.
    pub fn may_delete(&self, deletion: &Deletion) -> bool {
        let mut declaring = self.changes.declaring.keys();
        !declaring.any(|step| is_concerned(step, |it| deletion.doomed.contains(it)))
    }

    /// A deletion was answered or given up. What it deleted is to be
    /// [forgotten](Self::forget_what_is_deleted) before.
    pub fn deletion_ended(&mut self, deletion: Deletion) {
        for step in &deletion.doomed {
            decrement(&mut self.changes.deleting, step);
        }
        self.changes.ended += 1;
    }

    /// Begins to declare something, if it may be declared.
    ///
    /// The end of that is to be told by [`declaring_ended`](Self::declaring_ended).
    pub fn begin_declaring(&mut self, step: &Step) -> Declaring {
        if is_concerned(step, |it| self.changes.deleting.contains_key(it)) {
            return Declaring::BeingDeleted;
        }
        let Some(method) = self.method(step) else {
            return Declaring::Forgotten;
        };
        *self.changes.declaring.entry(step.clone()).or_default() += 1;
        Declaring::Begun(method)
    }

    /// A declaration was answered, or will never be.
    pub fn declaring_ended(&mut self, step: &Step) {
        decrement(&mut self.changes.declaring, step);
        self.changes.ended += 1;
    }

    /// How many changes have ended: where it is more than it was, somebody may have waited for that.
    pub fn changes_ended(&self) -> u64 {
        self.changes.ended
    }
}

/// Whether it, or anything that it binds, is one of those.
fn is_concerned(step: &Step, is_one: impl Fn(&Step) -> bool) -> bool {
    is_one(step) || step.bound().iter().any(is_one)
}

fn decrement(counts: &mut BTreeMap<Step, usize>, step: &Step) {
    if let Some(count) = counts.get_mut(step) {
        *count -= 1;
        if *count == 0 {
            counts.remove(step);
        }
    }
}
