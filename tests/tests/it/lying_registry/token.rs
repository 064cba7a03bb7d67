//! Registries that want a login, and whatever gives out the tokens for them.

use std::io::{self, Write};
use std::net::TcpStream;
use std::time::Duration;

use apptainer::image::{ImageError, RegistryError};
use fixtures::{Authority, EncryptedServer, Request, Server, respond};

use super::{
    LIMIT, drip, of_registry, refusal, refusal_at, refusal_with, with_layer_of_1000, without_end,
};

/// A registry that lets nobody in who has no token, which it gives out itself at `/token`.
fn with_tokens(
    answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
) -> Server {
    Server::start(move |request, stream| {
        if request.path.starts_with("/token") {
            return answer(request, stream);
        }
        let host = request.header("Host").unwrap_or_default();
        let realm = format!("WWW-Authenticate: Bearer realm=\"http://{host}/token\"\r\n");
        respond(stream, "401 Unauthorized", &realm, "")
    })
}

#[tokio::test]
async fn one_that_never_takes_the_password() {
    let server = Server::start(|_, stream| {
        let wanted = "WWW-Authenticate: Basic realm=\"tests\"\r\n";
        respond(stream, "401 Unauthorized", wanted, "")
    });
    let error = refusal_with(&server, "a:1", LIMIT, |builder| {
        builder.login(server.host(), "tester", "secret")
    });
    let error = error.await;
    assert!(error.is_unauthorized(), "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn one_that_never_takes_its_own_token() {
    let server = with_tokens(|_, stream| respond(stream, "200 OK", "", r#"{"token":"a"}"#));
    let error = refusal(&server).await;
    assert!(error.is_unauthorized(), "{error:?}");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn what_gives_out_tokens_wants_one_itself() {
    let server = with_tokens(|_, stream| {
        let realm = "WWW-Authenticate: Bearer realm=\"/token\"\r\n";
        respond(stream, "401 Unauthorized", realm, "")
    });
    let error = refusal(&server).await;
    assert!(error.is_unauthorized(), "{error:?}");
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn what_gives_out_tokens_leads_to_itself() {
    let server = with_tokens(|request, stream| {
        let location = format!("Location: {}\r\n", request.path);
        respond(stream, "302 Found", &location, "")
    });
    let error = refusal(&server).await;
    assert!(error.is_unreachable() && !error.may_pass(), "{error:?}");
    assert!(error.to_string().contains("redirects more than"), "{error}");
    assert!(server.requests().len() < 15);
}

#[tokio::test]
async fn a_token_without_end() {
    let server = with_tokens(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"token\":\"")?;
        without_end(stream, b"a")
    });
    let error = refusal(&server).await;
    let is_it = matches!(
        error,
        RegistryError::TooLarge {
            what: "a token",
            ..
        }
    );
    assert!(is_it, "{error:?}");
}

#[tokio::test]
async fn where_it_redirects_to_wants_the_password_sent_elsewhere() {
    let thief = Server::start(|_, stream| respond(stream, "200 OK", "", r#"{"token":"a"}"#));
    let realm = format!(
        "WWW-Authenticate: Bearer realm=\"http://{}/token\"\r\n",
        thief.host()
    );
    let elsewhere = Server::start(move |_, stream| respond(stream, "401 Unauthorized", &realm, ""));
    let location = format!("Location: http://{}/blob\r\n", elsewhere.host());
    let server = with_layer_of_1000(move |_, stream| {
        respond(stream, "307 Temporary Redirect", &location, "")
    });
    let error = refusal_with(&server, "a:1", LIMIT, |builder| {
        builder.login(server.host(), "tester", "secret")
    });
    let error = error.await;
    assert!(error.is_unauthorized(), "{error:?}");
    assert!(!elsewhere.requests().is_empty());
    assert_eq!(thief.requests().len(), 0);
}

#[tokio::test]
async fn a_token_that_drips() {
    let server = with_tokens(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        drip(stream)
    });
    let limit = Duration::from_secs(2);
    let error = refusal_with(&server, "a:1", limit, |builder| builder).await;
    assert!(matches!(error, ImageError::TimedOut { .. }), "{error:?}");
}

#[tokio::test]
async fn a_token_that_is_none() {
    for text in ["", "<html>", "{}", r#"{"token":7}"#, r#"{"token":"secret""#] {
        let server = with_tokens(move |_, stream| respond(stream, "200 OK", "", text));
        let error = refusal(&server).await;
        assert!(
            matches!(error, RegistryError::Malformed { .. }),
            "{error:?}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_token_that_no_header_can_hold() {
    let server =
        with_tokens(|_, stream| respond(stream, "200 OK", "", r#"{"token":"a\r\nX-Evil: b"}"#));
    let error = refusal(&server).await;
    assert!(error.is_unauthorized(), "{error:?}");
    let requests = server.requests();
    let is_evil = |request: &Request| request.header("X-Evil").is_some();
    assert!(!requests.iter().any(is_evil), "{requests:?}");
}

#[tokio::test]
async fn there_is_nothing_where_tokens_are_said_to_be_given_out() {
    let server = with_tokens(|_, stream| respond(stream, "404 Not Found", "", ""));
    let error = refusal(&server).await;
    assert!(!error.is_not_found(), "the image may well be there");
}

#[tokio::test]
async fn a_challenge_that_makes_no_sense() {
    let long = format!("Bearer realm=\"{}", "a".repeat(100_000));
    let malformed = [
        "Bearer realm=\"nowhere\"",
        "Bearer",
        "bearer realm=\"file:///x\"",
    ];
    for challenge in malformed {
        let error = refusal(&with_challenge(challenge)).await;
        let is_it = matches!(error, RegistryError::Malformed { .. });
        assert!(is_it || error.is_unreachable(), "{challenge}: {error:?}");
    }
    for challenge in ["", ",,,=", "Negotiate", long.as_str()] {
        let error = refusal(&with_challenge(challenge)).await;
        assert!(error.is_unauthorized(), "{challenge:.50}: {error:?}");
    }
    let long = format!("Bearer realm=\"{}\"", "a".repeat(100_000));
    let error = refusal(&with_challenge(&long)).await;
    assert!(
        matches!(error, RegistryError::Malformed { .. }),
        "{error:?}"
    );
}

fn with_challenge(challenge: &str) -> Server {
    let challenge = format!("WWW-Authenticate: {challenge}\r\n");
    Server::start(move |_, stream| respond(stream, "401 Unauthorized", &challenge, ""))
}

#[tokio::test]
async fn a_realm_without_encryption_of_a_registry_with_it() {
    let authority = Authority::new();
    let plain = Server::start(|_, stream| respond(stream, "200 OK", "", r#"{"token":"a"}"#));
    let realm = format!("http://{}/token", plain.host());
    let answer =
        format!("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\n\r\n");
    let server = EncryptedServer::start(&authority, &[("v2/a/manifests/1", &answer)]);
    let reference = format!("docker://{}/a:1", server.host());
    let error = refusal_at(&reference, LIMIT, |builder| {
        builder
            .certificate_authority(authority.certificate())
            .login(server.host(), "tester", "secret")
    });
    let error = of_registry(error.await);
    assert!(
        matches!(&error, RegistryError::Insecure { realm: told, .. } if *told == realm),
        "{error:?}"
    );
    assert_eq!(plain.requests().len(), 0);
}
