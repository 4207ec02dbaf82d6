//! The carrier made of the npm package `smpp`: starts `npm_smpp.cjs` with node and speaks to it by lines of JSON.
//!
//! The package is not ours and is not kept here. It is looked for in the directory that `TIDINGS_TEST_PEERS` names, or
//! in `target/peers` of the workspace; `npm install --prefix target/peers smpp` puts it there.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::peer::{HANG, Peer, QUEUE};

/// The word for it in `TIDINGS_TEST_REQUIRE`.
pub const WORD: &str = "npm-smpp";

#[derive(Deserialize)]
struct Listening {
    port: u16,
    version: String,
}

fn place() -> PathBuf {
    std::env::var_os("TIDINGS_TEST_PEERS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers"), PathBuf::from)
}

/// Starts it.
///
/// # Errors
/// Why it cannot be here: no node, or no package.
pub async fn start() -> Result<Peer, String> {
    let place = place();
    if !place.join("node_modules/smpp/package.json").exists() {
        return Err(format!(
            "there is no node_modules/smpp in {}: npm install --prefix target/peers smpp",
            place.display()
        ));
    }
    let mut node = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strangers/npm_smpp.cjs"))
        .arg(&place)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("node does not start: {error}"))?;
    let mut input = node.stdin.take().expect("it is piped");
    let mut lines = BufReader::new(node.stdout.take().expect("it is piped")).lines();
    let first =
        timeout(HANG, lines.next_line()).await.expect("node says nothing").expect("node's lines are UTF-8");
    let first = first.expect("node ended at once; its words are on standard error");
    let Listening { port, version } =
        serde_json::from_str(&first).expect("the first line says where it listens");

    let (tell, told) = mpsc::channel(QUEUE);
    let (wishes, mut wanted) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            let what = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error} in {line}"));
            if tell.send(what).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Some(wish) = wanted.recv().await {
            let mut line = serde_json::to_vec(&wish).expect("a wish is JSON");
            line.push(b'\n');
            if input.write_all(&line).await.is_err() {
                return;
            }
        }
    });
    Ok(Peer::new(format!("npm smpp {version}"), port, told, wishes, node))
}
