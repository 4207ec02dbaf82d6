//! The promises of `src/lib.rs`, asked of every carrier in the list. A carrier with a network runs against our own
//! simulated carrier on the loopback, so that both ends are tested and every fault can be ordered.
//!
//! Nothing here asserts on timing: each wait is for an event, and ends in a panic if the event never comes.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tidings_carriers::codes::Codes;
use tidings_carriers::faults::{Draw, Faults, Outage};
use tidings_carriers::list::{self, KINDS, Settings};
use tidings_carriers::script::{self, Heard, LinkTrouble, magic_numbers};
use tidings_carriers::smsc::{self, Seen, Smsc, Stage, Tally};
use tidings_carriers::{
    Acknowledge, CarrierEvent, InboundPart, Link, LinkState, Submission, Surroundings, Tag,
};
use tidings_carriers::{simulator, smpp};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::MessageId;
use tidings_domain::message::{Answer, Outcome};
use tidings_domain::purpose::Purpose;
use tidings_domain::receipt::{Receipt, canonical, lookups};
use tidings_domain::sender::Sender;
use tidings_domain::text;
use tidings_domain::time::Timestamp;
use tidings_smpp::codec::{find_tlv, tag};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// No wait takes longer, on the slowest machine.
const LIMIT: Duration = Duration::from_secs(60);

/// What a test wants of its carrier, whatever its kind.
#[derive(Clone)]
struct Wanted {
    faults: Faults,
    window: usize,
    /// The most that the carrier's side takes in one session.
    carriers_window: Option<usize>,
    sessions: usize,
    mode: smpp::Mode,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            faults: Faults::default(),
            window: 50,
            carriers_window: None,
            sessions: 1,
            mode: smpp::Mode::Transceiver,
        }
    }
}

/// An open carrier, and its other end.
struct Opened {
    link: Link,
    faults: watch::Sender<Faults>,
    far_end: Option<FarEnd>,
}

struct FarEnd {
    tally: Arc<Tally>,
    stop: oneshot::Sender<()>,
    ended: tokio::task::JoinHandle<()>,
    seen: mpsc::Receiver<Seen>,
}

fn surroundings() -> Surroundings {
    let drawn = AtomicU32::new(1);
    Surroundings {
        name: "under-test".to_owned(),
        draw: Arc::new(move || drawn.fetch_add(0x9E37_79B9, Ordering::Relaxed)),
        codes: Arc::new(Codes::default()),
        guard: Arc::new(tidings_carriers::Unguarded),
        may_send: Arc::new(|| true),
    }
}

async fn far_end(
    wanted: &Wanted,
    change: impl FnOnce(&mut smsc::Settings),
) -> (SocketAddr, watch::Sender<Faults>, FarEnd) {
    let mut settings = smsc::Settings {
        address: SocketAddr::from(([127, 0, 0, 1], 0)),
        faults: wanted.faults.clone(),
        window: wanted.carriers_window,
        deliver_timeout_ms: 1_000,
        ..smsc::Settings::default()
    };
    change(&mut settings);
    let (seen_in, seen) = mpsc::channel(10_000);
    let now = Timestamp::parse("2026-11-23T12:00:00Z").expect("a time");
    let stage = Stage { seed: 7, now, seen: Some(seen_in) };
    let smsc: Smsc = smsc::listen(settings, stage).await.expect("a free port");
    let (address, faults, tally) = (smsc.address(), smsc.faults(), smsc.tally());
    let (stop, stopped) = oneshot::channel::<()>();
    let ended = tokio::spawn(smsc.run(async move {
        let _ = stopped.await;
    }));
    (address, faults, FarEnd { tally, stop, ended, seen })
}

fn smpp_settings(address: SocketAddr, wanted: &Wanted) -> smpp::Settings {
    smpp::Settings {
        address: address.to_string(),
        system_id: "tidings".to_owned(),
        password: smpp::Password("tidings".to_owned()),
        window: wanted.window,
        binds: wanted.sessions,
        mode: wanted.mode,
        response_timeout_s: 1,
        status_codes: ["simulator", "smpp"].map(str::to_owned).to_vec(),
        receipt_codes: ["simulator", "gsm-map"].map(str::to_owned).to_vec(),
        ..smpp::Settings::default()
    }
}

/// Opens a carrier of this kind. A kind that is added to the list must be added here.
async fn open(kind: &str, wanted: Wanted) -> Opened {
    open_in(kind, wanted, &surroundings()).await
}

async fn open_in(kind: &str, wanted: Wanted, surroundings: &Surroundings) -> Opened {
    match kind {
        "simulator" => {
            let settings = simulator::Settings {
                media: Vec::new(),
                window: wanted.window,
                response_timeout_ms: 1_000,
                seed: Some(7),
                faults: wanted.faults,
            };
            let link =
                list::open(Settings::Simulator(Box::new(settings)), surroundings).expect("sound settings");
            let faults = link.faults.clone().expect("a simulator's faults can be changed");
            Opened { link, faults, far_end: None }
        }
        "smpp" => {
            let (address, faults, far_end) = far_end(&wanted, |_| ()).await;
            let settings = Settings::Smpp(Box::new(smpp_settings(address, &wanted)));
            let link = list::open(settings, surroundings).expect("sound settings");
            Opened { link, faults, far_end: Some(far_end) }
        }
        other => panic!("no test knows how to run a carrier of the kind {other}"),
    }
}

/// What came out of a carrier.
#[derive(Default)]
struct Told {
    answers: HashMap<Tag, Vec<Answer>>,
    receipts: Vec<Receipt>,
    inbound: Vec<InboundPart>,
    malformed: usize,
    /// Not yet stored, where the test wants to hold them.
    held: Vec<Acknowledge>,
    hold: bool,
}

impl Told {
    fn hear(&mut self, event: CarrierEvent) {
        match event {
            CarrierEvent::Answered { tag, answer, .. } => self.answers.entry(tag).or_default().push(answer),
            CarrierEvent::Receipt { receipt, acknowledge } => {
                self.receipts.push(receipt);
                self.keep(acknowledge);
            }
            CarrierEvent::Inbound { part, acknowledge } => {
                self.inbound.push(part);
                self.keep(acknowledge);
            }
            CarrierEvent::Malformed { .. } => self.malformed += 1,
        }
    }

    fn keep(&mut self, acknowledge: Acknowledge) {
        if self.hold { self.held.push(acknowledge) } else { acknowledge.stored() }
    }
}

/// The segments of one message to this number.
fn message(nth: i64, to: &str, text: &str) -> Vec<(Tag, PhoneNumber, text::Segment)> {
    let segments = text::split(text, &text::Options::default(), nth as u16).expect("few segments");
    let recipient = PhoneNumber::from_stored(to).expect("a number");
    let tag = |segment: usize| Tag { message: MessageId::from_key(nth), attempt: 1, segment: segment as u8 };
    segments.into_iter().enumerate().map(|(at, segment)| (tag(at), recipient, segment)).collect()
}

/// Submits all of these as the window allows, hears what comes meanwhile, and goes on until `done`.
async fn send(
    link: &mut Link,
    heard: &mut Told,
    segments: Vec<(Tag, PhoneNumber, text::Segment)>,
    done: impl Fn(&Told) -> bool,
) {
    let what = format!("{} segments to be sent and reported", segments.len());
    let mut waiting = segments.into_iter().peekable();
    let sending = async {
        while waiting.peek().is_some() || !done(heard) {
            let window = Arc::clone(&link.window);
            let changed = window.changed();
            let permit = if waiting.peek().is_some() { window.take(1) } else { None };
            if let Some(permit) = permit {
                let (tag, recipient, segment) = waiting.next().expect("it was just looked at");
                let submission = Submission {
                    tag,
                    sender: Sender::from_stored("+15550001111").expect("a sender"),
                    recipient,
                    encoding: text::Encoding::Gsm7(text::Tables::DEFAULT),
                    segment,
                    purpose: Purpose::Transactional,
                    validity_s: 3_600,
                    waits_s: 3_600,
                    since: tokio::time::Instant::now(),
                    our_reference: tag.message.key() as u16,
                    dlt: None,
                    permit,
                };
                link.submissions.send(submission).await.expect("the carrier takes what has a permit");
                while let Ok(event) = link.events.try_recv() {
                    heard.hear(event);
                }
                continue;
            }
            tokio::select! {
                event = link.events.recv() => heard.hear(event.expect("the carrier runs")),
                () = changed, if waiting.peek().is_some() => {}
            }
        }
    };
    timeout(LIMIT, sending).await.expect(&what);
}

async fn wait_until_up(link: &mut Link) {
    let up = link.state.wait_for(|state| matches!(state, LinkState::Up { .. }));
    timeout(LIMIT, up).await.expect("the link comes up").expect("the carrier runs");
}

/// Stops the link and hears the rest.
async fn stop(opened: Opened, heard: &mut Told) -> Vec<Seen> {
    let Opened { mut link, far_end, .. } = opened;
    link.stop.send(true).expect("the carrier runs");
    let rest = async {
        while let Some(event) = link.events.recv().await {
            heard.hear(event);
        }
    };
    timeout(LIMIT, rest).await.expect("the events end");
    timeout(LIMIT, link.state.wait_for(|state| *state == LinkState::Stopped)).await.expect("stopped").ok();
    assert_eq!((link.window.free(), link.window.taken()), (0, 0));
    let Some(mut far_end) = far_end else { return Vec::new() };
    far_end.stop.send(()).expect("the far end runs");
    timeout(LIMIT, far_end.ended).await.expect("the far end ends").expect("without a panic");
    let mut seen = Vec::new();
    while let Some(submission) = far_end.seen.recv().await {
        seen.push(submission);
    }
    seen
}

/// Promise 2, and what `Unsent` means: looked at from the carrier's side, by our reference and the number of the part.
fn assert_sent_at_most_once(heard: &Told, seen: &[Seen]) {
    let mut times: HashMap<(u16, u8), usize> = HashMap::new();
    for Seen { pdu, .. } in seen {
        let reference = find_tlv(&pdu.tlvs, tag::USER_MESSAGE_REFERENCE).expect("our reference");
        let reference = u16::from_be_bytes(reference.try_into().expect("two octets"));
        *times.entry((reference, pdu.short_message[5])).or_default() += 1;
    }
    for (tag, answers) in &heard.answers {
        let seen = times.get(&(tag.message.key() as u16, tag.segment + 1)).copied().unwrap_or(0);
        let fine = match answers[0] {
            Answer::Accepted { .. } | Answer::Refused(_) => seen == 1,
            Answer::None => seen <= 1,
            Answer::Unsent => seen == 0,
        };
        assert!(fine, "{tag:?} was answered {answers:?}, and the carrier saw it {seen} times");
    }
}

fn answered_all(count: usize) -> impl Fn(&Told) -> bool {
    move |heard| heard.answers.len() == count
}

/// Promise 1: exactly one answer, or a doubtful one and at most a real one after it.
fn assert_answered_once(kind: &str, heard: &Told) {
    for (tag, answers) in &heard.answers {
        let fine = matches!(answers[..], [_] | [Answer::None, Answer::Accepted { .. } | Answer::Refused(_)]);
        assert!(fine, "{kind}: {tag:?} was answered {answers:?}");
    }
}

#[tokio::test]
async fn every_submission_is_answered_exactly_once_whatever_goes_wrong() {
    for kind in KINDS {
        let faults = Faults {
            lost_answers_percent: 3.0,
            lost_receipts_percent: 5.0,
            duplicate_receipts_percent: 5.0,
            busy_percent: 5.0,
            disconnect_every: Some(150),
            garbage_every: Some(70),
            outages: vec![Outage { from_s: 0.3, for_s: 0.3, every_s: None }],
            ..Faults::default()
        };
        let mut opened = open(kind.name, Wanted { faults, sessions: 2, ..Wanted::default() }).await;
        let to = |nth: i64| match nth % 10 {
            1 => "+15559080020".to_owned(),
            2 => "+15559540002".to_owned(),
            3 => "+15559240000".to_owned(),
            4 if nth == 104 => "+15559800000".to_owned(),
            4 if nth == 204 => "+15559830000".to_owned(),
            _ => format!("+1555000{nth:04}"),
        };
        let text = "Long enough for two segments. ".repeat(8);
        let all: Vec<_> = (0..300).flat_map(|nth| message(nth, &to(nth), &text)).collect();
        let count = all.len();
        let mut heard = Told::default();
        send(&mut opened.link, &mut heard, all, answered_all(count)).await;
        let has_far_end = opened.far_end.is_some();
        let seen = stop(opened, &mut heard).await;
        if has_far_end {
            assert_sent_at_most_once(&heard, &seen);
        }
        assert_eq!(heard.answers.len(), count, "{}", kind.name);
        assert_answered_once(kind.name, &heard);
        let accepted =
            heard.answers.values().flatten().filter(|answer| matches!(answer, Answer::Accepted { .. }));
        assert!(accepted.count() > count / 4, "{}: the carrier was not away all the time", kind.name);
        assert!(heard.malformed > 0, "{}: garbage is told", kind.name);
    }
}

#[tokio::test]
async fn what_is_not_stored_is_offered_again_and_what_is_stored_is_not() {
    for kind in KINDS {
        let mut opened = open(kind.name, Wanted::default()).await;
        let all: Vec<_> = (0..20).flat_map(|nth| message(nth, "+15559700000", "Hej")).collect();
        let mut heard = Told { hold: true, ..Told::default() };
        let each = |heard: &Told| heard.receipts.len() == 20 && heard.inbound.len() == 20;
        send(&mut opened.link, &mut heard, all, each).await;
        if let Some(far_end) = &opened.far_end {
            assert_eq!(far_end.tally.acknowledged.load(Ordering::Relaxed), 0, "nothing was stored yet");
        }
        // Dropped, not stored: as if the store had failed.
        heard.held.clear();
        heard.hold = false;
        let again = |heard: &Told| heard.receipts.len() >= 40 && heard.inbound.len() >= 40;
        send(&mut opened.link, &mut heard, vec![], again).await;
        let mut ids: BTreeMap<&str, usize> = BTreeMap::new();
        heard.receipts.iter().for_each(|receipt| *ids.entry(&receipt.carrier_id).or_default() += 1);
        assert!(ids.len() == 20 && ids.values().all(|&times| times >= 2), "{}: {ids:?}", kind.name);
        // Another message is a sign that everything before it has settled.
        let acknowledged =
            |opened: &Opened| opened.far_end.as_ref().map(|it| it.tally.acknowledged.load(Ordering::Relaxed));
        let all_acknowledged = async {
            while acknowledged(&opened).is_some_and(|count| count < 40) {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, all_acknowledged).await.expect("acknowledgements arrive");
        stop(opened, &mut heard).await;
        assert_eq!((heard.receipts.len(), heard.inbound.len()), (40, 40), "{}", kind.name);
    }
}

#[tokio::test]
async fn the_window_is_never_exceeded() {
    for kind in KINDS {
        // The far end refuses what is beyond its window as throttled.
        let slow = tidings_carriers::faults::Latency { p50_ms: 2, p90_ms: 5, p99_ms: 10, max_ms: 20 };
        let wanted = Wanted {
            faults: Faults { answer: slow, ..Faults::default() },
            window: 5,
            carriers_window: Some(5),
            sessions: 3,
            ..Wanted::default()
        };
        let mut opened = open(kind.name, wanted).await;
        let all: Vec<_> = (0..500).flat_map(|nth| message(nth, "+15550002222", "Hej")).collect();
        let mut heard = Told::default();
        send(&mut opened.link, &mut heard, all, answered_all(500)).await;
        let refused =
            heard.answers.values().flatten().find(|answer| !matches!(answer, Answer::Accepted { .. }));
        assert_eq!(refused, None, "{}", kind.name);
        stop(opened, &mut heard).await;
    }
}

#[tokio::test]
async fn what_may_not_be_sent_any_more_is_unsent_and_never_reaches_the_carrier() {
    for kind in KINDS {
        let may_send = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&may_send);
        let around =
            Surroundings { may_send: Arc::new(move || asked.load(Ordering::SeqCst)), ..surroundings() };
        let mut opened = open_in(kind.name, Wanted::default(), &around).await;
        wait_until_up(&mut opened.link).await;
        let mut heard = Told::default();
        send(&mut opened.link, &mut heard, message(1, "+15550002222", "one"), answered_all(1)).await;
        may_send.store(false, Ordering::SeqCst);
        let refused = (2..=5).flat_map(|n| message(n, "+15550002222", "one of many")).collect();
        send(&mut opened.link, &mut heard, refused, answered_all(5)).await;
        let seen = stop(opened, &mut heard).await;
        for (tag, answers) in &heard.answers {
            let expected = tag.message.key() > 1;
            assert_eq!(answers[..] == [Answer::Unsent], expected, "{}: {tag:?} {answers:?}", kind.name);
        }
        assert!(seen.len() <= 1, "{}: {seen:?}", kind.name);
    }
}

#[tokio::test]
async fn a_message_larger_than_the_window_goes_when_it_is_alone() {
    for kind in KINDS {
        let mut opened = open(kind.name, Wanted { window: 2, ..Wanted::default() }).await;
        wait_until_up(&mut opened.link).await;
        let segments = message(1, "+15550002222", &"A long text. ".repeat(60));
        assert!(segments.len() > 3);
        let mut permit = opened.link.window.take(segments.len()).expect("it is alone");
        let count = segments.len();
        for (tag, recipient, segment) in segments {
            let submission = Submission {
                tag,
                sender: Sender::from_stored("Tidings").expect("a sender"),
                recipient,
                encoding: text::Encoding::Gsm7(text::Tables::DEFAULT),
                segment,
                purpose: Purpose::Alert,
                validity_s: 60,
                waits_s: 60,
                since: tokio::time::Instant::now(),
                our_reference: 1,
                dlt: None,
                permit: permit.split_one().expect("one for each"),
            };
            opened.link.submissions.send(submission).await.expect("the carrier runs");
        }
        let mut heard = Told::default();
        send(&mut opened.link, &mut heard, vec![], answered_all(count)).await;
        assert!(
            heard.answers.values().all(|answers| matches!(answers[..], [Answer::Accepted { .. }])),
            "{}",
            kind.name
        );
        stop(opened, &mut heard).await;
    }
}

#[tokio::test]
async fn a_stop_gives_everything_back() {
    for kind in KINDS {
        let mut opened = open(kind.name, Wanted { window: 40, ..Wanted::default() }).await;
        let lost = (0..10).flat_map(|nth| message(nth, "+15559500000", "never answered"));
        let slow = (10..20).flat_map(|nth| message(nth, "+15559080700", "answered slowly"));
        let usual = (20..40).flat_map(|nth| message(nth, "+15550002222", "answered at once"));
        let all: Vec<_> = usual.chain(lost).chain(slow).collect();
        let mut heard = Told::default();
        // All of them are handed over, and only some are answered.
        send(&mut opened.link, &mut heard, all, |_| true).await;
        stop(opened, &mut heard).await;
        assert_eq!(heard.answers.len(), 40, "{}", kind.name);
        assert_answered_once(kind.name, &heard);
        for nth in 0..10 {
            let answers = &heard.answers[&Tag { message: MessageId::from_key(nth), attempt: 1, segment: 0 }];
            assert!(matches!(answers[..], [Answer::None | Answer::Unsent]), "{}: {answers:?}", kind.name);
        }
    }
}

#[tokio::test]
async fn while_the_carrier_is_away_nothing_may_be_submitted_and_afterwards_all_goes_on() {
    for kind in KINDS {
        let mut opened = open(kind.name, Wanted::default()).await;
        wait_until_up(&mut opened.link).await;
        let outage = Outage { from_s: 0.0, for_s: 1.5, every_s: None };
        opened.faults.send_replace(Faults { outages: vec![outage], ..Faults::default() });
        let down =
            opened.link.state.wait_for(|state| matches!(state, LinkState::Connecting { reason: Some(_) }));
        timeout(LIMIT, down).await.expect("the link goes down").expect("the carrier runs");
        assert_eq!(opened.link.window.free(), 0, "{}", kind.name);
        let all: Vec<_> = (0..20).flat_map(|nth| message(nth, "+15550002222", "Hej")).collect();
        let mut heard = Told::default();
        send(&mut opened.link, &mut heard, all, |heard| heard.receipts.len() >= 20).await;
        stop(opened, &mut heard).await;
        assert_answered_once(kind.name, &heard);
    }
}

/// What a test compares of what became of one message.
async fn fates(kind: &str) -> BTreeMap<&'static str, String> {
    let mut opened = open(kind, Wanted { window: 500, ..Wanted::default() }).await;
    wait_until_up(&mut opened.link).await;
    let mut heard = Told::default();
    let (mut all, mut receipts, mut replies, mut answers) = (Vec::new(), 0, 0, 0);
    let mut names = BTreeMap::new();
    for (nth, magic) in (1..).zip(magic_numbers()) {
        let number = match magic.name {
            "delivered_late" => magic.number(1),
            "answer_late" => magic.number(2),
            _ => magic.example(),
        };
        let recipient = PhoneNumber::from_stored(&number).expect("a number").digits();
        let of = |part, before| {
            let draw = Draw::of(1, 1);
            script::plan(&Heard { recipient, part, before, receipt_after_ms: 100, draw })
        };
        if magic.name == "chance" || !matches!(of(None, 0).link, LinkTrouble::None | LinkTrouble::Garbage) {
            continue;
        }
        names.insert(nth, (magic.name, number.clone()));
        let mut before = 0;
        for (tag, to, segment) in message(nth, &number, &"Two segments, told apart. ".repeat(8)) {
            let plan = of(segment.part, before);
            before += u32::from(script::counts(recipient, segment.part));
            receipts += plan.receipts.len();
            if segment.part.is_none_or(|part| part.number == part.total) {
                replies += plan.reply.map_or(0, |reply| reply.segments(|| segment.text(), 1).len());
            }
            answers += 1 + usize::from(magic.name == "answer_late");
            all.push((tag, to, segment));
        }
    }
    let done = |heard: &Told| {
        let answered: usize = heard.answers.values().map(Vec::len).sum();
        (heard.receipts.len(), heard.inbound.len(), answered) == (receipts, replies, answers)
    };
    send(&mut opened.link, &mut heard, all, done).await;
    assert_answered_once(kind, &heard);
    let mut fates = BTreeMap::new();
    for (nth, (name, number)) in names {
        let mut fate = String::new();
        for segment in 0..2 {
            let answers = &heard.answers[&Tag { message: MessageId::from_key(nth), attempt: 1, segment }];
            for answer in answers {
                fate += &match answer {
                    Answer::Accepted { carrier_id } => format!("accepted({}) ", carrier_id.len()),
                    Answer::Refused(failure) => format!("refused({}) ", failure.class.as_str()),
                    Answer::None => "none ".to_owned(),
                    Answer::Unsent => "unsent ".to_owned(),
                };
                // The receipts find their segment, whatever form the ids have.
                if let Answer::Accepted { carrier_id } = answer
                    && !["no_receipt", "last_segment_missing", "id_missing"].contains(&name)
                {
                    let found = heard.receipts.iter().any(|it| lookups(it).contains(&canonical(carrier_id)));
                    assert!(found, "{kind} {name}: no receipt for {carrier_id}");
                }
            }
        }
        let mine = |party: &String| party.trim_start_matches('+') == number.trim_start_matches('+');
        let mut said: Vec<String> =
            heard.receipts.iter().filter(|it| it.parties.iter().any(mine)).map(said_by).collect();
        said.sort();
        fate += &said.join(" ");
        let mut parts: Vec<_> = heard
            .inbound
            .iter()
            .filter(|it| mine(&it.from))
            .map(|it| (it.segment.part.map(|part| part.number), it.segment.text()))
            .collect();
        parts.sort();
        fate += &parts.iter().map(|(number, text)| format!(" {number:?}:{text}")).collect::<String>();
        fates.insert(name, fate);
    }
    assert!(heard.malformed > 0, "{kind}: the garbage was told");
    stop(opened, &mut heard).await;
    fates
}

fn said_by(receipt: &Receipt) -> String {
    let reference = if receipt.our_reference.is_some() { "+ref" } else { "" };
    let outcome = match &receipt.outcome {
        None => "under way".to_owned(),
        Some(Outcome::Delivered) => "delivered".to_owned(),
        Some(Outcome::Unknown(_)) => "unknown".to_owned(),
        Some(Outcome::Expired(_)) => "expired".to_owned(),
        Some(Outcome::Undelivered(failure)) => {
            format!("undelivered({},{})", failure.class.as_str(), failure.transient)
        }
        Some(Outcome::Rejected(failure)) => {
            format!("rejected({},{})", failure.class.as_str(), failure.transient)
        }
    };
    format!("{outcome}{reference}")
}

#[tokio::test]
async fn a_magic_number_has_the_same_fate_at_every_carrier_that_pretends() {
    let inside = fates("simulator").await;
    let outside = fates("smpp").await;
    assert!(inside.len() > 60);
    for (name, fate) in &inside {
        assert_eq!(Some(fate), outside.get(name), "{name}");
    }
    let check = |name: &str, says: &str| assert!(inside[name].contains(says), "{name}: {}", inside[name]);
    check("refused_auth_failed", "refused(AUTH_FAILED)");
    check("refused_invalid_number", "refused(INVALID_NUMBER)");
    check("refused_rate_limited", "refused(RATE_LIMITED)");
    check("refused_opted_out", "refused(OPTED_OUT)");
    check("refused_filtered", "refused(FILTERED)");
    check("refused_unexplained", "refused(UNKNOWN_ERROR)");
    check("receipt_auth_failed", "undelivered(AUTH_FAILED,false)+ref");
    check("receipt_invalid_number", "undelivered(INVALID_NUMBER,false)+ref");
    check("receipt_opted_out", "undelivered(OPTED_OUT,false)+ref");
    check("receipt_filtered", "rejected(FILTERED,false)+ref");
    check("receipt_for_now", "undelivered(UNKNOWN_ERROR,true)+ref");
    check("receipt_for_good", "undelivered(UNKNOWN_ERROR,false)+ref");
    check("delivered", "accepted(16) accepted(16) delivered+ref delivered+ref");
    check("answer_lost_delivered", "none none delivered+ref");
    check("answer_late", "none accepted(16) none accepted(16) delivered+ref");
    check("last_segment_refused", "accepted(16) refused(FILTERED) delivered+ref");
    check("id_long", "accepted(70)");
    check("receipt_of_another", "undelivered(INVALID_NUMBER,false) undelivered(INVALID_NUMBER,false)");
    check("reply_stop", "None:STOP");
    check("reply_unicode", "👍");
    check("reply_part_missing", "Some(3)");
}

#[tokio::test]
async fn one_session_sends_and_another_receives_where_the_carrier_wants_that() {
    let wanted = Wanted { mode: smpp::Mode::TransmitterReceiver, sessions: 2, ..Wanted::default() };
    let mut opened = open("smpp", wanted).await;
    let all: Vec<_> = (0..50).flat_map(|nth| message(nth, "+15559700000", "Hej")).collect();
    let mut heard = Told::default();
    let done = |heard: &Told| heard.receipts.len() == 50 && heard.inbound.len() == 50;
    send(&mut opened.link, &mut heard, all, done).await;
    let up = opened.link.state.wait_for(|state| *state == LinkState::Up { sessions: 4 });
    timeout(LIMIT, up).await.expect("all four come up").expect("the carrier runs");
    stop(opened, &mut heard).await;
    assert_answered_once("smpp", &heard);
}

#[tokio::test]
async fn a_refused_bind_is_told_and_not_tried_in_haste() {
    let wanted = Wanted::default();
    let (address, _faults, far_end) = far_end(&wanted, |_| ()).await;
    let mut settings = smpp_settings(address, &wanted);
    settings.password = smpp::Password("wrong".to_owned());
    let mut link = list::open(Settings::Smpp(Box::new(settings)), &surroundings()).expect("sound settings");
    let refused = link.state.wait_for(|state| matches!(state, LinkState::Refused { .. }));
    let state = timeout(LIMIT, refused).await.expect("refused").expect("the carrier runs").clone();
    let LinkState::Refused { reason } = state else { panic!("refused") };
    assert!(reason.contains("0x0000000E"), "{reason}");
    assert_eq!(link.window.free(), 0);
    assert_eq!(far_end.tally.submitted.load(Ordering::Relaxed), 0);
    let faults = watch::Sender::new(Faults::default());
    stop(Opened { link, faults, far_end: Some(far_end) }, &mut Told::default()).await;
}

#[tokio::test]
async fn a_self_signed_carrier_is_trusted_only_by_its_certificate() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let folder = std::env::temp_dir().join(format!("tidings-carriers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (certificate_file, key_file) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate_file, certified.cert.pem()).expect("written");
    std::fs::write(&key_file, certified.signing_key.serialize_pem()).expect("written");
    let wanted = Wanted::default();
    let tls = smsc::Tls { certificate_file: certificate_file.clone(), key_file };
    let (address, faults, far_end) = far_end(&wanted, |settings| settings.tls = Some(tls)).await;
    let with = |ca_file| {
        let mut settings = smpp_settings(address, &wanted);
        let server_name = Some("localhost".to_owned());
        settings.tls = Some(smpp::Tls { ca_file, server_name, ..smpp::Tls::default() });
        list::open(Settings::Smpp(Box::new(settings)), &surroundings()).expect("sound settings")
    };
    let mut distrusting = with(None);
    let failed =
        distrusting.state.wait_for(|state| matches!(state, LinkState::Connecting { reason: Some(_) }));
    timeout(LIMIT, failed).await.expect("it fails").expect("the carrier runs");
    assert_eq!(far_end.tally.sessions.load(Ordering::Relaxed), 0);
    let mut opened = Opened { link: with(Some(certificate_file)), faults, far_end: Some(far_end) };
    let mut heard = Told::default();
    let all = message(1, "+15550002222", "Hej");
    send(&mut opened.link, &mut heard, all, |heard| heard.receipts.len() == 1).await;
    drop(distrusting);
    stop(opened, &mut heard).await;
    std::fs::remove_dir_all(&folder).expect("removed");
}

#[tokio::test]
async fn submissions_are_spread_over_the_sessions() {
    let slow = tidings_carriers::faults::Latency { p50_ms: 300, p90_ms: 300, p99_ms: 300, max_ms: 300 };
    let faults = Faults { answer: slow, ..Faults::default() };
    let mut opened = open("smpp", Wanted { faults, window: 10, sessions: 4, ..Wanted::default() }).await;
    let up = opened.link.state.wait_for(|state| *state == LinkState::Up { sessions: 4 });
    timeout(LIMIT, up).await.expect("all four come up").expect("the carrier runs");
    assert_eq!(opened.link.window.free(), 40);
    let all: Vec<_> = (0..40).flat_map(|nth| message(nth, "+15550002222", "Hej")).collect();
    let mut heard = Told::default();
    // Were they not spread, the far end would see ten before the first answer, and the rest only afterwards.
    send(&mut opened.link, &mut heard, all, |_| true).await;
    let far_end = opened.far_end.as_ref().expect("a far end");
    let arrived = async {
        while far_end.tally.submitted.load(Ordering::Relaxed) < 40 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, arrived).await.expect("all forty arrive");
    send(&mut opened.link, &mut heard, vec![], answered_all(40)).await;
    stop(opened, &mut heard).await;
}

#[tokio::test]
async fn people_of_the_simulator_send_media_with_their_words_as_one_message() {
    let mut opened = open("simulator", Wanted::default()).await;
    wait_until_up(&mut opened.link).await;
    let numbers = ["+15559910001", "+15559910002", "+15559910008"];
    let all = (1..).zip(numbers).flat_map(|(nth, number)| message(nth, number, "Hej")).collect();
    let mut heard = Told::default();
    send(&mut opened.link, &mut heard, all, |heard| heard.inbound.len() >= numbers.len()).await;
    let of = |number: &str| {
        let part = heard.inbound.iter().find(|part| part.from == number).expect("it answered");
        (part.segment.text(), part.segment.part, part.media.len(), part.media_octets())
    };
    let (words, place, count, octets) = of(numbers[0]);
    assert_eq!((words.as_str(), place, count), ("Look at this", None, 1));
    assert_eq!(of(numbers[1]), (String::new(), None, 1, octets));
    assert_eq!(of(numbers[2]).2, 12);
    stop(opened, &mut heard).await;
}
