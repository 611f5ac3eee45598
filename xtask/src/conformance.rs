//! Whether a real server does with real requests and files what is written beside them.

mod captures;
mod files;
mod jfr;
mod server;

use std::path::Path;

use anyhow::bail;

/// How one case came out.
pub(crate) struct Outcome {
    /// What was compared.
    pub(crate) case: String,
    /// What differs, if anything.
    pub(crate) result: Result<(), String>,
}

impl Outcome {
    pub(crate) fn new(case: impl Into<String>, result: Result<(), String>) -> Self {
        Self { case: case.into(), result }
    }
}

/// Runs all cases that `data` has files for and prints them; fails when one does.
pub(crate) fn run(program: &Path, data: &Path) -> anyhow::Result<()> {
    let server = server::Server::start(program)?;
    let mut outcomes = Vec::new();
    outcomes.extend(captures::check(&server, &data.join("captures"))?);
    outcomes.extend(files::check(&server, &data.join("pyroscope"))?);
    outcomes.extend(jfr::check(data));
    for Outcome { case, result } in &outcomes {
        match result {
            Ok(()) => println!("ok      {case}"),
            Err(difference) => println!("FAILED  {case}: {difference}"),
        }
    }
    let failed = outcomes.iter().filter(|o| o.result.is_err()).count();
    println!("{} cases, {failed} failed", outcomes.len());
    if failed > 0 || outcomes.is_empty() {
        bail!("the server does not conform to {}", data.display());
    }
    Ok(())
}
