//! Being let in.
//!
//! Source: the distribution project's `token` authentication specification, and for identity
//! tokens its `oauth2` one.

use http_auth::{ChallengeParser, ChallengeRef};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder, Url};
use serde::Deserialize;

use super::RegistryError;
use super::credentials::{Credential, Secret};
use super::error::short;
use super::http::{body, failure, transport};

/// What a request is let in by.
#[derive(Debug, Clone)]
pub(super) enum Authorization {
    Basic { username: String, password: Secret },
    Bearer(Secret),
}

/// How much of a token's answer is read, in bytes.
const LARGEST_TOKEN: usize = 256 * 1024;

impl Authorization {
    pub(super) fn apply(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Basic { username, password } => {
                request.basic_auth(username, Some(password.expose()))
            }
            Self::Bearer(token) => {
                let value = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
                match value {
                    Ok(mut value) => {
                        value.set_sensitive(true);
                        request.header(AUTHORIZATION, value)
                    }
                    // A token with line breaks is none: it is refused without.
                    Err(_) => request,
                }
            }
        }
    }
}

/// What a server wants.
enum Wanted {
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

/// Where something is asked for.
pub(super) struct Asked<'a> {
    pub(super) http: &'a Client,
    pub(super) host: &'a str,
    pub(super) repository: &'a str,
    pub(super) is_encrypted: bool,
}

impl Asked<'_> {
    /// What a server lets in that refused with these headers; `None` where there is nothing.
    pub(super) async fn authorize(
        &self,
        refusal: &HeaderMap,
        credential: Credential,
    ) -> Result<Option<Authorization>, RegistryError> {
        if let Credential::RegistryToken(token) = credential {
            return Ok(Some(Authorization::Bearer(token)));
        }
        match (self.wanted(refusal)?, credential) {
            (Some(Wanted::Basic), Credential::Basic { username, password }) => {
                Ok(Some(Authorization::Basic { username, password }))
            }
            (Some(Wanted::Bearer { realm, service }), credential) => {
                let token = self.token(realm, service, credential).await?;
                Ok(Some(Authorization::Bearer(token)))
            }
            _ => Ok(None),
        }
    }

    fn wanted(&self, refusal: &HeaderMap) -> Result<Option<Wanted>, RegistryError> {
        let mut is_basic = false;
        for value in refusal.get_all(WWW_AUTHENTICATE) {
            let Ok(text) = value.to_str() else { continue };
            for challenge in ChallengeParser::new(text).map_while(Result::ok) {
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    is_basic = true;
                } else if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    return self.bearer(&challenge).map(Some);
                }
            }
        }
        Ok(is_basic.then_some(Wanted::Basic))
    }

    fn bearer(&self, challenge: &ChallengeRef<'_>) -> Result<Wanted, RegistryError> {
        let parameter = |wanted: &str| {
            let mut all = challenge.params.iter();
            let found = all.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.to_unescaped())
        };
        let realm = parameter("realm").unwrap_or_default();
        let url = Url::parse(&realm).map_err(|error| RegistryError::Malformed {
            what: "where a registry wants a login",
            reason: format!("{:?} is no URL: {error}", short(&realm)),
        })?;
        if self.is_encrypted && url.scheme() != "https" {
            return Err(RegistryError::Insecure {
                host: self.host.to_owned(),
                realm,
            });
        }
        Ok(Wanted::Bearer {
            realm: url,
            service: parameter("service"),
        })
    }

    async fn token(
        &self,
        realm: Url,
        service: Option<String>,
        credential: Credential,
    ) -> Result<Secret, RegistryError> {
        #[derive(Deserialize)]
        struct Answer {
            token: Option<String>,
            access_token: Option<String>,
        }
        let host = realm.host_str().unwrap_or(self.host).to_owned();
        let scope = format!("repository:{}:pull", self.repository);
        let mut parameters = vec![("scope", scope.as_str())];
        parameters.extend(service.as_deref().map(|service| ("service", service)));
        let request = match &credential {
            Credential::IdentityToken(token) => {
                parameters.push(("grant_type", "refresh_token"));
                parameters.push(("client_id", "apptainer-rs"));
                parameters.push(("refresh_token", token.expose()));
                // A form is written like a query.
                let form = with_query(realm.clone(), &parameters);
                let form = form.query().unwrap_or_default().to_owned();
                let kind = "application/x-www-form-urlencoded";
                let request = self.http.post(realm).body(form);
                request.header(CONTENT_TYPE, kind)
            }
            Credential::Basic { username, password } => self
                .http
                .get(with_query(realm, &parameters))
                .basic_auth(username, Some(password.expose())),
            _ => self.http.get(with_query(realm, &parameters)),
        };
        let response = request.send().await;
        let response = response.map_err(|error| transport(&host, &error))?;
        if !response.status().is_success() {
            return Err(match failure(&host, response).await {
                // Of the image that says nothing.
                RegistryError::NotFound { host, message } => RegistryError::Status {
                    host,
                    status: 404,
                    message,
                },
                other => other,
            });
        }
        let bytes = body(&host, "a token", response, LARGEST_TOKEN).await?;
        // What is wrong with it is not told: a secret may stand in it.
        let malformed = || RegistryError::Malformed {
            what: "a registry's token",
            reason: "it is not what such an answer looks like".into(),
        };
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| malformed())?;
        let token = answer.token.or(answer.access_token);
        token.map(Secret::from).ok_or_else(malformed)
    }
}

fn with_query(mut url: Url, parameters: &[(&str, &str)]) -> Url {
    url.query_pairs_mut().extend_pairs(parameters);
    url
}
