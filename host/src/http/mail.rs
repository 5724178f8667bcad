//! Doors of mail: pages behind links in mails, what the vendor tells, and the mailbox of
//! development. Pages show a button and do nothing by themselves, because programs that look
//! after mail follow links before people do.

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};

use crate::{
    ids::MailId,
    mail::{self, Broken, Door, Error, Language, Opened, Row, escape},
    time,
    webhooks::Secret,
};

/// Largest body of the vendor's webhooks, and of forms.
const MAX_BODY: usize = 256 * 1_024;
/// What pages of ours may do: nothing but send their form to this server.
pub(super) const PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";
/// What the list of kept mails may do: show a mail in a frame.
const LIST: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// What a kept mail may do: show its picture, and have its links opened.
const SHOWN: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src http: https:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'; \
    sandbox allow-popups allow-popups-to-escape-sandbox";

/// Everything that these doors lead to.
#[derive(Clone)]
pub struct PostOffice {
    /// Links, and what the vendor tells.
    pub service: mail::Service,
    /// What signs the vendor's webhooks; nothing: they are refused.
    pub webhook_secret: Option<Secret>,
    /// Show kept mails?
    pub mailbox: bool,
}

/// The doors.
pub(super) fn router(office: PostOffice) -> Router {
    let mut router = Router::new()
        .route("/mail/open/{token}", get(open))
        .route("/mail/picture/{token}", get(picture))
        .route("/mail/retry/{token}", get(ask_retry).post(retry))
        .route(
            "/mail/unsubscribe/{token}",
            get(ask_unsubscribe).post(unsubscribe),
        )
        .route("/hooks/mail/resend", post(told));
    if office.mailbox {
        router = router
            .route("/dev/mail", get(list))
            .route("/dev/mail/{id}", get(one))
            .route("/dev/mail/{id}/html", get(markup));
    }
    router
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(office)
}

async fn open(State(office): State<PostOffice>, Path(token): Path<String>) -> Response {
    file(&office, Door::Open, &token).await
}

async fn picture(State(office): State<PostOffice>, Path(token): Path<String>) -> Response {
    file(&office, Door::Picture, &token).await
}

async fn file(office: &PostOffice, door: Door, token: &str) -> Response {
    match office.service.file(door, token).await {
        Ok(link) => {
            let mut response = Redirect::temporary(&link).into_response();
            let never = HeaderValue::from_static("no-store");
            response.headers_mut().insert(header::CACHE_CONTROL, never);
            response
        }
        Err(error) => refuse(&error),
    }
}

async fn ask_retry(State(office): State<PostOffice>, Path(token): Path<String>) -> Response {
    match office.service.look(Door::Retry, &token).await {
        Ok(Opened { mail, open: true }) => {
            let say = speaker(&mail);
            let words = say(
                "Try the job again? It may cost credits again.",
                "要重试该任务吗？可能会再次消耗点数。",
            );
            button(
                StatusCode::OK,
                words,
                say("Try again", "重试"),
                mail.language,
            )
        }
        Ok(_) => refuse(&Error::Gone),
        Err(error) => refuse(&error),
    }
}

async fn retry(State(office): State<PostOffice>, Path(token): Path<String>) -> Response {
    match office.service.retry(&token).await {
        Ok(mail) => {
            let words = speaker(&mail)("The job is tried again.", "任务已重新开始。");
            words_only(StatusCode::OK, words, mail.language)
        }
        Err(error) => refuse(&error),
    }
}

async fn ask_unsubscribe(State(office): State<PostOffice>, Path(token): Path<String>) -> Response {
    match office.service.look(Door::Unsubscribe, &token).await {
        Ok(Opened { mail, .. }) => {
            let say = speaker(&mail);
            let words = say(
                "No more mail about jobs and credits to this address? Receipts and mail about \
                 the account itself still come.",
                "不再向此邮箱发送任务和点数通知？收据和账户邮件仍会发送。",
            );
            let label = say("No more of these", "退订");
            button(StatusCode::OK, words, label, mail.language)
        }
        Err(error) => refuse(&error),
    }
}

/// Also what programs send by themselves (RFC 8058), so that it asks for nothing.
async fn unsubscribe(State(office): State<PostOffice>, Path(token): Path<String>) -> Response {
    match office.service.unsubscribe(&token).await {
        Ok(mail) => {
            let words = speaker(&mail)("No more of these are sent.", "已退订，不再发送此类邮件。");
            words_only(StatusCode::OK, words, mail.language)
        }
        Err(error) => refuse(&error),
    }
}

/// 204 for whatever was taken, known or not.
async fn told(State(office): State<PostOffice>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let Some(secret) = &office.webhook_secret else {
        tracing::warn!("the mail vendor calls, and there is no secret: set RESEND_WEBHOOK_SECRET");
        return StatusCode::NOT_FOUND;
    };
    let header = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let id = header("svix-id");
    let (at, signatures) = (header("svix-timestamp"), header("svix-signature"));
    if let Err(forged) = mail::verify(secret, id, at, signatures, &body, time::now()) {
        tracing::warn!(%forged, "a webhook of the mail vendor was refused");
        return StatusCode::UNAUTHORIZED;
    }
    let Some(told) = mail::read(id.unwrap_or_default(), &body) else {
        return StatusCode::NO_CONTENT;
    };
    match office.service.told(told).await {
        Ok(_) => StatusCode::NO_CONTENT,
        Err(error) => {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "what the mail vendor told could not be kept"
            );
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

async fn list(State(office): State<PostOffice>) -> Response {
    let mails = match office.service.mailbox().await {
        Ok(mails) => mails,
        Err(error) => return refuse(&Error::Database(error)),
    };
    let rows: String = mails
        .iter()
        .map(|mail| {
            format!(
                "<li><a href=\"/dev/mail/{}\">{}</a><br><small>{} · {}</small></li>\n",
                mail.id,
                escape(&mail.subject),
                escape(&mail.to),
                mail.at
            )
        })
        .collect();
    let empty = if mails.is_empty() {
        "<p>No mail yet.</p>"
    } else {
        ""
    };
    let body = format!("<h1>Mail</h1>{empty}<ul>{rows}</ul>");
    page(StatusCode::OK, LIST, Language::English, &body)
}

async fn one(State(office): State<PostOffice>, Path(id): Path<String>) -> Response {
    let mail = match find(&office, &id).await {
        Ok(mail) => mail,
        Err(response) => return response,
    };
    let headers: String = (mail.headers.iter())
        .map(|(name, value)| format!("{}: {}\n", escape(name), escape(value)))
        .collect();
    let body = format!(
        "<p><a href=\"/dev/mail\">Mail</a></p><h1>{}</h1><pre>From: {}\nTo: {}\nDate: {}\n{headers}</pre>\
         <iframe sandbox=\"allow-popups allow-popups-to-escape-sandbox\" title=\"HTML\" \
         src=\"/dev/mail/{}/html\"></iframe><h2>Text</h2><pre>{}</pre>",
        escape(&mail.subject),
        escape(&mail.from),
        escape(&mail.to),
        mail.at,
        mail.id,
        escape(&mail.text),
    );
    page(StatusCode::OK, LIST, Language::English, &body)
}

async fn markup(State(office): State<PostOffice>, Path(id): Path<String>) -> Response {
    let mail = match find(&office, &id).await {
        Ok(mail) => mail,
        Err(response) => return response,
    };
    // Links leave the frame, which may show nothing but the mail.
    let html = mail
        .html
        .replacen("<head>", "<head><base target=\"_blank\">", 1);
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(SHOWN),
    );
    headers.insert(
        header::X_FRAME_OPTIONS,
        HeaderValue::from_static("SAMEORIGIN"),
    );
    response
}

async fn find(office: &PostOffice, id: &str) -> Result<mail::Kept, Response> {
    let missing = || {
        words_only(
            StatusCode::NOT_FOUND,
            "There is no such mail.",
            Language::English,
        )
    };
    let id: MailId = id.parse().map_err(|_| missing())?;
    let found = office.service.kept(id).await;
    let found = found.map_err(|error| refuse(&Error::Database(error)))?;
    found.ok_or_else(missing)
}

fn speaker(mail: &Row) -> impl Fn(&'static str, &'static str) -> &'static str + use<> {
    let language = mail.language;
    move |english, chinese| match language {
        Language::English => english,
        Language::Chinese => chinese,
    }
}

fn refuse(error: &Error) -> Response {
    let (status, words) = match error {
        Error::Broken(Broken::Forged) => {
            (StatusCode::NOT_FOUND, "This link is not valid.".to_owned())
        }
        Error::Broken(Broken::Expired) => (StatusCode::GONE, "This link has expired.".to_owned()),
        Error::Gone => (
            StatusCode::GONE,
            "This link has done its work, or what it leads to is gone.".to_owned(),
        ),
        // The words of a conflict or of missing credits are for the job's owner.
        Error::Job(crate::jobs::Error::Database(_)) | Error::Database(_) => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "a link in a mail failed"
            );
            (
                StatusCode::SERVICE_UNAVAILABLE,
                "This does not work now; please try again later.".to_owned(),
            )
        }
        Error::Job(error) => (StatusCode::CONFLICT, error.to_string()),
    };
    words_only(status, &words, Language::English)
}

fn words_only(status: StatusCode, words: &str, language: Language) -> Response {
    page(status, PAGE, language, &format!("<p>{}</p>", escape(words)))
}

fn button(status: StatusCode, words: &str, label: &str, language: Language) -> Response {
    let (words, label) = (escape(words), escape(label));
    let body = format!("<p>{words}</p><form method=\"post\"><button>{label}</button></form>");
    page(status, PAGE, language, &body)
}

pub(super) fn page(
    status: StatusCode,
    policy: &'static str,
    language: Language,
    body: &str,
) -> Response {
    let code = match language {
        Language::English => "en",
        Language::Chinese => "zh-CN",
    };
    let html = format!(
        "<!doctype html><html lang=\"{code}\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\">\
         <meta name=\"robots\" content=\"noindex\"><title>Genvid</title><style>\
         body{{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:10vh auto;padding:0 1rem}}\
         button{{font:inherit;padding:.6rem 1.2rem}}pre{{white-space:pre-wrap}}\
         iframe{{width:100%;height:32rem;border:1px solid #ccc}}</style>{body}</html>"
    );
    let mut response = (status, Html(html)).into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(policy),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
