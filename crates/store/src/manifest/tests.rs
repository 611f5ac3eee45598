use super::*;
use crate::sim::SimDisk;

fn manifest(revision: u64) -> Manifest {
    let block = |id: u128| BlockInfo {
        id,
        tenant: TenantId::anonymous(),
        level: 1,
        time: TimeRange { start_ns: -5, end_ns: i64::MAX },
        bytes: 1 << 40,
        crc: 7,
        profiles: 3,
        rows: u64::MAX,
        largest_dataset_rows: 9,
    };
    Manifest {
        revision,
        flushed_through: 12,
        blocks: [ulid(5, 1), ulid(6, 2)].map(|id| (id, Arc::new(block(id)))).into(),
        quarantined: [(1, QuarantinedBlock { block: block(1), reason: "bad".to_owned() })].into(),
    }
}

#[test]
fn round_trips_and_notices_every_flipped_bit() {
    let bytes = encode(&manifest(3));
    assert_eq!(decode(&bytes), Ok(manifest(3)));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(decode(&changed).is_err(), "flip at {at}");
        assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn one_damaged_copy_is_survived_and_reported() {
    let disk = SimDisk::new(1);
    let store = FileMetastore::new(Arc::new(disk.clone()));
    assert_eq!(store.load().unwrap(), (Manifest::default(), vec![]));
    store.swap(0, &manifest(1)).unwrap();
    store.swap(1, &manifest(2)).unwrap();
    for damaged in COPIES {
        let disk = disk.fork();
        disk.flip_bit(damaged, 200);
        let (loaded, damage) = FileMetastore::new(Arc::new(disk)).load().unwrap();
        assert_eq!((loaded, damage.len()), (manifest(2), 1));
    }
    COPIES.iter().for_each(|path| disk.flip_bit(path, 200));
    assert!(matches!(store.load(), Err(StoreError::Damaged { .. })));
}

#[test]
fn only_the_expected_revision_is_replaced() {
    let store = FileMetastore::new(Arc::new(SimDisk::new(1)));
    assert!(matches!(store.swap(1, &manifest(2)), Err(StoreError::Conflict { expected: 1, found: 0 })));
    store.swap(0, &manifest(3)).unwrap();
    assert!(store.swap(0, &manifest(4)).is_err());
    assert!(store.swap(3, &manifest(3)).is_err());
}

#[test]
fn ulids_read_as_text_in_order_of_time() {
    assert_eq!(ulid_text(0), "0".repeat(26));
    assert_eq!(ulid_text(u128::MAX), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    assert!(ulid_text(ulid(5, u128::MAX)) < ulid_text(ulid(6, 0)));
    assert_eq!(ulid_ms(ulid(77, 3)), 77);
}
