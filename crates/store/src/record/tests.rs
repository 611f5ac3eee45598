use argand_model::name;

use super::*;
use crate::interner::Interner;
use crate::testing::random_upload;

fn encoded(seed: u64) -> (Vec<u8>, Vec<Labels>, Interner) {
    let upload = random_upload(seed, "shop", 3);
    let mut interner = Interner::new([1, 2]);
    let nodes = interner.intern_stacks(&upload.symbols, &upload.stacks, 0..upload.stacks.len() as u32);
    let series: Vec<Labels> = upload.series.iter().map(|s| s.labels.clone()).collect();
    let mut rows = Vec::new();
    let mut profiles = Vec::new();
    for (i, profile) in upload.series.iter().enumerate() {
        let start = rows.len();
        rows::pack(&mut rows, profile, &nodes);
        profiles.push(ProfileHeader {
            series: i as u32,
            id: profile.id,
            time_ns: profile.time_ns,
            duration_ns: profile.duration_ns,
            total: profile.total(),
            row_count: profile.stack.len() as u32,
            rows_len: (rows.len() - start) as u32,
        });
    }
    let parts = UploadParts {
        tenant: &TenantId::anonymous(),
        service: "shop",
        key: Some(77),
        base: TableLengths::empty(),
        series: &series,
        dictionary: interner.dictionary(),
        profiles: &profiles,
        rows: &rows,
    };
    (encode_upload(&parts), series, interner)
}

#[test]
fn an_upload_carries_its_part_of_the_dictionary() {
    let (payload, series, interner) = encoded(1);
    let Record::Upload(record) = Record::decode(&payload).unwrap() else { panic!("not an upload") };
    let symbols = &interner.dictionary().symbols;
    assert_eq!((record.tenant, record.service, record.key), (Some(TenantId::anonymous()), "shop", Some(77)));
    assert_eq!(record.series, series);
    assert_eq!(record.series[0].get(name::SERVICE_NAME), Some("shop"));
    assert_eq!(record.strings, symbols.strings.iter().skip(1).collect::<Vec<_>>());
    assert_eq!(record.functions, symbols.functions[1..]);
    assert_eq!(record.mappings, symbols.mappings[1..]);
    assert_eq!(record.lines, symbols.lines);
    assert_eq!(record.locations.len(), symbols.locations.len());
    let stacks = &interner.dictionary().stacks;
    let nodes: Vec<_> = (1..stacks.len()).map(|i| (stacks.parent[i], stacks.location[i])).collect();
    assert_eq!(record.nodes, nodes);
}

#[test]
fn keys_and_probes_round_trip() {
    let (a, b): (TenantId, TenantId) = ("a".parse().unwrap(), "b".parse().unwrap());
    let keys = [(&a, 1), (&a, 2), (&b, 3), (&a, 4)];
    let expected = keys.map(|(tenant, key)| (tenant.clone(), key)).to_vec();
    assert_eq!(Record::decode(&encode_keys(keys.into_iter())), Ok(Record::Keys(expected)));
    assert_eq!(Record::decode(&encode_probe()), Ok(Record::Probe));
}

#[test]
fn any_change_decodes_or_fails_without_a_panic() {
    let (payload, ..) = encoded(2);
    for at in 0..payload.len() {
        assert!(Record::decode(&payload[..at]).is_err(), "cut at {at}");
        for byte in [0, 0x7F, 0xFF, payload[at] ^ 1] {
            let mut changed = payload.clone();
            changed[at] = byte;
            let _ = Record::decode(&changed);
        }
    }
}
