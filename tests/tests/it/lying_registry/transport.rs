//! Connections that lead elsewhere, never end, or take for ever.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use apptainer::image::{ImageError, RegistryError};
use fixtures::{Authority, EncryptedServer, Server, respond};

use super::{
    LIMIT, MEMORY, drip, of_registry, refusal, refusal_at, refusal_with, with_layer_of_1000,
    without_end,
};

/// It cannot be reached, for good.
fn assert_refused(error: &RegistryError, reason: &str) {
    assert!(error.is_unreachable(), "{error:?}");
    assert!(error.to_string().contains(reason), "{error}");
}

#[tokio::test]
async fn redirects_without_end() {
    let server = Server::start(|request, stream| {
        let location = format!("Location: {}x\r\n", request.path);
        respond(stream, "307 Temporary Redirect", &location, "")
    });
    let error = refusal(&server).await;
    assert_refused(&error, "redirects more than 10 times");
    assert!(!error.may_pass());
    assert_eq!(server.requests().len(), 11);
}

#[tokio::test]
async fn a_redirect_from_what_is_encrypted_to_what_is_not() {
    let authority = Authority::new();
    let plain = Server::start(|_, stream| respond(stream, "200 OK", "", "{}"));
    let location = format!("http://{}/", plain.host());
    let answer = format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {location}\r\n\r\n");
    let server = EncryptedServer::start(&authority, &[("v2/a/manifests/1", &answer)]);
    let reference = format!("docker://{}/a:1", server.host());
    let error = refusal_at(&reference, LIMIT, |builder| {
        builder.certificate_authority(authority.certificate())
    });
    let error = of_registry(error.await);
    assert_refused(&error, "redirects to where nothing is encrypted");
    assert!(!error.may_pass());
    assert_eq!(plain.requests().len(), 0);
}

#[tokio::test]
async fn a_layer_that_is_redirected_does_not_take_the_password_along() {
    let other = Server::start(|_, stream| respond(stream, "404 Not Found", "", ""));
    let location = format!("Location: http://{}/layer\r\n", other.host());
    let server = with_layer_of_1000(move |request, stream| {
        if request.header("Authorization").is_none() {
            let wanted = "WWW-Authenticate: Basic realm=\"tests\"\r\n";
            return respond(stream, "401 Unauthorized", wanted, "");
        }
        respond(stream, "307 Temporary Redirect", &location, "")
    });
    let error = refusal_with(&server, "a:1", LIMIT, |builder| {
        builder.login(server.host(), "tester", "secret")
    });
    assert!(error.await.is_not_found());
    let [request] = other.requests().try_into().unwrap();
    assert_eq!(request.path, "/layer");
    assert_eq!(request.header("Authorization"), None);
}

/// A server that writes the same until nobody reads it any more, or 10 GB of it; and how much
/// that was.
fn endless(beginning: &'static str, piece: &'static str) -> (Server, Arc<AtomicU64>) {
    const MOST: u64 = 10_000_000_000;
    let written = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&written);
    let server = Server::start(move |_, stream| {
        stream.write_all(beginning.as_bytes())?;
        let many = piece.repeat(64 * 1024 / piece.len());
        while counter.load(Ordering::SeqCst) < MOST {
            stream.write_all(many.as_bytes())?;
            counter.fetch_add(many.len() as u64, Ordering::SeqCst);
        }
        Ok(())
    });
    (server, written)
}

#[tokio::test]
async fn a_header_of_ten_gigabytes() {
    let (server, written) = endless("HTTP/1.1 200 OK\r\nX-Long: ", "aaaaaaaa");
    let error = refusal(&server).await;
    assert_refused(&error, "message head is too large");
    assert!(written.load(Ordering::SeqCst) < MEMORY);
}

#[tokio::test]
async fn headers_without_end() {
    let (server, written) = endless("HTTP/1.1 200 OK\r\n", "X-More: headers\r\n");
    let error = refusal(&server).await;
    assert_refused(&error, "message head is too large");
    assert!(written.load(Ordering::SeqCst) < MEMORY);
}

#[tokio::test]
async fn a_status_line_without_end() {
    let (server, written) = endless("HTTP/1.1 200 ", "aaaaaaaa");
    let error = refusal(&server).await;
    assert!(error.is_unreachable(), "{error:?}");
    assert!(written.load(Ordering::SeqCst) < MEMORY);
}

#[tokio::test]
async fn answers_for_now_without_end() {
    let (server, written) = endless("", "HTTP/1.1 100 Continue\r\n\r\n");
    let limit = Duration::from_secs(2);
    let error = refusal_with(&server, "a:1", limit, |builder| builder).await;
    assert!(matches!(error, ImageError::TimedOut { .. }), "{error:?}");
    // The connection ends with the question.
    let mut before = u64::MAX;
    while before != written.load(Ordering::SeqCst) {
        before = written.load(Ordering::SeqCst);
        println!("{before}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
async fn what_is_not_http() {
    let (server, written) = endless("SSH-2.0-OpenSSH_9.0\r\n", "aaaaaaaa");
    let error = refusal(&server).await;
    assert!(error.is_unreachable(), "{error:?}");
    assert!(written.load(Ordering::SeqCst) < MEMORY);
}

#[tokio::test]
async fn a_failure_without_end() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        without_end(stream, b"long \x1b[31m")
    });
    let error = refusal(&server).await;
    assert!(
        matches!(&error, RegistryError::Status { status: 400, message, .. } if message.len() <= 500),
        "{error:?}"
    );
}

/// It is given up because it is slow.
async fn assert_given_up(server: Server) {
    let limit = Duration::from_secs(2);
    let error = refusal_with(&server, "a:1", limit, |builder| builder).await;
    assert!(
        matches!(error, ImageError::TimedOut { limit: told, .. } if told == limit),
        "{error:?}"
    );
    assert!(error.to_string().contains("longer than 2s"), "{error}");
}

#[tokio::test]
async fn headers_that_drip() {
    assert_given_up(Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nX-Long: ")?;
        drip(stream)
    }))
    .await;
}

#[tokio::test]
async fn a_manifest_that_drips() {
    assert_given_up(Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        drip(stream)
    }))
    .await;
}

#[tokio::test]
async fn a_failure_that_drips() {
    assert_given_up(Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n")?;
        drip(stream)
    }))
    .await;
}

#[tokio::test]
async fn a_layer_that_drips() {
    assert_given_up(with_layer_of_1000(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")?;
        drip(stream)
    }))
    .await;
}
