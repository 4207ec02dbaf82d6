//! The one typed configuration: which keys there are, what they mean, and what counts if they are not written.
//!
//! The file is TOML. A variable of the environment overrides a key: `TIDINGS_HTTP__LISTEN` is `listen` in `[http]`,
//! `TIDINGS_CONNECTION__NORTH__PASSWORD` is `password` of the connection `north`. What is documented here is what
//! `config.example.toml` shows. Everything that is wrong is reported at once, with key, line and cure.
//!
//! It opens nothing but the files that keys name, and starts nothing.

pub mod connection;
pub mod database;
pub mod inbound_rule;
pub mod key;
pub mod list;
pub mod pool;
pub mod sender;

use connection::{Connection, Secrets};
use database::Address;
use key::{
    CountryCode, LanguageCode, Money, PriceLine, Problem, Reader, RoleList, Section, Whole, section, words,
};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use tidings_domain::account::Environment;
use tidings_domain::admission::Bounds;
use tidings_domain::assembly::WAIT_S;
use tidings_domain::code::{BRAND_MAX, RESEND_AFTER_S};
use tidings_domain::consent;
use tidings_domain::content::{self, Act};
use tidings_domain::frequency::{self, Beyond, CAP_MAX, Caps};
use tidings_domain::gate;
use tidings_domain::intake::Limits as IntakeLimits;
use tidings_domain::keyword::Language;
use tidings_domain::node::Roles;
use tidings_domain::purpose::Purpose;
use tidings_domain::quiet_hours::{Outside, Policy as QuietHoursPolicy, Window};
use tidings_domain::range::{self, Range};
use tidings_domain::registration;
use tidings_domain::reply::{Kind, Texts};
use tidings_domain::retry::RetryPolicy;
use tidings_domain::sender::{InvalidSender, Sender};
use tidings_domain::spend;
use tidings_domain::velocity::{Bounds as Velocity, Watch};
use tidings_egress::{Block, Policy, Ports};
use tidings_engine::code::{Key, OneTimeCodes};
use tidings_store::Retention as StoreRetention;
use toml::de::DeTable;

/// The name of the configuration where none is given.
pub const FILE_NAME: &str = "tidings.toml";
/// A larger file is not a configuration: octets.
const FILE_MAX: u64 = 1024 * 1024;

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
    /// So many steps more.
    #[must_use]
    pub const fn louder(self, steps: u8) -> Self {
        match (self, steps) {
            (level, 0) => level,
            (Self::Error, 1) => Self::Warn,
            (Self::Error, 2) | (Self::Warn, 1) => Self::Info,
            _ => Self::Debug,
        }
    }

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

section! {
    /// Where everything is kept. One program at a time serves a directory.
    Data = "data" {
        /// The data directory. It is made with access for its owner only. Keep it on a local disk: SQLite loses
        /// its guarantees on network file systems.
        directory: PathBuf = PathBuf::from("/var/lib/tidings");
        /// A PostgreSQL database to keep everything in, instead of SQLite in the directory, which then only says that
        /// one program runs there. Its address may hold a password: it can also be written as "env:NAME".
        url: Option<Address> = None, example r#""postgres://tidings@db.example/tidings""#;
        /// A file of its own that holds this address.
        url_file: Option<PathBuf> = None, example r#""/etc/tidings/database""#;
        /// Memory for SQLite's pages: MiB.
        cache_mib: Whole<1, 16_384> = Whole::new(64);
        /// Threads, or sessions with PostgreSQL, that read beside the one that writes.
        readers: Whole<1, 64> = Whole::new(2);
        /// Room on the disk that is kept for a bad day: MiB. When the disk is full, what carriers answer for messages
        /// that are on their way is still recorded there. 0 keeps none.
        reserve_mib: Whole<0, 16_384> = Whole::new(64);
        /// Makes ids unlike those of other installations that you may merge one day.
        node: Whole<0, 511> = Whole::new(0);
    }
}

section! {
    /// This process among others that serve the same PostgreSQL database. With SQLite there is only one.
    Node = "node" {
        /// What people call it. Not written: the name of the machine.
        name: Option<String> = None, example r#""north-1""#;
        /// What it does: answer programs (api), own connections and submit on them (send), call webhooks (webhook).
        /// Without api it still answers /livez, /readyz and /metrics.
        roles: RoleList = RoleList(Roles::ALL);
    }
}

section! {
    /// The API.
    Http = "http" {
        /// Where it listens. It speaks plain HTTP: put a proxy with TLS before it where others can reach it.
        listen: SocketAddr = SocketAddr::from((Ipv4Addr::LOCALHOST, 8080));
        /// The address under which others reach it: it begins the addresses in errors and in OAuth metadata.
        public_url: Option<String> = None, example r#""https://sms.example.com""#;
        /// Where phone numbers without a country code are from: two letters. Without it they are refused.
        default_country: Option<CountryCode> = None, example r#""SE""#;
        /// Whether /metrics answers other machines. Behind a proxy on the same machine everybody looks local: let
        /// the proxy not pass it on.
        metrics_open: bool = false;
    }
}

section! {
    /// The log, on standard error. It never holds message texts, full phone numbers or secrets.
    Log = "log" {
        /// How lines look.
        format: LogFormat = LogFormat::Auto;
        /// How much is said.
        level: LogLevel = LogLevel::Info;
    }
}

section! {
    /// What is accepted.
    Limits = "limits" {
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
        /// Messages that may wait to be sent, the scheduled ones included; then no more are accepted. Marketing may
        /// fill 70 percent of it, transactional messages 85 and alerts 95, so that there is room for one-time codes.
        /// A waiting message takes some 300 octets of disk and no memory.
        max_waiting_messages: Whole<1_000, 1_000_000_000> = Whole::new(Bounds::default().waiting_max as i64);
        /// What one account may have of them where there are several: percent.
        max_waiting_account_percent: Whole<1, 100> = Whole::new(Bounds::default().account_percent as i64);
    }
}

section! {
    /// When a message is tried again that its carrier refused for a reason that time may cure.
    Retry = "retry" {
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
    Webhooks = "webhooks" {
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
    Retention = "retention" {
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
    /// A file outside of the store that has every change of the suppression list: what a restored backup does not know.
    Journal = "journal" {
        /// The directory of its files. Not written: "journal" in the data directory. Keep it on another disk than the
        /// store, and copy it with the backups.
        path: Option<PathBuf> = None, example r#""/var/lib/tidings-journal""#;
    }
}

section! {
    /// What people send.
    Inbound = "inbound" {
        /// How long a long message waits for its parts, from the first that came: seconds. Then it is told without those
        /// that are missing. One that may ask for no more messages waits for ten seconds at most.
        parts_wait_s: Whole<1, 3_600> = Whole::new(WAIT_S as i64);
    }
}

section! {
    /// What people are answered who ask by text to get no more messages, to get them again, or for help. What they ask is
    /// done whatever stands here. An answer goes to who wrote, from the sender that was written to, within five minutes.
    Replies = "replies" {
        /// Whether they are answered. A connection whose carrier answers by itself has a key of its own for that.
        enabled: bool = true;
        /// Who you are: the name that people know you by. It begins each answer.
        brand: Option<String> = None, example r#""Acme Clinic""#;
        /// How people reach you: a phone number or an address. Carriers in North America want it in answers to HELP.
        help: Option<String> = None, example r#""+1 212 555 0100""#;
        /// The language of answers to words that are the same everywhere, such as STOP: two letters.
        language: LanguageCode = LanguageCode(Language::ENGLISH);
        /// Your own text to confirm that somebody gets no more messages, in the place of those in the languages that are
        /// known here. No marketing in it: what is not a confirmation must not be sent to who opted out.
        opt_out_text: Option<String> = None, example r#""Acme: you will get no more texts. Reply START to undo.""#;
        /// Your own text to confirm that somebody gets messages again.
        opt_in_text: Option<String> = None, example r#""Acme: you will get our texts again. Reply STOP to stop.""#;
        /// Your own text for who asks for help.
        help_text: Option<String> = None, example r#""Acme: call +1 212 555 0100. Reply STOP to stop.""#;
    }
}

section! {
    /// Where may be sent to.
    Countries = "countries" {
        /// The countries whose numbers may be sent to, by their two letters; an empty list enables all. Name those that you
        /// have customers in: who guesses at your forms to earn from messages does so with numbers of others.
        enabled: Vec<CountryCode> = Vec::new(), example r#"["US", "CA"]"#;
    }
}

section! {
    /// Numbers that no person has, or that are dear, by what libphonenumber knows of their range.
    Ranges = "ranges" {
        /// The ranges that may be sent to all the same. Whether a number is premium-rate is looked at before, and no request
        /// to one is taken. In the test environment what is unassigned or fictitious may always be sent to.
        enabled: Vec<Range> = Vec::new(), example r#"["shared_cost"]"#;
    }
}

section! {
    /// Who messages may be from, beyond what each connection says. The senders themselves are listed as [[sender]].
    Senders = "senders" {
        /// Whether only those that are listed may be used. Otherwise a sender that is not listed is not looked at.
        only_listed: bool = false;
    }
}

words! {
    /// What is done about something in a text.
    ActWord {
        /// It is not looked for.
        Off = "off",
        /// The message goes, and its caller is told.
        Warn = "warn",
        /// The message does not go.
        Stop = "stop",
    }
}

impl ActWord {
    const fn act(self) -> Act {
        match self {
            Self::Off => Act::Off,
            Self::Warn => Act::Warn,
            Self::Stop => Act::Stop,
        }
    }
}

section! {
    /// What texts are looked at for before they go, since carriers filter it: "off", "warn" (the answer says it) or "stop" (the
    /// message does not go). See the guide about what carriers filter.
    Content = "content" {
        /// Which messages are looked at. An empty list switches all off.
        purposes: Vec<Purpose> = vec![Purpose::Marketing];
        /// Links of shorteners that everybody may use.
        url_shortener: ActWord = ActWord::Warn;
        /// Words about sex, hate, alcohol, firearms, tobacco and cannabis.
        restricted_goods: ActWord = ActWord::Warn;
        /// Nearly all in capitals.
        all_capitals: ActWord = ActWord::Warn;
        /// Nothing that says how to opt out.
        no_opt_out_wording: ActWord = ActWord::Warn;
        /// None of your names: those in "brands" here, or else the "brand" of [replies]. Without either nothing is looked for.
        no_brand: ActWord = ActWord::Warn;
        /// Names that people know you by, of which each text is to have one.
        brands: Vec<String> = Vec::new(), example r#"["Acme", "Acme Clinic"]"#;
    }
}

words! {
    /// What happens to a message that is one too many.
    BeyondWord {
        /// It waits for its turn.
        Hold = "hold",
        /// It is refused.
        Refuse = "refuse",
    }
}

section! {
    /// How much each account may spend in the live environment, by these prices, in whatever currency they are written. It is an
    /// estimate; see the guide about what accounts spend. Days and months are those of UTC.
    Spend = "spend" {
        /// What a segment costs, by the beginnings of numbers; the longest that fits counts.
        prices: Vec<PriceLine> = Vec::new(), example r#"["1: 0.0079", "46: 0.045"]"#;
        /// What a segment costs to numbers that none of them fits. Must be written where there is a limit.
        other: Option<Money> = None, example "0.10";
        /// How much an account may spend in a day; without it, as much as it likes.
        per_day: Option<Money> = None, example "250";
        /// How much in a month.
        per_month: Option<Money> = None, example "5000";
    }
}

section! {
    /// How many messages a person may get. Days and weeks slide: any 24 hours, any seven days. 0 is no cap.
    Frequency = "frequency" {
        /// Which messages count together, and are capped.
        purposes: Vec<Purpose> = vec![Purpose::Marketing];
        /// In a day.
        per_day: Whole<0, { CAP_MAX as i64 }> = Whole::new(0), example "1";
        /// In seven days.
        per_week: Whole<0, { CAP_MAX as i64 }> = Whole::new(0), example "3";
        /// What happens to one too many: it waits for its turn ("hold"), at most a week, or it is refused ("refuse").
        beyond: BeyondWord = BeyondWord::Hold;
    }
}

words! {
    /// What happens to a message in quiet hours.
    OutsideWord {
        /// It waits until they are over.
        Hold = "hold",
        /// It is refused.
        Refuse = "refuse",
    }
}

section! {
    /// Consent that must be recorded before a message goes; see the guide about consent.
    ConsentRules = "consent" {
        /// Which messages need one. Messages to people who did not agree to them are refused.
        required: Vec<Purpose> = Vec::new(), example r#"["marketing"]"#;
    }
}

section! {
    /// When people are not disturbed, by the clocks where their numbers are from. The hours of the United States and their
    /// states, France and India are built in, for marketing; see the guide about quiet hours.
    QuietHours = "quiet_hours" {
        /// Which messages have quiet hours. An empty list switches them off.
        purposes: Vec<Purpose> = QuietHoursPolicy::default().purposes;
        /// What happens to a message then: it waits until they are over ("hold"), or it is refused ("refuse").
        outside: OutsideWord = OutsideWord::Hold;
        /// Only within these hours, everywhere, whatever the law leaves open. Narrow it where people may have moved to
        /// another time zone and kept their numbers.
        window: Option<Window> = None, example r#""10:00-18:00""#;
        /// Countries in which there are no quiet hours.
        except: Vec<CountryCode> = Vec::new(), example r#"["SE"]"#;
    }
}

section! {
    /// One-time codes: how they are sent, and how many. A bound of 0 is none. What is counted slides: it is never more in
    /// any such time.
    Codes = "codes" {
        /// The file of the key that codes are made of: 64 hexadecimal digits, such as `openssl rand -hex 32` prints, and
        /// readable for this user only. Not written: "codes.key" in the data directory, which is made there. With
        /// PostgreSQL there are no codes without it, and every node needs the same. Keep it away from copies of the
        /// database: it is what keeps codes out of them. Another key makes the codes that wait worth nothing.
        key_file: Option<PathBuf> = None, example r#""/etc/tidings/codes.key""#;
        /// Who codes are from, if the caller does not say: a phone number, a short code or a name.
        sender: Option<String> = None, example r#""Acme""#;
        /// The name that texts begin with, if the caller does not say: at most 30 characters.
        brand: Option<String> = None, example r#""Acme""#;
        /// How long somebody has to wait for the text before it is sent again: seconds.
        resend_after_s: Whole<1, 600> = Whole::new(RESEND_AFTER_S);
        /// Codes to one phone number in ten minutes.
        number_in_10_min: Whole<0, 1_000_000> = Whole::new(Velocity::default().number as i64);
        /// Codes for one session of a person, where callers name it, in ten minutes.
        session_in_10_min: Whole<0, 1_000_000> = Whole::new(Velocity::default().session as i64);
        /// Codes for one address of persons, where callers name it, in ten minutes. Many people may share one.
        address_in_10_min: Whole<0, 1_000_000> = Whole::new(Velocity::default().address as i64);
        /// Codes to one prefix (numbers that differ in their last four digits only) in fifteen minutes, however many are
        /// typed in.
        prefix_in_15_min: Whole<0, 1_000_000> = Whole::new(Velocity::default().prefix as i64);
        /// Codes to one country in ten minutes.
        country_in_10_min: Whole<0, 1_000_000> = Whole::new(Velocity::default().country as i64);
        /// Codes that one token asks for in ten minutes.
        token_in_10_min: Whole<0, 1_000_000> = Whole::new(Velocity::default().token as i64);
        /// The watch against traffic pumping: a prefix is stopped for an hour if more than this many codes went to it in
        /// fifteen minutes ...
        stop_after: Whole<1, 1_000_000> = Whole::new(Velocity::default().watch.sends as i64);
        /// ... or for a day, if more than this many did in a day ...
        stop_after_in_a_day: Whole<1, 1_000_000> = Whole::new(Velocity::default().watch_day.sends as i64);
        /// ... of which fewer than so many percent were typed in. 0 stops nothing.
        stop_below_percent: Whole<0, 100> = Whole::new(Velocity::default().watch.percent as i64);
    }
}

section! {
    /// What carriers' error codes mean, beyond what is built in.
    Failures = "failures" {
        /// A CSV table with further codes, or other meanings for known ones.
        table: Option<PathBuf> = None, example r#""/etc/tidings/failures.csv""#;
    }
}

/// Makes the configuration out of the sections that are written once, in the order in which they are shown, and of what
/// the lists become, which are read by themselves.
macro_rules! sections {
    (
        once { $($name:ident: $section:ident,)* }
        lists { $($(#[doc = $doc:literal])* $list:ident: $all:ty,)* }
    ) => {
        /// The whole configuration.
        #[derive(Debug, Clone)]
        pub struct Config {
            $(#[doc = concat!("`[", stringify!($name), "]`")] pub $name: $section,)*
            $($(#[doc = $doc])* pub $list: $all,)*
        }

        /// The names of the sections that are written once.
        const SECTIONS: &[&str] = &[$($section::NAME),*];

        impl Config {
            fn read<'a>(reader: &mut Reader<'a>, root: &'a DeTable<'a>) -> Self {
                Self {
                    $($name: reader.section(root),)*
                    $($list: Default::default(),)*
                }
            }

            fn print_sections(&self, text: &mut String) {
                $(key::print(text, &self.$name);)*
            }
        }

        fn print_examples(text: &mut String) {
            $(key::print_example::<$section>(text);)*
        }
    };
}

sections! {
    once {
        data: Data,
        node: Node,
        http: Http,
        log: Log,
        limits: Limits,
        retry: Retry,
        webhooks: Webhooks,
        retention: Retention,
        journal: Journal,
        inbound: Inbound,
        replies: Replies,
        countries: Countries,
        ranges: Ranges,
        senders: Senders,
        content: Content,
        consent: ConsentRules,
        spend: Spend,
        frequency: Frequency,
        quiet_hours: QuietHours,
        codes: Codes,
        failures: Failures,
    }
    lists {
        /// `[[sender]]`
        listed: BTreeMap<Sender, sender::Sender>,
        /// `[[pool]]`
        pools: Vec<pool::Pool>,
        /// `[[inbound_rule]]`, in their order.
        inbound_rules: Vec<inbound_rule::Written>,
        /// `[[connection]]`, the simulator of the test environment included.
        connections: Vec<Connection>,
    }
}

/// The names of the sections that may be written several times.
const LISTS: [&str; 4] =
    [sender::Sender::NAME, pool::Pool::NAME, inbound_rule::Rule::NAME, connection::Common::NAME];

impl Data {
    /// Everything is in this directory, or at this address of a database, whatever was written.
    pub fn name(&mut self, named: &Path) {
        self.url_file = None;
        self.url = named.to_str().and_then(Address::of);
        if self.url.is_none() {
            named.clone_into(&mut self.directory);
        }
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn load(
        path: &Path,
        environment: &BTreeMap<String, String>,
        secrets: Secrets,
    ) -> Result<Self, Vec<Problem>> {
        let name = path.display().to_string();
        let unreadable = |why: String| {
            vec![Problem {
                place: name.clone(),
                sentence: format!(
                    "the configuration cannot be read: {why}; name the right file with --config"
                ),
            }]
        };
        let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if size > FILE_MAX {
            return Err(unreadable("it is larger than 1 MiB".to_owned()));
        }
        let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
        Self::parse(&name, &text, environment, secrets)
    }

    /// The defaults, with the environment's word.
    ///
    /// # Errors
    /// Everything that is wrong with the environment's variables.
    pub fn defaults(environment: &BTreeMap<String, String>) -> Result<Self, Vec<Problem>> {
        Self::parse("defaults", "", environment, Secrets::Left)
    }

    /// Reads the text of a file called `name`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn parse(
        name: &str,
        text: &str,
        environment: &BTreeMap<String, String>,
        secrets: Secrets,
    ) -> Result<Self, Vec<Problem>> {
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
        let names: Vec<&str> = SECTIONS.iter().copied().chain(LISTS).collect();
        for (key, value) in root {
            let known = key.get_ref().as_ref();
            let place = reader.place(key.span().start);
            if !names.contains(&known) {
                let what =
                    if value.get_ref().is_table() || value.get_ref().is_array() { "section" } else { "key" };
                let cure = key::cure(known, names.iter().copied());
                reader.complain(place, format!(r#"{what} "{known}" is not known; {cure}"#));
            } else if SECTIONS.contains(&known) && !value.get_ref().is_table() {
                reader.complain(
                    place,
                    format!(
                        r#""{known}" is a section; write [{known}] on a line of its own and its keys below"#
                    ),
                );
            }
        }
        let mut config = Self::read(&mut reader, root);
        if config.retry.max_delay_s.get::<i64>() < config.retry.first_delay_s.get::<i64>() {
            let table = reader.table_of::<Retry>(root);
            reader.complain_of(
                &table,
                "max_delay_s",
                r#"is shorter than "first_delay_s"; raise it"#.to_owned(),
            );
        }
        config.check_codes(&mut reader, root);
        config.check_brands(&mut reader, root);
        config.check_spend(&mut reader, root);
        config.check_database(&mut reader, root, secrets);
        config.listed = sender::read(&mut reader, root);
        config.pools = pool::read(&mut reader, root);
        config.inbound_rules = inbound_rule::read(&mut reader, root);
        config.connections = connection::read(&mut reader, root, secrets);
        reader.finish_variables(&names);
        if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
    }

    fn check_spend<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let Spend { prices, other, per_day, per_month } = &self.spend;
        let table = reader.table_of::<Spend>(root);
        if (per_day.is_some() || per_month.is_some()) && other.is_none() {
            let wrong = "is missing; write what a segment costs to numbers that no price is for";
            reader.complain_of(&table, "other", wrong.to_owned());
        }
        for (n, PriceLine(prefix, _)) in prices.iter().enumerate() {
            if prices[..n].iter().any(|line| line.0 == *prefix) {
                let wrong = format!(r#"has a price for "{prefix}" twice; remove one"#);
                reader.complain_of(&table, "prices", wrong);
            }
        }
    }

    fn check_codes<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let table = reader.table_of::<Codes>(root);
        if let Some(Err(why)) = self.codes.sender.as_deref().map(parse_sender) {
            reader.complain_of(&table, "sender", format!("cannot be a sender: {why}; correct it"));
        }
        let fits = |brand: &str| {
            (1..=BRAND_MAX).contains(&brand.chars().count()) && !brand.chars().any(char::is_control)
        };
        if !self.codes.brand.as_deref().is_none_or(fits) {
            let sentence = format!("must have 1 to {BRAND_MAX} characters; shorten it");
            reader.complain_of(&table, "brand", sentence);
        }
    }

    /// What is no name would stand in every text, or in none.
    fn check_brands<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>) {
        let (of_content, of_replies) = (reader.table_of::<Content>(root), reader.table_of::<Replies>(root));
        if let Some(brand) = self.content.brands.iter().find(|brand| !content::is_name(brand)) {
            let sentence = format!("has {brand:?}, which has no letter and no digit to look for; correct it");
            reader.complain_of(&of_content, "brands", sentence);
        }
        let is_looked_for = self.content.brands.is_empty()
            && !self.content.purposes.is_empty()
            && self.content.no_brand.act() != content::Act::Off;
        let brand = self.replies.brand.as_deref().filter(|brand| !brand.is_empty());
        if is_looked_for && brand.is_some_and(|brand| !content::is_name(brand)) {
            let sentence = r#"has no letter and no digit, and texts are looked at for it; correct it, or write "brands" into [content]"#;
            reader.complain_of(&of_replies, "brand", sentence.to_owned());
        }
    }

    fn check_database<'a>(&self, reader: &mut Reader<'a>, root: &'a DeTable<'a>, secrets: Secrets) {
        let table = reader.table_of::<Data>(root);
        if self.data.url.is_some() && self.data.url_file.is_some() {
            let sentence = r#"names a database, and so does "url_file"; remove one of them"#;
            reader.complain_of(&table, "url", sentence.to_owned());
        } else if secrets == Secrets::Fetched
            && let Err((key, why)) = self.database_of(|name| reader.variable(name).map(str::to_owned))
        {
            reader.complain_of(&table, key, why);
        }
    }

    fn database_of(
        &self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, (&'static str, String)> {
        let found = match (&self.data.url, &self.data.url_file) {
            (None, None) => return Ok(None),
            (Some(url), _) => url.find(variable).map_err(|why| ("url", why)),
            (None, Some(path)) => database::in_file(path).map_err(|why| ("url_file", why)),
        };
        let (key, address) =
            found.map(|address| (if self.data.url.is_some() { "url" } else { "url_file" }, address))?;
        match tidings_store::postgres::Options::at(&address) {
            Ok(_) => Ok(Some(address)),
            Err(why) => Err((key, format!("cannot be used: {why}; correct it"))),
        }
    }

    /// The address of the PostgreSQL database that everything is kept in, if it is not SQLite.
    ///
    /// # Errors
    /// A sentence, if it cannot be found where the configuration says it is.
    pub fn database(&self, environment: &BTreeMap<String, String>) -> Result<Option<String>, String> {
        self.database_of(|name| environment.get(name).cloned())
            .map_err(|(key, why)| format!(r#"key "{key}" in [data] {why}"#))
    }

    /// What people are answered who ask by text, if they are.
    pub fn reply_texts(&self) -> Option<Texts> {
        let Replies { enabled, brand, help, language, opt_out_text, opt_in_text, help_text } = &self.replies;
        let own =
            [(Kind::OptOut, opt_out_text), (Kind::OptIn, opt_in_text), (Kind::Help, help_text)].into_iter();
        enabled.then(|| Texts {
            brand: brand.clone().unwrap_or_default(),
            help: help.clone().unwrap_or_default(),
            language: language.0,
            own: own.filter_map(|(kind, text)| Some((kind, text.clone()?))).collect(),
        })
    }

    /// The pools of senders.
    pub fn pools(&self) -> Vec<tidings_domain::pool::Pool> {
        self.pools.iter().filter_map(pool::Pool::pool).collect()
    }

    /// What the gate is to hold and refuse.
    pub fn gate_policy(&self) -> gate::Policy {
        let QuietHours { purposes, outside, window, except } = &self.quiet_hours;
        gate::Policy {
            countries: self.countries.enabled.iter().map(|country| country.0).collect(),
            ranges: range::Policy::enabling(&self.ranges.enabled),
            senders: registration::Policy {
                listed: self.listed.iter().map(|(value, sender)| (*value, sender.listed(value))).collect(),
                only_listed: self.senders.only_listed,
            },
            content: self.content_policy(),
            consent: consent::Policy { purposes: self.consent.required.clone() },
            spend: spend::Policy {
                prices: self
                    .spend
                    .prices
                    .iter()
                    .map(|PriceLine(prefix, price)| (prefix.clone(), *price))
                    .collect(),
                other: self.spend.other.map_or(spend::Amount::ZERO, |Money(price)| price),
                limits: spend::Limits {
                    day: self.spend.per_day.map(|Money(limit)| limit),
                    month: self.spend.per_month.map(|Money(limit)| limit),
                },
            },
            frequency: frequency::Policy {
                purposes: self.frequency.purposes.clone(),
                caps: Caps { day: self.frequency.per_day.get(), week: self.frequency.per_week.get() },
                beyond: match self.frequency.beyond {
                    BeyondWord::Hold => Beyond::Hold,
                    BeyondWord::Refuse => Beyond::Refuse,
                },
            },
            quiet_hours: QuietHoursPolicy {
                purposes: purposes.clone(),
                outside: match outside {
                    OutsideWord::Hold => Outside::Hold,
                    OutsideWord::Refuse => Outside::Refuse,
                },
                window: window.unwrap_or(Window::ALL),
                except: except.iter().map(|country| country.0).collect(),
            },
        }
    }

    fn content_policy(&self) -> content::Policy {
        let content = &self.content;
        let mut brands = content.brands.clone();
        if brands.is_empty() {
            brands.extend(self.replies.brand.clone());
        }
        content::Policy {
            purposes: content.purposes.clone(),
            shorteners: content.url_shortener.act(),
            restricted: content.restricted_goods.act(),
            capitals: content.all_capitals.act(),
            opt_out: content.no_opt_out_wording.act(),
            brand: content.no_brand.act(),
            brands,
        }
    }

    /// How one-time codes are made of this key and sent.
    pub fn one_time_codes(&self, key: Option<Key>) -> OneTimeCodes {
        let codes = &self.codes;
        let watch = |sends| Watch { sends, percent: codes.stop_below_percent.get() };
        OneTimeCodes {
            key,
            bounds: Velocity {
                number: codes.number_in_10_min.get(),
                session: codes.session_in_10_min.get(),
                address: codes.address_in_10_min.get(),
                prefix: codes.prefix_in_15_min.get(),
                country: codes.country_in_10_min.get(),
                token: codes.token_in_10_min.get(),
                watch: watch(codes.stop_after.get()),
                watch_day: watch(codes.stop_after_in_a_day.get()),
            },
            resend_after_s: codes.resend_after_s.get(),
            // It was looked at when the configuration was read.
            sender: codes.sender.as_deref().and_then(|text| parse_sender(text).ok()),
            brand: codes.brand.clone(),
        }
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
            waiting: Bounds {
                waiting_max: limits.max_waiting_messages.get(),
                account_percent: limits.max_waiting_account_percent.get(),
            },
        }
    }

    /// When a message is tried again.
    pub fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_tries: self.retry.max_tries.get(),
            first_delay_ms: self.retry.first_delay_s.get::<i64>() * 1000,
            max_delay_ms: self.retry.max_delay_s.get::<i64>() * 1000,
            throttled_delay_ms: self.retry.throttled_delay_s.get::<i64>() * 1000,
            ..RetryPolicy::default()
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

    /// Where the journal of opt-outs is.
    pub fn journal_path(&self) -> PathBuf {
        self.journal.path.clone().unwrap_or_else(|| self.data.directory.join(crate::serve::JOURNAL))
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
        let live: Vec<&Connection> =
            self.connections.iter().filter(|c| c.environment == Environment::Live).collect();
        if live.is_empty() {
            warnings.push("there is no live connection to a carrier: live messages are refused until a [[connection]] is written that is one".to_owned());
        }
        for connection in live {
            if !connection.has("tls") {
                warnings.push(format!(
                    r#"connection "{}" sends its password in clear text: add [connection.tls] if the carrier offers it, or use a private line"#,
                    connection.name
                ));
            }
        }
        for (at, second) in self.connections.iter().enumerate() {
            if let Some(first) = self.connections[..at].iter().find(|first| first.shares_account(second)) {
                warnings.push(format!(
                    r#"connections "{}" and "{}" bind as one account, and a receipt that comes on the other one finds no message: write one [[connection]] with more binds, or ask the carrier for a second system_id"#,
                    first.name, second.name
                ));
            }
        }
        warnings
    }

    /// The configuration as it counts, as TOML, secrets masked.
    pub fn show(&self) -> String {
        let mut text = String::new();
        self.print_sections(&mut text);
        self.listed.values().for_each(|sender| list::print(&mut text, sender));
        self.pools.iter().for_each(|pool| list::print(&mut text, pool));
        self.inbound_rules.iter().for_each(|rule| rule.print(&mut text));
        self.connections.iter().for_each(|connection| connection.print(&mut text));
        text
    }
}

/// A sender of codes. Also the fictional numbers of the test environment are taken: one setting is for both.
fn parse_sender(text: &str) -> Result<Sender, InvalidSender> {
    Sender::parse(text, None, Environment::Test)
}

/// The text of `config.example.toml`.
pub fn example() -> String {
    let mut text = String::from(
        "# Every key of tidings.toml with its default. Generated: do not edit by hand.\n\
         # A line of the environment overrides a key: TIDINGS_HTTP__LISTEN is listen in [http],\n\
         # TIDINGS_CONNECTION__NORTH__PASSWORD is password of the connection \"north\".\n\
         # A password may be written as it is, as \"env:NAME\", or into a file of its own: password_file = \"/path\".\n",
    );
    print_examples(&mut text);
    list::print_example::<sender::Sender>(&mut text);
    list::print_example::<pool::Pool>(&mut text);
    list::print_example::<inbound_rule::Rule>(&mut text);
    connection::print_example(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_carriers::list::Settings;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, Vec<Problem>> {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::parse(FILE_NAME, text, &environment, Secrets::Fetched)
    }

    const NORTH: &str = "[[connection]]\nname = \"north\"\nkind = \"smpp\"\naddress = \"smpp.example\"\nsystem_id = \"acme\"\n";

    #[test]
    fn a_wrong_file_is_answered_with_key_line_and_cure() {
        let check = |text: &str, expected: &[&str]| {
            let problems: Vec<String> =
                load(text, &[]).expect_err(text).iter().map(Problem::to_string).collect();
            assert_eq!(problems, expected, "{text}");
        };
        check(
            "[http]\nlisten = \"localhost\"\n",
            &[
                r#"tidings.toml:2: key "listen" in [http] is "localhost", but must be an IP address with a port, such as "127.0.0.1:8080" or "[::]:8080""#,
            ],
        );
        check(
            &format!("{NORTH}password = \"x\"\n\nwindw = 20\n"),
            &[
                r#"tidings.toml:8: key "windw" is not known in [[connection]] "north"; did you mean "window"? Rename it"#,
            ],
        );
        check(
            &format!("{NORTH}password = \"x\"\nprefix = [\"46\"]\n"),
            &[
                r#"tidings.toml:7: key "prefix" is not known in [[connection]] "north"; did you mean "prefixes"? Rename it"#,
            ],
        );
        check(
            &format!("{NORTH}password = \"x\"\nwindow = \"wide\"\n"),
            &[
                r#"tidings.toml:7: key "window" in [[connection]] "north" cannot be used: invalid type: string "wide", expected usize; correct it"#,
            ],
        );
        check(
            &format!("{NORTH}password = \"x\"\nwindow = 0\n"),
            &[
                r#"tidings.toml:1: [[connection]] "north" cannot be used: window is 0, but must be between 1 and 10000; correct it"#,
            ],
        );
        check(
            &format!("{NORTH}password = 12345\n"),
            &[r#"tidings.toml:6: key "password" in [[connection]] "north" must be text in quotes"#],
        );
        check(
            "[limits]\nmax_segments = 300\n",
            &[
                r#"tidings.toml:2: key "max_segments" in [limits] is 300, but must be a whole number from 1 to 255"#,
            ],
        );
        check(
            "[content]\nbrands = [\"Acme\", \"***\"]\n",
            &[
                r#"tidings.toml:2: key "brands" in [content] has "***", which has no letter and no digit to look for; correct it"#,
            ],
        );
        check(
            "[replies]\nbrand = \"***\"\n",
            &[
                r#"tidings.toml:2: key "brand" in [replies] has no letter and no digit, and texts are looked at for it; correct it, or write "brands" into [content]"#,
            ],
        );
        check(
            "[limits]\nmax_segment = 3\n",
            &[
                r#"tidings.toml:2: key "max_segment" is not known in [limits]; did you mean "max_segments"? Rename it"#,
            ],
        );
        check(
            "[retry]\nfirst_delay_s = 60\nmax_delay_s = 30\n",
            &[r#"tidings.toml:3: key "max_delay_s" in [retry] is shorter than "first_delay_s"; raise it"#],
        );
        check(
            "\n[htp]\n",
            &[r#"tidings.toml:2: section "htp" is not known; did you mean "http"? Rename it"#],
        );
        check(
            "http = 5\n",
            &[r#"tidings.toml:1: "http" is a section; write [http] on a line of its own and its keys below"#],
        );
        check(
            "[connection]\nname = \"a\"\n",
            &["tidings.toml:1: connections are written as [[connection]], in double brackets; add them"],
        );
        check(
            "[[connection]]\nname = \"a\"\n",
            &[r#"tidings.toml:1: key "kind" in [[connection]] "a" is missing; write "simulator" or "smpp""#],
        );
        check(
            "[[connection]]\nname = \"a\"\nkind = \"http\"\n",
            &[
                r#"tidings.toml:3: key "kind" in [[connection]] "a" is "http", but must be "simulator" or "smpp""#,
            ],
        );
        check(
            &format!("{NORTH}password = \"env:NORTH_PASSWORD\"\n"),
            &[
                r#"tidings.toml:6: key "password" in [[connection]] "north" names the variable NORTH_PASSWORD, which is not set; set it, or write the secret into a file and name it in password_file"#,
            ],
        );
        check(
            &format!("{NORTH}password = \"x\"\nenvironment = \"test\"\n"),
            &[
                r#"tidings.toml:7: key "environment" in [[connection]] "north" is "test", but the test environment never reaches a real carrier; only one on this machine, such as `tidings simulate smsc`: set environment = "live", or an address such as "127.0.0.1:2775""#,
            ],
        );
        check(
            "[[connection]]\nname = \"pretend\"\nkind = \"simulator\"\nenvironment = \"live\"\n",
            &[
                r#"tidings.toml:4: key "environment" in [[connection]] "pretend" is "live", but the simulator delivers to nobody; remove the connection, or set environment = "test""#,
            ],
        );
        check(
            &format!("{NORTH}password = \"x\"\n{NORTH}password = \"x\"\n"),
            &[
                r#"tidings.toml:8: key "name" in [[connection]] "north" is used twice; give each connection a name of its own"#,
            ],
        );
        check(
            &format!("{NORTH}password = \"x\"\nprefixes = [\"+46\"]\nsenders = [\"TooLongForAName\"]\n"),
            &[
                r#"tidings.toml:7: key "prefixes" in [[connection]] "north" has "+46", which is not the beginning of a number; write digits without +, such as "46""#,
                &format!(
                    r#"tidings.toml:8: key "senders" in [[connection]] "north" has "TooLongForAName", which cannot be a sender: {}; correct or remove it"#,
                    tidings_domain::sender::Sender::parse("TooLongForAName", None, Environment::Live)
                        .expect_err("it is too long")
                ),
            ],
        );
        check(
            "[[pool]]\nname = \"Support\"\nsenders = []\n",
            &[
                r#"tidings.toml:2: key "name" in [[pool]] "Support" must be 1 to 40 of a to z, digits, - and _"#,
                r#"tidings.toml:3: key "senders" in [[pool]] "Support" is empty; write the senders of the pool"#,
            ],
        );
        check(
            "[[pool]]\nname = \"a\"\nsenders = [\"Acme\", \"Acme\"]\n[[pool]]\nname = \"a\"\nsenders = [\"Acme\"]\n",
            &[r#"tidings.toml:3: key "senders" in [[pool]] "a" has "Acme" twice; remove one"#],
        );
        check(
            "[[pool]]\nname = \"a\"\nsenders = [\"Acme\"]\n[[pool]]\nname = \"a\"\nsenders = [\"Acme\"]\n",
            &[
                r#"tidings.toml:5: key "name" in [[pool]] "a" is the name of another pool too; choose another"#,
            ],
        );
        check(
            "[spend]\nper_day = 5\nprices = [\"46: 1\", \"+46: 2\"]\n",
            &[
                r#"tidings.toml:1: key "other" in [spend] is missing; write what a segment costs to numbers that no price is for"#,
                r#"tidings.toml:3: key "prices" in [spend] has a price for "46" twice; remove one"#,
            ],
        );
        check(
            "[[sender]]\nvalue = \"Acme\"\ntrust_score = 60\n",
            &[
                r#"tidings.toml:3: key "trust_score" in [[sender]] "Acme" is that of a brand; write the brand as "brand_id""#,
            ],
        );
        let broken = load("[http]\nlisten = \n", &[]).expect_err("it is no TOML");
        assert_eq!((broken.len(), broken[0].place.as_str()), (1, "tidings.toml:2"), "{broken:?}");
    }

    /// P-35
    #[test]
    fn a_live_connection_with_a_password_from_a_document_is_refused() {
        for (address, environment, password, right) in [
            ("smpp.example", "live", "tidings", false),
            ("smpp.example", "live", "ChangeMe", false),
            ("smpp.example", "live", "", false),
            ("smpp.example", "live", "k3-Yf9_w", true),
            ("127.0.0.1:2775", "live", "tidings", true),
            ("127.0.0.1:2775", "test", "tidings", true),
        ] {
            let text = NORTH.replace("smpp.example", address);
            let text = format!("{text}password = \"{password}\"\nenvironment = \"{environment}\"\n");
            let loaded = load(&text, &[]);
            assert_eq!(loaded.is_ok(), right, "{address} {environment} {password:?}: {:?}", loaded.err());
        }
        // Neither is there a word that makes commits less durable.
        let problems = load("[data]\nsynchronous = \"NORMAL\"\n", &[]).expect_err("there is no such key");
        assert!(
            problems[0].to_string().contains(r#"key "synchronous" is not known in [data]"#),
            "{problems:?}"
        );
    }

    /// P-36: whatever stands in the file, the answer is a configuration or sentences.
    #[test]
    fn no_file_breaks_its_reader() {
        use tidings_fuzz::mutate::{Random, mutate};
        const WORDS: &[&[u8]] = &[
            b"[[connection]]\n",
            b"[http]\n",
            b"listen = ",
            b"\"env:X\"",
            b"= [",
            b"{ a = 1 }",
            b"\n",
            b"\"\"\"",
            b"'",
            b"prefixes = [\"46\"]\n",
            b"tls = {}\n",
            b"window = -1\n",
            b"1e400",
            b"0x",
            b"\\u0000",
            b"1979-05-27",
        ];
        let target =
            tidings_fuzz::Target { name: "configuration", run: |_| 0, octets_max: 8_192, words: WORDS };
        let uncommented: String =
            example().lines().map(|line| format!("{}\n", line.strip_prefix("# ").unwrap_or(line))).collect();
        let corpus =
            [example(), uncommented, format!("{NORTH}password = \"x\"\ntls = {{ ca_file = \"/x\" }}\n")];
        let corpus = corpus.map(String::into_bytes).to_vec();
        let mut random = Random::new(36);
        for _ in 0..1_500 {
            let text = mutate(&corpus, &target, &mut random);
            let text = String::from_utf8_lossy(&text);
            match Config::parse(FILE_NAME, &text, &BTreeMap::new(), Secrets::Left) {
                Ok(config) => drop((config.show(), config.warnings())),
                Err(problems) => {
                    assert!(!problems.is_empty() && problems.iter().all(|p| !p.sentence.is_empty()))
                }
            }
        }
    }

    #[test]
    fn two_connections_of_one_account_are_warned_of() {
        let warned = |second: &str| {
            let text = format!("{NORTH}password = \"x\"\n{}", second.replace("north", "south"));
            let config =
                Config::parse(FILE_NAME, &text, &BTreeMap::new(), Secrets::Left).expect("it is right");
            config.warnings().iter().filter(|warning| warning.contains("bind as one account")).count()
        };
        let again = format!("{NORTH}password = \"x\"\n");
        assert_eq!(warned(""), 0);
        assert_eq!(warned(&again), 1);
        assert_eq!(warned(&again.replace("system_id = \"", "system_id = \"second-")), 0, "another account");
    }

    fn password(config: &Config) -> &str {
        match &config.connections[0].carrier {
            Settings::Smpp(settings) => &settings.password.0,
            Settings::Simulator(_) => panic!("the first connection is north"),
        }
    }

    #[test]
    fn the_test_environment_reaches_only_carriers_on_this_machine() {
        for (address, right) in [
            ("127.0.0.1:2775", true),
            ("127.3.2.1", true),
            ("localhost:2775", true),
            ("localhost", true),
            ("[::1]:2775", true),
            ("smpp.example:2775", false),
            ("localhost.example:2775", false),
            ("127.0.0.1.example", false),
            ("10.0.0.1:2775", false),
            ("[2001:db8::1]:2775", false),
            ("0.0.0.0:2775", false),
            ("[::1]smpp.example:2775", false),
        ] {
            for (environment, right) in [("test", right), ("live", true)] {
                let text = NORTH.replace("smpp.example", address);
                let loaded = load(&format!("{text}password = \"x\"\nenvironment = \"{environment}\"\n"), &[]);
                assert_eq!(loaded.is_ok(), right, "{address} in {environment}: {:?}", loaded.err());
                if let Ok(config) = loaded {
                    assert_eq!(config.connections[0].environment.as_str(), environment);
                }
            }
        }
    }

    #[test]
    fn the_environment_overrides_the_file() {
        let config = load(
            &format!("[http]\nlisten = \"127.0.0.1:1\"\n{NORTH}password = \"x\"\n"),
            &[
                ("TIDINGS_HTTP__LISTEN", "127.0.0.1:2"),
                ("TIDINGS_CONNECTION__NORTH__PASSWORD", "hush"),
                ("TIDINGS_CONNECTION__NORTH__PREFIXES", r#"["46"]"#),
                ("TIDINGS_CONNECTION__NORTH__WINDOW", "20"),
                ("TIDINGS_CONNECTION__NORTH__TLS__SERVER_NAME", "carrier.example"),
                ("TIDINGS_WEBHOOKS__ALLOW_HTTP", "true"),
                ("TIDINGS_DATA", "/elsewhere"),
            ],
        )
        .unwrap();
        assert_eq!(config.http.listen.port(), 2);
        assert_eq!(password(&config), "hush");
        assert_eq!(config.connections[0].prefixes, ["46"]);
        let Settings::Smpp(carrier) = &config.connections[0].carrier else { panic!("it is SMPP") };
        assert_eq!(carrier.window, 20);
        assert_eq!(carrier.tls.as_ref().unwrap().server_name.as_deref(), Some("carrier.example"));
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
        let config =
            load(&format!("{NORTH}password_file = {:?}\n", path.display().to_string()), &[]).unwrap();
        assert_eq!(password(&config), "hush");
        assert!(!config.show().contains("hush") && !format!("{config:?}").contains("hush"));

        let problems =
            load(&format!("{NORTH}password_file = \"/nowhere/at/all\"\n"), &[]).expect_err("no such file");
        assert!(problems[0].to_string().starts_with(r#"tidings.toml:6: key "password_file" in [[connection]] "north" names the file /nowhere/at/all"#), "{problems:?}");
    }

    #[test]
    fn a_secret_that_is_left_where_it_is_need_not_be_there() {
        for (line, right) in [
            ("password = \"env:NORTH_PASSWORD\"", true),
            ("password_file = \"/nowhere/at/all\"", true),
            ("password = \"x\"\ntls = { key_file = \"/nowhere\", certificate_file = \"/nowhere\" }", true),
            ("password = 12345", false),
            ("password = \"x\"\npassword_file = \"/nowhere\"", false),
        ] {
            let text = format!("{NORTH}{line}\n");
            let left = Config::parse(FILE_NAME, &text, &BTreeMap::new(), Secrets::Left);
            assert_eq!(left.is_ok(), right, "{line}: {:?}", left.err());
            assert!(load(&text, &[]).is_err(), "{line}");
        }
    }

    fn number() -> tidings_domain::address::PhoneNumber {
        tidings_domain::address::PhoneNumber::from_stored("+46701234567").unwrap()
    }

    #[test]
    fn what_is_shown_reads_back_as_itself() {
        let config = load(
            &format!(
                "[spend]\nprices = [\"46: 0.045\"]\nother = 1\nper_day = 2_000.50\n[[pool]]\nname = \"a\"\nsenders = [\"Acme\"]\n\
                 [[sender]]\nvalue = \"Acme\"\ndaily_limit = 5\n{NORTH}password = \"x\"\npace_per_s = 0.5\n\
                 tls = {{ server_name = \"x\" }}\n"
            ),
            &[],
        )
        .unwrap();
        assert_eq!(
            (config.pools().len(), config.gate_policy().spend.price(number(), 2).to_string()),
            (1, "0.09".to_owned())
        );
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

        let is_key = |line: &str| {
            let name = line.split(" = ").next().unwrap_or_default();
            !name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_')
        };
        let uncommented: String = example()
            .lines()
            .map(|line| line.strip_prefix("# ").unwrap_or(line))
            .filter(|line| line.starts_with('[') || (line.contains(" = ") && is_key(line)))
            // It stands beside url, and one of them is enough.
            .filter(|line| !line.starts_with("url_file"))
            .map(|line| format!("{line}\n"))
            .collect();
        let config = load(&uncommented, &[("NORTH_PASSWORD", "hush")])
            .unwrap_or_else(|problems| panic!("{problems:?}\n{uncommented}"));
        assert_eq!(config.connections.len(), 2);
    }
}
