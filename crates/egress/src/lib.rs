//! The only way out: every HTTP request that leaves the process goes through this crate.
//!
//! Customers choose the addresses of their webhooks, so this process connects where strangers tell it to. Three
//! things keep that safe, in this order: a URL is parsed once and strictly into a [`Target`]; a name is resolved by
//! us and refused if *any* of its addresses isn't public; the connection goes to exactly the address that was
//! judged, so a second, different answer of the resolver (rebinding) has no effect. Redirects are never followed,
//! proxies are never taken from the environment, and time, size and number of everything are bounded.
//!
//! Connections are kept and used again; a request on a kept one costs no resolving, no handshake and no TLS set-up.
//!
//! It does not sign, retry or store: those belong to the rooms that send. It speaks HTTP/1.1 only, decodes no
//! content encoding, keeps no cookies, and cannot send through an outbound proxy.

mod address;
mod client;
mod connection;
mod policy;
mod pool;
mod resolver;
mod target;

pub use address::{NotPublic, is_public, judge};
pub use client::{
    Client, InvalidCertificates, Limits, Method, Phase, Request, Response, SendError, TlsProblem,
    certificates_from_pem,
};
pub use policy::{Block, InvalidBlock, Policy, Ports, STRICT_PORTS};
pub use resolver::{Addresses, Resolver, SystemResolver};
pub use target::{Host, RefusedTarget, Scheme, Target, URL_BYTES_MAX};

pub use bytes::Bytes;
pub use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
pub use rustls::pki_types::CertificateDer;
