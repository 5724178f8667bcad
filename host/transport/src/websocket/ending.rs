//! How a socket ends.

use std::time::Duration;

use axum::extract::ws::WebSocket;
use futures::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite;

use super::frames::Closing;

/// How long the closing handshake may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Ends the connection so that the client sees the close frame: a connection that is dropped with unread data is reset,
/// and a reset may overtake the frame.
pub(super) async fn finish(mut socket: WebSocket, ending: Ending) {
    let unreadable = matches!(ending, Ending::Unreadable(_));
    let closing = match ending {
        Ending::Gone => return,
        Ending::ClosedByPeer => None,
        Ending::Close(closing) | Ending::Unreadable(closing) => {
            tracing::debug!(code = closing.code, reason = %closing.reason, "closing a socket");
            Some(closing)
        }
    };
    let handshake = async {
        match closing {
            Some(closing) => socket.send(closing.frame()).await.ok(),
            None => socket.flush().await.ok(),
        }?;
        if unreadable {
            // The rest of a message that is too long cannot be skipped; give the frame time to arrive.
            tokio::time::sleep(CLOSE_TIMEOUT / 4).await;
        } else {
            while let Some(Ok(_)) = socket.next().await {}
        }
        Some(())
    };
    let _ = timeout(CLOSE_TIMEOUT, handshake).await;
}

/// Why the loop ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// We close.
    Close(Closing),
    /// We close, and what follows on the wire cannot be read.
    Unreadable(Closing),
    /// The client sent its close frame.
    ClosedByPeer,
    /// There is nobody to tell.
    Gone,
}

impl From<Closing> for Ending {
    fn from(closing: Closing) -> Self {
        Self::Close(closing)
    }
}

/// What a failed read or write means.
pub(super) fn broken(error: axum::Error) -> Ending {
    let error = error.into_inner();
    match error.downcast_ref::<tungstenite::Error>() {
        Some(tungstenite::Error::Capacity(_)) => {
            Ending::Unreadable(Closing::new(1009, "The message is too big"))
        }
        Some(tungstenite::Error::Utf8(_)) => {
            Ending::Unreadable(Closing::new(1007, "The text is not UTF-8"))
        }
        Some(tungstenite::Error::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
            | tungstenite::error::ProtocolError::SendAfterClosing
            | tungstenite::error::ProtocolError::ReceivedAfterClosing,
        )) => Ending::Gone,
        Some(tungstenite::Error::Protocol(_)) => {
            Ending::Unreadable(Closing::new(1002, "WebSocket protocol error"))
        }
        _ => Ending::Gone,
    }
}
