//! Accounts from outside: signing up and in, sessions that are kept and closed, links in mails, and what
//! strangers do about them.

use genvid_testkit::Email;
use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, json};

use crate::support::{
    text, until,
    world::{Setup, World},
};

const PASSWORD: &str = "correct horse battery";
const REGISTER: &str =
    "mutation($input: RegisterInput!) { result: register(input: $input) { __typename
    ... on Problem { code message path } ... on RateLimitedProblem { retryAfterMs }
    ... on AuthSuccess { accessToken refreshToken expiresIn user { id email name emailVerified } } } }";
const LOGIN: &str = "mutation($input: LoginInput!) { result: login(input: $input) { __typename
    ... on Problem { code message path } ... on RateLimitedProblem { retryAfterMs }
    ... on AuthSuccess { accessToken refreshToken expiresIn user { id email name emailVerified } } } }";
const REFRESH: &str =
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
const ME: &str = "{ result: me { id email emailVerified } }";
const PROJECT: &str =
    "mutation($input: CreateProjectInput!) { result: createProject(input: $input) { __typename
    ... on Problem { code message } ... on RateLimitedProblem { retryAfterMs } } }";

/// One client: from somewhere, with what it holds.
#[derive(Clone)]
struct Door {
    http: reqwest::Client,
    url: String,
    from: &'static str,
    token: Option<String>,
    cookies: Option<String>,
    csrf: bool,
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn result(&self) -> &Value {
        &self.body["data"]["result"]
    }

    fn code(&self) -> &str {
        let problem = self.result()["code"].as_str();
        let error = self.body["errors"][0]["extensions"]["code"].as_str();
        problem.or(error).unwrap_or_default()
    }
}

impl Door {
    fn of(url: &str) -> Self {
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

    fn from(&self, from: &'static str) -> Self {
        Self {
            from,
            ..self.clone()
        }
    }

    fn with(&self, token: &Value) -> Self {
        Self {
            token: token.as_str().map(str::to_owned),
            ..self.clone()
        }
    }

    async fn send(&self, query: &str, variables: Value) -> Answer {
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

    async fn one(&self, query: &str, input: Value) -> Answer {
        self.send(query, json!({ "input": input })).await
    }

    async fn me(&self) -> Value {
        self.send(ME, json!({})).await.result().clone()
    }

    async fn register(&self, email: &str, password: &str) -> Value {
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

    async fn login(&self, email: &str, password: &str) -> Answer {
        self.one(LOGIN, json!({"email": email, "password": password}))
            .await
    }

    async fn refresh(&self, token: &Value) -> Answer {
        self.one(REFRESH, json!({"refreshToken": token})).await
    }
}

/// A world whose mails the simulator takes, behind a proxy that says where clients are.
fn setup() -> Setup {
    Setup::default()
        .set("server.trusted_proxies", r#"["127.0.0.1"]"#)
        .set("accounts.issuer", "https://genvid.test")
        .set("limits.register", "100/1h")
        .set("limits.mail", "100/1h")
}

fn door(world: &World) -> Door {
    Door::of(&world.server().url)
}

/// The mails to an address, once there are so many with these words.
async fn mails(world: &World, to: &str, words: &str, count: usize) -> Vec<Email> {
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
fn token(mail: &Email) -> String {
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
async fn wrong_passwords_are_looked_at_five_times() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    let home = open.from("203.0.113.7");
    home.register("ann@example.com", PASSWORD).await;
    open.register("bob@example.com", PASSWORD).await;

    // A node beside this one counts with it, where they share a Redis.
    let another = match world.is_on_servers() {
        true => Some(world.another_server().await),
        false => None,
    };
    let there = another
        .as_ref()
        .map_or(&world.server().url, |node| &node.url);
    let there = Door::of(there);
    let thief = there.from("198.51.100.66");
    for turn in 0..5 {
        let door = if turn % 2 == 0 {
            &thief
        } else {
            &open.from("198.51.100.66")
        };
        let wrong = door.login("ann@example.com", "guessing").await;
        assert_eq!(wrong.code(), "UNAUTHENTICATED", "{turn}: {}", wrong.body);
    }
    for door in [&thief, &open.from("198.51.100.66")] {
        let sixth = door.login("ann@example.com", PASSWORD).await;
        assert_eq!(sixth.code(), "RATE_LIMITED", "{}", sixth.body);
        assert_eq!(sixth.status, StatusCode::TOO_MANY_REQUESTS);
        let wait = sixth.headers["retry-after"].to_str().expect("text");
        let wait: u64 = wait.parse().expect("seconds");
        assert!((800..=900).contains(&wait), "{wait}");
        assert_eq!(sixth.headers["ratelimit-policy"], r#""login";q=5;w=900"#);
        let wait = sixth.result()["retryAfterMs"].as_i64().expect("a number");
        assert!((800_000..=900_000).contains(&wait), "{wait}");
    }
    // Nor another account from there; nor hers from another place that nobody knows; but she comes in
    // from where she was before.
    assert_eq!(
        thief.login("bob@example.com", PASSWORD).await.code(),
        "RATE_LIMITED"
    );
    let strange = open.from("192.0.2.99");
    assert_eq!(
        strange.login("ann@example.com", PASSWORD).await.code(),
        "RATE_LIMITED"
    );
    assert_eq!(strange.login("bob@example.com", PASSWORD).await.code(), "");
    assert_eq!(home.login("ann@example.com", PASSWORD).await.code(), "");
    // Right passwords are not counted.
    for _ in 0..8 {
        assert_eq!(home.login("ann@example.com", PASSWORD).await.code(), "");
    }
    // Aliases are counted one by one, and addresses are no matter of what a client writes.
    let aliases: String = (0..8)
        .map(|n| format!("a{n}: login(input: {{email: \"bob@example.com\", password: \"guess{n}\"}}) {{ ... on Problem {{ code }} }} "))
        .collect();
    let door = open.from("192.0.2.50");
    let many = door
        .send(&format!("mutation {{ {aliases} }}"), json!({}))
        .await;
    let codes = many.body["data"].as_object().expect("data").values();
    let refused = codes.filter(|one| one["code"] == "RATE_LIMITED").count();
    assert_eq!(refused, 3, "{}", many.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_limited_is_limited_by_account_and_key() {
    let world = setup()
        .set("limits.create_project", "2/1h")
        .set("limits.register", "3/1h")
        .set("limits.api_key", "4/1h")
        .start_with_mail()
        .await;
    let open = door(&world);
    let ann = open.register("ann@example.com", PASSWORD).await;
    let bob = open.register("bob@example.com", PASSWORD).await;
    let ann = open.with(&ann["accessToken"]);
    // What is refused for another reason is not counted.
    assert_eq!(
        ann.one(PROJECT, json!({"name": ""})).await.code(),
        "INVALID_INPUT"
    );
    for left in [1, 0] {
        let made = ann.one(PROJECT, json!({"name": "Aurora"})).await;
        assert_eq!(made.code(), "", "{}", made.body);
        let standing = made.headers["ratelimit"].to_str().expect("text");
        assert!(
            standing.starts_with(&format!(r#""create-project";r={left};t=3"#)),
            "{standing}"
        );
    }
    let third = ann.one(PROJECT, json!({"name": "Aurora"})).await;
    assert_eq!((third.code(), third.status.as_u16()), ("RATE_LIMITED", 429));
    let other = open.with(&bob["accessToken"]);
    assert_eq!(
        other.one(PROJECT, json!({"name": "Aurora"})).await.code(),
        ""
    );
    // The operator's own token of development is not counted.
    for _ in 0..4 {
        world.client().project().await;
    }

    let made = "mutation { result: createApiKey(input: {name: \"Shop\"}) {
        ... on CreateApiKeySuccess { secret } } }";
    let key = ann.send(made, json!({})).await;
    let program = open.with(&key.result()["secret"]);
    for _ in 0..4 {
        assert_eq!(program.send(ME, json!({})).await.code(), "");
    }
    let fifth = program.send(ME, json!({})).await;
    assert_eq!((fifth.code(), fifth.status.as_u16()), ("RATE_LIMITED", 429));
    assert!(fifth.headers.contains_key("retry-after"));
    assert_eq!(ann.send(ME, json!({})).await.code(), "");

    // By address, and by mail address.
    let third = open
        .one(
            REGISTER,
            json!({"email": "c@example.com", "password": PASSWORD}),
        )
        .await;
    assert_eq!(third.code(), "");
    let fourth = json!({"email": "d@example.com", "password": PASSWORD});
    assert_eq!(
        open.one(REGISTER, fourth.clone()).await.code(),
        "RATE_LIMITED"
    );
    let elsewhere = open.from("192.0.2.1");
    assert_eq!(elsewhere.one(REGISTER, fourth).await.code(), "");
    assert_eq!(text(&ann.me().await, "/email"), "ann@example.com");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browsers_session_is_kept_in_cookies() {
    let world = setup().start_with_mail().await;
    let open = door(&world);
    let input = json!({"email": "ann@example.com", "password": PASSWORD, "cookies": true});
    let made = open.one(REGISTER, input).await;
    assert_eq!(made.result()["accessToken"], Value::Null);
    assert_eq!(made.result()["refreshToken"], Value::Null);
    let jar = |answer: &Answer| {
        let set = answer.headers.get_all("set-cookie").iter();
        let set: Vec<_> = set
            .map(|value| value.to_str().expect("text").to_owned())
            .collect();
        assert_eq!(set.len(), 2, "{set:?}");
        for cookie in &set {
            assert!(cookie.starts_with("__Host-genvid_"), "{cookie}");
            for part in ["; Path=/", "; HttpOnly", "; Secure", "; SameSite=Strict"] {
                assert!(cookie.contains(part), "{cookie}");
            }
        }
        let pairs: Vec<_> = set
            .iter()
            .filter_map(|cookie| cookie.split(';').next())
            .collect();
        pairs.join("; ")
    };
    let cookies = jar(&made);
    let page = Door {
        cookies: Some(cookies),
        csrf: true,
        ..open.clone()
    };
    assert_eq!(page.me().await["email"], "ann@example.com");

    // Another page can have the browser send the cookies, and nothing comes of it.
    let forged = Door {
        csrf: false,
        ..page.clone()
    };
    assert_eq!(forged.me().await, Value::Null);
    let project = forged.one(PROJECT, json!({"name": "Aurora"})).await;
    assert_eq!(project.code(), "UNAUTHENTICATED", "{}", project.body);
    assert!(project.body.to_string().contains("x-genvid-csrf"));
    let refreshed = forged.one(REFRESH, json!({})).await;
    assert_eq!(refreshed.code(), "UNAUTHENTICATED");
    for (kind, body) in [
        ("text/plain", r#"{"query":"mutation { logout }"}"#),
        (
            "application/x-www-form-urlencoded",
            "query=mutation+%7B+logout+%7D",
        ),
    ] {
        let sent = (forged.http.post(format!("{}/graphql", forged.url)))
            .header("content-type", kind)
            .header("cookie", page.cookies.clone().expect("cookies"))
            .body(body);
        let sent = sent.send().await.expect("an answer");
        assert_eq!(sent.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let get = format!("{}/graphql?query=mutation%7Blogout%7D", page.url);
    let get = (page.http.get(get)).header("cookie", page.cookies.clone().expect("cookies"));
    let get = get
        .header("accept", "application/json")
        .send()
        .await
        .expect("an answer");
    assert_eq!(get.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(page.me().await["id"].is_string(), "it is still open");

    let next = page.one(REFRESH, json!({"cookies": true})).await;
    assert_eq!(next.result()["__typename"], "AuthSuccess", "{}", next.body);
    let page = Door {
        cookies: Some(jar(&next)),
        ..page
    };
    let out = page.send("mutation { result: logout }", json!({})).await;
    assert_eq!(*out.result(), json!(true));
    jar(&out);
    assert_eq!(page.me().await, Value::Null);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_named_pages_of_other_hosts_may_use_the_api() {
    let world = Setup::default()
        .set("server.allowed_origins", r#"["https://app.example.com"]"#)
        .start()
        .await;
    let open = door(&world);
    let url = format!("{}/graphql", open.url);
    for (origin, named) in [
        ("https://app.example.com", true),
        ("https://app.example.com.evil.test", false),
        ("https://evil.test", false),
        ("null", false),
    ] {
        let asked = (open.http.request(reqwest::Method::OPTIONS, &url))
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header(
                "access-control-request-headers",
                "content-type,x-genvid-csrf",
            );
        let asked = asked.send().await.expect("an answer");
        let sent = (open.http.post(&url))
            .header("origin", origin)
            .json(&json!({"query": ME}));
        let sent = sent.send().await.expect("an answer");
        assert_eq!(sent.status(), StatusCode::OK, "who answers is no browser");
        for headers in [asked.headers(), sent.headers()] {
            let allowed = headers.get("access-control-allow-origin");
            let allowed = allowed.and_then(|value| value.to_str().ok());
            assert_eq!(allowed, named.then_some(origin), "{origin}");
        }
        if named {
            let headers = asked.headers()["access-control-allow-headers"].to_str();
            assert!(headers.expect("text").contains("x-genvid-csrf"));
            assert_eq!(asked.headers()["access-control-allow-credentials"], "true");
        }
        let headers = sent.headers();
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        assert_eq!(headers["x-content-type-options"], "nosniff");
        assert_eq!(headers["x-frame-options"], "DENY");
        assert!(!headers.contains_key("strict-transport-security"), "no TLS");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_stored_operations_are_run_where_the_operator_says_so() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphql/operations");
    let world = Setup::default()
        .set("graphql.stored_operations", folder.display())
        .set("accounts.registration", false)
        .start()
        .await;
    // Those of the repository's clients.
    world.client().project().await;
    let open = door(&world);
    let refused = open.send(ME, json!({})).await;
    assert_eq!(refused.code(), "OPERATION_NOT_STORED", "{}", refused.body);
    let name = folder.join("CreateProject.graphql");
    let text = std::fs::read_to_string(name).expect("a document");
    let hash = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(text.as_bytes()))
    };
    let client = (open.http.post(format!("{}/graphql", open.url)))
        .bearer_auth(&world.launch.token)
        .json(&json!({
            "variables": {"input": {"name": "Aurora"}},
            "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}},
        }));
    let answer: Value = client
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    assert!(answer["data"]["createProject"].is_object(), "{answer}");
    // Nor can one be stored by asking.
    let hash = {
        use sha2::Digest as _;
        hex::encode(sha2::Sha256::digest(ME.as_bytes()))
    };
    let client = (open.http.post(format!("{}/graphql", open.url))).json(&json!({
        "query": ME,
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}},
    }));
    let answer: Value = client
        .send()
        .await
        .expect("an answer")
        .json()
        .await
        .expect("JSON");
    let code = &answer["errors"][0]["extensions"]["code"];
    assert_eq!(code, "OPERATION_NOT_STORED", "{answer}");
}
