//! The table.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rounds::{Figure, Measured, Target};

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
            words(one.subject.wall),
            one.subject.cpu.map_or_else(|| "-".to_owned(), words),
            one.row.baseline,
            words(one.baseline.wall),
            one.times,
            target(one.row.target),
            if one.is_reached() { "yes" } else { "no" },
        );
    }
    Ok(())
}

fn row(one: &Measured) -> Value {
    let figure = |figure: Figure| {
        json!({
            "wallNs": figure.wall.as_nanos(), "cpuNs": figure.cpu.map(|cpu| cpu.as_nanos()),
        })
    };
    json!({
        "number": one.row.number, "name": one.row.name, "unit": one.row.unit,
        "subject": figure(one.subject), "baseline": figure(one.baseline),
        "baselineName": one.row.baseline, "ratio": one.times,
        "target": target(one.row.target), "reached": one.is_reached(),
    })
}

fn target(target: Target) -> String {
    match target {
        Target::Times(most) => format!("at most {most}x"),
        Target::Within(most) => format!("under {}", words(most)),
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
