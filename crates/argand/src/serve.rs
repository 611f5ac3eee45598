//! `argand server` and `argand up`: wiring, start and stop.

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use argand_server::{BuildInfo, ConfigText, Dependencies, Server, Storage};
use argand_store::{Rng, Store, StoreError, SystemRng};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::cli::{LogFormat, ServerOptions};
use crate::config::{self, Config};
use crate::self_profile::{SelfProfiler, SelfProfiling};
use crate::storage::{SettingsOnDisk, StoreStorage};

pub(crate) fn up(options: &ServerOptions, log_format: LogFormat) -> anyhow::Result<()> {
    run(options, log_format, |address| {
        println!("Argand is ready: http://{address}/");
        println!("  point any Pyroscope SDK at http://{address}; profiles are kept in the data directory");
        println!("  the eBPF agent is not part of this version: only programs with an SDK are profiled");
    })
}

pub(crate) fn server(options: &ServerOptions, log_format: LogFormat) -> anyhow::Result<()> {
    run(options, log_format, |address| println!("Argand is ready: http://{address}/"))
}

fn run(
    options: &ServerOptions,
    log_format: LogFormat,
    announce: impl FnOnce(std::net::SocketAddr),
) -> anyhow::Result<()> {
    let config = config::load(options)?;
    start_logging(log_format);
    let store = open_store(&config)?;
    let result = serve(&config, &store, announce);
    store.shutdown();
    result
}

fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("ARGAND_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            logs.with_ansi(colour).with_target(false).init();
        }
        LogFormat::Json => logs.json().init(),
    }
}

fn open_store(config: &Config) -> anyhow::Result<Store> {
    let directory = &config.store.data_dir;
    let opened = Store::open(directory, config.store.to_store_config()?);
    let store = opened.map_err(|error| match &error {
        StoreError::Locked { .. } => {
            anyhow::Error::new(error).context("stop the other process or choose another --data-dir")
        }
        _ => anyhow::Error::new(error).context(format!("cannot open the store in {}", directory.display())),
    })?;
    let (status, metrics) = (store.status(), store.metrics());
    tracing::info!(
        directory = %directory.display(),
        blocks = status.blocks,
        replayed_bytes = metrics.replayed_bytes.get(),
        replay_ms = metrics.replay_ms.get(),
        "store is open"
    );
    Ok(store)
}

fn next_id() -> u128 {
    u128::from(SystemRng.next_u64()) << 64 | u128::from(SystemRng.next_u64())
}

fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

fn serve(config: &Config, store: &Store, announce: impl FnOnce(std::net::SocketAddr)) -> anyhow::Result<()> {
    let storage = Arc::new(StoreStorage(store.clone()));
    let profiler = Arc::new(SelfProfiler::new(config.self_profile.rate));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let parts = Dependencies {
        storage: storage.clone(),
        settings: Arc::new(SettingsOnDisk::new(&config.store.data_dir)),
        self_profile: Some(profiler.clone()),
        clock: Arc::new(now_ns),
        next_id: Arc::new(next_id),
        profile_limits: config.profiles.to_limits()?,
        relabel: Arc::new(config.relabeling()?),
        build: BuildInfo { version: env!("CARGO_PKG_VERSION"), revision: "", date: "" },
        config_text: config_text(config)?,
        readings: Vec::new(),
    };
    runtime.block_on(async {
        let server = Server::bind(config.server.clone(), parts).await?;
        warn_if_open(&server);
        announce(server.address());
        let _self_profiling = start_self_profiling(config, profiler, storage)?;
        server.run_until(stop_signal()?).await;
        tracing::info!("stopped accepting, flushing");
        Ok(())
    })
}

fn config_text(config: &Config) -> anyhow::Result<ConfigText> {
    let (current, changed, default) =
        (config::to_yaml(config)?, config::to_yaml_changed(config)?, config::to_yaml(&Config::default())?);
    Ok(ConfigText { current, changed, default })
}

fn warn_if_open(server: &Server) {
    if !server.address().ip().is_loopback() {
        tracing::warn!(address = %server.address(), "anybody who reaches this address can read and write profiles: put a proxy with authentication before it");
    }
}

fn start_self_profiling(
    config: &Config,
    profiler: Arc<SelfProfiler>,
    storage: Arc<StoreStorage>,
) -> anyhow::Result<Option<SelfProfiling>> {
    if !config.self_profile.enabled {
        return Ok(None);
    }
    let interval =
        config::duration("self_profile.interval", &config.self_profile.interval)?.unwrap_or(Duration::from_secs(10));
    let store = move |tenant: &_, upload| storage.append(tenant, vec![upload]).map_err(|error| error.to_string());
    SelfProfiling::start(profiler, interval, next_id, store).map(Some).context("cannot start self-profiling")
}

/// Ready at the first SIGINT or SIGTERM; SIGHUP is told and changes nothing.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                _ = hang_up.recv() => tracing::warn!("the configuration is read at start only: restart to change it"),
            }
        }
    })
}
