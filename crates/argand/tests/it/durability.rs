//! What was acknowledged survives: the server is killed again and again while profiles are being pushed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fastrand::Rng;
use serde_json::json;

use crate::http::{self, Reply};
use crate::proto::{Profile, PushSeries, push_request};
use crate::query::{self, CPU};
use crate::server::Server;

const KILLS: u32 = 50;
const LIFE_MS: std::ops::RangeInclusive<u64> = 50..=600;
const PUSHERS: u64 = 4;
const SERVICE: &str = "durability";
/// Below what the test asks of the slowest machine: ten acknowledged profiles in each life.
const ACKNOWLEDGED_MIN: usize = 10 * KILLS as usize;
/// Keeps the load steady and the final flame graph at some ten thousand functions.
const PAUSE: Duration = Duration::from_millis(2);

/// What the pushers share.
struct Load {
    /// The server's place, none between its death and its next life.
    address: RwLock<Option<SocketAddr>>,
    next: AtomicU64,
    over: AtomicBool,
    records: Mutex<Records>,
}

/// What became of every profile, by number.
#[derive(Default)]
struct Records {
    acknowledged: Vec<u64>,
    /// No answer came, or a refusal: stored once or not at all.
    unknown: Vec<u64>,
}

#[test]
fn acknowledged_profiles_survive_fifty_kills() {
    let seed =
        std::env::var("ARGAND_TEST_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    eprintln!("ARGAND_TEST_SEED={seed}");
    let mut server = Server::start();
    let load = Load {
        address: RwLock::new(Some(server.address())),
        next: AtomicU64::new(0),
        over: AtomicBool::new(false),
        records: Mutex::default(),
    };
    thread::scope(|scope| {
        for _ in 0..PUSHERS {
            scope.spawn(|| load.push_until_over());
        }
        // Ends the pushers even if the server does not come back.
        let _over = OnDrop(|| load.over.store(true, Ordering::Relaxed));
        let mut rng = Rng::with_seed(seed);
        for _ in 0..KILLS {
            thread::sleep(Duration::from_millis(rng.u64(LIFE_MS)));
            server.kill();
            load.set_address(None);
            server.restart();
            load.set_address(Some(server.address()));
        }
    });
    let records = load.records.into_inner().expect("no pusher panicked");
    eprintln!("{} acknowledged, {} without an acknowledgement", records.acknowledged.len(), records.unknown.len());
    assert!(records.acknowledged.len() >= ACKNOWLEDGED_MIN, "only {} acknowledged", records.acknowledged.len());
    assert!(!records.unknown.is_empty(), "no kill hit a request: the load was too light to show anything");

    check(&server, &records, "after the kills");
    assert!(server.stop().success(), "SIGTERM ends the server with status 0");
    server.restart();
    check(&server, &records, "after a clean restart");
    server.kill();
    server.restart();
    check(&server, &records, "after one more kill");
}

impl Load {
    fn set_address(&self, address: Option<SocketAddr>) {
        *self.address.write().expect("no holder panicked") = address;
    }

    fn push_until_over(&self) {
        while !self.over.load(Ordering::Relaxed) {
            let address = *self.address.read().expect("no holder panicked");
            if let Some(address) = address {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                let acknowledged = push(address, number).is_ok_and(|reply| reply.status == 200);
                let mut records = self.records.lock().expect("no holder panicked");
                if acknowledged {
                    records.acknowledged.push(number);
                } else {
                    records.unknown.push(number);
                }
            }
            thread::sleep(PAUSE);
        }
    }
}

/// One profile that no other is like, in one of the three ways in.
fn push(address: SocketAddr, number: u64) -> Result<Reply, ureq::Error> {
    let function = function(number);
    let pprof = || Profile::cpu_of(&[&function, "main"], value(number)).encode();
    let push_url = format!("http://{address}/push.v1.PusherService/Push");
    match number % 3 {
        0 => http::post(&push_url, "application/proto", &push_request(&[PushSeries::cpu(SERVICE, pprof())])),
        1 => {
            let labels =
                json!([{"name": "__name__", "value": "process_cpu"}, {"name": "service_name", "value": SERVICE}]);
            let samples = json!([{"rawProfile": BASE64_STANDARD.encode(pprof())}]);
            let request = json!({"series": [{"labels": labels, "samples": samples}]});
            http::post(&push_url, "application/json", request.to_string().as_bytes())
        }
        _ => {
            let ingest_url = format!("http://{address}/ingest?name={SERVICE}&format=pprof");
            http::post(&ingest_url, "application/octet-stream", &pprof())
        }
    }
}

fn function(number: u64) -> String {
    format!("event_{number}")
}

/// Differs between neighbours, so that a profile stored twice cannot pass for two others.
fn value(number: u64) -> u64 {
    1_000 + number % 997
}

fn check(server: &Server, records: &Records, when: &str) {
    let graph = query::flame_graph(server, CPU, &format!("{{service_name=\"{SERVICE}\"}}"));
    let mut found: BTreeMap<String, i64> = graph.folded();
    let mut wrong = Vec::new();
    let mut take = |number: u64, may_be_absent: bool| {
        let expected = value(number).cast_signed();
        match found.remove(&format!("main;{}", function(number))) {
            Some(weight) if weight == expected => {}
            None if may_be_absent => {}
            other => wrong.push((number, expected, other)),
        }
    };
    records.acknowledged.iter().for_each(|&number| take(number, false));
    records.unknown.iter().for_each(|&number| take(number, true));
    let wrong_count = wrong.len();
    wrong.truncate(20);
    assert!(
        wrong.is_empty(),
        "{when}: {wrong_count} profiles are lost or doubled, as (number, value, found): {wrong:?}"
    );
    assert!(found.is_empty(), "{when}: there are stacks that nobody pushed: {found:?}");
}

/// Runs a closure at the end of its scope, also when that is left by a panic.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
