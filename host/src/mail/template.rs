//! The words of mails, in English and Chinese, without and with markup. What comes from elsewhere
//! is escaped here and nowhere else; no mail has words that a user wrote for others.

mod account;

use std::fmt::Write as _;

use super::{Content, Language, Spent};
use crate::jobs::model::{FailureCode, JobKind};

/// Where a mail leads to. What is missing is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// The result, or the page of the job.
    pub open: Option<String>,
    /// The result's picture.
    pub picture: Option<String>,
    /// Tries the job again.
    pub retry: Option<String>,
    /// More credits.
    pub billing: Option<String>,
    /// The webhook endpoints.
    pub webhooks: Option<String>,
    /// No more mail of this kind.
    pub unsubscribe: Option<String>,
}

/// A mail's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// One line.
    pub subject: String,
    /// Without markup.
    pub text: String,
    /// With markup.
    pub html: String,
}

/// What a mail says, before it has a form.
struct Page {
    subject: String,
    lines: Vec<String>,
    picture: Option<String>,
    action: Option<(String, String)>,
    notes: Vec<String>,
}

/// The words of a mail. The same for the same content and links.
#[must_use]
pub fn words(content: &Content, language: Language, brand: &str, links: &Links) -> Words {
    let page = Speaker { language, brand }.page(content, links);
    // A subject is one header: one line, whatever went into it.
    let subject: String = (page.subject.chars())
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(200)
        .collect();
    let end = unsubscribe(language, links.unsubscribe.as_deref());
    Words {
        text: text(&page, brand, end.as_ref()),
        html: html(&page, &subject, language, brand, end.as_ref()),
        subject,
    }
}

fn unsubscribe(language: Language, link: Option<&str>) -> Option<(&'static str, String)> {
    let label = pick(language, "No more mail of this kind", "不再接收此类邮件");
    link.map(|link| (label, link.to_owned()))
}

fn pick<T>(language: Language, english: T, chinese: T) -> T {
    match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}

struct Speaker<'a> {
    language: Language,
    brand: &'a str,
}

impl Speaker<'_> {
    fn say(&self, english: &str, chinese: &str) -> String {
        pick(self.language, english, chinese).to_owned()
    }

    fn action(
        &self,
        english: &str,
        chinese: &str,
        link: Option<&String>,
    ) -> Option<(String, String)> {
        link.map(|link| (self.say(english, chinese), link.clone()))
    }

    fn page(&self, content: &Content, links: &Links) -> Page {
        match content {
            Content::Completed { what, spent, .. } => self.completed(*what, *spent, links),
            Content::Failed {
                what,
                code,
                retryable,
                spent,
                ..
            } => self.failed(*what, *code, *retryable, *spent, links),
            Content::LowCredits {
                available,
                threshold,
            } => self.low_credits(*available, *threshold, links),
            Content::Receipt {
                credits,
                amount_minor,
                currency,
                invoice_url,
            } => {
                let paid = money(*amount_minor, currency);
                self.receipt(*credits, &paid, invoice_url.as_ref())
            }
            Content::Verify { link, minutes } => self.verify(link, *minutes),
            Content::Reset { link, minutes } => self.reset(link, *minutes),
            Content::Known { link } => self.known(link.as_ref()),
            Content::Security { event } => self.security(*event),
            Content::EndpointDisabled { url, gone } => self.endpoint_disabled(url, *gone, links),
        }
    }

    fn thing(&self, what: JobKind) -> String {
        match what {
            JobKind::Script => self.say("script", "脚本"),
            JobKind::Voice => self.say("voice track", "配音"),
            JobKind::Video => self.say("video", "视频"),
        }
    }

    fn completed(&self, what: JobKind, spent: Spent, links: &Links) -> Page {
        let thing = self.thing(what);
        let charged = spent.charged;
        Page {
            subject: pick(
                self.language,
                format!("Your {thing} is ready"),
                format!("您的{thing}已完成"),
            ),
            lines: vec![
                pick(
                    self.language,
                    format!("Your {thing} has been made."),
                    format!("您的{thing}已制作完成。"),
                ),
                self.cost(charged),
            ],
            picture: links.picture.clone(),
            action: self.action("Open it", "查看", links.open.as_ref()),
            notes: Vec::new(),
        }
    }

    fn cost(&self, charged: i64) -> String {
        pick(
            self.language,
            format!("It cost {}.", credits(charged)),
            format!("消耗 {charged} 点数。"),
        )
    }

    fn failed(
        &self,
        what: JobKind,
        code: FailureCode,
        retryable: bool,
        spent: Spent,
        links: &Links,
    ) -> Page {
        let thing = self.thing(what);
        let mut lines = vec![
            pick(
                self.language,
                format!("Your {thing} could not be made."),
                format!("您的{thing}未能完成。"),
            ),
            self.cause(code),
            self.refund(spent),
        ];
        let retry = links.retry.as_ref().filter(|_| retryable);
        if retry.is_some() {
            lines.push(self.say(
                "You can try again; the page asks before anything is started.",
                "您可以重试；页面会先征求确认。",
            ));
        }
        let again = self.action("Try again", "重试", retry);
        Page {
            subject: pick(
                self.language,
                format!("Your {thing} could not be made"),
                format!("您的{thing}未能完成"),
            ),
            lines,
            picture: None,
            action: again.or_else(|| self.action("Look at it", "查看详情", links.open.as_ref())),
            notes: Vec::new(),
        }
    }

    fn refund(&self, spent: Spent) -> String {
        let Spent {
            charged,
            returned,
            open,
        } = spent;
        let mut text = pick(
            self.language,
            format!(
                "{} charged, {} returned.",
                credits(charged),
                credits(returned)
            ),
            format!("已扣除 {charged} 点数，已退还 {returned} 点数。"),
        );
        if open > 0 {
            text += &pick(
                self.language,
                format!(
                    " {} stay put aside until the provider has settled.",
                    credits(open)
                ),
                format!("另有 {open} 点数在服务商结算前暂时保留。"),
            );
        }
        text
    }

    fn cause(&self, code: FailureCode) -> String {
        match code {
            FailureCode::InvalidInput => self.say(
                "The provider does not take this request as it is: change it and start a new one.",
                "服务商无法接受该请求，请修改后重新提交。",
            ),
            FailureCode::ContentRejected => self.say(
                "The provider's moderation refused the content.",
                "内容未通过服务商的审核。",
            ),
            FailureCode::ProviderUnavailable => self.say(
                "No provider could be used at the time.",
                "当时没有可用的服务商。",
            ),
            FailureCode::ProviderRejected => self.say(
                "The provider accepted the work and then gave up.",
                "服务商接受任务后未能完成。",
            ),
            FailureCode::ProviderMisconfigured => self.say(
                "The provider's account does not allow it; the operator has to look at it.",
                "服务商账户配置有误，需要管理员处理。",
            ),
            FailureCode::Unconfirmed => self.say(
                "Whether the provider has done the work is not known.",
                "无法确认服务商是否已执行该任务。",
            ),
            FailureCode::MediaFailed => self.say(
                "The result could not be fetched, or cannot be played.",
                "结果无法下载或无法播放。",
            ),
            FailureCode::DeadlineExceeded => {
                self.say("It was not done in time.", "任务未能在期限内完成。")
            }
            FailureCode::BudgetExceeded => self.say(
                "The project's budget is used up: raise it to go on.",
                "项目预算已用完，提高预算后可继续。",
            ),
            FailureCode::Internal => {
                self.say("It was a fault of this service.", "本服务发生了故障。")
            }
        }
    }

    fn low_credits(&self, available: i64, threshold: i64, links: &Links) -> Page {
        Page {
            subject: self.say("Few credits are left", "点数余额不足"),
            lines: vec![
                pick(
                    self.language,
                    format!("You have {} left.", credits(available)),
                    format!("您还剩 {available} 点数。"),
                ),
                self.say(
                    "Jobs that may cost more than you have are not started.",
                    "费用可能超出余额的任务将不会开始。",
                ),
            ],
            picture: None,
            action: self.action("Get more", "充值", links.billing.as_ref()),
            notes: vec![pick(
                self.language,
                format!("You are told once when fewer than {threshold} are left."),
                format!("余额低于 {threshold} 点数时提醒一次。"),
            )],
        }
    }

    fn receipt(&self, count: i64, paid: &str, invoice: Option<&String>) -> Page {
        Page {
            subject: pick(
                self.language,
                format!("Receipt: {paid}"),
                format!("付款收据：{paid}"),
            ),
            lines: vec![pick(
                self.language,
                format!("Thank you. You paid {paid} for {}.", credits(count)),
                format!("感谢您的付款。您已支付 {paid}，购得 {count} 点数。"),
            )],
            picture: None,
            action: self.action("See the invoice", "查看发票", invoice),
            notes: Vec::new(),
        }
    }

    fn endpoint_disabled(&self, url: &str, gone: bool, links: &Links) -> Page {
        let why = if gone {
            self.say(
                "It answered that it is gone (410).",
                "该地址返回 410，表示已停用。",
            )
        } else {
            self.say(
                "For days nothing could be delivered to it.",
                "连续多日无法送达。",
            )
        };
        Page {
            subject: self.say("A webhook endpoint was disabled", "一个 Webhook 地址已停用"),
            lines: vec![
                pick(
                    self.language,
                    format!("Nothing is sent to {url} any more."),
                    format!("不再向 {url} 发送任何内容。"),
                ),
                why,
                self.say("Enable it again once it answers.", "恢复后请重新启用。"),
            ],
            picture: None,
            action: self.action("Look at it", "查看", links.webhooks.as_ref()),
            notes: Vec::new(),
        }
    }
}

fn credits(count: i64) -> String {
    if count == 1 {
        "1 credit".to_owned()
    } else {
        format!("{count} credits")
    }
}

/// An amount as people write it, with the decimals that its currency has.
fn money(minor: i64, currency: &str) -> String {
    let code: String = (currency.chars().filter(char::is_ascii_alphabetic))
        .take(3)
        .collect::<String>()
        .to_ascii_uppercase();
    let decimals: u32 = match code.as_str() {
        "JPY" | "KRW" | "VND" | "CLP" | "ISK" | "XAF" | "XOF" | "XPF" | "PYG" | "UGX" | "RWF"
        | "KMF" | "GNF" | "DJF" | "BIF" | "MGA" | "VUV" => 0,
        "BHD" | "JOD" | "KWD" | "OMR" | "TND" => 3,
        _ => 2,
    };
    let sign = if minor < 0 { "-" } else { "" };
    let minor = minor.unsigned_abs();
    let unit = 10_u64.pow(decimals);
    if decimals == 0 {
        return format!("{code} {sign}{minor}");
    }
    let width = decimals as usize;
    format!("{code} {sign}{}.{:0width$}", minor / unit, minor % unit)
}

fn text(page: &Page, brand: &str, end: Option<&(&str, String)>) -> String {
    let mut text = page.lines.join("\n\n");
    if let Some((label, link)) = &page.action {
        let _ = write!(text, "\n\n{label}:\n{link}");
    }
    for note in &page.notes {
        let _ = write!(text, "\n\n{note}");
    }
    let _ = write!(text, "\n\n-- \n{brand}\n");
    if let Some((label, link)) = end {
        let _ = writeln!(text, "{label}: {link}");
    }
    text
}

/// Text as it stands in markup, in an attribute too.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

/// A link as it stands in an attribute; nothing that a browser would run.
fn safe_link(link: &str) -> String {
    let web = link.starts_with("https://") || link.starts_with("http://");
    if web { escape(link) } else { String::new() }
}

const BODY: &str = "margin:0;padding:24px 12px;background:#f3f4f6;color:#1f2937;\
    font:16px/1.55 -apple-system,'Segoe UI',Roboto,'PingFang SC','Microsoft YaHei',sans-serif";
const CARD: &str = "max-width:520px;margin:0 auto;padding:32px;background:#ffffff;\
    border:1px solid #e5e7eb;border-radius:12px";
const BUTTON: &str = "display:inline-block;padding:12px 22px;border-radius:8px;\
    background:#4338ca;color:#ffffff;text-decoration:none;font-weight:600";
const SMALL: &str = "max-width:520px;margin:16px auto 0;color:#6b7280;font-size:13px;\
    text-align:center";

fn html(
    page: &Page,
    subject: &str,
    language: Language,
    brand: &str,
    end: Option<&(&str, String)>,
) -> String {
    let code = pick(language, "en", "zh-CN");
    let title = escape(subject);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"{code}\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title></head>\n\
         <body style=\"{BODY}\"><div style=\"{CARD}\">\n\
         <h1 style=\"margin:0 0 16px;font-size:20px;line-height:1.3\">{title}</h1>\n"
    );
    if let Some(picture) = &page.picture {
        let _ = writeln!(
            html,
            "<p style=\"margin:0 0 16px\"><img src=\"{}\" alt=\"\" width=\"456\" \
             style=\"display:block;width:100%;height:auto;border-radius:8px\"></p>",
            safe_link(picture)
        );
    }
    for line in &page.lines {
        let _ = writeln!(html, "<p style=\"margin:0 0 12px\">{}</p>", escape(line));
    }
    if let Some((label, link)) = &page.action {
        let _ = writeln!(
            html,
            "<p style=\"margin:24px 0\"><a href=\"{}\" style=\"{BUTTON}\">{}</a></p>",
            safe_link(link),
            escape(label)
        );
    }
    for note in &page.notes {
        let note = escape(note);
        let _ = writeln!(
            html,
            "<p style=\"margin:0;color:#6b7280;font-size:14px\">{note}</p>"
        );
    }
    let _ = write!(html, "</div>\n<p style=\"{SMALL}\">{}", escape(brand));
    if let Some((label, link)) = end {
        let _ = write!(
            html,
            " · <a href=\"{}\" style=\"color:#6b7280\">{}</a>",
            safe_link(link),
            escape(label)
        );
    }
    html.push_str("</p></body></html>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::JobId;

    const SPENT: Spent = Spent {
        charged: 1,
        returned: 41,
        open: 0,
    };

    fn links() -> Links {
        let at = |path: &str| Some(format!("https://api.example.com/{path}?a=1&b=2"));
        Links {
            open: at("open"),
            picture: at("picture"),
            retry: at("retry"),
            billing: at("billing"),
            webhooks: at("webhooks"),
            unsubscribe: None,
        }
    }

    fn contents() -> Vec<Content> {
        let job = JobId::generate();
        let link = "https://app.example.com/verify?token=t".to_owned();
        let mut all = vec![
            Content::Completed {
                job,
                what: JobKind::Video,
                files: Vec::new(),
                spent: SPENT,
            },
            Content::LowCredits {
                available: 12,
                threshold: 100,
            },
            Content::Receipt {
                credits: 500,
                amount_minor: 1_999,
                currency: "usd".to_owned(),
                invoice_url: Some("https://pay.example.com/in_1".to_owned()),
            },
            Content::Verify {
                link: link.clone(),
                minutes: 30,
            },
            Content::Reset { link, minutes: 30 },
            Content::EndpointDisabled {
                url: "https://x.example/".to_owned(),
                gone: true,
            },
        ];
        all.extend(FailureCode::ALL.iter().map(|code| Content::Failed {
            job,
            what: JobKind::Voice,
            seq: 9,
            code: *code,
            retryable: true,
            spent: SPENT,
        }));
        all
    }

    #[test]
    fn every_mail_is_whole_in_both_languages() {
        for content in contents() {
            let both = Language::ALL.iter().map(|language| {
                let all = words(&content, *language, "Aurora", &links());
                assert!(!all.subject.is_empty() && all.subject.chars().count() < 100);
                assert!(all.text.contains("-- \nAurora\n"), "{}", all.text);
                assert!(all.html.starts_with("<!doctype html>") && all.html.ends_with("</html>\n"));
                assert!(
                    all.html.contains("?a=1&amp;b=2")
                        || content.kind().is_secret()
                        || matches!(content, Content::Receipt { .. }),
                    "{}",
                    all.html
                );
                // Nothing is loaded, but for the picture; nothing runs.
                assert!(!all.html.contains("<script") && !all.html.contains("url("));
                assert!(all.html.matches("src=").count() <= 1);
                all
            });
            let both: Vec<Words> = both.collect();
            assert_ne!(both[0].subject, both[1].subject);
            assert!(both[0].text.is_ascii(), "{}", both[0].text);
            assert!(
                both[1]
                    .subject
                    .chars()
                    .any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
            );
        }
    }

    #[test]
    fn a_failure_says_why_and_what_it_cost() {
        let content = |retryable| Content::Failed {
            job: JobId::generate(),
            what: JobKind::Video,
            seq: 9,
            code: FailureCode::ProviderUnavailable,
            retryable,
            spent: Spent { open: 7, ..SPENT },
        };
        let mail = words(&content(true), Language::English, "Aurora", &links());
        assert_eq!(mail.subject, "Your video could not be made");
        for part in [
            "No provider could be used at the time.",
            "1 credit charged, 41 credits returned. 7 credits stay put aside",
            "Try again:\nhttps://api.example.com/retry?a=1&b=2",
        ] {
            assert!(mail.text.contains(part), "{part}: {}", mail.text);
        }
        let lasting = words(&content(false), Language::English, "Aurora", &links());
        assert!(!lasting.text.contains("/retry"), "{}", lasting.text);
    }

    #[test]
    fn nothing_breaks_out_of_its_place() {
        let evil = "https://x.example/\"><script>alert('1')</script>\r\nBcc: a@example.com";
        let content = Content::EndpointDisabled {
            url: evil.to_owned(),
            gone: false,
        };
        let end = Links {
            unsubscribe: Some(evil.to_owned()),
            ..Links::default()
        };
        let brand = "A<b>\r\nBcc: x@example.com";
        let mail = words(&content, Language::English, brand, &end);
        assert!(
            !mail.html.contains("<script") && !mail.html.contains("<b>"),
            "{}",
            mail.html
        );
        assert!(!mail.html.contains("x.example/\""), "{}", mail.html);
        let link = "javascript:alert(1)".to_owned();
        let content = Content::Verify { link, minutes: 1 };
        let mail = words(&content, Language::English, brand, &Links::default());
        assert!(!mail.html.contains("javascript"), "{}", mail.html);
        assert!(!mail.subject.contains(['\r', '\n']), "{:?}", mail.subject);
    }

    #[test]
    fn money_has_the_decimals_of_its_currency() {
        assert_eq!(money(1_999, "usd"), "USD 19.99");
        assert_eq!(money(5, "eur"), "EUR 0.05");
        assert_eq!(money(-1_050, "gbp"), "GBP -10.50");
        assert_eq!(money(1_999, "jpy"), "JPY 1999");
        assert_eq!(money(1_999, "kwd"), "KWD 1.999");
    }
}
