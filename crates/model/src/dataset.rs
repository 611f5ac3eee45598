//! What queries read: the profiles of one service in one part of the store.

use std::ops::Range;
use std::sync::Arc;

use crate::{Dictionary, Labels, Matcher, StackId, Upload};

/// One entry per stored profile.
///
/// Shape: columns of equal length; `series` indexes [`Dataset::series`]; the rows of profile `i` are
/// `row_end[i - 1]..row_end[i]` (from 0 for the first).
/// Units: times in ns since the Unix epoch; totals in the unit of the series' profile type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProfileTable {
    /// Series of the profile.
    pub series: Vec<u32>,
    /// When it was taken.
    pub time_ns: Vec<i64>,
    /// Window that it covers.
    pub duration_ns: Vec<i64>,
    /// Sum of its values.
    pub total: Vec<i64>,
    /// Its id.
    pub id: Vec<u128>,
    /// End of its rows.
    pub row_end: Vec<u32>,
}

impl ProfileTable {
    /// Number of profiles.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is no profile.
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Rows of the profile at `index`.
    pub fn rows(&self, index: usize) -> Range<u32> {
        let start = if index == 0 { 0 } else { self.row_end[index - 1] };
        start..self.row_end[index]
    }
}

/// Which columns a scan reads besides stack and value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RowColumns {
    /// Read [`RowSlice::span_id`].
    pub span_id: bool,
    /// Read [`RowSlice::trace_id`].
    pub trace_id: bool,
}

/// Consecutive rows of a dataset.
///
/// Shape: `stack` and `value` of equal length; `span_id` and `trace_id` of that length too, or empty where not asked
/// for or where no row of the slice has one (then every row counts as 0).
#[derive(Clone, Copy, Debug)]
pub struct RowSlice<'a> {
    /// Index of the first row.
    pub first_row: u32,
    /// Stack of each row in the dataset's dictionary.
    pub stack: &'a [StackId],
    /// Value of each row.
    pub value: &'a [i64],
    /// Span of each row, 0 for none.
    pub span_id: &'a [u64],
    /// Trace of each row, 0 for none.
    pub trace_id: &'a [u128],
}

/// A part of the store could not be read; the rest can.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct DatasetError {
    /// Block or file that is damaged.
    pub place: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Profiles of one service that share a dictionary: a part of the head or of a block.
///
/// All methods may read from disk; none changes anything. Implementations are cheap to hold and share.
pub trait Dataset: Send + Sync {
    /// The `service_name` of all series.
    fn service_name(&self) -> &str;

    /// Label sets of the series, distinct, in the order that [`ProfileTable::series`] indexes.
    fn series(&self) -> Result<Arc<[Labels]>, DatasetError>;

    /// Indexes of the series that all `matchers` accept, ascending.
    fn matching_series(&self, matchers: &[Matcher]) -> Result<Vec<u32>, DatasetError> {
        let series = self.series()?;
        let accepted = |labels: &Labels| matchers.iter().all(|m| m.matches(labels));
        Ok((0u32..).zip(series.iter()).filter(|(_, labels)| accepted(labels)).map(|(i, _)| i).collect())
    }

    /// The profiles, in no promised order.
    fn profiles(&self) -> Result<Arc<ProfileTable>, DatasetError>;

    /// Symbols and stacks of the rows.
    fn dictionary(&self) -> Result<Arc<Dictionary>, DatasetError>;

    /// Calls `visit` with the rows of `ranges`, which are ascending and disjoint, in slices of any size.
    fn scan(
        &self,
        ranges: &[Range<u32>],
        columns: RowColumns,
        visit: &mut dyn FnMut(RowSlice<'_>),
    ) -> Result<(), DatasetError>;
}

/// A dataset held in memory, column by column.
#[derive(Clone, Debug, Default)]
pub struct MemoryDataset {
    /// See [`Dataset::service_name`].
    pub service_name: String,
    /// See [`Dataset::series`].
    pub series: Vec<Labels>,
    /// See [`Dataset::profiles`].
    pub profiles: Arc<ProfileTable>,
    /// See [`Dataset::dictionary`].
    pub dictionary: Arc<Dictionary>,
    /// Stack of each row.
    pub stack: Vec<StackId>,
    /// Value of each row.
    pub value: Vec<i64>,
    /// Span of each row; empty or as long as `stack`.
    pub span_id: Vec<u64>,
    /// Trace of each row; empty or as long as `stack`.
    pub trace_id: Vec<u128>,
}

impl MemoryDataset {
    /// Puts one upload into a dataset by itself: every stack becomes nodes of a fresh tree without sharing.
    ///
    /// For tests and for viewing files; the store shares nodes between uploads.
    pub fn of_upload(upload: &Upload) -> Self {
        let mut dataset = Self { service_name: upload.service_name().to_owned(), ..Self::default() };
        let mut dictionary = Dictionary { symbols: upload.symbols.clone(), ..Dictionary::default() };
        let leaves: Vec<StackId> = upload
            .stacks
            .iter()
            .map(|stack| {
                stack.iter().rev().fold(StackId(0), |parent, &location| dictionary.stacks.push(parent, location))
            })
            .collect();
        let mut profiles = ProfileTable::default();
        for part in &upload.series {
            let series = dataset.series.iter().position(|l| *l == part.labels).unwrap_or_else(|| {
                dataset.series.push(part.labels.clone());
                dataset.series.len() - 1
            });
            profiles.series.push(series as u32);
            profiles.time_ns.push(part.time_ns);
            profiles.duration_ns.push(part.duration_ns);
            profiles.total.push(part.total());
            profiles.id.push(part.id);
            dataset.stack.extend(part.stack.iter().map(|&s| leaves[s as usize]));
            dataset.value.extend_from_slice(&part.value);
            let row_count = part.stack.len();
            let or_zeros = |present: bool| if present { 0 } else { row_count };
            dataset
                .span_id
                .extend(part.span_id.iter().copied().chain(std::iter::repeat_n(0, or_zeros(!part.span_id.is_empty()))));
            dataset.trace_id.extend(
                part.trace_id.iter().copied().chain(std::iter::repeat_n(0, or_zeros(!part.trace_id.is_empty()))),
            );
            profiles.row_end.push(dataset.stack.len() as u32);
        }
        dataset.profiles = Arc::new(profiles);
        dataset.dictionary = Arc::new(dictionary);
        dataset
    }
}

impl Dataset for MemoryDataset {
    fn service_name(&self) -> &str {
        &self.service_name
    }

    fn series(&self) -> Result<Arc<[Labels]>, DatasetError> {
        Ok(self.series.clone().into())
    }

    fn profiles(&self) -> Result<Arc<ProfileTable>, DatasetError> {
        Ok(self.profiles.clone())
    }

    fn dictionary(&self) -> Result<Arc<Dictionary>, DatasetError> {
        Ok(self.dictionary.clone())
    }

    fn scan(
        &self,
        ranges: &[Range<u32>],
        columns: RowColumns,
        visit: &mut dyn FnMut(RowSlice<'_>),
    ) -> Result<(), DatasetError> {
        for range in ranges {
            let rows = range.start as usize..range.end as usize;
            visit(RowSlice {
                first_row: range.start,
                stack: &self.stack[rows.clone()],
                value: &self.value[rows.clone()],
                span_id: if columns.span_id && !self.span_id.is_empty() { &self.span_id[rows.clone()] } else { &[] },
                trace_id: if columns.trace_id && !self.trace_id.is_empty() {
                    &self.trace_id[rows.clone()]
                } else {
                    &[]
                },
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SeriesProfile, name};

    fn upload() -> Upload {
        let mut upload = Upload::default();
        let main = upload.symbols.push_named_location("main");
        let work = upload.symbols.push_named_location("work");
        upload.stacks.push([work, main]);
        upload.stacks.push([main]);
        let series = |ty: &str, stack: Vec<u32>, value: Vec<i64>, span_id: Vec<u64>| SeriesProfile {
            labels: Labels::new([(name::SERVICE_NAME, "shop"), (name::PROFILE_TYPE, ty)]),
            time_ns: 5,
            stack,
            value,
            span_id,
            ..SeriesProfile::default()
        };
        upload.series =
            vec![series("a:b:c::", vec![0], vec![7], vec![]), series("d:e:f::", vec![0, 1], vec![1, 2], vec![0, 9])];
        upload
    }

    #[test]
    fn an_upload_reads_back_row_by_row() {
        let dataset = MemoryDataset::of_upload(&upload());
        assert_eq!(dataset.service_name(), "shop");
        assert_eq!((dataset.profiles.total.as_slice(), dataset.profiles.rows(1)), ([7, 3].as_slice(), 1..3));
        let mut seen = Vec::new();
        let columns = RowColumns { span_id: true, trace_id: false };
        let mut see = |rows: RowSlice<'_>| seen.push((rows.value.to_vec(), rows.span_id.to_vec(), rows.trace_id.len()));
        let second_profile = dataset.profiles.rows(1);
        dataset.scan(&[second_profile], columns, &mut see).unwrap();
        assert_eq!(seen, [(vec![1, 2], vec![0, 9], 0)]);
        let names = dataset.dictionary.stacks.leaf_first(dataset.stack[1]).map(|l| {
            let symbols = &dataset.dictionary.symbols;
            symbols.function_name(symbols.lines_of(l)[0].function).to_owned()
        });
        assert_eq!(names.collect::<Vec<_>>(), ["work", "main"]);
    }

    #[test]
    fn matchers_select_series() {
        let dataset = MemoryDataset::of_upload(&upload());
        assert_eq!(dataset.matching_series(&[Matcher::equal(name::PROFILE_TYPE, "d:e:f::")]).unwrap(), [1]);
        assert_eq!(dataset.matching_series(&[]).unwrap(), [0, 1]);
    }
}
