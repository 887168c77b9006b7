//! How long clients take at a distance, in round trips: to be connected, to the first confirm of a message to a
//! queue that was declared before, and to the first delivery.
//!
//! A proxy of our own stands between each client and the broker that `AMQP_URL` names, and holds whatever
//! passes for half of a round trip. A connection costs one round trip more, as on a network, where TCP
//! opens first: the proxy lets the first bytes of a client wait for it.

use std::error::Error;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use snowshoe::AmqpUri;

use crate::client::{self, Moments};
use crate::work::Subject;

/// Measures each client so often, and gives a table in Markdown, of medians.
///
/// # Errors
/// The broker cannot be reached, or a client failed.
pub fn table(
    subjects: &[Subject],
    round_trip: Duration,
    rounds: usize,
) -> Result<String, Box<dyn Error>> {
    let url = std::env::var("AMQP_URL").map_err(|_| "AMQP_URL names no broker")?;
    let uri: AmqpUri = url.parse()?;
    let endpoint = uri.endpoints.first().ok_or("the URL names no host")?;
    let broker = (endpoint.host.clone(), endpoint.port);
    let proxy = proxy(broker, round_trip / 2)?;
    let far = format!("amqp://guest:guest@127.0.0.1:{proxy}");
    let mut table = String::from(
        "| | connected | connected, queue declared, first confirm | first delivery |\n|---|---|---|---|\n",
    );
    for &subject in subjects.iter().filter(|it| **it != Subject::Limit) {
        let mut moments = Vec::new();
        for _ in 0..rounds {
            moments.push(client::moments(subject, &far)?);
        }
        let trips = |of: fn(&Moments) -> Duration| {
            let mut times: Vec<Duration> = moments.iter().map(of).collect();
            times.sort_unstable();
            times[times.len() / 2].as_secs_f64() / round_trip.as_secs_f64()
        };
        table += &format!(
            "| {} | {:.1} | {:.1} | {:.1} |\n",
            subject.name(),
            trips(|it| it.connected),
            trips(|it| it.confirmed),
            trips(|it| it.delivered),
        );
    }
    Ok(table)
}

/// Forwards to a broker, each way late; its port.
fn proxy(broker: (String, u16), late: Duration) -> Result<u16, Box<dyn Error>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            // A client whose broker is gone finds out.
            _ = connect(client, &broker, late);
        }
    });
    Ok(port)
}

fn connect(client: TcpStream, broker: &(String, u16), late: Duration) -> std::io::Result<()> {
    let broker = TcpStream::connect((broker.0.as_str(), broker.1))?;
    for stream in [&client, &broker] {
        stream.set_nodelay(true)?;
    }
    let opened = Instant::now() + 2 * late;
    carry(client.try_clone()?, broker.try_clone()?, late, opened);
    carry(broker, client, late, opened);
    Ok(())
}

/// Carries what comes, each piece so much later than it came, and nothing as if it came before `opened`.
fn carry(from: TcpStream, to: TcpStream, late: Duration, opened: Instant) {
    let (pieces, arrived) = channel();
    thread::spawn(move || read(from, &pieces, late, opened));
    thread::spawn(move || write(to, &arrived));
}

fn read(mut from: TcpStream, pieces: &Sender<(Instant, Vec<u8>)>, late: Duration, opened: Instant) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        let due = Instant::now().max(opened) + late;
        if pieces.send((due, buffer[..len].to_vec())).is_err() {
            break;
        }
    }
}

fn write(mut to: TcpStream, arrived: &Receiver<(Instant, Vec<u8>)>) {
    for (due, piece) in arrived {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        if to.write_all(&piece).is_err() {
            break;
        }
    }
    // Its end passes on as well.
    _ = to.shutdown(Shutdown::Write);
}
