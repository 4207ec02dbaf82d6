//! The SMPP session of the lean program: one task that writes what it is told and reads what the carrier says.

use super::Limit;
use super::writer::Operation;
use crate::poll::find;
use crate::smsc::put;
use std::collections::HashMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

const SUBMIT_SM: u32 = 0x0000_0004;
const DELIVER_SM: u32 = 0x0000_0005;
const BIND_TRANSCEIVER: u32 = 0x0000_0009;
const ENQUIRE_LINK: u32 = 0x0000_0015;
const RESPONSE: u32 = 0x8000_0000;
/// Commands that are taken at once.
const AT_ONCE: usize = 64;

/// A message for the carrier.
pub struct Submission {
    pub message: i64,
    pub sender: String,
    pub recipient: u64,
    pub text: String,
}

/// What is to be written.
pub enum Command {
    Submit(Vec<Submission>),
    /// The sequence numbers of receipts that are committed.
    Acknowledge(Vec<u32>),
}

/// A session that is bound.
pub struct Session {
    stream: TcpStream,
    read: Vec<u8>,
    out: Vec<u8>,
    sequence: u32,
    unanswered: HashMap<u32, i64>,
}

impl Session {
    /// Connects and binds.
    pub async fn bind(carrier: SocketAddr) -> Result<Self, String> {
        let text = |error: std::io::Error| format!("the carrier: {error}");
        let mut stream = TcpStream::connect(carrier).await.map_err(text)?;
        stream.set_nodelay(true).map_err(text)?;
        let mut out = Vec::new();
        put(&mut out, BIND_TRANSCEIVER, 0, 1, b"limit\0bench\0\0\x34\0\0\0");
        stream.write_all(&out).await.map_err(text)?;
        let mut answer = [0; 16];
        stream.read_exact(&mut answer).await.map_err(text)?;
        let mut rest = vec![0; word(&answer, 0) as usize - 16];
        stream.read_exact(&mut rest).await.map_err(text)?;
        if word(&answer, 8) != 0 {
            return Err("the carrier refuses the bind".to_owned());
        }
        out.clear();
        Ok(Self { stream, read: Vec::new(), out, sequence: 1, unanswered: HashMap::new() })
    }

    /// Works until the carrier goes away.
    pub async fn work(mut self, mut commands: mpsc::Receiver<Command>, limit: &Limit) -> std::io::Result<()> {
        let mut taken = Vec::with_capacity(AT_ONCE);
        loop {
            tokio::select! {
                length = self.stream.read_buf(&mut self.read) => {
                    if length? == 0 {
                        return Ok(());
                    }
                    limit.queue.extend(self.hear());
                }
                _ = commands.recv_many(&mut taken, AT_ONCE) => {
                    for command in taken.drain(..) {
                        match command {
                            Command::Submit(submissions) => {
                                for submission in submissions {
                                    self.sequence += 1;
                                    self.unanswered.insert(self.sequence, submission.message);
                                    write_submit(&mut self.out, self.sequence, &submission);
                                }
                            }
                            Command::Acknowledge(sequences) => {
                                for sequence in sequences {
                                    put(&mut self.out, DELIVER_SM | RESPONSE, 0, sequence, b"\0");
                                }
                            }
                        }
                    }
                }
            }
            self.stream.write_all(&self.out).await?;
            self.out.clear();
        }
    }

    /// What follows from the PDUs that have come as a whole.
    fn hear(&mut self) -> Vec<Operation> {
        let (mut used, mut operations) = (0, Vec::new());
        while self.read.len() - used >= 16 {
            let length = word(&self.read[used..], 0) as usize;
            let Some(pdu) = self.read.get(used..used + length.max(16)) else { break };
            used += pdu.len();
            let (command, status, sequence) = (word(pdu, 4), word(pdu, 8), word(pdu, 12));
            match command {
                command if command == SUBMIT_SM | RESPONSE => {
                    assert_eq!(status, 0, "a lean program has no answer to a refusal");
                    let message =
                        self.unanswered.remove(&sequence).expect("the carrier answers what was asked");
                    operations.push(Operation::Answered { message, carrier_id: text(&pdu[16..], 0) });
                }
                DELIVER_SM => {
                    let from = find(pdu, b"id:").expect("a receipt names its message") + 3;
                    assert!(find(pdu, b"stat:DELIVRD").is_some(), "this carrier delivers everything");
                    operations.push(Operation::Receipt { carrier_id: text(&pdu[from..], b' '), sequence });
                }
                ENQUIRE_LINK => put(&mut self.out, ENQUIRE_LINK | RESPONSE, 0, sequence, &[]),
                _ => {}
            }
        }
        self.read.drain(..used);
        operations
    }
}

fn word(octets: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

/// The text until this octet.
fn text(octets: &[u8], end: u8) -> String {
    let end = octets.iter().position(|octet| *octet == end).unwrap_or(octets.len());
    String::from_utf8_lossy(&octets[..end]).into_owned()
}

/// A `submit_sm` with a text of at most 160 characters that the default alphabet writes as ASCII does.
fn write_submit(out: &mut Vec<u8>, sequence: u32, submission: &Submission) {
    let from = out.len();
    // No service type; a name as sender, an international number as recipient.
    put(out, SUBMIT_SM, 0, sequence, &[0, 5, 0]);
    out.extend_from_slice(submission.sender.as_bytes());
    out.extend_from_slice(&[0, 1, 1]);
    out.extend_from_slice(submission.recipient.to_string().as_bytes());
    // The end of the number; esm_class, protocol, priority, two empty times, a receipt wanted, no replacing, data
    // coding, no canned text.
    out.extend_from_slice(&[0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
    out.push(u8::try_from(submission.text.len()).expect("it was measured"));
    out.extend_from_slice(submission.text.as_bytes());
    let length = u32::try_from(out.len() - from).expect("a PDU is small");
    out[from..from + 4].copy_from_slice(&length.to_be_bytes());
}
