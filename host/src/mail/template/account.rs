//! Words about the account itself.

use super::{Page, Speaker, pick};
use crate::mail::SecurityEvent;

impl Speaker<'_> {
    fn minutes(&self, minutes: u32) -> String {
        pick(
            self.language,
            format!("The link works once, for {minutes} minutes."),
            format!("该链接仅可使用一次，有效期 {minutes} 分钟。"),
        )
    }

    pub(super) fn verify(&self, link: &String, minutes: u32) -> Page {
        let brand = self.brand;
        Page {
            subject: pick(
                self.language,
                format!("Confirm your address for {brand}"),
                format!("请确认您的 {brand} 邮箱地址"),
            ),
            lines: vec![
                self.say(
                    "Is this your address? Please confirm it.",
                    "请确认这是您的邮箱地址。",
                ),
                self.minutes(minutes),
            ],
            picture: None,
            action: self.action("Confirm", "确认", Some(link)),
            notes: vec![self.say(
                "If you did not ask for this, nothing has to be done.",
                "如果这不是您本人的操作，请忽略此邮件。",
            )],
        }
    }

    pub(super) fn reset(&self, link: &String, minutes: u32) -> Page {
        let brand = self.brand;
        Page {
            subject: pick(
                self.language,
                format!("A new password for {brand}"),
                format!("重置您的 {brand} 密码"),
            ),
            lines: vec![
                self.say(
                    "Somebody asked for a new password for this address.",
                    "有人请求为此邮箱重置密码。",
                ),
                self.minutes(minutes),
            ],
            picture: None,
            action: self.action("Choose a new password", "设置新密码", Some(link)),
            notes: vec![self.say(
                "If it was not you, the old password stays as it is.",
                "如果这不是您本人的操作，原密码保持不变。",
            )],
        }
    }

    pub(super) fn known(&self, link: Option<&String>) -> Page {
        let brand = self.brand;
        Page {
            subject: pick(
                self.language,
                format!("You have an account at {brand}"),
                format!("您已有 {brand} 账户"),
            ),
            lines: vec![
                self.say(
                    "Somebody registered with this address, which has an account already.",
                    "有人使用此邮箱注册，但该邮箱已有账户。",
                ),
                self.say(
                    "If it was you, sign in as before, or ask for a new password.",
                    "如果是您本人，请直接登录，或重置密码。",
                ),
            ],
            picture: None,
            action: self.action("Sign in", "登录", link),
            notes: vec![self.say(
                "If it was not you, nothing has to be done: your account is as it was.",
                "如果不是您本人，请忽略此邮件，您的账户未受影响。",
            )],
        }
    }

    pub(super) fn security(&self, event: SecurityEvent) -> Page {
        let (subject, line) = match event {
            SecurityEvent::TokenReused => (
                self.say("You were signed out for safety", "为安全起见已将您登出"),
                self.say(
                    "A sign-in of yours was used a second time, as by somebody who copied it. That \
                     session is closed; sign in again.",
                    "您的一个登录凭证被重复使用，可能已被他人复制。该会话已关闭，请重新登录。",
                ),
            ),
            SecurityEvent::PasswordChanged => (
                self.say("Your password was changed", "您的密码已更改"),
                self.say(
                    "Your account has a new password, and its other sessions are closed.",
                    "您的账户已设置新密码，其他会话已关闭。",
                ),
            ),
            SecurityEvent::AddressChanged => (
                self.say("Your address was changed", "您的邮箱已更改"),
                self.say(
                    "Your account has another mail address from now on; this one is not used any \
                     more.",
                    "您的账户已更换邮箱，此邮箱不再使用。",
                ),
            ),
            SecurityEvent::GoogleLinked => (
                self.say(
                    "Google now signs in to your account",
                    "您的账户已关联 Google 登录",
                ),
                self.say(
                    "Somebody signed in with a Google account that has your address. It opens your \
                     account from now on.",
                    "有人使用与您邮箱相同的 Google 账号登录，此后该 Google 账号可登录您的账户。",
                ),
            ),
            SecurityEvent::AccountDeleted => (
                self.say("Your account was deleted", "您的账户已删除"),
                self.say(
                    "Your account is gone, and nobody can sign in to it.",
                    "您的账户已删除，任何人都无法再登录。",
                ),
            ),
        };
        Page {
            subject,
            lines: vec![line],
            picture: None,
            action: None,
            notes: vec![self.say(
                "If it was not you, ask for a new password at once.",
                "如果不是您本人的操作，请立即重置密码。",
            )],
        }
    }
}
