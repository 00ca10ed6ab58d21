//! Who is at the other end of a connection.
//!
//! Owns: the order of SaslHandshake and SaslAuthenticate, PLAIN and SCRAM over them (KIP-43, KIP-152), the lifetime of
//! a session and renewing it (KIP-368), tokens without a request around them (handshake version 0).
//! Does not own: credentials and the steps of SCRAM (access), what a caller may do (`rights`).
//! Invariants: a [`Caller`] comes into being here alone, and nothing but ApiVersions and the two Sasl requests is
//! answered without one; a failed authentication is answered late and ends the connection; no token is logged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ::access::scram::Exchange;
use ::access::{Access, Mechanism, Operation, Principal, Resource, ResourceKind};
use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::time::Instant;

use super::connection::Close;
use super::versions::Api;
use super::{Authentication, Broker, errors};

/// Largest request before its sender is known, bytes: tokens are small.
const UNKNOWN_REQUEST_BYTES_MAX: usize = 64 << 10;
/// How long a refusal waits, so that guessing takes time (Kafka's `connection.failed.authentication.delay.ms`).
const REFUSAL_DELAY: Duration = Duration::from_millis(100);
/// First SaslAuthenticate that tells how long a session lasts.
const LIFETIME_SINCE: i16 = 1;
const PLAIN: &str = "PLAIN";

/// Somebody who may ask, and from where.
#[derive(Debug, Clone)]
pub(super) struct Caller(Arc<Known>);

#[derive(Debug)]
struct Known {
    access: Access,
    principal: Principal,
    host: Arc<str>,
}

impl Caller {
    /// Whether they may do `operation` to `resource`.
    pub(super) fn may(&self, operation: Operation, resource: Resource<'_>) -> bool {
        let Known { access, principal, host } = &*self.0;
        access.allows(principal, host, operation, resource)
    }

    /// Whether they may do `operation` to at least one resource of `kind`.
    pub(super) fn may_any(&self, operation: Operation, kind: ResourceKind) -> bool {
        let Known { access, principal, host } = &*self.0;
        access.allows_any(principal, host, operation, kind)
    }

    /// What they may do to `resource`, as bits by the operations' numbers (KIP-430).
    pub(super) fn operations(&self, resource: Resource<'_>) -> i32 {
        let allowed = resource.kind.operations().iter().filter(|operation| self.may(**operation, resource));
        allowed.fold(0, |bits, operation| bits | 1 << operation.code())
    }
}

/// How somebody says who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Plain,
    Scram(Mechanism),
}

impl Way {
    fn named(name: &str) -> Option<Self> {
        if name == PLAIN { Some(Self::Plain) } else { Mechanism::named(name).map(Self::Scram) }
    }

    fn names() -> Vec<StrBytes> {
        let scram = Mechanism::ALL.map(|mechanism| mechanism.name());
        [PLAIN].into_iter().chain(scram).map(StrBytes::from).collect()
    }
}

/// A caller who has said who they are, and how.
#[derive(Debug, Clone)]
struct Proven {
    way: Way,
    /// When they have to say it again.
    until: Option<Instant>,
}

#[derive(Debug)]
enum State {
    /// Nothing has been said.
    Unknown,
    /// A mechanism was chosen.
    Chosen(Way),
    /// SCRAM's first message was answered.
    Challenged(Exchange),
    /// None has proven it where nobody has to.
    Ready(Caller, Option<Proven>),
    /// Why the connection ends once this is answered.
    Failed(String),
}

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Session {
    broker: Arc<Broker>,
    host: Arc<str>,
    state: State,
    /// Who was there before, while they say again who they are.
    before: Option<(Caller, Way)>,
    /// Whether tokens come without a request around them.
    bare: bool,
}

/// A token's answer and for how long the session holds, ms; or what to say.
type Step = Result<(Bytes, i64), String>;

impl Session {
    pub(super) fn new(broker: Arc<Broker>, peer: SocketAddr) -> Self {
        let host: Arc<str> = peer.ip().to_canonical().to_string().into();
        let mut session = Self { broker, host, state: State::Unknown, before: None, bare: false };
        if session.broker.authentication == Authentication::None {
            session.state = State::Ready(session.caller_for(Principal::anonymous()), None);
        }
        session
    }

    fn caller_for(&self, principal: Principal) -> Caller {
        let (access, host) = (self.broker.access.clone(), Arc::clone(&self.host));
        Caller(Arc::new(Known { access, principal, host }))
    }

    /// Whether it is known who is there.
    pub(super) fn is_known(&self) -> bool {
        matches!(self.state, State::Ready(..))
    }

    /// Whether the next frame is a token without a request around it.
    pub(super) fn takes_bare_token(&self) -> bool {
        self.bare && matches!(self.state, State::Chosen(_) | State::Challenged(_))
    }

    /// The largest frame that is taken now, bytes.
    pub(super) fn frame_bytes_max(&self) -> usize {
        let max = self.broker.request_bytes_max;
        if self.is_known() { max } else { max.min(UNKNOWN_REQUEST_BYTES_MAX) }
    }

    /// Why the connection has to end now.
    pub(super) fn failure(&self) -> Option<Close> {
        match &self.state {
            State::Failed(reason) => Some(Close::Unauthenticated(reason.clone())),
            _ => None,
        }
    }

    /// The caller of a request other than ApiVersions and the Sasl ones.
    pub(super) fn caller(&self, api: Api) -> Result<Caller, Close> {
        match &self.state {
            State::Ready(_, Some(Proven { until: Some(until), .. })) if *until <= Instant::now() => {
                Err(Close::Unauthenticated("the session has ended and was not renewed".to_owned()))
            }
            State::Ready(caller, _) => Ok(caller.clone()),
            _ => Err(Close::Unauthenticated(format!("{api:?} was asked before the client said who it is"))),
        }
    }

    /// SaslHandshake: which mechanism the client wants.
    pub(super) fn handshake(
        &mut self,
        version: i16,
        request: &SaslHandshakeRequest,
    ) -> SaslHandshakeResponse {
        let answer = SaslHandshakeResponse::default().with_mechanisms(Way::names());
        let refused = |code: Code| answer.clone().with_error_code(code.code());
        match &self.state {
            State::Unknown => {}
            State::Ready(caller, Some(Proven { way, until: Some(_) })) => {
                self.before = Some((caller.clone(), *way));
            }
            State::Ready(..) => return refused(Code::IllegalSaslState),
            State::Chosen(_) | State::Challenged(_) | State::Failed(_) => {
                self.state = State::Failed("a second SaslHandshake before the first was used".to_owned());
                return refused(Code::IllegalSaslState);
            }
        }
        let way = Way::named(&request.mechanism);
        match (way, &self.before) {
            (Some(way), None) => self.state = State::Chosen(way),
            (Some(way), Some((_, before))) if way == *before => self.state = State::Chosen(way),
            _ => {
                self.state =
                    State::Failed("an unknown SASL mechanism, or another one than before".to_owned());
                return refused(Code::UnsupportedSaslMechanism);
            }
        }
        self.bare = version == 0;
        answer
    }

    /// SaslAuthenticate: a token.
    pub(super) async fn authenticate(
        &mut self,
        version: i16,
        request: SaslAuthenticateRequest,
    ) -> SaslAuthenticateResponse {
        let refused = |code: Code, message: String| {
            SaslAuthenticateResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(StrBytes::from_string(message)))
        };
        if !matches!(self.state, State::Chosen(_) | State::Challenged(_)) || self.bare {
            let message = "SaslAuthenticate has to follow a SaslHandshake of version 1".to_owned();
            if !self.is_known() {
                self.state = State::Failed(message.clone());
            }
            return refused(Code::IllegalSaslState, message);
        }
        match self.step(request.auth_bytes).await {
            Ok((token, lifetime_ms)) => SaslAuthenticateResponse::default()
                .with_error_code(errors::NONE)
                .with_error_message(None)
                .with_auth_bytes(token)
                .with_session_lifetime_ms(if version >= LIFETIME_SINCE { lifetime_ms } else { 0 }),
            Err(message) => refused(Code::SaslAuthenticationFailed, message),
        }
    }

    /// A token that came without a request; gives the one to send back, if any.
    pub(super) async fn bare_token(&mut self, token: Bytes) -> Option<Bytes> {
        self.step(token).await.ok().map(|(token, _)| token)
    }

    async fn step(&mut self, token: Bytes) -> Step {
        let state = std::mem::replace(&mut self.state, State::Failed("the exchange broke off".to_owned()));
        let outcome = match state {
            State::Chosen(Way::Plain) => {
                self.plain(token).await.map(|user| Some((user, Way::Plain, Bytes::new())))
            }
            State::Chosen(Way::Scram(mechanism)) => {
                let access = &self.broker.access;
                let begun = Exchange::begin(mechanism, &token, |user| access.credential(mechanism, user));
                match begun {
                    Ok((exchange, answer)) => {
                        self.state = State::Challenged(exchange);
                        return Ok((answer.into(), 0));
                    }
                    Err(error) => Err(error.to_string()),
                }
            }
            State::Challenged(exchange) => {
                let way = Way::Scram(exchange.mechanism());
                let finished = exchange.finish(&token);
                finished.map(|(user, answer)| Some((user, way, answer.into()))).map_err(|e| e.to_string())
            }
            State::Unknown | State::Ready(..) | State::Failed(_) => Ok(None),
        };
        let outcome = outcome.and_then(|proven| match proven {
            Some((user, way, answer)) => Ok((self.admit(&user, way)?, answer)),
            None => Err("no token was expected".to_owned()),
        });
        match outcome {
            Ok((lifetime_ms, answer)) => Ok((answer, lifetime_ms)),
            Err(message) => {
                tokio::time::sleep(REFUSAL_DELAY).await;
                self.state = State::Failed(message.clone());
                Err(message)
            }
        }
    }

    /// PLAIN (RFC 4616): `[authzid] NUL authcid NUL passwd`. Gives the user.
    async fn plain(&self, token: Bytes) -> Result<String, String> {
        let wrong = || "Authentication failed: Invalid username or password".to_owned();
        let text = std::str::from_utf8(&token).map_err(|_| wrong())?;
        let parts: Vec<&str> = text.splitn(4, '\0').collect();
        let [asked_for, user, password] = parts[..] else {
            return Err("Invalid SASL/PLAIN message: three parts are expected".to_owned());
        };
        if !asked_for.is_empty() && asked_for != user {
            return Err("Authentication failed: nobody can act in another user's name".to_owned());
        }
        // Hashing takes milliseconds: never more of it at once than leaves room for others.
        let turn = self.broker.hashing.acquire().await.map_err(|e| e.to_string())?;
        let (access, name, password) = (self.broker.access.clone(), user.to_owned(), password.to_owned());
        let hashing = tokio::task::spawn_blocking(move || access.password_fits(&name, &password));
        let fits = hashing.await.map_err(|_| wrong())?;
        drop(turn);
        if fits { Ok(user.to_owned()) } else { Err(wrong()) }
    }

    /// Lets the user in; gives for how long, ms.
    fn admit(&mut self, user: &str, way: Way) -> Result<i64, String> {
        let principal = Principal::user(user);
        if let Some((before, _)) = self.before.take()
            && before.0.principal != principal
        {
            return Err("Cannot change principals during re-authentication".to_owned());
        }
        let lifetime = match self.broker.authentication {
            Authentication::Sasl { session } => session,
            Authentication::None => None,
        };
        let until = lifetime.map(|lifetime| Instant::now() + lifetime);
        self.state = State::Ready(self.caller_for(principal), Some(Proven { way, until }));
        self.bare = false;
        Ok(lifetime.map_or(0, |lifetime| i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX)))
    }
}
