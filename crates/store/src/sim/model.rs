//! What the store must hold, kept in the plainest way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argand_model::{Dataset, MemoryDataset, TenantId, TimeRange, Upload};

use crate::engine::Engine;
use crate::lock;
use crate::testing::TestRng;

/// What the sender of an upload knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    /// Nothing yet, or nothing ever.
    Unknown,
    /// Not taken: it must never show up by this sending.
    Refused,
    /// Durable.
    Acknowledged,
}

/// One row as people see it: function names leaf first, value, span, trace.
type Row = (Vec<String>, i64, u64, u128);

/// One profile as people see it: labels, time, duration, total and sorted rows.
type Shown = (String, i64, i64, i64, Vec<Row>);

struct Sent {
    tenant: TenantId,
    upload: Upload,
    /// Of each time that it was sent.
    fates: Vec<Arc<Mutex<Fate>>>,
    /// By profile id.
    profiles: BTreeMap<u128, Shown>,
    /// Retention may have deleted its profiles up to this time.
    gone_up_to_ns: i64,
}

#[derive(Default)]
pub(crate) struct Model {
    sent: Vec<Sent>,
    pub(crate) clock: ClockRule,
}

/// When retention may delete, in other words than the store's.
#[derive(Default)]
pub(crate) struct ClockRule {
    /// Wall minus monotonic time, and the monotonic time, of every observation in this life.
    observations: Vec<(i128, u64)>,
}

impl ClockRule {
    pub(crate) fn restart(&mut self) {
        self.observations.clear();
    }

    /// Whether all observations of the last ten minutes agree, each with the one before, and reach back that far.
    fn allows(&mut self, wall_ns: i64, monotonic_ns: u64) -> bool {
        const MINUTE: u64 = 60_000_000_000;
        self.observations.push((i128::from(wall_ns) - i128::from(monotonic_ns), monotonic_ns));
        let mut newest_first = self.observations.iter().rev();
        let mut later = newest_first.next().expect("one was pushed");
        for earlier in newest_first {
            if (later.0 - earlier.0).unsigned_abs() > u128::from(60 * MINUTE) {
                return false;
            }
            if monotonic_ns - earlier.1 >= 10 * MINUTE {
                return true;
            }
            later = earlier;
        }
        false
    }
}

impl Model {
    /// Notes that an upload is sent; its fate goes into the returned cell.
    pub(crate) fn sent(&mut self, tenant: &TenantId, upload: &Upload) -> Arc<Mutex<Fate>> {
        let fate = Arc::new(Mutex::new(Fate::Unknown));
        let key = upload.idempotency_key;
        let known = self.sent.iter_mut().find(|s| key.is_some() && s.upload.idempotency_key == key);
        match known {
            Some(sent) => sent.fates.push(fate.clone()),
            None => self.sent.push(Sent {
                tenant: tenant.clone(),
                upload: upload.clone(),
                fates: vec![fate.clone()],
                profiles: show(&MemoryDataset::of_upload(upload)),
                gone_up_to_ns: i64::MIN,
            }),
        }
        fate
    }

    /// An upload with a key, to send it again; rather one whose sender does not know how it went.
    pub(crate) fn any_keyed(&self, rng: &mut TestRng) -> Option<(TenantId, Upload)> {
        let is_unknown = |sent: &Sent| sent.fates.iter().all(|fate| *lock::mutex(fate) == Fate::Unknown);
        let only_unknown = rng.chance(70);
        let wanted = |s: &&Sent| s.upload.idempotency_key.is_some() && (!only_unknown || is_unknown(s));
        let keyed: Vec<&Sent> = self.sent.iter().filter(wanted).collect();
        let sent = keyed.get(rng.below(keyed.len() as u64) as usize)?;
        Some((sent.tenant.clone(), sent.upload.clone()))
    }

    pub(crate) fn retention_runs(&mut self, wall_ns: i64, monotonic_ns: u64, age: Duration) {
        if self.clock.allows(wall_ns, monotonic_ns) {
            let cutoff = wall_ns - age.as_nanos() as i64;
            self.sent.iter_mut().for_each(|sent| sent.gone_up_to_ns = sent.gone_up_to_ns.max(cutoff));
        }
    }

    /// What nobody heard of by now, nobody ever will.
    pub(crate) fn end_of_life(&mut self) {
        for fate in self.sent.iter_mut().flat_map(|sent| &mut sent.fates) {
            let last = *lock::mutex(fate);
            *fate = Arc::new(Mutex::new(last));
        }
    }

    /// Compares with a store in which nothing fails.
    pub(crate) fn compare(&self, engine: &Engine) {
        let (stored, warnings) = read(engine, &self.tenants());
        assert_eq!(warnings, Vec::<String>::new());
        self.compare_stored(&stored, true);
    }

    /// Compares with a store in which reading may fail just now.
    pub(crate) fn compare_while_running(&self, engine: &Engine) {
        let (stored, warnings) = read(engine, &self.tenants());
        self.compare_stored(&stored, warnings.is_empty());
    }

    fn tenants(&self) -> Vec<TenantId> {
        let mut tenants: Vec<TenantId> = self.sent.iter().map(|sent| sent.tenant.clone()).collect();
        tenants.sort();
        tenants.dedup();
        tenants
    }

    fn compare_stored(&self, stored: &BTreeMap<(TenantId, u128), Shown>, is_complete: bool) {
        let mut explained = 0;
        for sent in &self.sent {
            let fates: Vec<Fate> = sent.fates.iter().map(|fate| *lock::mutex(fate)).collect();
            let is_acknowledged = fates.contains(&Fate::Acknowledged);
            let is_refused = fates.iter().all(|&fate| fate == Fate::Refused);
            for (&id, expected) in &sent.profiles {
                let found = stored.get(&(sent.tenant.clone(), id));
                explained += usize::from(found.is_some());
                let may_be_gone = expected.1 < sent.gone_up_to_ns;
                match found {
                    Some(found) => {
                        assert!(!is_refused, "profile {id:x} was refused and is there");
                        assert_eq!(found, expected, "profile {id:x}");
                    }
                    None if is_complete && is_acknowledged && !may_be_gone => {
                        panic!("profile {id:x} of {:?}, fates {fates:?}, is lost", sent.tenant)
                    }
                    None => {}
                }
            }
        }
        assert_eq!(explained, stored.len(), "profiles that nobody sent to this tenant");
    }
}

/// Everything that the tenants have; panics when a profile is there twice.
fn read(engine: &Engine, tenants: &[TenantId]) -> (BTreeMap<(TenantId, u128), Shown>, Vec<String>) {
    let (mut stored, mut warnings) = (BTreeMap::new(), Vec::new());
    for tenant in tenants {
        let snapshot = engine.snapshot(tenant, TimeRange::ALL);
        warnings.extend(snapshot.warnings);
        for dataset in snapshot.datasets {
            match collect(dataset.as_ref()) {
                Ok(dataset) => {
                    for (id, shown) in show(&dataset) {
                        let before = stored.insert((tenant.clone(), id), shown);
                        assert!(before.is_none(), "profile {id:x} is there twice");
                    }
                }
                Err(error) => warnings.push(error.to_string()),
            }
        }
    }
    (stored, warnings)
}

/// All of a dataset in memory, by the calls that queries use.
pub(crate) fn collect(dataset: &dyn Dataset) -> Result<MemoryDataset, argand_model::DatasetError> {
    crate::compaction::merge(&[dataset], [1, 2])
}

/// Profiles by id, as people see them.
pub(crate) fn show(dataset: &MemoryDataset) -> BTreeMap<u128, Shown> {
    let dictionary = &dataset.dictionary;
    let name = |location| {
        let lines = dictionary.symbols.lines_of(location);
        lines.iter().map(|line| dictionary.symbols.function_name(line.function)).collect::<Vec<_>>().join("/")
    };
    let mut shown = BTreeMap::new();
    let profiles = &dataset.profiles;
    for i in 0..profiles.len() {
        let mut rows: BTreeMap<(Vec<String>, u64, u128), i64> = BTreeMap::new();
        for row in profiles.rows(i).map(|row| row as usize) {
            let stack = dictionary.stacks.leaf_first(dataset.stack[row]).map(name).collect();
            let span = dataset.span_id.get(row).copied().unwrap_or(0);
            let trace = dataset.trace_id.get(row).copied().unwrap_or(0);
            *rows.entry((stack, span, trace)).or_default() += dataset.value[row];
        }
        let rows = rows.into_iter().map(|((stack, span, trace), value)| (stack, value, span, trace)).collect();
        let labels = dataset.series[profiles.series[i] as usize].to_string();
        let profile = (labels, profiles.time_ns[i], profiles.duration_ns[i], profiles.total[i], rows);
        assert!(shown.insert(profiles.id[i], profile).is_none(), "profile is twice in a dataset");
    }
    shown
}
