//! Signatures of webhooks, in the form of Standard Webhooks 1.0: `v1,` and the base64 of HMAC-SHA-256 over
//! `id.timestamp.body`; several, set apart by a space, while a secret is being rotated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Octets of a new secret.
pub const SECRET_OCTETS: usize = 32;

/// The printed form of a secret: `whsec_` and base64.
pub fn print_secret(secret: &[u8]) -> String {
    format!("whsec_{}", STANDARD.encode(secret))
}

/// The value of the header `webhook-signature` for these secrets, the present one first.
pub fn sign<'a>(
    secrets: impl IntoIterator<Item = &'a [u8]>,
    id: &str,
    timestamp_s: i64,
    body: &[u8],
) -> String {
    let timestamp = timestamp_s.to_string();
    let mut header = String::with_capacity(50);
    for secret in secrets {
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes keys of any length");
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        if !header.is_empty() {
            header.push(' ');
        }
        header.push_str("v1,");
        STANDARD.encode_string(mac.finalize().into_bytes(), &mut header);
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    /// P-25
    #[test]
    fn the_reference_library_accepts_both_signatures_of_a_rotation() {
        let (new, old) = ([7u8; SECRET_OCTETS], [9u8; SECRET_OCTETS]);
        #[expect(clippy::disallowed_methods, reason = "the reference library compares with the real clock")]
        let now =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs()
                as i64;
        let body = br#"{"type":"message.delivered"}"#;
        let header = sign([new.as_slice(), old.as_slice()], "evt_1", now, body);
        let mut headers = axum_free_headers(&header, now);
        for secret in [new, old] {
            let verifier = standardwebhooks::Webhook::new(&print_secret(&secret)).expect("a secret");
            verifier.verify(body, &headers).expect("a good signature");
            assert!(verifier.verify(b"{}", &headers).is_err());
        }
        headers.insert("webhook-signature", "v1,AAAA".parse().expect("a value"));
        assert!(
            standardwebhooks::Webhook::new(&print_secret(&new))
                .expect("a secret")
                .verify(body, &headers)
                .is_err()
        );
    }

    fn axum_free_headers(signature: &str, now: i64) -> http::HeaderMap {
        let mut headers = http::HeaderMap::new();
        headers.insert("webhook-id", "evt_1".parse().expect("a value"));
        headers.insert("webhook-timestamp", now.to_string().parse().expect("a value"));
        headers.insert("webhook-signature", signature.parse().expect("a value"));
        headers
    }
}
