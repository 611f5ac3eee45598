//! The command line.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

/// Profiles of every program, kept durably and shown at once.
#[derive(Debug, Parser)]
#[command(name = "argand", version, about, max_term_width = 110, propagate_version = true)]
pub(crate) struct Cli {
    /// How log lines are written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, env = "ARGAND_LOG_FORMAT")]
    pub(crate) log_format: LogFormat,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// The main job: the server, and the agent where this machine allows it
    Up(UpOptions),
    /// The server only: ingest, store, queries, user interface
    Server(ServerOptions),
    /// The agent only: profiles every process of this machine and pushes to a server, Argand or Pyroscope
    Agent(AgentOptions),
    /// Record processes to a file, without a server
    Record(RecordOptions),
    /// Upload profile files (pprof, JFR, folded stacks, speedscope)
    Push(PushOptions),
    /// Ask a server for profiles, series, tables and labels
    Query(QueryOptions),
    /// What works on this machine, and how to get the rest
    Doctor(DoctorOptions),
    /// Check, print and describe the configuration
    Config {
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff)
    Man,
}

/// Options that `up` and `server` share; those left out come from the environment, the file or the defaults.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServerOptions {
    /// Configuration file: YAML, or TOML and JSON by extension
    #[arg(long, value_name = "FILE", env = "ARGAND_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Address of the one port for UI, ingest, queries and RPC [default: 127.0.0.1:4040]
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// Address for metrics, profiles of the server itself and admin verbs, or `off` [default: 127.0.0.1:4042]
    #[arg(long, value_name = "ADDR")]
    pub(crate) admin_listen: Option<String>,
    /// Where profiles are kept [default: ./argand-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// How long profiles are kept, such as 31d or 12h [default: 31d]
    #[arg(long, value_name = "TIME")]
    pub(crate) retention: Option<String>,
    /// How many bytes of blocks are kept, such as 50GiB, or off [default: off]
    #[arg(long, value_name = "SIZE")]
    pub(crate) retention_size: Option<String>,
    /// Whether the server profiles itself as service argand [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    pub(crate) self_profile: Option<bool>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct UpOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
}

/// How often the agent looks.
#[derive(Clone, Debug, Args)]
pub(crate) struct Sampling {
    /// Samples per second and CPU
    #[arg(long, value_name = "HZ", default_value_t = 19, value_parser = clap::value_parser!(u32).range(1..=RATE_LIMIT))]
    pub(crate) rate: u32,
}

/// Highest rate that is taken.
const RATE_LIMIT: i64 = argand_profiler::MAX_RATE_HZ as i64;

#[derive(Clone, Debug, Args)]
pub(crate) struct AgentOptions {
    #[command(flatten)]
    pub(crate) address: ServerAddress,
    #[command(flatten)]
    pub(crate) sampling: Sampling,
    /// How often profiles are pushed
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = parse_interval)]
    pub(crate) interval: std::time::Duration,
}

#[derive(Debug, Args)]
pub(crate) struct RecordOptions {
    /// Process to record with the children that it starts, may be repeated
    #[arg(long, value_name = "PID", conflicts_with_all = ["all", "command"])]
    pub(crate) pid: Vec<u32>,
    /// Record every process and the kernel; each stack begins with the name of its service
    #[arg(long, conflicts_with = "command", required_unless_present_any = ["pid", "command"])]
    pub(crate) all: bool,
    /// How long; a command that still runs is then killed [default: 10s, or until the command ends]
    #[arg(long, value_name = "TIME")]
    pub(crate) duration: Option<humantime::Duration>,
    /// Samples per second and CPU
    #[arg(long, value_name = "HZ", default_value_t = 99, value_parser = clap::value_parser!(u32).range(1..=RATE_LIMIT))]
    pub(crate) rate: u32,
    /// File to write: pprof (.pb.gz, .pprof) or folded stacks (.folded, or - to print)
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Command to run and record
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<String>,
}

/// Where the server is.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerAddress {
    /// Server to talk to; a path before the routes is kept
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4040", env = "PYROSCOPE_SERVER_ADDRESS")]
    pub(crate) server: String,
    /// Tenant to act for
    #[arg(long, value_name = "ID", env = "PYROSCOPE_TENANT_ID")]
    pub(crate) tenant: Option<String>,
    /// Bearer token, where a proxy asks for one
    #[arg(long, value_name = "TOKEN", env = "PYROSCOPE_AUTH_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PushOptions {
    /// Files to upload; - reads standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Service that the profiles belong to
    #[arg(long, value_name = "NAME")]
    pub(crate) service: String,
    /// Label to add, may be repeated
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    pub(crate) labels: Vec<(String, String)>,
    /// Format, where the file's name and content do not tell
    #[arg(long, value_enum)]
    pub(crate) format: Option<FileFormat>,
    /// When the profiles were taken, instead of what pprof files say: epoch time, RFC 3339 or now-5m
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    #[command(flatten)]
    pub(crate) address: ServerAddress,
    /// Print the result as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Formats of profile files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FileFormat {
    /// pprof, gzipped or plain
    Pprof,
    /// Java flight recording
    Jfr,
    /// Folded stacks: `main;work 10`
    Folded,
    /// Speedscope JSON
    Speedscope,
}

#[derive(Debug, Args)]
pub(crate) struct QueryOptions {
    #[command(subcommand)]
    pub(crate) command: QueryCommand,
}

/// What all questions have in common.
#[derive(Clone, Debug, Args)]
pub(crate) struct Question {
    /// Profile type and selector, such as `process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="shop"}`
    #[arg(long, short, value_name = "SELECTOR", default_value = "{}")]
    pub(crate) query: String,
    /// Start of the range: now-1h, RFC 3339 or epoch time
    #[arg(long, value_name = "TIME", default_value = "now-1h")]
    pub(crate) from: String,
    /// End of the range
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub(crate) to: String,
    #[command(flatten)]
    pub(crate) address: ServerAddress,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueryCommand {
    /// The merged profile: folded stacks, or a file by extension (.pb.gz, .pprof, .folded, .json)
    Profile {
        #[command(flatten)]
        question: Question,
        /// File to write
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Most nodes of folded and JSON output
        #[arg(long, default_value_t = 65_536)]
        max_nodes: u32,
    },
    /// Totals over time
    Series {
        #[command(flatten)]
        question: Question,
        /// Seconds per point, 0 chooses
        #[arg(long, default_value_t = 0)]
        step: u32,
        /// Label to split by, may be repeated
        #[arg(long, value_name = "LABEL")]
        group_by: Vec<String>,
    },
    /// Functions by their own cost
    Top {
        #[command(flatten)]
        question: Question,
        /// Number of functions
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
    /// What became dearer and cheaper between two selections
    Diff {
        #[command(flatten)]
        question: Question,
        /// Selection to compare with [default: the same query]
        #[arg(long, value_name = "SELECTOR")]
        right_query: Option<String>,
        /// Start of the range to compare with
        #[arg(long, value_name = "TIME")]
        right_from: String,
        /// End of the range to compare with
        #[arg(long, value_name = "TIME")]
        right_to: String,
        /// Number of functions
        #[arg(long, default_value_t = 20)]
        limit: usize,
    },
    /// Label names, or the values of one
    Labels {
        #[command(flatten)]
        question: Question,
        /// Label whose values to list
        #[arg(long)]
        name: Option<String>,
    },
    /// Profile types
    Types {
        #[command(flatten)]
        question: Question,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DoctorOptions {
    #[command(flatten)]
    pub(crate) server: ServerOptions,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Say whether the configuration is valid
    Check(ServerOptions),
    /// Print the configuration in force
    Show {
        #[command(flatten)]
        options: ServerOptions,
        /// Only what differs from the defaults
        #[arg(long)]
        diff_default: bool,
        /// Print JSON instead of YAML
        #[arg(long)]
        json: bool,
    },
    /// Print the JSON Schema of the file, for editors
    Schema,
}

fn parse_interval(text: &str) -> Result<std::time::Duration, String> {
    const RANGE: std::ops::RangeInclusive<u64> = 1..=3600;
    match humantime::parse_duration(text) {
        Ok(interval) if RANGE.contains(&interval.as_secs()) => Ok(interval),
        Ok(_) => Err("use a time from 1s to 1h".to_owned()),
        Err(error) => Err(format!("{error}; use a time such as 15s")),
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is no label: expected KEY=VALUE")),
    }
}

pub(crate) fn print_completions(shell: clap_complete::Shell) {
    clap_complete::generate(shell, &mut Cli::command(), "argand", &mut std::io::stdout());
}

pub(crate) fn print_manual() -> anyhow::Result<()> {
    clap_mangen::Man::new(Cli::command()).render(&mut std::io::stdout())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn labels_need_a_key() {
        assert_eq!(parse_label("env=a=b"), Ok(("env".to_owned(), "a=b".to_owned())));
        assert!(parse_label("=x").is_err() && parse_label("env").is_err());
    }

    #[test]
    fn self_profile_reads_as_a_switch_and_as_a_value() {
        let parse = |arguments: &[&str]| match Cli::parse_from(arguments).command {
            Command::Server(options) => options.self_profile,
            _ => None,
        };
        assert_eq!(parse(&["argand", "server", "--self-profile"]), Some(true));
        assert_eq!(parse(&["argand", "server", "--self-profile=false"]), Some(false));
        assert_eq!(parse(&["argand", "server"]), None);
    }
}
