//! Authentication: nothing before it, both mechanisms, both framings, sessions that end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kafka_protocol::messages as m;
use ring::{digest, hmac, pbkdf2};

use super::*;
use crate::kafka::versions::SERVED;

const FAILED: i16 = 58;
const ILLEGAL_STATE: i16 = 34;
const UNKNOWN_MECHANISM: i16 = 33;

async fn node() -> Node {
    node_with_sessions(None).await
}

async fn node_with_sessions(session: Option<Duration>) -> Node {
    let settings = ::access::Settings {
        super_users: vec!["User:alice".into()],
        open_by_default: false,
        catalog_tokens: false,
    };
    let node = Node::start_with(Limits::default(), Authentication::Sasl { session }, settings).await;
    node.access.provide_user("alice", "wonderland").unwrap();
    node.access.provide_user("bob", "builder").unwrap();
    node.create("t", 1).await;
    node
}

impl Client {
    async fn handshake(&mut self, version: i16, mechanism: &str) -> i16 {
        let request = m::SaslHandshakeRequest::default().with_mechanism(text(mechanism));
        let answer: m::SaslHandshakeResponse = self.call(Api::SaslHandshake, version, &request).await;
        assert_eq!(answer.mechanisms, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"].map(text));
        answer.error_code
    }

    async fn token(&mut self, token: impl Into<Vec<u8>>) -> m::SaslAuthenticateResponse {
        let request = m::SaslAuthenticateRequest::default().with_auth_bytes(token.into().into());
        self.call(Api::SaslAuthenticate, 2, &request).await
    }

    /// The code of the last answer.
    async fn plain(&mut self, user: &str, password: &str) -> i16 {
        assert_eq!(self.handshake(1, "PLAIN").await, 0);
        self.token(format!("\0{user}\0{password}")).await.error_code
    }

    async fn scram(&mut self, mechanism: &str, user: &str, password: &str) -> m::SaslAuthenticateResponse {
        assert_eq!(self.handshake(1, mechanism).await, 0);
        let bare = format!("n={user},r=clientnonce");
        let first = self.token(format!("n,,{bare}")).await;
        assert_eq!(first.error_code, 0, "the first message is answered alike for everybody");
        let first = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
        let (last, _) = last_message(mechanism, &bare, &first, password);
        self.token(last).await
    }

    /// Whether ordinary requests are answered.
    async fn is_in(&mut self) -> bool {
        self.produce("t", 0, batch(1)).await.0 == 0
    }
}

/// RFC 5802's client: its last message, and what the server has to prove.
fn last_message(mechanism: &str, bare: &str, first: &str, password: &str) -> (String, String) {
    let (hash, mac, rounds) = match mechanism {
        "SCRAM-SHA-256" => (&digest::SHA256, hmac::HMAC_SHA256, pbkdf2::PBKDF2_HMAC_SHA256),
        _ => (&digest::SHA512, hmac::HMAC_SHA512, pbkdf2::PBKDF2_HMAC_SHA512),
    };
    let field = |name: &str| first.split(',').find_map(|part| part.strip_prefix(name)).unwrap().to_owned();
    let iterations = field("i=").parse::<std::num::NonZeroU32>().unwrap();
    let mut salted = vec![0; hash.output_len()];
    pbkdf2::derive(
        rounds,
        iterations,
        &STANDARD.decode(field("s=")).unwrap(),
        password.as_bytes(),
        &mut salted,
    );
    let sign =
        |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(mac, key), text.as_bytes()).as_ref().to_vec();
    let without_proof = format!("c=biws,r={}", field("r="));
    let signed = format!("{bare},{first},{without_proof}");
    let key = sign(&salted, "Client Key");
    let signature = sign(digest::digest(hash, &key).as_ref(), &signed);
    let proof: Vec<u8> = key.iter().zip(signature).map(|(k, s)| k ^ s).collect();
    let server = sign(&sign(&salted, "Server Key"), &signed);
    (format!("{without_proof},p={}", STANDARD.encode(proof)), format!("v={}", STANDARD.encode(server)))
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_before_it_is_known_who_asks() {
    let node = node().await;
    for served in &SERVED {
        if matches!(served.api, Api::ApiVersions | Api::SaslHandshake | Api::SaslAuthenticate) {
            continue;
        }
        // After nothing, after ApiVersions, and after the choice of a mechanism.
        for begun in 0..3 {
            let mut client = node.client().await;
            if begun > 0 {
                let answer: m::ApiVersionsResponse =
                    client.call(Api::ApiVersions, 0, &m::ApiVersionsRequest::default()).await;
                assert_eq!(answer.error_code, 0);
            }
            if begun > 1 {
                assert_eq!(client.handshake(1, "PLAIN").await, 0);
            }
            // Too many bytes are no matter: a body of zeros has every shape that none of these are.
            let mut frame = BytesMut::new();
            frame.put_i16(served.api as i16);
            frame.put_i16(served.max);
            frame.put_slice(&[0; 4]);
            frame.put_i16(-1);
            frame.put_slice(&[0; 300]);
            client.send_raw(&(frame.len() as i32).to_be_bytes()).await;
            client.send_raw(&frame).await;
            assert_eq!(client.closed().await, 0, "{:?} {begun}", served.api);
        }
    }
    // Nor is much taken.
    let mut client = node.client().await;
    client.send_raw(&(64 * 1024 + 1i32).to_be_bytes()).await;
    assert_eq!(client.closed().await, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_right_password_opens_and_every_other_one_closes() {
    let node = node().await;
    for (user, password, opens) in [
        ("alice", "wonderland", true),
        ("alice", "Wonderland", false),
        ("alice", "", false),
        ("nobody", "wonderland", false),
        ("bob", "wonderland", false),
    ] {
        let expected = if opens { 0 } else { FAILED };
        let mut client = node.client().await;
        assert_eq!(client.plain(user, password).await, expected, "{user} {password}");
        if opens {
            assert!(client.is_in().await)
        } else {
            assert_eq!(client.closed().await, 0)
        }
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let mut client = node.client().await;
            let answer = client.scram(mechanism, user, password).await;
            assert_eq!(answer.error_code, expected, "{mechanism} {user} {password}");
            assert_eq!(answer.auth_bytes.starts_with(b"v="), opens);
            if opens { assert!(client.is_in().await) } else { assert_eq!(client.closed().await, 0) }
        }
    }
    // A wrong password and a user who is not there get the same words.
    let mut words = Vec::new();
    for user in ["alice", "nobody"] {
        let answer = node.client().await.scram("SCRAM-SHA-256", user, "wrong").await;
        words.push(answer.error_message.unwrap().to_string());
        let mut client = node.client().await;
        assert_eq!(client.handshake(1, "PLAIN").await, 0);
        words.push(client.token(format!("\0{user}\0wrong")).await.error_message.unwrap().to_string());
    }
    assert_eq!(words[..2], words[2..]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_proves_itself_and_rights_are_the_users_own() {
    let node = node().await;
    let mut client = node.client().await;
    assert_eq!(client.handshake(1, "SCRAM-SHA-512").await, 0);
    let bare = "n=bob,r=abc";
    let first = client.token(format!("n,,{bare}")).await.auth_bytes;
    let (last, proof) = last_message("SCRAM-SHA-512", bare, std::str::from_utf8(&first).unwrap(), "builder");
    assert_eq!(client.token(last).await.auth_bytes, proof.as_bytes());
    // alice is a super user, bob is not.
    assert_eq!(client.produce("t", 0, batch(1)).await.0, 29);
    let mut client = node.client().await;
    assert_eq!(client.plain("alice", "wonderland").await, 0);
    assert_eq!(client.produce("t", 0, batch(1)).await.0, 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_in_the_wrong_place_end_the_connection() {
    let node = node().await;
    let mut client = node.client().await;
    assert_eq!(client.handshake(1, "GSSAPI").await, UNKNOWN_MECHANISM);
    assert_eq!(client.closed().await, 0);
    let mut client = node.client().await;
    assert_eq!(client.token("\0alice\0wonderland").await.error_code, ILLEGAL_STATE);
    assert_eq!(client.closed().await, 0);
    let mut client = node.client().await;
    assert_eq!(client.handshake(1, "PLAIN").await, 0);
    assert_eq!(client.handshake(1, "PLAIN").await, ILLEGAL_STATE);
    assert_eq!(client.closed().await, 0);
    for bad in ["", "alice", "\0alice", "bob\0alice\0wonderland", "\0alice\0wonderland\0more"] {
        let mut client = node.client().await;
        assert_eq!(client.handshake(1, "PLAIN").await, 0);
        assert_eq!(client.token(bad).await.error_code, FAILED, "{bad:?}");
        assert_eq!(client.closed().await, 0);
    }
    // Once in, there is nothing more to say; without sessions that end, not again either.
    let mut client = node.client().await;
    assert_eq!(client.plain("alice", "wonderland").await, 0);
    assert_eq!(client.token("x").await.error_code, ILLEGAL_STATE);
    assert_eq!(client.handshake(1, "PLAIN").await, ILLEGAL_STATE);
    assert!(client.is_in().await);
    node.stop().await;
    // Where nobody is asked, as in Kafka.
    let node = Node::with_topic("t", 1).await;
    let mut client = node.client().await;
    assert_eq!(client.handshake(1, "PLAIN").await, ILLEGAL_STATE);
    assert!(client.is_in().await);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn old_clients_send_tokens_without_requests() {
    let node = node().await;
    let bare_token = async |client: &mut Client, token: &[u8]| {
        client.send_raw(&(token.len() as i32).to_be_bytes()).await;
        client.send_raw(token).await;
    };
    let mut client = node.client().await;
    assert_eq!(client.handshake(0, "PLAIN").await, 0);
    bare_token(&mut client, b"\0alice\0wonderland").await;
    assert_eq!(client.receive_frame().await.unwrap().len(), 0);
    assert!(client.is_in().await);
    let mut client = node.client().await;
    assert_eq!(client.handshake(0, "SCRAM-SHA-256").await, 0);
    let bare = "n=alice,r=abc";
    bare_token(&mut client, format!("n,,{bare}").as_bytes()).await;
    let first = String::from_utf8(client.receive_frame().await.unwrap().to_vec()).unwrap();
    let (last, proof) = last_message("SCRAM-SHA-256", bare, &first, "wonderland");
    bare_token(&mut client, last.as_bytes()).await;
    assert_eq!(client.receive_frame().await.unwrap(), proof.as_bytes());
    assert!(client.is_in().await);
    for wrong in [&b"\0alice\0wrong"[..], b"", b"a"] {
        let mut client = node.client().await;
        assert_eq!(client.handshake(0, "PLAIN").await, 0);
        bare_token(&mut client, wrong).await;
        assert_eq!(client.closed().await, 0);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_unless_they_are_renewed() {
    let node = node_with_sessions(Some(Duration::from_secs(3600))).await;
    let mut client = node.client().await;
    for _ in 0..3 {
        assert_eq!(client.handshake(1, "PLAIN").await, 0);
        let answer = client.token("\0alice\0wonderland").await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 3_600_000));
        assert!(client.is_in().await);
    }
    // Neither by another user nor by another mechanism.
    assert_eq!(client.plain("bob", "builder").await, FAILED);
    assert_eq!(client.closed().await, 0);
    let mut client = node.client().await;
    assert_eq!(client.plain("alice", "wonderland").await, 0);
    assert_eq!(client.handshake(1, "SCRAM-SHA-256").await, UNKNOWN_MECHANISM);
    assert_eq!(client.closed().await, 0);
    node.stop().await;
    let node = node_with_sessions(Some(Duration::ZERO)).await;
    let mut client = node.client().await;
    assert_eq!(client.plain("alice", "wonderland").await, 0);
    assert_eq!(client.plain("alice", "wonderland").await, 0, "it may be renewed after its end");
    client.send(Api::Produce, 11, &produce_request("t", 0, batch(1), -1)).await;
    assert_eq!(client.closed().await, 0);
    node.stop().await;
}
