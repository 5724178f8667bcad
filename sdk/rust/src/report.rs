//! What a plugin tells while it works.

pub use crate::bindings::imports::genvid::provider::report::Level;

use crate::host;

/// The longest line that the host takes, in bytes.
const LINE: usize = 4096;

/// A line for the operator's log. Longer lines are cut at 4 KiB. Never log a secret.
pub fn log(level: Level, message: impl AsRef<str>) {
    let message = message.as_ref();
    let mut end = message.len().min(LINE);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    host::log(level, &message[..end]);
}

/// A line that only a developer wants.
pub fn debug(message: impl AsRef<str>) {
    log(Level::Debug, message);
}

/// A line about the ordinary.
pub fn info(message: impl AsRef<str>) {
    log(Level::Info, message);
}

/// A line about something that the operator should look at some day.
pub fn warn(message: impl AsRef<str>) {
    log(Level::Warn, message);
}

/// A line about something that is broken.
pub fn error(message: impl AsRef<str>) {
    log(Level::Error, message);
}

/// Live text of a script that is being written, in the order of the text.
pub fn text(delta: impl AsRef<str>) {
    host::text(delta.as_ref());
}
