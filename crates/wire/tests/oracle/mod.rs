//! `profile.proto` as declared for a general Protocol Buffers library: an independent reader and writer.

#![allow(dead_code, missing_docs, unreachable_pub)] // tests and the benchmark each use a part

#[derive(Clone, PartialEq, prost::Message)]
pub struct Profile {
    #[prost(message, repeated, tag = "1")]
    pub sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    pub sample: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub mapping: Vec<Mapping>,
    #[prost(message, repeated, tag = "4")]
    pub location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    pub function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    pub string_table: Vec<String>,
    #[prost(int64, tag = "7")]
    pub drop_frames: i64,
    #[prost(int64, tag = "8")]
    pub keep_frames: i64,
    #[prost(int64, tag = "9")]
    pub time_nanos: i64,
    #[prost(int64, tag = "10")]
    pub duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    pub period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    pub period: i64,
    #[prost(int64, repeated, tag = "13")]
    pub comment: Vec<i64>,
    #[prost(int64, tag = "14")]
    pub default_sample_type: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct ValueType {
    #[prost(int64, tag = "1")]
    pub r#type: i64,
    #[prost(int64, tag = "2")]
    pub unit: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    pub location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    pub value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    pub label: Vec<Label>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Label {
    #[prost(int64, tag = "1")]
    pub key: i64,
    #[prost(int64, tag = "2")]
    pub str: i64,
    #[prost(int64, tag = "3")]
    pub num: i64,
    #[prost(int64, tag = "4")]
    pub num_unit: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Mapping {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub memory_start: u64,
    #[prost(uint64, tag = "3")]
    pub memory_limit: u64,
    #[prost(uint64, tag = "4")]
    pub file_offset: u64,
    #[prost(int64, tag = "5")]
    pub filename: i64,
    #[prost(int64, tag = "6")]
    pub build_id: i64,
    #[prost(bool, tag = "7")]
    pub has_functions: bool,
    #[prost(bool, tag = "8")]
    pub has_filenames: bool,
    #[prost(bool, tag = "9")]
    pub has_line_numbers: bool,
    #[prost(bool, tag = "10")]
    pub has_inline_frames: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Location {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(uint64, tag = "2")]
    pub mapping_id: u64,
    #[prost(uint64, tag = "3")]
    pub address: u64,
    #[prost(message, repeated, tag = "4")]
    pub line: Vec<Line>,
    #[prost(bool, tag = "5")]
    pub is_folded: bool,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Line {
    #[prost(uint64, tag = "1")]
    pub function_id: u64,
    #[prost(int64, tag = "2")]
    pub line: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub struct Function {
    #[prost(uint64, tag = "1")]
    pub id: u64,
    #[prost(int64, tag = "2")]
    pub name: i64,
    #[prost(int64, tag = "3")]
    pub system_name: i64,
    #[prost(int64, tag = "4")]
    pub filename: i64,
    #[prost(int64, tag = "5")]
    pub start_line: i64,
}

/// A profile like that of a busy service: `samples` stacks of `depth` frames that share their outer half, two values
/// and one label each; names and files of realistic length.
pub fn busy_service(samples: u64, depth: u64) -> Profile {
    let functions = 4 * depth + samples;
    let mut string_table: Vec<String> =
        ["", "samples", "count", "cpu", "nanoseconds", "endpoint", "/bin/shop", "0f1e2d"].map(str::to_owned).into();
    let fixed = string_table.len() as i64;
    string_table
        .extend((0..functions).map(|i| format!("example.com/shop/internal/checkout.(*Service{i}).handleRequest")));
    string_table.extend((0..functions / 8).map(|i| format!("/src/shop/internal/checkout/service_{i}.go")));
    let files = fixed + functions as i64;
    let function = |i: u64| {
        let name = fixed + i as i64;
        Function {
            id: i + 1,
            name,
            system_name: name,
            filename: files + (i / 8 % (functions / 8)) as i64,
            start_line: 10,
        }
    };
    let location = |i: u64| Location {
        id: i + 1,
        mapping_id: 1,
        address: 0x40_0000 + 16 * i,
        line: vec![Line { function_id: i + 1, line: 10 + (i % 500) as i64 }],
        is_folded: false,
    };
    let sample = |i: u64| Sample {
        location_id: (0..depth)
            .map(|level| 1 + if level < depth / 2 { (i * 31 + level * 7) % functions } else { level })
            .collect(),
        value: vec![1, 10_000_000 * (1 + i as i64 % 5)],
        label: vec![Label { key: 5, str: fixed + (i % 16) as i64, num: 0, num_unit: 0 }],
    };
    Profile {
        sample_type: vec![ValueType { r#type: 1, unit: 2 }, ValueType { r#type: 3, unit: 4 }],
        sample: (0..samples).map(sample).collect(),
        mapping: vec![Mapping {
            id: 1,
            memory_start: 0x40_0000,
            memory_limit: 0x80_0000,
            filename: 6,
            build_id: 7,
            ..Mapping::default()
        }],
        location: (0..functions).map(location).collect(),
        function: (0..functions).map(function).collect(),
        string_table,
        time_nanos: 1_700_000_000_000_000_000,
        duration_nanos: 10_000_000_000,
        period_type: Some(ValueType { r#type: 3, unit: 4 }),
        period: 10_000_000,
        ..Profile::default()
    }
}
