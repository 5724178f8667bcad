//! Cutting text that came from outside.

/// The longest beginning of `text` that has at most `limit` bytes and ends between letters.
pub(crate) fn cut_bytes(text: &str, limit: usize) -> &str {
    let mut end = limit.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Keeps at most `limit` characters.
pub(crate) fn cut_chars(text: &mut String, limit: usize) {
    if let Some((end, _)) = text.char_indices().nth(limit) {
        text.truncate(end);
    }
}
