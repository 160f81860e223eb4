//! Exchanging codes and refresh tokens (RFC 6749, 4.1.3 and 6), by the crate `oauth2`.
//!
//! The crate writes the requests; this adapter sends them, and reads the answer strictly before the crate does.

use std::borrow::Cow;
use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::http::header::{CONTENT_TYPE, HeaderValue};
use oauth2::{
    AuthType, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, ExtraTokenFields, HttpRequest,
    HttpResponse, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenResponse, TokenUrl,
};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::answers::json;
use super::providers::ClientProof;
use super::{Begin, Finish, ProviderFault};
use crate::platform::outgoing::{Answer, Bounds, Outgoing};

/// The longest token that is kept, in bytes.
const LONGEST: usize = 32 * 1024;
/// Longer than tokens live: what is beyond is no time.
const LONGEST_LIFE: u64 = 10 * 366 * 86400;

/// What this server is at a provider.
#[derive(Clone)]
pub struct Credentials {
    /// The client's id.
    pub id: String,
    /// Its secret.
    pub secret: SecretString,
}

/// What a token endpoint gives.
pub struct Tokens {
    /// What opens.
    pub access_token: SecretString,
    /// What gets the next.
    pub refresh_token: Option<SecretString>,
    /// How long it opens.
    pub lasts: Option<Duration>,
    /// Who somebody is.
    pub id_token: Option<SecretString>,
}

#[derive(Deserialize, Serialize)]
struct Extra {
    id_token: Option<String>,
}

impl ExtraTokenFields for Extra {}

impl std::fmt::Debug for Extra {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Extra(…)")
    }
}

type Response = StandardTokenResponse<Extra, BasicTokenType>;
type Client = oauth2::Client<
    BasicErrorResponse,
    Response,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
>;

/// Where somebody goes to sign in: with PKCE (RFC 7636) and what the provider asks for besides.
pub fn authorization_url(
    credentials: &Credentials,
    endpoint: Url,
    scopes: &str,
    parameters: &[(&'static str, &'static str)],
    begin: &Begin<'_>,
) -> Result<Url, ProviderFault> {
    let client = Client::new(ClientId::new(credentials.id.clone())).set_auth_uri(AuthUrl::from_url(endpoint));
    let mut request = client
        .authorize_url(|| CsrfToken::new(begin.state.to_owned()))
        .set_redirect_uri(Cow::Owned(redirect_uri(begin.redirect_uri)?))
        .add_scopes(scopes.split_whitespace().map(|scope| Scope::new(scope.to_owned())))
        .add_extra_param("code_challenge", begin.challenge)
        .add_extra_param("code_challenge_method", "S256");
    for (name, value) in parameters {
        request = request.add_extra_param(*name, *value);
    }
    Ok(request.url().0)
}

/// A token endpoint.
pub struct TokenEndpoint<'a> {
    /// What asks.
    pub outgoing: &'a Outgoing,
    /// Who asks.
    pub credentials: &'a Credentials,
    /// Where it is.
    pub url: Url,
    /// How the client proves itself.
    pub proof: ClientProof,
}

impl TokenEndpoint<'_> {
    /// The tokens for the code that somebody came back with.
    pub async fn exchange(self, finish: &Finish<'_>) -> Result<Tokens, ProviderFault> {
        let outgoing = self.outgoing.clone();
        let client = self.client();
        let request = client
            .exchange_code(AuthorizationCode::new(finish.code.to_owned()))
            .set_redirect_uri(Cow::Owned(redirect_uri(finish.redirect_uri)?))
            .set_pkce_verifier(PkceCodeVerifier::new(finish.verifier.expose_secret().to_owned()));
        let answer = request.request_async(&move |request| hand_over(outgoing.clone(), request)).await;
        read(answer)
    }

    /// The tokens that come after these.
    pub async fn refresh(self, token: &SecretString) -> Result<Tokens, ProviderFault> {
        let outgoing = self.outgoing.clone();
        let client = self.client();
        let token = RefreshToken::new(token.expose_secret().to_owned());
        let answer = client
            .exchange_refresh_token(&token)
            .request_async(&move |request| hand_over(outgoing.clone(), request))
            .await;
        read(answer)
    }

    fn client(
        self,
    ) -> oauth2::Client<
        BasicErrorResponse,
        Response,
        BasicTokenIntrospectionResponse,
        StandardRevocableToken,
        BasicRevocationErrorResponse,
        oauth2::EndpointNotSet,
        oauth2::EndpointNotSet,
        oauth2::EndpointNotSet,
        oauth2::EndpointNotSet,
        oauth2::EndpointSet,
    > {
        Client::new(ClientId::new(self.credentials.id.clone()))
            .set_client_secret(ClientSecret::new(self.credentials.secret.expose_secret().to_owned()))
            .set_auth_type(match self.proof {
                ClientProof::Basic => AuthType::BasicAuth,
                ClientProof::Form => AuthType::RequestBody,
            })
            .set_token_uri(TokenUrl::from_url(self.url))
    }
}

fn redirect_uri(text: &str) -> Result<RedirectUrl, ProviderFault> {
    RedirectUrl::new(text.to_owned()).map_err(|_| ProviderFault::Odd("a redirect address that is none"))
}

type Fault = RequestTokenError<ProviderFault, BasicErrorResponse>;

fn read(answer: Result<Response, Fault>) -> Result<Tokens, ProviderFault> {
    let answer = answer.map_err(|fault| match fault {
        RequestTokenError::Request(fault) => fault,
        RequestTokenError::ServerResponse(_) => ProviderFault::Refused,
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => ProviderFault::Odd("a token answer"),
    })?;
    if *answer.token_type() != BasicTokenType::Bearer {
        return Err(ProviderFault::Odd("a token of another type"));
    }
    let secret = |text: &String| SecretString::from(text.as_str());
    Ok(Tokens {
        access_token: secret(answer.access_token().secret()),
        refresh_token: answer.refresh_token().map(|token| secret(token.secret())),
        lasts: answer.expires_in(),
        id_token: answer.extra_fields().id_token.as_ref().map(secret),
    })
}

/// Sends what the crate wrote, and gives it what can be relied on of the answer. Borrows nothing: the crate's future could
/// not be sent between threads then.
async fn hand_over(outgoing: Outgoing, request: HttpRequest) -> Result<HttpResponse, ProviderFault> {
    let request = request.try_into().map_err(|_| ProviderFault::Odd("a token address"))?;
    let answer = outgoing.ask(request, Bounds::DOCUMENT).await?;
    let relied_on = Value::Object(reliable(&answer)?);
    let mut response = HttpResponse::new(relied_on.to_string().into_bytes());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The members that are used, each of its type. Providers write others in ways of their own (Twitch a list of scopes),
/// and some tell of an error with 200 (GitHub).
pub fn reliable(answer: &Answer) -> Result<Map<String, Value>, ProviderFault> {
    match answer.status.as_u16() {
        200 | 201 | 400..=407 => {}
        status => {
            super::answers::check_status(answer.status)?;
            return Err(if status < 300 {
                ProviderFault::Odd("an unexpected status")
            } else {
                ProviderFault::Refused
            });
        }
    }
    let told = json(answer)?;
    if let Some(error) = told["error"].as_str() {
        // The client's own fault: an operator has to know.
        let ours = matches!(error, "invalid_client" | "unauthorized_client" | "incorrect_client_credentials");
        return Err(if ours {
            ProviderFault::Odd("it does not know the client")
        } else {
            ProviderFault::Refused
        });
    }
    if !answer.status.is_success() {
        return Err(ProviderFault::Refused);
    }
    let mut relied_on = Map::new();
    for name in ["access_token", "token_type", "refresh_token", "id_token", "sub"] {
        match &told[name] {
            Value::Null => {}
            Value::String(text) if is_token(text) => {
                drop(relied_on.insert(name.to_owned(), told[name].clone()));
            }
            _ => return Err(ProviderFault::Odd("a token answer")),
        }
    }
    if !(relied_on.contains_key("access_token") && relied_on.contains_key("token_type")) {
        return Err(ProviderFault::Odd("a token answer"));
    }
    if let Some(seconds) = told["expires_in"].as_u64().filter(|seconds| *seconds <= LONGEST_LIFE) {
        relied_on.insert("expires_in".to_owned(), seconds.into());
    }
    Ok(relied_on)
}

/// The error that an answer tells of.
pub fn told_error(answer: &Answer) -> Option<String> {
    json(answer).ok()?["error"].as_str().map(str::to_owned)
}

/// What fits into a header (RFC 6749, A.12).
fn is_token(text: &str) -> bool {
    (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}
