//! Server-sent events, parsed as the WHATWG's HTML standard says in "Server-sent events",
//! section "Interpreting an event stream", with limits.

use std::collections::VecDeque;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: Option<String>,
    pub(crate) data: String,
    pub(crate) id: Option<String>,
}

/// A line, or the data of one event, is longer than allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
pub(crate) struct TooLarge(usize);

/// Turns bytes into events.
pub(crate) struct Parser {
    limit: usize,
    line: Vec<u8>,
    /// The last byte was a carriage return, so that a line feed now belongs to it.
    after_return: bool,
    first_line: bool,
    name: String,
    data: String,
    id: Option<String>,
    events: VecDeque<Event>,
}

impl Parser {
    /// `limit` is for one line and for the data of one event, in bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            line: Vec::new(),
            after_return: false,
            first_line: true,
            name: String::new(),
            data: String::new(),
            id: None,
            events: VecDeque::new(),
        }
    }

    /// The oldest event that is complete. An event that the stream's end cuts off is none.
    pub(crate) fn next(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), TooLarge> {
        let mut rest = piece;
        while !rest.is_empty() {
            if std::mem::take(&mut self.after_return) && rest[0] == b'\n' {
                rest = &rest[1..];
                continue;
            }
            match rest.iter().position(|byte| matches!(byte, b'\r' | b'\n')) {
                Some(end) => {
                    self.extend(&rest[..end])?;
                    self.after_return = rest[end] == b'\r';
                    rest = &rest[end + 1..];
                    self.end_line()?;
                }
                None => {
                    self.extend(rest)?;
                    break;
                }
            }
        }
        Ok(())
    }

    fn extend(&mut self, bytes: &[u8]) -> Result<(), TooLarge> {
        if self.line.len() + bytes.len() > self.limit {
            return Err(TooLarge(self.limit));
        }
        self.line.extend_from_slice(bytes);
        Ok(())
    }

    fn end_line(&mut self) -> Result<(), TooLarge> {
        let bytes = std::mem::take(&mut self.line);
        let mut line: &[u8] = &bytes;
        if std::mem::take(&mut self.first_line) {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        if line.is_empty() {
            self.dispatch();
        } else if line[0] != b':' {
            let line = String::from_utf8_lossy(line);
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut self.name),
                "data" => {
                    if self.data.len() + value.len() >= self.limit {
                        return Err(TooLarge(self.limit));
                    }
                    self.data.push_str(value);
                    self.data.push('\n');
                }
                "id" if !value.contains('\0') => {
                    self.id = Some(value.to_owned()).filter(|id| !id.is_empty());
                }
                _ => {}
            }
        }
        self.line = bytes;
        self.line.clear();
        Ok(())
    }

    fn dispatch(&mut self) {
        let name = std::mem::take(&mut self.name);
        let mut data = std::mem::take(&mut self.data);
        if data.is_empty() {
            return;
        }
        if data.ends_with('\n') {
            data.pop();
        }
        let name = Some(name).filter(|name| !name.is_empty());
        self.events.push_back(Event {
            name,
            data,
            id: self.id.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str, piece: usize) -> Result<Vec<Event>, TooLarge> {
        let mut parser = Parser::new(20);
        for piece in text.as_bytes().chunks(piece) {
            parser.feed(piece)?;
        }
        Ok(std::iter::from_fn(|| parser.next()).collect())
    }

    fn event(name: Option<&str>, data: &str, id: Option<&str>) -> Event {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Event {
            name: owned(name),
            data: data.to_owned(),
            id: owned(id),
        }
    }

    /// The examples of the standard, section "Interpreting an event stream", and line ends of
    /// all three kinds.
    #[test]
    fn the_standards_examples_are_read_in_any_pieces() {
        for (text, expected) in [
            (
                "data: YHOO\ndata: +2\ndata: 10\n\n",
                vec![event(None, "YHOO\n+2\n10", None)],
            ),
            (
                ": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n",
                vec![
                    event(None, "first", Some("1")),
                    event(None, "second", None),
                    event(None, " third", None),
                ],
            ),
            (
                "data\n\ndata\ndata\n\ndata:",
                vec![event(None, "", None), event(None, "\n", None)],
            ),
            (
                "data:test\n\ndata: test\n\n",
                vec![event(None, "test", None), event(None, "test", None)],
            ),
            (
                "\u{feff}event: add\r\ndata: 1\r\n\r\nevent: x\r\rdata: 2\rid: a\0b\r\n\n",
                vec![event(Some("add"), "1", None), event(None, "2", None)],
            ),
        ] {
            for piece in 1..=text.len() {
                assert_eq!(
                    parse(text, piece).as_deref(),
                    Ok(expected.as_slice()),
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn lines_and_events_have_limits() {
        assert_eq!(parse(&"x".repeat(21), 5), Err(TooLarge(20)));
        assert_eq!(
            parse("data: 123456789\ndata: 123456789\ndata: 1\n\n", 5),
            Err(TooLarge(20))
        );
    }
}
