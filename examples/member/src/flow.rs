//! A device's whole way: token, upload, join, and what a member asks later.

use crate::MemberError;
use crate::config::Settings;
use crate::group::Group;
use crate::show::{self, Event};
use crate::state::{Bytes, Session, StateFile, Token};
use ace_backend_coap::{Client, ClientError, Limits};
use ace_backend_tokio::{Clock, os_random};
use ace_coap::numbers::option;
use ace_coap::{Code, Message};
use ace_groupcomm::access::{AUTHZ_INFO, NODES, ROOT};
use ace_groupcomm::auth_server::TOKEN;
use ace_groupcomm_messages::labels::content_format::{ACE_CBOR, ACE_GROUPCOMM_CBOR, PROBLEM_DETAILS_CBOR};
use ace_groupcomm_messages::{
    Confirmation, CredsResponse, GetCreds, GroupOscoreInputMaterial, GroupcommError, JoinRefusal, JoinResponse,
    KeyDistribution, OscoreInputMaterial, ProblemDetails, RawCbor, Scope, ScopeEntry, ScopeValue, TokenError,
    TokenRequest, TokenResponse, TokenTransferResponse,
};
use ace_oscore::{Aead, Context, Hkdf, Parameters, Sequence};
use ace_profile_group_oscore::member::{join_request, joined, material};
use ace_profile_oscore::Upload;
use rand_core::Rng;

/// Resets and unprotected answers of the KDC after which an association is given up. One alone proves nothing:
/// anybody can send it.
const PATIENCE: u32 = 2;

/// A member at work. It holds the state file until [`Member::close`].
pub struct Member<'a> {
    settings: &'a Settings,
    file: StateFile,
    clock: Clock,
    show_secrets: bool,
    observer: Box<dyn FnMut(Event) + Send + 'a>,
    kdc: Option<Client>,
}

fn random<const N: usize>() -> Vec<u8> {
    let mut bytes = [0; N];
    os_random().fill_bytes(&mut bytes);
    bytes.to_vec()
}

impl<'a> Member<'a> {
    /// Opens the state. `observer` sees each exchange.
    ///
    /// # Errors
    /// [`MemberError`].
    pub fn open(
        settings: &'a Settings,
        show_secrets: bool,
        observer: impl FnMut(Event) + Send + 'a,
    ) -> Result<Self, MemberError> {
        let file = StateFile::open(&settings.state)?;
        let observer = Box::new(observer);
        Ok(Self { settings, file, clock: Clock::system(), show_secrets, observer, kdc: None })
    }

    /// Closes the state.
    ///
    /// # Errors
    /// [`MemberError::File`].
    pub fn close(self) -> Result<(), MemberError> {
        self.file.close()
    }

    /// The group as it is kept.
    #[must_use]
    pub fn group(&self) -> Option<&Group> {
        self.file.state.groups.get(&self.settings.config.group.name)
    }

    async fn exchange(
        &mut self,
        client: &mut Client,
        to: &'static str,
        protected: bool,
        request: Message,
    ) -> Result<Message, ClientError> {
        let answer = client.request(request.clone()).await;
        let seen = match &answer {
            Ok(message) => Some(message),
            Err(ClientError::Unprotected(_, message)) => Some(&**message),
            Err(_) => None,
        };
        (self.observer)(Event {
            from: self.settings.config.name.clone(),
            to,
            protected,
            request: show::request_line(&request),
            sent: show::payload(&request, self.show_secrets),
            code: seen.map_or_else(|| "no answer".into(), |message| show::code_line(message.code)),
            received: seen.map(|message| show::payload(message, self.show_secrets)).unwrap_or_default(),
        });
        answer
    }

    /// Phase 1: asks the AS for a token.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn token(&mut self) -> Result<(), MemberError> {
        let config = &self.settings.config;
        let entry = ScopeEntry { gname: config.group.name.clone(), permissions: RawCbor::uint(self.settings.roles.0) };
        let asked = TokenRequest {
            audience: Some(config.kdc.audience.clone()),
            scope: Some(ScopeValue::Bytes(Scope(vec![entry]).encode())),
            ..TokenRequest::default()
        };
        let (start, limit) = self.file.reserve_as(self.clock.now().unix)?;
        let context = Context::restored(&config.auth_server.oscore.client(), Sequence::block(start, limit))?;
        let mut client = Client::connect(config.auth_server.address, Limits::default(), os_random().next_u64()).await?;
        client.protect_with(context);
        let request = Message::request(Code::POST).with_path([TOKEN]).with_payload(ACE_CBOR, asked.encode());
        let answer = self.exchange(&mut client, "AS", true, request).await?;
        if answer.code != Code::CREATED {
            let error = TokenError::decode(&answer.payload).ok();
            let detail = error.and_then(|error| error.description).unwrap_or_default();
            return Err(MemberError::Refused(answer.code, detail));
        }
        let response = TokenResponse::decode(&answer.payload)?;
        let cnf = response.cnf.as_ref().ok_or(MemberError::Unusable("the token response has no key"))?;
        let lifetime = response.expires_in.ok_or(MemberError::Unusable("the token has no end"))?;
        let expires = self.clock.now().unix.saturating_add(lifetime);
        self.file.state.token =
            Some(Token { access_token: Bytes(response.access_token.clone()), cnf: Bytes(cnf.encode()), expires });
        self.file.save()
    }

    fn input_material(&self) -> Result<(Vec<u8>, OscoreInputMaterial), MemberError> {
        let token = self.file.state.token.as_ref().ok_or(MemberError::NoToken)?;
        if token.expires <= self.clock.now().unix {
            return Err(MemberError::Expired("token"));
        }
        match Confirmation::decode(&token.cnf.0)? {
            Confirmation::Osc(material) => Ok((token.access_token.0.clone(), material)),
            _ => Err(MemberError::Unusable("the token's key is for another profile")),
        }
    }

    /// Phase 2, first half: posts the token to the KDC. The answer is not protected, so the former association is
    /// kept until one has verified under the new.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn upload(&mut self) -> Result<(), MemberError> {
        let (token, material) = self.input_material()?;
        let state = &self.file.state;
        let used = [&state.session, &state.offered].map(|session| session.as_ref().map(|s| s.recipient_id.0.clone()));
        let mut client_id = random::<2>();
        while used.contains(&Some(client_id.clone())) {
            client_id = random::<2>();
        }
        let upload = Upload::new(material, random::<8>(), client_id);
        let mut post = upload.request(token);
        post.asks_sign_info = true;
        post.asks_ecdh_info = true;
        let address = self.settings.config.kdc.address;
        let mut client = Client::connect(address, Limits::default(), os_random().next_u64()).await?;
        let request = Message::request(Code::POST).with_path([AUTHZ_INFO]).with_payload(ACE_CBOR, post.encode());
        let answer = self.exchange(&mut client, "KDC", false, request).await?;
        if answer.code != Code::CREATED {
            return Err(MemberError::Refused(answer.code, "the KDC does not take the token".into()));
        }
        let response = TokenTransferResponse::decode(&answer.payload)?;
        let parameters = upload.finish(&response)?;
        self.file.state.offered = Some(session(&parameters, response.kdcchallenge));
        self.kdc = None;
        self.file.save()
    }

    /// A client of the KDC under the association, with sequence numbers that are reserved.
    async fn connect(&mut self) -> Result<Client, MemberError> {
        let token = self.file.state.token.as_ref();
        if token.is_none_or(|token| token.expires <= self.clock.now().unix) {
            // The association ends with its token (RFC 9203 section 6).
            (self.file.state.session, self.file.state.offered, self.kdc) = (None, None, None);
            self.file.save()?;
            return Err(if self.file.state.token.is_some() {
                MemberError::Expired("token")
            } else {
                MemberError::NoToken
            });
        }
        if let Some(mut client) = self.kdc.take() {
            let low = client.context().is_some_and(|context| context.sequence().runs_low());
            if low {
                let (start, limit) = self.file.reserve_kdc()?;
                if let Some(context) = client.context() {
                    context.sequence().extend(start, limit);
                }
            }
            return Ok(client);
        }
        let (start, limit) = self.file.reserve_kdc()?;
        let session = self.file.state.current().ok_or(MemberError::NoSession)?;
        let context = Context::restored(&parameters(session)?, Sequence::block(start, limit))?;
        let address = self.settings.config.kdc.address;
        let mut client = Client::connect(address, Limits::default(), os_random().next_u64()).await?;
        client.protect_with(context);
        Ok(client)
    }

    /// Asks the KDC under the association. What is not protected drops nothing at once: anybody could have sent
    /// it. After some of that an association which has never worked is given up for the one that has, and where
    /// that does not work either the token is posted anew (RFC 8613 appendix D.5.3).
    ///
    /// `request` is made anew for each try, since a proof is bound to the association's challenge.
    async fn ask(&mut self, request: impl Fn(&Self) -> Result<Message, MemberError>) -> Result<Message, MemberError> {
        self.restore().await?;
        let mut uploaded = false;
        loop {
            let mut failure = None;
            for _ in 0..PATIENCE {
                let mut client = self.connect().await?;
                let message = request(self)?;
                let answer = self.exchange(&mut client, "KDC", true, message).await;
                self.kdc = Some(client);
                match answer {
                    Ok(answer) => return self.proven().map(|()| answer),
                    Err(error @ (ClientError::Unprotected(..) | ClientError::Reset)) => failure = Some(error),
                    Err(error) => return Err(error.into()),
                }
            }
            let state = &mut self.file.state;
            if state.session.is_some() && state.offered.take().is_some() {
                self.kdc = None;
                self.file.save()?;
            } else if let Some(failure) = failure.filter(|_| uploaded) {
                return Err(failure.into());
            } else {
                self.upload().await?;
                uploaded = true;
            }
        }
    }

    /// An answer has verified: the association is the KDC's, and replaces the former one.
    fn proven(&mut self) -> Result<(), MemberError> {
        if let Some(offered) = self.file.state.offered.take() {
            self.file.state.session = Some(offered);
            self.file.save()?;
        }
        Ok(())
    }

    /// A member whose association was given up, since its numbers may have been used elsewhere, makes a new one.
    async fn restore(&mut self) -> Result<(), MemberError> {
        if self.file.state.current().is_none() && self.group().is_some() {
            self.upload().await?;
        }
        Ok(())
    }

    fn get(&self, resource: &[&str]) -> Message {
        Message::request(Code::GET).with_path(self.group_path(resource))
    }

    fn group_path(&self, resource: &[&str]) -> Vec<String> {
        [ROOT, self.settings.config.group.name.as_str()].iter().chain(resource).map(|&s| s.into()).collect()
    }

    /// Phase 2, second half: joins the group, or joins it again.
    ///
    /// # Errors
    /// [`MemberError`]; nothing in the state has changed then, but for a new challenge.
    pub async fn join(&mut self) -> Result<(), MemberError> {
        self.restore().await?;
        for attempt in 0..3 {
            let cnonce = random::<8>();
            let answer = self.ask(|member| member.join_message(&cnonce)).await?;
            if answer.code.is_success() {
                return self.take_in(&answer, &cnonce);
            }
            if attempt == 0 && invalid_proof(&answer) {
                // The challenge came unprotected: it may not be the KDC's.
                self.upload().await?;
                continue;
            }
            let challenge = Some(&answer)
                .filter(|answer| answer.options.content_format() == Some(ACE_GROUPCOMM_CBOR))
                .and_then(|answer| JoinRefusal::decode(&answer.payload).ok())
                .and_then(|refusal| refusal.kdcchallenge);
            let (Some(challenge), Some(session)) = (challenge, self.file.state.current_mut()) else {
                return Err(refused(&answer));
            };
            session.kdcchallenge = Some(Bytes(challenge));
            self.file.save()?;
        }
        Err(MemberError::Unusable("the KDC takes no proof, whichever challenge it is over"))
    }

    fn join_message(&self, cnonce: &[u8]) -> Result<Message, MemberError> {
        let session = self.file.state.current().ok_or(MemberError::NoSession)?;
        let challenge = session.kdcchallenge.clone().unwrap_or_default();
        let settings = self.settings;
        let wanted = Some(GetCreds::All);
        let gname = &settings.config.group.name;
        let join = join_request(gname, settings.roles, &settings.identity, &challenge.0, cnonce, wanted)?;
        let path = self.group_path(&[]);
        Ok(Message::request(Code::POST).with_path(path).with_payload(ACE_GROUPCOMM_CBOR, join.encode()))
    }

    /// Checks a Join Response and keeps what it gives.
    fn take_in(&mut self, answer: &Message, cnonce: &[u8]) -> Result<(), MemberError> {
        let node = answer.options.strings(option::LOCATION_PATH).unwrap_or_default();
        let node = match node.as_slice() {
            [root, _, nodes, node] if root == ROOT && nodes == NODES => node.clone(),
            _ => return Err(MemberError::Unusable("the Join Response names no node")),
        };
        let joined = joined(JoinResponse::decode(&answer.payload)?, self.settings.roles, cnonce)?;
        let name = self.settings.config.group.name.clone();
        let former = self.file.state.groups.get(&name);
        if former.is_some_and(|former| former.num > joined.num) {
            return Err(OLDER);
        }
        if former.is_some_and(|former| former.kdc_cred.0 != joined.kdc_cred) {
            tracing::warn!(group = %name, "the KDC has another credential than before");
        }
        let mut group = Group {
            num: joined.num,
            expires: self.expires(joined.exi, joined.exp),
            node,
            kdc_cred: Bytes(joined.kdc_cred),
            peers: Vec::new(),
            key: Bytes(joined.material.encode().as_bytes().to_vec()),
            spent: former.map(|former| former.spent.clone()).unwrap_or_default(),
        };
        group.set_peers(joined.peers);
        if group.is_spent() {
            return Err(SPENT);
        }
        self.file.state.groups.insert(name, group);
        self.file.save()
    }

    /// When keys end, by the member's clock; the time that is left is preferred to the KDC's date.
    fn expires(&self, exi: Option<u64>, exp: Option<u64>) -> Option<u64> {
        exi.map(|exi| self.clock.now().unix.saturating_add(exi)).or(exp)
    }

    /// Gets the keying material, and marks it as handed out. Keys that were handed out before, or that may have
    /// been used without a record of it, are handed out again only under a new Sender ID.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn keys(&mut self) -> Result<GroupOscoreInputMaterial, MemberError> {
        if self.group().ok_or(MemberError::NotAMember)?.is_spent() {
            self.join().await?;
        }
        let key = self.refresh().await?;
        let now = self.clock.now().unix;
        let group = self.group_mut()?;
        if group.is_spent() {
            return Err(SPENT);
        }
        if group.expires.is_none_or(|expires| expires <= now) {
            return Err(MemberError::Expired("keying material"));
        }
        group.spend();
        self.file.save()?;
        Ok(key)
    }

    /// Gets the keying material and installs it. The version is compared first: an older one is never installed,
    /// and with a newer one nobody is known until the credentials have been asked for.
    async fn refresh(&mut self) -> Result<GroupOscoreInputMaterial, MemberError> {
        let node = self.group().map(|group| group.node.clone()).ok_or(MemberError::NotAMember)?;
        let answer = self.ask(|member| Ok(member.get(&[NODES, &node]))).await?;
        if !answer.code.is_success() {
            return Err(refused(&answer));
        }
        let distribution = KeyDistribution::decode(&answer.payload)?;
        let key = material(&distribution)?;
        let expires = self.expires(distribution.exi, distribution.exp);
        let group = self.group_mut()?;
        if distribution.num < group.num {
            return Err(OLDER);
        }
        if distribution.num > group.num {
            group.peers.clear();
        }
        group.num = distribution.num;
        group.key = Bytes(key.encode().as_bytes().to_vec());
        group.expires = expires;
        self.file.save()?;
        Ok(key)
    }

    /// Gets the credentials of all members. They are those of one version of the keying material: an older one is
    /// refused, and before those of a newer one its keys are fetched.
    ///
    /// # Errors
    /// [`MemberError`].
    pub async fn creds(&mut self) -> Result<(), MemberError> {
        let mut num = self.group().ok_or(MemberError::NotAMember)?.num;
        for _ in 0..2 {
            let answer = self.ask(|member| Ok(member.get(&["creds"]))).await?;
            if !answer.code.is_success() {
                return Err(refused(&answer));
            }
            let creds = CredsResponse::decode(&answer.payload)?;
            let theirs = creds.as_ref().map_or(num, |creds| creds.num);
            if theirs < num {
                return Err(OLDER);
            }
            if theirs == num {
                self.group_mut()?.set_peers(creds.map(|creds| creds.peers).unwrap_or_default());
                return self.file.save();
            }
            self.refresh().await?;
            num = self.group().ok_or(MemberError::NotAMember)?.num;
        }
        Err(MemberError::Unusable("the keying material changes all the time"))
    }

    fn group_mut(&mut self) -> Result<&mut Group, MemberError> {
        self.file.state.groups.get_mut(&self.settings.config.group.name).ok_or(MemberError::NotAMember)
    }
}

const OLDER: MemberError = MemberError::Unusable("the KDC offers an older version of the keying material");

const SPENT: MemberError = MemberError::Unusable("the KDC gives a Sender ID again under the same keys");

/// Whether a proof of possession was refused.
fn invalid_proof(answer: &Message) -> bool {
    let is_problem = answer.options.content_format() == Some(PROBLEM_DETAILS_CBOR);
    let details = ProblemDetails::decode(&answer.payload).ok().filter(|_| is_problem);
    details.and_then(|details| details.error()) == Some(GroupcommError::InvalidProof)
}

/// Why the KDC refused, as far as it says so.
fn refused(answer: &Message) -> MemberError {
    let detail = ProblemDetails::decode(&answer.payload).ok().and_then(|details| details.title);
    MemberError::Refused(answer.code, detail.unwrap_or_default())
}

fn session(parameters: &Parameters, kdcchallenge: Option<Vec<u8>>) -> Session {
    Session {
        master_secret: Bytes(parameters.master_secret.clone()),
        master_salt: Bytes(parameters.master_salt.clone()),
        sender_id: Bytes(parameters.sender_id.clone()),
        recipient_id: Bytes(parameters.recipient_id.clone()),
        id_context: parameters.id_context.clone().map(Bytes),
        aead: parameters.aead.cose(),
        sha512: parameters.hkdf == Hkdf::Sha512,
        next: 0,
        kdcchallenge: kdcchallenge.map(Bytes),
    }
}

fn parameters(session: &Session) -> Result<Parameters, MemberError> {
    Ok(Parameters {
        master_secret: session.master_secret.0.clone(),
        master_salt: session.master_salt.0.clone(),
        sender_id: session.sender_id.0.clone(),
        recipient_id: session.recipient_id.0.clone(),
        id_context: session.id_context.as_ref().map(|context| context.0.clone()),
        aead: Aead::from_cose(session.aead).ok_or(MemberError::Unusable("unknown algorithm in the state"))?,
        hkdf: if session.sha512 { Hkdf::Sha512 } else { Hkdf::Sha256 },
    })
}
