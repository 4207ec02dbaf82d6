//! How nodes hear of each other's commits: a line of words that goes with a commit (`NOTIFY`), and a session that
//! listens. News only make things quick; nothing is lost if they are.
//!
//! The words of a line: the writer's number; then `q12:2:1767225600000` (connection 12 has something of priority 2 due
//! then), `x1767225600000` (something in a queue expires then), `e3:1767225600000` (endpoint 3 has a delivery due then),
//! `w1:2:-5` (of account 1 five fewer of priority 2 wait), `l7` (the suppression list has version 7), `d` (deliveries are due
//! at once), `s` (settings changed), `n` (nodes changed), `f` (there is more than fits).

use super::front::{Fronts, Queue};
use super::session::{Session, connect, failed};
use crate::backend::News;
use crate::looked::Looked;
use crate::waiting::{Changes, Waiting};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tidings_domain::id::AccountId;
use tidings_domain::purpose::Purpose;
use tidings_domain::queue;
use tidings_domain::time::Timestamp;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Config};

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
    /// Where the queues begin.
    pub fronts: Arc<Fronts>,
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
    fronts: BTreeMap<Queue, i64>,
    /// The fronts of all queues are unknown.
    pub all_fronts: bool,
    pub deliveries: bool,
    pub settings: bool,
    pub nodes: bool,
}

impl Line {
    /// Something is put into this queue.
    pub fn put(&mut self, queue: Queue, at: i64) {
        let earliest = self.fronts.entry(queue).or_insert(at);
        *earliest = (*earliest).min(at);
    }

    /// What was put into queues, the earliest of each.
    pub fn fronts(&self) -> impl Iterator<Item = (Queue, i64)> + '_ {
        self.fronts.iter().map(|(queue, at)| (*queue, *at))
    }

    /// The line, if there is anything to tell besides the list.
    pub fn write(&self, writer: i64, changes: &Changes, list_changed: bool) -> Option<String> {
        use std::fmt::Write;
        let mut line = writer.to_string();
        let empty = line.len();
        for (queue, at) in &self.fronts {
            let _ = match queue {
                Queue::Lane(lane, priority) => write!(line, " q{lane}:{priority}:{at}"),
                Queue::Expiry => write!(line, " x{at}"),
                Queue::Endpoint(endpoint) => write!(line, " e{endpoint}:{at}"),
            };
        }
        for (account, purpose, by) in changes.all().filter(|(.., by)| *by != 0) {
            let _ = write!(line, " w{}:{}:{by}", account.key(), purpose.priority());
        }
        for (is_so, word) in
            [(self.deliveries, " d"), (self.settings, " s"), (self.nodes, " n"), (self.all_fronts, " f")]
        {
            line.push_str(if is_so { word } else { "" });
        }
        if line.len() > LINE_MAX {
            line.truncate(empty);
            line.push_str(" f");
            for (is_so, word) in [(self.settings, " s"), (self.nodes, " n")] {
                line.push_str(if is_so { word } else { "" });
            }
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
            fellowship.fronts.forget();
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
        let (client, mut connection) = match connect(server).await {
            Ok(both) => both,
            Err(error) => return error,
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
            self.fellowship.fronts.forget();
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
                    self.fellowship.fronts.forget();
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
            match read(word, &mut changes, &self.fellowship.fronts) {
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

fn read(word: &str, changes: &mut Changes, fronts: &Fronts) -> Option<News> {
    let (kind, rest) = (word.get(..1)?, word.get(1..)?);
    let mut numbers = rest.split(':').map(str::parse::<i64>);
    let mut next = || numbers.next().and_then(std::result::Result::ok);
    match kind {
        "q" => {
            let (lane, priority, at) = (next()?, next()?, next()?);
            fronts.heard(Queue::Lane(lane, i16::try_from(priority).ok()?), at);
            (lane > 0).then(|| News::Queued(queue::Queue::from_key(lane), Timestamp::from_millis(at)))
        }
        "x" => {
            fronts.heard(Queue::Expiry, next()?);
            None
        }
        "e" => {
            fronts.heard(Queue::Endpoint(next()?), next()?);
            None
        }
        "f" => {
            fronts.forget();
            Some(News::Missed)
        }
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
        line.put(Queue::Lane(12, 1), 500);
        line.put(Queue::Lane(12, 1), 400);
        line.put(Queue::Lane(0, 1), 300);
        line.put(Queue::Expiry, 900);
        line.put(Queue::Endpoint(3), 700);
        let mut changes = Changes::default();
        changes.note(AccountId::from_key(1), Purpose::Marketing, -5);
        let written = line.write(8, &changes, false).expect("there is something to tell");
        let (mut heard, fronts) = (Changes::default(), Arc::new(Fronts::default()));
        let queues = [Queue::Lane(12, 1), Queue::Lane(0, 1), Queue::Expiry, Queue::Endpoint(3)];
        let look = fronts.look();
        queues.iter().for_each(|queue| look.found(*queue, None));
        let news: Vec<News> =
            written.split(' ').skip(1).filter_map(|word| read(word, &mut heard, &fronts)).collect();
        assert_eq!(queues.map(|queue| look.front(queue)), [400, 300, 900, 700]);
        assert_eq!(
            news,
            [News::Queued(queue::Queue::from_key(12), Timestamp::from_millis(400)), News::Settings]
        );
        assert_eq!(heard.all().collect::<Vec<_>>(), [(AccountId::from_key(1), Purpose::Marketing, -5)]);
        assert_eq!(Line::default().write(8, &Changes::default(), false), None);
        assert_eq!(Line::default().write(8, &Changes::default(), true).as_deref(), Some("8"));
    }

    #[test]
    fn a_line_that_would_be_too_long_says_that_there_is_more() {
        let mut line = Line::default();
        for n in 0..2_000 {
            line.put(Queue::Lane(n, 0), 1_767_225_600_000);
        }
        assert_eq!(line.write(8, &Changes::default(), false).as_deref(), Some("8 f"));
    }
}
