//! The only keeper of metrics: what happened, as counters and histograms in the OpenMetrics text format.
//!
//! Labels are purposes, connections, classes and outcomes; never a phone number, a text or a tenant's name.

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::collections::HashMap;
use std::sync::Arc;
use tidings_domain::event::Kind;
use tidings_domain::id::ConnectionId;
use tidings_domain::time::Timestamp;
use tidings_store::{Advanced, Counted, Room, Statistics};

/// Bounds of latency histograms: seconds, from a loopback answer to a phone that was off for hours.
const LATENCY_BOUNDS_S: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3_600.0,
    21_600.0,
];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EventLabels {
    event: &'static str,
    purpose: &'static str,
    connection: Arc<str>,
    class: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ConnectionLabel {
    connection: Arc<str>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AnswerLabels {
    connection: Arc<str>,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct QueueLabels {
    connection: Arc<str>,
    purpose: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PurposeLabel {
    purpose: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Copy, Debug)]
struct Latency;

impl MetricConstructor<Histogram> for Latency {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCY_BOUNDS_S)
    }
}

/// Every metric of one node.
pub struct Telemetry {
    registry: Registry,
    /// Shared, because each event carries its connection's name as a label.
    names: HashMap<ConnectionId, Arc<str>>,
    accepted: Family<PurposeLabel, Counter>,
    refused: Family<OutcomeLabel, Counter>,
    codes_refused: Family<OutcomeLabel, Counter>,
    codes_checked: Family<OutcomeLabel, Counter>,
    events: Family<EventLabels, Counter>,
    answers: Family<AnswerLabels, Counter>,
    answer_seconds: Family<ConnectionLabel, Histogram, Latency>,
    submitted_seconds: Family<QueueLabels, Histogram, Latency>,
    receipt_seconds: Family<QueueLabels, Histogram, Latency>,
    ignored: Counter,
    parked: Counter,
    forgotten: Counter,
    malformed: Family<ConnectionLabel, Counter>,
    webhook_attempts: Family<OutcomeLabel, Counter>,
    webhook_lag_seconds: Histogram,
    queue_depth: Family<QueueLabels, Gauge>,
    queue_oldest_seconds: Family<QueueLabels, Gauge>,
    window_taken: Family<ConnectionLabel, Gauge>,
    window_size: Family<ConnectionLabel, Gauge>,
    connection_up: Family<ConnectionLabel, Gauge>,
    pace: Family<ConnectionLabel, Gauge<f64, std::sync::atomic::AtomicU64>>,
    in_flight: Gauge,
    deliveries_open: Gauge,
    deliveries_oldest_seconds: Gauge,
    parked_now: Gauge,
    quarantined: Counter,
    reviews_open: Gauge,
    store_octets: Gauge,
    disk_free: Gauge,
    disk_size: Gauge,
    disk_full: Gauge,
}

impl Telemetry {
    /// Metrics for these connections.
    pub fn new(names: HashMap<ConnectionId, String>) -> Self {
        let mut registry = Registry::with_prefix("tidings");
        macro_rules! register {
            ($name:literal, $help:literal, $metric:expr) => {{
                let metric = $metric;
                registry.register($name, $help, metric.clone());
                metric
            }};
        }
        Self {
            accepted: register!("messages_accepted", "Messages accepted", Family::default()),
            refused: register!(
                "messages_refused",
                "Requests for a message that were refused, by reason",
                Family::default()
            ),
            codes_refused: register!(
                "codes_refused",
                "One-time codes that were not sent, by reason",
                Family::default()
            ),
            codes_checked: register!(
                "codes_checked",
                "Tries of one-time codes, by what came of them",
                Family::default()
            ),
            events: register!("message_events", "What happened to messages", Family::default()),
            answers: register!(
                "carrier_answers",
                "Answers of carriers to submitted segments",
                Family::default()
            ),
            answer_seconds: register!(
                "submit_to_answer_seconds",
                "From handing a segment to its connection to the carrier's answer",
                Family::new_with_constructor(Latency)
            ),
            submitted_seconds: register!(
                "accept_to_sent_seconds",
                "From acceptance (or the scheduled time) to the carrier's acceptance",
                Family::new_with_constructor(Latency)
            ),
            receipt_seconds: register!(
                "accept_to_receipt_seconds",
                "From acceptance (or the scheduled time) to the receipt that ended the message",
                Family::new_with_constructor(Latency)
            ),
            ignored: register!(
                "inputs_ignored",
                "Answers and receipts without meaning: duplicates and late ones",
                Counter::default()
            ),
            parked: register!(
                "receipts_parked",
                "Receipts that came before their answer or belong to nobody",
                Counter::default()
            ),
            forgotten: register!(
                "receipts_forgotten",
                "Parked receipts, in each form of their id, that made room for later ones",
                Counter::default()
            ),
            malformed: register!(
                "carrier_malformed",
                "What carriers sent and nobody could read",
                Family::default()
            ),
            webhook_attempts: register!("webhook_attempts", "Calls to webhook endpoints", Family::default()),
            webhook_lag_seconds: register!(
                "webhook_lag_seconds",
                "From an event to the endpoint's answer to its first successful call",
                Histogram::new(LATENCY_BOUNDS_S)
            ),
            queue_depth: register!("queue_depth", "Messages that wait for a connection", Family::default()),
            queue_oldest_seconds: register!(
                "queue_oldest_age_seconds",
                "For how long the oldest waiting message has been due",
                Family::default()
            ),
            window_taken: register!(
                "window_taken_segments",
                "Segments submitted and not answered",
                Family::default()
            ),
            window_size: register!(
                "window_size_segments",
                "Segments that may be unanswered; 0 while the link is down",
                Family::default()
            ),
            connection_up: register!(
                "connection_up",
                "Whether the link is usable and not paused",
                Family::default()
            ),
            pace: register!(
                "connection_pace_segments_per_second",
                "The pace in force; absent without a limit",
                Family::default()
            ),
            in_flight: register!("messages_in_flight", "Messages at a carrier or in doubt", Gauge::default()),
            deliveries_open: register!(
                "webhook_deliveries_open",
                "Webhook deliveries that are not done",
                Gauge::default()
            ),
            deliveries_oldest_seconds: register!(
                "webhook_oldest_due_seconds",
                "For how long the oldest due delivery has waited",
                Gauge::default()
            ),
            quarantined: register!(
                "messages_quarantined",
                "Messages that were set aside because handling them crashed",
                Counter::default()
            ),
            parked_now: register!(
                "receipts_parked_now",
                "Receipts that wait for their segment",
                Gauge::default()
            ),
            reviews_open: register!("reviews_open", "Failures that wait for a person", Gauge::default()),
            disk_free: register!(
                "disk_free_bytes",
                "Room on the disk of the database that it may still use",
                Gauge::default()
            ),
            disk_size: register!("disk_size_bytes", "Size of the disk of the database", Gauge::default()),
            disk_full: register!(
                "disk_full",
                "Whether the disk was found full: new work is refused",
                Gauge::default()
            ),
            store_octets: register!("store_bytes", "Size of the database", Gauge::default()),
            registry,
            names: names.into_iter().map(|(id, name)| (id, name.into())).collect(),
        }
    }

    fn name(&self, connection: ConnectionId) -> Arc<str> {
        self.names.get(&connection).cloned().unwrap_or_else(|| connection.to_string().into())
    }

    /// Messages were accepted.
    pub fn accepted(&self, purpose: &'static str, count: u64) {
        self.accepted.get_or_create(&PurposeLabel { purpose }).inc_by(count);
    }

    /// A request was refused.
    pub fn refused(&self, outcome: &'static str, messages: u64) {
        self.refused.get_or_create(&OutcomeLabel { outcome }).inc_by(messages);
    }

    /// A one-time code was not sent.
    pub fn code_refused(&self, outcome: &'static str) {
        self.codes_refused.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A one-time code was tried.
    pub fn code_checked(&self, outcome: &'static str) {
        self.codes_checked.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Messages were set aside.
    pub fn quarantined(&self, messages: u64) {
        self.quarantined.inc_by(messages);
    }

    /// A carrier answered for a segment.
    pub fn answered(&self, connection: ConnectionId, outcome: &'static str, seconds: Option<f64>) {
        let connection = self.name(connection);
        self.answers.get_or_create(&AnswerLabels { connection: connection.clone(), outcome }).inc();
        if let Some(seconds) = seconds {
            self.answer_seconds.get_or_create(&ConnectionLabel { connection }).observe(seconds);
        }
    }

    /// A commit brought this about.
    pub fn advanced(&self, advanced: &Advanced) {
        self.ignored.inc_by(advanced.ignored);
        self.parked.inc_by(advanced.parked);
        self.forgotten.inc_by(advanced.forgotten);
        for counted in &advanced.counted {
            self.counted(counted);
        }
    }

    fn counted(&self, counted: &Counted) {
        let connection = self.name(counted.connection);
        let purpose = counted.purpose.as_str();
        let seconds = counted.age_ms.max(0) as f64 / 1000.0;
        let labels = QueueLabels { connection: connection.clone(), purpose };
        match counted.kind {
            Kind::Sent => self.submitted_seconds.get_or_create(&labels).observe(seconds),
            Kind::Delivered | Kind::Undelivered => {
                self.receipt_seconds.get_or_create(&labels).observe(seconds)
            }
            Kind::Failed
            | Kind::Rejected
            | Kind::Expired
            | Kind::Canceled
            | Kind::Unconfirmed
            | Kind::Delayed
            | Kind::Unanswered
            | Kind::Progress
            | Kind::Redacted
            | Kind::Received
            | Kind::OptedOut
            | Kind::OptedIn
            | Kind::SenderChosen => {}
        }
        let class = counted.class.map_or("", |class| class.as_str());
        self.events
            .get_or_create(&EventLabels { event: counted.kind.as_str(), purpose, connection, class })
            .inc();
    }

    /// Something unreadable came from a carrier.
    pub fn malformed(&self, connection: ConnectionId) {
        self.malformed.get_or_create(&ConnectionLabel { connection: self.name(connection) }).inc();
    }

    /// How much room there is on the disk.
    pub fn room(&self, room: Room) {
        self.disk_free.set(i64::try_from(room.free).unwrap_or(i64::MAX));
        self.disk_size.set(i64::try_from(room.size).unwrap_or(i64::MAX));
        self.disk_full.set(i64::from(room.full));
    }

    /// An endpoint was called.
    pub fn webhook(&self, outcome: &'static str, lag_s: Option<f64>) {
        self.webhook_attempts.get_or_create(&OutcomeLabel { outcome }).inc();
        if let Some(lag_s) = lag_s {
            self.webhook_lag_seconds.observe(lag_s);
        }
    }

    /// How a connection is, at the moment of a scrape.
    pub fn connection(&self, id: ConnectionId, window: (usize, usize), up: bool, pace_per_s: Option<f64>) {
        let label = ConnectionLabel { connection: self.name(id) };
        self.window_size.get_or_create(&label).set(window.0 as i64);
        self.window_taken.get_or_create(&label).set(window.1 as i64);
        self.connection_up.get_or_create(&label).set(i64::from(up));
        match pace_per_s {
            Some(pace) => drop(self.pace.get_or_create(&label).set(pace)),
            None => drop(self.pace.remove(&label)),
        }
    }

    /// A connection is another node's: that one speaks of it.
    pub fn elsewhere(&self, id: ConnectionId) {
        let label = ConnectionLabel { connection: self.name(id) };
        self.window_size.remove(&label);
        self.window_taken.remove(&label);
        self.connection_up.remove(&label);
        self.pace.remove(&label);
    }

    /// The whole text, with the store's numbers as they are at the moment of a scrape.
    pub fn render(&self, statistics: &Statistics, now: Timestamp) -> String {
        let age_s = |at: Option<Timestamp>| at.map_or(0, |at| now.since_ms(at).max(0) / 1000);
        self.queue_depth.clear();
        self.queue_oldest_seconds.clear();
        for (connection, purpose, depth, oldest) in &statistics.queues {
            let labels = QueueLabels { connection: self.name(*connection), purpose: purpose.as_str() };
            self.queue_depth.get_or_create(&labels).set(*depth as i64);
            self.queue_oldest_seconds.get_or_create(&labels).set(age_s(*oldest));
        }
        self.in_flight.set(statistics.in_flight as i64);
        self.deliveries_open.set(statistics.deliveries.0 as i64);
        self.deliveries_oldest_seconds.set(age_s(statistics.deliveries.1));
        self.parked_now.set(statistics.parked as i64);
        self.reviews_open.set(statistics.reviews as i64);
        self.store_octets.set(statistics.size as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing into a string cannot fail");
        text
    }
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}
