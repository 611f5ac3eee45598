//! Tables and numbers for people.

use std::io::{IsTerminal, Write};

/// Writes rows under a header with aligned columns; the first column is text, the others numbers.
pub(crate) fn table(out: &mut dyn Write, header: &[&str], rows: &[Vec<String>]) -> std::io::Result<()> {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(&widths)
            .enumerate()
            .map(|(i, (cell, &width))| if i == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
            .collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(&mut header.iter().copied())?;
    for row in rows {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}

/// A value with its unit, short: `1.5 s`, `3.2 MiB`, `1234`.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    let scaled = |steps: &[(f64, &str)]| {
        let (size, name) = *steps.iter().rev().find(|(size, _)| value.abs() >= *size).unwrap_or(&steps[0]);
        format!("{:.2} {name}", value / size)
    };
    match unit {
        "nanoseconds" => scaled(&[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s"), (60e9, "min"), (3600e9, "h")]),
        "microseconds" => quantity(value * 1e3, "nanoseconds"),
        "milliseconds" => quantity(value * 1e6, "nanoseconds"),
        "bytes" => scaled(&[
            (1.0, "B"),
            (1024.0, "KiB"),
            (1024f64.powi(2), "MiB"),
            (1024f64.powi(3), "GiB"),
            (1024f64.powi(4), "TiB"),
        ]),
        _ => format!("{value}"),
    }
}

/// Share of a total in percent.
pub(crate) fn percent(part: f64, total: f64) -> String {
    if total == 0.0 { "-".to_owned() } else { format!("{:.2}%", 100.0 * part / total) }
}

/// A bar on stderr for work of `length` steps; hidden where stderr is no terminal.
pub(crate) fn progress(length: u64) -> indicatif::ProgressBar {
    if std::io::stderr().is_terminal() && length > 1 {
        indicatif::ProgressBar::new(length)
    } else {
        indicatif::ProgressBar::hidden()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_choose_their_unit() {
        assert_eq!(quantity(1_500_000_000.0, "nanoseconds"), "1.50 s");
        assert_eq!(quantity(-2048.0, "bytes"), "-2.00 KiB");
        assert_eq!(quantity(0.0, "nanoseconds"), "0.00 ns");
        assert_eq!(quantity(12.0, "count"), "12");
    }

    #[test]
    fn tables_align() {
        let mut out = Vec::new();
        table(&mut out, &["name", "self"], &[vec!["a".into(), "1".into()], vec!["längst".into(), "100".into()]])
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "name    self\na          1\nlängst   100\n");
    }
}
