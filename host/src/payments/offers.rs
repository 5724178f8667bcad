//! What is sold.

/// What kind of thing an offer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Paid each month, with credits for each.
    Plan,
    /// Paid once.
    Pack,
}

impl Kind {
    /// In keys and notes.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Pack => "pack",
        }
    }
}

/// Something that is sold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Plan or pack.
    pub kind: Kind,
    /// Its name, as in the settings.
    pub name: String,
    /// What the buyer reads.
    pub title: String,
    /// Price, in the currency's smallest unit.
    pub amount: i64,
    /// Credits for a payment.
    pub credits: i64,
}

/// All that is sold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Offers {
    /// ISO 4217, in small letters.
    pub currency: String,
    /// In the order of their price.
    pub all: Vec<Offer>,
}

impl Offers {
    /// Those of a kind.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Offer> {
        self.all.iter().filter(move |offer| offer.kind == kind)
    }

    /// One by its name.
    #[must_use]
    pub fn find(&self, kind: Kind, name: &str) -> Option<&Offer> {
        self.of(kind).find(|offer| offer.name == name)
    }
}
