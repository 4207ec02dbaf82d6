//! Connections: the keys that all carriers share, and the rest handed to the carrier's own settings.
//!
//! A carrier's keys are defined with the carrier, in `tidings_carriers`; here they are only found, given their
//! secrets, and complained of with their line. Which carriers there are is not known here, but for the one rule that
//! the simulator belongs to the test environment, and of the others only what runs on this machine may.

use super::key::{self, KeyDescription, Rate, Reader, Section, Shown, Table, cure, section};
use super::list;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tidings_carriers::list::{KINDS, Settings, text_options};
use tidings_carriers::simulator;
use tidings_domain::account::Environment;
use toml::Value;
use toml::de::{DeTable, DeValue};

/// Keys of carriers whose values are secrets: they may be `env:NAME`, or stand in a file named by `…_file`.
const SECRETS: [&str; 1] = ["password"];
/// The longest secret that is read from a file: octets. A larger file is not a secret.
const SECRET_MAX: u64 = 64 * 1024;
/// The kind that belongs to the test environment.
const SIMULATOR: &str = "simulator";

/// Whether secrets are fetched from where the configuration says they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secrets {
    /// They are: links are about to be opened, or somebody asks whether they could be.
    Fetched,
    /// They are not, and carriers' settings are not tried out: nothing is opened but the store, perhaps by somebody
    /// who must not know them.
    Left,
}

section! {
    /// A connection to a carrier. Write the section once for each. A message goes to the connection whose prefix
    /// fits its recipient best; among equals the first one counts.
    /// While none is written for the test environment, that has one named "simulator".
    Common = "connection" {
        /// Its name: small letters, digits and dashes. Keep it: what waits in its queue belongs to the name.
        name: String = String::new(), example r#""north""#;
        /// Whose messages it takes: live for real carriers, test for simulators. Need not be written, but for an
        /// SMPP server on this machine that is only pretended, such as `tidings simulate smsc`: test.
        environment: Option<Environment> = None, example r#""live""#;
        /// Segments per second that the carrier agreed to. Without limit if this is not written.
        pace_per_s: Option<Rate> = None, example "20";
        /// Beginnings of recipients' numbers, without +. Empty: those that no other connection asks for.
        prefixes: Vec<String> = Vec::new(), example r#"["46", "47"]"#;
        /// Senders that this carrier lets you use. Empty: any.
        senders: Vec<String> = Vec::new(), example r#"["+46701234567", "Tidings"]"#;
        /// Whether people who write STOP, START or HELP to it are answered as [replies] says. Not, if the carrier answers
        /// them by itself.
        replies: bool = true;
        /// What its carrier is called, where several connections lead to one: those that fit a message equally well share
        /// what there is to send, and a receipt that comes on one is looked for on the others too. With several nodes, each of
        /// them sends what it accepted on the connection that it has. Small letters, digits and dashes.
        carrier: Option<String> = None, example r#""north""#;
    }
}

impl list::Listed for Common {
    const MANY: &'static str = "connections";
    const NAME_KEY: &'static str = "name";
    /// The keys of its carrier.
    const HAS_REST: bool = true;
}

/// A connection to a carrier.
#[derive(Debug, Clone)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Its environment.
    pub environment: Environment,
    /// Segments per second.
    pub pace_per_s: Option<f64>,
    /// Beginnings of recipients' numbers.
    pub prefixes: Vec<String>,
    /// Senders that may be used.
    pub senders: Vec<String>,
    /// Whether people who ask by text are answered by us.
    pub replies: bool,
    /// What its carrier is called, if several lead to it.
    pub of_carrier: Option<String>,
    /// The carrier's own settings.
    pub carrier: Settings,
    common: Shown,
    written: toml::Table,
}

impl Connection {
    /// The simulator that the test environment has while none is written, with files that its people send.
    pub fn simulator(media: Vec<PathBuf>) -> Self {
        let common = Common {
            name: tidings_engine::SIMULATOR.to_owned(),
            environment: Some(Environment::Test),
            pace_per_s: None,
            prefixes: Vec::new(),
            senders: Vec::new(),
            replies: true,
            carrier: None,
        };
        Self {
            environment: Environment::Test,
            pace_per_s: None,
            common: common.show(),
            name: common.name,
            prefixes: common.prefixes,
            senders: common.senders,
            replies: common.replies,
            of_carrier: None,
            carrier: Settings::Simulator(Box::new(simulator::Settings { media, ..Default::default() })),
            written: toml::Table::new(),
        }
    }

    /// Prints it as it was written, secrets masked.
    pub fn print(&self, text: &mut String) {
        key::print_keys(text, "[[connection]]", &self.common);
        let (tables, values): (Vec<_>, Vec<_>) = self.written.iter().partition(|(_, value)| value.is_table());
        for (key, value) in values.into_iter().chain(tables) {
            let value =
                if SECRETS.contains(&key.as_str()) { Value::from("•••") } else { value.clone() };
            let _ = writeln!(text, "{key} = {}", inline(&value));
        }
    }

    /// Whether both bind as one account of one carrier, which may give a receipt to either, and nobody said so.
    pub fn shares_account(&self, other: &Self) -> bool {
        if self.shares_carrier(other.environment, other.of_carrier.as_deref()) {
            return false;
        }
        match (&self.carrier, &other.carrier) {
            (Settings::Smpp(one), Settings::Smpp(two)) => {
                one.address.eq_ignore_ascii_case(&two.address) && one.system_id == two.system_id
            }
            _ => false,
        }
    }

    /// Which keys differ from another connection's, though one carrier has both: what only one of them takes, or knows
    /// again, is without the other.
    pub fn differs_from_equal(&self, other: &Self) -> Vec<&'static str> {
        if !self.shares_carrier(other.environment, other.of_carrier.as_deref()) {
            return Vec::new();
        }
        let knows_otherwise = match (&self.carrier, &other.carrier) {
            (Settings::Smpp(one), Settings::Smpp(two)) => one.receipt_id != two.receipt_id,
            // Only SMPP has the key.
            _ => false,
        };
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        let differ = [
            ("prefixes", sorted(&self.prefixes) != sorted(&other.prefixes)),
            ("senders", sorted(&self.senders) != sorted(&other.senders)),
            ("receipt_id", knows_otherwise),
        ];
        differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
    }

    /// Whether it is said to lead to this carrier.
    fn shares_carrier(&self, environment: Environment, carrier: Option<&str>) -> bool {
        self.environment == environment && carrier.is_some() && self.of_carrier.as_deref() == carrier
    }

    /// Whether messages from a sender go out on it, whoever they are to.
    pub fn takes(&self, sender: &str) -> bool {
        self.senders.is_empty() || self.senders.iter().any(|known| known == sender)
    }

    /// Its address, if that names no port.
    pub fn without_port(&self) -> Option<&str> {
        let Settings::Smpp(settings) = &self.carrier else { return None };
        host(&settings.address).is_none().then_some(&settings.address)
    }

    /// Whether a key of the carrier was written.
    pub fn has(&self, key: &str) -> bool {
        self.written.contains_key(key)
    }
}

/// A value on one line.
fn inline(value: &Value) -> String {
    match value {
        Value::Table(table) => {
            let items: Vec<String> =
                table.iter().map(|(key, value)| format!("{} = {}", bare(key), inline(value))).collect();
            format!("{{ {} }}", items.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_' || c == b'-');
    if plain { key.to_owned() } else { Value::from(key).to_string() }
}

/// Reads all of them.
pub fn read<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>, secrets: Secrets) -> Vec<Connection> {
    let mut names: Vec<String> = Vec::new();
    let mut connections = Vec::new();
    list::each(reader, root, |reader, table, common: Common| {
        check_name(reader, table, &common.name, &names);
        names.push(common.name.clone());
        let Some((written, carrier)) = carrier(reader, table, secrets) else { return };
        let environment = environment(reader, table, &carrier, common.environment);
        check_routing(reader, table, &common, environment);
        if let Some(wrong) = wrong_carrier(&common, environment, &carrier, &connections) {
            reader.complain_of(table, "carrier", wrong);
        }
        if environment == Environment::Live && secrets == Secrets::Fetched {
            check_password(reader, table, &carrier);
        }
        connections.push(Connection {
            environment,
            pace_per_s: common.pace_per_s.map(|Rate(rate)| rate),
            common: common.show(),
            name: common.name,
            prefixes: common.prefixes,
            senders: common.senders.iter().map(|text| printed(text, environment)).collect(),
            replies: common.replies,
            of_carrier: common.carrier,
            carrier,
            written,
        });
    });
    connections
}

/// A sender as routing compares it, however it is written.
fn printed(text: &str, environment: Environment) -> String {
    let sender = tidings_domain::sender::Sender::parse(text, None, environment);
    sender.map_or_else(|_| text.to_owned(), |sender| sender.to_string())
}

fn check_name(reader: &mut Reader<'_>, table: &Table<'_>, name: &str, before: &[String]) {
    let wrong = if name.is_empty() && !reader.is_written(table, "name") {
        r#"is missing; name the connection, such as name = "north""#
    } else if !is_name(name) {
        NO_NAME
    } else if before.iter().any(|other| other == name) {
        "is used twice; give each connection a name of its own"
    } else if name == tidings_engine::SIMULATOR {
        "is the name of the simulator that the test environment has while no connection is written for it; rename it"
    } else {
        return;
    };
    reader.complain_of(table, "name", wrong.to_owned());
}

/// What is wrong with the carrier that a connection is said to lead to, after those before it.
fn wrong_carrier(
    common: &Common,
    environment: Environment,
    settings: &Settings,
    before: &[Connection],
) -> Option<String> {
    let name = common.carrier.as_deref()?;
    if !is_name(name) {
        return Some(NO_NAME.to_owned());
    }
    let other = before.iter().find(|one| one.shares_carrier(environment, Some(name)))?;
    let (ours, theirs) = (text_options(settings), text_options(&other.carrier));
    let differ = [
        (r#""replies""#, other.replies != common.replies),
        (r#""concatenation""#, ours.concatenation != theirs.concatenation),
        (r#""single_shift""#, ours.single_shift != theirs.single_shift),
        (r#""locking_shift""#, ours.locking_shift != theirs.locking_shift),
    ];
    let differ: Vec<&str> = differ.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect();
    (!differ.is_empty()).then(|| {
        let (first, keys) = (&other.name, differ.join(" and "));
        format!(r#"is "{name}", as of "{first}", and they differ in {keys}; make that the same, or name another carrier"#)
    })
}

const NO_NAME: &str = "must be small letters, digits and dashes, at most 40; rename it";

/// Whether a text can be the name of a connection or of a carrier.
fn is_name(name: &str) -> bool {
    let plain = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    plain && (1..=40).contains(&name.len())
}

fn check_routing(reader: &mut Reader<'_>, table: &Table<'_>, common: &Common, environment: Environment) {
    for prefix in &common.prefixes {
        if prefix.is_empty() || prefix.len() > 15 || !prefix.bytes().all(|c| c.is_ascii_digit()) {
            let wrong = format!(
                r#"has "{prefix}", which is not the beginning of a number; write digits without +, such as "46""#
            );
            reader.complain_of(table, "prefixes", wrong);
        }
    }
    for sender in &common.senders {
        if let Err(why) = tidings_domain::sender::Sender::parse(sender, None, environment) {
            reader.complain_of(
                table,
                "senders",
                format!(r#"has "{sender}", which cannot be a sender: {why}; correct or remove it"#),
            );
        }
    }
}

/// Passwords that stand in documents: that of the pretended carrier, and those that are meant to be replaced.
const SAMPLES: [&str; 7] = ["tidings", "password", "passwd", "secret", "changeme", "change-me", "example"];

/// Live messages are not entrusted to an account that anybody can guess. A carrier on this machine is a pretended one.
fn check_password(reader: &mut Reader<'_>, table: &Table<'_>, carrier: &Settings) {
    let Settings::Smpp(settings) = carrier else { return };
    let password = settings.password.0.to_lowercase();
    if on_this_machine(carrier) || !(password.is_empty() || SAMPLES.contains(&password.as_str())) {
        return;
    }
    let wrong = "is empty or one that stands in documents, and the connection is live; write the account's own, and \
                 have the carrier change it if it really is this one";
    reader.complain_of(table, "password", wrong.to_owned());
}

fn environment(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    carrier: &Settings,
    written: Option<Environment>,
) -> Environment {
    let simulator = carrier.kind() == SIMULATOR;
    match written {
        Some(Environment::Live) if simulator => {
            let wrong = r#"is "live", but the simulator delivers to nobody; remove the connection, or set environment = "test""#;
            reader.complain_of(table, "environment", wrong.to_owned());
        }
        Some(Environment::Test) if !simulator && !on_this_machine(carrier) => {
            let wrong = r#"is "test", but the test environment never reaches a real carrier; only one on this machine, such as `tidings simulate smsc`: set environment = "live", or an address such as "127.0.0.1:2775""#;
            reader.complain_of(table, "environment", wrong.to_owned());
        }
        Some(Environment::Test) => return Environment::Test,
        Some(Environment::Live) | None => {}
    }
    if simulator { Environment::Test } else { Environment::Live }
}

/// Whether the carrier's address is one of loopback, as it is written: a name that is only said to lead there is not
/// asked for, since its answer may change.
fn on_this_machine(carrier: &Settings) -> bool {
    let Settings::Smpp(settings) = carrier else { return false };
    let address = settings.address.as_str();
    let host = host(address).unwrap_or(address);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// What stands before the port, if there is one. As the carrier itself takes it apart: what has several colons and no brackets
/// is an address without a port.
fn host(address: &str) -> Option<&str> {
    let (host, _) = address.rsplit_once(':')?;
    (!host.contains(':') || host.starts_with('[')).then_some(host)
}

/// The carrier's own keys as they were written, its kind among them, and the settings.
fn carrier<'a>(
    reader: &mut Reader<'a>,
    table: &Table<'a>,
    secrets: Secrets,
) -> Option<(toml::Table, Settings)> {
    let header = &table.header;
    let rest = reader.rest(table);
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    let mut keys = toml::Table::new();
    for (key, place, value) in &rest.written {
        match owned(value) {
            Some(value) => {
                keys.insert(key.clone(), value);
                places.insert(key.clone(), place.clone());
            }
            None => reader.complain(
                place.clone(),
                format!(r#"key "{key}" in {header} is a number that is too large; correct it"#),
            ),
        }
    }
    for (path, variable, value) in &rest.variables {
        let [key, inner @ ..] = &path[..] else { continue };
        // A secret is text, whatever it looks like.
        let secret = SECRETS.iter().any(|secret| key.strip_suffix("_file").unwrap_or(key) == *secret);
        let value = DeValue::parse(value)
            .ok()
            .filter(|_| !secret)
            .and_then(|value| owned(value.get_ref()))
            .unwrap_or_else(|| Value::from(value.as_str()));
        places.insert(key.clone(), variable.clone());
        match inner {
            [] => {
                keys.insert(key.clone(), value);
                // The environment's word counts in either form.
                let other = key.strip_suffix("_file").map_or_else(|| format!("{key}_file"), str::to_owned);
                if secret {
                    keys.remove(&other);
                }
            }
            [name] => {
                let inside = keys.entry(key.clone()).or_insert_with(|| Value::Table(toml::Table::new()));
                if let Value::Table(inside) = inside {
                    inside.insert(name.clone(), value);
                }
            }
            [..] => reader.complain(variable.clone(), "this variable overrides nothing; unset it".to_owned()),
        }
    }
    let place = |key: &str| places.get(key).cloned();
    let kinds: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    let kind = match keys.remove("kind") {
        Some(Value::String(kind)) if kinds.contains(&kind.as_str()) => kind,
        Some(other) => {
            let wanted = key::one_of(kinds.iter().copied());
            let sentence = format!(r#"key "kind" in {header} is {other}, but must be {wanted}"#);
            reader.complain(place("kind").unwrap_or_default(), sentence);
            return None;
        }
        None => {
            let wanted = key::one_of(kinds.iter().copied());
            reader.complain(
                table.place().to_owned(),
                format!(r#"key "kind" in {header} is missing; write {wanted}"#),
            );
            return None;
        }
    };
    let known = known_keys(&kind);
    let written = keys.clone();
    for secret in SECRETS.into_iter().filter(|secret| known.iter().any(|known| known == secret)) {
        resolve(reader, header, &places, &mut keys, secret, secrets);
    }
    let before = reader.problems.len();
    for (key, value) in &keys {
        let Err(why) = settings(&kind, &one(key, value.clone())) else { continue };
        let place = place(key).unwrap_or_else(|| table.place().to_owned());
        let sentence = if unknown(&why) == Some(key) {
            format!(
                r#"key "{key}" is not known in {header}; {}"#,
                cure(key, known.iter().map(String::as_str))
            )
        } else if SECRETS.contains(&key.as_str()) {
            format!(r#"key "{key}" in {header} must be text in quotes"#)
        } else {
            format!(
                r#"key "{key}" in {header} cannot be used: {}; correct it"#,
                why.trim().replace('\n', " ")
            )
        };
        reader.complain(place, sentence);
    }
    match settings(&kind, &keys) {
        Ok(settings) if reader.problems.len() == before => {
            // Opening reads the key of TLS too, which is a secret like the others.
            if secrets == Secrets::Fetched
                && let Err(why) = opens(settings.clone())
            {
                reader.complain(
                    table.place().to_owned(),
                    format!("{header} cannot be used: {why}; correct it"),
                );
            }
            Some((written_with(written, &settings), settings))
        }
        Ok(_) => None,
        Err(why) => {
            if reader.problems.len() == before {
                reader.complain(
                    table.place().to_owned(),
                    format!("{header} cannot be used: {}; correct it", why.trim()),
                );
            }
            None
        }
    }
}

fn written_with(written: toml::Table, settings: &Settings) -> toml::Table {
    let mut all = one("kind", Value::from(settings.kind()));
    all.extend(written);
    all
}

fn one(key: &str, value: Value) -> toml::Table {
    std::iter::once((key.to_owned(), value)).collect()
}

fn settings(kind: &str, keys: &toml::Table) -> Result<Settings, String> {
    let mut table = keys.clone();
    table.insert("kind".to_owned(), Value::from(kind));
    table.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
}

/// Whether the carrier can be opened with these settings. Its tasks get no runtime to run in, so that nothing is
/// connected.
fn opens(settings: Settings) -> Result<(), String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|why| why.to_string())?;
    let surroundings = tidings_carriers::Surroundings {
        name: String::new(),
        draw: std::sync::Arc::new(|| 0),
        codes: std::sync::Arc::default(),
        guard: std::sync::Arc::new(tidings_carriers::Unguarded),
        may_send: std::sync::Arc::new(|| true),
    };
    let opened = {
        let _inside = runtime.enter();
        tidings_carriers::list::open(settings, &surroundings).map(drop)
    };
    runtime.shutdown_background();
    opened.map_err(|why| why.to_string())
}

/// Puts the secret itself, or nothing if it is left where it is, in place of `env:NAME` or of the file that holds it.
fn resolve(
    reader: &mut Reader<'_>,
    header: &str,
    places: &BTreeMap<String, String>,
    keys: &mut toml::Table,
    secret: &str,
    secrets: Secrets,
) {
    let in_file = format!("{secret}_file");
    let place = |key: &str| places.get(key).cloned().unwrap_or_default();
    if let Some(path) = keys.remove(&in_file) {
        if keys.contains_key(secret) {
            let sentence =
                format!(r#"both "{secret}" and "{in_file}" are written in {header}; remove one of them"#);
            return reader.complain(place(&in_file), sentence);
        }
        match path.as_str().ok_or_else(|| "must be a path in quotes".to_owned()).and_then(
            |path| match secrets {
                Secrets::Fetched => read_secret(Path::new(path)),
                Secrets::Left => Ok(String::new()),
            },
        ) {
            Ok(text) => {
                keys.insert(secret.to_owned(), Value::from(text));
            }
            Err(why) => reader.complain(place(&in_file), format!(r#"key "{in_file}" in {header} {why}"#)),
        }
    } else if let Some(variable) =
        keys.get(secret).and_then(Value::as_str).and_then(|text| text.strip_prefix("env:"))
    {
        let found = match secrets {
            Secrets::Fetched => reader.variable(variable),
            Secrets::Left => Some(""),
        };
        match found {
            Some(text) => {
                keys.insert(secret.to_owned(), Value::from(text));
            }
            None => {
                let sentence = format!(
                    r#"key "{secret}" in {header} names the variable {variable}, which is not set; set it, or write the secret into a file and name it in {in_file}"#
                );
                reader.complain(place(secret), sentence);
            }
        }
    }
}

/// A secret in a file of its own, without the end of its line.
///
/// # Errors
/// It cannot be read: continues the sentence that names the key.
pub fn read_secret(path: &Path) -> Result<String, String> {
    let failed = |why: String| format!("names the file {}, which cannot be read: {why}", path.display());
    let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if size > SECRET_MAX {
        return Err(failed("it is too large for a secret".to_owned()));
    }
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// What a carrier would take: its settings say so when they are asked for something that nobody has.
fn known_keys(kind: &str) -> Vec<String> {
    let nobody_has = one("\u{0}", Value::from(0));
    let words = settings(kind, &nobody_has).err().unwrap_or_default();
    let mut known: Vec<String> = words.split('`').skip(3).step_by(2).map(str::to_owned).collect();
    let files: Vec<String> = SECRETS
        .iter()
        .filter(|secret| known.iter().any(|key| key == *secret))
        .map(|secret| format!("{secret}_file"))
        .collect();
    known.extend(files);
    known.extend(Common::describe().keys.iter().map(|key| key.name.to_owned()));
    known.push("kind".to_owned());
    known
}

/// The key that a carrier's settings do not know.
fn unknown(why: &str) -> Option<&str> {
    why.strip_prefix("unknown field `")?.split('`').next()
}

fn owned(value: &DeValue<'_>) -> Option<Value> {
    Some(match value {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(number) => {
            Value::from(i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()).ok()?)
        }
        DeValue::Float(number) => Value::from(number.as_str().replace('_', "").parse::<f64>().ok()?),
        DeValue::Boolean(truth) => Value::from(*truth),
        DeValue::Datetime(at) => Value::Datetime(*at),
        DeValue::Array(items) => {
            Value::Array(items.iter().map(|item| owned(item.get_ref())).collect::<Option<_>>()?)
        }
        DeValue::Table(table) => Value::Table(
            table
                .iter()
                .map(|(key, value)| Some((key.get_ref().to_string(), owned(value.get_ref())?)))
                .collect::<Option<_>>()?,
        ),
    })
}

/// Prints the part of `config.example.toml` about connections: all of it commented.
pub fn print_example(text: &mut String) {
    let section = Common::describe();
    section.print_doc(text);
    for kind in KINDS {
        let _ = writeln!(text, "\n# {} All its keys:\n# [[connection]]", kind.sentence);
        for key in &section.keys {
            print_key(text, key, kind.name);
        }
        for line in kind.example.lines() {
            // A carrier writes its tables as if it were alone.
            let line = line
                .strip_prefix('[')
                .map_or_else(|| line.to_owned(), |table| format!("[connection.{table}"));
            let line = if line.is_empty() { "#".to_owned() } else { format!("# {line}") };
            let line = line.replace(
                r#"password = "secret""#,
                r#"password = "env:NORTH_PASSWORD"   # or password_file = "/path""#,
            );
            let _ = writeln!(text, "{line}");
        }
    }
}

fn print_key(text: &mut String, key: &KeyDescription, kind: &str) {
    for line in &key.doc {
        let _ = writeln!(text, "#  {line}");
    }
    let example = match (key.name, kind) {
        ("name", SIMULATOR) => r#""pretend""#,
        ("environment", SIMULATOR) => r#""test""#,
        _ => key.example.or(key.default.as_deref()).unwrap_or_default(),
    };
    let _ = writeln!(text, "# {} = {example}", key.name);
}
