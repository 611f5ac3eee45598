//! A server on free ports with a store in memory, a clock that stands still, and clients for it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use argand_model::{Dataset, MemoryDataset, TenantId, TimeRange, Upload};
use argand_server::proto::google::v1 as pprof;
use argand_server::proto::push::v1::{PushRequest, RawProfileSeries, RawSample};
use argand_server::proto::types::v1::LabelPair;
use argand_server::{
    BuildInfo, ConfigText, Dependencies, Policy, PolicyHandle, Reading, ReadingValue, SelfProfile, Server,
    ServerConfig, SettingsFile, Storage, StorageError, StorageStatus,
};
use buffa::Message;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};

/// Where the clock of the tests stands.
pub(crate) const NOW_MS: i64 = 1_700_000_000_000;
pub(crate) const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

/// Uploads in a list, newest last.
#[derive(Default)]
pub(crate) struct MemoryStorage {
    pub(crate) uploads: Mutex<Vec<(TenantId, Upload)>>,
    /// Answer of the next calls that write.
    pub(crate) refusal: Mutex<Option<StorageError>>,
    pub(crate) not_ready: Mutex<Option<String>>,
    pub(crate) flushes: AtomicU64,
    /// Whether calls that write panic.
    pub(crate) panics: AtomicBool,
    /// Calls that write.
    pub(crate) appends: AtomicU64,
    /// Calls that read profiles.
    pub(crate) reads: AtomicU64,
    gate: Arc<RwLock<()>>,
}

/// Calls that write wait until this is dropped.
pub(crate) struct Blocked {
    _release: std::sync::mpsc::Sender<()>,
}

impl MemoryStorage {
    pub(crate) fn block_appends(&self) -> Blocked {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (report, locked) = std::sync::mpsc::channel();
        let gate = self.gate.clone();
        std::thread::spawn(move || {
            let _closed = gate.write().unwrap();
            report.send(()).unwrap();
            let _ = released.recv();
        });
        locked.recv().unwrap();
        Blocked { _release: release }
    }
}

impl Storage for MemoryStorage {
    fn wait_for_room(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn append(&self, tenant: &TenantId, uploads: Vec<Upload>) -> Result<(), StorageError> {
        self.appends.fetch_add(1, Ordering::Relaxed);
        let _open = self.gate.read().unwrap();
        assert!(!self.panics.load(Ordering::Relaxed), "asked to panic");
        if let Some(refusal) = self.refusal.lock().unwrap().clone() {
            return Err(refusal);
        }
        self.uploads.lock().unwrap().extend(uploads.into_iter().map(|upload| (tenant.clone(), upload)));
        Ok(())
    }

    fn datasets(&self, tenant: &TenantId, _: TimeRange) -> Result<Vec<Arc<dyn Dataset>>, StorageError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let uploads = self.uploads.lock().unwrap();
        let own = uploads.iter().filter(|(owner, _)| owner == tenant);
        Ok(own.map(|(_, upload)| Arc::new(MemoryDataset::of_upload(upload)) as Arc<dyn Dataset>).collect())
    }

    fn time_range(&self, tenant: &TenantId) -> Option<TimeRange> {
        let uploads = self.uploads.lock().unwrap();
        let own = uploads.iter().filter(|(owner, _)| owner == tenant).flat_map(|(_, upload)| &upload.series);
        let times: Vec<i64> = own.map(|series| series.time_ns).collect();
        Some(TimeRange { start_ns: *times.iter().min()?, end_ns: *times.iter().max()? })
    }

    fn ready(&self) -> Result<(), String> {
        self.not_ready.lock().unwrap().clone().map_or(Ok(()), Err)
    }

    fn status(&self) -> StorageStatus {
        StorageStatus { tenants: 1, blocks: 2, size_bytes: 3, max_series_per_tenant: 4 }
    }

    fn readings(&self) -> Vec<Reading> {
        vec![Reading { name: "store_blocks".into(), help: "Blocks".into(), value: ReadingValue::Gauge(2.0) }]
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn compact(&self) -> Result<(), StorageError> {
        Err(StorageError::Unavailable("nothing to compact".into()))
    }
}

struct NoFile;

impl SettingsFile for NoFile {
    fn load(&self) -> std::io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn save(&self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

struct FixedProfile;

impl SelfProfile for FixedProfile {
    fn cpu(&self, seconds: u32) -> Result<Vec<u8>, String> {
        Ok(seconds.to_string().into_bytes())
    }

    fn heap(&self) -> Result<Vec<u8>, String> {
        Err("built without heap profiles".into())
    }
}

pub(crate) struct TestServer {
    pub(crate) address: SocketAddr,
    pub(crate) admin_address: SocketAddr,
    pub(crate) storage: Arc<MemoryStorage>,
    pub(crate) policy: PolicyHandle,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    running: tokio::task::JoinHandle<()>,
}

pub(crate) async fn start() -> TestServer {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(configure: impl FnOnce(&mut ServerConfig)) -> TestServer {
    start_with_policy(|config, _| configure(config)).await
}

pub(crate) async fn start_with_policy(configure: impl FnOnce(&mut ServerConfig, &mut Policy)) -> TestServer {
    let mut config = ServerConfig::default();
    let config_text = ConfigText { current: "password: <masked>\n".into(), ..ConfigText::default() };
    let mut policy = Policy { config_text, ..Policy::default() };
    configure(&mut config, &mut policy);
    let policy = PolicyHandle::new(policy);
    let storage = Arc::new(MemoryStorage::default());
    let next_id = AtomicU64::new(1);
    let parts = Dependencies {
        storage: storage.clone(),
        settings: Arc::new(NoFile),
        self_profile: Some(Arc::new(FixedProfile)),
        clock: Arc::new(|| NOW_MS * 1_000_000),
        next_id: Arc::new(move || u128::from(next_id.fetch_add(1, Ordering::Relaxed))),
        policy: policy.clone(),
        build: BuildInfo { version: "1.2.3", revision: "abc", date: "" },
        readings: Vec::new(),
        process_readings: None,
    };
    let main = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let admin = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server::with_listeners(config, parts, main, Some(admin)).unwrap();
    let (address, admin_address) = (server.address(), server.admin_address().unwrap());
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(server.run_until(async {
        let _ = stopped.await;
    }));
    TestServer { address, admin_address, storage, policy, stop: Some(stop), running }
}

/// An answer read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) trailers: HeaderMap,
}

impl Answer {
    pub(crate) async fn read(response: Response<hyper::body::Incoming>) -> Self {
        let (parts, body) = response.into_parts();
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().cloned().unwrap_or_default();
        Self { status: parts.status, headers: parts.headers, body: collected.to_bytes(), trailers }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// `code` of the error that it is.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or("none").to_owned()
    }
}

impl TestServer {
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Answer {
        send_to(self.address, request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, &[], "")).await
    }

    pub(crate) async fn get_json(&self, path: &str) -> serde_json::Value {
        let answer = self.get(path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.json()
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Answer {
        self.send(request(Method::POST, path, &[("content-type", content_type)], body)).await
    }

    /// A Connect call with JSON.
    pub(crate) async fn rpc(&self, method: &str, body: serde_json::Value) -> Answer {
        self.post(&format!("/{method}"), "application/json", body.to_string()).await
    }

    /// The answer of a Connect call that must succeed.
    pub(crate) async fn rpc_ok(&self, method: &str, body: serde_json::Value) -> serde_json::Value {
        let answer = self.rpc(method, body).await;
        assert_eq!(answer.status, 200, "{method}: {}", answer.text());
        answer.json()
    }

    pub(crate) async fn push(&self, request: &PushRequest) -> Answer {
        self.post("/push.v1.PusherService/Push", "application/proto", request.encode_to_vec()).await
    }

    /// What is stored: tenant, `service_name`, profile type, total; sorted.
    pub(crate) fn stored(&self) -> Vec<(String, String, String, i64)> {
        let uploads = self.storage.uploads.lock().unwrap();
        let mut rows: Vec<_> = uploads
            .iter()
            .flat_map(|(tenant, upload)| upload.series.iter().map(move |series| (tenant, series)))
            .map(|(tenant, series)| {
                let label = |name| series.labels.get(name).unwrap_or("").to_owned();
                (tenant.to_string(), label("service_name"), label("__profile_type__"), series.total())
            })
            .collect();
        rows.sort();
        rows
    }

    /// Stops the server and waits until it is done.
    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.running.await.unwrap();
    }
}

/// A request; a `Host` is there unless `headers` has one.
pub(crate) fn request(
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
) -> Request<Full<Bytes>> {
    let mut builder = Request::builder().method(method).uri(path);
    if !headers.iter().any(|(name, _)| *name == "host") {
        builder = builder.header("host", "localhost");
    }
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Full::new(body.into())).unwrap()
}

/// Over HTTP/1.1 on a connection of its own.
pub(crate) async fn send_to(address: SocketAddr, request: Request<Full<Bytes>>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let answer = Answer::read(client.send_request(request).await.unwrap()).await;
    drop(client);
    let _ = connection.await;
    answer
}

/// Over cleartext HTTP/2 on a connection of its own.
pub(crate) async fn send_h2(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut builder = Request::builder().method(Method::POST).uri(format!("http://localhost{path}"));
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let request = builder.body(Full::new(Bytes::from(body))).unwrap();
    Answer::read(client.send_request(request).await.unwrap()).await
}

/// A message in a frame of gRPC and gRPC-Web.
pub(crate) fn grpc_frame(message: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

/// A cpu profile: stacks root first, joined by `;`, with their values, taken at `NOW_MS`.
pub(crate) fn cpu_profile(stacks: &[(&str, i64)]) -> Vec<u8> {
    let mut strings: Vec<String> = ["", "cpu", "nanoseconds"].map(str::to_owned).to_vec();
    let mut profile = pprof::Profile::default();
    let cpu = pprof::ValueType { r#type: 1, unit: 2, ..Default::default() };
    for (stack, value) in stacks {
        let mut location_id = Vec::new();
        for frame in stack.split(';').rev() {
            strings.push(frame.to_owned());
            let id = profile.function.len() as u64 + 1;
            let name = strings.len() as i64 - 1;
            profile.function.push(pprof::Function { id, name, ..Default::default() });
            let line = pprof::Line { function_id: id, line: 1, ..Default::default() };
            profile.location.push(pprof::Location { id, line: vec![line], ..Default::default() });
            location_id.push(id);
        }
        profile.sample.push(pprof::Sample { location_id, value: vec![*value], ..Default::default() });
    }
    profile.sample_type = vec![cpu.clone()];
    profile.period_type = Some(cpu).into();
    profile.period = 1;
    profile.time_nanos = NOW_MS * 1_000_000;
    profile.string_table = strings;
    profile.encode_to_vec()
}

/// One series of a push.
pub(crate) fn series(service: &str, raw_profile: Vec<u8>) -> RawProfileSeries {
    let label = |name: &str, value: &str| LabelPair { name: name.into(), value: value.into(), ..Default::default() };
    RawProfileSeries {
        labels: vec![label("__name__", "process_cpu"), label("service_name", service)],
        samples: vec![RawSample { raw_profile, ..Default::default() }],
        ..Default::default()
    }
}

pub(crate) fn push_request(series: Vec<RawProfileSeries>) -> PushRequest {
    PushRequest { series, ..Default::default() }
}

/// A push of one service that all tests know: `main;work` 3, `main;rest` 1.
pub(crate) fn shop_push() -> PushRequest {
    push_request(vec![series("shop", cpu_profile(&[("main;work", 3), ("main;rest", 1)]))])
}

/// Waits for `condition`, at most five seconds.
pub(crate) async fn eventually<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    for _ in 0..500 {
        if condition().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("it did not happen within five seconds");
}
