//! Profiles drawn as text, for tests: folded stacks in, datasets out.

use std::sync::Arc;

use argand_model::{
    Dataset, DatasetError, Dictionary, Function, Labels, Line, MappingId, Matcher, MemoryDataset, ProfileTable,
    RowColumns, RowSlice, SeriesProfile, TimeRange, Upload, name,
};

use crate::{CallTree, Control, Filter, Selection, merge, select};

pub(crate) const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// A profile of `shop` taken at 1 s, from lines of `frame;frame;… value`, root first.
///
/// `a+b` is one location with `b` inlined into `a`; `@0x1f` is an address without symbols; a value may be followed by
/// `span=…` and `trace=…` in hexadecimal.
pub(crate) fn upload(folded: &str) -> Upload {
    upload_at(folded, 1_000_000_000, &[])
}

/// The same at any time in ns and with more labels.
pub(crate) fn upload_at(folded: &str, time_ns: i64, labels: &[(&str, &str)]) -> Upload {
    let mut upload = Upload::default();
    let common = [(name::SERVICE_NAME, "shop"), (name::PROFILE_TYPE, CPU)];
    let mut series = SeriesProfile {
        labels: Labels::new(common.into_iter().chain(labels.iter().copied())),
        id: time_ns as u128,
        time_ns,
        ..SeriesProfile::default()
    };
    for line in folded.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let stack_text = words.next().expect("a stack");
        let value = words.next().expect("a value").parse().expect("a number");
        let (mut span_id, mut trace_id) = (0, 0);
        for word in words {
            match word.split_once('=').expect("key=value") {
                ("span", id) => span_id = u64::from_str_radix(id, 16).expect("a span id"),
                ("trace", id) => trace_id = u128::from_str_radix(id, 16).expect("a trace id"),
                other => panic!("unknown attribute {other:?}"),
            }
        }
        let frames: Vec<&str> = stack_text.split(';').filter(|frame| !frame.is_empty()).collect();
        let locations: Vec<_> = frames.iter().rev().map(|frame| push_location(&mut upload, frame)).collect();
        series.stack.push(upload.stacks.push(locations));
        series.value.push(value);
        series.span_id.push(span_id);
        series.trace_id.push(trace_id);
    }
    upload.series.push(series);
    upload
}

fn push_location(upload: &mut Upload, frame: &str) -> argand_model::LocationId {
    let symbols = &mut upload.symbols;
    if let Some(address) = frame.strip_prefix("@0x") {
        return symbols.push_location(MappingId(0), u64::from_str_radix(address, 16).expect("hex"), false, &[]);
    }
    let mut lines: Vec<Line> = frame
        .split('+')
        .map(|text| {
            let name = symbols.strings.push(text);
            Line { function: symbols.push_function(Function { name, ..Function::default() }), line: 7 }
        })
        .collect();
    lines.reverse(); // innermost first
    symbols.push_location(MappingId(0), 0, false, &lines)
}

pub(crate) fn datasets(uploads: &[Upload]) -> Vec<Arc<dyn Dataset>> {
    uploads.iter().map(|upload| Arc::new(MemoryDataset::of_upload(upload)) as Arc<dyn Dataset>).collect()
}

/// Everything in `uploads`, each as a dataset of its own.
pub(crate) fn selection(uploads: &[Upload]) -> Selection {
    select(&datasets(uploads), &[], TimeRange::ALL, &Control::default()).expect("nobody cancels")
}

pub(crate) fn tree(folded: &str) -> CallTree {
    tree_of(&[upload(folded)], &Filter::default())
}

pub(crate) fn tree_of(uploads: &[Upload], filter: &Filter) -> CallTree {
    let merged = merge(&selection(uploads), filter, &Control::default()).expect("nobody cancels");
    assert!(merged.damaged.is_empty());
    merged.value
}

/// The nodes of a tree that have a self value, as sorted folded lines.
pub(crate) fn folded(tree: &CallTree) -> String {
    let path = |node: usize| {
        let ancestors = std::iter::successors(Some(node), |&i| Some(tree.parent[i] as usize));
        let mut names: Vec<&str> = ancestors.take_while(|&i| i != 0).map(|i| tree.names.get(tree.name[i])).collect();
        names.reverse();
        names.join(";")
    };
    let with_value = (0..tree.len()).filter(|&i| tree.self_value[i] != 0);
    let mut lines: Vec<String> = with_value.map(|i| format!("{} {}", path(i), tree.self_value[i])).collect();
    lines.sort();
    lines.join("\n")
}

/// A dataset of which some parts cannot be read.
pub(crate) struct Damaged {
    pub(crate) inner: MemoryDataset,
    /// Whether the profiles can still be read, and only the dictionary cannot.
    pub(crate) profiles_are_readable: bool,
}

fn damage() -> DatasetError {
    DatasetError { place: "block 7".into(), reason: "checksum differs".into() }
}

impl Dataset for Damaged {
    fn service_name(&self) -> &str {
        self.inner.service_name()
    }

    fn series(&self) -> Result<Arc<[Labels]>, DatasetError> {
        self.inner.series()
    }

    fn matching_series(&self, matchers: &[Matcher]) -> Result<Vec<u32>, DatasetError> {
        self.inner.matching_series(matchers)
    }

    fn profiles(&self) -> Result<Arc<ProfileTable>, DatasetError> {
        if self.profiles_are_readable { self.inner.profiles() } else { Err(damage()) }
    }

    fn dictionary(&self) -> Result<Arc<Dictionary>, DatasetError> {
        Err(damage())
    }

    fn scan(
        &self,
        _: &[std::ops::Range<u32>],
        _: RowColumns,
        _: &mut dyn FnMut(RowSlice<'_>),
    ) -> Result<(), DatasetError> {
        Err(damage())
    }
}

/// Up to 60 stacks of few names, so that they share frames.
pub(crate) fn any_folded() -> impl proptest::strategy::Strategy<Value = String> {
    use proptest::prelude::*;
    let frame = prop::sample::select(vec!["a", "b", "c", "d+e", "other", "total", "@0x10", "ä"]);
    let stack = prop::collection::vec(frame, 1..8).prop_map(|frames| frames.join(";"));
    let line = (stack, 1i64..1000).prop_map(|(stack, value)| format!("{stack} {value}"));
    prop::collection::vec(line, 0..60).prop_map(|lines| lines.join("\n"))
}
