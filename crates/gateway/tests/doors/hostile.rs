//! Bad input closes its connection and touches nothing else.

use std::time::{Duration, Instant};

use gateway::admission::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{exchange, node_with};

fn impatient() -> Limits {
    Limits {
        first_byte_timeout: Duration::from_millis(300),
        request_timeout: Duration::from_millis(300),
        request_bytes_max: 1 << 20,
        ..Limits::default()
    }
}

const TLS_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbagegarbage";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_at_the_postgres_door() {
    let node = node_with(impatient()).await;
    for bytes in [
        TLS_HELLO,
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00\x00\x00\x04",
        b"\x00\x00\x00\x07aaa",
        b"\x7f\xff\xff\xff",
        b"\xff\xff\xff\xff\xff\xff\xff\xff",
        b"\x00\x00\x27\x11\x00\x03\x00\x00",
        // Half a startup packet, held open.
        b"\x00\x00\x00\x20\x00\x03\x00\x00user",
        b"",
    ] {
        assert_eq!(exchange(node.postgres, bytes).await, b"", "{bytes:?}");
    }
    let refused = exchange(node.postgres, b"\0\0\0\x09\0\x03\0\0\0").await;
    assert!(String::from_utf8_lossy(&refused).contains("28000"), "a startup without user");
    let refused = exchange(node.postgres, b"\0\0\0\x08\0\x02\0\0").await;
    assert!(String::from_utf8_lossy(&refused).contains("0A000"), "protocol 2");
    still_serves(node.postgres).await;
}

const STARTUP: &[u8] = b"\0\0\0\x11\0\x03\0\0user\0me\0\0";

async fn greeted(door: std::net::SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(door).await.unwrap();
    socket.write_all(STARTUP).await.unwrap();
    let mut seen = Vec::new();
    while !seen.ends_with(b"Z\0\0\0\x05I") {
        assert_ne!(socket.read_buf(&mut seen).await.unwrap(), 0, "{:?}", String::from_utf8_lossy(&seen));
    }
    socket
}

async fn still_serves(door: std::net::SocketAddr) {
    let mut socket = greeted(door).await;
    socket.write_all(b"Q\0\0\0\x05\0").await.unwrap();
    let mut answer = [0; 11];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"I\0\0\0\x04Z\0\0\0\x05I");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_messages_close_their_connection_with_a_reason() {
    let node = node_with(impatient()).await;
    for bytes in [
        b"Q\x7f\xff\xff\xff".as_ref(),
        b"Q\xff\xff\xff\xff",
        b"Q\0\0\0\x03",
        b"\x00\0\0\0\x04",
        b"y\0\0\0\x04",
        b"p\0\0\0\x05\0",
        b"Q\0\0\0\x07abc",
        b"P\0\0\0\x08\0\0\0\x01",
        b"B\0\0\0\x0c\0\0\0\0\xff\xff\0\0",
        b"B\0\0\0\x10\0\0\0\0\0\x01\xff\xff\xff\xf0\0\0",
        b"D\0\0\0\x06X\0",
        b"S\0\0\0\x05\0",
        // Half a message, held open.
        b"Q\0\0\0\x20SELECT",
    ] {
        let mut socket = greeted(node.postgres).await;
        socket.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let reading = socket.read_to_end(&mut answer);
        let _ = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("must be closed");
        assert!(answer.starts_with(b"E"), "{bytes:?} {answer:?}");
        assert!(String::from_utf8_lossy(&answer).contains("FATAL"), "{bytes:?}");
    }
    still_serves(node.postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_connections_are_told_so() {
    let node = node_with(Limits { connections_max: 2, ..Limits::default() }).await;
    let first = greeted(node.postgres).await;
    let _second = greeted(node.postgres).await;
    let refused = exchange(node.postgres, b"").await;
    assert!(String::from_utf8_lossy(&refused).contains("53300"));
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let mut socket = TcpStream::connect(node.postgres).await.unwrap();
        let _ = socket.write_all(STARTUP).await;
        let mut byte = [0];
        if matches!(socket.read(&mut byte).await, Ok(1)) && byte == *b"R" {
            break;
        }
        assert!(Instant::now() < deadline, "the place must be free again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_and_oversized_http_is_closed() {
    let node = node_with(impatient()).await;
    for door in [node.admin, node.registry, node.catalog] {
        // Nothing, half a head, half a body: each is closed in time.
        for bytes in [b"".as_ref(), b"GET / HT", b"GET / HTTP/1.1\r\nhost: localhost\r\n"] {
            exchange(door, bytes).await;
        }
        let half =
            exchange(door, b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nhalf").await;
        assert!(half.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&half));
        for garbage in [TLS_HELLO, b"\0\0\0\0\0\0", b"nonsense\r\n\r\n"] {
            let answer = exchange(door, garbage).await;
            assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"), "{answer:?}");
        }
        let mut large = b"POST /x HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2000000\r\n\r\n".to_vec();
        large.resize(large.len() + 2_000_000, b'x');
        let answer = exchange(door, &large).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 413"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        let mut head = b"GET / HTTP/1.1\r\nhost: localhost\r\nx: ".to_vec();
        head.resize(200_000, b'x');
        let answer = exchange(door, &head).await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
    }
    assert_eq!(node.get(node.admin, "/health/livez").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_alive_connection_that_falls_silent_is_closed() {
    let node = node_with(impatient()).await;
    let answer = exchange(node.admin, b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.starts_with(b"HTTP/1.1 200"));
}
