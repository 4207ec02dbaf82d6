//! A carrier that says what a test wants it to say, octet by octet, and hears what is acknowledged. Written from the
//! specification (SMPP 3.4 §3.2, §4.1, §4.6, §4.11) and not with the library of the subject.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

const BIND_TRANSCEIVER: u32 = 0x0000_0009;
const SUBMIT_SM: u32 = 0x0000_0004;
const DELIVER_SM: u32 = 0x0000_0005;
const UNBIND: u32 = 0x0000_0006;
const ENQUIRE_LINK: u32 = 0x0000_0015;
const RESPONSE: u32 = 0x8000_0000;
/// `esm_class`: the text begins with a user data header.
const UDHI: u8 = 0x40;
/// Only against a hang.
const HANG: Duration = Duration::from_secs(120);

/// The carrier. It lives as long as the test.
pub struct Carrier {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The session that is bound now, and how many there were.
    session: Option<TcpStream>,
    sessions: usize,
    last: u32,
    /// What was said and not yet acknowledged with success.
    open: BTreeSet<u32>,
    refused: usize,
}

/// Something that a person sends.
#[derive(Clone)]
pub struct Said<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub data_coding: u8,
    pub header: Vec<u8>,
    pub text: Vec<u8>,
}

impl<'a> Said<'a> {
    /// A part: reference, total and number.
    pub fn part(from: &'a str, to: &'a str, (reference, total, number): (u8, u8, u8), text: &str) -> Self {
        let header = vec![5, 0, 3, reference, total, number];
        Self { from, to, data_coding: 3, header, text: text.as_bytes().to_vec() }
    }

    fn pdu(&self, sequence: u32) -> Vec<u8> {
        let address = |number: &str| {
            let digits = number.trim_start_matches('+');
            [&[1, 1][..], digits.as_bytes(), &[0]].concat()
        };
        let esm_class = if self.header.is_empty() { 0 } else { UDHI };
        let length = u8::try_from(self.header.len() + self.text.len()).expect("it fits into short_message");
        let body = [
            &[0][..],
            &address(self.from),
            &address(self.to),
            &[esm_class, 0, 0, 0, 0, 0, 0, self.data_coding, 0, length],
            &self.header,
            &self.text,
        ]
        .concat();
        pdu(DELIVER_SM, 0, sequence, &body)
    }
}

fn pdu(command: u32, status: u32, sequence: u32, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(16 + body.len()).expect("it is short");
    let mut octets = Vec::with_capacity(16 + body.len());
    for word in [length, command, status, sequence] {
        octets.extend(word.to_be_bytes());
    }
    octets.extend(body);
    octets
}

impl Carrier {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has one");
        let shared = Arc::new(Shared { state: Mutex::default(), changed: Condvar::new() });
        let all = Arc::clone(&shared);
        std::thread::spawn(move || {
            for session in listener.incoming().flatten() {
                let shared = Arc::clone(&all);
                std::thread::spawn(move || shared.serve(session));
            }
        });
        Self { address, shared }
    }

    /// Says this on the session that is bound, without waiting for the acknowledgement. Gives its number.
    pub fn says(&self, said: &Said<'_>) -> u32 {
        self.say_all(std::slice::from_ref(said))
    }

    /// Says these one behind the other. Gives the number of the last.
    pub fn say_all(&self, all: &[Said<'_>]) -> u32 {
        let mut state = self.shared.until("a session", |state| state.session.is_some());
        let mut octets = Vec::new();
        for said in all {
            state.last += 1;
            let sequence = state.last;
            state.open.insert(sequence);
            octets.extend(said.pdu(sequence));
        }
        let mut session = state.session.as_ref().expect("it is there").try_clone().expect("another end");
        let last = state.last;
        // It may have to wait until the other side reads, which may wait until we do.
        drop(state);
        // A session that ended acknowledges nothing.
        let _ = session.write_all(&octets);
        last
    }

    /// Waits until everything that was said is acknowledged.
    pub fn is_heard(&self) {
        drop(self.shared.until("the acknowledgements", |state| state.open.is_empty()));
    }

    /// Waits until this is acknowledged.
    pub fn heard(&self, number: u32) {
        drop(self.shared.until("an acknowledgement", |state| !state.open.contains(&number)));
    }

    /// Waits until at most so many wait for an acknowledgement.
    pub fn at_most_open(&self, count: usize) {
        drop(self.shared.until("acknowledgements", |state| state.open.len() <= count));
    }

    /// Says nothing more on this session, and forgets what is not acknowledged there. Gives its number.
    pub fn leave_session(&self) -> usize {
        let mut state = self.shared.lock();
        state.open.clear();
        state.session = None;
        state.sessions
    }

    /// Waits for a session after this one.
    pub fn next_session(&self, left: usize) {
        drop(self.shared.until("another session", |state| state.sessions > left && state.session.is_some()));
    }

    /// How many were refused so far, to be offered again.
    pub fn refused(&self) -> usize {
        self.shared.lock().refused
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }

    fn until(&self, what: &str, is: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let (state, waited) = self
            .changed
            .wait_timeout_while(self.lock(), HANG, |state| !is(state))
            .expect("nothing panics while it holds this");
        assert!(!waited.timed_out(), "{what} did not come: {} are open", state.open.len());
        state
    }

    fn serve(&self, mut session: TcpStream) {
        let mut header = [0; 16];
        while session.read_exact(&mut header).is_ok() {
            let word = |n: usize| u32::from_be_bytes(header[4 * n..][..4].try_into().expect("four octets"));
            let (length, command, status, sequence) = (word(0), word(1), word(2), word(3));
            let mut body = vec![0; (length as usize).saturating_sub(16)];
            if session.read_exact(&mut body).is_err() {
                return;
            }
            let answer = match command {
                BIND_TRANSCEIVER => Some(&b"carrier\0"[..]),
                SUBMIT_SM => Some(&b"id\0"[..]),
                ENQUIRE_LINK | UNBIND => Some(&b""[..]),
                _ => None,
            };
            if let Some(answer) = answer
                && session.write_all(&pdu(command | RESPONSE, 0, sequence, answer)).is_err()
            {
                return;
            }
            let mut state = self.lock();
            if command == BIND_TRANSCEIVER {
                state.session = Some(session.try_clone().expect("another end"));
                state.sessions += 1;
            }
            if command == DELIVER_SM | RESPONSE && state.open.remove(&sequence) && status != 0 {
                state.refused += 1;
            }
            drop(state);
            self.changed.notify_all();
        }
    }
}
