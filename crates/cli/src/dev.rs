//! `tidings dev`: everything on one machine, at once, to try with. SQLite in one directory, the simulated carrier, a
//! viewer that receives webhooks, fresh tokens, and lines to paste.

use crate::config::Config;
use crate::config::connection::{Connection, Secrets};
use crate::config::key::Whole;
use crate::config::section::{LogFormat, LogLevel};
use crate::directory;
use crate::home::Home;
use crate::log;
use crate::operator::{self, DEV_DIRECTORY, Misconfigured, Place};
use crate::output::{Output, Tone};
use crate::serve;
use crate::signal::Signals;
use crate::token::{self, Wanted};
use crate::viewer;
use anyhow::{Context, bail};
use clap::Args;
use serde_json::json;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tidings_domain::account::{Environment, Realm, Scopes};
use tidings_egress::Policy;
use tidings_engine::Engine;
use tidings_store::Actor;
use tidings_store::postgres::Postgres;
use tokio::net::TcpListener;

/// Where it listens if nothing else is said, and how many further ports are tried.
const PORT: u16 = 8080;
const PORTS_TRIED: u16 = 20;
/// Names of the tokens that are made at each start; those of the start before are revoked.
const NAMES: [&str; 2] = ["dev", "dev admin"];

/// Room that is kept for a full disk: MiB. There is little under way here.
const RESERVE_MIB: i64 = 4;

/// How to try.
#[derive(Debug, Args)]
pub struct How {
    /// Where the API listens [default: 127.0.0.1:8080, or the next free port]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Forget everything that an earlier `dev` left in the data directory
    #[arg(long)]
    fresh: bool,
    /// A file that people send: who is written to at +15559920001 answers with the first one. May be given several times
    #[arg(long, value_name = "FILE")]
    media: Vec<PathBuf>,
}

/// Serves until it is asked to stop.
///
/// # Errors
/// A sentence that says why it cannot.
pub async fn run(how: How, place: &Place, verbose: u8, output: Output) -> anyhow::Result<()> {
    log::start(LogFormat::Auto, LogLevel::Warn.louder(verbose));
    serve::raise_file_limit();
    let Tried { config, left } = configuration(place, how.media)?;
    let home = home(place)?;
    match &home {
        Home::Directory(data) => {
            if how.fresh {
                directory::remove_of_dev(data)?;
            }
            directory::make_for_dev(data)?;
        }
        Home::Database(_) if how.fresh => {
            bail!(
                "--fresh removes a data directory and no database: make a new one and name that with --data"
            )
        }
        Home::Database(options) => {
            Postgres::migrate(options)
                .await
                .with_context(|| format!("the database {home} cannot be used"))?;
        }
    }
    let served = home.take(None)?;
    let (listener, moved) = listen(how.listen).await?;
    let address = reachable(listener.local_addr()?);
    served.as_ref().map_or(Ok(()), |served| served.answers_at(address))?;
    let viewer = viewer_listener(address, how.listen).await?;
    let viewer_url = format!("http://{}", viewer.local_addr()?);

    let node = serve::node(&config, served.as_ref(), config.node.roles.0);
    let store = home.serve(&config, served.as_ref())?;
    let journal = serve::journal(&config, served.as_ref());
    let key = serve::code_key(&config, &home)?;
    let signals = Signals::hear()?;
    let engine = serve::start(&config, store, Policy::development(), node, journal, key).await?;
    let realm = Realm { account: engine.default_account(), environment: Environment::Test };
    let (sms, admin) = tokens(&engine, realm).await?;
    let events = viewer::start(&engine, realm, viewer, &viewer_url).await?;

    let url = format!("http://{address}");
    let value = json!({
        "address": url,
        "tokens": { "sms": sms, "admin": admin },
        "data": home.to_string(),
        "viewer": viewer_url,
        "environment": "test",
        "connections_not_used": left,
        "pid": std::process::id(),
    });
    let held = engine.store().hold().await?;
    output.show(&value, || {
        let mut text = greeting(output, &url, &sms, &viewer_url, &home);
        if let Some(taken) = moved {
            text.push_str(&format!("\n\n{taken} was taken: this is the next free port."));
        }
        if !left.is_empty() {
            let left = left.join(", ");
            text.push_str(&format!(
                "\n\nNot used here: the connections of the configuration ({left}). `tidings serve` uses them."
            ));
        }
        if let Some(why) = held {
            text.push_str(&format!("\n\nNothing is sent: {why}. Let it go with `tidings hold release`."));
        }
        text
    })?;
    let api = tidings_api::Settings { public_url: url, ..serve::api_settings(&config) };
    serve::until_stopped(engine, listener, api, signals).await?;
    events.abort();
    drop(served);
    Ok(())
}

/// What is tried, and the names of the connections that are left alone.
struct Tried {
    config: Config,
    left: Vec<String>,
}

/// What the file decides about messages, on the simulated carrier alone and with files of its own: what is tried must reach
/// nobody, and leave nothing beside what is in service.
fn configuration(place: &Place, media: Vec<PathBuf>) -> anyhow::Result<Tried> {
    let own = Config::defaults(&operator::variables()).map_err(Misconfigured)?;
    let mut config = place.configuration(Secrets::Left)?;
    let left = config.connections.iter().map(|connection| connection.name.clone()).collect();
    (config.data, config.node, config.journal, config.connections) =
        (own.data, own.node, own.journal, own.connections);
    if !media.is_empty() {
        config.connections.push(Connection::simulator(media));
    }
    config.codes.key_file = own.codes.key_file;
    config.data.reserve_mib = Whole::new(RESERVE_MIB);
    Ok(Tried { config, left })
}

/// The directory or database that was named, else one for it alone.
fn home(place: &Place) -> anyhow::Result<Home> {
    Ok(match Home::named(place.data.as_deref().unwrap_or(Path::new(DEV_DIRECTORY)))? {
        Home::Directory(path) => Home::Directory(std::path::absolute(&path).unwrap_or(path)),
        database @ Home::Database(_) => database,
    })
}

/// The listener, and the address that was taken if another one had to be used.
async fn listen(wanted: Option<SocketAddr>) -> anyhow::Result<(TcpListener, Option<SocketAddr>)> {
    if let Some(address) = wanted {
        let listener = TcpListener::bind(address).await;
        return Ok((
            listener.with_context(|| format!("nothing can listen on {address}: choose another --listen"))?,
            None,
        ));
    }
    let first = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    for port in PORT..=PORT + PORTS_TRIED {
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok((listener, (port != PORT).then_some(first)));
        }
    }
    bail!("the ports {PORT} to {} are all taken: choose one with --listen", PORT + PORTS_TRIED)
}

/// The viewer's listener: the port above the API's, or any.
async fn viewer_listener(api: SocketAddr, wanted: Option<SocketAddr>) -> anyhow::Result<TcpListener> {
    let beside =
        if wanted.is_some_and(|wanted| wanted.port() == 0) { 0 } else { api.port().saturating_add(1) };
    match TcpListener::bind((Ipv4Addr::LOCALHOST, beside)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no port is free for the webhook viewer"),
    }
}

/// The address to paste: one that listens everywhere is reached on this machine.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Fresh tokens: one that sends and reads messages, and one that may do everything. Those of the last start end.
async fn tokens(engine: &Engine, realm: Realm) -> anyhow::Result<(String, String)> {
    let (store, clock) = (engine.store(), engine.clock());
    let actor = Actor { account: realm.account, who: "operator".to_owned() };
    let now = clock.now();
    for mut old in store.tokens(realm.account, Some(Environment::Test)).await? {
        if NAMES.contains(&old.name.as_str()) && old.revoked_at.is_none() {
            old.revoked_at = Some(now);
            store.update_token(old, "token.revoke", actor.clone(), now).await?;
        }
    }
    let mut texts = Vec::with_capacity(2);
    for (name, scopes) in NAMES.into_iter().zip([Scopes::SMS_ONLY, token::all_scopes()]) {
        let wanted = Wanted { name: name.to_owned(), scopes, expires_s: None, rate_per_minute: None };
        let (record, text) = token::mint(clock, realm, wanted);
        store.create_token(record, actor.clone()).await?;
        texts.push(text);
    }
    let admin = texts.pop().context("two tokens were made")?;
    let sms = texts.pop().context("two tokens were made")?;
    Ok((sms, admin))
}

fn greeting(output: Output, url: &str, token: &str, viewer: &str, home: &Home) -> String {
    let faint = |text: &str| output.tone(Tone::Faint, text);
    // The address of a database may hold a password.
    let data = match home {
        Home::Directory(path) => path.display().to_string(),
        Home::Database(_) => "ADDRESS".to_owned(),
    };
    let lines: Vec<String> = paste(url, token)
        .into_iter()
        .map(|(language, line)| format!("{}\n{line}", faint(language)))
        .collect();
    format!(
        "{}\n\n\
         API       {}\n\
         token     {}\n          {}\n\
         webhooks  {viewer}  {}\n\
         data      {home}\n\n\
         {}\n\n\
         {}\n\
         tidings message show ID --data {data}\n\
         tidings simulate numbers            {}\n\
         tidings token create --scope all --data {data}",
        output.tone(Tone::Strong, "Tidings runs, with a simulated carrier: nothing reaches a phone."),
        output.tone(Tone::Strong, url),
        output.tone(Tone::Strong, token),
        faint("sends and reads messages of the test environment; a new one at each start"),
        faint("shows what your endpoint would be told"),
        lines.join("\n\n"),
        faint("Then, in another terminal:"),
        faint("recipients that fail, wait or answer"),
    )
}

/// Lines that send a message as they are.
fn paste(url: &str, token: &str) -> [(&'static str, String); 4] {
    let body = r#"{"from":"+15550001111","to":"+15550002222","message":"Hello from Tidings"}"#;
    let fields = r#""from"=>"+15550001111","to"=>"+15550002222","message"=>"Hello from Tidings""#;
    [
        (
            "curl",
            format!(
                "curl {url}/v1/sms -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' -d '{body}'"
            ),
        ),
        (
            "Python",
            format!(
                r#"python3 -c 'import json,urllib.request as u; print(u.urlopen(u.Request("{url}/v1/sms",json.dumps({body}).encode(),{{"Authorization":"Bearer {token}","Content-Type":"application/json"}})).read().decode())'"#
            ),
        ),
        (
            "Node.js",
            format!(
                r#"node -e 'fetch("{url}/v1/sms",{{method:"POST",headers:{{Authorization:"Bearer {token}","Content-Type":"application/json"}},body:JSON.stringify({body})}}).then(r=>r.text()).then(console.log)'"#
            ),
        ),
        (
            "PHP",
            format!(
                r#"php -r 'echo file_get_contents("{url}/v1/sms",false,stream_context_create(["http"=>["method"=>"POST","header"=>"Authorization: Bearer {token}\r\nContent-Type: application/json","content"=>json_encode([{fields}]),"ignore_errors"=>true]])),"\n";'"#
            ),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pasted_lines_survive_a_shell() {
        for (language, line) in paste("http://127.0.0.1:8080", "tid_test_x") {
            assert_eq!(line.matches('\'').count() % 2, 0, "{language}");
            assert!(
                line.contains("http://127.0.0.1:8080/v1/sms") && line.contains("Bearer tid_test_x"),
                "{language}: {line}"
            );
            assert!(!line.contains('\n'), "{language}");
        }
    }

    #[test]
    fn an_address_that_listens_everywhere_is_reached_here() {
        for (address, expected) in
            [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80"), ("10.0.0.1:80", "10.0.0.1:80")]
        {
            assert_eq!(reachable(address.parse().unwrap()).to_string(), expected);
        }
    }
}
