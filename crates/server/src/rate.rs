//! How many bytes a tenant may send per second.
//!
//! A token bucket of our own: the library for it brings sixty crates and counts requests rather than bytes.

use std::collections::HashMap;
use std::sync::Mutex;

use argand_model::TenantId;

use crate::error::ApiError;
use crate::policy::TenantLimits;

/// Tenants whose buckets are remembered; full ones are forgotten beyond that.
const MAX_BUCKETS: usize = 10_000;

struct Bucket {
    /// May be below zero: a request larger than the burst is let through when the bucket is full.
    tokens: f64,
    filled_ns: i64,
    /// As of the last request.
    limits: Rate,
}

/// How fast a bucket fills, and how much it holds.
#[derive(Clone, Copy)]
struct Rate {
    bytes_per_second: f64,
    burst_bytes: f64,
}

/// One bucket per tenant.
#[derive(Default)]
pub(crate) struct RateLimit {
    buckets: Mutex<HashMap<TenantId, Bucket>>,
}

impl RateLimit {
    /// Takes `bytes` from the tenant's bucket. Errors: `resource_exhausted` when it is empty.
    pub(crate) fn take(
        &self,
        tenant: &TenantId,
        limits: &TenantLimits,
        bytes: u64,
        now_ns: i64,
    ) -> Result<(), ApiError> {
        if limits.rate_bytes_per_second == 0 {
            return Ok(());
        }
        let limits = Rate {
            bytes_per_second: limits.rate_bytes_per_second as f64,
            burst_bytes: limits.burst_bytes.max(1) as f64,
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, bucket| bucket.level(now_ns) < bucket.limits.burst_bytes);
        }
        let full = Bucket { tokens: limits.burst_bytes, filled_ns: now_ns, limits };
        let bucket = buckets.entry(tenant.clone()).or_insert(full);
        bucket.limits = limits;
        bucket.tokens = bucket.level(now_ns);
        bucket.filled_ns = now_ns;
        let cost = bytes as f64;
        if bucket.tokens < cost.min(limits.burst_bytes) {
            let rate = limits.bytes_per_second;
            return Err(ApiError::exhausted(format!("more than {rate} bytes per second: the tenant's ingest limit")));
        }
        bucket.tokens -= cost;
        Ok(())
    }
}

impl Bucket {
    fn level(&self, now_ns: i64) -> f64 {
        let seconds = now_ns.saturating_sub(self.filled_ns).max(0) as f64 / 1e9;
        (self.tokens + seconds * self.limits.bytes_per_second).min(self.limits.burst_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn limits(rate_bytes_per_second: u64) -> TenantLimits {
        TenantLimits { rate_bytes_per_second, burst_bytes: 200, ..TenantLimits::default() }
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let (rate, limits, tenant) = (RateLimit::default(), limits(100), TenantId::anonymous());
        rate.take(&tenant, &limits, 150, 0).unwrap();
        assert_eq!(rate.take(&tenant, &limits, 100, 0).unwrap_err().http_status(), 429);
        rate.take(&"other".parse().unwrap(), &limits, 100, 0).unwrap();
        rate.take(&tenant, &limits, 100, SECOND_NS / 2).unwrap();
    }

    #[test]
    fn a_request_larger_than_the_burst_waits_for_a_full_bucket() {
        let (rate, limits, tenant) = (RateLimit::default(), limits(100), TenantId::anonymous());
        rate.take(&tenant, &limits, 1000, 0).unwrap();
        assert!(rate.take(&tenant, &limits, 1, 8 * SECOND_NS).is_err());
        rate.take(&tenant, &limits, 1, 9 * SECOND_NS).unwrap();
    }

    #[test]
    fn a_changed_limit_counts_from_the_next_request() {
        let (rate, tenant) = (RateLimit::default(), TenantId::anonymous());
        rate.take(&tenant, &limits(1), 200, 0).unwrap();
        assert!(rate.take(&tenant, &limits(1), 100, SECOND_NS).is_err());
        rate.take(&tenant, &limits(1000), 100, 2 * SECOND_NS).unwrap();
    }

    #[test]
    fn no_limit_means_none() {
        RateLimit::default().take(&TenantId::anonymous(), &limits(0), u64::MAX, 0).unwrap();
    }
}
