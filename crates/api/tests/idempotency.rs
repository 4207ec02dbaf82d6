//! Repeats of a request.

use crate::support::{HELLO, house};
use std::sync::Arc;

/// P-05
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_parallel_repeats_are_one_message() {
    let house = Arc::new(house().await);
    let token = house.token().await;
    let mut repeats = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (house, token) = (Arc::clone(&house), token.clone());
        repeats.spawn(async move {
            house.with("POST", "/v1/sms", &token, "Idempotency-Key: order-1\r\n", HELLO).await
        });
    }
    let replies = repeats.join_all().await;
    let first = &replies[0].body;
    assert!(replies.iter().all(|reply| reply.status == 202 && reply.body == *first));
    let replayed = replies.iter().filter(|reply| reply.header("idempotency-replayed") == "true").count();
    assert_eq!(replayed, 49);
    let listed = house.get("/v1/messages", &token).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let quoted = house.with("POST", "/v1/sms", &token, "Idempotency-Key: \"order-1\"\r\n", HELLO).await;
    assert_eq!(&quoted.body, first);
    let other = HELLO.replace("Hello", "Goodbye");
    let reused = house.with("POST", "/v1/sms", &token, "Idempotency-Key: order-1\r\n", &other).await;
    assert_eq!(reused.told(), "422 IDEMPOTENCY_CONFLICT");
    let elsewhere = house.with("POST", "/v1/messages", &token, "Idempotency-Key: order-1\r\n", HELLO).await;
    assert_eq!(elsewhere.told(), "422 IDEMPOTENCY_CONFLICT");
    Arc::into_inner(house).unwrap().close().await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let house = house().await;
    let token = house.token().await;
    let long = format!("Idempotency-Key: {}\r\n", "k".repeat(256));
    for headers in ["Idempotency-Key: \r\n", "Idempotency-Key: a\r\nIdempotency-Key: b\r\n", &long] {
        let reply = house.with("POST", "/v1/sms", &token, headers, HELLO).await;
        assert_eq!(reply.told(), "400 INVALID_REQUEST", "{headers}");
    }
    house.close().await;
}

#[tokio::test]
async fn a_batch_is_repeated_whole() {
    let house = house().await;
    let token = house.token().await;
    let body = format!(r#"{{"messages":[{HELLO},{{}}]}}"#);
    let first = house.with("POST", "/v1/messages/batch", &token, "Idempotency-Key: b\r\n", &body).await;
    let again = house.with("POST", "/v1/messages/batch", &token, "Idempotency-Key: b\r\n", &body).await;
    assert_eq!((first.status, &first.body), (202, &again.body));
    assert_eq!(again.header("idempotency-replayed"), "true");
    house.close().await;
}
