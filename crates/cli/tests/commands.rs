//! The operator's commands on a store that nobody serves: what they print as JSON, and how they end.

#![allow(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::path::Path;
use std::process::{Command, Output};

fn tidings(arguments: &[&str], data: &Path) -> Output {
    // Where no configuration is; the address of a database lies nowhere.
    let elsewhere = data.parent().filter(|parent| parent.is_dir()).unwrap_or(Path::new("/"));
    Command::new(env!("CARGO_BIN_EXE_tidings"))
        .args(arguments)
        .arg("--data")
        .arg(data)
        .current_dir(elsewhere)
        .output()
        .expect("it starts")
}

fn json(arguments: &[&str], data: &Path) -> serde_json::Value {
    let output = tidings(&[arguments, &["--json"]].concat(), data);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

fn refused(arguments: &[&str], data: &Path, code: i32, part: &str) {
    let output = tidings(arguments, data);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
    assert!(words.contains(part), "{arguments:?}: {words}");
}

#[test]
fn a_store_is_made_cared_for_and_looked_at_without_a_server() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    refused(&["token", "list"], &data, 1, &format!("`tidings migrate --data {}`", data.display()));
    care_for(&data);
}

#[test]
fn a_store_in_postgresql_is_cared_for_by_the_same_commands() {
    let Some(cluster) = tidings_cluster::Cluster::here() else { return };
    let database = cluster.database();
    let data = std::path::PathBuf::from(database.url());
    refused(&["token", "list"], &data, 1, "is empty: run `tidings migrate`");
    assert_eq!(json_even_if_wrong(&["doctor"], &data)["well"], false);
    care_for(&data);
    refused(&["backup", "copy.db"], &data, 1, "use pg_basebackup");
    refused(&["restore", "copy.db"], &data, 1, "PostgreSQL restores its own backups");
    let nobody = Path::new("postgres://nobody@127.0.0.1:1/nothing");
    refused(&["token", "list"], nobody, 1, "127.0.0.1:1/nothing cannot be opened");
    refused(&["migrate"], nobody, 1, "127.0.0.1:1/nothing cannot be brought up to date");
}

/// What an operator does with a store that was not made yet.
fn care_for(data: &Path) {
    assert_eq!(json(&["migrate"], data)["applied"].as_array().map(Vec::is_empty), Some(false));
    assert_eq!(json(&["migrate"], data)["applied"], serde_json::json!([]));

    let token = json(&["token", "create", "--name", "shop", "--expires", "30d", "--rate", "60"], data);
    assert_eq!(token["scopes"], serde_json::json!(["messages.send", "messages.read"]));
    assert_eq!((token["environment"].as_str(), token["rate_per_minute"].as_u64()), (Some("test"), Some(60)));
    let (id, text) = (token["id"].as_str().unwrap(), token["token"].as_str().unwrap());
    assert!(text.starts_with("tid_test_"));
    let rotated = json(&["token", "rotate", id, "--overlap", "1h"], data);
    assert_eq!(rotated["prefix"], token["prefix"]);
    assert!(rotated["token"] != token["token"] && rotated["previous_secret_until"].is_string());
    assert!(json(&["token", "revoke", text], data)["revoked_at"].is_string());
    refused(&["token", "rotate", id], data, 1, "revoked already");
    assert_eq!(json(&["token", "list"], data), serde_json::json!([]));
    assert_eq!(json(&["token", "list", "--all"], data).as_array().unwrap().len(), 1);
    refused(&["token", "create", "--scope", "messages.sent"], data, 1, r#"did you mean "messages.send"?"#);
    refused(&["token", "create", "--expires", "soon"], data, 2, "90s, 15m, 12h or 30d");

    let endpoint = json(&["webhook", "add", "https://example.com/sms", "--event", "message.delivered"], data);
    assert!(endpoint["secret"].as_str().unwrap().starts_with("whsec_"));
    let id = endpoint["id"].as_str().unwrap();
    assert!(json(&["webhook", "list"], data)[0].get("secret").is_none());
    assert_ne!(json(&["webhook", "rotate", id], data)["secret"], endpoint["secret"]);
    assert_eq!(json(&["webhook", "attempts", id], data), serde_json::json!([]));
    json(&["webhook", "remove", id], data);
    refused(&["webhook", "remove", id], data, 1, "there is no");

    assert_eq!(json(&["suppression", "add", "+15550002222"], data)["reason"], "manual");
    assert_eq!(json(&["suppression", "list"], data)[0]["to"], "+1555•••••22");
    json(&["suppression", "lift", "+15550002222", "--reason", "asked again"], data);
    assert_eq!(json(&["suppression", "list"], data), serde_json::json!([]));

    assert_eq!(json(&["carrier", "pause", "simulator", "--reason", "tired"], data)["paused"], "tired");
    assert_eq!(json(&["carrier", "list"], data)[0]["paused"], "tired");
    let report = json_even_if_wrong(&["doctor"], data);
    assert_eq!(report["well"], false);
    json(&["carrier", "resume", "simulator"], data);
    refused(&["carrier", "pause", "simulatr"], data, 1, r#"did you mean "simulator"?"#);
    assert_eq!(json(&["review", "list"], data), serde_json::json!([]));
    assert_eq!(json(&["message", "list"], data), serde_json::json!([]));
    refused(&["message", "show", "msg_0000000000001"], data, 1, "there is no message");
    json(&["hold", "set"], data);
    assert!(json(&["hold", "show"], data)["held"].is_string());
    json(&["hold", "release"], data);
    let account = json(&["account", "create", "Second"], data);
    let second = account["id"].as_str().unwrap();
    assert_eq!(json(&["account", "list"], data).as_array().unwrap().len(), 2);
    json(&["token", "create", "--account", second], data);
    let trail = json(&["audit"], data);
    assert!(
        trail
            .as_array()
            .unwrap()
            .iter()
            .any(|line| line["action"] == "token.rotate" && line["who"] == "operator")
    );
    assert!(json(&["doctor"], data)["well"].as_bool().unwrap());
}

fn json_even_if_wrong(arguments: &[&str], data: &Path) -> serde_json::Value {
    let output = tidings(&[arguments, &["--json"]].concat(), data);
    assert_eq!(output.status.code(), Some(1));
    serde_json::from_slice(&output.stdout).expect("one JSON value")
}

/// A command with a configuration, in a shell that lacks the carrier's password.
#[test]
fn the_store_is_opened_without_the_secrets_of_carriers() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    let file = place.path().join("carrier.toml");
    let text = "[[connection]]\nname = \"north\"\nkind = \"smpp\"\naddress = \"smpp.example\"\nsystem_id = \"acme\"\npassword = \"env:NOBODY_SET_THIS\"\n";
    std::fs::write(&file, format!("[data]\ndirectory = {data:?}\n\n{text}")).expect("it can be written");
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(arguments)
            .arg("--config")
            .arg(&file)
            .current_dir(place.path())
            .output()
            .expect("it starts");
        let words = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8_lossy(&words).into_owned())
    };
    let (code, words) = run(&["token", "create"]);
    let cure = format!("make it with `tidings migrate --config {}`", file.display());
    assert!(code == Some(1) && words.contains(&cure), "{words}");
    for command in [
        &["migrate"][..],
        &["token", "create"],
        &["message", "list"],
        &["webhook", "add", "https://example.com/sms"],
        &["suppression", "list"],
        &["review", "list"],
        &["carrier", "list"],
        &["carrier", "pause", "north"],
        &["carrier", "resume", "north"],
        &["hold", "show"],
        &["account", "list"],
        &["audit"],
        &["backup", "copy.db"],
        &["config", "show"],
    ] {
        let (code, words) = run(command);
        assert_eq!(code, Some(0), "{command:?}: {words}");
    }
    for command in [&["serve"][..], &["config", "check"]] {
        let (code, words) = run(command);
        assert!(code == Some(2) && words.contains("NOBODY_SET_THIS, which is not set"), "{words}");
    }
    let (code, words) = run(&["doctor"]);
    assert_eq!((code, words.matches("NOBODY_SET_THIS").count()), (Some(1), 1), "{words}");
    assert!(words.contains("north (smpp, live): 0 wait"), "{words}");
}

/// The address of a database may stand in a file or a variable, and commands find it there; it is never shown.
#[test]
fn a_database_is_found_where_the_configuration_says_its_address_is() {
    let Some(cluster) = tidings_cluster::Cluster::here() else { return };
    let database = cluster.database();
    let url = database.url().replacen("postgres@", "postgres:hush@", 1);
    let place = tempfile::tempdir().expect("a directory");
    let (file, secret) = (place.path().join("tidings.toml"), place.path().join("database"));
    let run = |configuration: &str, arguments: &[&str], variables: &[(&str, &str)]| {
        std::fs::write(&file, configuration).expect("it can be written");
        let output = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(arguments)
            .envs(variables.iter().copied())
            .current_dir(place.path())
            .output()
            .expect("it starts");
        let words = [output.stdout, output.stderr].concat();
        let words = String::from_utf8_lossy(&words).into_owned();
        assert!(!words.contains("hush"), "{words}");
        (output.status.code(), words)
    };
    std::fs::write(&secret, format!("{url}\n")).expect("it can be written");
    for (configuration, variables) in [
        (format!("[data]\nurl = {url:?}\n"), vec![]),
        (format!("[data]\nurl_file = {secret:?}\n"), vec![]),
        ("[data]\nurl = \"env:DATABASE\"\n".to_owned(), vec![("DATABASE", url.as_str())]),
        (String::new(), vec![("TIDINGS_DATA__URL", url.as_str())]),
        (String::new(), vec![("TIDINGS_DATA", url.as_str())]),
    ] {
        for command in
            [&["migrate"][..], &["config", "check"], &["config", "show"], &["token", "list"], &["doctor"]]
        {
            let (code, words) = run(&configuration, command, &variables);
            assert_eq!(code, Some(0), "{command:?} {configuration}: {words}");
        }
    }
    for (configuration, sentence) in [
        ("[data]\nurl = \"env:DATABASE\"\n", "names the variable DATABASE, which is not set"),
        (
            "[data]\nurl = \"mysql://a:hush@db/x\"\n",
            r#"must be an address such as "postgres://user@host/database""#,
        ),
        ("[data]\nurl_file = \"/nowhere\"\n", "names the file /nowhere, which cannot be read"),
        (
            "[data]\nurl = \"postgres://a\"\nurl_file = \"/b\"\n",
            r#"and so does "url_file"; remove one of them"#,
        ),
        ("[data]\nurl = \"postgres://a:hush@b:port/c\"\n", "this is no address of a PostgreSQL database"),
    ] {
        let (code, words) = run(configuration, &["config", "check"], &[]);
        assert!(code == Some(2) && words.contains(sentence), "{configuration}: {words}");
        let (code, words) = run(configuration, &["token", "list"], &[]);
        assert!(code != Some(0) && !words.is_empty(), "{configuration}: {words}");
    }
}

#[test]
fn nobody_minds_a_closed_pipe() {
    for arguments in
        [&["completions", "bash"][..], &["config", "example"], &["simulate", "numbers"], &["token"]]
    {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let status = Command::new(env!("CARGO_BIN_EXE_tidings"))
            .args(arguments)
            .stdout(writer.try_clone().expect("another end"))
            .stderr(writer)
            .status()
            .expect("it starts");
        let expected = if arguments == ["token"] { 2 } else { 0 };
        assert_eq!(status.code(), Some(expected), "{arguments:?}");
    }
}

#[test]
fn wrong_configuration_ends_with_key_line_and_cure() {
    let place = tempfile::tempdir().expect("a directory");
    let data = place.path().join("data");
    let file = place.path().join("tidings.toml");
    std::fs::write(&file, "[http]\nlistn = \"127.0.0.1:0\"\n").expect("it can be written");
    for command in [&["config", "check"][..], &["serve"], &["config", "show"]] {
        refused(
            command,
            &data,
            2,
            r#"tidings.toml:2: key "listn" is not known in [http]; did you mean "listen"? Rename it"#,
        );
    }
    std::fs::write(&file, "[http]\nlisten = \"127.0.0.1:0\"\n").expect("it can be written");
    assert_eq!(json(&["config", "check"], &data)["right"], true);
    assert_eq!(json(&["config", "show"], &data)["http"]["listen"], "127.0.0.1:0");
    std::fs::remove_file(&file).expect("it is there");
    refused(&["serve"], &data, 2, "there is no tidings.toml");
}
