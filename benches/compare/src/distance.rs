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

use crate::client::{self, Moment};
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
            moments.extend(moments_of(subject, &far)?);
        }
        let trips = |of: fn(&Moment) -> Option<Duration>| {
            let mut times: Vec<Duration> = moments.iter().filter_map(of).collect();
            times.sort_unstable();
            // Not all of them get there: amqp-client 0.1 loses what comes right after consume-ok.
            let Some(median) = times.get(times.len() / 2).filter(|_| times.len() == rounds) else {
                return "–".to_owned();
            };
            format!("{:.1}", median.as_secs_f64() / round_trip.as_secs_f64())
        };
        table += &format!(
            "| {} | {} | {} | {} |\n",
            subject.name(),
            trips(|it| match it {
                Moment::Connected(after) => Some(*after),
                _ => None,
            }),
            trips(|it| match it {
                Moment::Confirmed(after) => Some(*after),
                _ => None,
            }),
            trips(|it| match it {
                Moment::Delivered(after) => Some(*after),
                _ => None,
            }),
        );
    }
    Ok(table)
}

/// How far a client gets, as long as no step takes longer than [`PATIENCE`].
fn moments_of(subject: Subject, url: &str) -> Result<Vec<Moment>, Box<dyn Error>> {
    let (tell, told) = channel();
    let url = url.to_owned();
    let client = thread::spawn(move || {
        let failed = client::moments(subject, &url, &tell).err();
        failed.map(|error| error.to_string())
    });
    let mut moments = Vec::new();
    while let Ok(moment) = told.recv_timeout(PATIENCE) {
        moments.push(moment);
    }
    // One that stands still is left alone.
    if client.is_finished()
        && let Ok(Some(error)) = client.join()
    {
        return Err(error.into());
    }
    Ok(moments)
}

const PATIENCE: Duration = Duration::from_secs(5);

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
