//! Uploads for tests.

use argand_model::{Labels, LocationId, SeriesProfile, Upload, name};

/// SplitMix64: small, seeded, the same everywhere.
#[derive(Clone, Debug)]
pub(crate) struct TestRng(pub(crate) u64);

impl TestRng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True in `percent` of all cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// An upload of `series` series; names come from a small pool, so that uploads share symbols.
pub(crate) fn random_upload(seed: u64, service: &str, series: usize) -> Upload {
    let mut rng = TestRng(seed);
    let mut upload = Upload::default();
    let locations: Vec<LocationId> = (0..2 + rng.below(6))
        .map(|_| upload.symbols.push_named_location(&format!("function_{}", rng.below(40))))
        .collect();
    for _ in 0..1 + rng.below(8) {
        let depth = rng.below(6);
        upload
            .stacks
            .push((0..depth).map(|_| locations[rng.below(locations.len() as u64) as usize]).collect::<Vec<_>>());
    }
    for index in 0..series {
        let rows = upload.stacks.len();
        let with_links = rng.chance(30);
        let links = |rng: &mut TestRng| if with_links { (0..rows).map(|_| rng.below(3)).collect() } else { vec![] };
        upload.series.push(SeriesProfile {
            labels: Labels::new([
                (name::SERVICE_NAME, service.to_owned()),
                (name::PROFILE_TYPE, format!("type{index}:a:b:c:d")),
                ("instance", format!("i{}", rng.below(4))),
            ]),
            id: u128::from(rng.next()) << 64 | u128::from(rng.next()),
            time_ns: rng.below(1_000_000_000) as i64,
            duration_ns: rng.below(100) as i64,
            stack: (0..rows as u32).collect(),
            value: (0..rows).map(|_| rng.below(1_000) as i64).collect(),
            span_id: links(&mut rng),
            trace_id: links(&mut rng).into_iter().map(u128::from).collect(),
        });
    }
    upload
}
