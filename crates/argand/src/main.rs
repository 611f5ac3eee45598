//! The `argand` program: arguments, configuration, wiring, start and stop.

mod agent;
mod cli;
mod client;
mod config;
mod doctor;
mod output;
mod process;
mod push;
mod query;
mod record;
mod self_profile;
mod serve;
mod storage;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command, ConfigCommand};

/// Heap profiles of ourselves come from the allocator's own sampling.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("argand: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Up(options) => serve::up(&options, cli.log_format),
        Command::Server(options) => serve::server(&options, cli.log_format),
        Command::Agent(options) => agent::run(&options, cli.log_format),
        Command::Record(options) => record::run(&options),
        Command::Push(options) => push::run(&options),
        Command::Query(options) => query::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Config { command: ConfigCommand::Check(options) } => config::check(&options),
        Command::Config { command: ConfigCommand::Show { options, diff_default, json } } => {
            config::show(&options, diff_default, json)
        }
        Command::Config { command: ConfigCommand::Schema } => config::print_schema(),
        Command::Completions { shell } => {
            cli::print_completions(shell);
            Ok(())
        }
        Command::Man => cli::print_manual(),
    }
}
