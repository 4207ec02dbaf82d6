//! How nodes hear of each other's commits: a line of words that goes with a commit (`NOTIFY`), and a session that
//! listens. News only make things quick; nothing is lost if they are.
//!
//! The words of a line: the writer's number; then `q12:1767225600000` (connection 12 has something due then), `w1:2:-5`
//! (of account 1 five fewer of priority 2 wait), `l7` (the suppression list has version 7), `d` (deliveries are due), `s`
//! (settings changed), `n` (nodes changed).

use super::session::{Session, failed};
use crate::backend::News;
use crate::looked::Looked;
use crate::waiting::{Changes, Waiting};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_domain::id::{AccountId, ConnectionId};
use tidings_domain::purpose::Purpose;
use tidings_domain::time::Timestamp;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Config, NoTls};

/// The channel on the server.
pub(super) const CHANNEL: &str = "tidings";
/// The longest line: the server takes 8,000 octets.
const LINE_MAX: usize = 7_500;
/// News that may wait for the engine. More are summed up as [`News::Missed`].
const WAITING_MAX: usize = 4_096;
/// The pause before the listening session is opened again.
const PAUSE: Duration = Duration::from_millis(500);
/// How long the listening session may be opened, and how often it is asked whether it lives.
const PATIENCE: Duration = Duration::from_secs(5);

/// What all sessions of a process share about nodes.
#[derive(Debug, Default)]
pub(super) struct Fellowship {
    /// Our identity and number, once we joined.
    pub node: Mutex<Option<(String, u16)>>,
    /// Whether there is somebody to tell.
    pub has_peers: AtomicBool,
    /// The number of the session that writes, by which we know our own lines.
    pub writer: AtomicI64,
    /// What waits to be sent, once somebody asked.
    pub waiting: Mutex<Option<Arc<Waiting>>>,
}

impl Fellowship {
    pub fn node(&self) -> Option<(String, u16)> {
        self.node.lock().expect("nothing panics while it holds this").clone()
    }

    fn waiting(&self) -> Option<Arc<Waiting>> {
        self.waiting.lock().expect("nothing panics while it holds this").clone()
    }
}

/// What one commit has to tell.
#[derive(Debug, Default)]
pub(super) struct Line {
    queued: BTreeMap<i64, i64>,
    pub deliveries: bool,
    pub settings: bool,
    pub nodes: bool,
}

impl Line {
    /// Something is in this connection's queue, due then.
    pub fn queued(&mut self, connection: ConnectionId, due_at: i64) {
        let earliest = self.queued.entry(connection.key()).or_insert(due_at);
        *earliest = (*earliest).min(due_at);
    }

    /// The line, if there is anything to tell besides the list.
    pub fn write(&self, writer: i64, changes: &Changes, list_changed: bool) -> Option<String> {
        use std::fmt::Write;
        let mut line = writer.to_string();
        let empty = line.len();
        for (connection, due_at) in &self.queued {
            let _ = write!(line, " q{connection}:{due_at}");
        }
        for (account, purpose, by) in changes.all().filter(|(.., by)| *by != 0) {
            let _ = write!(line, " w{}:{}:{by}", account.key(), purpose.priority());
        }
        for (is_so, word) in [(self.deliveries, " d"), (self.settings, " s"), (self.nodes, " n")] {
            line.push_str(if is_so { word } else { "" });
        }
        if line.len() > LINE_MAX {
            line.truncate(empty);
            line.push_str(" m");
        }
        (line.len() > empty || list_changed).then_some(line)
    }
}

/// Listens until nobody hears it any more.
pub(super) fn listen(
    server: Config,
    fellowship: Arc<Fellowship>,
    looked: Arc<Looked>,
) -> mpsc::Receiver<News> {
    let (tell, heard) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let mut first = true;
        while !tell.is_closed() {
            let ear = Ear { fellowship: &fellowship, looked: &looked, tell: &tell };
            let ended = ear.listen(&server, std::mem::take(&mut first)).await;
            tracing::debug!(why = %ended, "the session that listens ended");
            // What is said now is not heard.
            looked.renew();
            tokio::time::sleep(PAUSE).await;
        }
    });
    heard
}

struct Ear<'e> {
    fellowship: &'e Fellowship,
    looked: &'e Looked,
    tell: &'e mpsc::Sender<News>,
}

impl Ear<'_> {
    async fn listen(&self, server: &Config, first: bool) -> Error {
        let connecting = tokio::time::timeout(PATIENCE, server.connect(NoTls)).await;
        let (client, mut connection) = match connecting {
            Ok(Ok(both)) => both,
            Ok(Err(error)) => return failed(error),
            Err(_) => return Error::Unavailable("the PostgreSQL server does not answer".to_owned()),
        };
        let (lines, mut said) = mpsc::channel::<String>(WAITING_MAX);
        let (looked, overrun) = (self.looked, Arc::new(AtomicBool::new(false)));
        let missed = Arc::clone(&overrun);
        let driver = async move {
            loop {
                match std::future::poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(AsyncMessage::Notification(note))) => {
                        if lines.try_send(note.payload().to_owned()).is_err() {
                            missed.store(true, Ordering::Release);
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return failed(error),
                    None => return Error::Unavailable("the session ended".to_owned()),
                }
            }
        };
        let hearing = async {
            if let Err(error) = client.batch_execute(&format!("LISTEN {CHANNEL}")).await {
                return failed(error);
            }
            looked.renew();
            if !first {
                self.pass(News::Missed).await;
            }
            loop {
                match tokio::time::timeout(PATIENCE, said.recv()).await {
                    Ok(Some(line)) => self.hear(&line).await,
                    Ok(None) => return Error::Unavailable("the session ended".to_owned()),
                    // A server that is cut off says nothing either.
                    Err(_) => match tokio::time::timeout(PATIENCE, client.batch_execute("")).await {
                        Ok(Ok(())) => {}
                        _ => return Error::Unavailable("the server does not answer".to_owned()),
                    },
                }
                if overrun.swap(false, Ordering::AcqRel) {
                    looked.renew();
                    self.pass(News::Missed).await;
                }
                if self.tell.is_closed() {
                    return Error::Unavailable("nobody listens".to_owned());
                }
            }
        };
        tokio::select! {
            ended = driver => ended,
            ended = hearing => ended,
        }
    }

    async fn hear(&self, line: &str) {
        let mut words = line.split(' ');
        let ours = self.fellowship.writer.load(Ordering::Acquire);
        match words.next().map(str::parse::<i64>) {
            Some(Ok(writer)) if writer == ours => return,
            Some(Ok(_)) => {}
            _ => return,
        }
        let mut changes = Changes::default();
        for word in words {
            match read(word, &mut changes) {
                Some(News::List(version)) => {
                    self.looked.renew();
                    self.pass(News::List(version)).await;
                }
                Some(News::Nodes) => {
                    self.fellowship.has_peers.store(true, Ordering::Release);
                    self.pass(News::Nodes).await;
                }
                Some(news) => self.pass(news).await,
                None => {}
            }
        }
        if let Some(waiting) = self.fellowship.waiting() {
            waiting.apply(&mut changes);
        }
    }

    async fn pass(&self, news: News) {
        // Full means that the engine is slow; it will see to everything when it comes to it.
        drop(self.tell.send(news).await);
    }
}

fn read(word: &str, changes: &mut Changes) -> Option<News> {
    let (kind, rest) = (word.get(..1)?, word.get(1..)?);
    let mut numbers = rest.split(':').map(str::parse::<i64>);
    let mut next = || numbers.next().and_then(std::result::Result::ok);
    match kind {
        "q" => Some(News::Queued(ConnectionId::from_key(next()?), Timestamp::from_millis(next()?))),
        "w" => {
            let (account, priority, by) = (next()?, next()?, next()?);
            let purpose =
                Purpose::ALL.into_iter().find(|purpose| i64::from(purpose.priority()) == priority)?;
            changes.note(AccountId::from_key(account), purpose, by);
            None
        }
        "l" => Some(News::List(next()?)),
        "d" => Some(News::Deliveries),
        "s" => Some(News::Settings),
        "n" => Some(News::Nodes),
        "m" => Some(News::Missed),
        _ => None,
    }
}

/// Tells it with the commit.
pub(super) const TELL: &str = "SELECT pg_notify('tidings', $1)";
/// The same with the new version of the suppression list.
pub(super) const TELL_LIST: &str = "SELECT pg_notify('tidings', $1 || ' l' || nextval('list_version'))";

/// Begins a session's number, by which lines and transactions are known: even for nodes.
pub(super) async fn number(sql: &Session, is_node: bool) -> Result<i64> {
    let number = sql.value::<i64>("SELECT nextval('writer')", &[]).await?;
    Ok(number * 2 + i64::from(!is_node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut line = Line { settings: true, ..Line::default() };
        line.queued(ConnectionId::from_key(12), 500);
        line.queued(ConnectionId::from_key(12), 400);
        let mut changes = Changes::default();
        changes.note(AccountId::from_key(1), Purpose::Marketing, -5);
        let written = line.write(8, &changes, false).expect("there is something to tell");
        let mut heard = Changes::default();
        let news: Vec<News> = written.split(' ').skip(1).filter_map(|word| read(word, &mut heard)).collect();
        assert_eq!(
            news,
            [News::Queued(ConnectionId::from_key(12), Timestamp::from_millis(400)), News::Settings]
        );
        assert_eq!(heard.all().collect::<Vec<_>>(), [(AccountId::from_key(1), Purpose::Marketing, -5)]);
        assert_eq!(Line::default().write(8, &Changes::default(), false), None);
        assert_eq!(Line::default().write(8, &Changes::default(), true).as_deref(), Some("8"));
    }

    #[test]
    fn a_line_that_would_be_too_long_says_that_there_is_more() {
        let mut line = Line::default();
        for n in 0..2_000 {
            line.queued(ConnectionId::from_key(n), 1_767_225_600_000);
        }
        assert_eq!(line.write(8, &Changes::default(), false).as_deref(), Some("8 m"));
    }
}
