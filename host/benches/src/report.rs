//! The table.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rounds::{Amount, Figure, Measured, Target};

pub(crate) fn print(rows: &[Measured], as_json: bool) -> anyhow::Result<()> {
    if as_json {
        let rows: Vec<Value> = rows.iter().map(row).collect();
        println!(
            "{}",
            serde_json::to_string_pretty(&json!({ "rows": rows }))?
        );
        return Ok(());
    }
    println!(
        "|  # | what                   | a unit               | takes      | CPU        | baseline                       | takes      | ratio  | target          | reached |"
    );
    println!(
        "|---:|------------------------|----------------------|-----------:|-----------:|--------------------------------|-----------:|-------:|-----------------|---------|"
    );
    for one in rows {
        println!(
            "| {:>2} | {:<22} | {:<20} | {:>10} | {:>10} | {:<30} | {:>10} | {:>6.2} | {:<15} | {:<7} |",
            one.row.number,
            one.row.name,
            one.row.unit,
            amount(one.subject.amount),
            one.subject.cpu.map_or_else(|| "-".to_owned(), words),
            one.row.baseline,
            amount(one.baseline.amount),
            one.times,
            target(one.row.target),
            if one.is_reached() { "yes" } else { "no" },
        );
    }
    println!();
    for one in rows {
        for note in &one.notes {
            println!("{}, {}: {note}.", one.row.number, one.row.name);
        }
    }
    Ok(())
}

fn row(one: &Measured) -> Value {
    let figure = |figure: Figure| {
        let cpu = figure.cpu.map(|cpu| cpu.as_nanos());
        match figure.amount {
            Amount::Time(time) => json!({ "wallNs": time.as_nanos(), "cpuNs": cpu }),
            Amount::Bytes(bytes) => json!({ "bytes": bytes, "cpuNs": cpu }),
        }
    };
    json!({
        "number": one.row.number, "name": one.row.name, "unit": one.row.unit,
        "subject": figure(one.subject), "baseline": figure(one.baseline),
        "baselineName": one.row.baseline, "ratio": one.times,
        "target": target(one.row.target), "reached": one.is_reached(), "notes": one.notes,
    })
}

fn target(target: Target) -> String {
    match target {
        Target::Times(most) => format!("at most {most}x"),
        Target::Within(most) => format!("under {}", words(most)),
        Target::Beyond(most) => format!("at most {} more", words(most)),
        Target::Bytes(most) => format!("at most {}", amount(Amount::Bytes(most))),
    }
}

fn amount(amount: Amount) -> String {
    match amount {
        Amount::Time(time) => words(time),
        Amount::Bytes(bytes @ ..1e6) => format!("{:.2} KiB", bytes / 1_024.0),
        Amount::Bytes(bytes) => format!("{:.1} MiB", bytes / 1_048_576.0),
    }
}

fn words(time: Duration) -> String {
    let nanos = time.as_secs_f64() * 1e9;
    match nanos {
        ..1e3 => format!("{nanos:.0} ns"),
        ..1e6 => format!("{:.1} us", nanos / 1e3),
        ..1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}
