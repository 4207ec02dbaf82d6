//! The one typed configuration: which keys there are, what they mean, and what counts if they are not written.
//!
//! The file is TOML. A variable of the environment overrides a key: `TIDINGS_HTTP__LISTEN` is `listen` in `[http]`,
//! `TIDINGS_CONNECTION__NORTH__PASSWORD` is `password` of the connection `north`. What is documented here is what
//! `config.example.toml` shows. Everything that is wrong is reported at once, with key, line and cure.
//!
//! It opens nothing but the files that keys name, and starts nothing.

pub mod key;

use key::{Problem, Rate, Reader, Secret, Section, SectionDescription, Table, Whole, section, words};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tidings_domain::account::Environment;
use tidings_domain::intake::Limits as IntakeLimits;
use tidings_domain::receipt::IdForm;
use tidings_domain::retry::RetryPolicy;
use tidings_domain::text::{self, Language, Languages};
use tidings_egress::{Block, Policy, Ports};
use tidings_store::Retention as StoreRetention;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The name of the configuration where none is given.
pub const FILE_NAME: &str = "tidings.toml";
/// A larger file is not a configuration: octets.
const FILE_MAX: u64 = 1024 * 1024;
/// The name of the connection that the test environment always has.
pub const SIMULATOR: &str = "simulator";

words! {
    /// How log lines look.
    LogFormat {
        /// For people on a terminal, as JSON otherwise.
        Auto = "auto",
        /// Lines for people.
        Human = "human",
        /// One JSON object a line.
        Json = "json",
    }
}

words! {
    /// How much is logged.
    LogLevel {
        /// What somebody must look at.
        Error = "error",
        /// And what is not as it should be.
        Warn = "warn",
        /// And what happens seldom.
        Info = "info",
        /// And each step.
        Debug = "debug",
    }
}

impl LogLevel {
    /// For the subscriber.
    pub const fn as_filter(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

words! {
    /// Kinds of carriers.
    Kind {
        /// A carrier that speaks SMPP 3.4.
        Smpp = "smpp",
        /// The carrier that pretends to be one. Only in the test environment.
        Simulator = "simulator",
    }
}

words! {
    /// How an SMPP connection is bound.
    BindMode {
        /// One session that sends and receives.
        Transceiver = "transceiver",
        /// One session that sends and one that receives.
        Pair = "transmitter_and_receiver",
        /// Sessions that only send: no receipt ever comes.
        Transmitter = "transmitter",
    }
}

words! {
    /// How the segments of a long message are tied together.
    Concatenation {
        /// A header with an 8-bit reference in each segment. Right for nearly all.
        Header8 = "header8",
        /// A header with a 16-bit reference.
        Header16 = "header16",
        /// The `sar_` parameters of SMPP 3.4.
        Sar = "sar",
        /// The whole text in `message_payload`; the carrier cuts it.
        Payload = "payload",
    }
}

words! {
    /// What the carrier takes `data_coding` 0 for.
    Alphabet {
        /// GSM 7-bit, each septet in an octet of its own.
        Gsm7 = "gsm7",
        /// ISO 8859-1.
        Latin1 = "latin1",
        /// ASCII.
        Ascii = "ascii",
    }
}

words! {
    /// Languages with national tables.
    NationalTable {
        /// Turkish.
        Turkish = "turkish",
        /// Spanish.
        Spanish = "spanish",
        /// Portuguese.
        Portuguese = "portuguese",
    }
}

impl NationalTable {
    const fn language(self) -> Language {
        match self {
            Self::Turkish => Language::Turkish,
            Self::Spanish => Language::Spanish,
            Self::Portuguese => Language::Portuguese,
        }
    }
}

section! {
    /// Where everything is kept. One program at a time serves a directory.
    Data = "data", several: false {
        /// The data directory. It is made with access for its owner only. Keep it on a local disk: SQLite loses
        /// its guarantees on network file systems.
        directory: PathBuf = PathBuf::from("/var/lib/tidings");
        /// Memory for the database's pages: MiB.
        cache_mib: Whole<1, 16_384> = Whole::new(64);
        /// Threads that read beside the one that writes.
        readers: Whole<1, 64> = Whole::new(2);
        /// Makes ids unlike those of other installations that you may merge one day.
        node: Whole<0, 511> = Whole::new(0);
    }
}

section! {
    /// The API.
    Http = "http", several: false {
        /// Where it listens. It speaks plain HTTP: put a proxy with TLS before it where others can reach it.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
    }
}

section! {
    /// The log, on standard error. It never holds message texts, full phone numbers or secrets.
    Log = "log", several: false {
        /// How lines look.
        format: LogFormat = LogFormat::Auto;
        /// How much is said.
        level: LogLevel = LogLevel::Info;
    }
}

section! {
    /// What is accepted.
    Limits = "limits", several: false {
        /// Segments of one message.
        max_segments: Whole<1, 255> = Whole::new(IntakeLimits::default().max_segments as i64);
        /// How far ahead a message may be scheduled: seconds.
        max_schedule_s: Whole<0, 31_536_000> = Whole::new(IntakeLimits::default().max_schedule_s);
        /// Messages in one call.
        max_batch_messages: Whole<1, 10_000> = Whole::new(IntakeLimits::default().max_batch_messages as i64);
        /// Different recipients in one call that sends bodies to recipients.
        max_batch_recipients: Whole<1, 10_000> = Whole::new(IntakeLimits::default().max_batch_recipients as i64);
        /// Different bodies in one such call.
        max_batch_bodies: Whole<1, 100> = Whole::new(IntakeLimits::default().max_batch_bodies as i64);
        /// Messages a minute and token; a token may have a number of its own.
        messages_per_minute: Whole<1, 1_000_000> = Whole::new(IntakeLimits::default().messages_per_minute as i64);
        /// How long a transactional or marketing message is worth sending if its caller does not say: seconds.
        default_validity_s: Whole<1, 604_800> = Whole::new(IntakeLimits::default().default_validity_s);
    }
}

section! {
    /// When a message is tried again that its carrier refused for a reason that time may cure.
    Retry = "retry", several: false {
        /// Tries in all, the first included.
        max_tries: Whole<1, 100> = Whole::new(RetryPolicy::default().max_tries as i64);
        /// Before the second try: seconds. Doubles for each further one.
        first_delay_s: Whole<1, 86_400> = Whole::new(RetryPolicy::default().first_delay_ms / 1000);
        /// The longest delay between two tries: seconds.
        max_delay_s: Whole<1, 86_400> = Whole::new(RetryPolicy::default().max_delay_ms / 1000);
        /// After the carrier said that it was too much at once: seconds. Costs no try.
        throttled_delay_s: Whole<1, 3_600> = Whole::new(RetryPolicy::default().throttled_delay_ms / 1000);
    }
}

section! {
    /// Which addresses webhooks may call. Without a word here: `https` on ports 443 and 8443 of public addresses.
    /// Addresses of cloud metadata services are refused whatever is written.
    Webhooks = "webhooks", several: false {
        /// Also clear-text `http`.
        allow_http: bool = false;
        /// Also this machine itself.
        allow_loopback: bool = false;
        /// Also these addresses, though they are not public: your own network.
        allow_blocks: Vec<Block> = Vec::new(), example r#"["10.20.0.0/16"]"#;
        /// Not these addresses, though they are public: this installation's own.
        refuse_blocks: Vec<Block> = Vec::new(), example r#"["198.51.100.7"]"#;
        /// The ports that may be called; an empty list allows all.
        ports: Vec<Whole<1, 65_535>> = vec![Whole::new(443), Whole::new(8443)];
    }
}

section! {
    /// How long things are kept.
    Retention = "retention", several: false {
        /// Finished messages with their timelines: days. They are kept for ever if this is not written.
        messages_days: Option<Whole<1, 36_500>> = None, example "400";
        /// Idempotency keys: hours.
        idempotency_hours: Whole<1, 8_760> = Whole::new(24);
        /// Tries to call webhooks: days.
        attempts_days: Whole<1, 3_650> = Whole::new(30);
        /// Receipts that belong to no message we know: hours.
        parked_hours: Whole<1, 8_760> = Whole::new(72);
    }
}

section! {
    /// What carriers' error codes mean, beyond what is built in.
    Failures = "failures", several: false {
        /// A CSV table with further codes, or other meanings for known ones.
        table: Option<PathBuf> = None, example r#""/etc/tidings/failures.csv""#;
    }
}

section! {
    /// A connection to a carrier. Write the section once for each. A message goes to the connection whose prefix
    /// fits its recipient best; among equals the first one counts.
    /// The test environment always has one named "simulator", without being written here.
    Connection = "connection", several: true {
        /// Its name: small letters, digits and dashes. Keep it: the queue belongs to the name.
        name: String = String::new(), example r#""north""#;
        /// What kind of carrier.
        kind: Kind = Kind::Smpp;
        /// Whose messages it takes. A real carrier belongs to live, the simulator to test.
        environment: Environment = Environment::Live;
        /// Segments per second that the carrier agreed to. Without limit if this is not written.
        pace_per_s: Option<Rate> = None, example "20";
        /// Beginnings of recipients' numbers, without +. Empty: those that no other connection asks for.
        prefixes: Vec<String> = Vec::new(), example r#"["46", "47"]"#;
        /// Senders that this carrier lets you use. Empty: any.
        senders: Vec<String> = Vec::new(), example r#"["+46701234567", "Tidings"]"#;
        /// The carrier's SMPP server: its name or address.
        host: Option<String> = None, example r#""smpp.carrier.example""#;
        /// Its port.
        port: Whole<1, 65_535> = Whole::new(2775);
        /// Whether TLS is spoken. Without it, passwords and messages cross the network in clear text.
        tls: bool = false;
        /// Further certificate authorities to trust, as PEM; a self-signed certificate goes here too.
        tls_roots: Option<PathBuf> = None, example r#""/etc/tidings/carrier-ca.pem""#;
        /// The name that the certificate must have, if it is not the host.
        tls_server_name: Option<String> = None, example r#""smpp.carrier.example""#;
        /// Who we are to the carrier.
        system_id: Option<String> = None, example r#""acme""#;
        /// The password. Better in a file, or in the environment: "env:NORTH_PASSWORD".
        password: Option<Secret> = None, example r#""env:NORTH_PASSWORD""#;
        /// Sent at the bind; few carriers want one.
        system_type: Option<String> = None, example r#""OTA""#;
        /// How sessions are bound.
        bind: BindMode = BindMode::Transceiver;
        /// Sessions at the same time.
        sessions: Whole<1, 32> = Whole::new(1);
        /// Segments of each session that may be without answer at the same time.
        window: Whole<1, 1_000> = Whole::new(10);
        /// How long an answer is waited for: seconds.
        response_timeout_s: Whole<1, 80> = Whole::new(30);
        /// Silence after which the carrier is asked whether it is still there: seconds.
        enquire_link_s: Whole<5, 3_600> = Whole::new(30);
        /// What the carrier takes plain text for (`data_coding` 0).
        alphabet: Alphabet = Alphabet::Gsm7;
        /// How the segments of a long message are tied together.
        concatenation: Concatenation = Concatenation::Header8;
        /// National tables that the carrier and the phones are known to take, such as "turkish": they save segments.
        single_shift: Vec<NationalTable> = Vec::new(), example r#"["turkish"]"#;
        /// The same for locking shift tables.
        locking_shift: Vec<NationalTable> = Vec::new(), example r#"["turkish"]"#;
        /// How receipts write the id of the answer.
        receipt_ids: IdForm = IdForm::Any;
    }
}

impl Connection {
    /// How text is turned into segments for it.
    pub fn text_options(&self) -> text::Options {
        let languages = |tables: &[NationalTable]| {
            tables.iter().fold(Languages::NONE, |languages, table| languages.with(table.language()))
        };
        text::Options {
            concatenation: match self.concatenation {
                Concatenation::Header8 => text::Concatenation::Header8,
                Concatenation::Header16 => text::Concatenation::Header16,
                Concatenation::Sar => text::Concatenation::Sar,
                Concatenation::Payload => text::Concatenation::Payload,
            },
            single_shift: languages(&self.single_shift),
            locking_shift: languages(&self.locking_shift),
        }
    }
}

/// The whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[data]`
    pub data: Data,
    /// `[http]`
    pub http: Http,
    /// `[log]`
    pub log: Log,
    /// `[limits]`
    pub limits: Limits,
    /// `[retry]`
    pub retry: Retry,
    /// `[webhooks]`
    pub webhooks: Webhooks,
    /// `[retention]`
    pub retention: Retention,
    /// `[failures]`
    pub failures: Failures,
    /// `[[connection]]`, the simulator of the test environment included.
    pub connections: Vec<Connection>,
}

const SECTIONS: [&str; 9] =
    ["data", "http", "log", "limits", "retry", "webhooks", "retention", "failures", "connection"];

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(path: &Path, environment: &BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let unreadable = |why: String| {
            vec![Problem {
                place: name.clone(),
                sentence: format!("the configuration cannot be read: {why}; name the right file with --config"),
            }]
        };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > FILE_MAX {
            return Err(unreadable("it is larger than 1 MiB".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(&name, &text, environment)
    }

    /// The defaults, with the environment's word.
    ///
    /// # Errors
    /// Everything that is wrong with the environment's variables.
    pub fn defaults(environment: &BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        Self::parse("defaults", "", environment)
    }

    /// Reads the text of a file called `name`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(name: &str, text: &str, environment: &BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        let mut reader = Reader::new(name, text, environment);
        let root = match DeTable::parse(text) {
            Ok(root) => root,
            Err(error) => {
                let place = reader.place(error.span().map_or(0, |span| span.start));
                let sentence = format!("this is not TOML: {}; correct the line", error.message());
                return Err(vec![Problem { place, sentence }]);
            }
        };
        let root = root.get_ref();
        for (key, value) in root {
            let known = key.get_ref().as_ref();
            let place = reader.place(key.span().start);
            if !SECTIONS.contains(&known) {
                let what = if value.get_ref().is_table() || value.get_ref().is_array() { "section" } else { "key" };
                let cure = key::cure(known, SECTIONS.into_iter());
                reader.complain(place, format!(r#"{what} "{known}" is not known; {cure}"#));
            } else if known != "connection" && !value.get_ref().is_table() {
                reader.complain(place, format!(r#""{known}" is a section; write [{known}] on a line of its own and its keys below"#));
            }
        }

        fn one<'a, S: Section>(reader: &mut Reader<'a>, root: &'a DeTable<'a>) -> S {
            let name = S::describe().name;
            let mut table = reader.table(format!("[{name}]"), name, None, section_of(root, name));
            S::read(reader, &mut table)
        }
        let mut config = Self {
            data: one(&mut reader, root),
            http: one(&mut reader, root),
            log: one(&mut reader, root),
            limits: one(&mut reader, root),
            retry: one(&mut reader, root),
            webhooks: one(&mut reader, root),
            retention: one(&mut reader, root),
            failures: one(&mut reader, root),
            connections: Vec::new(),
        };
        if config.retry.max_delay_s.get::<i64>() < config.retry.first_delay_s.get::<i64>() {
            let table = reader.table("[retry]".to_owned(), "retry", None, section_of(root, "retry"));
            reader.complain_of(&table, "max_delay_s", r#"is shorter than "first_delay_s"; raise it"#.to_owned());
        }
        config.connections = connections(&mut reader, root);
        reader.finish_variables(&SECTIONS);
        if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
    }

    /// The bounds of what is accepted.
    pub fn intake_limits(&self) -> IntakeLimits {
        let limits = &self.limits;
        IntakeLimits {
            max_segments: limits.max_segments.get(),
            max_schedule_s: limits.max_schedule_s.get(),
            max_batch_messages: limits.max_batch_messages.get(),
            max_batch_recipients: limits.max_batch_recipients.get(),
            max_batch_bodies: limits.max_batch_bodies.get(),
            messages_per_minute: limits.messages_per_minute.get(),
            default_validity_s: limits.default_validity_s.get(),
        }
    }

    /// When a message is tried again.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_tries: self.retry.max_tries.get(),
            first_delay_ms: self.retry.first_delay_s.get::<i64>() * 1000,
            max_delay_ms: self.retry.max_delay_s.get::<i64>() * 1000,
            throttled_delay_ms: self.retry.throttled_delay_s.get::<i64>() * 1000,
        }
    }

    /// Which addresses webhooks may call.
    pub fn egress_policy(&self) -> Policy {
        let webhooks = &self.webhooks;
        Policy {
            allow_http: webhooks.allow_http,
            allow_loopback: webhooks.allow_loopback,
            allow_blocks: webhooks.allow_blocks.clone(),
            refuse_blocks: webhooks.refuse_blocks.clone(),
            ports: if webhooks.ports.is_empty() {
                Ports::Any
            } else {
                Ports::Only(webhooks.ports.iter().map(|port| port.get()).collect())
            },
        }
    }

    /// How long things are kept.
    pub fn store_retention(&self) -> StoreRetention {
        const HOUR_MS: i64 = 3_600_000;
        let retention = &self.retention;
        StoreRetention {
            idempotency_ms: retention.idempotency_hours.get::<i64>() * HOUR_MS,
            parked_ms: retention.parked_hours.get::<i64>() * HOUR_MS,
            attempts_ms: retention.attempts_days.get::<i64>() * 24 * HOUR_MS,
            messages_ms: retention.messages_days.map(|days| days.get::<i64>() * 24 * HOUR_MS),
        }
    }

    /// What works but should make somebody think: sentences with a cure.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if !self.http.listen.ip().is_loopback() {
            warnings.push(format!(
                "the API listens on {} in clear text: let only a proxy with TLS reach it, or set listen in [http] to 127.0.0.1",
                self.http.listen
            ));
        }
        if self.webhooks.allow_loopback {
            warnings.push("webhooks may call this machine itself: remove allow_loopback from [webhooks] unless every customer is trusted".to_owned());
        }
        if self.webhooks.allow_http {
            warnings.push("webhooks may go out in clear text: remove allow_http from [webhooks] where receivers speak https".to_owned());
        }
        let live: Vec<&Connection> = self.connections.iter().filter(|c| c.environment == Environment::Live).collect();
        if live.is_empty() {
            warnings.push("there is no connection to a carrier: live messages are refused until a [[connection]] is written".to_owned());
        }
        for connection in live {
            if !connection.tls {
                warnings.push(format!(r#"connection "{}" sends its password in clear text: set tls = true if the carrier offers it, or use a private line"#, connection.name));
            }
            if connection.bind == BindMode::Transmitter {
                warnings.push(format!(r#"connection "{}" receives nothing: its messages end as unconfirmed; set bind = "transceiver" if the carrier allows it"#, connection.name));
            }
        }
        warnings
    }

    /// The configuration as it counts, as TOML, secrets masked.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let mut print = |header: &str, keys: Vec<(&'static str, Option<String>)>| {
            let _ = writeln!(text, "{}{header}", if text.is_empty() { "" } else { "\n" });
            for (key, value) in keys {
                if let Some(value) = value {
                    let _ = writeln!(text, "{key} = {value}");
                }
            }
        };
        print("[data]", self.data.show());
        print("[http]", self.http.show());
        print("[log]", self.log.show());
        print("[limits]", self.limits.show());
        print("[retry]", self.retry.show());
        print("[webhooks]", self.webhooks.show());
        print("[retention]", self.retention.show());
        print("[failures]", self.failures.show());
        for connection in &self.connections {
            let mut keys = connection.show();
            if connection.kind == Kind::Simulator {
                keys.retain(|(key, _)| !SMPP_KEYS.contains(key));
            }
            print("[[connection]]", keys);
        }
        text
    }
}

fn section_of<'a>(root: &'a DeTable<'a>, name: &str) -> Option<&'a Spanned<DeValue<'a>>> {
    root.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

/// The keys of a connection that only SMPP has.
const SMPP_KEYS: [&str; 19] = [
    "host",
    "port",
    "tls",
    "tls_roots",
    "tls_server_name",
    "system_id",
    "password",
    "password_file",
    "system_type",
    "bind",
    "sessions",
    "window",
    "response_timeout_s",
    "enquire_link_s",
    "alphabet",
    "concatenation",
    "single_shift",
    "locking_shift",
    "receipt_ids",
];

fn connections<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>) -> Vec<Connection> {
    let mut connections: Vec<Connection> = Vec::new();
    let written = section_of(root, "connection");
    let tables = match written.map(|value| (value, value.get_ref())) {
        None => &[][..],
        Some((_, DeValue::Array(tables))) if tables.iter().all(|table| table.get_ref().is_table()) => &tables[..],
        Some((value, _)) => {
            let place = reader.place(value.span().start);
            reader.complain(place, "connections are written as [[connection]], in double brackets; add them".to_owned());
            &[][..]
        }
    };
    for content in tables {
        let name = content.get_ref().as_table().and_then(|table| table.get("name")).and_then(|name| name.get_ref().as_str());
        let header = name.map_or_else(|| "[[connection]]".to_owned(), |name| format!(r#"[[connection]] "{name}""#));
        let mut table = reader.table(header, "connection", name, Some(content));
        let connection = Connection::read(reader, &mut table);
        check(reader, &table, &connection, &connections);
        connections.push(connection);
    }
    if !connections.iter().any(|connection| connection.kind == Kind::Simulator) {
        let nothing = BTreeMap::new();
        let mut defaults = Reader::new("", "", &nothing);
        let mut table = defaults.table(String::new(), "connection", Some(SIMULATOR), None);
        let mut simulator = Connection::read(&mut defaults, &mut table);
        simulator.name = SIMULATOR.to_owned();
        simulator.kind = Kind::Simulator;
        simulator.environment = Environment::Test;
        connections.push(simulator);
    }
    connections
}

/// What a key alone cannot know.
fn check(reader: &mut Reader<'_>, table: &Table<'_>, connection: &Connection, before: &[Connection]) {
    let name = &connection.name;
    if !reader.is_written(table, "name") {
        reader.complain_of(table, "name", r#"is missing; name the connection, such as name = "north""#.to_owned());
    } else if !name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-') || name.len() > 40 {
        reader.complain_of(table, "name", "must be small letters, digits and dashes, at most 40; rename it".to_owned());
    } else if before.iter().any(|other| other.name == *name) {
        reader.complain_of(table, "name", "is used twice; give each connection a name of its own".to_owned());
    }
    for prefix in &connection.prefixes {
        if prefix.is_empty() || prefix.len() > 15 || !prefix.bytes().all(|c| c.is_ascii_digit()) {
            reader.complain_of(table, "prefixes", format!(r#"has "{prefix}", which is not the beginning of a number; write digits without +, such as "46""#));
        }
    }
    for sender in &connection.senders {
        if let Err(why) = tidings_domain::sender::Sender::parse(sender, None, connection.environment) {
            reader.complain_of(table, "senders", format!(r#"has "{sender}", which cannot be a sender: {why}; correct or remove it"#));
        }
    }
    match connection.kind {
        Kind::Simulator => {
            if connection.environment == Environment::Live && reader.is_written(table, "environment") {
                reader.complain_of(table, "environment", r#"is "live", but the simulator delivers to nobody; remove the connection, or set environment = "test""#.to_owned());
            } else if connection.environment == Environment::Live {
                reader.complain_of(table, "kind", r#"is "simulator", which belongs to the test environment; add environment = "test""#.to_owned());
            }
            for key in SMPP_KEYS {
                if reader.is_written(table, key) {
                    reader.complain_of(table, key, r#"means nothing for kind = "simulator"; remove it"#.to_owned());
                }
            }
        }
        Kind::Smpp => {
            if connection.environment == Environment::Test {
                reader.complain_of(table, "environment", r#"is "test", but the test environment never reaches a real carrier; set environment = "live""#.to_owned());
            }
            for (key, missing) in [
                ("host", connection.host.is_none()),
                ("system_id", connection.system_id.is_none()),
                ("password", connection.password.is_none()),
            ] {
                if missing && !reader.is_written(table, key) && !reader.is_written(table, &format!("{key}_file")) {
                    reader.complain_of(table, key, "is missing; the carrier tells you what to write".to_owned());
                }
            }
            for key in ["tls_roots", "tls_server_name"] {
                if !connection.tls && reader.is_written(table, key) {
                    reader.complain_of(table, key, "means nothing without tls = true; add that or remove this".to_owned());
                }
            }
        }
    }
}

/// Every section, for documentation.
pub fn describe() -> Vec<SectionDescription> {
    vec![
        Data::describe(),
        Http::describe(),
        Log::describe(),
        Limits::describe(),
        Retry::describe(),
        Webhooks::describe(),
        Retention::describe(),
        Failures::describe(),
        Connection::describe(),
    ]
}

/// The text of `config.example.toml`.
pub fn example() -> String {
    let mut text = String::from(
        "# Every key of tidings.toml with its default. Generated: do not edit by hand.\n\
         # A line of the environment overrides a key: TIDINGS_HTTP__LISTEN is listen in [http],\n\
         # TIDINGS_CONNECTION__NORTH__PASSWORD is password of the connection \"north\".\n\
         # A password may be written as it is, as \"env:NAME\", or into a file of its own: password_file = \"/path\".\n",
    );
    for section in describe() {
        text.push('\n');
        for line in &section.doc {
            let _ = writeln!(text, "#{line}");
        }
        let header = if section.several { format!("# [[{}]]", section.name) } else { format!("[{}]", section.name) };
        let _ = writeln!(text, "{header}");
        for key in &section.keys {
            text.push('\n');
            for line in &key.doc {
                let _ = writeln!(text, "#{line}");
            }
            let _ = writeln!(text, "# Must be {}.", key.wanted);
            let value = key.example.map(str::to_owned).or_else(|| key.default.clone()).unwrap_or_default();
            let _ = writeln!(text, "# {} = {value}", key.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::parse(FILE_NAME, text, &environment)
    }

    const NORTH: &str = "[[connection]]\nname = \"north\"\nhost = \"smpp.example\"\nsystem_id = \"acme\"\n";

    #[test]
    fn a_wrong_file_is_answered_with_key_line_and_cure() {
        let check = |text: &str, expected: &[&str]| {
            let problems: Vec<String> = load(text, &[]).expect_err(text).iter().map(Problem::to_string).collect();
            assert_eq!(problems, expected, "{text}");
        };
        check(
            "[http]\nlisten = \"localhost\"\n",
            &[r#"tidings.toml:2: key "listen" in [http] is "localhost", but must be an IP address with a port, such as "127.0.0.1:8080" or "[::]:8080""#],
        );
        check(
            &format!("{NORTH}password = \"x\"\n\nwindw = 20\n"),
            &[r#"tidings.toml:7: key "windw" is not known in [[connection]] "north"; did you mean "window"? Rename it"#],
        );
        check("[limits]\nmax_segments = 300\n", &[r#"tidings.toml:2: key "max_segments" in [limits] is 300, but must be a whole number from 1 to 255"#]);
        check("[retry]\nfirst_delay_s = 60\nmax_delay_s = 30\n", &[r#"tidings.toml:3: key "max_delay_s" in [retry] is shorter than "first_delay_s"; raise it"#]);
        check("\n[htp]\n", &[r#"tidings.toml:2: section "htp" is not known; did you mean "http"? Rename it"#]);
        check("http = 5\n", &[r#"tidings.toml:1: "http" is a section; write [http] on a line of its own and its keys below"#]);
        check("[connection]\nname = \"a\"\n", &["tidings.toml:1: connections are written as [[connection]], in double brackets; add them"]);
        check(
            NORTH,
            &[r#"tidings.toml:1: key "password" in [[connection]] "north" is missing; the carrier tells you what to write"#],
        );
        check(
            &format!("{NORTH}password = \"env:NORTH_PASSWORD\"\n"),
            &[r#"tidings.toml:5: key "password" in [[connection]] "north" names the variable NORTH_PASSWORD, which is not set; set it, or write the secret into a file and name it in password_file"#],
        );
        check(
            &format!("{NORTH}password = \"x\"\nenvironment = \"test\"\n"),
            &[r#"tidings.toml:6: key "environment" in [[connection]] "north" is "test", but the test environment never reaches a real carrier; set environment = "live""#],
        );
        check(
            "[[connection]]\nname = \"pretend\"\nkind = \"simulator\"\nenvironment = \"live\"\n",
            &[r#"tidings.toml:4: key "environment" in [[connection]] "pretend" is "live", but the simulator delivers to nobody; remove the connection, or set environment = "test""#],
        );
        check(
            "[[connection]]\nname = \"pretend\"\nkind = \"simulator\"\n",
            &[r#"tidings.toml:3: key "kind" in [[connection]] "pretend" is "simulator", which belongs to the test environment; add environment = "test""#],
        );
        check(
            &format!("{NORTH}password = \"x\"\nprefixes = [\"+46\"]\nsenders = [\"TooLongForAName\"]\n"),
            &[
                r#"tidings.toml:6: key "prefixes" in [[connection]] "north" has "+46", which is not the beginning of a number; write digits without +, such as "46""#,
                &format!(
                    r#"tidings.toml:7: key "senders" in [[connection]] "north" has "TooLongForAName", which cannot be a sender: {}; correct or remove it"#,
                    tidings_domain::sender::Sender::parse("TooLongForAName", None, Environment::Live).expect_err("it is too long")
                ),
            ],
        );
        let broken = load("[http]\nlisten = \n", &[]).expect_err("it is no TOML");
        assert_eq!((broken.len(), broken[0].place.as_str()), (1, "tidings.toml:2"), "{broken:?}");
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = load(
            &format!("[http]\nlisten = \"127.0.0.1:1\"\n{NORTH}password = \"x\"\n"),
            &[
                ("TIDINGS_HTTP__LISTEN", "127.0.0.1:2"),
                ("TIDINGS_CONNECTION__NORTH__PASSWORD", "hush"),
                ("TIDINGS_CONNECTION__NORTH__PREFIXES", r#"["46"]"#),
                ("TIDINGS_WEBHOOKS__ALLOW_HTTP", "true"),
                ("TIDINGS_DATA", "/elsewhere"),
            ],
        )
        .unwrap();
        assert_eq!(config.http.listen.port(), 2);
        assert_eq!(config.connections[0].password.as_ref().unwrap().reveal(), "hush");
        assert_eq!(config.connections[0].prefixes, ["46"]);
        assert!(config.egress_policy().allow_http);
    }

    #[test]
    fn a_wrong_variable_is_named() {
        let check = |name: &str, value: &str, expected: &str| {
            let problems = load("", &[(name, value)]).expect_err(name);
            assert_eq!(problems.iter().map(Problem::to_string).collect::<Vec<_>>(), [expected]);
        };
        check(
            "TIDINGS_HTTP__LISTN",
            "x",
            "TIDINGS_HTTP__LISTN: this variable overrides nothing; [http] has no such key: unset it, or look the key up with `tidings config show`",
        );
        check(
            "TIDINGS_DATA__READERS",
            "many",
            r#"TIDINGS_DATA__READERS: key "readers" in [data] is "many", but must be a whole number from 1 to 64"#,
        );
    }

    #[test]
    fn a_secret_may_stand_in_a_file_and_is_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("password");
        std::fs::write(&path, "hush\n").unwrap();
        let config = load(&format!("{NORTH}password_file = {:?}\n", path.display().to_string()), &[]).unwrap();
        assert_eq!(config.connections[0].password.as_ref().unwrap().reveal(), "hush");
        assert!(!config.show().contains("hush") && !format!("{config:?}").contains("hush"));

        let problems = load(&format!("{NORTH}password_file = \"/nowhere/at/all\"\n"), &[]).expect_err("no such file");
        assert!(problems[0].to_string().starts_with(r#"tidings.toml:5: key "password_file" in [[connection]] "north" names the file /nowhere/at/all"#), "{problems:?}");
    }

    #[test]
    fn the_test_environment_always_has_a_simulator() {
        let config = load("", &[]).unwrap();
        let [simulator] = &config.connections[..] else { panic!("one connection: {:?}", config.connections) };
        assert_eq!((simulator.kind, simulator.environment, simulator.name.as_str()), (Kind::Simulator, Environment::Test, SIMULATOR));
    }

    #[test]
    fn what_is_shown_reads_back_as_itself() {
        let config = load(&format!("{NORTH}password = \"x\"\npace_per_s = 0.5\n"), &[]).unwrap();
        let shown = config.show();
        let again = load(&shown, &[]).unwrap_or_else(|problems| panic!("{problems:?}\n{shown}"));
        assert_eq!(again.show(), shown);
    }

    #[test]
    fn the_example_file_is_current_and_each_of_its_lines_is_right() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config.example.toml");
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, example()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), example(), "run with UPDATE=1");
        load(&example(), &[]).unwrap();

        let uncommented: String = example()
            .lines()
            .filter_map(|line| line.strip_prefix("# ").or(Some(line)))
            .filter(|line| line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| key.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')))
            .filter(|line| !line.starts_with("tls_"))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = load(&uncommented, &[("NORTH_PASSWORD", "hush")]).unwrap_or_else(|problems| panic!("{problems:?}\n{uncommented}"));
        assert_eq!(config.connections.len(), 2);
    }
}
