//! What decoding allocates, counted: bombs are refused before they cost, and limits bound the rest.

#![allow(unsafe_code)] // an allocator is unsafe to implement

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use argand_wire::inflate::{InflateLimits, gunzip};
use argand_wire::pprof::{PprofOptions, decode};
use argand_wire::{DecodeLimits, Measure, folded, otlp, speedscope, tree, trie};
use prost::Message;

mod oracle;

thread_local! {
    /// Bytes in use by this thread, and the most there were.
    static USE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

impl Counting {
    fn add(bytes: usize) {
        // Outside the life of the thread's locals nothing is measured.
        let _ = USE.try_with(|cell| {
            let (now, peak) = cell.get();
            let now = now + bytes;
            cell.set((now, peak.max(now)));
        });
    }

    fn subtract(bytes: usize) {
        let _ = USE.try_with(|cell| {
            let (now, peak) = cell.get();
            cell.set((now.saturating_sub(bytes), peak));
        });
    }
}

// SAFETY: passes every call on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::add(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        Self::subtract(layout.size());
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Old and new block exist together while their content is copied.
        Self::add(new_size);
        Self::subtract(layout.size());
        unsafe { System.realloc(block, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `f` and returns how many bytes more than before were in use at most.
fn peak_of<T>(f: impl FnOnce() -> T) -> (T, usize) {
    let before = USE.get().0;
    USE.set((before, before));
    let result = f();
    (result, USE.get().1 - before)
}

const MIB: usize = 1 << 20;
const SAMPLES: Measure<'_> = Measure { kind: "samples", unit: "count", scale: 1 };

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    std::io::Write::write_all(&mut encoder, data).expect("memory takes all bytes");
    encoder.finish().expect("memory takes all bytes")
}

#[test]
fn a_pprof_bomb_of_empty_messages_costs_no_more_than_inflating_it() {
    for field in 1..=6u8 {
        let packed = gzip(&[field << 3 | 2, 0].repeat(2 * MIB));
        let (refused, peak) = peak_of(|| {
            let bytes = gunzip(&packed, InflateLimits::new(4 * MIB)).expect("the size is allowed");
            let before = USE.get().0;
            let result = decode(&bytes, &PprofOptions::default());
            assert_eq!(USE.get().0, before, "counting allocates nothing");
            result.is_err()
        });
        assert!(refused && peak < 16 * MIB, "field {field}: {peak} bytes");
    }
}

#[test]
fn what_fills_a_pprof_costs_no_more_than_its_limit() {
    let message = |field: u8, content: &[u8]| [&[field << 3 | 2, content.len() as u8], content].concat();
    let base = [message(1, b""), message(6, b"")].concat();
    let location = message(4, &[8, 1]);
    let fillings = [
        ("lines", message(4, &[&[8, 1][..], &[34, 0].repeat(60)].concat())),
        ("strings", message(6, b"")),
        ("text", message(6, &[b'a'; 100])),
        ("locations", location.clone()),
        ("functions", message(5, &[8, 1])),
        ("mappings", message(3, b"")),
        ("frames", message(2, &[&[16, 1, 10, 120][..], &[1; 120]].concat())),
        ("labels", message(2, &[&[16, 1][..], &[26, 0].repeat(60)].concat())),
    ];
    let limits = DecodeLimits {
        samples: usize::MAX,
        strings: usize::MAX,
        string_bytes: usize::MAX,
        locations: usize::MAX,
        functions: usize::MAX,
        mappings: usize::MAX,
        ..DecodeLimits::default()
    };
    let options = PprofOptions { limits, ..PprofOptions::default() };
    for (name, filling) in fillings {
        let bytes = [&base[..], &location, &filling.repeat(4 * MIB / filling.len())].concat();
        let (_, peak) = peak_of(|| decode(&bytes, &options));
        assert!(peak <= options.limits.memory_bytes, "{name}: {peak} bytes");
    }
}

#[test]
fn the_memory_limit_is_an_upper_bound_but_not_a_wild_one() {
    let bytes = oracle::busy_service(2_000, 30).encode_to_vec();
    let (profile, peak) = peak_of(|| decode(&bytes, &PprofOptions::default()).expect("the profile is valid"));
    assert!(peak < 4 * bytes.len(), "{peak} bytes for a profile of {}", bytes.len());
    let mut options = PprofOptions::default();
    options.limits.memory_bytes = peak - 1;
    assert!(decode(&bytes, &options).is_err(), "less than what it takes is refused");
    options.limits.memory_bytes = 2 * peak;
    assert_eq!(decode(&bytes, &options).as_ref(), Ok(&profile));
}

#[test]
fn inflating_stops_at_the_limit() {
    let packed = gzip(&vec![0; 32 * MIB]);
    let (result, peak) = peak_of(|| gunzip(&packed, InflateLimits::new(4 * MIB)).is_err());
    assert!(result && peak < 13 * MIB, "{peak} bytes");
}

#[test]
fn other_formats_stay_within_the_memory_limit() {
    let limits = DecodeLimits { samples: usize::MAX, ..DecodeLimits::default() };
    let mut chain = vec![0, 0, 1];
    chain.extend([0, 1, 1].repeat(MIB));
    let mut star = Vec::new();
    tree::write_node(&mut star, "", 0, 800_000);
    (0..800_000).for_each(|i| tree::write_node(&mut star, &format!("{i:x}"), 1, 0));
    let wide: String = (0..600_000).map(|i| format!("{i:x} 1\n")).collect();
    let deep = format!("{} 1", "a;".repeat(2 * MIB));
    let measure = |name: &str, decode: &dyn Fn()| {
        let ((), peak) = peak_of(decode);
        assert!(peak <= limits.memory_bytes, "{name}: {peak} bytes");
    };
    measure("tree chain", &|| assert!(tree::decode(&chain, SAMPLES, &limits).is_err()));
    measure("trie chain", &|| assert!(trie::decode(&chain, SAMPLES, &limits).is_err()));
    measure("tree star", &|| assert!(tree::decode(&star, SAMPLES, &limits).is_err()));
    measure("trie star", &|| assert!(trie::decode(&star, SAMPLES, &limits).is_err()));
    measure("wide text", &|| assert!(folded::decode_groups(wide.as_bytes(), SAMPLES, &limits).is_err()));
    measure("deep text", &|| assert!(folded::decode_groups(deep.as_bytes(), SAMPLES, &limits).is_err()));
}

#[test]
fn speedscope_stays_within_the_memory_limit() {
    let limits = DecodeLimits { samples: usize::MAX, ..DecodeLimits::default() };
    let file = |frames: &str, profiles: &str| {
        let schema = speedscope::SCHEMA;
        format!(r#"{{"$schema":"{schema}","shared":{{"frames":[{frames}]}},"profiles":[{profiles}]}}"#)
    };
    let profile = |fields: &str| format!(r#"{{"name":"","unit":"none","startValue":0,"endValue":0,{fields}}},"#);
    let list = |item: &str, bytes: usize| item.repeat(bytes / item.len()) + item.trim_end_matches(',');
    let half = 2 * MIB - 400;
    let files = [
        (
            "weights",
            file(
                "",
                profile(&format!(r#""type":"sampled","weights":[{}]"#, list("1,", 2 * half))).trim_end_matches(','),
            ),
        ),
        (
            "stacks",
            file(
                "",
                profile(&format!(r#""type":"sampled","samples":[{}]"#, list("[],", 2 * half))).trim_end_matches(','),
            ),
        ),
        ("frames", file(&list(r#"{"name":""},"#, 2 * half), "")),
        ("profiles", file("", &list(&profile(r#""type":"sampled""#), 2 * half))),
        (
            "events",
            file(
                r#"{"name":""}"#,
                profile(&format!(
                    r#""type":"evented","events":[{}]"#,
                    list(r#"{"type":"O","at":0,"frame":0},"#, 2 * half)
                ))
                .trim_end_matches(','),
            ),
        ),
    ];
    for (name, text) in files {
        assert!(text.len() <= 4 * MIB, "{name}: the file is let in");
        let (result, peak) = peak_of(|| speedscope::decode(text.as_bytes(), &limits));
        assert!(peak <= limits.memory_bytes, "{name}: {peak} bytes, {:?}", result.err());
    }
}

/// A message or text of fewer than 128 bytes in a field, or of any size.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    argand_wire::proto::put_varint(&mut out, content.len() as u64);
    out.extend_from_slice(content);
    out
}

/// Decodes and keeps everything, as whoever stores it would.
fn decode_otlp(bytes: &[u8], limits: &DecodeLimits) -> Result<Vec<argand_model::Profile>, otlp::OtlpError> {
    let mut kept = Vec::new();
    otlp::decode(bytes, limits, |part| {
        kept.push(part.profile);
        Ok::<_, otlp::OtlpError>(())
    })?;
    Ok(kept)
}

#[test]
fn an_otlp_bomb_of_empty_messages_costs_next_to_nothing() {
    for table in 1..=7u8 {
        let bomb = field(2, &field(table, b"").repeat(2 * MIB));
        let (_, peak) = peak_of(|| decode_otlp(&bomb, &DecodeLimits::default()));
        // Only stacks are small enough for so many: four bytes each.
        assert!(peak < 12 * MIB, "table {table}: {peak} bytes");
    }
}

#[test]
fn what_fills_an_otlp_export_costs_no_more_than_its_limit() {
    let tables = field(
        2,
        &[
            field(5, b""),
            field(5, &[b'n'; 10_000]),
            field(3, b""),
            field(3, &[8, 1]),
            field(2, b""),
            field(2, &field(3, &[8, 1])),
            field(7, b""),
            field(7, &field(1, &[1; 1_000])),
            field(6, b""),
            field(6, &[&[8, 1][..], &field(2, &field(1, b"value"))].concat()),
            field(4, b""),
            field(4, &field(1, &[7; 16])),
        ]
        .concat(),
    );
    let profile = |samples: &[u8]| field(2, samples);
    let export = |profiles: &[u8]| [field(1, &field(2, profiles)), tables.clone()].concat();
    let attribute = [field(1, b"k"), field(2, &field(1, b"v"))].concat();
    let limits = DecodeLimits {
        samples: usize::MAX,
        labels_per_sample: usize::MAX,
        strings: usize::MAX,
        ..DecodeLimits::default()
    };
    let fillings = [
        ("samples", export(&profile(&field(2, &[8, 0]).repeat(MIB)))),
        ("deep samples", export(&profile(&field(2, &[8, 1]).repeat(MIB)))),
        ("labels", export(&profile(&field(2, &field(2, &[1; 4_000])).repeat(1_000)))),
        ("links", export(&profile(&field(2, &[24, 1]).repeat(MIB)))),
        ("profiles", export(&profile(&field(2, &[8, 1])).repeat(500_000))),
        ("attributes", field(1, &field(1, &field(1, &attribute).repeat(400_000)))),
        ("dictionaries", field(2, b"").repeat(2 * MIB)),
    ];
    for (name, bytes) in fillings {
        // Whoever keeps the profiles pays for their structs, too.
        let kept = size_of::<argand_model::Profile>() * 2 * 500_000;
        let (result, peak) = peak_of(|| decode_otlp(&bytes, &limits));
        let allowed = limits.memory_bytes + if name == "profiles" { kept } else { 0 };
        assert!(peak <= allowed, "{name}: {peak} bytes, {:?}", result.err());
    }
}
