//! Which profiles a question is about.

use std::ops::Range;
use std::sync::Arc;

use argand_model::{Dataset, DatasetError, Labels, Matcher, ProfileTable, TimeRange, name};

use crate::{Control, QueryError};

/// Profiles of one dataset that match.
#[derive(Clone)]
pub struct Part {
    /// Where they are.
    pub dataset: Arc<dyn Dataset>,
    /// Label sets that `table.series` indexes.
    pub series: Arc<[Labels]>,
    /// All profiles of the dataset.
    pub table: Arc<ProfileTable>,
    /// Indexes into `table` of those that match, ascending, at least one.
    pub profiles: Vec<u32>,
}

impl Part {
    /// Labels of a profile, given by its index into the table.
    pub fn labels(&self, profile: u32) -> &Labels {
        &self.series[self.table.series[profile as usize] as usize]
    }

    /// Number of rows of the matching profiles.
    pub fn row_count(&self) -> u64 {
        self.profiles.iter().map(|&i| self.table.rows(i as usize).len() as u64).sum()
    }

    /// Rows of the matching profiles in batches of about `batch_rows`, each of ascending, disjoint ranges that do not
    /// touch.
    pub(crate) fn row_batches(&self, batch_rows: usize) -> Vec<Vec<Range<u32>>> {
        let mut batches: Vec<Vec<Range<u32>>> = Vec::new();
        let mut room = 0;
        for rows in self.profiles.iter().map(|&i| self.table.rows(i as usize)).filter(|rows| !rows.is_empty()) {
            if room == 0 {
                batches.push(Vec::new());
                room = batch_rows;
            }
            room = room.saturating_sub(rows.len());
            let batch = batches.last_mut().expect("one was just pushed");
            match batch.last_mut() {
                Some(last) if last.end == rows.start => last.end = rows.end,
                _ => batch.push(rows),
            }
        }
        batches
    }
}

/// Profiles that match, over all datasets.
#[derive(Clone, Default)]
pub struct Selection {
    /// One per dataset that has any, in the order of the datasets.
    pub parts: Vec<Part>,
    /// Datasets that could not be read.
    pub damaged: Vec<DatasetError>,
}

impl Selection {
    /// Whether nothing matches.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// Finds the profiles in `range` whose series all `matchers` accept.
///
/// Datasets of other services are not touched; a dataset that cannot be read is named in the result and left out.
/// Errors: [`QueryError::Cancelled`].
pub fn select(
    datasets: &[Arc<dyn Dataset>],
    matchers: &[Matcher],
    range: TimeRange,
    control: &Control<'_>,
) -> Result<Selection, QueryError> {
    let mut selection = Selection::default();
    for dataset in datasets.iter().filter(|dataset| may_match(dataset.service_name(), matchers)) {
        control.check()?;
        match select_part(dataset, matchers, range) {
            Ok(part) if part.profiles.is_empty() => {}
            Ok(part) => selection.parts.push(part),
            Err(error) => selection.damaged.push(error),
        }
    }
    Ok(selection)
}

fn may_match(service_name: &str, matchers: &[Matcher]) -> bool {
    matchers.iter().filter(|m| m.name() == name::SERVICE_NAME).all(|m| m.matches_value(service_name))
}

fn select_part(dataset: &Arc<dyn Dataset>, matchers: &[Matcher], range: TimeRange) -> Result<Part, DatasetError> {
    let series = dataset.series()?;
    let mut wanted = vec![false; series.len()];
    for index in dataset.matching_series(matchers)? {
        wanted[index as usize] = true;
    }
    if !wanted.contains(&true) {
        return Ok(Part { dataset: dataset.clone(), series, table: Arc::default(), profiles: Vec::new() });
    }
    let table = dataset.profiles()?;
    let matches = |&i: &u32| wanted[table.series[i as usize] as usize] && range.contains(table.time_ns[i as usize]);
    let profiles = (0..table.len() as u32).filter(matches).collect();
    Ok(Part { dataset: dataset.clone(), series, table, profiles })
}

#[cfg(test)]
mod tests;
