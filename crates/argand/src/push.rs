//! `argand push`: profile files to a server.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, bail};
use argand_wire::DecodeLimits;
use argand_wire::inflate::{self, InflateLimits};
use argand_wire::pprof::{self, PprofOptions};
use serde_json::json;

use crate::cli::{FileFormat, PushOptions};
use crate::client::Client;
use crate::output;

/// Largest file that is read.
const FILE_LIMIT_BYTES: u64 = 256 << 20;

pub(crate) fn run(options: &PushOptions) -> anyhow::Result<()> {
    let client = Client::new(&options.address);
    let bar = output::progress(options.files.len() as u64);
    let mut pushed = Vec::new();
    for path in &options.files {
        let file = read(path)?;
        let format = options.format.or_else(|| recognise(path, &file));
        let format =
            format.with_context(|| format!("cannot tell the format of {}: name it with --format", path.display()))?;
        upload(&client, options, format, &file).with_context(|| format!("cannot push {}", path.display()))?;
        pushed.push(json!({ "file": path, "format": name_of(format), "bytes": file.len() }));
        bar.inc(1);
    }
    bar.finish_and_clear();
    if options.json {
        println!("{}", json!({ "service": options.service, "pushed": pushed }));
    } else {
        let files = if pushed.len() == 1 { "profile" } else { "profiles" };
        println!("pushed {} {files} as service {} to {}", pushed.len(), options.service, options.address.server);
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let context = || format!("cannot read {}", path.display());
    if path == Path::new("-") {
        std::io::stdin().take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes).with_context(context)?;
    } else {
        let file = std::fs::File::open(path).with_context(context)?;
        file.take(FILE_LIMIT_BYTES + 1).read_to_end(&mut bytes).with_context(context)?;
    }
    if bytes.len() as u64 > FILE_LIMIT_BYTES {
        bail!("{} is larger than {} MiB", path.display(), FILE_LIMIT_BYTES >> 20);
    }
    Ok(bytes)
}

/// By file name, then by content.
fn recognise(path: &Path, bytes: &[u8]) -> Option<FileFormat> {
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let by_name = [
        (".jfr", FileFormat::Jfr),
        (".speedscope.json", FileFormat::Speedscope),
        (".folded", FileFormat::Folded),
        (".collapsed", FileFormat::Folded),
        (".pb", FileFormat::Pprof),
        (".pprof", FileFormat::Pprof),
        (".prof", FileFormat::Pprof),
    ];
    let by_name = by_name.into_iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, format)| format);
    by_name.or_else(|| match bytes {
        [b'F', b'L', b'R', 0, ..] => Some(FileFormat::Jfr),
        [0x1f, 0x8b, ..] => Some(FileFormat::Pprof),
        [b'{', ..] => Some(FileFormat::Speedscope),
        _ if looks_folded(bytes) => Some(FileFormat::Folded),
        _ => None,
    })
}

fn looks_folded(bytes: &[u8]) -> bool {
    let first_line = bytes.split(|&b| b == b'\n').next().unwrap_or_default();
    let Ok(line) = std::str::from_utf8(first_line) else { return false };
    line.rsplit_once(' ').is_some_and(|(_, count)| count.trim().parse::<u64>().is_ok())
}

fn name_of(format: FileFormat) -> &'static str {
    match format {
        FileFormat::Pprof => "pprof",
        FileFormat::Jfr => "jfr",
        FileFormat::Folded => "groups",
        FileFormat::Speedscope => "speedscope",
    }
}

fn upload(client: &Client<'_>, options: &PushOptions, format: FileFormat, file: &[u8]) -> anyhow::Result<()> {
    let tags: Vec<String> = options.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let name = format!("{}{{{}}}", options.service, tags.join(","));
    let mut parameters = vec![("name", name.as_str()), ("format", name_of(format)), ("spyName", "argand")];
    if let Some(time) = &options.time {
        parameters.extend([("from", time.as_str()), ("until", time.as_str())]);
    }
    let retimed;
    let body = match (&options.time, format) {
        (Some(time), FileFormat::Pprof) => {
            retimed = with_time(file, time)?;
            &retimed
        }
        _ => file,
    };
    client.post("/ingest", &parameters, "application/octet-stream", body)?;
    Ok(())
}

/// A pprof file says itself when it was taken; `--time` overrules it.
fn with_time(file: &[u8], time: &str) -> anyhow::Result<Vec<u8>> {
    let plain = inflate::gunzip_if_needed(file, InflateLimits::new(FILE_LIMIT_BYTES as usize))?;
    let limits =
        DecodeLimits { samples: 1 << 24, string_bytes: 1 << 28, memory_bytes: 1 << 31, ..DecodeLimits::default() };
    let mut profile = pprof::decode(&plain, &PprofOptions { limits, ..PprofOptions::default() })?;
    let now_ns = i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_nanos())?;
    profile.time_ns = argand_ingest::parse_time(time, now_ns).with_context(|| format!("--time {time:?} is no time"))?;
    Ok(pprof::encode(&profile))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_recognised_by_name_then_content() {
        let of = |name: &str, bytes: &[u8]| recognise(Path::new(name), bytes);
        assert_eq!(of("cpu.pb.gz", b""), Some(FileFormat::Pprof));
        assert_eq!(of("rec.JFR.gz", b""), Some(FileFormat::Jfr));
        assert_eq!(of("a.speedscope.json", b""), Some(FileFormat::Speedscope));
        assert_eq!(of("-", b"FLR\0\0"), Some(FileFormat::Jfr));
        assert_eq!(of("stacks.txt", b"main;work 10\n"), Some(FileFormat::Folded));
        assert_eq!(of("notes.txt", b"hello world\n"), None);
    }
}
