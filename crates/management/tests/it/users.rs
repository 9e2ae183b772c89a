//! Users, permissions, vhosts: RabbitMQ 4.3's statuses and texts.

use serde_json::json;

use crate::api::{NO_OBJECT, TestApi, bad};

#[tokio::test]
async fn users_are_put_and_deleted() {
    let api = TestApi::new();
    let no_tags = bad("tags_not_present");
    let both = bad("both_password_and_password_hash_are_provided");
    let missing = bad("[{key_missing,users}]");
    api.play(&[
        (
            "PUT",
            "users/u1",
            r#"{"password":"p","tags":"monitoring"}"#,
            201,
            "",
        ),
        (
            "PUT",
            "users/u1",
            r#"{"password":"p","tags":"management"}"#,
            204,
            "",
        ),
        ("PUT", "users/u2", r#"{"tags":"x"}"#, 201, ""),
        ("PUT", "users/u2", r#"{"password":"p"}"#, 400, &no_tags),
        (
            "PUT",
            "users/u3",
            r#"{"password_hash":"","tags":""}"#,
            201,
            "",
        ),
        (
            "PUT",
            "users/u4",
            r#"{"password_hash":"bad!","tags":""}"#,
            400,
            r#"{"error":"bad_request","reason":["not_base64","bad!"]}"#,
        ),
        (
            "PUT",
            "users/u5",
            r#"{"password":"p","tags":["a","b"]}"#,
            201,
            "",
        ),
        (
            "PUT",
            "users/u8",
            r#"{"password":"p","password_hash":"abcd","tags":""}"#,
            400,
            &both,
        ),
        ("PUT", "users/u9", r#"{"password":5,"tags":""}"#, 400, ""),
        ("PUT", "users/u9", r#"{"password":"p","tags":5}"#, 400, ""),
        ("DELETE", "users/nope", "", 404, NO_OBJECT),
        (
            "POST",
            "users/bulk-delete",
            r#"{"users":["u5","nope"]}"#,
            204,
            "",
        ),
        ("POST", "users/bulk-delete", r#"{"x":1}"#, 400, &missing),
        ("POST", "users/bulk-delete", r#"{"users":"x"}"#, 400, ""),
        ("GET", "users/u5", "", 404, NO_OBJECT),
    ])
    .await;
    let user = api.get("users/u1").await;
    assert_eq!(user["tags"], json!(["management"]));
    assert_eq!(user["hashing_algorithm"], "rabbit_password_hashing_sha256");
    let without = api.get("users/without-permissions").await;
    assert_eq!(without.as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_password_hash_lets_its_password_in() {
    let api = TestApi::new();
    let hashed = api.get("auth/hash_password/ann").await;
    let body = json!({"password_hash": hashed["ok"], "tags": "administrator"}).to_string();
    assert_eq!(api.call("PUT", "users/ann", &body).await.status, 201);
    assert_eq!(api.call_as("ann", "GET", "whoami", "").await.status, 200);
}

#[tokio::test]
async fn permissions_are_set_and_taken_away() {
    let api = TestApi::new();
    api.call("PUT", "vhosts/v", "").await;
    api.call("PUT", "users/u", r#"{"password":"p","tags":""}"#)
        .await;
    let missing = bad("[{key_missing,read}]");
    let unknown = bad("vhost_or_user_not_found");
    let all = r#"{"configure":".*","write":".*","read":"^a"}"#;
    api.play(&[
        ("PUT", "permissions/v/u", all, 201, ""),
        ("PUT", "permissions/v/u", all, 204, ""),
        (
            "PUT",
            "permissions/v/u",
            r#"{"configure":"","write":""}"#,
            400,
            &missing,
        ),
        (
            "PUT",
            "permissions/v/u",
            r#"{"configure":"[","write":"","read":""}"#,
            400,
            "",
        ),
        ("PUT", "permissions/nope/u", all, 400, &unknown),
        ("PUT", "permissions/v/nope", all, 400, &unknown),
        (
            "GET",
            "permissions/v/u",
            "",
            200,
            r#"{"user":"u","vhost":"v","configure":".*","write":".*","read":"^a"}"#,
        ),
        ("DELETE", "permissions/v/nope", "", 404, NO_OBJECT),
        ("DELETE", "permissions/v/u", "", 204, ""),
        ("DELETE", "permissions/v/u", "", 404, NO_OBJECT),
        ("GET", "users/nope/permissions", "", 404, NO_OBJECT),
        ("GET", "vhosts/nope/permissions", "", 404, NO_OBJECT),
    ])
    .await;
    let topic = r#"{"exchange":"amq.topic","write":".*","read":".*"}"#;
    let shown = r#"[{"user":"u","vhost":"v","exchange":"amq.topic","write":".*","read":".*"}]"#;
    let no_exchange = r#"{"error":"bad_request","reason":["no_such_exchange","nope"]}"#;
    api.play(&[
        ("PUT", "topic-permissions/v/u", topic, 201, ""),
        ("PUT", "topic-permissions/v/u", topic, 204, ""),
        (
            "PUT",
            "topic-permissions/v/u",
            r#"{"exchange":"nope","write":"","read":""}"#,
            400,
            no_exchange,
        ),
        ("GET", "topic-permissions/v/u", "", 200, shown),
        ("GET", "topic-permissions/v/u/nope", "", 200, shown),
        ("GET", "topic-permissions", "", 200, shown),
        ("DELETE", "topic-permissions/v/u/amq.topic", "", 204, ""),
        ("DELETE", "topic-permissions/v/u", "", 404, NO_OBJECT),
        ("GET", "topic-permissions/v/u", "", 404, NO_OBJECT),
    ])
    .await;
}

#[tokio::test]
async fn vhosts_are_put_protected_and_deleted() {
    let api = TestApi::new();
    let bad_type = bad("bad is not a valid queue type");
    let not_json = bad("not_json");
    let twice = bad(
        "invalid payload: the request body JSON-decoded to a string. Is the input doubly-JSON-encoded?",
    );
    let protected = r#"{"error":"precondition_failed","reason":"Refusing to delete virtual host 'v' because it is protected from deletion"}"#;
    let whole = r#"{"description":"d","tags":"a,b","tracing":true,"default_queue_type":"quorum"}"#;
    api.play(&[
        ("PUT", "vhosts/v", "{}", 201, ""),
        ("PUT", "vhosts/v", "", 204, ""),
        ("PUT", "vhosts/v", whole, 204, ""),
        (
            "PUT",
            "vhosts/w",
            r#"{"default_queue_type":"bad"}"#,
            400,
            &bad_type,
        ),
        ("PUT", "vhosts/v", "{bad", 400, &not_json),
        ("PUT", "vhosts/v", "[]", 400, &not_json),
        ("PUT", "vhosts/v", "\"x\"", 400, &twice),
        ("POST", "vhosts/v/deletion/protection", "", 204, ""),
        ("DELETE", "vhosts/v", "", 412, protected),
        ("DELETE", "vhosts/v/deletion/protection", "", 204, ""),
        ("DELETE", "vhosts/nope", "", 404, NO_OBJECT),
        ("POST", "vhosts/v", "", 405, ""),
    ])
    .await;
    let vhost = api.get("vhosts/v").await;
    assert_eq!(vhost["description"], "d");
    assert_eq!(vhost["tags"], json!(["a", "b"]));
    assert_eq!(vhost["metadata"]["default_queue_type"], "quorum");
    assert_eq!(vhost["tracing"], true);
    assert_eq!(vhost["cluster_state"]["leveret@localhost"], "running");
    let of_maker = api.get("permissions/v/guest").await;
    assert_eq!(of_maker["configure"], ".*");
    api.play(&[(
        "PUT",
        "vhosts/v",
        r#"{"default_queue_type":"classic","tags":["x"]}"#,
        204,
        "",
    )])
    .await;
    let vhost = api.get("vhosts/v").await;
    assert_eq!(vhost["description"], "");
    assert_eq!(vhost["tracing"], true);
    api.play(&[
        ("DELETE", "vhosts/v", "", 204, ""),
        ("GET", "vhosts/v", "", 404, NO_OBJECT),
    ])
    .await;
    // The default one has a name that must be encoded.
    assert_eq!(api.get("vhosts/%2F").await["name"], "/");
}
