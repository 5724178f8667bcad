//! Accounts from outside: signing up and in, sessions that are kept and closed, links in mails, and what
//! strangers do about them.

use genvid_testkit::Email;
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{
    text, until,
    world::{Setup, World},
};

pub(crate) const PASSWORD: &str = "correct horse battery";
pub(crate) const REGISTER: &str =
    "mutation($input: RegisterInput!) { result: register(input: $input) { __typename
    ... on Problem { code message path } ... on RateLimitedProblem { retryAfterMs }
    ... on AuthSuccess { accessToken refreshToken expiresIn user { id email name emailVerified } } } }";
const LOGIN: &str = "mutation($input: LoginInput!) { result: login(input: $input) { __typename
    ... on Problem { code message path } ... on RateLimitedProblem { retryAfterMs }
    ... on AuthSuccess { accessToken refreshToken expiresIn user { id email name emailVerified } } } }";
pub(crate) const REFRESH: &str =
    "mutation($input: RefreshSessionInput!) { result: refreshSession(input: $input) { __typename
    ... on Problem { code message } ... on AuthSuccess { accessToken refreshToken user { id } } } }";
const RESET: &str =
    "mutation($input: ResetPasswordInput!) { result: resetPassword(input: $input) { __typename
    ... on Problem { code message path } ... on AuthSuccess { accessToken refreshToken user { id emailVerified } } } }";
const ASK_RESET: &str =
    "mutation($input: RequestPasswordResetInput!) { result: requestPasswordReset(input: $input) }";
const VERIFY: &str = "mutation($input: VerifyEmailInput!) { result: verifyEmail(input: $input) }";
const CHANGE_PASSWORD: &str =
    "mutation($input: ChangePasswordInput!) { result: changePassword(input: $input) { __typename
    ... on Problem { code message path } ... on AuthSuccess { accessToken refreshToken } } }";
const CHANGE_EMAIL: &str =
    "mutation($input: ChangeEmailInput!) { result: changeEmail(input: $input) { __typename
    ... on Problem { code message path } ... on ChangeEmailSuccess { sentTo } } }";
const DELETE: &str =
    "mutation($input: DeleteAccountInput!) { result: deleteAccount(input: $input) { __typename
    ... on Problem { code message } ... on DeleteAccountSuccess { userId } } }";
const REVOKE: &str =
    "mutation($input: RevokeSessionInput!) { result: revokeSession(input: $input) { __typename
    ... on Problem { code } ... on RevokeSessionSuccess { sessionId } } }";
const SESSIONS: &str = "{ result: sessions { nodes { id current address agent } } }";
pub(crate) const ME: &str = "{ result: me { id email emailVerified } }";
pub(crate) const PROJECT: &str =
    "mutation($input: CreateProjectInput!) { result: createProject(input: $input) { __typename
    ... on Problem { code message } ... on RateLimitedProblem { retryAfterMs } } }";

/// One client: from somewhere, with what it holds.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) http: reqwest::Client,
    pub(crate) url: String,
    pub(crate) from: &'static str,
    pub(crate) token: Option<String>,
    pub(crate) cookies: Option<String>,
    pub(crate) csrf: bool,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn result(&self) -> &Value {
        &self.body["data"]["result"]
    }

    pub(crate) fn code(&self) -> &str {
        let problem = self.result()["code"].as_str();
        let error = self.body["errors"][0]["extensions"]["code"].as_str();
        problem.or(error).unwrap_or_default()
    }
}

impl Door {
    pub(crate) fn of(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build();
        Self {
            http: http.expect("a client"),
            url: url.to_owned(),
            from: "203.0.113.1",
            token: None,
            cookies: None,
            csrf: false,
        }
    }

    pub(crate) fn from(&self, from: &'static str) -> Self {
        Self {
            from,
            ..self.clone()
        }
    }

    pub(crate) fn with(&self, token: &Value) -> Self {
        Self {
            token: token.as_str().map(str::to_owned),
            ..self.clone()
        }
    }

    pub(crate) async fn send(&self, query: &str, variables: Value) -> Answer {
        let mut request = (self.http.post(format!("{}/graphql", self.url)))
            .header("x-forwarded-for", self.from)
            .header("user-agent", "genvid-test/1")
            .json(&json!({"query": query, "variables": variables}));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(cookies) = &self.cookies {
            request = request.header("cookie", cookies);
        }
        if self.csrf {
            request = request.header("x-genvid-csrf", "1");
        }
        let answer = request.send().await.expect("the server answers");
        Answer {
            status: answer.status(),
            headers: answer.headers().clone(),
            body: answer.json().await.expect("JSON"),
        }
    }

    pub(crate) async fn one(&self, query: &str, input: Value) -> Answer {
        self.send(query, json!({ "input": input })).await
    }

    pub(crate) async fn me(&self) -> Value {
        self.send(ME, json!({})).await.result().clone()
    }

    pub(crate) async fn register(&self, email: &str, password: &str) -> Value {
        let input = json!({"email": email, "password": password});
        let answer = self.one(REGISTER, input).await;
        assert_eq!(
            answer.result()["__typename"],
            "AuthSuccess",
            "{}",
            answer.body
        );
        answer.result().clone()
    }

    pub(crate) async fn login(&self, email: &str, password: &str) -> Answer {
        self.one(LOGIN, json!({"email": email, "password": password}))
            .await
    }

    pub(crate) async fn refresh(&self, token: &Value) -> Answer {
        self.one(REFRESH, json!({"refreshToken": token})).await
    }
}

/// A world whose mails the simulator takes, behind a proxy that says where clients are.
pub(crate) fn setup() -> Setup {
    Setup::default()
        .set("server.trusted_proxies", r#"["127.0.0.1"]"#)
        .set("accounts.issuer", "https://genvid.test")
        .set("limits.register", "100/1h")
        .set("limits.mail", "100/1h")
}

pub(crate) fn door(world: &World) -> Door {
    Door::of(&world.server().url)
}

/// The mails to an address, once there are so many with these words.
pub(crate) async fn mails(world: &World, to: &str, words: &str, count: usize) -> Vec<Email> {
    until(&format!("{count} mails to {to} with {words:?}"), || async {
        let mut all = world.resend().emails();
        all.retain(|mail| is_to(mail, to) && body(mail).contains(words));
        (all.len() >= count).then_some(all)
    })
    .await
}

fn is_to(mail: &Email, address: &str) -> bool {
    mail.body["to"]
        .to_string()
        .contains(&format!("\"{address}\""))
}

fn body(mail: &Email) -> &str {
    text(&mail.body, "/text")
}

/// The token in the link of a mail.
pub(crate) fn token(mail: &Email) -> String {
    let text = body(mail);
    let at = text.find("?token=").expect("a link") + 7;
    let rest = &text[at..];
    rest.split_whitespace().next().unwrap_or(rest).to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_lives_from_its_registration_to_its_end() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    for (email, password, path) in [
        ("nonsense", PASSWORD, "email"),
        ("ann@example.com", "short", "password"),
        ("ann@example.com", "password123", "password"),
    ] {
        let input = json!({"email": email, "password": password});
        let refused = open.one(REGISTER, input).await;
        assert_eq!(refused.result()["path"], json!([path]), "{}", refused.body);
    }
    let ann = open.register("Ann@Example.com", PASSWORD).await;
    assert_eq!(ann["expiresIn"], 3600);
    assert_eq!(ann["user"]["email"], "ann@example.com");
    assert_eq!(ann["user"]["name"], "ann");
    let inside = open.with(&ann["accessToken"]);
    assert_eq!(inside.me().await["emailVerified"], false);
    let project = inside.one(PROJECT, json!({"name": "Aurora"})).await;
    assert_eq!(project.result()["__typename"], "CreateProjectSuccess");

    // The address is confirmed once, by the link of the mail.
    let welcome = mails(&world, "ann@example.com", "confirm", 1).await;
    let link = token(&welcome[0]);
    for (token, expected) in [("gv_link_none", false), (&*link, true), (&*link, false)] {
        let answer = open.one(VERIFY, json!({"token": token})).await;
        assert_eq!(*answer.result(), json!(expected), "{}", answer.body);
    }
    assert_eq!(inside.me().await["emailVerified"], true);

    // Capital letters do not matter; nothing tells which part is wrong.
    let again = open.login("ANN@example.com ", PASSWORD).await;
    assert_eq!(again.result()["user"]["id"], ann["user"]["id"]);
    let wrong = open.login("ann@example.com", "wrong horse").await;
    let nobody = open.login("nobody@example.com", "wrong horse").await;
    assert_eq!(wrong.code(), "UNAUTHENTICATED");
    assert_eq!(wrong.body, nobody.body);

    // Sessions: two, of which one closes the other.
    let listed = inside.send(SESSIONS, json!({})).await;
    let listed = listed.result()["nodes"]
        .as_array()
        .expect("sessions")
        .clone();
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert_eq!(listed[0]["current"], false);
    assert_eq!(listed[1]["current"], true);
    assert_eq!(listed[0]["address"], "203.0.113.1");
    assert_eq!(listed[0]["agent"], "genvid-test/1");
    let other = open.with(&again.result()["accessToken"]);
    assert!(other.me().await["id"].is_string());
    let input = json!({"sessionId": listed[0]["id"]});
    let closed = inside.one(REVOKE, input.clone()).await;
    assert_eq!(closed.result()["__typename"], "RevokeSessionSuccess");
    assert_eq!(inside.one(REVOKE, input).await.code(), "NOT_FOUND");
    assert_eq!(other.send(ME, json!({})).await.code(), "UNAUTHENTICATED");
    let dead = open.refresh(&again.result()["refreshToken"]).await;
    assert_eq!(dead.code(), "UNAUTHENTICATED");

    // Another password closes every session but the one that it answers.
    let new = "another horse battery";
    let bad = json!({"password": "wrong", "newPassword": new});
    let bad = inside.one(CHANGE_PASSWORD, bad).await;
    assert_eq!(bad.code(), "UNAUTHENTICATED");
    let good = json!({"password": PASSWORD, "newPassword": new});
    let changed = inside.one(CHANGE_PASSWORD, good).await;
    assert_eq!(inside.send(ME, json!({})).await.code(), "UNAUTHENTICATED");
    let inside = open.with(&changed.result()["accessToken"]);
    assert!(inside.me().await["id"].is_string());
    mails(&world, "ann@example.com", "new password", 1).await;
    assert_eq!(
        open.login("ann@example.com", PASSWORD).await.code(),
        "UNAUTHENTICATED"
    );

    // Another address, once it is shown to be hers.
    let input = json!({"password": new, "newEmail": "Ann.Holm@example.com"});
    let sent = inside.one(CHANGE_EMAIL, input).await;
    assert_eq!(sent.result()["sentTo"], "ann.holm@example.com");
    assert_eq!(inside.me().await["email"], "ann@example.com");
    let mail = mails(&world, "ann.holm@example.com", "confirm", 1).await;
    open.one(VERIFY, json!({"token": token(&mail[0])})).await;
    assert_eq!(inside.me().await["email"], "ann.holm@example.com");
    mails(&world, "ann@example.com", "another mail address", 1).await;

    // Signed out: the token is worth nothing at once.
    let out = inside.send("mutation { result: logout }", json!({})).await;
    assert_eq!(*out.result(), json!(true));
    assert_eq!(inside.send(ME, json!({})).await.code(), "UNAUTHENTICATED");

    // Gone: nothing says whose it was, and nobody gets in.
    let last = open.login("ann.holm@example.com", new).await;
    let inside = open.with(&last.result()["accessToken"]);
    let refused = inside.one(DELETE, json!({"password": "wrong"})).await;
    assert_eq!(refused.code(), "UNAUTHENTICATED");
    let gone = inside.one(DELETE, json!({"password": new})).await;
    assert_eq!(gone.result()["userId"], ann["user"]["id"], "{}", gone.body);
    assert_eq!(inside.send(ME, json!({})).await.code(), "UNAUTHENTICATED");
    assert_eq!(
        open.login("ann.holm@example.com", new).await.code(),
        "UNAUTHENTICATED"
    );
    mails(&world, "ann.holm@example.com", "Your account is gone", 1).await;
    let fresh = open.register("ann.holm@example.com", PASSWORD).await;
    assert_ne!(fresh["user"]["id"], ann["user"]["id"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_learns_whether_an_address_has_an_account() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    // Somebody was here first, and never showed that the address is theirs.
    let squatter = open.register("lena@example.com", "squatting here 1").await;
    mails(&world, "lena@example.com", "confirm", 1).await;
    let lena = open.register("lena@example.com", PASSWORD).await;
    assert_ne!(lena["user"]["id"], squatter["user"]["id"]);
    assert_eq!(lena["user"]["email"], "lena@example.com");
    // Both sign in with their own password.
    let first = open.login("lena@example.com", "squatting here 1").await;
    assert_eq!(first.result()["user"]["id"], squatter["user"]["id"]);
    let second = open.login("lena@example.com", PASSWORD).await;
    assert_eq!(second.result()["user"]["id"], lena["user"]["id"]);
    // The address becomes hers who shows it.
    let links = mails(&world, "lena@example.com", "confirm", 2).await;
    let input = json!({"token": token(&links[1])});
    assert_eq!(*open.one(VERIFY, input).await.result(), json!(true));
    let input = json!({"token": token(&links[0])});
    assert_eq!(*open.one(VERIFY, input).await.result(), json!(false));

    // From now on whoever registers with it gets an account of their own, in the same words, and she
    // is told.
    let thief = open.register("lena@example.com", "stealing this 1").await;
    assert_ne!(thief["user"]["id"], lena["user"]["id"]);
    assert_eq!(thief["user"]["email"], "lena@example.com");
    assert_eq!(thief["user"]["emailVerified"], false);
    mails(&world, "lena@example.com", "has an account already", 1).await;
    let still = open.login("lena@example.com", PASSWORD).await;
    assert_eq!(still.result()["user"]["id"], lena["user"]["id"]);
    let theirs = open.login("lena@example.com", "stealing this 1").await;
    assert_eq!(theirs.result()["user"]["id"], thief["user"]["id"]);

    // A new password: the same answer for everybody, a mail only for who has an account.
    for email in ["nobody@example.com", "lena@example.com"] {
        let asked = open.one(ASK_RESET, json!({"email": email})).await;
        assert_eq!(asked.body, json!({"data": {"result": true}}));
    }
    let mail = mails(&world, "lena@example.com", "for this address", 1).await;
    let none = world.resend().emails();
    assert!(none.iter().all(|mail| !is_to(mail, "nobody@example.com")));
    let link = token(&mail[0]);
    let weak = json!({"token": link, "password": "short"});
    assert_eq!(open.one(RESET, weak).await.code(), "INVALID_INPUT");
    let new = json!({"token": link, "password": "yet another horse"});
    let entered = open.one(RESET, new.clone()).await;
    assert_eq!(entered.result()["user"]["id"], lena["user"]["id"]);
    assert_eq!(open.one(RESET, new).await.code(), "UNAUTHENTICATED", "once");
    let old = open.with(&still.result()["accessToken"]);
    assert_eq!(old.send(ME, json!({})).await.code(), "UNAUTHENTICATED");
    let login = open.login("lena@example.com", "yet another horse").await;
    assert_eq!(login.result()["user"]["id"], lena["user"]["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refresh_token_is_good_once() {
    let mut world = setup().start_with_mail().await;
    let open = door(&world);
    let ann = open.register("ann@example.com", PASSWORD).await;
    let first = &ann["refreshToken"];
    let next = open.refresh(first).await;
    assert_eq!(next.result()["__typename"], "AuthSuccess", "{}", next.body);
    let second = next.result()["refreshToken"].clone();
    assert_ne!(second, *first);

    // A thief comes with the one that is used: the whole session is closed, and its owner told.
    let thief = open.from("198.51.100.66");
    let stolen = thief.refresh(first).await;
    assert_eq!(stolen.code(), "UNAUTHENTICATED");
    assert_eq!(open.refresh(&second).await.code(), "UNAUTHENTICATED");
    let inside = open.with(&next.result()["accessToken"]);
    assert_eq!(inside.send(ME, json!({})).await.code(), "UNAUTHENTICATED");
    mails(&world, "ann@example.com", "used a second time", 1).await;

    // An answer that was lost: the same attempt gets the same tokens.
    let ann = open.login("ann@example.com", PASSWORD).await;
    let input = json!({"refreshToken": ann.result()["refreshToken"], "attempt": "a1"});
    let once = open.one(REFRESH, input.clone()).await;
    world.kill_and_start_again().await;
    let open = door(&world);
    let twice = open.one(REFRESH, input.clone()).await;
    let kept = &once.result()["refreshToken"];
    assert_eq!(twice.result()["refreshToken"], *kept, "{}", twice.body);
    assert!(open.refresh(kept).await.result()["refreshToken"].is_string());

    // Many at once, as tabs of one browser: they get the same successor, and the session lives; or one
    // came later than another's answer, and it is closed for all of them. Never do two live on.
    for _ in 0..5 {
        let ann = open.login("ann@example.com", PASSWORD).await;
        let token = ann.result()["refreshToken"].clone();
        let tabs = (0..8).map(|_| {
            let (open, token) = (open.clone(), token.clone());
            tokio::spawn(async move { open.refresh(&token).await })
        });
        let mut successors = Vec::new();
        for tab in tabs.collect::<Vec<_>>() {
            let answer = tab.await.expect("an answer");
            if let Some(next) = answer.result()["refreshToken"].as_str() {
                successors.push(next.to_owned());
            }
        }
        successors.sort();
        successors.dedup();
        assert_eq!(successors.len(), 1, "{successors:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mails_links_work_without_an_app() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    open.register("ann@example.com", PASSWORD).await;
    let mail = mails(&world, "ann@example.com", "confirm", 1).await;
    let link = token(&mail[0]);
    let url = format!("{}/account/verify?token={link}", open.url);
    let page = open.http.get(&url).send().await.expect("an answer");
    assert_eq!(page.status(), StatusCode::OK);
    assert!(page.headers()["content-security-policy"].to_str().is_ok());
    assert!(page.text().await.expect("a page").contains(&link));
    for expected in [StatusCode::OK, StatusCode::GONE] {
        let sent = open.http.post(&url).form(&[("token", &link)]).send().await;
        assert_eq!(sent.expect("an answer").status(), expected);
    }
    open.one(ASK_RESET, json!({"email": "ann@example.com"}))
        .await;
    let mail = mails(&world, "ann@example.com", "for this address", 1).await;
    let link = token(&mail[0]);
    let url = format!("{}/account/reset?token={link}", open.url);
    for (password, expected) in [
        ("short", StatusCode::UNPROCESSABLE_ENTITY),
        ("yet another horse", StatusCode::OK),
        ("yet another horse", StatusCode::GONE),
    ] {
        let form = [("token", &*link), ("password", password)];
        let sent = open.http.post(&url).form(&form).send().await;
        assert_eq!(sent.expect("an answer").status(), expected, "{password}");
    }
    let entered = open.login("ann@example.com", "yet another horse").await;
    assert_eq!(entered.result()["user"]["emailVerified"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_prepared_an_account_for_somebody_else_is_out() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    let squatter = open.register("lena@example.com", "squatting here 1").await;
    let inside = open.with(&squatter["accessToken"]);
    let key = "mutation { result: createApiKey(input: {name: \"Back door\"}) {
        ... on CreateApiKeySuccess { secret } } }";
    let key = inside.send(key, json!({})).await;
    let program = open.with(&key.result()["secret"]);
    assert!(program.me().await["id"].is_string());
    let ear =
        "mutation { result: createWebhookEndpoint(input: {url: \"https://example.com/ear\"}) {
        __typename } }";
    let ear = inside.send(ear, json!({})).await;
    assert_eq!(ear.result()["__typename"], "CreateWebhookEndpointSuccess");

    // Lena, whose address it is, takes the account over.
    open.one(ASK_RESET, json!({"email": "lena@example.com"}))
        .await;
    let mail = mails(&world, "lena@example.com", "for this address", 1).await;
    let new = json!({"token": token(&mail[0]), "password": PASSWORD});
    let entered = open.one(RESET, new).await;
    assert_eq!(entered.result()["user"]["emailVerified"], true);
    for outside in [&inside, &program] {
        assert_eq!(outside.send(ME, json!({})).await.code(), "UNAUTHENTICATED");
    }
    let lena = open.with(&entered.result()["accessToken"]);
    let ears = "{ result: webhookEndpoints { nodes { id } } }";
    let ears = lena.send(ears, json!({})).await;
    assert_eq!(ears.result()["nodes"], json!([]));
    // Once it is known whose it is, a new password leaves programs alone.
    let key = "mutation { result: createApiKey(input: {name: \"Shop\"}) {
        ... on CreateApiKeySuccess { secret } } }";
    let key = lena.send(key, json!({})).await;
    open.one(ASK_RESET, json!({"email": "lena@example.com"}))
        .await;
    let mail = mails(&world, "lena@example.com", "for this address", 2).await;
    let mut done = Vec::new();
    for mail in &mail {
        let new = json!({"token": token(mail), "password": "yet another horse"});
        done.push(open.one(RESET, new).await.code().to_owned());
    }
    done.sort();
    assert_eq!(done, ["", "UNAUTHENTICATED"], "the first link was used");
    let program = open.with(&key.result()["secret"]);
    assert!(program.me().await["id"].is_string());
}
