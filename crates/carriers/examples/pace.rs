//! How fast a carrier takes segments and gives receipts: `cargo run --release -p tidings-carriers --example pace --
//! [kind] [seconds] [window] [sessions]`. The kind `smpp` runs against the simulated carrier on the loopback, in the same
//! process. Prints what it counted; nothing is stored, so this is the ceiling of the crate and not of the program.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tidings_carriers::list::{self, Settings};
use tidings_carriers::{
    CarrierEvent, Error, LinkState, Submission, Surroundings, Tag, simulator, smpp, smsc,
};
use tidings_domain::address::PhoneNumber;
use tidings_domain::id::MessageId;
use tidings_domain::message::Answer;
use tidings_domain::purpose::Purpose;
use tidings_domain::sender::Sender;
use tidings_domain::text;
use tidings_domain::time::Timestamp;
use tokio::time::Instant;

/// Longer than this tells nothing more.
const SECONDS_MAX: u64 = 60;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().unwrap_or_else(|| "simulator".to_owned());
    let mut number =
        |otherwise: u64| arguments.next().and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (seconds, window, sessions) = (number(5).min(SECONDS_MAX), number(500) as usize, number(2) as usize);

    let settings = if kind == "smpp" {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let stage = smsc::Stage { seed: 1, now: Timestamp::from_millis(1_795_000_000_000), seen: None };
        let smsc = smsc::listen(smsc::Settings { address, ..smsc::Settings::default() }, stage).await?;
        let address = smsc.address().to_string();
        tokio::spawn(smsc.run(std::future::pending()));
        Settings::Smpp(Box::new(smpp::Settings {
            address,
            system_id: "tidings".to_owned(),
            password: smpp::Password("tidings".to_owned()),
            window,
            binds: sessions,
            ..smpp::Settings::default()
        }))
    } else {
        Settings::Simulator(Box::new(simulator::Settings { window, ..simulator::Settings::default() }))
    };
    let surroundings = Surroundings {
        name: "pace".to_owned(),
        draw: Arc::new(|| 1),
        codes: Arc::default(),
        guard: Arc::new(tidings_carriers::Unguarded),
        may_send: Arc::new(|| true),
    };
    let mut link = list::open(settings, &surroundings)?;
    let up = link.state.wait_for(|state| matches!(state, LinkState::Up { .. })).await;
    drop(up.map_err(|_| Error("the link never came up".to_owned()))?);

    let (window, submissions) = (Arc::clone(&link.window), link.submissions.clone());
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let sending = tokio::spawn(async move {
        let sender = Sender::from_stored("Tidings").expect("a sender");
        let segments =
            text::split("Your parcel has come; fetch it until eight.", &text::Options::default(), 1)
                .expect("one segment");
        let mut nth = 0;
        while Instant::now() < until {
            let changed = window.changed();
            let Some(mut permit) = window.take_up_to(64) else {
                changed.await;
                continue;
            };
            while let Some(permit) = permit.split_one() {
                let submission = Submission {
                    tag: Tag { message: MessageId::from_key(nth), attempt: 1, segment: 0 },
                    sender,
                    recipient: PhoneNumber::from_digits(46_700_000_000 + nth as u64).expect("a number"),
                    encoding: text::Encoding::Gsm7(text::Tables::DEFAULT),
                    segment: segments[0].clone(),
                    purpose: Purpose::Transactional,
                    validity_s: 3_600,
                    waits_s: 3_600,
                    since: tokio::time::Instant::now(),
                    our_reference: nth as u16,
                    dlt: None,
                    permit,
                };
                nth += 1;
                if submissions.send(submission).await.is_err() {
                    return;
                }
            }
        }
    });
    let (mut accepted, mut other, mut receipts) = (0u64, 0u64, 0u64);
    loop {
        tokio::select! {
            event = link.events.recv() => match event {
                Some(CarrierEvent::Answered { answer: Answer::Accepted { .. }, .. }) => accepted += 1,
                Some(CarrierEvent::Answered { .. } | CarrierEvent::Malformed { .. }) => other += 1,
                Some(CarrierEvent::Receipt { acknowledge, .. } | CarrierEvent::Inbound { acknowledge, .. }) => {
                    receipts += 1;
                    acknowledge.stored();
                }
                None => break,
            },
            () = tokio::time::sleep_until(until) => break,
        }
    }
    let taken_s = started.elapsed().as_secs_f64();
    sending.abort();
    println!(
        "{kind}: {:.0} accepted/s, {:.0} receipts/s, {other} others, in {taken_s:.1} s",
        accepted as f64 / taken_s,
        receipts as f64 / taken_s
    );
    Ok(())
}
