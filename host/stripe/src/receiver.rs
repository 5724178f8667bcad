//! Takes what was sent, in one order: size, signature, age, and only then what it says.

use crate::{Event, TOLERANCE, WebhookSecrets, signature::Invalid};

/// Largest event in bytes.
pub const MAX_EVENT: usize = 1_024 * 1_024;

/// Why something was refused. Nothing of it repeats what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// More bytes than any event has.
    #[error("it is larger than {MAX_EVENT} bytes")]
    TooLarge,
    /// The header is not one of Stripe.
    #[error("the signature's header cannot be read")]
    Header,
    /// Not signed with a secret of ours.
    #[error("it is not signed with a secret of this endpoint")]
    Signature,
    /// Signed too long ago, or ahead of our clock.
    #[error("its signature is older than {TOLERANCE} seconds or ahead of the clock")]
    Time,
    /// Signed, and yet no event.
    #[error("it is signed, but not an event")]
    NoEvent,
    /// From the test environment while money is real, or the other way round.
    #[error("it is of the other mode (live, test) than this server")]
    Mode,
}

/// Takes events for one endpoint.
#[derive(Debug, Clone)]
pub struct Receiver {
    secrets: WebhookSecrets,
    livemode: bool,
}

impl Receiver {
    /// For an endpoint with these secrets, for real money or for tests.
    #[must_use]
    pub fn new(secrets: WebhookSecrets, livemode: bool) -> Self {
        Self { secrets, livemode }
    }

    /// The event in the raw bytes of a request with this `Stripe-Signature`; `now` is in seconds
    /// since 1970.
    ///
    /// # Errors
    /// When it is not from Stripe, not from now, not an event, or not for this server.
    pub fn receive(&self, header: &[u8], body: &[u8], now: u64) -> Result<Event, Refusal> {
        if body.len() > MAX_EVENT {
            return Err(Refusal::TooLarge);
        }
        let at = self
            .secrets
            .verify(header, body)
            .map_err(|invalid| match invalid {
                Invalid::Header => Refusal::Header,
                Invalid::Signature => Refusal::Signature,
            })?;
        if now.abs_diff(at) > TOLERANCE {
            return Err(Refusal::Time);
        }
        let event = Event::read(body).ok_or(Refusal::NoEvent)?;
        if event.livemode != self.livemode {
            return Err(Refusal::Mode);
        }
        Ok(event)
    }
}
