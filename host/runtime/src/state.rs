//! What the store of one call holds, and the host's side of `report` and `clock`.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasmtime::ResourceLimiter;

use crate::call::Call;
use crate::contract::generated::genvid::provider::{clock, report, types};
use crate::egress::CallEgress;
use crate::engine::Live;
use crate::meter::Meter;
use crate::plugin::Granted;

/// Longest log line that is kept, in bytes.
const LOG_LINE: usize = 4 * 1024;
/// Most log lines of one call.
const LOG_LINES: u32 = 200;
/// Most live text of one call, in bytes.
const LIVE_TEXT: usize = 1024 * 1024;

/// The state of one call; dropped with its instance.
pub(crate) struct CallState {
    pub(crate) plugin: Arc<Granted>,
    pub(crate) call: Call,
    pub(crate) meter: Arc<Meter>,
    /// When the whole call ends.
    pub(crate) deadline: Instant,
    pub(crate) function: &'static str,
    pub(crate) limits: Limits,
    pub(crate) egress: CallEgress,
    pub(crate) log_lines: u32,
    pub(crate) live_text: usize,
    pub(crate) _live: Live,
}

/// The guest asked for more memory, or a bigger table, than it may have.
#[derive(Debug, thiserror::Error)]
#[error("the plugin asked for {asked} {unit}; it may have {limit}")]
pub(crate) struct OverLimit {
    asked: usize,
    limit: usize,
    unit: &'static str,
}

/// The guest computed for longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("the plugin computed for more than {0} ms")]
pub(crate) struct OverBudget(pub(crate) u128);

/// Memory and table limits of one call, all memories together.
#[derive(Debug)]
pub(crate) struct Limits {
    memory: usize,
    used: usize,
}

const TABLE_ELEMENTS: usize = 60_000;

impl Limits {
    pub(crate) fn new(memory_mib: u32) -> Self {
        Self {
            memory: (memory_mib as usize) << 20,
            used: 0,
        }
    }
}

impl ResourceLimiter for Limits {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.memory {
            return Err(OverLimit {
                asked: used,
                limit: self.memory,
                unit: "bytes",
            }
            .into());
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            let limit = TABLE_ELEMENTS;
            return Err(OverLimit {
                asked: desired,
                limit,
                unit: "table elements",
            }
            .into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        64
    }

    fn tables(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }
}

impl types::Host for CallState {}

impl clock::Host for CallState {
    fn now_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(now_ms())
    }
}

impl report::Host for CallState {
    fn log(&mut self, level: report::Level, message: String) -> wasmtime::Result<()> {
        self.log_lines = self.log_lines.saturating_add(1);
        if self.log_lines > LOG_LINES {
            if self.log_lines == LOG_LINES + 1 {
                tracing::warn!(
                    plugin = %self.plugin.id(),
                    label = %self.call.label,
                    "the plugin wrote {LOG_LINES} log lines in one call; the rest is dropped"
                );
            }
            return Ok(());
        }
        let message = one_line(&message);
        let (plugin, label, function) = (self.plugin.id(), &self.call.label, self.function);
        match level {
            report::Level::Debug => tracing::debug!(%plugin, %label, function, "{message}"),
            report::Level::Info => tracing::info!(%plugin, %label, function, "{message}"),
            report::Level::Warn => tracing::warn!(%plugin, %label, function, "{message}"),
            report::Level::Error => tracing::error!(%plugin, %label, function, "{message}"),
        }
        Ok(())
    }

    fn text(&mut self, delta: String) -> wasmtime::Result<()> {
        let Some(sender) = &self.call.text else {
            return Ok(());
        };
        self.live_text = self.live_text.saturating_add(delta.len());
        // Live text is for eyes only and the result comes in full, so dropping does no harm;
        // nor does a listener that has left.
        if self.live_text <= LIVE_TEXT && sender.send(delta).is_err() {
            self.call.text = None;
        }
        Ok(())
    }
}

/// Cuts at the limit and takes control characters out, so that a plugin cannot forge lines.
fn one_line(message: &str) -> String {
    crate::text::cut_bytes(message, LOG_LINE)
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

/// Milliseconds since 1970; a clock before that counts as 1970.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}
