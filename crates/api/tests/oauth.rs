//! OAuth 2 for machines.

use crate::support::{HELLO, House, house};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";

async fn form(house: &House, path: &str, body: &str) -> crate::support::Reply {
    house.with("POST", path, "", FORM, body).await
}

#[tokio::test]
async fn a_client_gets_narrow_tokens_and_gives_them_back() {
    let house = house().await;
    let admin = house.token().await;
    let client = house.post("/v1/clients", &admin, r#"{"name":"crm"}"#).await.expect(201);
    let (id, secret) = (client["id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    let login = format!("client_id={id}&client_secret={secret}");
    let reply =
        form(&house, "/oauth/token", &format!("grant_type=client_credentials&{login}&scope=messages.send"))
            .await;
    assert_eq!(reply.header("cache-control"), "no-store");
    let granted = reply.expect(200);
    assert_eq!(
        (granted["expires_in"].as_i64(), granted["scope"].as_str()),
        (Some(3600), Some("messages.send"))
    );
    let token = granted["access_token"].as_str().unwrap();
    house.post("/v1/sms", token, HELLO).await.expect(202);
    assert_eq!(house.get("/v1/messages", token).await.told(), "403 FORBIDDEN");
    let told = form(&house, "/oauth/introspect", &format!("{login}&token={token}")).await.expect(200);
    assert_eq!((told["active"].as_bool(), told["client_id"].as_str()), (Some(true), Some(id)));
    form(&house, "/oauth/revoke", &format!("{login}&token={token}")).await.expect(200);
    form(&house, "/oauth/revoke", &format!("{login}&token=unknown")).await.expect(200);
    assert_eq!(house.post("/v1/sms", token, HELLO).await.told(), "401 AUTH_FAILED");
    let told = form(&house, "/oauth/introspect", &format!("{login}&token={token}")).await.body;
    assert_eq!(told, r#"{"active":false}"#);
    house.close().await;
}

#[tokio::test]
async fn refusals_speak_the_words_of_the_standard() {
    let house = house().await;
    let admin = house.token().await;
    let client = house.post("/v1/clients", &admin, r#"{"name":"crm"}"#).await.expect(201);
    let login = format!(
        "client_id={}&client_secret={}",
        client["id"].as_str().unwrap(),
        client["client_secret"].as_str().unwrap()
    );
    for (body, status, error) in [
        (format!("grant_type=password&{login}"), 400, "unsupported_grant_type"),
        (format!("grant_type=client_credentials&{login}&scope=admin"), 400, "invalid_scope"),
        (format!("grant_type=client_credentials&{login}&scope=nonsense"), 400, "invalid_scope"),
        (login.clone(), 400, "invalid_request"),
        (format!("grant_type=a&grant_type=b&{login}"), 400, "invalid_request"),
        (format!("grant_type=client_credentials&{login}x"), 401, "invalid_client"),
        ("grant_type=client_credentials".to_owned(), 401, "invalid_client"),
    ] {
        let reply = form(&house, "/oauth/token", &body).await;
        assert_eq!((reply.status, reply.json()["error"].as_str()), (status, Some(error)), "{body}");
    }
    let metadata = house.get("/.well-known/oauth-authorization-server", "").await.expect(200);
    assert_eq!(metadata["grant_types_supported"], serde_json::json!(["client_credentials"]));
    house.close().await;
}

#[tokio::test]
async fn the_token_of_another_tenant_is_just_not_active() {
    let house = house().await;
    let admin = house.token().await;
    let client = house.post("/v1/clients", &admin, r#"{"name":"crm"}"#).await.expect(201);
    let login = format!(
        "client_id={}&client_secret={}",
        client["id"].as_str().unwrap(),
        client["client_secret"].as_str().unwrap()
    );
    let realm = tidings_domain::account::Realm { account: house.stranger().await, ..house.test_realm() };
    let theirs = house.token_in(realm, &[], None).await;
    let told = form(&house, "/oauth/introspect", &format!("{login}&token={theirs}")).await;
    assert_eq!((told.status, told.body.as_str()), (200, r#"{"active":false}"#));
    house.close().await;
}
