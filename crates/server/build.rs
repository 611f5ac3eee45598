//! Generates the RPC code from `proto/` and collects the files of the user interface.

use std::collections::hash_map::DefaultHasher;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::hash::Hasher;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

const PROTOS: [&str; 10] = [
    "capabilities/v1/feature_flags.proto",
    "debuginfo/v1alpha1/debuginfo.proto",
    "google/v1/profile.proto",
    "grpc/health/v1/health.proto",
    "opentelemetry/proto/collector/profiles/v1development/profiles_service.proto",
    "push/v1/push.proto",
    "querier/v1/querier.proto",
    "settings/v1/setting.proto",
    "types/v1/types.proto",
    "version/v1/version.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let out_dir = PathBuf::from(std::env::var("OUT_DIR")?);
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../..");
    generate_rpc(&root.join("proto"), &out_dir)?;
    collect_ui(&root.join("ui/dist"), &out_dir)
}

/// protox is a protobuf compiler in Rust, so that a build needs no `protoc`.
fn generate_rpc(protos: &Path, out_dir: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", protos.display());
    let mut compiler = protox::Compiler::new([protos])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(PROTOS)?;
    let descriptors = out_dir.join("descriptors.bin");
    fs::write(&descriptors, compiler.encode_file_descriptor_set())?;
    connectrpc_build::Config::new()
        .files(&PROTOS)
        .descriptor_set(&descriptors)
        .gate_client_feature(true)
        .include_file("_connectrpc.rs")
        .compile()?;
    Ok(())
}

/// Writes `ui_assets.rs`, a list of the files of `dist` with a gzip copy of each; empty where there is no `dist`.
fn collect_ui(dist: &Path, out_dir: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed={}", dist.display());
    let mut files = Vec::new();
    if std::env::var_os("CARGO_FEATURE_UI").is_some() && dist.is_dir() {
        list_files(dist, &mut files)?;
    }
    files.sort();
    let mut code = String::from("&[\n");
    for (index, file) in files.iter().enumerate() {
        let content = fs::read(file)?;
        let path = file.strip_prefix(dist)?.to_str().ok_or("a file name of the user interface is not UTF-8")?;
        let mut hasher = DefaultHasher::new();
        hasher.write(&content);
        let tag = hasher.finish();
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&content)?;
        let gzip = encoder.finish()?;
        let (plain_file, gzip_file) = (out_dir.join(format!("ui_{index}")), out_dir.join(format!("ui_{index}.gz")));
        fs::write(&plain_file, &content)?;
        fs::write(&gzip_file, &gzip)?;
        writeln!(
            code,
            "Asset {{ path: {path:?}, tag: \"{tag:016x}\", plain: include_bytes!({plain_file:?}), gzip: include_bytes!({gzip_file:?}) }},"
        )?;
    }
    code.push(']');
    fs::write(out_dir.join("ui_assets.rs"), code)?;
    Ok(())
}

fn list_files(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match path.is_dir() {
            true => list_files(&path, files)?,
            false => files.push(path),
        }
    }
    Ok(())
}
