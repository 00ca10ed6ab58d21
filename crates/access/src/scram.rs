//! The server's side of a SCRAM exchange (RFC 5802, RFC 7677), for every door that speaks it.
//!
//! Owns: reading the client's two messages, making the server's two, the checks between them.
//! Does not own: how a door carries messages.
//! Invariants: the nonce of the last message is the whole one of the first two, so that no message can be replayed
//! (CVE-2024-56128); a user that does not exist takes the same way to the same answer as a wrong password. Channel
//! binding is not offered: there is no TLS to bind to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::credential::{Credential, CredentialError, Mechanism, random_bytes, same};

/// Longest message that is read, bytes.
const MESSAGE_BYTES_MAX: usize = 8 << 10;
/// Random bytes that the server adds to the nonce.
const NONCE_BYTES: usize = 24;

/// An exchange that came to nothing. What a client may be told is `Display`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    #[error("Invalid SASL/SCRAM message: {0}")]
    Message(&'static str),
    /// A wrong password, or no such user.
    #[error("Authentication failed due to invalid credentials with SASL mechanism {0}")]
    Credentials(&'static str),
    #[error(transparent)]
    Randomness(#[from] CredentialError),
}

/// An exchange after the client's first message.
pub struct Exchange {
    mechanism: Mechanism,
    user: String,
    credential: Credential,
    /// `n,,` or `y,,`, with the name that was asked for, if any.
    header: String,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

impl std::fmt::Debug for Exchange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exchange")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Exchange {
    /// Reads `n,,n=user,r=nonce`; `find` gives the user's credential, or one that nothing fits. Gives the first answer.
    pub fn begin(
        mechanism: Mechanism,
        message: &[u8],
        find: impl FnOnce(&str) -> Credential,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let own = STANDARD.encode(random_bytes::<NONCE_BYTES>()?);
        Self::begin_with(mechanism, message, find, &own)
    }

    fn begin_with(
        mechanism: Mechanism,
        message: &[u8],
        find: impl FnOnce(&str) -> Credential,
        own_nonce: &str,
    ) -> Result<(Self, Vec<u8>), ScramError> {
        let message = text(message)?;
        let mut parts = message.splitn(3, ',');
        let (binding, asked_for) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let bare = parts.next().ok_or(ScramError::Message("the first message is cut short"))?;
        match binding {
            "n" | "y" => {}
            _ => return Err(ScramError::Message("channel binding is not supported")),
        }
        let mut fields = bare.split(',');
        let user = field(fields.next(), "n=").ok_or(ScramError::Message("a user name is expected first"))?;
        let user = unescape(user).ok_or(ScramError::Message("a user name with a bare = sign"))?;
        let theirs = field(fields.next(), "r=").filter(|nonce| is_printable(nonce));
        let theirs = theirs.ok_or(ScramError::Message("a nonce of printable characters is expected"))?;
        // Kafka's extension for delegation tokens.
        if fields.any(|extension| extension.eq_ignore_ascii_case("tokenauth=true")) {
            return Err(ScramError::Message("delegation tokens are not supported"));
        }
        match asked_for {
            "" => {}
            other => {
                let other = field(Some(other), "a=").and_then(unescape);
                if other.as_ref() != Some(&user) {
                    return Err(ScramError::Message("nobody can act in another user's name"));
                }
            }
        }
        let credential = find(&user);
        let nonce = format!("{theirs}{own_nonce}");
        let server_first =
            format!("r={nonce},s={},i={}", STANDARD.encode(&credential.salt), credential.iterations);
        let answer = server_first.clone().into_bytes();
        let (header, client_first_bare) = (format!("{binding},{asked_for},"), bare.to_owned());
        Ok((Self { mechanism, user, credential, header, client_first_bare, server_first, nonce }, answer))
    }

    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Reads `c=…,r=nonce,p=proof`. Gives the user and the last answer.
    pub fn finish(self, message: &[u8]) -> Result<(String, Vec<u8>), ScramError> {
        let message = text(message)?;
        let (without_proof, proof) =
            message.rsplit_once(",p=").ok_or(ScramError::Message("the last message has no proof"))?;
        let mut fields = without_proof.split(',');
        let header = field(fields.next(), "c=").and_then(|c| STANDARD.decode(c).ok());
        if header.as_deref() != Some(self.header.as_bytes()) {
            return Err(ScramError::Message(
                "the channel binding of the last message is not that of the first",
            ));
        }
        if field(fields.next(), "r=") != Some(self.nonce.as_str()) {
            return Err(ScramError::Message(
                "the nonce of the last message is not the one that was agreed on",
            ));
        }
        let proof = STANDARD.decode(proof).map_err(|_| ScramError::Message("the proof is not base64"))?;
        let signed = format!("{},{},{without_proof}", self.client_first_bare, self.server_first);
        let signature = self.mechanism.hmac(&self.credential.stored_key, signed.as_bytes());
        let fits = proof.len() == signature.len() && {
            let client_key: Vec<u8> = proof.iter().zip(&signature).map(|(p, s)| p ^ s).collect();
            same(&self.mechanism.hash(&client_key), &self.credential.stored_key)
        };
        if !fits {
            return Err(ScramError::Credentials(self.mechanism.name()));
        }
        let ours = self.mechanism.hmac(&self.credential.server_key, signed.as_bytes());
        Ok((self.user, format!("v={}", STANDARD.encode(ours)).into_bytes()))
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(ScramError::Message("it is too long"));
    }
    std::str::from_utf8(message).map_err(|_| ScramError::Message("it is not UTF-8"))
}

fn field<'a>(part: Option<&'a str>, name: &str) -> Option<&'a str> {
    part?.strip_prefix(name)
}

/// RFC 5802, `printable`: ASCII without the comma, which was split at.
fn is_printable(nonce: &str) -> bool {
    !nonce.is_empty() && nonce.bytes().all(|b| (0x21..=0x7e).contains(&b))
}

/// `=2C` is a comma and `=3D` an equals sign; others are not allowed.
fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('=');
    let mut plain = parts.next()?.to_owned();
    for part in parts {
        let (sign, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else {
            ('=', part.strip_prefix("3D")?)
        };
        plain.push(sign);
        plain.push_str(rest);
    }
    (!plain.is_empty()).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    fn pencil(mechanism: Mechanism, salt: &str) -> Credential {
        let salt = STANDARD.decode(salt).expect("base64");
        let mut salted = vec![0; mechanism.hash(&[]).len()];
        let algorithm = match mechanism {
            Mechanism::Sha256 => ring::pbkdf2::PBKDF2_HMAC_SHA256,
            Mechanism::Sha512 => ring::pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let iterations = std::num::NonZeroU32::new(4_096).expect("not zero");
        ring::pbkdf2::derive(algorithm, iterations, &salt, b"pencil", &mut salted);
        Credential::of_salted(mechanism, 4_096, &salt, &salted).expect("credential")
    }

    fn begin(first: &str) -> Result<(Exchange, Vec<u8>), ScramError> {
        let find = |_: &str| pencil(Mechanism::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ==");
        Exchange::begin_with(Mechanism::Sha256, first.as_bytes(), find, SERVER_NONCE)
    }

    /// RFC 7677, section 3.
    #[test]
    fn the_exchange_of_the_standard() {
        let (exchange, first) = begin(&format!("n,,n=user,r={CLIENT_NONCE}")).expect("first");
        let nonce = format!("{CLIENT_NONCE}{SERVER_NONCE}");
        assert_eq!(String::from_utf8_lossy(&first), format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let (user, answer) = exchange.finish(last.as_bytes()).expect("last");
        assert_eq!(user, "user");
        assert_eq!(answer, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    /// A client of its own, after RFC 5802, for what has no published vector.
    fn proof(mechanism: Mechanism, credential: &Credential, password: &str, signed: &str) -> String {
        let mut salted = vec![0; mechanism.hash(&[]).len()];
        let algorithm = match mechanism {
            Mechanism::Sha256 => ring::pbkdf2::PBKDF2_HMAC_SHA256,
            Mechanism::Sha512 => ring::pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let iterations = std::num::NonZeroU32::new(credential.iterations).expect("not zero");
        ring::pbkdf2::derive(algorithm, iterations, &credential.salt, password.as_bytes(), &mut salted);
        let key = mechanism.hmac(&salted, b"Client Key");
        let signature = mechanism.hmac(&mechanism.hash(&key), signed.as_bytes());
        STANDARD.encode(key.iter().zip(signature).map(|(k, s)| k ^ s).collect::<Vec<u8>>())
    }

    #[test]
    fn both_hashes_and_only_the_right_password() {
        for mechanism in Mechanism::ALL {
            let credential = Credential::of_password(mechanism, "geheim", 4_096).expect("credential");
            for (password, good) in [("geheim", true), ("Geheim", false), ("", false)] {
                let bare = "n=a=2Cb=3Dc,r=abc";
                let (exchange, first) = Exchange::begin(mechanism, format!("n,,{bare}").as_bytes(), |user| {
                    assert_eq!(user, "a,b=c");
                    credential.clone()
                })
                .expect("first");
                let first = String::from_utf8(first).expect("text");
                let nonce = first[2..].split(',').next().expect("nonce").to_owned();
                let without_proof = format!("c=biws,r={nonce}");
                let proof =
                    proof(mechanism, &credential, password, &format!("{bare},{first},{without_proof}"));
                let outcome = exchange.finish(format!("{without_proof},p={proof}").as_bytes());
                assert_eq!(outcome.is_ok(), good, "{mechanism:?} {password}");
                if !good {
                    assert_eq!(outcome, Err(ScramError::Credentials(mechanism.name())));
                }
            }
        }
    }

    #[test]
    fn the_last_message_must_carry_the_whole_nonce_and_the_same_header() {
        let right = format!("{CLIENT_NONCE}{SERVER_NONCE}");
        for (channel, nonce, what) in [
            ("biws", CLIENT_NONCE, "nonce"),
            ("biws", SERVER_NONCE, "nonce"),
            ("biws", "", "nonce"),
            ("eSws", right.as_str(), "channel binding"),
            ("!", right.as_str(), "channel binding"),
        ] {
            let (exchange, _) = begin(&format!("n,,n=user,r={CLIENT_NONCE}")).expect("first");
            let last = format!("c={channel},r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
            let error = exchange.finish(last.as_bytes()).expect_err(what);
            assert!(matches!(error, ScramError::Message(m) if m.contains(what)), "{error}");
        }
    }

    #[test]
    fn bad_messages_are_refused() {
        for bad in [
            "",
            "n",
            "n,,",
            "n,,r=abc",
            "n,,n=,r=abc",
            "n,,n=a=b,r=abc",
            "n,,n=a",
            "n,,n=a,r=",
            "n,,n=a,r=a\u{7f}b",
            "n,,n=a,r=a b",
            "p=tls-unique,,n=a,r=abc",
            "n,a=b,n=a,r=abc",
            "n,x,n=a,r=abc",
            "n,,m=x,n=a,r=abc",
            "n,,n=a,r=abc,tokenauth=true",
        ] {
            assert!(matches!(begin(bad), Err(ScramError::Message(_))), "{bad}");
        }
        assert!(begin("y,a=a,n=a,r=abc").is_ok());
        for bad in ["", "c=biws", "c=biws,r=x", "c=biws,r=x,p=!", ",p=", "\u{0},p=AAAA"] {
            let (exchange, _) = begin("n,,n=a,r=abc").expect("first");
            assert!(matches!(exchange.finish(bad.as_bytes()), Err(ScramError::Message(_))), "{bad}");
        }
        let long = vec![b'a'; MESSAGE_BYTES_MAX + 1];
        assert!(Exchange::begin(Mechanism::Sha256, &long, |_| unreachable!()).is_err());
        assert!(Exchange::begin(Mechanism::Sha256, &[0xff, 0xfe], |_| unreachable!()).is_err());
    }
}
