//! `argand server` and `argand up`: wiring, start and stop.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use argand_model::TenantId;
use argand_server::{BuildInfo, Dependencies, PolicyHandle, Server, Storage};
use argand_store::{Rng, Store, StoreError, SystemRng};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::agent;
use crate::cli::{LogFormat, ServerOptions, UpOptions};
use crate::config::{self, Config};
use crate::process;
use crate::self_profile::{SelfProfiler, SelfProfiling};
use crate::storage::{SettingsOnDisk, StoreStorage};

pub(crate) fn up(options: &UpOptions, log_format: LogFormat) -> anyhow::Result<()> {
    run(&options.server, log_format, Some(options.sampling.rate))
}

pub(crate) fn server(options: &ServerOptions, log_format: LogFormat) -> anyhow::Result<()> {
    run(options, log_format, None)
}

fn run(options: &ServerOptions, log_format: LogFormat, agent_rate_hz: Option<u32>) -> anyhow::Result<()> {
    let config = config::load(options)?;
    let set_log_filter = start_logging(config.log.to_filter()?, log_format);
    let store = open_store(&config)?;
    let policy = PolicyHandle::new(config.policy()?);
    let reload = Reload {
        options: options.clone(),
        running: config.clone(),
        policy: policy.clone(),
        store: store.clone(),
        set_log_filter,
    };
    let result = serve(&config, &store, policy, reload, agent_rate_hz);
    store.shutdown();
    result
}

/// Changes what is logged from now on.
type SetLogFilter = Box<dyn Fn(EnvFilter) -> Result<(), tracing_subscriber::reload::Error> + Send>;

/// For commands without configuration file: what `RUST_LOG` says, or what is worth knowing.
pub(crate) fn start_logging_from_environment(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    drop(start_logging(filter, format));
}

fn start_logging(filter: EnvFilter, format: LogFormat) -> SetLogFilter {
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            let logs = logs.with_ansi(colour).with_target(false).with_filter_reloading();
            let handle = logs.reload_handle();
            logs.init();
            Box::new(move |filter| handle.reload(filter))
        }
        LogFormat::Json => {
            let logs = logs.json().with_filter_reloading();
            let handle = logs.reload_handle();
            logs.init();
            Box::new(move |filter| handle.reload(filter))
        }
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

fn serve(
    config: &Config,
    store: &Store,
    policy: PolicyHandle,
    reload: Reload,
    agent_rate_hz: Option<u32>,
) -> anyhow::Result<()> {
    let storage = Arc::new(StoreStorage(store.clone()));
    let profiler = Arc::new(SelfProfiler::new(config.self_profile.rate));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let agent = agent_rate_hz.map(|rate_hz| (rate_hz, start_agent(rate_hz, storage.clone())));
    let parts = Dependencies {
        storage: storage.clone(),
        settings: Arc::new(SettingsOnDisk::new(&config.store.data_dir)),
        self_profile: Some(profiler.clone()),
        clock: Arc::new(now_ns),
        next_id: Arc::new(next_id),
        policy,
        build: BuildInfo { version: env!("CARGO_PKG_VERSION"), revision: "", date: "" },
        readings: agent.iter().filter_map(|(_, agent)| Some(agent.as_ref().ok()?.readings())).collect(),
        process_readings: Some(Arc::new(process::readings)),
    };
    runtime.block_on(async {
        let server = Server::bind(config.server.clone(), parts).await?;
        warn_if_open(&server);
        warn_if_unused(config);
        announce(server.address(), agent.as_ref());
        let _self_profiling = start_self_profiling(config, profiler, storage)?;
        server.run_until(stop_signal(reload)?).await;
        tracing::info!("stopped accepting, flushing");
        // What it sampled last is stored before the store closes.
        tokio::task::block_in_place(|| drop(agent));
        Ok(())
    })
}

type Agent = anyhow::Result<agent::InProcess>;

fn start_agent(rate_hz: u32, storage: Arc<StoreStorage>) -> Agent {
    let store = move |tenant: &_, upload| storage.append(tenant, vec![upload]).map_err(|error| error.to_string());
    agent::InProcess::start(rate_hz, next_id, store)
}

fn announce(address: std::net::SocketAddr, agent: Option<&(u32, Agent)>) {
    println!("Argand is ready: http://{address}/");
    let Some((rate_hz, agent)) = agent else { return };
    match agent {
        Ok(_) => println!("  profiling every process of this machine {rate_hz} times a second"),
        Err(error) => println!("  the eBPF agent is off: {error:#}"),
    }
    println!("  point any Pyroscope SDK at http://{address}; profiles are kept in the data directory");
}

fn warn_if_open(server: &Server) {
    if !server.address().ip().is_loopback() {
        tracing::warn!(address = %server.address(), "anybody who reaches this address can read and write profiles: put a proxy with authentication before it");
    }
}

fn warn_if_unused(config: &Config) {
    if !config.server.multitenancy && config.overrides.keys().any(|tenant| tenant != TenantId::anonymous().as_str()) {
        tracing::warn!("overrides of tenants have no effect: set server.multitenancy to tell tenants apart");
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

/// Takes over what a running server can from a changed configuration.
struct Reload {
    options: ServerOptions,
    /// What is in force, parts of the start included.
    running: Config,
    policy: PolicyHandle,
    store: Store,
    set_log_filter: SetLogFilter,
}

impl Reload {
    /// Reads the configuration again and tells what came of it.
    fn run(&mut self) {
        if let Err(error) = self.attempt() {
            tracing::error!(error = format!("{error:#}"), "configuration not reloaded, the old one stays in force");
        }
    }

    /// All of it is checked before anything changes.
    fn attempt(&mut self) -> anyhow::Result<()> {
        let asked = config::load(&self.options)?;
        let next = self.running.reloaded(&asked);
        let (changed, left) = (next.differing_keys(&self.running)?, next.differing_keys(&asked)?);
        let (policy, filter, store) = (next.policy()?, next.log.to_filter()?, next.store.to_store_config()?);
        self.policy.replace(policy);
        self.store.set_retention(store.retention, store.retention_bytes);
        self.running = next;
        tracing::info!(changed = listed(&changed), "configuration reloaded");
        if !left.is_empty() {
            tracing::warn!(keys = listed(&left), "what changed there needs a restart");
        }
        // Last, so that a quieter log still has these lines.
        if let Err(error) = (self.set_log_filter)(filter) {
            tracing::warn!(%error, "log.level cannot be changed now");
        }
        Ok(())
    }
}

fn listed(keys: &BTreeSet<String>) -> String {
    match keys.is_empty() {
        true => "nothing".to_owned(),
        false => keys.iter().map(String::as_str).collect::<Vec<_>>().join(", "),
    }
}

/// Ready at the first SIGINT or SIGTERM; SIGHUP reads the configuration again.
fn stop_signal(mut reload: Reload) -> anyhow::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    Ok(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => return,
                _ = terminate.recv() => return,
                _ = hang_up.recv() => tokio::task::block_in_place(|| reload.run()),
            }
        }
    })
}
