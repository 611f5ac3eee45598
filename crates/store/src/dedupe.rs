//! Which uploads were stored already: idempotency keys of the recent past.

use std::collections::{HashMap, HashSet, VecDeque};

use argand_model::TenantId;

use crate::Done;

/// Keys of committed uploads, bounded in number, and of those that wait for the log.
pub(crate) struct Dedupe {
    limit: usize,
    tenants: Vec<TenantId>,
    tenant_ids: HashMap<TenantId, u32>,
    stored: HashSet<(u32, u128)>,
    /// Stored keys, oldest first.
    order: VecDeque<(u32, u128)>,
    /// Uploads that wait, with the callbacks of their repetitions.
    waiting: HashMap<(u32, u128), Vec<Done>>,
}

/// What is known of a key.
pub(crate) enum Seen {
    /// Nothing: the caller stores the upload and reports with [`Dedupe::finish`].
    New,
    /// It is durable.
    Stored(Done),
    /// It waits for the log; the callback was taken and is called with its outcome.
    Waiting,
}

impl Dedupe {
    /// Remembers up to `limit` stored keys.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            tenants: Vec::new(),
            tenant_ids: HashMap::new(),
            stored: HashSet::new(),
            order: VecDeque::new(),
            waiting: HashMap::new(),
        }
    }

    fn tenant_id(&mut self, tenant: &TenantId) -> u32 {
        if let Some(&id) = self.tenant_ids.get(tenant) {
            return id;
        }
        let id = u32::try_from(self.tenants.len()).expect("tenants are bounded");
        self.tenants.push(tenant.clone());
        self.tenant_ids.insert(tenant.clone(), id);
        id
    }

    /// Looks a key up and marks it as waiting if it is new; takes `done` unless it is.
    pub(crate) fn begin(&mut self, tenant: &TenantId, key: u128, done: &mut Option<Done>) -> Seen {
        let entry = (self.tenant_id(tenant), key);
        let mut take = || done.take().expect("the callback was not used yet");
        if self.stored.contains(&entry) {
            return Seen::Stored(take());
        }
        if let Some(callbacks) = self.waiting.get_mut(&entry) {
            callbacks.push(take());
            return Seen::Waiting;
        }
        self.waiting.insert(entry, Vec::new());
        Seen::New
    }

    /// Ends the wait of a key; returns the callbacks of its repetitions.
    pub(crate) fn finish(&mut self, tenant: &TenantId, key: u128, stored: bool) -> Vec<Done> {
        let entry = (self.tenant_id(tenant), key);
        if stored {
            self.remember(entry);
        }
        self.waiting.remove(&entry).unwrap_or_default()
    }

    /// Adds a key of a log that is replayed.
    pub(crate) fn restore(&mut self, tenant: &TenantId, key: u128) {
        let entry = (self.tenant_id(tenant), key);
        self.remember(entry);
    }

    fn remember(&mut self, entry: (u32, u128)) {
        if !self.stored.insert(entry) {
            return;
        }
        self.order.push_back(entry);
        if self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.stored.remove(&oldest);
        }
    }

    /// Stored keys, oldest first.
    pub(crate) fn stored(&self) -> impl ExactSizeIterator<Item = (&TenantId, u128)> {
        self.order.iter().map(|&(tenant, key)| (&self.tenants[tenant as usize], key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Ack;

    fn slot() -> Option<Done> {
        Some(Box::new(|_| {}))
    }

    #[test]
    fn a_repetition_waits_for_the_first_one() {
        let (tenant, mut dedupe) = (TenantId::anonymous(), Dedupe::new(10));
        assert!(matches!(dedupe.begin(&tenant, 1, &mut slot()), Seen::New));
        assert!(matches!(dedupe.begin(&tenant, 1, &mut slot()), Seen::Waiting));
        let waiters = dedupe.finish(&tenant, 1, true);
        assert_eq!(waiters.len(), 1);
        waiters.into_iter().for_each(|done| done(Ok(Ack::Duplicate)));
        assert!(matches!(dedupe.begin(&tenant, 1, &mut slot()), Seen::Stored(_)));
        assert!(matches!(dedupe.begin(&"other".parse().unwrap(), 1, &mut slot()), Seen::New));
    }

    #[test]
    fn a_failed_upload_may_come_again() {
        let (tenant, mut dedupe) = (TenantId::anonymous(), Dedupe::new(10));
        assert!(matches!(dedupe.begin(&tenant, 1, &mut slot()), Seen::New));
        dedupe.finish(&tenant, 1, false);
        assert!(matches!(dedupe.begin(&tenant, 1, &mut slot()), Seen::New));
    }

    #[test]
    fn the_oldest_key_is_forgotten_first() {
        let (tenant, mut dedupe) = (TenantId::anonymous(), Dedupe::new(2));
        for key in [1, 2, 2, 3] {
            dedupe.restore(&tenant, key);
        }
        assert_eq!(dedupe.stored().map(|(_, key)| key).collect::<Vec<_>>(), [2, 3]);
        assert!(matches!(dedupe.begin(&tenant, 1, &mut slot()), Seen::New));
    }
}
