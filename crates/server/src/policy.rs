//! What may change while the server runs: limits of tenants, their rules, and what is said about the configuration.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use argand_ingest::{IngestLimits, Relabeling};
use argand_model::TenantId;

use crate::backend::ConfigText;

/// Bounds and rules of one tenant.
#[derive(Clone, Debug)]
pub struct TenantLimits {
    /// What a profile may contain.
    pub profile: IngestLimits,
    /// Rules for the labels of its uploads.
    pub relabel: Relabeling,
    /// Body of an ingest request in bytes, after decompression.
    pub max_body_bytes: u64,
    /// Bytes of ingest per second, 0 for no limit. Off by default: most clients drop what is refused.
    pub rate_bytes_per_second: u64,
    /// Bytes that may come at once where there is a rate limit.
    pub burst_bytes: u64,
    /// What a query may ask for.
    pub query: QueryLimits,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            profile: IngestLimits::default(),
            relabel: Relabeling::default(),
            max_body_bytes: 256 << 20,
            rate_bytes_per_second: 0,
            burst_bytes: 2 << 20,
            query: QueryLimits::default(),
        }
    }
}

/// What a query may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLimits {
    /// Longest range of one query, 0 for no limit. Off by default: what is kept can be asked for, and a query is
    /// bounded by its time and its nodes.
    pub max_length_ms: u64,
    /// How far back a query reaches, 0 for no limit.
    pub max_lookback_ms: u64,
    /// Nodes of a flame graph where the request does not say.
    pub default_nodes: usize,
    /// Most nodes that a request may ask for.
    pub max_nodes: usize,
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { max_length_ms: 0, max_lookback_ms: 0, default_nodes: 8192, max_nodes: 1 << 20 }
    }
}

impl QueryLimits {
    /// The stricter of both, bound by bound.
    fn stricter(self, other: Self) -> Self {
        let bound = |a: u64, b: u64| if a == 0 || b == 0 { a.max(b) } else { a.min(b) };
        Self {
            max_length_ms: bound(self.max_length_ms, other.max_length_ms),
            max_lookback_ms: bound(self.max_lookback_ms, other.max_lookback_ms),
            default_nodes: self.default_nodes.min(other.default_nodes),
            max_nodes: self.max_nodes.min(other.max_nodes),
        }
    }
}

/// Limits of all tenants, and the configuration that they come from.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Of tenants without limits of their own.
    pub limits: TenantLimits,
    /// Of the others.
    pub overrides: BTreeMap<TenantId, TenantLimits>,
    /// The configuration as YAML.
    pub config_text: ConfigText,
}

impl Policy {
    /// The limits of a tenant.
    pub fn of(&self, tenant: &TenantId) -> &TenantLimits {
        self.overrides.get(tenant).unwrap_or(&self.limits)
    }

    /// The limits of a query for several tenants: bound by bound the strictest.
    pub fn of_query(&self, tenants: &[TenantId]) -> QueryLimits {
        let limits = tenants.iter().map(|tenant| self.of(tenant).query);
        limits.reduce(QueryLimits::stricter).unwrap_or(self.limits.query)
    }
}

/// The policy in force. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PolicyHandle(Arc<RwLock<Arc<Policy>>>);

impl PolicyHandle {
    /// A handle to `policy`.
    pub fn new(policy: Policy) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(policy))))
    }

    /// The policy in force now. A request asks once, so that it is judged by one policy.
    pub fn get(&self) -> Arc<Policy> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Requests that begin from here on are judged by `policy`.
    pub fn replace(&self, policy: Policy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_for_several_tenants_has_the_strictest_bounds() {
        let query = |max_length_ms, max_nodes| TenantLimits {
            query: QueryLimits { max_length_ms, max_nodes, ..QueryLimits::default() },
            ..TenantLimits::default()
        };
        let [a, b, c]: [TenantId; 3] = ["a", "b", "c"].map(|id| id.parse().unwrap());
        let overrides = BTreeMap::from([(a.clone(), query(0, 10)), (b.clone(), query(5, 20))]);
        let policy = Policy { overrides, ..Policy::default() };
        let of = |tenants: &[TenantId]| {
            let limits = policy.of_query(tenants);
            (limits.max_length_ms, limits.max_nodes)
        };
        assert_eq!(of(std::slice::from_ref(&a)), (0, 10));
        assert_eq!(of(&[a, b]), (5, 10));
        assert_eq!(of(&[c]), (0, QueryLimits::default().max_nodes));
    }
}
