use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::testing::random_upload;

fn config() -> StoreConfig {
    StoreConfig { head_bytes: 256 << 10, reserve_bytes: 0, ..StoreConfig::default() }
}

fn profile_ids(store: &Store) -> BTreeSet<u128> {
    let snapshot = store.tenant(&TenantId::anonymous()).snapshot(TimeRange::ALL);
    assert_eq!(snapshot.warnings, Vec::<String>::new());
    let mut ids = BTreeSet::new();
    for dataset in snapshot.datasets {
        for &id in &dataset.profiles().unwrap().id {
            assert!(ids.insert(id), "a profile is there twice");
        }
    }
    ids
}

#[test]
fn many_threads_write_while_heads_become_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), config()).unwrap();
    let expected = Mutex::new(BTreeSet::new());
    let is_done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for writer in 0..4u64 {
            let (store, expected, is_done) = (&store, &expected, &is_done);
            scope.spawn(move || {
                let tenant = store.tenant(&TenantId::anonymous());
                for i in 0..150 {
                    let service = ["shop", "cart", "mail"][i as usize % 3];
                    let upload = random_upload(writer * 1_000 + i, service, 2);
                    loop {
                        match tenant.append_and_wait(&upload) {
                            Ok(ack) => break assert_eq!(ack, Ack::Stored),
                            Err(StoreError::Overloaded { .. }) => thread::sleep(Duration::from_millis(5)),
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                    lock::mutex(expected).extend(upload.series.iter().map(|series| series.id));
                }
                is_done.fetch_add(1, Ordering::Relaxed);
            });
        }
        while is_done.load(Ordering::Relaxed) < 4 {
            let acknowledged = lock::mutex(&expected).clone();
            assert!(profile_ids(&store).is_superset(&acknowledged), "acknowledged is visible");
        }
    });
    let expected = expected.into_inner().unwrap();
    assert_eq!(profile_ids(&store), expected);
    store.probe_commit().unwrap();
    store.flush().unwrap();
    store.compact().unwrap();
    assert!(store.metrics().flushes.get() > 0);
    assert_eq!(profile_ids(&store), expected);
    let stats = store.tenant(&TenantId::anonymous()).stats();
    assert_eq!(stats.profiles, expected.len() as u64);
    store.shutdown();
    drop(store);

    let store = Store::open(directory.path(), config()).unwrap();
    assert_eq!(profile_ids(&store), expected);
    assert_eq!(store.status().ready, Ok(()));
    store.shutdown();
}

#[test]
fn a_store_that_is_dropped_without_shutdown_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), config()).unwrap();
    let upload = random_upload(1, "shop", 2);
    store.tenant(&TenantId::anonymous()).append_and_wait(&upload).unwrap();
    let copy = tempfile::tempdir().unwrap();
    copy_directory(directory.path(), copy.path());
    let copied = Store::open(copy.path(), config()).unwrap();
    assert_eq!(profile_ids(&copied), upload.series.iter().map(|series| series.id).collect());
    copied.shutdown();
    store.shutdown();
}

fn copy_directory(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_directory(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).unwrap();
        }
    }
}

#[test]
fn shutdown_refuses_uploads_and_answers_those_that_wait() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), config()).unwrap();
    let tenant = store.tenant(&TenantId::anonymous());
    let (sender, receiver) = mpsc::channel();
    for seed in 0..20 {
        let sender = sender.clone();
        tenant.append(&random_upload(seed, "shop", 1), move |outcome| sender.send(outcome).unwrap());
    }
    store.shutdown();
    drop(sender);
    assert_eq!(receiver.iter().filter(Result::is_ok).count(), 20);
    let refused = tenant.append_and_wait(&random_upload(99, "shop", 1));
    assert!(matches!(refused, Err(StoreError::ShuttingDown)), "{refused:?}");
}

/// Directory that the child process of the next two tests opens.
const CHILD_DIRECTORY: &str = "ARGAND_TEST_CHILD_DIRECTORY";

/// The calling test again in a process of its own, which finds `directory` in its environment.
fn child(test: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &format!("store::tests::{test}"), "--nocapture"]).env(CHILD_DIRECTORY, directory);
    command
}

/// Writes without end; says the number of every upload that was acknowledged.
fn write_until_killed(directory: &Path, first: u64) {
    let store = Store::open(directory, config()).unwrap();
    let tenant = store.tenant(&TenantId::anonymous());
    for number in first.. {
        let upload = Upload { idempotency_key: Some(number.into()), ..random_upload(number, "shop", 2) };
        tenant.append(&upload, move |outcome| {
            if outcome.is_ok() {
                println!("stored {number}");
            }
        });
        if number % 8 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_acknowledged() {
    if let Some(directory) = std::env::var_os(CHILD_DIRECTORY) {
        let first = std::env::var("ARGAND_TEST_CHILD_FIRST").unwrap().parse().unwrap();
        return write_until_killed(Path::new(&directory), first);
    }
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeSet::<u64>::new();
    for round in 0..6u64 {
        let mut command = child("a_killed_process_loses_nothing_acknowledged", directory.path());
        command.env("ARGAND_TEST_CHILD_FIRST", (round * 1_000_000).to_string()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let number = |line: String| line.strip_prefix("stored ")?.parse::<u64>().ok();
        let numbers = lines.by_ref().map_while(Result::ok).filter_map(number);
        acknowledged.extend(numbers.take(200 * (round as usize + 1)));
        process.kill().unwrap();
        // What it had said before it was killed.
        acknowledged.extend(lines.map_while(Result::ok).filter_map(number));
        process.wait().unwrap();
    }
    let store = Store::open(directory.path(), config()).unwrap();
    let stored = profile_ids(&store);
    for number in acknowledged {
        for series in random_upload(number, "shop", 2).series {
            assert!(stored.contains(&series.id), "upload {number} is lost");
        }
    }
    assert_eq!(store.status().damage, Vec::<String>::new());
    store.shutdown();
}

#[test]
fn a_second_process_is_refused_by_name_of_the_first() {
    if let Some(directory) = std::env::var_os(CHILD_DIRECTORY) {
        match Store::open(Path::new(&directory), config()) {
            Ok(_) => println!("child: opened"),
            Err(error) => println!("child: {error}"),
        }
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let child = || {
        let output = child("a_second_process_is_refused_by_name_of_the_first", directory.path()).output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    };
    let store = Store::open(directory.path(), config()).unwrap();
    let refused = child();
    let holder = format!("is in use by process {}", std::process::id());
    assert!(refused.contains(&holder), "{refused}");
    store.shutdown();
    drop(store);
    assert!(child().contains("child: opened"));
}
