//! How every question reaches the store: its range is checked, it runs on a thread of its own, and it ends in time.

use std::sync::Arc;

use argand_ingest::parse_time;
use argand_model::{Dataset, Matcher, ProfileType, TenantId, TimeRange, name};
use argand_query::{Control, Partial, QueryError};
use connectrpc::ErrorCode;

use crate::app::App;
use crate::config::millis;
use crate::error::ApiError;
use crate::policy::QueryLimits;

/// A checked range of time, in ms since the Unix epoch, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

impl Window {
    pub(crate) fn range(self) -> TimeRange {
        TimeRange::from_millis(self.start_ms, self.end_ms)
    }
}

/// Checks a range; `None` where all of it is older than the server looks back.
///
/// Errors: 400 where an end is missing (0), where it ends before it starts, and where it is too long.
pub(crate) fn window(
    limits: &QueryLimits,
    now_ms: i64,
    start_ms: i64,
    end_ms: i64,
) -> Result<Option<Window>, ApiError> {
    if start_ms == 0 || end_ms == 0 {
        return Err(ApiError::invalid("the query has no time range: set start and end in milliseconds"));
    }
    if start_ms > end_ms {
        return Err(ApiError::invalid(format!("invalid time range: start {start_ms} is after end {end_ms}")));
    }
    let oldest_ms = oldest_ms(limits, now_ms);
    if end_ms < oldest_ms {
        return Ok(None);
    }
    let start_ms = start_ms.max(oldest_ms);
    let length_ms = end_ms.saturating_sub(start_ms);
    if limits.max_length_ms > 0 && length_ms.unsigned_abs() > limits.max_length_ms {
        let hours = limits.max_length_ms as f64 / 3_600_000.0;
        return Err(ApiError::invalid(format!(
            "the time range is longer than the limit of {hours} h: ask for less at once"
        )));
    }
    Ok(Some(Window { start_ms, end_ms }))
}

/// The range of a request for metadata, which may leave it out: then it is all that the server looks back.
pub(crate) fn window_or_recent(
    limits: &QueryLimits,
    now_ms: i64,
    start_ms: i64,
    end_ms: i64,
) -> Result<Option<Window>, ApiError> {
    if start_ms == 0 && end_ms == 0 {
        return Ok(Some(Window { start_ms: oldest_ms(limits, now_ms), end_ms: now_ms }));
    }
    window(limits, now_ms, start_ms, end_ms)
}

fn oldest_ms(limits: &QueryLimits, now_ms: i64) -> i64 {
    match i64::try_from(limits.max_lookback_ms) {
        Ok(0) | Err(_) => i64::MIN,
        Ok(lookback_ms) => now_ms.saturating_sub(lookback_ms),
    }
}

/// Reads a time of a plain HTTP request, such as `now-1h`, as ms since the Unix epoch.
pub(crate) fn time_ms(parameter: &str, text: &str, now_ns: i64) -> Result<i64, ApiError> {
    match parse_time(text, now_ns) {
        Some(time_ns) => Ok(time_ns.div_euclid(1_000_000)),
        None => Err(ApiError::invalid(format!(
            "parameter {parameter} {text:?} is no time: use now, now-1h, epoch seconds or milliseconds, or RFC 3339"
        ))),
    }
}

/// The size of a flame graph, 0 meaning the default. Errors: 400 for one out of range.
pub(crate) fn node_limit(limits: &QueryLimits, asked: i64) -> Result<usize, ApiError> {
    match usize::try_from(asked) {
        Ok(0) => Ok(limits.default_nodes),
        Ok(nodes) if nodes <= limits.max_nodes => Ok(nodes),
        _ => {
            Err(ApiError::invalid(format!("max_nodes {asked} is out of range: 1 to {} are allowed", limits.max_nodes)))
        }
    }
}

/// Selector and profile type, as RPC requests have them.
pub(crate) fn typed_matchers(profile_type: &str, selector: &str) -> Result<(ProfileType, Vec<Matcher>), ApiError> {
    let profile_type: ProfileType = profile_type.parse().map_err(QueryError::from)?;
    let mut matchers = argand_query::parse_selector(selector)?;
    matchers.push(Matcher::equal(name::PROFILE_TYPE, &profile_type.to_string()));
    Ok((profile_type, matchers))
}

/// A query with its profile type, as plain HTTP requests have it.
pub(crate) fn typed_query(parameter: &str, text: &str) -> Result<(ProfileType, Vec<Matcher>), ApiError> {
    let query = argand_query::parse_query(text)?;
    match query.profile_type {
        Some(profile_type) => Ok((profile_type, query.matchers)),
        None => Err(ApiError::invalid(format!("parameter {parameter} has no profile type: it reads <type>{{…}}"))),
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Cancelled => Self::new(ErrorCode::Canceled, error.to_string()),
            _ => Self::invalid(error.to_string()),
        }
    }
}

/// The answer, with a word in the log where parts of the store could not be read.
pub(crate) fn readable<T>(partial: Partial<T>) -> T {
    for error in &partial.damaged {
        tracing::warn!(%error, "part of the store is left out of an answer");
    }
    partial.value
}

/// Asks the datasets of `tenants` that may hold something in `range`, on a thread of the query pool.
///
/// Errors: those of the question; 504 when it takes too long; 503 when too many wait or the store is not there.
pub(crate) async fn ask<T, E, F>(
    app: &Arc<App>,
    tenants: Vec<TenantId>,
    range: TimeRange,
    question: F,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    E: Into<ApiError> + 'static,
    F: FnOnce(&[Arc<dyn Dataset>], &Control<'_>) -> Result<T, E> + Send + 'static,
{
    let storage = app.parts.storage.clone();
    let answer = app.query_pool.run(move |cancel| {
        let mut datasets = Vec::new();
        for tenant in &tenants {
            datasets.extend(storage.datasets(tenant, range)?);
        }
        let control = Control { cancelled: &|| cancel.is_cancelled(), ..Control::default() };
        question(&datasets, &control).map_err(Into::into)
    });
    let limit = millis(app.config.query.timeout_ms);
    tokio::time::timeout(limit, answer).await.map_err(|_| {
        let message = format!("the query took longer than {} s: ask for a shorter range", limit.as_secs());
        ApiError::new(ErrorCode::DeadlineExceeded, message)
    })??
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: i64 = 3_600_000;
    const NOW_MS: i64 = 1_700_000_000_000;

    fn day_of_last_week() -> QueryLimits {
        let (max_length_ms, max_lookback_ms) = (24 * HOUR_MS as u64, 168 * HOUR_MS as u64);
        QueryLimits { max_length_ms, max_lookback_ms, ..QueryLimits::default() }
    }

    fn check(start_ms: i64, end_ms: i64) -> Result<Option<(i64, i64)>, u16> {
        let window = window(&day_of_last_week(), NOW_MS, start_ms, end_ms);
        window.map(|w| w.map(|w| (w.start_ms - NOW_MS, w.end_ms - NOW_MS))).map_err(|e| e.http_status().as_u16())
    }

    #[test]
    fn ranges_need_two_ordered_ends() {
        assert_eq!(check(NOW_MS - HOUR_MS, NOW_MS), Ok(Some((-HOUR_MS, 0))));
        assert_eq!(check(0, NOW_MS), Err(400));
        assert_eq!(check(NOW_MS, 0), Err(400));
        assert_eq!(check(NOW_MS, NOW_MS - 1), Err(400));
        assert_eq!(check(-5, -3), Ok(None));
        assert_eq!(check(i64::MIN, i64::MAX), Err(400));
    }

    #[test]
    fn old_ranges_are_cut_and_long_ones_refused() {
        assert_eq!(check(NOW_MS - 200 * HOUR_MS, NOW_MS - 169 * HOUR_MS), Ok(None));
        assert_eq!(check(NOW_MS - 200 * HOUR_MS, NOW_MS - 150 * HOUR_MS), Ok(Some((-168 * HOUR_MS, -150 * HOUR_MS))));
        assert_eq!(check(NOW_MS - 24 * HOUR_MS, NOW_MS), Ok(Some((-24 * HOUR_MS, 0))));
        assert_eq!(check(NOW_MS - 24 * HOUR_MS - 1, NOW_MS), Err(400));
    }

    #[test]
    fn metadata_may_leave_the_range_out() {
        let recent = window_or_recent(&day_of_last_week(), NOW_MS, 0, 0).unwrap().unwrap();
        assert_eq!(recent, Window { start_ms: NOW_MS - 168 * HOUR_MS, end_ms: NOW_MS });
        let all = window_or_recent(&QueryLimits::default(), NOW_MS, 0, 0).unwrap().unwrap();
        assert_eq!(all, Window { start_ms: i64::MIN, end_ms: NOW_MS });
        assert!(window_or_recent(&QueryLimits::default(), NOW_MS, 0, 5).is_err());
    }

    #[test]
    fn node_limits() {
        let limits = QueryLimits::default();
        assert_eq!((node_limit(&limits, 0), node_limit(&limits, 1 << 20)), (Ok(8192), Ok(1 << 20)));
        assert!(node_limit(&limits, -1).is_err() && node_limit(&limits, (1 << 20) + 1).is_err());
    }
}
