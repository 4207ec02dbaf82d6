//! From what is written to what the store, the gate and the engine take.

use super::Config;
use super::key::{Money, PriceLine};
use super::pool;
use super::section::{BeyondWord, OutsideWord, QuietHours, Replies, Suppression};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tidings_domain::account::Environment;
use tidings_domain::admission::Bounds;
use tidings_domain::consent;
use tidings_domain::content;
use tidings_domain::frequency::{self, Beyond, Caps};
use tidings_domain::gate;
use tidings_domain::intake::Limits as IntakeLimits;
use tidings_domain::programme::Programmes;
use tidings_domain::queue::Paces;
use tidings_domain::quiet_hours::{Outside, Policy as QuietHoursPolicy, Window};
use tidings_domain::range;
use tidings_domain::reachability;
use tidings_domain::registration;
use tidings_domain::reply::{self, Kind, Texts};
use tidings_domain::retry::RetryPolicy;
use tidings_domain::sender::{InvalidSender, Sender};
use tidings_domain::spend;
use tidings_domain::velocity::{Bounds as Velocity, Watch};
use tidings_egress::{Policy, Ports};
use tidings_engine::code::{Key, OneTimeCodes};
use tidings_store::Retention as StoreRetention;

const HOUR_MS: i64 = 3_600_000;
/// The journal's directory in the data directory.
const JOURNAL: &str = "journal";

impl Config {
    /// The address of the PostgreSQL database that everything is kept in, if it is not SQLite.
    ///
    /// # Errors
    /// A sentence, if it cannot be found where the configuration says it is.
    pub fn database(&self, environment: &BTreeMap<String, String>) -> Result<Option<String>, String> {
        self.data
            .database(|name| environment.get(name).cloned())
            .map_err(|(key, why)| format!(r#"key "{key}" in [data] {why}"#))
    }

    /// What people are answered who ask by text, if they are.
    pub fn reply_texts(&self) -> Option<reply::Replies> {
        let usual = self.usual_texts();
        let own = |(value, sender): (&Sender, &super::sender::Sender)| Some((*value, sender.texts(&usual)?));
        let of_senders = self.listed.iter().filter_map(own).collect();
        self.replies.enabled.then_some(reply::Replies { usual, of_senders })
    }

    /// The texts of senders that have none of their own.
    pub(super) fn usual_texts(&self) -> Texts {
        let Replies { enabled: _, brand, help, language, opt_out_text, opt_in_text, help_text } =
            &self.replies;
        let own = [(Kind::OptOut, opt_out_text), (Kind::OptIn, opt_in_text), (Kind::Help, help_text)];
        Texts {
            brand: brand.clone().unwrap_or_default(),
            help: help.clone().unwrap_or_default(),
            language: language.0,
            own: own.into_iter().filter_map(|(kind, text)| Some((kind, text.clone()?))).collect(),
        }
    }

    /// The pools of senders.
    pub fn pools(&self) -> Vec<tidings_domain::pool::Pool> {
        self.pools.iter().filter_map(pool::Pool::pool).collect()
    }

    /// The senders that have a pace of their own.
    pub fn paces(&self) -> Paces {
        Paces::new(self.listed.iter().filter_map(|(value, sender)| Some((*value, sender.pace_per_s?.0))))
    }

    /// The programmes.
    pub fn programmes(&self) -> Programmes {
        Programmes { all: self.written_programmes.iter().map(|one| one.programme.clone()).collect() }
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
        if brands.is_empty() && self.replies.brand.is_some() {
            brands.extend(self.replies.brand.clone());
            brands.extend(self.listed.values().filter_map(|sender| sender.brand.clone()));
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

    /// Where the journal of opt-outs is, if this is the data directory.
    pub fn journal_in(&self, directory: &Path) -> PathBuf {
        self.journal.path.clone().unwrap_or_else(|| directory.join(JOURNAL))
    }

    /// When a number at which nothing arrives is dead.
    pub fn reachability_policy(&self) -> Option<reachability::Policy> {
        let Suppression { unreachable_after, unreachable_over_days, unreachable_for_days } =
            &self.suppression;
        let messages: u32 = unreachable_after.get();
        (messages > 0).then(|| reachability::Policy {
            messages,
            over_ms: unreachable_over_days.get::<i64>() * 24 * HOUR_MS,
            for_ms: unreachable_for_days.get::<i64>() * 24 * HOUR_MS,
        })
    }

    /// How long things are kept.
    pub fn store_retention(&self) -> StoreRetention {
        let retention = &self.retention;
        StoreRetention {
            idempotency_ms: retention.idempotency_hours.get::<i64>() * HOUR_MS,
            parked_ms: retention.parked_hours.get::<i64>() * HOUR_MS,
            attempts_ms: retention.attempts_days.get::<i64>() * 24 * HOUR_MS,
            messages_ms: retention.messages_days.map(|days| days.get::<i64>() * 24 * HOUR_MS),
        }
    }
}

/// A sender of codes. Also the fictional numbers of the test environment are taken: one setting is for both.
pub(super) fn parse_sender(text: &str) -> Result<Sender, InvalidSender> {
    Sender::parse(text, None, Environment::Test)
}
