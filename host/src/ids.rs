//! Typed identifiers: a UUIDv7 behind a readable prefix, for example
//! `job_0190f3a27c8e7b21a9d5c3e4f5061728`. Time-ordered, so that indexes stay compact and
//! pages by id are pages by time.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Text that is not an identifier of the wanted kind.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("not a valid {prefix}… identifier")]
pub struct InvalidId {
    /// The prefix that was expected, with its underscore.
    pub prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The prefix of its text form, with the underscore.
            pub const PREFIX: &'static str = $prefix;

            /// A new, time-ordered identifier.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Wraps a stored value.
            #[must_use]
            pub fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The value to store.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .filter(|rest| {
                        rest.len() == 32
                            && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                    })
                    .and_then(|rest| Uuid::try_parse(rest).ok())
                    .map(Self)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A person or program with an account.
    UserId, "usr_"
);
id!(
    /// A product that videos are made for.
    ProjectId, "prj_"
);
id!(
    /// One thing a user asked for.
    JobId, "job_"
);
id!(
    /// Many films that were asked for at once.
    BatchId, "bat_"
);
id!(
    /// What many films may cost together.
    BatchQuoteId, "bqt_"
);
id!(
    /// One node of a job's plan.
    StepId, "stp_"
);
id!(
    /// One try of a step at one provider. Its text is the client reference that vendors see.
    AttemptId, "att_"
);
id!(
    /// A file that a job left.
    MediaId, "med_"
);
id!(
    /// A picture that a user sends.
    UploadId, "upl_"
);
id!(
    /// What a program of a user's signs in with.
    ApiKeyId, "key_"
);
id!(
    /// Something that an administrator did.
    ActId, "act_"
);
id!(
    /// A place where a user is signed in.
    SessionId, "ses_"
);
id!(
    /// Where a user's webhooks are sent.
    EndpointId, "whe_"
);
id!(
    /// Something that is told by webhook. Its text is the `webhook-id` that receivers see.
    MessageId, "msg_"
);
id!(
    /// A message on its way to one endpoint.
    DeliveryId, "whd_"
);
id!(
    /// A mail. Its text is what the mail vendor knows it by.
    MailId, "mail_"
);
id!(
    /// What a wish may cost.
    QuoteId, "quo_"
);
id!(
    /// Credits that went from one account to another.
    TransferId, "trf_"
);
id!(
    /// A running process that holds leases.
    NodeId, "nod_"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_refuses_other_kinds() {
        let id = JobId::generate();
        assert_eq!(id.to_string().parse::<JobId>(), Ok(id));
        assert!(id.to_string().parse::<StepId>().is_err());
        assert!(id.to_string().to_uppercase().parse::<JobId>().is_err());
        assert!("job_".parse::<JobId>().is_err());
    }

    #[test]
    fn an_attempt_id_fits_every_vendors_reference() {
        let text = AttemptId::generate().to_string();
        assert!(text.len() <= 64);
        assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
    }
}
