//! Access tokens: signed, expiring, and good for nothing but this catalog (RFC 7519, HS256).
//!
//! Owns: their form, making and checking them.
//! Does not own: who gets one (`Access::issue_token`), HTTP.
//! Invariants: only the algorithm and the key of this node are accepted, whatever the header says; nothing in a token is
//! looked at before its signature fits; every claim that this program writes is required when it reads.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use serde::{Deserialize, Serialize};

const ALGORITHM: &str = "HS256";
const ISSUER: &str = "frazil";
const AUDIENCE: &str = "frazil-catalog";
/// Longest token that is looked at, bytes.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// A token that is not accepted. The reason is for the log and for its owner.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("the token is none of this server's")]
    Foreign,
    #[error("the token has expired")]
    Expired,
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub principal: String,
    /// Principal roles that it is limited to; all when none.
    pub only: Option<BTreeSet<String>>,
    /// Changes with the principal's secret.
    pub stamp: String,
    /// Seconds since 1970.
    pub expires_s: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    iat: i64,
    exp: i64,
    jti: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    roles: Option<BTreeSet<String>>,
    stamp: String,
}

/// Signs and checks.
#[derive(Debug)]
pub(crate) struct Signer {
    key: hmac::Key,
    kid: String,
}

impl Signer {
    /// With a secret of this node.
    pub(crate) fn new(secret: &[u8]) -> Self {
        let master = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let derived = |what: &[u8]| hmac::sign(&master, what);
        let kid =
            derived(b"catalog token key id").as_ref().iter().take(8).map(|b| format!("{b:02x}")).collect();
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, derived(b"catalog token key").as_ref()), kid }
    }

    pub(crate) fn sign(&self, token: &Token, now_s: i64, id: &str) -> String {
        let header = Header { alg: ALGORITHM.into(), typ: "JWT".into(), kid: self.kid.clone() };
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: token.principal.clone(),
            iat: now_s,
            exp: token.expires_s,
            jti: id.to_owned(),
            roles: token.only.clone(),
            stamp: token.stamp.clone(),
        };
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub(crate) fn verify(&self, text: &str, now_s: i64) -> Result<Token, TokenError> {
        if text.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Foreign);
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(TokenError::Foreign)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Foreign)?;
        hmac::verify(&self.key, signed.as_bytes(), &signature).map_err(|_| TokenError::Foreign)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Foreign)?;
        let header: Header = read(header)?;
        if header.alg != ALGORITHM || header.kid != self.kid || header.typ != "JWT" {
            return Err(TokenError::Foreign);
        }
        let claims: Claims = read(claims)?;
        if claims.iss != ISSUER || claims.aud != AUDIENCE || claims.iat > now_s.saturating_add(60) {
            return Err(TokenError::Foreign);
        }
        if claims.exp <= now_s {
            return Err(TokenError::Expired);
        }
        Ok(Token { principal: claims.sub, only: claims.roles, stamp: claims.stamp, expires_s: claims.exp })
    }
}

fn part(value: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).expect("strings and numbers always serialize"))
}

fn read<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Foreign)?;
    serde_json::from_slice(&bytes).map_err(|_| TokenError::Foreign)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn token() -> Token {
        Token { principal: "alice".into(), only: None, stamp: "s".into(), expires_s: 2_000 }
    }

    fn resigned(signer: &Signer, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&signer.key, signed.as_bytes())))
    }

    #[test]
    fn only_our_own_tokens_of_today_are_accepted() {
        let signer = Signer::new(b"secret");
        let text = signer.sign(&token(), 1_000, "1");
        assert_eq!(signer.verify(&text, 1_999), Ok(token()));
        assert_eq!(signer.verify(&text, 2_000), Err(TokenError::Expired));
        assert_eq!(Signer::new(b"other").verify(&text, 1_000), Err(TokenError::Foreign));
        let good_header = json!({"alg": "HS256", "typ": "JWT", "kid": signer.kid});
        let good = json!({"iss": "frazil", "aud": "frazil-catalog", "sub": "alice", "iat": 1_000, "exp": 2_000,
            "jti": "1", "stamp": "s"});
        assert_eq!(signer.verify(&resigned(&signer, &good_header, &good), 1_000), Ok(token()));
        let with = |value: &Value, key: &str, to: Value| {
            let mut changed = value.clone();
            changed[key] = to;
            changed
        };
        for (key, to) in [
            ("alg", json!("none")),
            ("alg", json!("RS256")),
            ("alg", json!("hs256")),
            ("kid", json!("other")),
            ("kid", json!("../../dev/null")),
            ("jku", json!("https://example.com/keys")),
            ("jwk", json!({"kty": "oct", "k": ""})),
            ("typ", json!("JWE")),
        ] {
            let forged = resigned(&signer, &with(&good_header, key, to.clone()), &good);
            assert_eq!(signer.verify(&forged, 1_000), Err(TokenError::Foreign), "{key} {to}");
        }
        for (key, to) in [
            ("iss", json!("https://elsewhere")),
            ("aud", json!("other")),
            ("aud", json!(["frazil-catalog"])),
            ("exp", json!("2000")),
            ("exp", Value::Null),
            ("iat", json!(9_000)),
        ] {
            let forged = resigned(&signer, &good_header, &with(&good, key, to.clone()));
            assert_eq!(signer.verify(&forged, 1_000), Err(TokenError::Foreign), "{key} {to}");
        }
    }

    #[test]
    fn a_changed_token_is_none() {
        let signer = Signer::new(b"secret");
        let text = signer.sign(&token(), 1_000, "1");
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ascii");
            // The last character of base64 has bits that mean nothing; the library refuses those that are set.
            if changed != text {
                assert_eq!(signer.verify(&changed, 1_000), Err(TokenError::Foreign), "{at}");
            }
        }
        let (head, rest) = text.split_once('.').expect("parts");
        let (body, _) = rest.split_once('.').expect("parts");
        for odd in [
            "",
            ".",
            "..",
            "a.b.c",
            &format!("{head}.{body}."),
            &format!("{head}.{body}"),
            &"x".repeat(9_000),
        ] {
            assert_eq!(signer.verify(odd, 1_000), Err(TokenError::Foreign), "{odd}");
        }
    }
}
