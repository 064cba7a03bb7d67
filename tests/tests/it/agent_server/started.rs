//! A server that is started, and its end.

use std::fs;
use std::net::{IpAddr, TcpStream, UdpSocket};
use std::time::Duration;

use apptainer::agent_server::{AgentServer, AgentServerError};
use apptainer::workspace::{BaseWorkspace, WorkspaceError};
use fixtures::World;

#[tokio::test]
async fn it_is_for_whoever_has_its_key() {
    // Nobody listens there.
    let dead = "http://127.0.0.1:1";
    let world = World::new().await;
    let server = world.agent_server().env("PLACE", "inside").start().await;
    let server = server.unwrap();
    let key = server.api_key().unwrap().to_owned();
    assert_eq!(key.len(), 64);
    assert!(!format!("{server:?}").contains(&key));
    nobody_is_shown(&key);
    assert!(!is_reachable_from_elsewhere(server.url()));
    assert!(server.alive().await);
    assert!(server.ready().await.unwrap());
    let info = server.server_info().await.unwrap();
    assert_eq!(info.version, server.version());
    assert!(!info.version.is_newer_than_known());
    assert!(!info.title.is_empty());

    // By another client.
    let other = AgentServer::connect(server.url())
        .api_key(&key)
        .working_dir("/tmp");
    assert!(!format!("{other:?}").contains(&key));
    let other = other.await.unwrap();
    let line = "pwd; echo $PLACE; echo $OH_SESSION_API_KEYS_0; echo $TMPDIR";
    let result = other.execute(line).await.unwrap();
    assert_eq!(result.stdout_text(), "/tmp\ninside\n\n/agent-server/tmp\n");
    let any: &dyn BaseWorkspace = &other;
    let error = any.pause().await.unwrap_err();
    assert!(
        matches!(error, WorkspaceError::Unsupported { .. }),
        "{error}"
    );
    any.stop().await.unwrap();
    assert!(other.alive().await);
    // What its lines told has room on disk, and can be forgotten.
    let count = server.workspace().unwrap();
    let count = count.execute("ls /agent-server/bash_events | wc -l").await;
    assert_eq!(count.unwrap().stdout_text().trim(), "2");
    assert_eq!(server.clear_bash_events().await.unwrap(), 2);

    for wrong in [Some("wrong"), None] {
        let mut connect = AgentServer::connect(server.url());
        if let Some(key) = wrong {
            connect = connect.api_key(key);
        }
        let error = connect.await.unwrap_err();
        assert!(
            matches!(error, AgentServerError::Unauthorized { .. }),
            "{error}"
        );
    }

    // A line that runs does not keep it.
    let running = server.execute("trap '' TERM; sleep 99").start().await;
    let running = running.unwrap();
    server.stop().await.unwrap();
    server.stop().await.unwrap();
    let error = running.wait().await.unwrap_err();
    assert!(
        matches!(
            error,
            AgentServerError::Connect { .. } | AgentServerError::Lost { .. }
        ),
        "{error}"
    );
    for url in [server.url(), dead] {
        let error = AgentServer::connect(url).await.unwrap_err();
        assert!(matches!(error, AgentServerError::Connect { .. }), "{error}");
    }
    world.finish();
}

/// No process has this among its arguments.
fn nobody_is_shown(key: &str) {
    let mut read = 0;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        if let Ok(words) = fs::read(entry.path().join("cmdline")) {
            let words = String::from_utf8_lossy(&words);
            assert!(!words.contains(key), "{words}");
            read += usize::from(words.contains("openhands.agent_server"));
        }
    }
    assert!(read > 0, "its own processes are among them");
}

/// Whether it can be had by an address of this host that others reach, if there is one.
fn is_reachable_from_elsewhere(url: &str) -> bool {
    let port = url.rsplit_once(':').unwrap().1.parse().unwrap();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Sends nothing.
    let address = match socket.connect("192.0.2.1:9") {
        Ok(()) => socket.local_addr().unwrap().ip(),
        // All of it is the loopback's, but the server is not to listen there either.
        Err(_) => IpAddr::from([127, 0, 0, 2]),
    };
    TcpStream::connect((address, port)).is_ok()
}

#[tokio::test]
async fn it_ends_when_it_is_dropped() {
    let world = World::new().await;
    let shared = world.folder().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("text"), "from the host").unwrap();
    let server = world.agent_server().mount_dir(&shared).working_dir("/data");
    let server = server.start().await.unwrap();
    let result = server.execute("cat text").await.unwrap();
    assert_eq!(result.stdout_text(), "from the host");
    let service = server.workspace().unwrap().service().clone();
    drop(server);
    assert!(service.ended().await.is_final());
    world.finish();
}

#[tokio::test]
async fn one_that_does_not_come_up_is_told_with_what_it_wrote() {
    let world = World::new().await;
    // It does not know what that is.
    let port = "not-a-number";
    let server = world
        .agent_server()
        .with_spec(|spec| spec.run(["--host", "127.0.0.1", "--port", port]));
    let error = server.start().await.unwrap_err();
    let is_told = matches!(&error, AgentServerError::NotReady { log, .. } if log.contains(port));
    assert!(is_told, "{error}");

    let limit = Duration::from_millis(300);
    let server = world.agent_server().readiness_timeout(limit);
    let server = server.with_spec(|spec| spec.command(["sleep", "60"]));
    let error = server.start().await.unwrap_err();
    assert!(error.to_string().contains("300ms"), "{error}");
    world.finish();
}
