//! Ways out for mail: a vendor, and a mailbox of this installation's own.

mod mailbox;
mod resend;

pub use mailbox::Mailbox;
pub use resend::Resend;
