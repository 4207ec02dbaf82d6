//! The sections that are written once: their keys, what each means, and what counts if it is not written. The comments are
//! the documentation: `config.example.toml` is made of them.
//!
//! What the keys become for the engine is in [`super::policy`], what must hold between them in [`super::check`].

use super::database::Address;
use super::key::{CountryCode, LanguageCode, Money, PriceLine, RoleList, Whole, section, words};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use tidings_domain::admission::Bounds;
use tidings_domain::assembly::WAIT_S;
use tidings_domain::code::RESEND_AFTER_S;
use tidings_domain::content::Act;
use tidings_domain::frequency::CAP_MAX;
use tidings_domain::intake::Limits as IntakeLimits;
use tidings_domain::keyword::Language;
use tidings_domain::node::Roles;
use tidings_domain::purpose::Purpose;
use tidings_domain::quiet_hours::{Policy as QuietHoursPolicy, Window};
use tidings_domain::range::Range;
use tidings_domain::retry::RetryPolicy;
use tidings_domain::velocity::Bounds as Velocity;
use tidings_egress::Block;

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
        cache_mib: Whole<1, 16_384> = Whole::new(16);
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
    /// Which numbers are dead: message after message came back from there because the phone could not be reached, and nothing was
    /// delivered to it or came from it in between. They go on the suppression list for a while, with the reason "unreachable". See
    /// the guide about the suppression list.
    Suppression = "suppression" {
        /// So many messages in a row. 0 takes no number for dead.
        unreachable_after: Whole<0, 1_000> = Whole::new(5);
        /// From the first of them to the last: days. A phone may be switched off for a holiday. 0 asks for no time.
        unreachable_over_days: Whole<0, 3_650> = Whole::new(30);
        /// How long they stay on the list: days. Numbers are given to new people, so they are tried again.
        unreachable_for_days: Whole<1, 3_650> = Whole::new(90);
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
    /// done whatever stands here. An answer goes to who wrote, from the sender that was written to, within five minutes. Each
    /// sender may have texts of its own: see [[sender]].
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
    /// As the rules have it.
    pub const fn act(self) -> Act {
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
        /// None of your names: those in "brands" here, or else the "brand" of [replies] and those of your [[sender]]s. Without
        /// the first two nothing is looked for.
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
    /// How many messages a person may get. Days and weeks slide: any 24 hours, any seven days. 0 is no cap. What three
    /// states say is built in; see the guide about how often.
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
    /// When people are not disturbed, by the clocks where their numbers are from, or of the time zones that are stated for
    /// them. The hours of the United States and their states, France and India are built in, for marketing; see the guide
    /// about quiet hours.
    QuietHours = "quiet_hours" {
        /// Which messages have quiet hours. An empty list switches them off, and what states say about how often.
        purposes: Vec<Purpose> = QuietHoursPolicy::default().purposes;
        /// What happens to a message then: it waits until they are over ("hold"), or it is refused ("refuse").
        outside: OutsideWord = OutsideWord::Hold;
        /// Only within these hours, everywhere, whatever the law leaves open. Narrow it where people may have moved to
        /// another time zone and kept their numbers.
        window: Option<Window> = None, example r#""10:00-18:00""#;
        /// Countries in which there are no quiet hours, and no law about how often.
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
