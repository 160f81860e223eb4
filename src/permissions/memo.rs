//! Answers that were given before. A decision depends on nothing but what policies are shown; all of that but the
//! ids fits in one integer, so a table of integers answers most questions without asking Cedar.
//!
//! A slot holds key and answer in one atomic integer: it is never half-written and readers never wait. Ids are not
//! in the key; where a policy names one, the table is not asked (see `Policies::by_name`).

use std::sync::atomic::{AtomicU64, Ordering};

use super::question::{Object, Question, Subject};
use super::{Action, Decision};
use crate::sessions::{Role, Roles};

/// 64 KiB: many times what an application asks, and an upper bound for whoever tries to fill it.
const SLOTS: usize = 8192;
const INDEX_BITS: u32 = SLOTS.trailing_zeros();

/// Answers by key. Belongs to one set of policies and is dropped with it.
pub(super) struct Memo {
    slots: Box<[AtomicU64]>,
}

impl Default for Memo {
    fn default() -> Self {
        Self { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }
}

impl Memo {
    /// The answer to this question, if it is remembered.
    pub(super) fn recall(&self, key: Key) -> Option<Decision> {
        key.places().into_iter().find_map(|place| key.read(self.slots[place].load(Ordering::Relaxed)))
    }

    /// Remembers the answer, in place of an older one if need be.
    pub(super) fn keep(&self, key: Key, decision: Decision) {
        let [first, second] = key.places();
        let place = if self.slots[first].load(Ordering::Relaxed) == 0 { first } else { second };
        self.slots[place].store(key.write(decision), Ordering::Relaxed);
    }
}

/// Everything in a question that an answer may depend on, except ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    pub(super) fn of(question: &Question) -> Self {
        let mut bits = Bits(0);
        bits.push(question.action as u64, 6);
        match question.subject {
            Subject::Anonymous => bits.push(0, 2),
            Subject::Account { active, .. } => bits.push(2 | u64::from(active), 2),
        }
        bits.roles(match question.subject {
            Subject::Anonymous => Roles::default(),
            Subject::Account { roles, .. } => roles,
        });
        bits.object(question);
        bits.push(u64::from(question.told.fields.unwrap_or_default().bits()), 16);
        bits.roles(question.told.roles.unwrap_or_default());
        bits.flag(question.told.directory_open.unwrap_or_default());
        Self(bits.0)
    }

    /// The two slots where the answer may be. Multiplying by 2⁶⁴/φ spreads neighbouring keys.
    fn places(self) -> [usize; 2] {
        let spread = self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (u64::BITS - INDEX_BITS);
        let first = usize::try_from(spread).unwrap_or_default();
        [first, first ^ 1]
    }

    fn write(self, decision: Decision) -> u64 {
        self.0 << 2 | u64::from(decision.is_allow()) << 1 | 1
    }

    fn read(self, slot: u64) -> Option<Decision> {
        let decision = if slot & 2 == 0 { Decision::Deny } else { Decision::Allow };
        (slot == self.write(decision)).then_some(decision)
    }
}

const _: () = assert!(Action::ALL.len() <= 1 << 6, "an action's number has 6 bits in the key");
const _: () = assert!(super::Field::ALL.len() <= 16, "a set of fields has 16 bits in the key");
const _: () = {
    let mut number = 0;
    while number < Role::ALL.len() {
        assert!(Role::ALL[number].bit() < 1 << 8, "a set of roles has 8 bits in the key");
        number += 1;
    }
};

/// A key in the making: 6 + 2 + 8 + 16 + 16 + 8 + 1 bits, and 2 for the slot.
struct Bits(u64);

impl Bits {
    fn push(&mut self, value: u64, width: u32) {
        self.0 = self.0 << width | value;
    }

    fn flag(&mut self, is: bool) {
        self.push(u64::from(is), 1);
    }

    fn roles(&mut self, roles: Roles) {
        self.push(u64::from(roles.bits().unsigned_abs()), 8);
    }

    /// 16 bits, of which System needs two.
    fn object(&mut self, question: &Question) {
        let (kind, linked) = match question.object {
            Object::System => (0, false),
            Object::Account(_) => (1, false),
            Object::File { linked_to_subject, .. } => (2, linked_to_subject),
        };
        self.push(kind, 2);
        self.flag(linked);
        self.flag(question.is_own());
        let Some(account) = question.account() else { return self.push(0, 12) };
        self.roles(account.roles);
        self.flag(account.active);
        self.flag(account.deleted);
        self.flag(account.blocks_subject);
        self.flag(account.blocked_by_subject);
    }
}

#[cfg(test)]
mod tests;
