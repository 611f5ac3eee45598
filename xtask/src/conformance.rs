//! Whether a real server does with real requests and files what is written beside them.

mod captures;
mod files;
mod jfr;
mod server;

use std::path::Path;

use anyhow::bail;

/// One comparison.
pub(crate) struct Outcome {
    /// What was compared with what.
    pub(crate) name: String,
    /// How it ended.
    pub(crate) verdict: Verdict,
}

/// How a comparison ended.
pub(crate) enum Verdict {
    /// As expected.
    Same,
    /// Different as intended; the text says how.
    Better(String),
    /// Different; the text shows the first differences.
    Wrong(String),
}

impl Outcome {
    pub(crate) fn new(name: impl Into<String>, result: Result<(), String>) -> Self {
        Self { name: name.into(), verdict: result.map_or_else(Verdict::Wrong, |()| Verdict::Same) }
    }
}

/// Runs all cases that `data` has files for and prints them; fails when one does.
pub(crate) fn run(program: &Path, data: &Path) -> anyhow::Result<()> {
    let server = server::Server::start(program)?;
    let mut outcomes = Vec::new();
    outcomes.extend(captures::check(&server, &data.join("captures"))?);
    outcomes.extend(files::check(&server, &data.join("pyroscope"))?);
    outcomes.extend(jfr::check(data));
    for Outcome { name, verdict } in &outcomes {
        match verdict {
            Verdict::Same => println!("ok      {name}"),
            Verdict::Better(difference) => println!("better  {name}: {difference}"),
            Verdict::Wrong(difference) => println!("FAILED  {name}: {difference}"),
        }
    }
    let failed = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Wrong(_))).count();
    println!("{} cases, {failed} failed", outcomes.len());
    if failed > 0 || outcomes.is_empty() {
        bail!("the server does not conform to {}", data.display());
    }
    Ok(())
}
