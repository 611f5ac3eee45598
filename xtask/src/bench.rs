//! Measurements of a real server from outside, on a generated corpus that resembles production.
//!
//! Everything is measured in one run on one machine, beside what it is to be compared with: the time of one
//! `fdatasync`, the bytes of the same profiles as `pprof.gz`. docs/benchmarks.md says how to read the figures.

mod corpus;
mod http;
mod process;
mod stages;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;

use corpus::Corpus;
use http::Connection;
use process::Server;

/// What to measure with.
#[derive(Args)]
pub(crate) struct Options {
    /// The argand program
    #[arg(long, default_value = "target/release/argand")]
    server: PathBuf,
    /// Profiles to send; 20 services share them
    #[arg(long, default_value_t = 5_000)]
    profiles: usize,
    /// Samples of one profile
    #[arg(long, default_value_t = 2_000)]
    samples: usize,
    /// Requests under way at once
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Profiles per second of the paced part
    #[arg(long, default_value_t = 1_000)]
    rate: usize,
    /// MiB of log to start up with
    #[arg(long, default_value_t = 256)]
    log_mib: u64,
    /// Measure the stages of an upload inside this program instead, without a server
    #[arg(long)]
    stages: bool,
    /// Folder on the disk to measure
    #[arg(long, default_value = "target/bench")]
    directory: PathBuf,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(options.stages || options.server.exists(), "{} is missing: make build", options.server.display());
    let _ = fs::remove_dir_all(&options.directory);
    fs::create_dir_all(&options.directory)?;
    report("machine", &machine());
    if options.stages {
        return stages::run(options);
    }
    let sync = median(&mut sync_times(&options.directory)?);
    report("one fdatasync of 4 KiB", &format!("{:.1} ms (median)", ms(sync)));
    eprintln!("generating {} profiles", options.profiles);
    let corpus = Corpus::generate(options.profiles, options.samples);
    report("corpus", &corpus.description());
    ingest_and_query(options, &corpus, sync)?;
    start_up(options, &corpus)?;
    fs::remove_dir_all(&options.directory)?;
    Ok(())
}

fn report(what: &str, figure: &str) {
    println!("{what:<44} {figure}");
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn median(values: &mut [Duration]) -> Duration {
    percentile(values, 50.0)
}

fn percentile(values: &mut [Duration], percent: f64) -> Duration {
    values.sort_unstable();
    values[((values.len() - 1) as f64 * percent / 100.0).round() as usize]
}

fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("").trim_start_matches([':', '\t', ' ']);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} cores, {model}, Linux {}", kernel.trim())
}

fn sync_times(directory: &Path) -> anyhow::Result<Vec<Duration>> {
    let mut file = File::create(directory.join("sync"))?;
    let mut times = Vec::new();
    for _ in 0..100 {
        file.write_all(&[0; 4096])?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Latency of each request of `count`, sent over `connections`, at most `rate` per second where one is given.
fn send_all(
    server: &Server,
    corpus: &Corpus,
    count: usize,
    connections: usize,
    rate: Option<usize>,
) -> anyhow::Result<Vec<Duration>> {
    let next = AtomicUsize::new(0);
    let start = Instant::now();
    let worker = || -> anyhow::Result<Vec<Duration>> {
        let mut connection = Connection::open(server.address())?;
        let mut latencies = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return Ok(latencies);
            }
            let due = start + rate.map_or(Duration::ZERO, |rate| Duration::from_secs_f64(index as f64 / rate as f64));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // A late start counts: in a paced run the clock runs from when the request was due.
            let from = if rate.is_some() { due } else { Instant::now() };
            push(&mut connection, &corpus.requests[index % corpus.requests.len()])?;
            latencies.push(from.elapsed());
        }
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??);
        }
        Ok(all)
    })
}

/// Sends a request until it is taken: 429 asks to wait, which counts as latency.
fn push(connection: &mut Connection, request: &[u8]) -> anyhow::Result<()> {
    loop {
        let answer = connection.post("/push.v1.PusherService/Push", request)?;
        match answer.status {
            200 => return Ok(()),
            429 => std::thread::sleep(Duration::from_millis(10)),
            status => bail!("push answered {status}: {}", String::from_utf8_lossy(&answer.body)),
        }
    }
}

fn ingest_and_query(options: &Options, corpus: &Corpus, sync: Duration) -> anyhow::Result<()> {
    let data = options.directory.join("store");
    let server = Server::start(&options.server, &data, "128MiB")?;
    report("ready on an empty store", &format!("{:.0} ms", ms(server.started_in())));

    let (start, cpu) = (Instant::now(), server.cpu_time()?);
    let mut latencies = send_all(&server, corpus, corpus.requests.len(), options.connections, None)?;
    let (took, cpu) = (start.elapsed(), server.cpu_time()? - cpu);
    let per_second = corpus.requests.len() as f64 / took.as_secs_f64();
    let per_core = corpus.requests.len() as f64 / cpu.as_secs_f64();
    let mb = corpus.plain_bytes as f64 / 1e6;
    report(
        "ingest, as fast as it goes",
        &format!("{per_second:.0} profiles/s, {:.0} MB/s of pprof", mb / took.as_secs_f64()),
    );
    report(
        "ingest per core of the server",
        &format!("{per_core:.0} profiles/s, {:.0} MB/s of pprof", mb / cpu.as_secs_f64()),
    );
    report("durable ack under full load", &percentiles(&mut latencies));

    report("peak memory while ingesting", &format!("{:.0} MiB", server.peak_memory_bytes()? as f64 / 1048576.0));

    server.admin("flush")?;
    server.admin("compact")?;
    let stored = directory_bytes(&data.join("blocks"))?;
    report(
        "stored",
        &format!(
            "{:.2} bytes per sample, 1/{:.1} of pprof.gz",
            stored as f64 / corpus.rows as f64,
            corpus.gzip_bytes as f64 / stored as f64
        ),
    );

    for (what, selector) in [
        ("merge of everything", "{}".to_owned()),
        ("merge of one service", format!("{{service_name=\"{}\"}}", corpus.service(0))),
    ] {
        let (cold, warm) = time_merge(&server, &selector)?;
        report(what, &format!("{:.0} ms first, {:.1} ms warm (median of 9)", ms(cold), ms(warm)));
    }

    // Last, because it sends profiles again, which the store would compress better than new ones.
    let paced = corpus.requests.len().min(options.rate * 10);
    let cpu = server.cpu_time()?;
    let start = Instant::now();
    let mut latencies = send_all(&server, corpus, paced, options.connections * 2, Some(options.rate))?;
    let took = start.elapsed();
    let cores = (server.cpu_time()? - cpu).as_secs_f64() / took.as_secs_f64();
    let what = format!("durable ack at {:.0} profiles/s", paced as f64 / took.as_secs_f64());
    report(&what, &format!("{}, {cores:.2} cores", percentiles(&mut latencies)));
    report(
        "  p50 beside one fdatasync",
        &format!("{:.1} x", percentile(&mut latencies, 50.0).as_secs_f64() / sync.as_secs_f64()),
    );
    report("peak memory at the end", &format!("{:.0} MiB", server.peak_memory_bytes()? as f64 / 1048576.0));
    Ok(())
}

fn percentiles(latencies: &mut [Duration]) -> String {
    let at = |latencies: &mut [Duration], percent| ms(percentile(latencies, percent));
    format!("p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms", at(latencies, 50.0), at(latencies, 90.0), at(latencies, 99.0))
}

/// Time of the first and of the following questions.
fn time_merge(server: &Server, selector: &str) -> anyhow::Result<(Duration, Duration)> {
    let mut connection = Connection::open(server.address())?;
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("query", &format!("{}{selector}", corpus::PROFILE_TYPE))
        .append_pair("from", "now-3h")
        .append_pair("to", "now")
        .append_pair("max_nodes", "8192")
        .finish();
    let mut ask = || -> anyhow::Result<Duration> {
        let start = Instant::now();
        let answer = connection.get(&format!("/api/v1/flamegraph?{query}"), "application/vnd.argand.flame")?;
        ensure!(answer.status == 200 && answer.body.len() > 10_000, "flamegraph answered {}", answer.status);
        Ok(start.elapsed())
    };
    let first = ask()?;
    let mut warm = (0..9).map(|_| ask()).collect::<anyhow::Result<Vec<_>>>()?;
    Ok((first, median(&mut warm)))
}

fn directory_bytes(path: &Path) -> anyhow::Result<u64> {
    let mut sum = 0;
    for entry in fs::read_dir(path).with_context(|| path.display().to_string())? {
        let entry = entry?;
        let kind = entry.file_type()?;
        sum += if kind.is_dir() { directory_bytes(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(sum)
}

/// Time to be ready again after a kill with a long log.
fn start_up(options: &Options, corpus: &Corpus) -> anyhow::Result<()> {
    let data = options.directory.join("long-log");
    // A head this large is never turned into a block, so that the log grows.
    let server = Server::start(&options.server, &data, "16GiB")?;
    // The log is the longer the more often the same profiles come.
    while directory_bytes(&data.join("log"))? < options.log_mib << 20 {
        send_all(&server, corpus, corpus.requests.len(), options.connections, None)?;
    }
    drop(server); // kill -9
    let log_bytes = directory_bytes(&data.join("log"))?;
    let server = Server::start(&options.server, &data, "16GiB")?;
    let (mib, seconds) = (log_bytes as f64 / 1048576.0, server.started_in().as_secs_f64());
    report(
        "start-up with a long log",
        &format!("{mib:.0} MiB in {seconds:.2} s, {:.0} MB/s", log_bytes as f64 / 1e6 / seconds),
    );
    Ok(())
}
