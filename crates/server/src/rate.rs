//! How many bytes a tenant may send per second.
//!
//! A token bucket of our own: the library for it brings sixty crates and counts requests rather than bytes.

use std::collections::HashMap;
use std::sync::Mutex;

use argand_model::TenantId;

use crate::config::IngestLimits;
use crate::error::ApiError;

/// Tenants whose buckets are remembered; full ones are forgotten beyond that.
const MAX_BUCKETS: usize = 10_000;

struct Bucket {
    /// May be below zero: a request larger than the burst is let through when the bucket is full.
    tokens: f64,
    filled_ns: i64,
}

/// One bucket per tenant.
pub(crate) struct RateLimit {
    bytes_per_second: f64,
    burst_bytes: f64,
    buckets: Mutex<HashMap<TenantId, Bucket>>,
}

impl RateLimit {
    pub(crate) fn new(limits: &IngestLimits) -> Self {
        Self {
            bytes_per_second: limits.rate_bytes_per_second as f64,
            burst_bytes: limits.burst_bytes.max(1) as f64,
            buckets: Mutex::default(),
        }
    }

    /// Takes `bytes` from the tenant's bucket. Errors: `resource_exhausted` when it is empty.
    pub(crate) fn take(&self, tenant: &TenantId, bytes: u64, now_ns: i64) -> Result<(), ApiError> {
        if self.bytes_per_second == 0.0 {
            return Ok(());
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if buckets.len() >= MAX_BUCKETS {
            buckets.retain(|_, bucket| self.level(bucket, now_ns) < self.burst_bytes);
        }
        let bucket = buckets.entry(tenant.clone()).or_insert(Bucket { tokens: self.burst_bytes, filled_ns: now_ns });
        bucket.tokens = self.level(bucket, now_ns);
        bucket.filled_ns = now_ns;
        let cost = bytes as f64;
        if bucket.tokens < cost.min(self.burst_bytes) {
            let rate = self.bytes_per_second;
            return Err(ApiError::exhausted(format!("more than {rate} bytes per second: the tenant's ingest limit")));
        }
        bucket.tokens -= cost;
        Ok(())
    }

    fn level(&self, bucket: &Bucket, now_ns: i64) -> f64 {
        let seconds = now_ns.saturating_sub(bucket.filled_ns).max(0) as f64 / 1e9;
        (bucket.tokens + seconds * self.bytes_per_second).min(self.burst_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;

    fn limit(rate_bytes_per_second: u64) -> RateLimit {
        RateLimit::new(&IngestLimits { rate_bytes_per_second, burst_bytes: 200, ..IngestLimits::default() })
    }

    #[test]
    fn a_bucket_empties_and_fills() {
        let (limit, tenant) = (limit(100), TenantId::anonymous());
        limit.take(&tenant, 150, 0).unwrap();
        assert_eq!(limit.take(&tenant, 100, 0).unwrap_err().http_status(), 429);
        limit.take(&"other".parse().unwrap(), 100, 0).unwrap();
        limit.take(&tenant, 100, SECOND_NS / 2).unwrap();
    }

    #[test]
    fn a_request_larger_than_the_burst_waits_for_a_full_bucket() {
        let (limit, tenant) = (limit(100), TenantId::anonymous());
        limit.take(&tenant, 1000, 0).unwrap();
        assert!(limit.take(&tenant, 1, 8 * SECOND_NS).is_err());
        limit.take(&tenant, 1, 9 * SECOND_NS).unwrap();
    }

    #[test]
    fn no_limit_means_none() {
        limit(0).take(&TenantId::anonymous(), u64::MAX, 0).unwrap();
    }
}
