//! Processor time of the stages of an upload, one after the other on one thread: where ingest spends its time.

use std::io::Read;
use std::time::Instant;

use argand_ingest::{Context, IngestLimits};
use argand_model::{TenantId, Upload};
use argand_store::{Store, StoreConfig};
use argand_wire::inflate::{self, InflateLimits};
use argand_wire::pprof::{self, PprofOptions};

use super::corpus::Corpus;
use super::{Options, report};

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let corpus = Corpus::generate(options.profiles, options.samples);
    report("corpus", &corpus.description());
    let limits = InflateLimits::new(64 << 20);
    let requests = stage("inflate", &corpus.requests, |request| inflate::gunzip(request, limits).map_err(Into::into))?;
    let profiles: Vec<&[u8]> = requests.iter().map(|request| corpus.raw_profile(request)).collect();
    let decode_options = PprofOptions::default();
    stage("decode", &profiles, |raw| Ok(pprof::decode(raw, &decode_options)?.samples.len()))?;
    let (limits, mut ids) = (IngestLimits::default(), 0..);
    let pairs = [("__name__", "process_cpu"), ("service_name", "")].map(|(n, v)| (n.to_owned(), v.to_owned()));
    let mut index = 0;
    let mut push = |raw: &&[u8]| -> anyhow::Result<Upload> {
        let mut pairs = pairs.clone();
        pairs[1].1 = corpus.service(index);
        index = (index + 1) % profiles.len();
        let mut next_id = || ids.next().unwrap_or_default();
        let now_ns = super::corpus::now_ns();
        let mut context =
            Context { limits: &limits, relabel: &argand_ingest::Relabeling::default(), now_ns, next_id: &mut next_id };
        let upload = argand_ingest::push(&pairs, raw, "", &mut context)?;
        upload.ok_or_else(|| anyhow::anyhow!("nothing left of a profile"))
    };
    stage("decode and normalise", &profiles, |raw| Ok(push(raw)?.row_count()))?;
    let uploads = profiles.iter().map(&mut push).collect::<anyhow::Result<Vec<_>>>()?;
    let store = Store::open(&options.directory.join("stages"), StoreConfig::default())?;
    let tenant = store.tenant(&TenantId::anonymous());
    for round in 1..=4 {
        let name = format!("append, until durable, round {round}");
        stage(&name, &uploads, |upload| Ok(tenant.append_and_wait(upload)?))?;
    }
    store.shutdown();
    Ok(())
}

/// Runs `work` on each input and reports the processor time of the whole process per input.
fn stage<I, O>(name: &str, inputs: &[I], mut work: impl FnMut(&I) -> anyhow::Result<O>) -> anyhow::Result<Vec<O>> {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    let outputs = inputs.iter().map(&mut work).collect::<anyhow::Result<Vec<_>>>()?;
    let per_input = |seconds: f64| seconds * 1e6 / inputs.len() as f64;
    let (cpu, wall) = (per_input(cpu_seconds() - cpu), per_input(start.elapsed().as_secs_f64()));
    report(name, &format!("{cpu:.0} us of processor time, {wall:.0} us of wall time per profile"));
    Ok(outputs)
}

/// Processor time of this process in seconds. Source: proc(5), `schedstat`, summed over its threads.
fn cpu_seconds() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let ran_ns = |task: std::fs::DirEntry| -> Option<u64> {
        let mut text = String::new();
        std::fs::File::open(task.path().join("schedstat")).ok()?.read_to_string(&mut text).ok()?;
        text.split_whitespace().next()?.parse().ok()
    };
    tasks.filter_map(ran_ns).sum::<u64>() as f64 / 1e9
}
