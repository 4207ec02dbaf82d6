//! Health, pages, and what has no place.

use crate::support::house;

#[tokio::test]
async fn health_and_pages_are_open_and_need_no_other_origin() {
    let house = house().await;
    assert_eq!(house.get("/livez", "").await.body, "live\n");
    assert_eq!(house.get("/readyz", "").await.expect(200)["ready"], true);
    assert!(house.get("/metrics", "").await.body.ends_with("# EOF\n"));
    let described = house.get("/openapi.json", "").await.expect(200);
    assert!(described["openapi"].as_str().unwrap().starts_with("3.1"));
    for path in ["/", "/docs", "/docs/", "/errors", "/errors/INVALID_NUMBER"] {
        let page = house.get(path, "").await;
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(!page.body.contains("src=\"http"), "{path}");
    }
    for file in ["swagger-ui.css", "swagger-ui-bundle.js", "swagger-initializer.js"] {
        assert_eq!(house.get(&format!("/docs/{file}"), "").await.status, 200, "{file}");
    }
    assert!(house.get("/docs/swagger-initializer.js", "").await.body.contains("/openapi.json"));
    assert_eq!(house.get("/errors/NONSENSE", "").await.told(), "404 NOT_FOUND");
    house.close().await;
}

#[tokio::test]
async fn what_has_no_place_is_told_in_json() {
    let house = house().await;
    assert_eq!(house.get("/v1/nowhere", "").await.told(), "404 NOT_FOUND");
    let wrong = house.with("PUT", "/v1/sms", "", "", "{}").await;
    assert_eq!(wrong.told(), "405 METHOD_NOT_ALLOWED");
    assert_eq!(wrong.header("allow"), "POST", "{wrong:?}");
    let wrong = house.with("PUT", "/v1/messages", "", "", "{}").await;
    assert_eq!((wrong.told().as_str(), wrong.header("allow")), ("405 METHOD_NOT_ALLOWED", "POST,GET,HEAD"));
    for (path, expected) in
        [("/v1/messages/", "404 NOT_FOUND"), ("//livez", "404 NOT_FOUND"), ("/v1/SMS", "404 NOT_FOUND")]
    {
        assert_eq!(house.get(path, "").await.told(), expected, "{path}");
    }
    house.close().await;
}

#[tokio::test]
async fn what_may_be_fetched_may_be_asked_for_without_its_body() {
    let house = house().await;
    let whole = house.get("/livez", "").await;
    let head = house.raw(b"HEAD /livez HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), whole.header("content-length"));
    house.close().await;
}

#[tokio::test]
async fn parts_of_addresses_are_read_as_they_are_meant() {
    let house = house().await;
    let page = house.get("/errors/INVALID%5FNUMBER", "").await;
    assert_eq!(page.status, 200, "{page:?}");
    house.close().await;
}

#[tokio::test]
async fn an_ambiguous_request_is_refused_and_the_connection_closed() {
    let house = house().await;
    let both = b"POST /v1/sms HTTP/1.1\r\nHost: t\r\nContent-Length: abc\r\n\r\n{}";
    assert_eq!(house.raw(both).await.status, 400);
    let bare = b"GET /livez HTTP/1.1\r\nHost : t\r\n\r\n";
    assert_eq!(house.raw(bare).await.status, 400);
    house.close().await;
}
