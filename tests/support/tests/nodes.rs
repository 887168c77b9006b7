//! Private nodes can be killed, stopped, suspended and administered, and leave nothing behind.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;
use support::broker::{Admin, Node, admin, begin_handshake, host, url};

/// Connects, and reads what the broker says first, which shows that it is there.
fn greeted(url: &str) -> TcpStream {
    let mut socket = begin_handshake(url);
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    assert_eq!(read_method(&mut socket).0, (10, 10), "connection.start");
    socket
}

/// Opens a connection: as much of a client as these tests need.
fn opened(url: &str) -> TcpStream {
    let mut socket = greeted(url);
    write_method(
        &mut socket,
        (10, 11),
        b"\0\0\0\0\x05PLAIN\0\0\0\x0c\0guest\0guest\x05en_US",
    );
    let (method, limits) = read_method(&mut socket);
    assert_eq!(method, (10, 30), "connection.tune");
    write_method(&mut socket, (10, 31), &limits);
    write_method(&mut socket, (10, 40), b"\x01/\0\0");
    assert_eq!(read_method(&mut socket).0, (10, 41), "connection.open-ok");
    socket
}

fn read_method(socket: &mut TcpStream) -> ((u16, u16), Vec<u8>) {
    let mut header = [0; 7];
    socket.read_exact(&mut header).unwrap();
    let len = u32::from_be_bytes([header[3], header[4], header[5], header[6]]);
    let mut payload = vec![0; usize::try_from(len).unwrap() + 1];
    socket.read_exact(&mut payload).unwrap();
    assert_eq!((header[0], payload.pop()), (1, Some(0xCE)));
    let arguments = payload.split_off(4);
    let id = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    ((id(0), id(2)), arguments)
}

fn write_method(socket: &mut TcpStream, (class, method): (u16, u16), arguments: &[u8]) {
    let mut frame = vec![1, 0, 0];
    frame.extend(u32::try_from(arguments.len() + 4).unwrap().to_be_bytes());
    frame.extend(class.to_be_bytes());
    frame.extend(method.to_be_bytes());
    frame.extend(arguments);
    frame.push(0xCE);
    socket.write_all(&frame).unwrap();
}

fn add_vhost(admin: &Admin, name: &str) {
    assert_eq!(
        admin.eval(&format!("rabbit_vhost:add(<<{name:?}>>, <<\"test\">>)")),
        "ok"
    );
}

fn has_vhost(admin: &Admin, name: &str) -> bool {
    admin.eval(&format!("rabbit_vhost:exists(<<{name:?}>>)")) == "true"
}

/// The processes below one, at any depth.
#[cfg(target_os = "linux")]
fn descendants(ancestor: u32) -> Vec<u32> {
    use std::fs;

    let processes: Vec<(u32, u32)> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| {
            let id = entry.unwrap().file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
            // The name, in parentheses, may hold anything; state and parent follow it.
            let parent = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(1)?
                .parse()
                .ok()?;
            Some((id, parent))
        })
        .collect();
    let mut found = vec![ancestor];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(
            processes
                .iter()
                .filter(|process| process.1 == parent)
                .map(|process| process.0),
        );
        at += 1;
    }
    found.split_off(1)
}

#[test]
fn a_killed_node_starts_again_with_its_port_and_its_data() {
    let mut node = Node::start();
    let url = node.url();
    add_vhost(node.admin(), "kept");
    let mut connection = opened(&url);

    node.kill();
    // An end of stream or a reset, by what had been read.
    assert!(matches!(connection.read(&mut [0]), Ok(0) | Err(_)));

    node.start_again();
    assert_eq!(node.url(), url);
    assert!(has_vhost(node.admin(), "kept"));
    opened(&url);
}

#[test]
fn a_stopped_node_closes_its_connections_and_starts_again() {
    let mut node = Node::start();
    let mut connection = opened(&node.url());
    node.stop();
    assert_eq!(read_method(&mut connection).0, (10, 50), "connection.close");
    node.start_again();
    opened(&node.url());
}

#[test]
fn a_suspended_node_is_silent_until_it_is_resumed() {
    let node = Node::start();
    node.suspend();
    let mut socket = begin_handshake(&node.url());
    socket
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    assert_eq!(
        socket.read(&mut [0]).unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
    socket
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    node.resume();
    assert_eq!(read_method(&mut socket).0, (10, 10), "connection.start");
}

#[test]
fn a_node_is_administered() {
    let node = Node::start_with(&["{consumer_timeout, 5000}"]);
    let admin = node.admin();
    assert_eq!(
        admin.eval("application:get_env(rabbit, consumer_timeout)"),
        "{ok, 5000}"
    );
    assert_eq!(
        admin.ctl(&["--quiet", "list_vhosts", "--no-table-headers"]),
        "/"
    );

    let mut connection = opened(&node.url());
    assert_eq!(admin.connections(), 1);
    admin.close_all_connections("the test says so");
    let (method, arguments) = read_method(&mut connection);
    assert_eq!(method, (10, 50), "connection.close");
    let text = String::from_utf8_lossy(&arguments[3..]);
    assert!(
        text.starts_with("CONNECTION_FORCED - the test says so"),
        "{text}"
    );

    admin.set_memory_alarm(true);
    assert_eq!(admin.eval("length(rabbit_alarm:get_alarms())"), "1");
    admin.set_memory_alarm(false);
    assert_eq!(admin.eval("length(rabbit_alarm:get_alarms())"), "0");

    admin.stop_app();
    assert_eq!(
        TcpStream::connect(host(&node.url())).unwrap_err().kind(),
        ErrorKind::ConnectionRefused
    );
    admin.start_app();
    opened(&node.url());
}

#[test]
#[cfg(target_os = "linux")]
fn a_dropped_node_leaves_no_process_and_no_directory() {
    use std::path::Path;
    use std::thread;
    use std::time::Instant;

    let node = Node::start();
    let dir = node.admin().dir().to_owned();
    let processes = descendants(node.id());
    assert!(dir.exists() && !processes.is_empty());
    drop(node);
    assert!(!dir.exists());

    // The helpers of the Erlang machine notice by themselves that it is gone.
    let deadline = Instant::now() + Duration::from_secs(30);
    while processes
        .iter()
        .any(|id| Path::new(&format!("/proc/{id}")).exists())
    {
        assert!(Instant::now() < deadline, "some of {processes:?} are left");
        thread::yield_now();
    }
}

#[test]
fn the_shared_broker_is_there() {
    opened(&url());
    assert_eq!(admin().eval("rabbit:is_running()"), "true");
}
