//! What the program says about itself: health, metrics, its description, and pages for people.
//!
//! Pages come from the program alone: the content security policy names no other origin, and they work without the
//! internet.

use crate::ask::{Answer, Ask, json};
use crate::problem::{Problem, raw};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;
use serde_json::json as value;
use std::fmt::Write as _;
use std::sync::{Arc, LazyLock};
use tidings_wire::error::Code;

const CSP: HeaderName = header::CONTENT_SECURITY_POLICY;
/// For pages of ours: no script, no other origin, their one style sheet inline.
const CSP_PAGE: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// For the API browser: its scripts and styles are served from here; it sets styles and pictures by script.
const CSP_DOCS: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
     img-src 'self' data:; font-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
     frame-ancestors 'none'";

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem}\
     code{background:#8882;padding:.1em .3em;border-radius:3px}:root{color-scheme:light dark}";

pub(crate) async fn live(_: Ask) -> Answer {
    Ok(raw(200, "text/plain; charset=utf-8", "live\n"))
}

pub(crate) async fn ready(ask: Ask) -> Answer {
    let health = ask.app.engine.health().await;
    let parts: Vec<_> = health
        .parts
        .iter()
        .map(|(name, well, sentence)| value!({ "name": name, "well": well, "detail": sentence }))
        .collect();
    json(if health.ready { 200 } else { 503 }, &value!({ "ready": health.ready, "parts": parts }))
}

pub(crate) async fn metrics(ask: Ask) -> Answer {
    if !ask.app.settings.metrics_open && !ask.address.to_canonical().is_loopback() {
        let detail = "Metrics are shown to this machine only, unless the configuration opens them.";
        return Err(Problem::new(Code::Forbidden, detail));
    }
    let text = ask.app.engine.metrics().await;
    Ok(raw(200, "application/openmetrics-text; version=1.0.0; charset=utf-8", text))
}

pub(crate) async fn openapi(_: Ask) -> Answer {
    static TEXT: LazyLock<String> = LazyLock::new(crate::openapi::text);
    Ok(raw(200, "application/json", TEXT.as_str()))
}

pub(crate) async fn docs(ask: Ask) -> Answer {
    browser(if ask.path.ends_with("{file}") { ask.part("file") } else { "" })
}

/// A file of the API browser.
fn browser(file: &str) -> Answer {
    if file.is_empty() {
        // The page names its files relative to itself, so it needs the slash.
        let page = utoipa_swagger_ui::serve("index.html", settings()).ok().flatten();
        let page = page.ok_or_else(Problem::not_found)?;
        let text = String::from_utf8_lossy(&page.bytes).replace("=\"./", "=\"/docs/");
        let text = text.replace("href=\"index.css", "href=\"/docs/index.css");
        return Ok(with(raw(200, "text/html; charset=utf-8", text), CSP_DOCS));
    }
    let found = utoipa_swagger_ui::serve(file, settings()).ok().flatten().ok_or_else(Problem::not_found)?;
    let kind = HeaderValue::from_str(&found.content_type);
    let mut response = with(raw(200, "text/plain", found.bytes.into_owned()), CSP_DOCS);
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream")));
    if found.gzpipped {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

fn settings() -> Arc<utoipa_swagger_ui::Config<'static>> {
    static SETTINGS: LazyLock<Arc<utoipa_swagger_ui::Config<'static>>> =
        LazyLock::new(|| Arc::new(utoipa_swagger_ui::Config::from("/openapi.json")));
    Arc::clone(&SETTINGS)
}

pub(crate) async fn root(_: Ask) -> Answer {
    page(
        "Tidings",
        "<h1>Tidings</h1><p>This server sends text messages for programs.</p><ul>\
         <li><a href=\"/docs\">The API, to read and to try</a></li>\
         <li><a href=\"/openapi.json\">The same for machines</a></li>\
         <li><a href=\"/errors\">Error codes</a></li>\
         <li><a href=\"/readyz\">How the server is</a></li></ul>",
    )
}

pub(crate) async fn errors(_: Ask) -> Answer {
    let mut body = String::from("<h1>Error codes</h1><ul>");
    for code in Code::ALL {
        let (word, title) = (code.as_str(), escape(code.title()));
        write!(body, "<li><a href=\"/errors/{word}\"><code>{word}</code></a> {title}</li>")
            .expect("a string takes everything");
    }
    body.push_str("</ul>");
    page("Error codes", &body)
}

pub(crate) async fn error(ask: Ask) -> Answer {
    let code = Code::parse(ask.part("code")).ok_or_else(Problem::not_found)?;
    let status = format!("<p>{} · usual status {}</p>", escape(code.title()), code.status());
    let body = render(code.page()).replacen("</h1>", &format!("</h1>{status}"), 1);
    page(code.as_str(), &format!("{body}<p><a href=\"/errors\">All error codes</a></p>"))
}

fn page(title: &str, body: &str) -> Answer {
    let text = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{}</title><style>{STYLE}</style></head>\
         <body>{body}</body></html>",
        escape(title)
    );
    Ok(with(raw(200, "text/html; charset=utf-8", text), CSP_PAGE))
}

fn with(mut response: Response, policy: &'static str) -> Response {
    response.headers_mut().insert(CSP, HeaderValue::from_static(policy));
    response
}

/// The little Markdown of the error pages as HTML: headings, paragraphs, lists, code.
fn render(markdown: &str) -> String {
    let mut html = String::new();
    for block in markdown.split("\n\n").map(str::trim).filter(|block| !block.is_empty()) {
        let heading = block.chars().take_while(|c| *c == '#').count();
        if (1..=3).contains(&heading) {
            let text = inline(block[heading..].trim());
            write!(html, "<h{heading}>{text}</h{heading}>").expect("a string takes everything");
        } else if block.starts_with("- ") {
            html.push_str("<ul>");
            for item in block.split("\n- ") {
                let item = inline(item.trim_start_matches("- "));
                write!(html, "<li>{item}</li>").expect("a string takes everything");
            }
            html.push_str("</ul>");
        } else {
            write!(html, "<p>{}</p>", inline(block)).expect("a string takes everything");
        }
    }
    html
}

fn inline(text: &str) -> String {
    let parts = text.split('`').enumerate();
    parts
        .map(|(place, part)| match place % 2 {
            0 => escape(part),
            _ => format!("<code>{}</code>", escape(part)),
        })
        .collect()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_rendered_and_nothing_in_it_is_html() {
        let html = render("# A\n\nText `<b>` & <script>.\n\n- one\n- two `x`\n");
        assert_eq!(
            html,
            "<h1>A</h1><p>Text <code>&lt;b&gt;</code> &amp; &lt;script&gt;.</p>\
             <ul><li>one</li><li>two <code>x</code></li></ul>"
        );
        for code in Code::ALL {
            assert!(render(code.page()).contains("<h2>"), "{}", code.as_str());
        }
    }

    #[test]
    fn the_api_browser_needs_nothing_from_elsewhere() {
        let page = utoipa_swagger_ui::serve("index.html", settings()).unwrap().unwrap();
        let text = String::from_utf8_lossy(&page.bytes).into_owned();
        assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("//cdn"), "{text}");
        for file in text.split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
            let file = file.trim_start_matches("./");
            assert!(utoipa_swagger_ui::serve(file, settings()).unwrap().is_some(), "{file}");
        }
        let script_inline = text.split("<script").skip(1).any(|part| !part.starts_with(" src="));
        assert!(!script_inline, "{text}");
    }
}
