//! What operators do through the API: admins may, nobody else, and everything once.

use genvid_testkit::Vendor;
use serde_json::{Value, json};

use crate::{
    accounts::{PASSWORD, door, setup},
    support::{attempts, client::Client, list, text, world::World},
};

const GRANT: &str = "mutation($input: GrantCreditsInput!) { grantCredits(input: $input) {
    __typename ... on Problem { code message path }
    ... on GrantCreditsSuccess { userId credits { available held } repeated } } }";
const ADJUST: &str = "mutation($input: AdjustCreditsInput!) { adjustCredits(input: $input) {
    __typename ... on Problem { code message path }
    ... on AdjustCreditsSuccess { userId credits { available } repeated } } }";
const SETTLE: &str = "mutation($input: SettleAttemptInput!) { settleAttempt(input: $input) {
    __typename ... on Problem { code message path }
    ... on SettleAttemptSuccess { attempt { id jobId jobStatus status charge } } } }";
const ROLE: &str = "mutation($input: SetUserRoleInput!) { setUserRole(input: $input) {
    __typename ... on Problem { code } ... on SetUserRoleSuccess { userId role } } }";
const PLAN: &str = "mutation($input: SetUserPlanInput!) { setUserPlan(input: $input) {
    __typename ... on Problem { code } ... on SetUserPlanSuccess { userId plan } } }";
const OPEN: &str = "{ openAttempts(first: 5) { nodes { id jobId jobStatus provider status charge
    providerTaskId } } }";
const ME: &str = "{ me { id email credits { available } } }";

const ACTS: &str = "{ administrativeActs(first: 50) { nodes { id at actor kind subject
    details { name value } } } }";

/// What administrators did, newest first.
async fn acts(client: &Client) -> Vec<Value> {
    let acts = client.ask(ACTS, json!({})).await;
    list(&acts, "/administrativeActs/nodes").to_vec()
}

fn detail<'a>(act: &'a Value, name: &str) -> &'a str {
    let mut all = list(act, "/details").iter();
    let found = all.find(|one| one["name"] == name);
    text(
        found.unwrap_or_else(|| panic!("no {name} in {act}")),
        "/value",
    )
}

async fn one(client: &Client, query: &str, input: Value) -> Value {
    let data = client.ask(query, json!({"input": input})).await;
    let mut fields = data.as_object().expect("data").values();
    fields.next().expect("one result").clone()
}

/// Makes an admin of whoever uses this world.
async fn promote(world: &World) {
    let me = world.client().ask(ME, json!({})).await;
    let words = [
        "admin",
        "users",
        "role",
        "--user",
        text(&me, "/me/email"),
        "--role",
    ];
    let wrong = world.run_beside(&[&words[..], &["king"]].concat()).await;
    assert!(!wrong.status.success());
    let set = world.run_beside(&[&words[..], &["admin"]].concat()).await;
    assert!(set.status.success(), "{set:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_no_admin_does_nothing() {
    let world = World::start().await;
    let client = world.client();
    let nobody = Client::new(&world.server().url, None);
    let me = client.ask(ME, json!({})).await["me"].clone();
    let grant = json!({
        "user": me["id"], "credits": 5, "reason": "Me", "idempotencyKey": "a",
    });
    let settle = json!({
        "attemptId": "att_00000000000070008000000000000000", "found": "NOT_CHARGED", "reason": "x",
    });
    for (query, input) in [
        (GRANT, &grant),
        (ADJUST, &grant),
        (SETTLE, &settle),
        (ROLE, &json!({"user": me["id"], "role": "ADMIN"})),
        (PLAN, &json!({"user": me["id"], "plan": "pro"})),
        (OPEN, &Value::Null),
        (ACTS, &Value::Null),
    ] {
        let variables = match input {
            Value::Null => json!({}),
            input => json!({"input": input}),
        };
        for (who, code) in [(&client, "FORBIDDEN"), (&nobody, "UNAUTHENTICATED")] {
            let answer = who.send(query, variables.clone()).await;
            assert_eq!(answer["errors"][0]["extensions"]["code"], code, "{answer}");
        }
    }
    assert_eq!(
        client.ask(ME, json!({})).await["me"],
        me,
        "nothing was given"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credits_are_given_and_corrected_once() {
    let world = World::start().await;
    promote(&world).await;
    let client = world.client();
    for (query, input, expected) in [
        (
            ROLE,
            json!({"user": "nobody@example.com", "role": "USER"}),
            "NOT_FOUND",
        ),
        (
            PLAN,
            json!({"user": "nobody@example.com", "plan": "pro"}),
            "NOT_FOUND",
        ),
        (
            PLAN,
            json!({"user": "nobody@example.com", "plan": "none"}),
            "INVALID_INPUT",
        ),
    ] {
        let refused = one(&client, query, input).await;
        assert_eq!(refused["code"], expected, "{refused}");
    }
    let mail = client.ask(ME, json!({})).await["me"]["email"].clone();
    let set = one(&client, PLAN, json!({"user": mail, "plan": "pro"})).await;
    assert_eq!(set["plan"], "pro", "{set}");
    let set = one(&client, ROLE, json!({"user": mail, "role": "ADMIN"})).await;
    assert_eq!(set["role"], "ADMIN", "{set}");
    let me = client.ask(ME, json!({})).await["me"].clone();
    let before = me["credits"]["available"].as_i64().expect("a number");
    let grant = json!({
        "user": me["email"], "credits": 500, "reason": "Spring", "idempotencyKey": "spring",
        "expiresAt": "2999-01-01T00:00:00Z",
    });
    let at_once = (0..8).map(|_| one(&client, GRANT, grant.clone()));
    let answers = futures::future::join_all(at_once).await;
    let new = answers.iter().filter(|answer| answer["repeated"] == false);
    assert_eq!(new.count(), 1, "{answers:?}");
    for answer in &answers {
        assert_eq!(answer["credits"]["available"], before + 500, "{answer}");
        assert_eq!(answer["userId"], me["id"]);
    }
    let mut other = grant.clone();
    other["credits"] = json!(501);
    let refused = one(&client, GRANT, other).await;
    assert_eq!(refused["code"], "IDEMPOTENCY_KEY_REUSED", "{refused}");
    // The command line's keys are the same.
    let words = [
        "admin",
        "credits",
        "grant",
        "--user",
        text(&me, "/email"),
        "--credits",
        "501",
        "--reason",
        "Spring",
        "--key",
        "spring",
    ];
    assert!(!world.run_beside(&words).await.status.success());

    let adjust = |credits: i64, key: &str| json!({"user": me["id"], "credits": credits, "reason": "Booked twice", "idempotencyKey": key});
    let all = -(before + 501);
    let refused = one(&client, ADJUST, adjust(all, "all")).await;
    assert_eq!(refused["code"], "INSUFFICIENT_CREDITS", "{refused}");
    let less = one(&client, ADJUST, adjust(-20, "less")).await;
    assert_eq!(less["credits"]["available"], before + 480, "{less}");
    for (field, bad) in [
        ("credits", json!({"user": me["id"], "credits": 0})),
        (
            "reason",
            json!({"user": me["id"], "credits": 5, "reason": " "}),
        ),
        ("user", json!({"user": "nobody@example.com", "credits": 5})),
        (
            "expiresAt",
            json!({"user": me["id"], "credits": 5, "expiresAt": "2020-01-01T00:00:00Z"}),
        ),
    ] {
        let mut input = json!({"reason": "x", "idempotencyKey": "bad"});
        for (name, value) in bad.as_object().expect("fields") {
            input[name] = value.clone();
        }
        let refused = one(&client, GRANT, input).await;
        assert_eq!(refused["path"], json!([field]), "{refused}");
    }
    let lines = "{ creditLedger(first: 2) { nodes { kind amount reason } } }";
    let lines = client.ask(lines, json!({})).await;
    let wanted = json!([
        {"kind": "ADJUSTMENT", "amount": -20, "reason": "Booked twice"},
        {"kind": "GRANT", "amount": 500, "reason": "Spring"},
    ]);
    assert_eq!(lines["creditLedger"]["nodes"], wanted);
    // What was refused, or was repeated, was not done.
    let done = acts(&client).await;
    let kinds: Vec<_> = done.iter().map(|act| text(act, "/kind")).collect();
    let expected = [
        "ADJUST_CREDITS",
        "GRANT_CREDITS",
        "SET_ROLE",
        "SET_PLAN",
        "SET_ROLE",
        "ADD_SIGNING_KEY",
    ];
    assert_eq!(kinds, expected, "{done:?}");
    assert_eq!(
        (&done[1]["actor"], &done[1]["subject"]),
        (&me["id"], &me["id"])
    );
    assert_eq!(detail(&done[1], "credits"), "500");
    assert_eq!(detail(&done[1], "reason"), "Spring");
    assert_eq!(done[2]["actor"], me["id"]);
    assert_eq!(detail(&done[3], "plan"), "pro");
    assert_eq!(text(&done[4], "/actor"), "operator");
    assert_eq!(detail(&done[4], "role"), "admin");
    assert_eq!(text(&done[5], "/actor"), "genvid");
    let words = ["admin", "log", "--first", "2", "--json"];
    let shown = world.run_beside(&words).await;
    let shown: Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(shown.as_array().map(Vec::len), Some(2));
    assert_eq!(shown[0]["id"], done[0]["id"]);
    world.audit().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_call_is_settled_by_one_of_many_who_try() {
    let world = World::start().await;
    promote(&world).await;
    let job = crate::lost_answers::park(&world).await;
    let client = world.client();
    let open = client.ask(OPEN, json!({})).await;
    let open = list(&open, "/openAttempts/nodes")[0].clone();
    assert_eq!(open["jobId"], job.as_str());
    assert_eq!(
        (&open["provider"], &open["jobStatus"]),
        (&json!("kling"), &json!("UNCONFIRMED"))
    );
    let settle = |found: &str, task: Option<&str>| {
        json!({
            "attemptId": open["id"], "found": found, "providerTaskId": task, "reason": "Console",
        })
    };
    let refused = one(&client, SETTLE, settle("NOT_CHARGED", Some("1"))).await;
    assert_eq!(refused["path"], json!(["providerTaskId"]), "{refused}");
    let invoice = world.vendor(Vendor::Kling).invoice();
    let task = invoice
        .calls
        .iter()
        .find_map(|call| call.task_id.clone())
        .expect("a task");
    world.vendor(Vendor::Kling).clear_faults();
    let at_once = (0..6).map(|_| one(&client, SETTLE, settle("CHARGED", Some(&task))));
    let answers = futures::future::join_all(at_once).await;
    let (done, late): (Vec<_>, Vec<_>) = answers
        .iter()
        .partition(|answer| answer["__typename"] == "SettleAttemptSuccess");
    assert_eq!(done.len(), 1, "{answers:?}");
    assert!(
        late.iter().all(|answer| answer["code"] == "CONFLICT"),
        "{answers:?}"
    );
    let done = acts(&client).await;
    let settled = done.iter().filter(|act| act["kind"] == "SETTLE_ATTEMPT");
    let settled: Vec<_> = settled.collect();
    assert_eq!(settled.len(), 1, "{done:?}");
    assert_eq!(settled[0]["subject"], open["id"]);
    assert!(text(settled[0], "/actor").starts_with("usr_"));
    assert_eq!(detail(settled[0], "providerTaskId"), task);
    let row = client.ended(&job, "SUCCEEDED").await;
    assert_eq!(attempts(&row, "VIDEO"), ["kling SUCCEEDED CHARGED"]);
    assert_eq!(world.billed(Vendor::Kling), 1);
    assert_eq!(
        client.ask(OPEN, json!({})).await["openAttempts"]["nodes"],
        json!([])
    );
    let missing = json!({
        "attemptId": "att_00000000000070008000000000000000", "found": "CHARGED", "reason": "x",
    });
    let missing = one(&client, SETTLE, missing).await;
    assert_eq!(
        (&missing["code"], &missing["path"]),
        (&json!("NOT_FOUND"), &json!(["attemptId"]))
    );
    world.audit().await;
}

/// Every role: who looks at everybody's, and who changes something.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_look_and_change_as_they_may() {
    const USERS: &str = "query($filter: UserFilter) { users(first: 10, filter: $filter) {
        nodes { id email emailVerified role } pageInfo { hasNextPage } } }";
    const KEY: &str = "mutation($input: CreateApiKeyInput!) { createApiKey(input: $input) {
        ... on Problem { code } ... on CreateApiKeySuccess { secret } } }";
    let world = setup().start().await;
    promote(&world).await;
    let client = world.client();
    let me = client.ask(ME, json!({})).await["me"].clone();
    let open = door(&world);
    let mut people = Vec::new();
    for role in ["USER", "PARTNER", "SERVICE"] {
        let email = format!("{}@roles.example.com", role.to_lowercase());
        let registered = open.register(&email, PASSWORD).await;
        let person = client.signed_in_as(text(&registered, "/accessToken"));
        let set = one(&client, ROLE, json!({"user": email, "role": role})).await;
        assert_eq!(set["role"], role, "{set}");
        let input = json!({"name": role});
        let secret = one(&person, KEY, input).await;
        let program = client.signed_in_as(text(&secret, "/secret"));
        people.push((role, person, program));
    }
    let input = json!({"name": "Admin"});
    let secret = one(&client, KEY, input).await;
    people.push((
        "ADMIN",
        client.clone(),
        client.signed_in_as(text(&secret, "/secret")),
    ));
    let grant = json!({
        "user": me["id"], "credits": 5, "reason": "x", "idempotencyKey": "roles",
    });
    let may = |answer: &Value| match answer.get("errors") {
        None => true,
        Some(errors) => {
            assert_eq!(errors[0]["extensions"]["code"], "FORBIDDEN", "{answer}");
            false
        }
    };
    for (role, person, program) in &people {
        for (who, is_key) in [(person, false), (program, true)] {
            let looks = *role == "SERVICE" || (*role == "ADMIN" && !is_key);
            for query in [USERS, OPEN, ACTS] {
                let answer = who.send(query, json!({})).await;
                assert_eq!(may(&answer), looks, "{role} {is_key} {answer}");
            }
            let answer = who.send(GRANT, json!({"input": grant})).await;
            assert_eq!(may(&answer), *role == "ADMIN" && !is_key, "{role} {is_key}");
        }
    }
    // By the beginning of the address, which is no pattern, and by role; those who are gone are not there.
    let emails = async |filter: Value| {
        let data = client.ask(USERS, json!({"filter": filter})).await;
        let all = list(&data, "/users/nodes").iter();
        all.map(|user| text(user, "/email").to_owned())
            .collect::<Vec<_>>()
    };
    let three = emails(json!({"email": "Partner@roles"})).await;
    assert_eq!(three, ["partner@roles.example.com"]);
    assert!(emails(json!({"email": "%@roles"})).await.is_empty());
    assert_eq!(
        emails(json!({"role": "SERVICE"})).await,
        ["service@roles.example.com"]
    );
    let listed = world
        .run_beside(&["admin", "users", "list", "--role", "partner", "--json"])
        .await;
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["users"][0]["email"], "partner@roles.example.com");
    let gone = "mutation { deleteAccount(input: {password: \"correct horse battery\"}) {
        __typename } }";
    people[1].1.ask(gone, json!({})).await;
    assert!(emails(json!({"email": "partner@roles"})).await.is_empty());
    assert!(emails(json!({"role": "PARTNER"})).await.is_empty());
}
