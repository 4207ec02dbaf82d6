//! The one typed configuration. Which keys there are, what they mean and what counts if they are not written is in
//! [`section`] and, for what may be written several times, in the files of [`connection`], [`inbound_rule`], [`pool`],
//! [`programme`] and
//! [`sender`]; here they become one. [`check`] has what must hold between them, [`policy`] what the engine takes.
//!
//! The file is TOML. A variable of the environment overrides a key: `TIDINGS_HTTP__LISTEN` is `listen` in `[http]`,
//! `TIDINGS_CONNECTION__NORTH__PASSWORD` is `password` of the connection `north`. What is documented here is what
//! `config.example.toml` shows. Everything that is wrong is reported at once, with key, line and cure.
//!
//! It opens nothing but the files that keys name, and starts nothing.

mod check;
pub mod connection;
pub mod database;
pub mod inbound_rule;
pub mod key;
mod list;
mod policy;
pub mod pool;
pub mod programme;
pub mod section;
pub mod sender;

use connection::{Connection, Secrets};
use key::{Problem, Reader, Section};
use section::*;
use std::collections::BTreeMap;
use std::path::Path;
use tidings_domain::sender::Sender;
use toml::de::DeTable;

/// The name of the configuration where none is given.
pub const FILE_NAME: &str = "tidings.toml";
/// A larger file is not a configuration: octets.
const FILE_MAX: u64 = 1024 * 1024;

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
        suppression: Suppression,
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
        /// `[[programme]]`
        written_programmes: Vec<programme::Written>,
        /// `[[inbound_rule]]`, in their order.
        inbound_rules: Vec<inbound_rule::Written>,
        /// `[[connection]]`, the simulator of the test environment included.
        connections: Vec<Connection>,
    }
}

/// The names of the sections that may be written several times.
const LISTS: &[&str] = &[
    sender::Sender::NAME,
    pool::Pool::NAME,
    programme::Programme::NAME,
    inbound_rule::Rule::NAME,
    connection::Common::NAME,
];

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
        let names: Vec<&str> = SECTIONS.iter().chain(LISTS).copied().collect();
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
        config.check(&mut reader, root, secrets);
        config.listed = sender::read(&mut reader, root, &config);
        config.pools = pool::read(&mut reader, root);
        config.written_programmes = programme::read(&mut reader, root, &config);
        config.inbound_rules = inbound_rule::read(&mut reader, root);
        config.connections = connection::read(&mut reader, root, secrets);
        config.check_lists(&mut reader, root);
        reader.finish_variables(&names);
        if reader.problems.is_empty() { Ok(config) } else { Err(reader.problems) }
    }

    /// The configuration as it counts, as TOML, secrets masked.
    pub fn show(&self) -> String {
        let mut text = String::new();
        self.print_sections(&mut text);
        self.listed.values().for_each(|sender| list::print(&mut text, sender));
        self.pools.iter().for_each(|pool| list::print(&mut text, pool));
        self.written_programmes.iter().for_each(|programme| programme.print(&mut text));
        self.inbound_rules.iter().for_each(|rule| rule.print(&mut text));
        self.connections.iter().for_each(|connection| connection.print(&mut text));
        text
    }
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
    list::print_example::<programme::Programme>(&mut text);
    list::print_example::<inbound_rule::Rule>(&mut text);
    connection::print_example(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_carriers::list::Settings;
    use tidings_domain::account::Environment;

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
            &[
                r#"tidings.toml:3: key "senders" in [[pool]] "a" has "Acme" twice; remove one"#,
                r#"tidings.toml:5: key "name" in [[pool]] "a" is the name of another pool too; choose another"#,
            ],
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
        let own = "[[sender]]\nvalue = \"+12125551234\"\n";
        check(
            &format!("{own}brand = \"***\"\nhelp_text = \"\"\nlanguage = \"xx\"\n"),
            &[
                &format!(
                    r#"tidings.toml:5: key "language" in [[sender]] "+12125551234" is "xx", but must be {}"#,
                    <key::LanguageCode as key::Setting>::wanted()
                ),
                r#"tidings.toml:4: key "help_text" in [[sender]] "+12125551234" is "", but must be text in quotes that is not empty, on one line"#,
                r#"tidings.toml:3: key "brand" in [[sender]] "+12125551234" has no letter and no digit, and texts are looked at for it; correct it, or write "brands" into [content]"#,
            ],
        );
        check(
            &format!("[replies]\nhelp_text = \"Acme: call us.\"\n{own}brand = \"Kids\"\n"),
            &[
                r#"tidings.toml:5: key "brand" in [[sender]] "+12125551234" is not in the "help_text" of [replies], which counts here too; write one here"#,
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

    #[test]
    fn connections_to_one_carrier_are_alike_where_it_matters() {
        let (key, second) = ("carrier = \"acme\"\n", NORTH.replace("north", "south"));
        let problems = |first: &str, second_more: &str| {
            let text = format!("{NORTH}password = \"x\"\n{first}{second}password = \"x\"\n{second_more}");
            match Config::parse(FILE_NAME, &text, &BTreeMap::new(), Secrets::Left) {
                Ok(config) => {
                    let warned = config.warnings();
                    assert!(
                        !warned.iter().any(|warning| warning.contains("bind as one account")),
                        "{warned:?}"
                    );
                    assert!(config.show().contains(r#"carrier = "acme""#));
                    Vec::new()
                }
                Err(problems) => problems.into_iter().map(|one| one.to_string()).collect::<Vec<_>>(),
            }
        };
        assert_eq!(problems(key, key), [""; 0]);
        let warned = |more: &str| {
            let text = format!("{NORTH}password = \"x\"\n{key}{second}password = \"x\"\n{key}{more}");
            let config =
                Config::parse(FILE_NAME, &text, &BTreeMap::new(), Secrets::Left).expect("it is right");
            config.warnings().into_iter().find(|warning| warning.contains("lead to one carrier"))
        };
        assert_eq!(warned(""), None);
        let sentence = warned("prefixes = [\"46\"]\nreceipt_id = \"same\"\n").expect("it is warned of");
        assert!(sentence.contains("differ in prefixes and receipt_id"), "{sentence}");
        for (second_more, expected) in [
            (
                "carrier = \"acme\"\nreplies = false\n",
                r#"is "acme", as of "north", and they differ in "replies"; make that the same, or name another carrier"#,
            ),
            (
                "carrier = \"acme\"\nreplies = false\nconcatenation = \"payload\"\n",
                r#"is "acme", as of "north", and they differ in "replies" and "concatenation"; make that the same, or name another carrier"#,
            ),
            ("carrier = \"Acme!\"\n", "must be small letters, digits and dashes, at most 40; rename it"),
        ] {
            let found = problems(key, second_more);
            assert!(
                matches!(&found[..], [one] if one.contains(r#"key "carrier""#) && one.ends_with(expected)),
                "{found:#?}"
            );
        }
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
                 [[sender]]\nvalue = \"Acme\"\ndaily_limit = 5\nbrand = \"Acme Kids\"\n{NORTH}password = \"x\"\npace_per_s = 0.5\n\
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
    fn a_sender_has_its_own_answers_and_the_others_those_of_all() {
        use tidings_domain::reply::Kind;
        use tidings_domain::sender::Sender;
        let config = load(
            "[replies]\nbrand = \"Acme\"\nhelp = \"acme.example\"\nopt_in_text = \"Welcome back.\"\n\
             [[sender]]\nvalue = \"+12125551234\"\nbrand = \"Kids\"\nlanguage = \"es\"\nopt_in_text = \"Kids: hi.\"\n\
             [[sender]]\nvalue = \"72345\"\n",
            &[],
        )
        .unwrap();
        let replies = config.reply_texts().expect("they are answered");
        let text =
            |sender: &str, kind| replies.of(&Sender::from_stored(sender).unwrap()).text(kind, None, "");
        let help = "Kids. Consultas: acme.example.";
        assert!(text("+12125551234", Kind::Help).starts_with(help), "{}", text("+12125551234", Kind::Help));
        assert_eq!(text("+12125551234", Kind::OptIn), "Kids: hi.");
        for other in ["72345", "+12125550000"] {
            assert!(text(other, Kind::OptOut).starts_with("Acme: You are unsubscribed"), "{other}");
            assert_eq!(text(other, Kind::OptIn), "Welcome back.");
        }
        assert_eq!(replies.of_senders.len(), 1);
        assert_eq!(config.gate_policy().content.brands, ["Acme", "Kids"]);
        let off = load("[replies]\nenabled = false\n[[sender]]\nvalue = \"Acme\"\nbrand = \"Kids\"\n", &[]);
        let off = off.unwrap();
        assert!(off.reply_texts().is_none() && off.gate_policy().content.brands.is_empty());
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
