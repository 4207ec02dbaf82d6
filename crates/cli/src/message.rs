//! `tidings message`: what became of messages, and why. Numbers and texts are masked unless they are asked for, so
//! that what is shown can be pasted into a ticket.

use crate::carrier;
use crate::config::connection::Secrets;
use crate::duration;
use crate::health;
use crate::operator::{Operator, Place, Whose};
use crate::output::{Output, Table, Tone, hidden, numbered, when};
use anyhow::anyhow;
use clap::Subcommand;
use std::fmt::Write as _;
use tidings_domain::account::{Environment, Realm};
use tidings_domain::address::PhoneNumber;
use tidings_domain::event::{Event, Kind};
use tidings_domain::failure::Failure;
use tidings_domain::id::{BatchId, MessageId};
use tidings_domain::message::Status;
use tidings_domain::queue::Paces;
use tidings_domain::text::display;
use tidings_domain::time::Timestamp;
use tidings_store::{Attempt, MessageFilter, Page, Stored, Timeline};
use tidings_wire::error::Code;
use tidings_wire::{endpoint, event, message};

/// What to look at.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show one message with everything that is recorded about it
    Show {
        /// Its id (msg_…), in whatever environment
        id: MessageId,
        /// Show its text and the whole phone numbers
        #[arg(long)]
        full: bool,
    },
    /// List messages, newest first
    List {
        /// Only in this status, such as delivered
        #[arg(long, value_parser = status)]
        status: Option<Status>,
        /// Only to this number
        #[arg(long, value_name = "NUMBER")]
        to: Option<String>,
        /// Only with this reference of the caller
        #[arg(long)]
        reference: Option<String>,
        /// Only the one with this id at its carrier
        #[arg(long, value_name = "ID")]
        carrier_id: Option<String>,
        /// Only of this batch
        #[arg(long, value_name = "ID")]
        batch: Option<BatchId>,
        /// Only accepted at or after this (2026-11-23T08:00:00Z)
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
        /// Only accepted before this
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<Timestamp>,
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
        limit: u16,
        /// Show texts and whole phone numbers
        #[arg(long)]
        full: bool,
        #[command(flatten)]
        whose: Whose,
    },
}

fn status(word: &str) -> Result<Status, String> {
    Status::parse(word).ok_or_else(|| format!("use one of: {}", Status::ALL.map(Status::as_str).join(", ")))
}

/// Reads a time with its offset.
pub fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).map_err(|why| why.to_string())
}

/// Does it.
///
/// # Errors
/// A sentence that says why not.
pub async fn run(command: Command, place: &Place, output: Output) -> anyhow::Result<()> {
    let operator = Operator::open(place).await?;
    match command {
        Command::Show { id, full } => {
            let timeline = find(&operator, id).await?;
            let hold = operator.store.hold().await?;
            let mut value = Masked::new(&shown(&timeline), full)?;
            value.0["held"] = hold.as_deref().into();
            let obstacles = match timeline.stored.life.state.is_waiting() {
                true => Obstacles::of(&operator, place, &timeline, hold).await?,
                false => Obstacles::default(),
            };
            value.0["waits_for"] = obstacles.told().into();
            output.show(&value, || print(&timeline, &obstacles, full, output, operator.now()))?;
        }
        Command::List { status, to, reference, carrier_id, batch, since, until, limit, full, whose } => {
            let realm = operator.realm(&whose).await?;
            let recipient = to.map(|to| number(&to, whose.environment)).transpose()?;
            let filter =
                MessageFilter { status, recipient, sender: None, reference, carrier_id, batch, since, until };
            let list = page(&operator, realm, filter, usize::from(limit)).await?;
            let value: Vec<message::Message<'_>> = list.iter().map(one).collect();
            output.show(&Masked::new(&value, full)?, || {
                let mut table =
                    Table::new(&["ID", "STATUS", "FROM", "TO", "SEGMENTS", "ACCEPTED", "LAST CHANGE", "WHY"]);
                for stored in &list {
                    table.row([
                        stored.message.id.to_string(),
                        output.status(stored.life.state.status()),
                        stored.message.sender.to_string(),
                        recipient_of(stored, full),
                        stored.message.segments.to_string(),
                        when(Some(stored.message.created_at)),
                        when(Some(stored.updated_at)),
                        stored
                            .failure
                            .as_ref()
                            .map(|failure| Code::of_failure(failure).as_str().to_owned())
                            .unwrap_or_default(),
                    ]);
                }
                table.print(output, &format!("There is no such message in {}.", whose.environment.as_str()))
            })?;
        }
    }
    operator.close().await
}

/// Reads a recipient's number.
///
/// # Errors
/// Why it is none.
pub fn number(text: &str, environment: Environment) -> anyhow::Result<PhoneNumber> {
    PhoneNumber::parse(text, None, environment).map_err(|why| anyhow!("{text} is no phone number: {why}"))
}

/// A store may give an empty page and still have more: asks until there is enough.
async fn page(
    operator: &Operator,
    realm: Realm,
    filter: MessageFilter,
    limit: usize,
) -> anyhow::Result<Vec<Stored>> {
    let mut list = Vec::new();
    let mut before = None;
    loop {
        let page = Page { before, limit: limit - list.len() };
        let paged = operator.store.messages(realm, filter.clone(), page).await?;
        list.extend(paged.items);
        before = paged.next;
        if before.is_none() || list.len() >= limit {
            return Ok(list);
        }
    }
}

/// The id says it all: looks in every account and environment.
async fn find(operator: &Operator, id: MessageId) -> anyhow::Result<Timeline> {
    for account in operator.store.accounts().await? {
        for environment in Environment::ALL {
            if let Some(timeline) =
                operator.store.timeline(Realm { account: account.id, environment }, id).await?
            {
                return Ok(timeline);
            }
        }
    }
    Err(anyhow!("there is no message {id} in {}: is that the right data directory?", operator.home))
}

fn recipient_of(stored: &Stored, full: bool) -> String {
    let recipient = stored.message.recipient;
    if full { recipient.to_string() } else { recipient.masked().to_string() }
}

fn one(stored: &Stored) -> message::Message<'_> {
    message::Message::new(&stored.message, &stored.life, stored.failure.as_ref(), stored.updated_at)
}

fn shown(timeline: &Timeline) -> event::Timeline<'_> {
    event::Timeline {
        message: one(&timeline.stored),
        connection_name: timeline.connection.as_ref().map(|connection| connection.name.as_str()),
        connection_paused: timeline.connection.as_ref().and_then(|connection| connection.paused.as_deref()),
        events: timeline
            .events
            .iter()
            .map(|(id, event)| event::TimelineEvent::new(*id, event, timeline.stored.message.purpose))
            .collect(),
        webhook_attempts: timeline.attempts.iter().map(crate::webhook::attempt).collect(),
        webhook_deliveries: timeline.deliveries.iter().map(endpoint::Delivery::new).collect(),
    }
}

/// The JSON of messages without what nobody asked to see: texts, and the middle of phone numbers.
struct Masked(serde_json::Value);

impl Masked {
    fn new(value: &impl serde::Serialize, full: bool) -> anyhow::Result<Self> {
        let mut value = serde_json::to_value(value)?;
        if !full {
            mask(&mut value);
        }
        Ok(Self(value))
    }
}

impl serde::Serialize for Masked {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

fn mask(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::Array(items) => items.iter_mut().for_each(mask),
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                match (name.as_str(), value.as_str()) {
                    ("text" | "raw" | "metadata", Some(_)) => *value = "•••".into(),
                    ("to", Some(number)) => {
                        if let Some(number) = PhoneNumber::from_stored(number) {
                            *value = number.masked().to_string().into();
                        }
                    }
                    _ => mask(value),
                }
            }
        }
        _ => {}
    }
}

fn print(timeline: &Timeline, obstacles: &Obstacles, full: bool, output: Output, now: Timestamp) -> String {
    let Stored { message, life, failure, .. } = &timeline.stored;
    let mut text = String::new();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(text, "{}  {value}", output.tone(Tone::Faint, &format!("{name:<10}")));
    };
    line("message", output.tone(Tone::Strong, &message.id.to_string()));
    line("status", output.status(life.state.status()));
    if let Some(failure) = failure {
        line(
            "why",
            format!(
                "{}; recovery: {}",
                said(failure),
                tidings_domain::message::done_about(failure, life.state.status(), message.purpose)
            ),
        );
    }
    line("from", message.sender.to_string());
    line("to", recipient_of(&timeline.stored, full));
    line("purpose", format!("{} ({})", message.purpose.as_str(), message.environment.as_str()));
    if let Some(programme) = &message.programme {
        line("programme", programme.to_string());
    }
    let body = match (&message.text, full) {
        (None, _) => "removed".to_owned(),
        (Some(text), true) => display(&tidings_domain::code::masked(text)).into_owned(),
        (Some(text), false) => hidden(text),
    };
    line(
        "text",
        format!("{body} · {}, {}", numbered(message.segments, "segment", "segments"), message.encoding),
    );
    if let Some(connection) = &timeline.connection {
        let paused = connection.paused.as_ref().map(|why| format!(" · paused: {why}")).unwrap_or_default();
        line("connection", format!("{}{paused}", connection.name));
    }
    let ids: Vec<&str> = life.segments.iter().filter_map(|segment| segment.carrier_id()).collect();
    if !ids.is_empty() {
        line("carrier id", display(&ids.join(", ")).into_owned());
    }
    if let Some(reference) = &message.reference {
        line("reference", display(reference).into_owned());
    }
    if let Some(of) = message.retry_of {
        line("repeats", of.to_string());
    }
    if let Some(due_at) = life.state.wakes_at().filter(|_| !life.state.status().is_final()) {
        let what = if life.state.is_waiting() { "goes out" } else { "looked at" };
        let wait = wait(due_at.since_ms(now), obstacles.told());
        line(what, format!("{} ({wait}); expires {}", when(Some(due_at)), when(Some(message.expires_at))));
    }
    let mut rows: Vec<(Timestamp, [String; 4])> = vec![(
        message.created_at,
        [precise(message.created_at), "accepted".to_owned(), String::new(), String::new()],
    )];
    rows.extend(timeline.events.iter().map(|(_, event)| (event.at, happened(event, full))));
    rows.extend(timeline.attempts.iter().map(|attempt| (attempt.at, called(attempt))));
    rows.sort_by_key(|(at, _)| *at);
    let mut table = Table::new(&["TIME (UTC)", "WHAT", "WHY", "RAW"]);
    for (_, row) in rows {
        table.row(row);
    }
    text.push('\n');
    text.push_str(&table.print(output, ""));
    for delivery in &timeline.deliveries {
        let _ = writeln!(
            text,
            "webhook {} is told {} again at {}",
            delivery.endpoint,
            delivery.event,
            when(Some(delivery.due_at))
        );
    }
    text
}

/// What is in the way of a message that waits, as far as it can be known here.
#[derive(Debug, Default)]
struct Obstacles {
    /// Why all sending is held.
    hold: Option<String>,
    /// Why its connection is paused.
    paused: Option<String>,
    /// The name of its connection, if that is not configured any more.
    gone: Option<String>,
    /// What the server says of the link, if that is not up.
    link: Option<String>,
    /// The pace of its sender: segments per second.
    pace: Option<f64>,
}

impl Obstacles {
    async fn of(
        operator: &Operator,
        place: &Place,
        timeline: &Timeline,
        hold: Option<String>,
    ) -> anyhow::Result<Self> {
        let message = &timeline.stored.message;
        let Some(connection) = &timeline.connection else { return Ok(Self { hold, ..Self::default() }) };
        let configured = carrier::connections(operator, place).await?;
        let is_gone = configured.iter().all(|(known, _)| known.id != connection.id);
        let link = match health::of(&operator.home, place).await {
            Some(Ok(health)) if !is_gone => {
                health.trouble(&format!("connection {}", connection.name)).map(|part| part.detail.clone())
            }
            _ => None,
        };
        let paces = match place.file() {
            Some(_) => place.configuration(Secrets::Left)?.paces(),
            None => Paces::default(),
        };
        Ok(Self {
            hold,
            paused: connection.paused.clone(),
            gone: is_gone.then(|| connection.name.clone()),
            link,
            pace: paces.of(message.connection).get(&paces.queue_of(message)).copied(),
        })
    }

    /// All of it; `None` if nothing is.
    fn told(&self) -> Option<String> {
        let Self { hold, paused, gone, link, pace } = self;
        let told = [
            hold.as_ref().map(|why| format!("held: {why}")),
            paused.as_ref().map(|why| format!("connection paused: {why}")),
            gone.as_ref().map(|name| format!("connection {name} is not configured; `tidings carrier move` gives its messages to another")),
            link.as_ref().filter(|_| paused.is_none()).map(|why| format!("its link: {why}")),
            pace.map(|per_s| format!("behind others of its sender, of which {per_s} segments go in a second")),
        ];
        let all: Vec<String> = told.into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

/// When it will be, in words: in so many ms, or not before what stops it is gone.
fn wait(in_ms: i64, stopped: Option<String>) -> String {
    match (in_ms > 0, stopped) {
        (true, None) => format!("in {}", duration::age(in_ms)),
        (true, Some(why)) => format!("in {} at the earliest; {why}", duration::age(in_ms)),
        (false, None) => "now".to_owned(),
        (false, Some(why)) => why,
    }
}

fn precise(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', "")
}

/// A failure with the code that has a page.
fn said(failure: &Failure) -> String {
    format!("{} ({}: {})", Code::of_failure(failure).as_str(), failure.code, failure.detail)
}

fn happened(event: &Event, full: bool) -> [String; 4] {
    let mut why = event.failure.as_ref().map(said).unwrap_or_default();
    if let Some(due_at) = event.due_at {
        let _ = write!(why, "{}next try {}", if why.is_empty() { "" } else { "; " }, precise(due_at));
    }
    let what = event.kind.as_str().trim_start_matches("message.");
    let what = match event.kind {
        Kind::Progress => format!("{what} (on its way)"),
        _ if event.attempt > 1 => format!("{what} (attempt {})", event.attempt),
        _ => what.to_owned(),
    };
    let raw = match (&event.raw, full) {
        (None, _) => String::new(),
        (Some(raw), true) => raw.clone(),
        // A carrier's receipt repeats the beginning of the text.
        (Some(raw), false) => raw.split(" text:").next().unwrap_or_default().to_owned(),
    };
    [precise(event.at), what, display(&why).into_owned(), display(&raw).into_owned()]
}

fn called(attempt: &Attempt) -> [String; 4] {
    let answer = attempt.status.map_or_else(|| attempt.response.clone(), |status| format!("HTTP {status}"));
    let (outcome, next) = endpoint::outcome(attempt.verdict);
    let next = next.map(|at| format!(", again {}", precise(at))).unwrap_or_default();
    [
        precise(attempt.at),
        format!("webhook {} (try {})", outcome, attempt.number),
        format!("{answer} in {} ms{next}", attempt.took_ms),
        attempt.endpoint.to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_says_why_it_waits() {
        for (in_ms, hold, paused, expected) in [
            (0, None, None, "now"),
            (-5, Some("restored"), None, "held: restored"),
            (0, None, Some("tired"), "connection paused: tired"),
            (0, Some("restored"), Some("tired"), "held: restored; connection paused: tired"),
        ] {
            let obstacles = Obstacles {
                hold: hold.map(str::to_owned),
                paused: paused.map(str::to_owned),
                ..Obstacles::default()
            };
            assert_eq!(wait(in_ms, obstacles.told()), expected);
        }
        let held = Obstacles { hold: Some("restored".to_owned()), ..Obstacles::default() };
        let later = wait(7_200_000, held.told());
        assert!(later.starts_with("in ") && later.ends_with("at the earliest; held: restored"), "{later}");
        assert!(!wait(7_200_000, None).contains("earliest"));
    }
}
