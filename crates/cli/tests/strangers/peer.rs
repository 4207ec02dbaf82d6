//! A carrier as these tests see it, whichever library it is made of: what it is sent comes out as [`Told`], and what
//! it shall do goes in as a [`Wish`]. It decides nothing by itself but to accept the bind, so that each test reads
//! like the story it tells. Octets, sequence numbers and responses are the library's affair.

use std::any::Any;
use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Only against a hang: no test passes or fails by it otherwise.
pub const HANG: Duration = Duration::from_secs(60);
/// Tellings and wishes that may wait: more than any test has.
pub const QUEUE: usize = 1_000;

/// `ESME_ROK`.
pub const OK: u32 = 0x00;
/// `ESME_RINVDSTADR`: invalid destination address.
pub const INVALID_DESTINATION: u32 = 0x0B;
/// `ESME_RTHROTTLED`: more than the carrier allows.
pub const THROTTLED: u32 = 0x58;

/// What a carrier was sent.
#[derive(Debug, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Told {
    /// A session is bound.
    Bound {
        /// Its number; no two have the same.
        session: u64,
    },
    /// A submission that waits for its answer.
    Submit(Box<Submit>),
    /// A `deliver_sm` was answered.
    Acknowledged {
        /// The tag of its wish.
        tag: u64,
        /// The answer.
        status: u32,
    },
    /// A `generic_nack`, or a `deliver_sm_resp` with a status that is not 0.
    Refused {
        /// Its `command_id`.
        command: u32,
        /// Its sequence number.
        sequence: u32,
        /// The status.
        status: u32,
    },
    /// A session is over.
    Closed {
        /// Its number.
        session: u64,
    },
}

/// A submission as the library read it.
#[derive(Debug, Deserialize)]
pub struct Submit {
    /// The session that it came on.
    pub session: u64,
    /// By which it is answered; no two of a session have the same.
    pub number: u64,
    /// Type of number, numbering plan, address.
    pub source: (u8, u8, String),
    /// The same of the recipient.
    pub destination: (u8, u8, String),
    /// `data_coding`.
    pub data_coding: u8,
    /// `registered_delivery`.
    pub registered_delivery: u8,
    /// The elements of the user data header, without the octet that counts them; empty if there is none.
    pub header: Vec<u8>,
    /// The text behind the header.
    pub text: String,
}

impl Submit {
    /// Reference, total and number of the one header element that ties parts together
    /// (3GPP TS 23.040 §9.2.3.24.1).
    pub fn part(&self) -> Option<(u8, u8, u8)> {
        match self.header.as_slice() {
            [0x00, 0x03, reference, total, number] => Some((*reference, *total, *number)),
            _ => None,
        }
    }
}

/// What a carrier shall do.
#[derive(Debug, Serialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Wish {
    /// Answer a submission.
    Answer {
        /// The session.
        session: u64,
        /// The submission.
        number: u64,
        /// The status.
        status: u32,
        /// The id, if the status is 0.
        id: String,
    },
    /// Send a receipt.
    Deliver {
        /// The session.
        session: u64,
        /// Comes back with its answer.
        tag: u64,
        /// Who it is from: the recipient.
        source: String,
        /// Who it is to: the sender.
        destination: String,
        /// Its text.
        text: String,
    },
    /// Send octets that may be anything.
    Raw {
        /// The session.
        session: u64,
        /// The octets.
        octets: Vec<u8>,
    },
    /// Cut the connection at once.
    Close {
        /// The session.
        session: u64,
    },
}

/// A carrier that runs. Dropped, it ends.
pub struct Peer {
    /// The library and its version.
    pub name: String,
    /// Where it listens on this machine.
    pub port: u16,
    told: mpsc::Receiver<Told>,
    passed: VecDeque<Told>,
    wishes: mpsc::Sender<Wish>,
    tags: u64,
    /// What ends the carrier when it is dropped.
    _alive: Box<dyn Any>,
}

impl Peer {
    /// A carrier behind its two channels.
    pub fn new(
        name: String,
        port: u16,
        told: mpsc::Receiver<Told>,
        wishes: mpsc::Sender<Wish>,
        alive: impl Any,
    ) -> Self {
        Self { name, port, told, passed: VecDeque::new(), wishes, tags: 0, _alive: Box::new(alive) }
    }

    /// The first of what it was sent, and nobody took yet, that is `wanted`.
    async fn take<T>(&mut self, what: &str, wanted: impl Fn(Told) -> Result<T, Told>) -> T {
        let mut passed = VecDeque::new();
        loop {
            let told = match self.passed.pop_front() {
                Some(told) => told,
                None => match timeout(HANG, self.told.recv()).await {
                    Ok(Some(told)) => told,
                    Ok(None) => panic!("{} ended before {what}", self.name),
                    Err(_) => {
                        panic!("{} waited in vain for {what}; what came instead: {passed:?}", self.name)
                    }
                },
            };
            match wanted(told) {
                Ok(taken) => {
                    passed.append(&mut self.passed);
                    self.passed = passed;
                    return taken;
                }
                Err(told) => passed.push_back(told),
            }
        }
    }

    /// The session that is bound next.
    pub async fn bound(&mut self) -> u64 {
        self.take("a bind", |told| match told {
            Told::Bound { session } => Ok(session),
            other => Err(other),
        })
        .await
    }

    /// The next submission.
    pub async fn submit(&mut self) -> Submit {
        self.take("a submission", |told| match told {
            Told::Submit(submit) => Ok(*submit),
            other => Err(other),
        })
        .await
    }

    /// The next refusal: `command_id`, sequence number and status.
    pub async fn refused(&mut self) -> (u32, u32, u32) {
        self.take("a refusal", |told| match told {
            Told::Refused { command, sequence, status } => Ok((command, sequence, status)),
            other => Err(other),
        })
        .await
    }

    /// The end of a session.
    pub async fn closed(&mut self, session: u64) {
        self.take("the end of a session", |told| match told {
            Told::Closed { session: this } if this == session => Ok(()),
            other => Err(other),
        })
        .await;
    }

    /// The next submissions, as many as asked for.
    pub async fn submits(&mut self, count: usize) -> Vec<Submit> {
        let mut submits = Vec::with_capacity(count);
        while submits.len() < count {
            submits.push(self.submit().await);
        }
        submits
    }

    /// Whether nothing came that was not taken yet.
    pub fn is_quiet(&mut self) -> bool {
        self.passed.is_empty() && self.told.try_recv().is_err()
    }

    /// Does something.
    pub async fn wish(&self, wish: Wish) {
        self.wishes.send(wish).await.expect("the carrier runs");
    }

    /// Answers a submission.
    pub async fn answer(&self, submit: &Submit, status: u32, id: &str) {
        let (session, number) = (submit.session, submit.number);
        self.wish(Wish::Answer { session, number, status, id: id.to_owned() }).await;
    }

    /// Sends the receipt of a submission on a session, in the words of SMPP 3.4 Appendix B, and waits until it is
    /// acknowledged: then it is stored.
    pub async fn receipt(&mut self, session: u64, submit: &Submit, id: &str, stat: &str) {
        let (dlvrd, err) = if stat == "DELIVRD" { ("001", "000") } else { ("000", "099") };
        let text = format!(
            "id:{id} sub:001 dlvrd:{dlvrd} submit date:2611231200 done date:2611231201 stat:{stat} err:{err} text:"
        );
        self.tags += 1;
        let (source, destination) = (submit.destination.2.clone(), submit.source.2.clone());
        self.wish(Wish::Deliver { session, tag: self.tags, source, destination, text }).await;
        let tag = self.tags;
        let status = self
            .take("an acknowledgement", |told| match told {
                Told::Acknowledged { tag: this, status } if this == tag => Ok(status),
                other => Err(other),
            })
            .await;
        assert_eq!(status, OK, "{}: a receipt was not taken", self.name);
    }
}
