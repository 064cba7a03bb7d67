//! Requests and answers.

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::AgentServerError;
use super::wire::Failure;
use crate::api_key::ApiKey;

/// How long it may take until there is a connection.
const CONNECTING: Duration = Duration::from_secs(10);

/// Servers close connections that are idle for 5 seconds.
const IDLE: Duration = Duration::from_secs(4);

/// How long is waited before what can be asked again is.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// How much of what a server says of a failure is shown, in bytes.
const SHOWN_OF_FAILURE: usize = 2000;

/// How much of it is read.
const READ_OF_FAILURE: usize = 64 * 1024;

/// A server, as it is asked.
#[derive(Debug, Clone)]
pub(super) struct Http {
    client: Client,
    url: Url,
    key: Option<ApiKey>,
    /// How long an answer may take.
    limit: Duration,
}

impl Http {
    pub(super) fn new(
        url: &str,
        key: Option<ApiKey>,
        limit: Duration,
    ) -> Result<Self, AgentServerError> {
        let wrong = |reason: String| AgentServerError::Input {
            doing: "connect to an agent server",
            reason,
        };
        if !key.as_ref().is_none_or(ApiKey::fits_header) {
            return Err(wrong(
                "its key is empty, or has other characters than visible ones of ASCII".to_owned(),
            ));
        }
        let mut url = Url::parse(url).map_err(|error| wrong(format!("{url:?}: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(wrong(format!("{url}: begin with http:// or https://")));
        }
        // What is joined to it is below it.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let mut builder = Client::builder()
            .user_agent(concat!("apptainer-rs/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECTING)
            .pool_idle_timeout(IDLE)
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| wrong(chain(&error)))?;
        Ok(Self {
            client,
            url,
            key,
            limit,
        })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    pub(super) fn key(&self) -> Option<&ApiKey> {
        self.key.as_ref()
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The same with another key.
    pub(super) fn with_key(&self, key: ApiKey) -> Self {
        Self {
            key: Some(key),
            ..self.clone()
        }
    }

    /// A request of a path below the URL.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let url = self.url.join(path).expect("paths of ours are plain");
        let request = self.client.request(method, url);
        match &self.key {
            Some(key) => request.header(ApiKey::HEADER, key.text()),
            None => request,
        }
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder {
        self.request(Method::POST, path)
    }

    /// What a request is answered with, as JSON.
    ///
    /// A `GET` is sent again where it was not answered, and anything else where there was nobody to
    /// send it to.
    pub(super) async fn json<T: DeserializeOwned>(
        &self,
        doing: &'static str,
        request: RequestBuilder,
    ) -> Result<T, AgentServerError> {
        let answer = self.bytes(doing, request).await?;
        serde_json::from_slice(&answer).map_err(|error| AgentServerError::Answer {
            doing,
            reason: error.to_string(),
        })
    }

    /// The same, whatever it is.
    pub(super) async fn bytes(
        &self,
        doing: &'static str,
        request: RequestBuilder,
    ) -> Result<Bytes, AgentServerError> {
        self.patiently(request, |request| async {
            let whole = async {
                let response = self.send(doing, request).await?;
                response
                    .bytes()
                    .await
                    .map_err(|error| self.failed(doing, &error))
            };
            self.in_time(doing, whole).await
        })
        .await
    }

    /// The answer's beginning.
    pub(super) async fn response(
        &self,
        doing: &'static str,
        request: RequestBuilder,
    ) -> Result<Response, AgentServerError> {
        self.patiently(request, |request| {
            self.in_time(doing, self.send(doing, request))
        })
        .await
    }

    async fn patiently<T, F>(
        &self,
        request: RequestBuilder,
        send: impl Fn(RequestBuilder) -> F,
    ) -> Result<T, AgentServerError>
    where
        F: Future<Output = Result<T, AgentServerError>>,
    {
        for pause in PAUSES {
            let Some(copy) = request.try_clone() else {
                break;
            };
            let is_get = copy
                .try_clone()
                .and_then(|copy| copy.build().ok())
                .is_some_and(|request| request.method() == Method::GET);
            match send(copy).await {
                Err(error) if may_be_repeated(&error, is_get) => {
                    tracing::debug!(%error, "an agent server is asked again");
                    tokio::time::sleep(pause).await;
                }
                result => return result,
            }
        }
        send(request).await
    }

    /// Sends it once, and says what is wrong where it is refused. It may take as long as it likes.
    pub(super) async fn send(
        &self,
        doing: &'static str,
        request: RequestBuilder,
    ) -> Result<Response, AgentServerError> {
        let sent = request.send().await;
        let response = sent.map_err(|error| self.failed(doing, &error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        if status == StatusCode::UNAUTHORIZED {
            return Err(AgentServerError::Unauthorized { doing });
        }
        Err(AgentServerError::Status {
            doing,
            status: status.as_u16(),
            detail: detail(response).await,
        })
    }

    /// Gives up when it takes too long.
    pub(super) async fn in_time<T>(
        &self,
        doing: &'static str,
        work: impl Future<Output = Result<T, AgentServerError>>,
    ) -> Result<T, AgentServerError> {
        let limit = self.limit;
        let in_time = tokio::time::timeout(limit, work).await;
        in_time.unwrap_or(Err(AgentServerError::TimedOut { doing, limit }))
    }

    pub(super) fn failed(&self, doing: &'static str, error: &reqwest::Error) -> AgentServerError {
        let reason = chain(error);
        if error.is_connect() {
            return AgentServerError::Connect {
                doing,
                url: self.url.to_string(),
                reason,
            };
        }
        if error.is_builder() {
            return AgentServerError::Input { doing, reason };
        }
        AgentServerError::Lost { doing, reason }
    }
}

fn may_be_repeated(error: &AgentServerError, is_get: bool) -> bool {
    match error {
        AgentServerError::Connect { .. } => true,
        AgentServerError::Lost { .. } => is_get,
        AgentServerError::Status { status, .. } => is_get && matches!(status, 502..=504),
        _ => false,
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What a server says of a failure: its detail, or the text that it is.
async fn detail(mut response: Response) -> String {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await
        && body.len() < READ_OF_FAILURE
    {
        body.extend_from_slice(&chunk);
    }
    let text = match serde_json::from_slice(&body) {
        Ok(Failure {
            detail: serde_json::Value::String(text),
        }) => text,
        Ok(Failure { detail }) => detail.to_string(),
        Err(_) => String::from_utf8_lossy(&body).trim().to_owned(),
    };
    let end = (0..=SHOWN_OF_FAILURE.min(text.len())).rev();
    let end = end.into_iter().find(|end| text.is_char_boundary(*end));
    text[..end.unwrap_or(0)].to_owned()
}

/// An error with all that led to it.
fn chain(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut next = error.source();
    while let Some(source) = next {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&source.to_string());
        next = source.source();
    }
    if text.is_empty() {
        text = error.to_string();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked_and_the_loopback_is_known() {
        let http = |url: &str| Http::new(url, None, Duration::from_secs(1));
        for (url, is_own) in [
            ("http://127.0.0.1:8000", true),
            ("http://localhost:1/", true),
            ("http://[::1]:1", true),
            ("https://example.org/prefix", false),
            ("http://127.0.0.1.example.org", false),
        ] {
            assert_eq!(is_loopback(http(url).unwrap().url()), is_own, "{url}");
        }
        let below = http("https://example.org/prefix").unwrap();
        let request = below.get("api/tools/").build().unwrap();
        assert_eq!(request.url().path(), "/prefix/api/tools/");
        for url in ["", "127.0.0.1:8000", "ftp://example.org", "unix:/socket"] {
            let error = http(url).unwrap_err();
            assert!(matches!(error, AgentServerError::Input { .. }), "{error}");
        }
        let key = Some(ApiKey::new("a\nb"));
        assert!(Http::new("http://a", key, Duration::ZERO).is_err());
    }
}
