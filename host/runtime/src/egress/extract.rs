//! Finds one base64 string inside a JSON text while the text streams by, decodes it, and keeps
//! the rest. Memory is constant: the string itself is never held.

/// Deepest nesting.
const DEPTH: usize = 64;

/// Longest name of a member that is compared; longer ones match nothing.
const LONGEST_KEY: usize = 1024;

/// What is wrong with a text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ExtractError {
    /// The pointer is none.
    #[error("`{0}` is no JSON pointer (RFC 6901)")]
    Pointer(String),
    /// Nested too deeply, or not JSON.
    #[error("the answer is not usable JSON: {0}")]
    Json(&'static str),
    /// The string holds something else.
    #[error("the string at the pointer is not base64")]
    Base64,
    /// There is no string at the pointer.
    #[error("there is no string at the pointer")]
    Missing,
    /// What stands beside the string is too long.
    #[error("the rest of the answer is larger than {0} bytes")]
    TooLarge(usize),
}

enum Frame {
    Object,
    Array { index: usize },
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between tokens, or inside of a number or a word.
    Plain,
    /// Inside of a string that is kept.
    Text { key: bool, escaped: bool },
    /// Inside of the wanted string.
    Wanted,
    /// After a backslash in the wanted string.
    WantedEscape,
    /// Inside of `\uXXXX` in the wanted string: digits read, value so far.
    WantedUnicode { digits: u8, value: u32 },
}

#[derive(Clone, Copy)]
struct Place {
    /// Of the member's name; nothing in a list.
    key: Option<usize>,
    /// Of the opening quote.
    value: usize,
}

/// Takes a text in pieces.
pub(crate) struct Extractor {
    pointer: Vec<String>,
    stack: Vec<Frame>,
    /// How many of the outer containers lie on the pointer's path with their present member.
    matched: usize,
    state: State,
    expect_key: bool,
    key: Vec<u8>,
    rest: Vec<u8>,
    limit: usize,
    /// Where the name of the present member begins in the rest.
    key_start: usize,
    /// Where the wanted member, or entry of a list, is in the rest.
    found: Option<Place>,
    decoder: Decoder,
}

impl Extractor {
    /// Looks for the string at `pointer` (RFC 6901) and keeps at most `limit` bytes of the rest.
    pub(crate) fn new(pointer: &str, limit: usize) -> Result<Self, ExtractError> {
        let wrong = || ExtractError::Pointer(crate::text::cut_bytes(pointer, 200).to_owned());
        let tokens = pointer.strip_prefix('/').ok_or_else(wrong)?;
        let pointer: Vec<String> = tokens
            .split('/')
            .map(|token| token.replace("~1", "/").replace("~0", "~"))
            .collect();
        if pointer.len() > DEPTH {
            return Err(wrong());
        }
        Ok(Self {
            pointer,
            stack: Vec::new(),
            matched: 0,
            state: State::Plain,
            expect_key: false,
            key: Vec::new(),
            rest: Vec::new(),
            limit,
            key_start: 0,
            found: None,
            decoder: Decoder::default(),
        })
    }

    /// Takes the next piece of the text and answers the bytes decoded from it.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<Vec<u8>, ExtractError> {
        let mut out = Vec::new();
        let mut at = 0;
        while at < piece.len() {
            if self.state == State::Wanted {
                let run = &piece[at..];
                let end = run.iter().position(|byte| matches!(byte, b'"' | b'\\'));
                let run = &run[..end.unwrap_or(run.len())];
                self.decoder.feed(run, &mut out)?;
                at += run.len();
                let Some(byte) = piece.get(at) else { break };
                at += 1;
                if *byte == b'"' {
                    self.decoder.finish(&mut out)?;
                    self.state = State::Plain;
                    self.keep(b'"')?;
                } else {
                    self.state = State::WantedEscape;
                }
                continue;
            }
            self.step(piece[at], &mut out)?;
            at += 1;
        }
        Ok(out)
    }

    /// The text without the wanted member; in a list `null` takes the place of the string.
    pub(crate) fn finish(mut self) -> Result<String, ExtractError> {
        if self.state != State::Plain || !self.stack.is_empty() {
            return Err(ExtractError::Json("it ends in the middle"));
        }
        let place = self.found.ok_or(ExtractError::Missing)?;
        serde_json::from_slice::<serde::de::IgnoredAny>(&self.rest)
            .map_err(|_| ExtractError::Json("it breaks the grammar"))?;
        // An empty string stands where the wanted one was.
        let end = place.value + 2;
        match place.key {
            None => {
                self.rest.splice(place.value..end, *b"null");
            }
            Some(key) => {
                let blank = |byte: &u8| !byte.is_ascii_whitespace();
                let after = self.rest[end..].iter().position(blank).map(|at| end + at);
                let before = self.rest[..key].iter().rposition(blank);
                // One of the commas around it goes too.
                let (from, to) = match (before, after) {
                    (_, Some(after)) if self.rest[after] == b',' => (key, after + 1),
                    (Some(before), _) if self.rest[before] == b',' => (before, end),
                    _ => (key, end),
                };
                self.rest.drain(from..to);
            }
        }
        String::from_utf8(self.rest).map_err(|_| ExtractError::Json("it is not UTF-8"))
    }

    fn keep(&mut self, byte: u8) -> Result<(), ExtractError> {
        if self.rest.len() >= self.limit {
            return Err(ExtractError::TooLarge(self.limit));
        }
        self.rest.push(byte);
        Ok(())
    }

    fn step(&mut self, byte: u8, out: &mut Vec<u8>) -> Result<(), ExtractError> {
        match self.state {
            State::Plain => {
                self.keep(byte)?;
                self.plain(byte)?;
            }
            State::Text { key, escaped } => {
                self.keep(byte)?;
                let ends = byte == b'"' && !escaped;
                if key && !ends && self.key.len() <= LONGEST_KEY {
                    self.key.push(byte);
                }
                self.state = if ends {
                    if key {
                        self.compare_key();
                    }
                    State::Plain
                } else {
                    State::Text {
                        key,
                        escaped: byte == b'\\' && !escaped,
                    }
                };
            }
            State::Wanted => {}
            State::WantedEscape => {
                self.state = State::Wanted;
                match byte {
                    b'/' => self.decoder.feed(b"/", out)?,
                    b'n' | b'r' | b't' => {}
                    b'u' => {
                        self.state = State::WantedUnicode {
                            digits: 0,
                            value: 0,
                        }
                    }
                    _ => return Err(ExtractError::Base64),
                }
            }
            State::WantedUnicode { digits, value } => {
                let digit = char::from(byte).to_digit(16).ok_or(ExtractError::Base64)?;
                let (digits, value) = (digits + 1, value * 16 + digit);
                if digits < 4 {
                    self.state = State::WantedUnicode { digits, value };
                } else {
                    let letter = u8::try_from(value).map_err(|_| ExtractError::Base64)?;
                    self.decoder.feed(&[letter], out)?;
                    self.state = State::Wanted;
                }
            }
        }
        Ok(())
    }

    fn plain(&mut self, byte: u8) -> Result<(), ExtractError> {
        match byte {
            b'"' if self.expect_key => {
                self.key.clear();
                self.key_start = self.rest.len() - 1;
                self.state = State::Text {
                    key: true,
                    escaped: false,
                };
            }
            b'"' => {
                let depth = self.stack.len();
                let here = depth == self.pointer.len() && self.matched == depth;
                self.state = if here && self.found.is_none() {
                    let named = matches!(self.stack.last(), Some(Frame::Object));
                    let key = named.then_some(self.key_start);
                    self.found = Some(Place {
                        key,
                        value: self.rest.len() - 1,
                    });
                    State::Wanted
                } else {
                    State::Text {
                        key: false,
                        escaped: false,
                    }
                };
            }
            b'{' | b'[' => {
                if self.stack.len() >= DEPTH {
                    return Err(ExtractError::Json("it is nested too deeply"));
                }
                if byte == b'{' {
                    self.stack.push(Frame::Object);
                    self.expect_key = true;
                } else {
                    self.stack.push(Frame::Array { index: 0 });
                    self.expect_key = false;
                    self.compare("0");
                }
            }
            b'}' | b']' => {
                self.stack
                    .pop()
                    .ok_or(ExtractError::Json("a bracket too many"))?;
                self.leave();
                self.expect_key = false;
            }
            b',' => {
                self.leave_member();
                match self.stack.last_mut() {
                    Some(Frame::Object) => self.expect_key = true,
                    Some(Frame::Array { index }) => {
                        *index += 1;
                        let index = index.to_string();
                        self.compare(&index);
                    }
                    None => return Err(ExtractError::Json("more than one value")),
                }
            }
            b':' => self.expect_key = false,
            _ => {}
        }
        Ok(())
    }

    /// After the end of a container that was the value of a member.
    fn leave(&mut self) {
        self.matched = self.matched.min(self.stack.len());
    }

    /// Before the next member of the present container.
    fn leave_member(&mut self) {
        self.matched = self.matched.min(self.stack.len().saturating_sub(1));
    }

    fn compare_key(&mut self) {
        if self.key.len() > LONGEST_KEY {
            return;
        }
        // Escapes in names are rare but allowed; the quotes make it a JSON string again.
        let mut quoted = Vec::with_capacity(self.key.len() + 2);
        quoted.push(b'"');
        quoted.append(&mut self.key);
        quoted.push(b'"');
        if let Ok(name) = serde_json::from_slice::<String>(&quoted) {
            self.compare(&name);
        }
    }

    /// Whether the present member of the innermost container goes on along the path.
    fn compare(&mut self, token: &str) {
        let depth = self.stack.len();
        if depth > 0
            && self.matched == depth - 1
            && self
                .pointer
                .get(depth - 1)
                .is_some_and(|wanted| wanted == token)
        {
            self.matched = depth;
        }
    }
}

/// Base64 in both alphabets (RFC 4648, sections 4 and 5), with or without padding, line breaks
/// ignored.
#[derive(Default)]
struct Decoder {
    bits: u32,
    /// Characters in the present group of four.
    count: u8,
    padding: u8,
}

impl Decoder {
    fn feed(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), ExtractError> {
        out.reserve(text.len() / 4 * 3 + 3);
        for byte in text {
            let value = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                b'=' => {
                    self.padding += 1;
                    if self.padding > 2 {
                        return Err(ExtractError::Base64);
                    }
                    continue;
                }
                b'\r' | b'\n' | b'\t' | b' ' => continue,
                _ => return Err(ExtractError::Base64),
            };
            if self.padding > 0 {
                return Err(ExtractError::Base64);
            }
            self.bits = self.bits << 6 | u32::from(value);
            self.count += 1;
            if self.count == 4 {
                let [_, first, second, third] = self.bits.to_be_bytes();
                out.extend_from_slice(&[first, second, third]);
                self.bits = 0;
                self.count = 0;
            }
        }
        Ok(())
    }

    fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), ExtractError> {
        // Padding is optional, but what is there must fill up a group of four.
        if self.padding > 0 && !(self.count + self.padding).is_multiple_of(4) {
            return Err(ExtractError::Base64);
        }
        match self.count {
            0 if self.padding == 0 => {}
            2 => out.push((self.bits >> 4) as u8),
            3 => {
                out.push((self.bits >> 10) as u8);
                out.push((self.bits >> 2) as u8);
            }
            _ => return Err(ExtractError::Base64),
        }
        *self = Self::default();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extract(text: &str, pointer: &str, piece: usize) -> Result<(Vec<u8>, String), ExtractError> {
        let mut extractor = Extractor::new(pointer, 10_000)?;
        let mut bytes = Vec::new();
        for piece in text.as_bytes().chunks(piece) {
            bytes.extend(extractor.feed(piece)?);
        }
        Ok((bytes, extractor.finish()?))
    }

    #[test]
    fn it_does_not_matter_where_the_pieces_end() {
        for (text, pointer, rest) in [
            (
                r#"{"x\"y":{"a":"\\"},"k\u0065y":{"a" : "aG\u006b\/\n+A==" ,"b":[1.5e3,true]}}"#,
                "/key/a",
                r#"{"x\"y":{"a":"\\"},"k\u0065y":{"b":[1.5e3,true]}}"#,
            ),
            (
                r#"[ [ "a" , {"~/": [ "aGk/+A==" , "b" ] } ] ]"#,
                "/0/1/~0~1/0",
                r#"[ [ "a" , {"~/": [ null , "b" ] } ] ]"#,
            ),
        ] {
            for piece in 1..=text.len() {
                let (bytes, found) = extract(text, pointer, piece).expect("a string");
                assert_eq!(bytes, b"hi?\xf8", "{piece}");
                assert_eq!(found, rest, "{piece}");
            }
        }
    }

    #[test]
    fn base64_has_no_odd_ends() {
        for text in [
            r#"["a"]"#,
            r#"["aGk=="]"#,
            r#"["aG=k"]"#,
            r#"["===="]"#,
            r#"["a\u0100"]"#,
        ] {
            assert_eq!(extract(text, "/0", 1), Err(ExtractError::Base64), "{text}");
        }
    }
}
