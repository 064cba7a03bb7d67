//! Who is answered, and how what cannot be is refused.

use apptainer::gateway::{Gateway, GatewayError};
use fixtures::World;
use serde_json::json;

use super::client::{ask, ask_with, execute};

#[tokio::test]
async fn only_who_has_the_key_is_answered() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    assert_eq!(gateway.api_key().len(), 64);
    assert!(!format!("{gateway:?}").contains(gateway.api_key()));
    for path in ["/health", "/alive", "/ready", "/server_info"] {
        let answer = ask_with(&gateway, "GET", path, "", b"").await;
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
    }
    let paths = [
        ("POST", "/api/bash/start_bash_command"),
        ("GET", "/api/bash/bash_events/search"),
        ("GET", "/api/file/download?path=/etc/passwd"),
        ("GET", "/api/git/changes?path=/"),
        ("GET", "/api/conversations"),
        ("GET", "/api/conversations/search"),
    ];
    let wrong = format!("X-Session-API-Key: {}x\r\n", gateway.api_key());
    for (method, path) in paths {
        for headers in ["", "X-Session-API-Key: \r\n", wrong.as_str()] {
            let answer = ask_with(&gateway, method, path, headers, b"{}").await;
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
            assert_eq!(answer.json(), json!({"detail": "Unauthorized"}));
        }
    }
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_is_wrong_is_said_as_the_agent_server_says_it() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let builder = Gateway::builder(&workspace).max_concurrent(0);
    let gateway = builder.start().await.unwrap();
    let start = "/api/bash/start_bash_command";
    let answer = ask(&gateway, "POST", start, br#"{"command": 7}"#).await;
    let expected = json!([{"type": "string_type", "loc": ["body", "command"],
        "msg": "Input should be a valid string", "input": 7}]);
    assert_eq!((answer.status, answer.detail()), (422, expected));
    let search = "/api/bash/bash_events/search";
    let cases = [
        ("GET", format!("{search}?command_id__eq=aaaa"), 422),
        ("GET", format!("{search}?limit=101"), 422),
        ("GET", format!("{search}?sort_order=up"), 422),
        ("GET", "/api/bash/bash_events/none".into(), 404),
        ("GET", "/api/file/download?path=etc/passwd".into(), 400),
        ("GET", "/api/file/download".into(), 422),
        ("GET", "/api/file/download?path=/missing".into(), 404),
        ("GET", "/api/file/archive?path=/".into(), 501),
        ("GET", "/api/conversations/search".into(), 501),
        (
            "GET",
            "/api/conversations/x/bash/bash_events/search".into(),
            422,
        ),
        ("GET", "/nothing".into(), 404),
        ("GET", start.into(), 405),
    ];
    for (method, path, status) in cases {
        let answer = ask(&gateway, method, &path, b"").await;
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(!answer.detail().is_null(), "{path}: {answer:?}");
    }
    let answer = ask(&gateway, "POST", start, br#"{"command": "true"}"#).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    let large = vec![b' '; 17 << 20];
    let answer = ask(&gateway, "POST", start, &large).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_socket_is_this_users_alone_and_is_removed() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let path = world.folder().join("socket");
    let builder = Gateway::builder(&workspace).unix_socket(&path);
    let gateway = builder.clone().start().await.unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(execute(&gateway, "echo a", 5).await["stdout"], "a\n");
    let other = builder.clone().start().await;
    assert!(
        matches!(other, Err(GatewayError::Socket { .. })),
        "{other:?}"
    );
    gateway.stop().await.unwrap();
    assert!(!path.exists());
    drop(builder.start().await.unwrap());
    assert!(!path.exists());
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn others_are_let_in_only_where_that_is_said() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let builder = Gateway::builder(&workspace).bind(([0, 0, 0, 0], 0));
    let refused = builder.clone().start().await;
    assert!(
        matches!(refused, Err(GatewayError::Exposed { .. })),
        "{refused:?}"
    );
    let gateway = builder.expose().start().await.unwrap();
    gateway.stop().await.unwrap();
    let key = Gateway::builder(&workspace)
        .api_key("two words")
        .start()
        .await;
    assert!(matches!(key, Err(GatewayError::Key)), "{key:?}");
    workspace.stop().await.unwrap();
    world.finish();
}
