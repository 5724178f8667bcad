//! Signing in with Google, whose part a provider of the test kit plays: browsers that go there and
//! come back, answers that are not of their attempt, and addresses that somebody has already.

use std::{collections::BTreeMap, time::Duration};

use genvid_testkit::{Google, Person, SignInTwist};
use reqwest::{
    StatusCode,
    header::{COOKIE, LOCATION, SET_COOKIE},
    redirect::Policy,
};
use serde_json::{Value, json};
use url::Url;

use crate::{
    accounts::{Door, ME, PASSWORD, door, mails, setup, token},
    support::world::{Setup, World},
};

const ATTEMPT: &str = "__Host-genvid_google";
const DELETE: &str =
    "mutation($input: DeleteAccountInput!) { result: deleteAccount(input: $input) { __typename
    ... on Problem { code message } ... on DeleteAccountSuccess { userId } } }";
const VERIFY: &str = "mutation($input: VerifyEmailInput!) { result: verifyEmail(input: $input) }";
const METHODS: &str = "{ result: me { id signInMethods } }";

pub(crate) fn with(google: &Google, setup: Setup) -> Setup {
    setup
        .set("accounts.google.client_id", google.client_id())
        .set("accounts.google.client_secret", google.client_secret())
        .set("accounts.google.issuer", google.url())
        .set("mail.app_url", "https://app.example.com/studio/")
}

/// A browser with its cookies, that goes nowhere by itself.
#[derive(Clone)]
struct Browser {
    http: reqwest::Client,
    url: String,
    from: &'static str,
    jar: BTreeMap<String, String>,
}

/// What a browser was answered.
struct Page {
    status: StatusCode,
    to: Option<String>,
    cookies: Vec<String>,
    text: String,
}

impl Browser {
    fn of(world: &World) -> Self {
        let http = reqwest::Client::builder()
            .redirect(Policy::none())
            .no_proxy();
        Self {
            http: http.build().expect("a client"),
            url: world.server().url.clone(),
            from: "203.0.113.1",
            jar: BTreeMap::new(),
        }
    }

    async fn go(&mut self, url: &str) -> Page {
        let jar = self
            .jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let mut request = (self.http.get(url)).header("x-forwarded-for", self.from);
        if url.starts_with(&self.url) {
            request = request.header(COOKIE, jar.collect::<Vec<_>>().join("; "));
        }
        let answer = request.send().await.expect("an answer");
        let headers = answer.headers();
        let text = |value: &reqwest::header::HeaderValue| value.to_str().expect("text").to_owned();
        let cookies: Vec<String> = headers.get_all(SET_COOKIE).iter().map(text).collect();
        for cookie in &cookies {
            let (pair, rest) = cookie.split_once(';').expect("attributes");
            let (name, value) = pair.split_once('=').expect("a pair");
            assert!(name.starts_with("__Host-"), "{cookie}");
            for needed in ["Path=/", "HttpOnly", "Secure", "SameSite="] {
                assert!(rest.contains(needed), "{cookie}");
            }
            match rest.contains("Max-Age=0;") {
                true => self.jar.remove(name),
                false => self.jar.insert(name.to_owned(), value.to_owned()),
            };
        }
        Page {
            status: answer.status(),
            to: headers.get(LOCATION).map(text),
            cookies,
            text: answer.text().await.expect("text"),
        }
    }

    /// To Google's page, without agreeing yet.
    async fn begin(&mut self, query: &str) -> String {
        let url = format!("{}/api/auth/google{query}", self.url);
        let page = self.go(&url).await;
        assert_eq!(page.status, StatusCode::SEE_OTHER, "{}", page.text);
        page.to.expect("a page")
    }

    /// Agrees: back to the server, without going there yet.
    async fn agree(&mut self, page: &str) -> String {
        let answer = self.go(page).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "{}", answer.text);
        answer.to.expect("a way back")
    }

    /// The whole way.
    async fn sign_in(&mut self) -> Page {
        let page = self.begin("").await;
        let back = self.agree(&page).await;
        self.go(&back).await
    }

    /// The API with the session's cookies.
    fn door(&self) -> Door {
        let jar = self
            .jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        Door {
            cookies: Some(jar.collect::<Vec<_>>().join("; ")),
            csrf: true,
            ..Door::of(&self.url)
        }
    }

    async fn me(&self) -> Value {
        self.door().me().await
    }

    fn is_signed_in(&self) -> bool {
        self.jar.contains_key("__Host-genvid_access")
    }
}

/// The cookies of a browser on its way and of its session, by their names.
pub(crate) async fn signed_in(world: &World) -> BTreeMap<String, String> {
    let mut browser = Browser::of(world);
    let page = browser.begin("").await;
    let mut all = browser.jar.clone();
    let back = browser.agree(&page).await;
    browser.go(&back).await;
    assert!(browser.is_signed_in());
    all.extend(browser.jar);
    all
}

fn query(url: &str) -> BTreeMap<String, String> {
    let url = Url::parse(url).expect("an address");
    url.query_pairs().into_owned().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_signs_in_and_is_the_same_the_next_time() {
    let google = Google::start().await.expect("Google");
    let mut world = with(&google, setup()).start_with_mail().await;
    let mut browser = Browser::of(&world);
    let page = browser.begin("?next=/films%3Fpage=2").await;
    let asked = query(&page);
    assert_eq!(
        asked["redirect_uri"],
        format!("{}/api/auth/callback", browser.url)
    );
    assert_eq!(asked["code_challenge_method"], "S256");
    assert_eq!(asked["scope"], "openid email profile");
    // Two attempts have nothing in common.
    let other = query(&Browser::of(&world).begin("").await);
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(asked[name], other[name], "{name}");
    }
    // Whoever reads the cookie learns nothing of the attempt.
    let kept = browser.jar[ATTEMPT].clone();
    assert!(!kept.contains(&asked["state"]) && !kept.contains(&asked["nonce"]));
    // The process that began it is gone by then.
    let back = browser.agree(&page).await;
    world.kill_and_start_again().await;
    let done = browser.go(&back).await;
    assert_eq!(
        done.to.as_deref(),
        Some("https://app.example.com/studio/films?page=2")
    );
    assert!(!browser.jar.contains_key(ATTEMPT));
    let me = browser.me().await;
    assert_eq!(me["email"], "ada@example.com");
    assert_eq!(me["emailVerified"], true);
    // A cookie alone, from another page, is worth nothing.
    let mut alone = browser.door();
    alone.csrf = false;
    assert!(alone.send(ME, json!({})).await.result().is_null());

    // The same person, with another address by now, and new keys at Google.
    google.set_person(Person::new(
        "10769150350006150715113082367",
        "ada.k@example.com",
    ));
    google.rotate();
    // Keys are asked for once in a second.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let mut again = Browser::of(&world);
    assert_eq!(again.sign_in().await.status, StatusCode::SEE_OTHER);
    assert_eq!(again.me().await["id"], me["id"]);
    assert_eq!(again.me().await["email"], "ada@example.com");
    let methods = again.door().send(METHODS, json!({})).await;
    assert_eq!(methods.result()["signInMethods"], json!(["GOOGLE"]));

    // Gone is gone: the same person gets an account of their own.
    let gone = again.door().one(DELETE, json!({"password": ""})).await;
    assert_eq!(gone.result()["userId"], me["id"], "{}", gone.body);
    let mut anew = Browser::of(&world);
    anew.sign_in().await;
    assert_ne!(anew.me().await["id"], me["id"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_are_not_of_the_attempt_sign_nobody_in() {
    let google = Google::start().await.expect("Google");
    let setup = with(&google, setup()).set("limits.login", "off");
    let world = setup.start().await;
    google.set_person(Person::new("subject-of-no-account", "mallory@example.com"));
    for twist in [
        SignInTwist::Denied,
        SignInTwist::OtherAnswerer,
        SignInTwist::Broken,
        SignInTwist::NoToken,
        SignInTwist::Unsigned,
        SignInTwist::PublicKeyAsSecret,
        SignInTwist::OtherKey,
        SignInTwist::UnknownKey,
        SignInTwist::OtherIssuer,
        SignInTwist::OtherAudience,
        SignInTwist::OtherParty,
        SignInTwist::OtherNonce,
        SignInTwist::NoNonce,
        SignInTwist::Expired,
        SignInTwist::FromTomorrow,
        SignInTwist::Changed,
        SignInTwist::Huge,
    ] {
        google.set_twist(twist);
        let mut browser = Browser::of(&world);
        let answer = browser.sign_in().await;
        let expected = match twist {
            SignInTwist::Broken | SignInTwist::Huge => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        assert_eq!(answer.status, expected, "{twist:?}: {}", answer.text);
        assert!(!browser.is_signed_in(), "{twist:?}");
        assert!(browser.jar.is_empty(), "{twist:?}: the attempt is over");
    }
    google.set_twist(SignInTwist::None);

    // The way back of another browser, without a cookie, or with one that was changed.
    let mut browser = Browser::of(&world);
    let page = browser.begin("").await;
    let back = browser.agree(&page).await;
    let tokens = google.requests("token");
    let mut stranger = Browser::of(&world);
    let answer = stranger.go(&back).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    stranger.begin("").await;
    assert_eq!(stranger.go(&back).await.status, StatusCode::BAD_REQUEST);
    let mut forged = browser.clone();
    let kept = forged.jar.get_mut(ATTEMPT).expect("an attempt");
    let last = if kept.ends_with('A') { "B" } else { "A" };
    kept.replace_range(kept.len() - 1.., last);
    assert_eq!(forged.go(&back).await.status, StatusCode::BAD_REQUEST);
    for query in [
        "",
        "?state=x",
        "?code=x",
        "?error=access_denied",
        "?state=a&state=b",
    ] {
        let answer = browser
            .clone()
            .go(&format!("{}/api/auth/callback{query}", browser.url))
            .await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
    }
    assert_eq!(
        google.requests("token"),
        tokens,
        "no code of those was redeemed"
    );
    assert!(!stranger.is_signed_in() && !forged.is_signed_in());
    // Nothing of this made an account.
    let dump = world.database().dump().await;
    let subject = b"subject-of-no-account";
    assert!(!dump.windows(subject.len()).any(|part| part == subject));
    // The right browser is in, once.
    let mut twice = browser.clone();
    assert_eq!(browser.go(&back).await.status, StatusCode::SEE_OTHER);
    assert_eq!(twice.go(&back).await.status, StatusCode::BAD_REQUEST);
    assert!(browser.is_signed_in() && !twice.is_signed_in());

    // Nobody is led elsewhere.
    for next in [
        "https://evil.example",
        "//evil.example",
        "/%5Cevil.example",
        "/%0D%0ASet-Cookie:a=b",
    ] {
        let url = format!("{}/api/auth/google?next={next}", browser.url);
        let answer = browser.go(&url).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{next}");
        assert!(answer.text.contains("`next`"), "{}", answer.text);
    }
    let log = world.server().log();
    assert!(
        !log.contains(google.client_secret()),
        "the secret is in the log"
    );
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_known_is_linked_and_its_owner_told() {
    let google = Google::start().await.expect("Google");
    let world = with(&google, setup()).start_with_mail().await;
    let open = door(&world);
    let ann = open.register("ann@example.com", PASSWORD).await;
    let mail = mails(&world, "ann@example.com", "confirm", 1).await;
    let verified = open.one(VERIFY, json!({"token": token(&mail[0])})).await;
    assert_eq!(*verified.result(), json!(true));

    // An address of which Google does not know whose it is opens nothing.
    let mut stranger = Person::new("1", "ann@example.com");
    stranger.email_verified = false;
    google.set_person(stranger);
    let refused = Browser::of(&world).sign_in().await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{}", refused.text);

    google.set_person(Person::new("2", "Ann@Example.com"));
    let mut browser = Browser::of(&world);
    browser.sign_in().await;
    assert_eq!(browser.me().await["id"], ann["user"]["id"]);
    mails(
        &world,
        "ann@example.com",
        "Google account that has your address",
        1,
    )
    .await;
    let methods = browser.door().send(METHODS, json!({})).await;
    assert_eq!(
        methods.result()["signInMethods"],
        json!(["PASSWORD", "GOOGLE"])
    );
    // The password is as good as before.
    let again = open.login("ann@example.com", PASSWORD).await;
    assert_eq!(again.result()["user"]["id"], ann["user"]["id"]);

    // Somebody else at Google who has her address by now.
    google.set_person(Person::new("3", "ann@example.com"));
    let refused = Browser::of(&world).sign_in().await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);

    // Who has registered with an address without showing that it is theirs keeps what they have, and
    // gets nothing of its owner's.
    let squatter = open.register("lena@example.com", PASSWORD).await;
    google.set_person(Person::new("4", "lena@example.com"));
    let mut lena = Browser::of(&world);
    lena.sign_in().await;
    assert_ne!(lena.me().await["id"], squatter["user"]["id"]);
    let inside = open.login("lena@example.com", PASSWORD).await;
    assert_eq!(inside.result()["user"]["id"], squatter["user"]["id"]);
    assert_eq!(inside.result()["user"]["emailVerified"], false);

    // An admin's account is opened only by those for whom Google can speak.
    let words = [
        "admin",
        "users",
        "role",
        "--user",
        "ann.admin@example.com",
        "--role",
        "admin",
    ];
    let admin = open.register("ann.admin@example.com", PASSWORD).await;
    let mail = mails(&world, "ann.admin@example.com", "confirm", 1).await;
    open.one(VERIFY, json!({"token": token(&mail[0])})).await;
    let made = world.run_beside(&words).await;
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    google.set_person(Person::new("5", "ann.admin@example.com"));
    let refused = Browser::of(&world).sign_in().await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
    let mut person = Person::new("5", "ann.admin@example.com");
    person.hosted_domain = Some("example.com".to_owned());
    google.set_person(person);
    let mut browser = Browser::of(&world);
    browser.sign_in().await;
    assert_eq!(browser.me().await["id"], admin["user"]["id"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_are_bounded_and_closed_doors_stay_closed() {
    let google = Google::start().await.expect("Google");
    let setup = with(&google, setup()).set("accounts.registration", "false");
    let world = setup.start().await;
    // Nobody registers here by themselves, with Google neither.
    let refused = Browser::of(&world).sign_in().await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
    // Codes that are not redeemed are counted, by where they come from.
    google.set_twist(SignInTwist::OtherNonce);
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(Browser::of(&world).sign_in().await.status.as_u16());
    }
    assert_eq!(statuses, [400, 400, 400, 400, 429]);
    let mut elsewhere = Browser::of(&world);
    elsewhere.from = "203.0.113.9";
    assert_eq!(elsewhere.sign_in().await.status, StatusCode::BAD_REQUEST);

    // Where it is not registered, a page says so.
    let world = crate::accounts::setup().start().await;
    let mut browser = Browser::of(&world);
    for path in ["google", "callback?code=a&state=b"] {
        let answer = browser
            .go(&format!("{}/api/auth/{path}", browser.url))
            .await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert!(answer.text.contains("accounts.google.client_id"));
        assert!(answer.cookies.is_empty());
    }
    world.audit().await;
}
