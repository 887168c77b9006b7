//! The fault proxy does to a connection what its methods say, shown on plain sockets.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};
use support::proxy::{End, Frame, Proxy, To, Verdict};

/// A connection through a proxy, held at both ends.
struct Pair {
    client: TcpStream,
    server: TcpStream,
}

fn upstream() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!(
        "amqp://user:secret@{}/vhost?heartbeat=5",
        listener.local_addr().unwrap()
    );
    (listener, url)
}

fn pair(proxy: &Proxy, upstream: &TcpListener) -> Pair {
    let client = TcpStream::connect(proxy.address()).unwrap();
    let (server, _) = upstream.accept().unwrap();
    proxy.wait_for_links(1);
    for socket in [&client, &server] {
        // What never comes is to fail the test, not to hang it.
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
    }
    Pair { client, server }
}

fn connected() -> (Proxy, TcpListener, Pair) {
    let (upstream, url) = upstream();
    let proxy = Proxy::start(&url);
    let pair = pair(&proxy, &upstream);
    (proxy, upstream, pair)
}

fn read(socket: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    socket.read_exact(&mut bytes).unwrap();
    bytes
}

fn read_to_end(socket: &mut TcpStream) -> (Vec<u8>, io::Result<usize>) {
    let mut bytes = Vec::new();
    let end = socket.read_to_end(&mut bytes);
    (bytes, end)
}

fn is_reset(socket: &mut TcpStream) -> bool {
    matches!(socket.read(&mut [0]), Err(error) if error.kind() == ErrorKind::ConnectionReset)
}

fn frame(kind: u8, channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend(channel.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes.push(0xCE);
    bytes
}

#[test]
fn bytes_and_the_end_of_the_stream_pass_both_ways() {
    let (proxy, _upstream, mut pair) = connected();
    pair.client.write_all(b"hello").unwrap();
    assert_eq!(read(&mut pair.server, 5), b"hello");
    pair.client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(pair.server.read(&mut [0]).unwrap(), 0);

    pair.server.write_all(b"goodbye").unwrap();
    drop(pair.server);
    assert_eq!(read_to_end(&mut pair.client).0, b"goodbye");
    let stats = proxy.wait_until("the connection ended", |stats| stats.open() == 0);
    assert_eq!(
        (
            stats.passed(To::Server),
            stats.passed(To::Client),
            stats.passed(To::Both)
        ),
        (5, 7, 12)
    );
}

#[test]
fn a_reset_of_one_end_reaches_the_other() {
    let (_proxy, _upstream, mut pair) = connected();
    socket2::SockRef::from(&pair.server)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(pair.server);
    assert!(is_reset(&mut pair.client));
}

#[test]
fn the_url_is_the_upstreams_with_another_address() {
    let (_upstream, url) = upstream();
    let proxy = Proxy::start(&url);
    assert_eq!(
        proxy.url(),
        format!("amqp://user:secret@{}/vhost?heartbeat=5", proxy.address())
    );
}

#[test]
fn a_reset_is_one_at_both_ends() {
    let (proxy, _upstream, mut pair) = connected();
    proxy.all().end(End::Reset);
    assert!(is_reset(&mut pair.client));
    assert!(is_reset(&mut pair.server));
    assert_eq!(proxy.stats().open(), 0);
}

#[test]
fn an_orderly_close_is_an_end_of_stream_even_with_bytes_underway() {
    let (proxy, _upstream, mut pair) = connected();
    proxy.all().stop_reading(To::Server);
    pair.client.write_all(b"too late").unwrap();
    proxy.all().end(End::Close);
    assert_eq!(pair.client.read(&mut [0]).unwrap(), 0);
    assert_eq!(pair.server.read(&mut [0]).unwrap(), 0);
    drop(pair);
    proxy.wait_until("the connection ended", |stats| stats.open() == 0);
}

#[test]
fn silence_takes_bytes_in_and_lets_nothing_out_until_it_is_over() {
    let (proxy, _upstream, mut pair) = connected();
    proxy.all().silence(To::Server);
    let sent = vec![7; 4 << 20];
    pair.client.write_all(&sent).unwrap();
    proxy.wait_until("everything was read", |stats| {
        stats.links[0].held(To::Server) == sent.len()
    });
    assert_eq!(proxy.stats().passed(To::Server), 0);
    pair.server.write_all(b"the other way").unwrap();
    assert_eq!(read(&mut pair.client, 13), b"the other way");

    proxy.all().resume(To::Server);
    assert_eq!(read(&mut pair.server, sent.len()), sent);
}

#[test]
fn silence_hides_the_end_of_the_other_side() {
    let (proxy, _upstream, mut pair) = connected();
    proxy.all().silence(To::Both);
    drop(pair.server);
    // Asking takes a turn of the proxy, in which it sees the end.
    proxy.stats();
    pair.client.set_nonblocking(true).unwrap();
    assert_eq!(
        pair.client.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    pair.client.set_nonblocking(false).unwrap();
    pair.client.write_all(b"into the void").unwrap();
    proxy.wait_until("it was read", |stats| stats.links[0].held(To::Server) == 13);

    proxy.all().resume(To::Client);
    assert_eq!(pair.client.read(&mut [0]).unwrap(), 0);
}

#[test]
fn when_reading_stops_the_senders_window_fills() {
    let (proxy, _upstream, mut pair) = connected();
    proxy.all().stop_reading(To::Server);
    pair.client.set_nonblocking(true).unwrap();
    let mut sent = 0;
    let full = loop {
        match pair.client.write(&[7; 64 << 10]) {
            Ok(len) => sent += len,
            Err(error) => break error,
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);

    proxy.all().resume(To::Server);
    assert_eq!(read(&mut pair.server, sent), vec![7; sent]);
}

#[test]
fn a_drip_passes_a_few_bytes_at_a_time() {
    let (proxy, _upstream, mut pair) = connected();
    proxy.all().drip(To::Client, 3, Duration::from_millis(1));
    let began = Instant::now();
    pair.server.write_all(&[7; 100]).unwrap();
    assert_eq!(read(&mut pair.client, 100), [7; 100]);
    assert!(
        began.elapsed() >= Duration::from_millis(33),
        "34 drips have 33 pauses between them"
    );
}

#[test]
fn a_cut_comes_after_the_exact_byte() {
    let (proxy, _upstream, mut pair) = connected();
    proxy.all().cut_after(To::Server, 5, End::Close);
    pair.client.write_all(b"abc").unwrap();
    assert_eq!(read(&mut pair.server, 3), b"abc");
    pair.client.write_all(b"defghi").unwrap();
    let (rest, end) = read_to_end(&mut pair.server);
    assert_eq!((rest.as_slice(), end.unwrap()), (&b"de"[..], 2));
    assert_eq!(pair.client.read(&mut [0]).unwrap(), 0);
    assert_eq!(proxy.stats().passed(To::Server), 5);
}

#[test]
fn a_cut_can_be_a_reset_and_concerns_connections_to_come() {
    let (upstream, url) = upstream();
    let proxy = Proxy::start(&url);
    proxy.all().cut_after(To::Client, 0, End::Reset);
    let mut first = TcpStream::connect(proxy.address()).unwrap();
    assert!(is_reset(&mut first));

    proxy.all().resume(To::Client);
    let mut second = {
        upstream.accept().unwrap();
        pair(&proxy, &upstream)
    };
    second.server.write_all(b"safe").unwrap();
    assert_eq!(read(&mut second.client, 4), b"safe");
}

#[test]
fn a_fault_can_concern_one_connection_alone() {
    let (proxy, upstream, mut first) = connected();
    let mut second = pair(&proxy, &upstream);
    proxy.wait_for_links(2);
    proxy.link(1).end(End::Reset);
    assert!(is_reset(&mut second.client));
    first.client.write_all(b"on").unwrap();
    assert_eq!(read(&mut first.server, 2), b"on");
    assert_eq!(proxy.stats().open(), 1);
}

#[test]
fn frames_are_judged_whole_however_they_arrive() {
    let (upstream, url) = upstream();
    let proxy = Proxy::start(&url);
    proxy.on_frame(To::Server, |link, frame: &mut Frame| {
        assert_eq!(link, 0);
        match frame.channel() {
            1 => Verdict::Drop,
            2 => {
                assert_eq!(
                    (frame.kind(), frame.method(), frame.payload()),
                    (1, Some((60, 40)), &[0, 60, 0, 40, 9][..])
                );
                frame.set_payload(b"rewritten");
                Verdict::Pass
            }
            3 => {
                *frame.bytes.last_mut().unwrap() = 0;
                Verdict::Pass
            }
            4 => Verdict::End(End::Close),
            _ => Verdict::Pass,
        }
    });
    let mut pair = pair(&proxy, &upstream);
    pair.client.set_nodelay(true).unwrap();
    let sent = [
        b"AMQP\0\0\x09\x01".to_vec(),
        frame(1, 1, b"dropped"),
        frame(1, 2, &[0, 60, 0, 40, 9]),
        frame(8, 0, b""),
        frame(3, 3, b"ill ended"),
        frame(1, 4, b"the last"),
        frame(1, 5, b"too late"),
    ];
    for byte in sent.concat() {
        // The proxy may have closed by the last of them.
        if pair.client.write_all(&[byte]).is_err() {
            break;
        }
    }
    let mut ill_ended = frame(3, 3, b"ill ended");
    *ill_ended.last_mut().unwrap() = 0;
    let expected = [
        sent[0].clone(),
        frame(1, 2, b"rewritten"),
        sent[3].clone(),
        ill_ended,
    ]
    .concat();
    assert_eq!(read_to_end(&mut pair.server).0, expected);
}

#[test]
fn a_frame_can_be_held_with_all_after_it() {
    let (upstream, url) = upstream();
    let proxy = Proxy::start(&url);
    proxy.on_frame(To::Client, |_, frame| {
        if frame.channel() == 2 {
            Verdict::Hold
        } else {
            Verdict::Pass
        }
    });
    let mut pair = pair(&proxy, &upstream);
    let sent: Vec<_> = (1..=3)
        .map(|channel| frame(1, channel, b"payload"))
        .collect();
    pair.server.write_all(&sent.concat()).unwrap();
    assert_eq!(read(&mut pair.client, sent[0].len()), sent[0]);
    let rest = sent[1].len() + sent[2].len();
    proxy.wait_until("the rest is held", |stats| {
        stats.links[0].held(To::Client) == rest
    });

    proxy.link(0).resume(To::Client);
    assert_eq!(read(&mut pair.client, rest), sent[1..].concat());
}

#[test]
fn half_a_frame_passes_at_the_end_of_the_stream() {
    let (upstream, url) = upstream();
    let proxy = Proxy::start(&url);
    proxy.on_frame(To::Server, |_, _| Verdict::Pass);
    let mut pair = pair(&proxy, &upstream);
    let whole = frame(1, 1, b"payload");
    pair.client.write_all(&whole[..10]).unwrap();
    drop(pair.client);
    assert_eq!(read_to_end(&mut pair.server).0, &whole[..10]);
}

#[test]
fn connections_are_refused_while_open_ones_go_on() {
    let (proxy, upstream, mut first) = connected();
    proxy.refuse();
    let error = TcpStream::connect(proxy.address()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    first.client.write_all(b"on").unwrap();
    assert_eq!(read(&mut first.server, 2), b"on");

    proxy.accept();
    let mut second = pair(&proxy, &upstream);
    second.client.write_all(b"again").unwrap();
    assert_eq!(read(&mut second.server, 5), b"again");
    assert_eq!(proxy.stats().links.len(), 2);
}

#[test]
fn connections_to_come_can_be_led_elsewhere() {
    let (proxy, _upstream, _first) = connected();
    let (other, url) = upstream();
    proxy.route_to(&url);
    let mut second = pair(&proxy, &other);
    second.client.write_all(b"here").unwrap();
    assert_eq!(read(&mut second.server, 4), b"here");
}

#[test]
fn where_the_upstream_refuses_the_client_is_reset() {
    let (upstream, url) = upstream();
    let proxy = Proxy::start(&url);
    drop(upstream);
    let mut client = TcpStream::connect(proxy.address()).unwrap();
    assert!(is_reset(&mut client));
    assert_eq!(proxy.wait_for_links(1).open(), 0);
}

#[test]
fn the_end_of_the_proxy_resets_its_connections() {
    let (proxy, _upstream, mut pair) = connected();
    let address: SocketAddr = proxy.address();
    drop(proxy);
    assert!(is_reset(&mut pair.client));
    assert_eq!(
        TcpStream::connect(address).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
}
