//! Files.

use apptainer::gateway::Gateway;
use fixtures::World;
use serde_json::json;

use super::client::{Answer, ask, ask_with};

async fn upload(gateway: &Gateway, path: &str, name: &str, content: &[u8]) -> Answer {
    let begin = format!(
        "--edge\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n"
    );
    let body = [begin.as_bytes(), content, b"\r\n--edge--\r\n"].concat();
    let headers = format!(
        "X-Session-API-Key: {}\r\nContent-Type: multipart/form-data; boundary=edge\r\n",
        gateway.api_key()
    );
    let path = format!("/api/file/upload?path={path}");
    ask_with(gateway, "POST", &path, &headers, &body).await
}

#[tokio::test]
async fn files_go_in_and_out_as_they_are() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let builder = Gateway::builder(&workspace).max_body(4 << 20);
    let gateway = builder.start().await.unwrap();
    let content: Vec<u8> = (0..3_000_000_u32)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect();
    let uploaded = upload(&gateway, "/workspace/new/file", "file", &content).await;
    assert_eq!(
        uploaded.json(),
        json!({"success": true, "file_size": 3_000_000})
    );
    let path = "/api/file/download?path=/workspace/new/file";
    let back = ask(&gateway, "GET", path, b"").await;
    assert!(back.body == content, "{}", back.head);
    assert!(
        back.head.contains("content-length: 3000000"),
        "{}",
        back.head
    );
    let kernels = ask(
        &gateway,
        "GET",
        "/api/file/download?path=/proc/self/status",
        b"",
    )
    .await;
    assert!(!kernels.body.is_empty());
    let refused = upload(&gateway, "/workspace/large", "file", &content.repeat(2)).await;
    assert_eq!(refused.status, 413, "{refused:?}");
    assert!(!workspace.files().exists("large").await.unwrap());
    assert_eq!(workspace.files().list(".").await.unwrap().len(), 1);
    assert_eq!(
        upload(&gateway, "/workspace/x", "other", b"a").await.status,
        422
    );
    for (path, detail) in [
        ("/workspace/new", "Path is a directory"),
        (
            "/workspace/new/file/x",
            "A parent of the path is not a directory",
        ),
        ("new", "Path must be absolute"),
    ] {
        let refused = upload(&gateway, path, "file", b"a").await;
        assert_eq!(
            (refused.status, refused.detail()),
            (400, json!(detail)),
            "{path}"
        );
    }
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn directories_are_made_and_listed() {
    let world = World::new().await;
    let workspace = world.workspace().start().await.unwrap();
    let gateway = Gateway::builder(&workspace).start().await.unwrap();
    for name in ["b/c", "A", ".hidden"] {
        let path = format!("/api/file/create_directory?path=/workspace/{name}");
        assert_eq!(
            ask(&gateway, "POST", &path, b"").await.json(),
            json!({"success": true})
        );
    }
    let list = "/api/file/search_subdirs?path=/workspace";
    let page = ask(&gateway, "GET", &format!("{list}&limit=1"), b"")
        .await
        .json();
    let item = |name: &str| json!({"name": name, "path": format!("/workspace/{name}")});
    assert_eq!(page, json!({"items": [item("A")], "next_page_id": "b"}));
    let page = ask(&gateway, "GET", &format!("{list}&page_id=b"), b"")
        .await
        .json();
    assert_eq!(page, json!({"items": [item("b")], "next_page_id": null}));
    let home = ask(&gateway, "GET", "/api/file/home", b"").await.json();
    assert!(home["home"].as_str().unwrap().starts_with('/'), "{home}");
    gateway.stop().await.unwrap();
    workspace.stop().await.unwrap();
    world.finish();
}
