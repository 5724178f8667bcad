//! What nodes tell each other, as compact JSON. Nodes of different versions may share a
//! Redis while they are being replaced: what one does not understand it treats as lost.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{JobId, NodeId, UserId},
    jobs::model::{Event, EventType, NewEvent, StepKind},
    time::Timestamp,
};

/// Changes when older nodes would misread a message.
const VERSION: u32 = 1;
/// Longest message that is taken.
const MAX_BYTES: usize = 1 << 20;
/// Events in one message at most, by count and by their size in bytes, about. One event is
/// never larger than its text, which is bounded where it is made.
pub(super) const MAX_EVENTS: (usize, usize) = (200, 128 << 10);

/// One message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Message {
    #[serde(rename = "v")]
    version: u32,
    /// Who tells it; whoever hears himself takes no notice.
    #[serde(rename = "n")]
    pub(super) node: NodeId,
    #[serde(flatten)]
    pub(super) body: Body,
}

/// What is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Body {
    /// Events that are durable.
    #[serde(rename = "e")]
    Events(Vec<Line>),
    /// Some events of this node were lost on the way.
    #[serde(rename = "lost")]
    Lost {},
    /// For workers.
    #[serde(rename = "w")]
    Nudges(Calls),
}

/// Nudges, each once.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Calls {
    #[serde(rename = "w", default, skip_serializing_if = "is_false")]
    pub(super) work: bool,
    #[serde(rename = "r", default, skip_serializing_if = "is_false")]
    pub(super) room: bool,
    /// Nodes before this word was there take no notice.
    #[serde(rename = "p", default, skip_serializing_if = "is_false")]
    pub(super) plugins: bool,
    /// Likewise.
    #[serde(rename = "h", default, skip_serializing_if = "is_false")]
    pub(super) health: bool,
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) cancel: Vec<JobId>,
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) look: Vec<JobId>,
}

/// An event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    #[serde(rename = "p")]
    position: i64,
    #[serde(rename = "j")]
    job: JobId,
    #[serde(rename = "o")]
    owner: UserId,
    #[serde(rename = "s")]
    seq: i64,
    #[serde(rename = "a")]
    at: Timestamp,
    #[serde(rename = "t")]
    event: EventType,
    #[serde(rename = "k", default, skip_serializing_if = "Option::is_none")]
    step: Option<StepKind>,
    #[serde(rename = "g", default, skip_serializing_if = "Option::is_none")]
    progress: Option<f64>,
    #[serde(rename = "m", default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    text_delta: Option<String>,
}

impl From<&Event> for Line {
    fn from(event: &Event) -> Self {
        let NewEvent {
            event: kind,
            step,
            progress,
            message,
            text_delta,
        } = event.body.clone();
        Self {
            position: event.position,
            job: event.job,
            owner: event.owner,
            seq: event.seq,
            at: event.at,
            event: kind,
            step,
            progress,
            message,
            text_delta,
        }
    }
}

impl From<Line> for Event {
    fn from(line: Line) -> Self {
        Self {
            position: line.position,
            job: line.job,
            owner: line.owner,
            seq: line.seq,
            at: line.at,
            body: NewEvent {
                event: line.event,
                step: line.step,
                progress: line.progress,
                message: line.message,
                text_delta: line.text_delta,
            },
        }
    }
}

impl Line {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        200 + text(&self.message) + text(&self.text_delta)
    }
}

/// Why a message was not understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unclear {
    #[error("it has {0} bytes")]
    TooLong(usize),
    #[error("it is of version {0}")]
    Version(u32),
    #[error("it does not decode")]
    Garbled(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "v")]
    version: u32,
}

impl Message {
    pub(super) fn new(node: NodeId, body: Body) -> Self {
        Self {
            version: VERSION,
            node,
            body,
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unclear> {
        if bytes.len() > MAX_BYTES {
            return Err(Unclear::TooLong(bytes.len()));
        }
        let Head { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(Unclear::Version(version));
        }
        Ok(serde_json::from_slice(bytes)?)
    }
}

fn is_false(value: &bool) -> bool {
    !*value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_they_were_and_are_compact() {
        let node = NodeId::generate();
        let event = Event {
            position: 7,
            job: JobId::generate(),
            owner: UserId::generate(),
            seq: 3,
            at: Timestamp::from_millis(1_700_000_000_123),
            body: NewEvent {
                progress: Some(0.25),
                ..NewEvent::step(EventType::TextDelta, StepKind::Script).saying("“é”\n")
            },
        };
        let bodies = [
            Body::Events(vec![Line::from(&event)]),
            Body::Lost {},
            Body::Nudges(Calls {
                work: true,
                plugins: true,
                cancel: vec![event.job],
                ..Calls::default()
            }),
        ];
        for body in bodies {
            let message = Message::new(node, body);
            let bytes = message.encode().expect("JSON");
            assert!(bytes.len() < 300, "{}", String::from_utf8_lossy(&bytes));
            assert_eq!(Message::decode(&bytes).expect("understood"), message);
        }
        assert_eq!(Event::from(Line::from(&event)), event);
    }

    #[test]
    fn what_is_not_understood_is_told() {
        let later = br#"{"v":2,"n":"node_0","x":1}"#;
        assert!(matches!(Message::decode(later), Err(Unclear::Version(2))));
        assert!(matches!(Message::decode(b"[]"), Err(Unclear::Garbled(_))));
        let long = vec![b' '; MAX_BYTES + 1];
        assert!(matches!(Message::decode(&long), Err(Unclear::TooLong(_))));
    }
}
