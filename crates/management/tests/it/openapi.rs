//! The description speaks of every route that answers.

use crate::api::TestApi;

#[tokio::test]
async fn the_description_names_every_operation() {
    let api = TestApi::new();
    let description = api.get("openapi.json").await;
    assert_eq!(description["openapi"], "3.1.0");
    let paths = description["paths"].as_object().expect("paths");
    assert!(paths.len() > 80, "{}", paths.len());
    let publish = &paths["/api/exchanges/{vhost}/{exchange}/publish"]["post"];
    let body = &publish["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["required"][0], "routing_key");
    assert_eq!(publish["parameters"][1]["name"], "exchange");
    // What the description names is there: no path gives 404 for its method as a whole.
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            let plain = path.replace(['{', '}'], "");
            let request = axum::http::Request::builder()
                .method("OPTIONS")
                .uri(&plain)
                .body(axum::body::Body::empty())
                .expect("it is well-formed");
            let reply = api.send(request, "127.0.0.1:1").await;
            let allowed = reply.header("allow");
            assert!(
                allowed.contains(&method.to_uppercase()),
                "{method} {plain}: {allowed}"
            );
        }
    }
}
