//! A way to a server that can be cut: in both directions or in one, while connections stay open.
//!
//! What goes into a direction that is cut is swallowed, the end of a connection too. When the way is whole again,
//! connections that lost something are closed at both ends, as a network would in the end; a connection that was begun
//! meanwhile never reaches the server.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::clock;
use crate::smsc::Cut;

/// How soon a pump sees that something has changed.
const LOOK: Duration = Duration::from_millis(100);

/// A way that lasts until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    way: Arc<Way>,
}

#[derive(Debug)]
struct Way {
    server: SocketAddr,
    cut: Mutex<Cut>,
    stop: AtomicBool,
}

/// One connection: both ends, and whether something of it was lost.
#[derive(Debug)]
struct Tie {
    ends: [TcpStream; 2],
    is_torn: AtomicBool,
    has_ended: AtomicBool,
}

impl Proxy {
    /// Listens on a free port of this machine.
    ///
    /// # Errors
    /// The system gives none.
    pub fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let way = Arc::new(Way { server, cut: Mutex::default(), stop: AtomicBool::new(false) });
        let of_listener = Arc::clone(&way);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if of_listener.stop.load(Ordering::Relaxed) {
                    return;
                }
                if let Ok(stream) = stream {
                    let way = Arc::clone(&of_listener);
                    std::thread::spawn(move || serve(stream, &way));
                }
            }
        });
        Ok(Self { address, way })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on this does not pass. "They" are the clients.
    pub fn cut(&self, cut: Cut) {
        *self.way.cut.lock().expect("no thread panics with it") = cut;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.way.stop.store(true, Ordering::Relaxed);
        // Wakes the listener, which then sees that it is to stop.
        drop(TcpStream::connect_timeout(&self.address, Duration::from_secs(1)));
    }
}

impl Way {
    fn cut(&self) -> Cut {
        *self.cut.lock().expect("no thread panics with it")
    }

    fn is_cut(&self) -> bool {
        self.cut() != Cut::default()
    }

    fn stops(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn serve(client: TcpStream, way: &Arc<Way>) {
    if way.is_cut() {
        while way.is_cut() && !way.stops() {
            clock::sleep_ms(20);
        }
        return;
    }
    let Ok(server) = TcpStream::connect_timeout(&way.server, Duration::from_secs(2)) else { return };
    for end in [&client, &server] {
        let set = end
            .set_nodelay(true)
            .and_then(|()| end.set_read_timeout(Some(LOOK)))
            .and_then(|()| end.set_write_timeout(Some(LOOK)));
        if set.is_err() {
            return;
        }
    }
    let tie = Arc::new(Tie {
        ends: [client, server],
        is_torn: AtomicBool::new(false),
        has_ended: AtomicBool::new(false),
    });
    let (of_tie, of_way) = (Arc::clone(&tie), Arc::clone(way));
    let back = std::thread::spawn(move || pump(&of_tie, &of_way, false));
    pump(&tie, way, true);
    drop(back.join());
}

/// Carries what one end sends to the other, until the connection ends.
fn pump(tie: &Tie, way: &Way, from_them: bool) {
    let (mut from, to) = if from_them { (&tie.ends[0], &tie.ends[1]) } else { (&tie.ends[1], &tie.ends[0]) };
    let is_cut = || if from_them { way.cut().from_them } else { way.cut().to_them };
    let mut buffer = vec![0; 64 * 1024];
    while !way.stops() && !tie.has_ended.load(Ordering::Relaxed) {
        if tie.is_torn.load(Ordering::Relaxed) && !way.is_cut() {
            break;
        }
        let read = from.read(&mut buffer);
        match read {
            Err(error) if is_patience(&error) => {}
            // An end that cannot be told either.
            Ok(0) | Err(_) if is_cut() => {
                tie.is_torn.store(true, Ordering::Relaxed);
                clock::sleep_ms(20);
            }
            Ok(0) | Err(_) => break,
            Ok(_) if is_cut() => tie.is_torn.store(true, Ordering::Relaxed),
            // What comes after something that was lost makes no sense.
            Ok(_) if tie.is_torn.load(Ordering::Relaxed) => {}
            Ok(length) => {
                if !carry(to, &buffer[..length], tie, way) {
                    break;
                }
            }
        }
    }
    tie.has_ended.store(true, Ordering::Relaxed);
    for end in &tie.ends {
        drop(end.shutdown(Shutdown::Both));
    }
}

fn carry(mut to: &TcpStream, octets: &[u8], tie: &Tie, way: &Way) -> bool {
    let mut rest = octets;
    while !rest.is_empty() {
        match to.write(rest) {
            Ok(0) => return false,
            Ok(length) => rest = &rest[length..],
            Err(error) if is_patience(&error) => {
                if way.stops() || tie.has_ended.load(Ordering::Relaxed) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}

fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says back what it is told.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                std::thread::spawn(move || {
                    let mut buffer = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        stream.write_all(&buffer[..length]).unwrap();
                    }
                });
            }
        });
        address
    }

    #[test]
    fn what_goes_into_a_cut_is_lost_and_the_connection_ends_when_the_way_is_whole() {
        for cut in [
            Cut { from_them: true, to_them: true },
            Cut { from_them: true, to_them: false },
            Cut { from_them: false, to_them: true },
        ] {
            let proxy = Proxy::start(echo()).unwrap();
            let mut before = TcpStream::connect(proxy.address()).unwrap();
            let mut said = [0; 2];
            before.write_all(b"on").unwrap();
            before.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"on");
            proxy.cut(cut);
            before.write_all(b"in").unwrap();
            before.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            assert!(is_patience(&before.read(&mut said).unwrap_err()), "{cut:?}: it stays open and silent");
            proxy.cut(Cut::default());
            before.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            assert!(matches!(before.read(&mut said), Ok(0) | Err(_)), "{cut:?}: nothing comes later");
            let mut after = TcpStream::connect(proxy.address()).unwrap();
            after.write_all(b"up").unwrap();
            after.read_exact(&mut said).unwrap();
            assert_eq!(&said, b"up");
        }
    }
}
