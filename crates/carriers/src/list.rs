//! The one list of carriers. To add a carrier, write its file, and then a line in each item here; the compiler and
//! the tests name the lines that are missing. Nothing else in the program knows which carriers there are.

use serde::Deserialize;
use tidings_domain::text;

use crate::{Error, Link, Surroundings, simulator, smpp};

/// How a connection reaches its carrier, told apart by `kind`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Settings {
    /// The simulator inside the process.
    Simulator(Box<simulator::Settings>),
    /// A carrier behind SMPP 3.4.
    Smpp(Box<smpp::Settings>),
}

/// A kind of carrier, for documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The word in the configuration.
    pub name: &'static str,
    /// What it is.
    pub sentence: &'static str,
    /// Settings that show what there is, in TOML, without the table's head line.
    pub example: &'static str,
}

/// All kinds.
pub const KINDS: &[Kind] = &[
    Kind {
        name: "simulator",
        sentence: "A carrier inside the process: it answers like a real one, and magic numbers choose what goes wrong.",
        example: r#"kind = "simulator"
window = 1000
response_timeout_ms = 5000
# seed = 42                      # repeats a run
# media = ["photo.jpg"]          # files that people send

[faults]                         # all of it may be left out
# rate_limit_per_s = 100
lost_answers_percent = 0.0
lost_receipts_percent = 0.0
duplicate_receipts_percent = 0.0
busy_percent = 0.0
answer = { p50_ms = 0, p90_ms = 0, p99_ms = 0, max_ms = 0 }
# receipt = { p50_ms = 2000, p90_ms = 8000, p99_ms = 30000, max_ms = 60000 }
# throttle = { percent = 50.0, period_s = 60.0, length_s = 10.0 }
# outages = [{ from_s = 300.0, for_s = 30.0, every_s = 600.0 }]
"#,
    },
    Kind {
        name: "smpp",
        sentence: "A carrier or aggregator behind SMPP 3.4, with any number of sessions.",
        example: r#"kind = "smpp"
address = "smpp.example.com:2775"
system_id = "acme"
password = "secret"
system_type = ""
mode = "transceiver"             # or "transmitter+receiver"
binds = 1
window = 10
response_timeout_s = 30
enquire_link_s = 30
connect_timeout_s = 10
unacknowledged = 1000
alphabet = "gsm7"                # or "latin1", "ascii"
gsm7_data_coding = 0
ucs2_data_coding = 8
concatenation = "udh8"           # or "udh16", "sar", "payload"
single_shift = []
locking_shift = []
receipt_id = "any"               # or "same", "hex_then_decimal", "decimal_then_hex"
status_codes = ["smpp"]
receipt_codes = ["gsm-map"]
receipts = "always"              # or "on_failure", "never"
validity = "relative"            # or "none"
user_message_reference = true
service_type = ""
priority = { authentication = 0, alert = 0, transactional = 0, marketing = 0 }
destination = { ton = 1, npi = 1 }

[source]
phone_number = { ton = 1, npi = 1 }
short_code = { ton = 3, npi = 0 }
alphanumeric = { ton = 5, npi = 0 }

[tls]                            # left out: no TLS
public_authorities = true
# ca_file = "carrier.pem"
# server_name = "smpp.example.com"

[tlvs]
# "0x1400" = { text = "1101234567890" }
"#,
    },
];

impl Settings {
    /// The word for its kind.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Simulator(_) => "simulator",
            Self::Smpp(_) => "smpp",
        }
    }
}

/// Opens a carrier. To be called within a tokio runtime, in which its tasks run.
///
/// # Errors
/// The settings make no sense, or a file they name cannot be read. That a carrier can't be reached is no error here;
/// see [`Link::state`].
pub fn open(settings: Settings, surroundings: &Surroundings) -> Result<Link, Error> {
    match settings {
        Settings::Simulator(settings) => simulator::open(*settings, surroundings),
        Settings::Smpp(settings) => smpp::open(*settings, surroundings),
    }
}

/// How this carrier takes text.
pub fn text_options(settings: &Settings) -> text::Options {
    match settings {
        Settings::Simulator(_) => text::Options::default(),
        Settings::Smpp(settings) => settings.text_options(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_is_read_and_shows_the_defaults() {
        for kind in KINDS {
            let settings: Settings = toml::from_str(kind.example).expect(kind.name);
            assert_eq!(settings.kind(), kind.name);
            match settings {
                Settings::Simulator(is) => assert_eq!(*is, simulator::Settings::default()),
                Settings::Smpp(is) => {
                    let expected = smpp::Settings {
                        address: "smpp.example.com:2775".to_owned(),
                        system_id: "acme".to_owned(),
                        password: smpp::Password("secret".to_owned()),
                        tls: Some(smpp::Tls::default()),
                        ..smpp::Settings::default()
                    };
                    assert_eq!(*is, expected);
                }
            }
        }
    }

    #[test]
    fn a_misspelled_setting_is_refused() {
        let check = |toml: &str| assert!(toml::from_str::<Settings>(toml).is_err(), "{toml}");
        check("kind = \"smtp\"");
        check("kind = \"simulator\"\nwindoww = 3");
        check("kind = \"smpp\"\nadress = \"x\"");
        check("kind = \"smpp\"\n[tls]\nverify = false");
        check("kind = \"simulator\"\n[faults]\nlost = 3");
    }
}
