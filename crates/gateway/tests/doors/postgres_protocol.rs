//! Sequences of messages that drivers send but tokio-postgres does not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{Node, node};

struct Wire(TcpStream);

impl Wire {
    async fn open(node: &Node, startup: &[(&str, &str)]) -> Self {
        let mut wire = Self(TcpStream::connect(node.postgres).await.unwrap());
        let mut body = vec![0, 3, 0, 0];
        for (name, value) in startup {
            body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        body.push(0);
        wire.0.write_all(&(body.len() as u32 + 4).to_be_bytes()).await.unwrap();
        wire.0.write_all(&body).await.unwrap();
        wire
    }

    async fn send(&mut self, messages: &[(u8, &[u8])]) {
        let mut bytes = Vec::new();
        for (tag, body) in messages {
            bytes.push(*tag);
            bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
            bytes.extend_from_slice(body);
        }
        self.0.write_all(&bytes).await.unwrap();
    }

    async fn message(&mut self) -> (u8, Vec<u8>) {
        let tag = self.0.read_u8().await.unwrap();
        let length = self.0.read_u32().await.unwrap();
        let mut body = vec![0; length as usize - 4];
        self.0.read_exact(&mut body).await.unwrap();
        (tag, body)
    }

    /// Messages up to and with ReadyForQuery.
    async fn until_ready(&mut self) -> Vec<(u8, Vec<u8>)> {
        let mut seen = Vec::new();
        loop {
            let message = self.message().await;
            let ready = message.0 == b'Z';
            seen.push(message);
            if ready {
                return seen;
            }
        }
    }

    async fn tags(&mut self) -> String {
        self.until_ready().await.iter().map(|(tag, _)| char::from(*tag)).collect()
    }
}

const ME: &[(&str, &str)] = &[("user", "me"), ("database", "frazil")];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn encryption_is_declined_and_the_startup_reports_parameters() {
    let node = node().await;
    let mut socket = TcpStream::connect(node.postgres).await.unwrap();
    for code in [80_877_103u32, 80_877_104] {
        socket.write_all(&8u32.to_be_bytes()).await.unwrap();
        socket.write_all(&code.to_be_bytes()).await.unwrap();
        assert_eq!(socket.read_u8().await.unwrap(), b'N');
    }
    socket.write_all(b"\0\0\0\x11\0\x03\0\0user\0me\0\0").await.unwrap();
    let mut wire = Wire(socket);
    let seen = wire.until_ready().await;
    assert_eq!(seen[0], (b'R', vec![0, 0, 0, 0]));
    let parameters: Vec<String> = seen
        .iter()
        .filter(|(tag, _)| *tag == b'S')
        .map(|(_, body)| String::from_utf8_lossy(body).replace('\0', "="))
        .collect();
    assert!(parameters.iter().any(|p| p.starts_with("server_version=15.0 (Frazil ")), "{parameters:?}");
    assert!(parameters.contains(&"client_encoding=UTF8=".to_owned()));
    assert!(seen.iter().any(|(tag, body)| *tag == b'K' && body.len() == 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn newer_minor_versions_are_negotiated_down() {
    let node = node().await;
    let mut wire = Wire(TcpStream::connect(node.postgres).await.unwrap());
    wire.0.write_all(b"\0\0\0\x1a\0\x03\0\x02user\0me\0_pq_.x\0\x31\0\0").await.unwrap();
    let (tag, body) = wire.message().await;
    assert_eq!((tag, body.as_slice()), (b'v', b"\0\0\0\0\0\0\0\x01_pq_.x\0".as_slice()));
    wire.until_ready().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_error_everything_is_skipped_until_sync() {
    let node = node().await;
    let mut wire = Wire::open(&node, ME).await;
    wire.until_ready().await;
    wire.send(&[
        (b'P', b"\0SELECT * FROM nowhere\0\0\0"),
        (b'B', b"\0\0\0\0\0\0\0\0"),
        (b'E', b"\0\0\0\0\0"),
        (b'Q', b"SELECT 1\0"),
        (b'S', b""),
    ])
    .await;
    assert_eq!(wire.tags().await, "EZ");
    wire.send(&[
        (b'P', b"s\0SELECT 1 AS one\0\0\0"),
        (b'D', b"Ss\0"),
        (b'B', b"p\0s\0\0\0\0\0\0\x01\0\x01"),
        (b'D', b"Pp\0"),
        (b'E', b"p\0\0\0\0\0"),
        (b'C', b"Pp\0"),
        (b'C', b"Ss\0"),
        (b'C', b"Snever\0"),
        (b'S', b""),
    ])
    .await;
    assert_eq!(wire.tags().await, "1tT2TDC333Z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_suspend_and_portals_end_with_their_transaction() {
    let node = node().await;
    node.trades(3).await;
    let mut wire = Wire::open(&node, ME).await;
    wire.until_ready().await;
    wire.send(&[
        (b'P', b"\0SELECT qty FROM trades ORDER BY qty\0\0\0"),
        (b'B', b"p\0\0\0\0\0\0\0\0"),
        (b'E', b"p\0\0\0\0\x02"),
        (b'E', b"p\0\0\0\0\x02"),
        (b'S', b""),
    ])
    .await;
    let seen = wire.until_ready().await;
    let tags: String = seen.iter().map(|(tag, _)| char::from(*tag)).collect();
    assert_eq!(tags, "12DDsDCZ");
    assert_eq!(seen[6].1, b"SELECT 1\0");
    // Outside a transaction, Sync ended the portal.
    wire.send(&[(b'E', b"p\0\0\0\0\0"), (b'S', b"")]).await;
    assert_eq!(wire.tags().await, "EZ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn misuse_is_an_error_not_the_end() {
    let node = node().await;
    let mut wire = Wire::open(&node, ME).await;
    wire.until_ready().await;
    for (messages, tags) in [
        (vec![(b'B', b"\0none\0\0\0\0\0\0\0".as_slice()), (b'S', b"")], "EZ"),
        (vec![(b'D', b"Snone\0"), (b'S', b"")], "EZ"),
        (vec![(b'E', b"none\0\0\0\0\0"), (b'S', b"")], "EZ"),
        (vec![(b'P', b"\0SELECT 1\0\0\0"), (b'B', b"\0\0\0\0\0\x01\0\0\0\0\0\0"), (b'S', b"")], "1EZ"),
        (vec![(b'P', b"\0SELECT 1; SELECT 2\0\0\0"), (b'S', b"")], "EZ"),
        (vec![(b'P', b"\0\0\0\0"), (b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")], "12IZ"),
        (vec![(b'Q', b"\xff\0")], "EZ"),
        (vec![(b'F', b"\0\0\0\0")], "EZ"),
        (vec![(b'd', b"left over"), (b'c', b""), (b'S', b"")], "Z"),
        (vec![(b'H', b""), (b'S', b"")], "Z"),
        (vec![(b'Q', b"SELECT 1\0")], "TDCZ"),
    ] {
        wire.send(&messages).await;
        assert_eq!(wire.tags().await, tags, "{messages:?}");
    }
    wire.send(&[(b'X', b"")]).await;
    assert_eq!(wire.0.read(&mut [0]).await.unwrap(), 0);
}
