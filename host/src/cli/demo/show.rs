//! What a person sees while a job runs: bars on a terminal, lines elsewhere.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

pub(super) struct Show {
    bars: MultiProgress,
    steps: BTreeMap<String, ProgressBar>,
    terminal: bool,
    writing: bool,
}

impl Show {
    pub(super) fn new() -> Self {
        let bars = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let terminal = !bars.is_hidden();
        Self {
            bars,
            steps: BTreeMap::new(),
            terminal,
            writing: false,
        }
    }

    pub(super) fn say(&mut self, line: &str) {
        self.end_text();
        if self.terminal {
            // A terminal that went away has nobody to tell.
            let _ = self.bars.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    pub(super) fn event(&mut self, event: &Value) {
        let kind = event["type"].as_str().unwrap_or_default();
        let step = event["step"].as_str().unwrap_or_default().to_lowercase();
        let message = event["message"].as_str().unwrap_or_default();
        match kind {
            "TEXT_DELTA" => self.text(event["textDelta"].as_str().unwrap_or_default()),
            "STEP_PROGRESS" => {
                let part = event["progress"].as_f64().unwrap_or(0.0);
                self.progress(&step, part, message);
            }
            "STEP_STARTED" => self.progress(&step, 0.0, "started"),
            "STEP_SUCCEEDED" => self.done(&step),
            "JOB_QUEUED" | "JOB_STARTED" | "STEP_STORING" => {}
            "JOB_SUCCEEDED" => self.finish(),
            _ if step.is_empty() => self.say(&format!("  {}", words(kind, message))),
            _ if self.terminal => {
                if let Some(bar) = self.steps.get(&step) {
                    bar.set_message(words(kind, message));
                }
            }
            _ => self.say(&format!("  {step:<10} {}", words(kind, message))),
        }
    }

    fn text(&mut self, delta: &str) {
        if self.terminal {
            if let Some(bar) = self.steps.get("script") {
                let words = delta.split_whitespace().collect::<Vec<_>>().join(" ");
                let tail: String = words.chars().take(60).collect();
                bar.set_message(tail);
            }
        } else {
            if !self.writing {
                eprint!("  script     ");
                self.writing = true;
            }
            eprint!("{delta}");
        }
    }

    fn end_text(&mut self) {
        if std::mem::take(&mut self.writing) {
            eprintln!();
        }
    }

    fn progress(&mut self, step: &str, part: f64, message: &str) {
        if !self.terminal {
            self.say(&format!("  {step:<10} {:>3.0} % {message}", part * 100.0));
            return;
        }
        let bars = &self.bars;
        let bar = self.steps.entry(step.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(100));
            if let Ok(style) = ProgressStyle::with_template(
                "  {prefix:<10} {bar:24} {percent:>3} % {elapsed:>4} {msg}",
            ) {
                bar.set_style(style);
            }
            bar.set_prefix(step.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 100"
        )]
        bar.set_position((part.clamp(0.0, 1.0) * 100.0) as u64);
        if !message.is_empty() {
            bar.set_message(message.to_owned());
        }
    }

    fn done(&mut self, step: &str) {
        match self.steps.remove(step) {
            Some(bar) => {
                bar.set_position(100);
                bar.finish_with_message("done");
            }
            None if self.terminal => {}
            None => self.say(&format!("  {step:<10} done")),
        }
    }

    pub(super) fn finish(&mut self) {
        self.end_text();
        for bar in self.steps.values() {
            bar.abandon();
        }
        self.steps.clear();
    }
}

fn words(kind: &str, message: &str) -> String {
    if message.is_empty() {
        kind.to_lowercase().replace('_', " ")
    } else {
        message.to_owned()
    }
}
