//! Time and randomness as parameters.

use std::hash::{BuildHasher, RandomState};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where the store takes the time from.
pub trait Clock: Send + Sync {
    /// Wall clock: ns since the Unix epoch, UTC. May jump in both directions.
    fn wall_ns(&self) -> i64;

    /// Time since an arbitrary start in ns. Never runs backwards.
    fn monotonic_ns(&self) -> u64;
}

/// Where the store takes random numbers from: block ids, salts of log files and hashes.
pub trait Rng: Send + Sync {
    /// 64 random bits that clients cannot guess.
    fn next_u64(&self) -> u64;
}

/// The clocks of the system.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn wall_ns(&self) -> i64 {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |ns| -ns),
        }
    }

    fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Random numbers from the keys that the standard library draws for its hash maps.
#[derive(Debug, Default)]
pub struct SystemRng;

impl Rng for SystemRng {
    fn next_u64(&self) -> u64 {
        RandomState::new().hash_one(0u64)
    }
}
