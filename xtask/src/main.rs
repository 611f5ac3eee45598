//! Tasks of the repository that are programs: benchmarks and conformance.

mod bench;
mod conformance;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the repository.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure ingest, queries, size and start-up on a generated corpus
    Bench(bench::Options),
    /// Replay captured requests and sample files at a server and compare with what lies beside them
    Conformance {
        /// The argand program
        #[arg(long)]
        server: PathBuf,
        /// Folder with captures/, jfr/ and pyroscope/
        #[arg(long)]
        data: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Bench(options) => bench::run(&options),
        Task::Conformance { server, data } => conformance::run(&server, &data),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
