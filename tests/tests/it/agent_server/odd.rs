//! What calls itself an agent server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use apptainer::agent_server::{AgentServer, AgentServerError};
use fixtures::{Request, Server, respond};

const ID: &str = "00112233445566778899aabbccddeeff";

/// One of this version that runs one line, which ends when it is asked for the third time, and has no
/// sockets.
fn server(version: &'static str) -> Server {
    let asked = Arc::new(AtomicUsize::new(0));
    Server::start(move |request: &Request, stream| {
        let path = request.path.split('?').next().unwrap();
        let output = |order: usize, rest: &str| {
            format!(
                r#"{{"kind":"BashOutput","id":"{order}","timestamp":"2026-01-01T00:00:00Z","command_id":"{ID}","order":{order},{rest}}}"#
            )
        };
        let body = match path {
            "/server_info" => format!(r#"{{"version":"{version}"}}"#),
            "/api/tools/" => "[]".to_owned(),
            "/api/bash/start_bash_command" => format!(
                r#"{{"kind":"BashCommand","id":"{ID}","timestamp":"2026-01-01T00:00:00Z","command":"","cwd":null,"timeout":1}}"#
            ),
            "/api/bash/bash_events/search" => {
                let first = output(0, r#""exit_code":null,"stdout":"a","stderr":null"#);
                let last = output(1, r#""exit_code":4,"stdout":"b","stderr":"c""#);
                let (items, next) = if request.path.contains("page_id=two") {
                    (last, "null")
                } else {
                    match asked.fetch_add(1, Ordering::SeqCst) {
                        0 => (String::new(), "null"),
                        1 => (first, "null"),
                        _ => (first, r#""two""#),
                    }
                };
                format!(r#"{{"items":[{items}],"next_page_id":{next}}}"#)
            }
            _ => return respond(stream, "404 Not Found", "", r#"{"detail":"no such thing"}"#),
        };
        respond(stream, "200 OK", "", body)
    })
}

async fn connect(server: &Server) -> Result<AgentServer, AgentServerError> {
    AgentServer::connect(format!("http://{}", server.host())).await
}

#[tokio::test]
async fn one_without_sockets_is_asked() {
    let server = server("1.43.1");
    let client = connect(&server).await.unwrap();
    let result = client.execute("a line").await.unwrap();
    assert_eq!(result.exit_code, 4);
    assert_eq!(result.stdout.as_ref(), b"ab");
    assert_eq!(result.stderr.as_ref(), b"c");
}

#[tokio::test]
async fn an_old_one_that_cannot_stop_a_line_answers_in_time() {
    let server = Server::start(|request, stream| match request.path.as_str() {
        "/server_info" => respond(stream, "200 OK", "", r#"{"version":"1.50.0"}"#),
        "/api/tools/" => respond(stream, "200 OK", "", "[]"),
        "/api/bash/start_bash_command" => respond(
            stream,
            "200 OK",
            "",
            format!(
                r#"{{"kind":"BashCommand","id":"{ID}","timestamp":"","command":"","cwd":null,"timeout":1}}"#
            ),
        ),
        path if path.contains("search") => {
            respond(stream, "200 OK", "", r#"{"items":[],"next_page_id":null}"#)
        }
        _ => respond(stream, "404 Not Found", "", ""),
    });
    let client = connect(&server).await.unwrap();
    let limit = Duration::from_millis(50);
    let result = client.execute("a line").timeout(limit).await.unwrap();
    assert_eq!((result.exit_code, result.timed_out), (-1, true));
    let running = client.execute("a line").start().await.unwrap();
    let error = running.stop().await.unwrap_err();
    assert!(error.to_string().contains("1.58"), "{error}");
    let requests = server.requests();
    assert!(!requests.iter().any(|request| request.path.contains("stop")));
}

#[tokio::test]
async fn versions_that_are_not_understood_are_refused() {
    let error = connect(&server("1.42.9")).await.unwrap_err();
    assert!(
        matches!(error, AgentServerError::UnsupportedVersion { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("1.42.9"), "{error}");
    let newer = connect(&server("1.59.0")).await.unwrap();
    assert!(newer.version().is_newer_than_known());
    let error = connect(&server("unknown")).await.unwrap_err();
    assert!(matches!(error, AgentServerError::Answer { .. }), "{error}");
}

#[tokio::test]
async fn what_only_reads_is_asked_again_and_what_may_have_begun_is_not() {
    let failures = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&failures);
    let server = Server::start(move |request, stream| match request.path.as_str() {
        "/server_info" if counted.fetch_add(1, Ordering::SeqCst) == 0 => Ok(()),
        "/server_info" => respond(stream, "200 OK", "", r#"{"version":"1.58.2"}"#),
        "/api/tools/" => respond(stream, "200 OK", "", "[]"),
        // Closes without a word.
        "/api/bash/start_bash_command" => Ok(()),
        _ => respond(stream, "404 Not Found", "", "not JSON"),
    });
    let client = connect(&server).await.unwrap();
    assert_eq!(failures.load(Ordering::SeqCst), 2);
    let error = client.execute("a line").await.unwrap_err();
    assert!(matches!(error, AgentServerError::Lost { .. }), "{error}");
    let requests = server.requests();
    let starts = requests.iter().filter(|r| r.path.contains("start_bash"));
    assert_eq!(starts.count(), 1);
    let error = client.read("x").await.unwrap_err();
    let is_told = matches!(&error, AgentServerError::Status { status: 404, detail, .. } if detail == "not JSON");
    assert!(is_told, "{error}");
}

#[tokio::test]
async fn silence_has_an_end_and_a_cut_answer_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|request, stream| match request.path.as_str() {
        "/server_info" => respond(stream, "200 OK", "", r#"{"version":"1.58.2"}"#),
        "/api/tools/" => respond(stream, "200 OK", "", "[]"),
        path if path.starts_with("/api/file/download") => {
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this";
            std::io::Write::write_all(stream, head.as_bytes())
        }
        _ => std::io::copy(stream, &mut std::io::sink()).map(|_| ()),
    });
    let url = format!("http://{}", server.host());
    let limit = Duration::from_millis(200);
    let client = AgentServer::connect(url).request_timeout(limit);
    let client = client.await.unwrap();
    let error = client.git_changes("x").await.unwrap_err();
    assert!(
        matches!(error, AgentServerError::TimedOut { .. }),
        "{error}"
    );
    let place = folder.path().join("place");
    let error = client.download("x", &place).await.unwrap_err();
    assert!(matches!(error, AgentServerError::Lost { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// The test runs itself again, with a proxy that is not there in its environment.
#[tokio::test]
async fn no_proxy_is_asked_for_what_is_on_the_loopback() {
    const NAME: &str = "APPTAINER_TEST_AGENT_SERVER";
    if let Ok(url) = std::env::var(NAME) {
        AgentServer::connect(url).await.unwrap();
        return;
    }
    let server = server("1.58.2");
    let proxies = ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"];
    let status = tokio::task::spawn_blocking({
        let url = format!("http://{}", server.host());
        move || {
            std::process::Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    "agent_server::odd::no_proxy_is_asked_for_what_is_on_the_loopback",
                ])
                .envs(proxies.map(|name| (name, "http://127.0.0.1:1")))
                .env_remove("no_proxy")
                .env_remove("NO_PROXY")
                .env(NAME, url)
                .status()
        }
    });
    assert!(status.await.unwrap().unwrap().success());
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn what_is_no_url_is_told() {
    for url in ["", "127.0.0.1:8000", "ftp://example.org"] {
        let error = AgentServer::connect(url).await.unwrap_err();
        assert!(matches!(error, AgentServerError::Input { .. }), "{error}");
    }
    let connect = AgentServer::connect("http://127.0.0.1:1").working_dir("here");
    let error = connect.await.unwrap_err();
    assert!(error.to_string().contains("not absolute"), "{error}");
}
