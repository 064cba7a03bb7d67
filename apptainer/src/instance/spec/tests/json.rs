use std::time::Duration;

use apptainer_sys::command::{Capability, NoMount};
use apptainer_sys::process::Signal;

use super::{Spec, spec};
use crate::container::{BindMount, GpuRequest, HomeDir, OverlayLayer};
use crate::instance::spec::{Joined, Namespace, Payload, Privileges};
use crate::{Contain, Gpu};

#[test]
fn what_is_not_set_is_left_out() {
    let json = serde_json::to_string(&spec()).unwrap();
    assert_eq!(json, r#"{"image":"docker://alpine:3"}"#);
}

#[test]
fn everything_has_its_name() {
    let full = Spec::new("x.sif")
        .private_key("/k")
        .payload(Payload::Start(vec!["a".to_owned()]))
        .name("n")
        .bind("/a", "/b")
        .mount(
            BindMount::new("/c.sif", "/c")
                .read_only()
                .image_source("/")
                .image_id(2),
        )
        .overlay("/o")
        .layer(OverlayLayer::new("/p").read_only())
        .temporary_overlay()
        .writable_tmpfs()
        .writable()
        .scratch("/s")
        .workdir("/w")
        .home(HomeDir::new("/h").to("/home"))
        .no_mount(NoMount::BindPaths)
        .no_mount(NoMount::Path("/etc/hosts".into()))
        .contain(Contain::Docker)
        .env("A", "1")
        .env_file("/e")
        .forward_env("F")
        .no_env("N")
        .clean_env()
        .no_eval()
        .current_dir("/d")
        .umask(0o7)
        .no_umask()
        .no_init()
        .namespace(Namespace::Uts)
        .namespace(Namespace::User)
        .namespace(Namespace::Ipc)
        .hostname("host")
        .network(
            Joined::to("lab")
                .tcp_port(1, 2)
                .udp_port(3, 4)
                .arg("IP", "10.0.0.1"),
        )
        .network_namespace("/net")
        .dns([1, 1, 1, 1])
        .gpu(Gpu::Rocm)
        .gpu_request(GpuRequest::devices(Gpu::NvidiaCli, ["0"]))
        .fakeroot()
        .privileges(Privileges::Drop)
        .add_capability(Capability::NetRaw)
        .drop_capability(Capability::Chown)
        .allow_setuid()
        .seccomp("/sc")
        .apparmor("p")
        .selinux("l")
        .uid(1)
        .gids([2, 3])
        .start_deadline(Duration::from_millis(1500))
        .stop_grace(Duration::from_secs(10))
        .stop_signal(Signal::INT);
    let json = r#"{"image":"x.sif","private_key":"/k","payload":{"start":["a"]},"name":"n","binds":[{"source":"/a","destination":"/b"},{"source":"/c.sif","destination":"/c","read_only":true,"image_source":"/","image_id":2}],"overlays":[{"path":"/o"},{"path":"/p","read_only":true}],"temporary_overlay":true,"writable_tmpfs":true,"writable":true,"scratch":["/s"],"workdir":"/w","home":{"source":"/h","destination":"/home"},"no_mount":["bind-paths","/etc/hosts"],"contain":"docker","env":{"A":"1"},"env_files":["/e"],"forward_env":["F"],"no_env":["N"],"clean_env":true,"no_eval":true,"current_dir":"/d","umask":"007","no_umask":true,"no_init":true,"namespaces":["user","ipc","uts"],"hostname":"host","networks":[{"name":"lab","ports":[{"host":1,"container":2},{"host":3,"container":4,"udp":true}],"args":{"IP":"10.0.0.1"}}],"network_namespace":"/net","dns":["1.1.1.1"],"gpus":[{"kind":"rocm"},{"kind":"nvidia_cli","devices":["0"]}],"fakeroot":true,"privileges":"drop","add_capabilities":["CAP_NET_RAW"],"drop_capabilities":["CAP_CHOWN"],"allow_setuid":true,"seccomp":"/sc","apparmor":"p","selinux":"l","uid":1,"gids":[2,3],"start_deadline":1.5,"stop_grace":10,"stop_signal":"SIGINT"}"#;
    assert_eq!(serde_json::to_string(&full).unwrap(), json);
    assert_eq!(serde_json::from_str::<Spec>(json).unwrap(), full);
}

#[test]
fn what_is_not_known_is_refused() {
    for (json, words) in [
        (r#"{"image": "a", "bind": []}"#, "unknown field `bind`"),
        (
            r#"{"image": "a", "binds": [{"source": "/a", "destination": "/b", "ro": true}]}"#,
            "unknown field `ro`",
        ),
        ("{}", "missing field `image`"),
        (
            r#"{"image": "a", "contain": "half"}"#,
            "unknown variant `half`",
        ),
        (r#"{"image": "a", "add_capabilities": ["CAP_X"]}"#, "no"),
        (r#"{"image": "a", "no_mount": ["x"]}"#, "bind-paths"),
        (r#"{"image": "a", "stop_signal": "SIGX"}"#, "SIGTERM"),
        (r#"{"image": "a", "stop_grace": -1}"#, "number of seconds"),
        (r#"{"image": "a", "umask": "8"}"#, "octal"),
    ] {
        let error = serde_json::from_str::<Spec>(json).unwrap_err().to_string();
        assert!(error.contains(words), "{json}: {error}");
    }
}

#[test]
fn words_are_read_in_the_forms_that_they_are_known_by() {
    let read = |json: &str| serde_json::from_str::<Spec>(json).unwrap();
    for signal in ["SIGUSR1", "USR1", "10"] {
        let json = format!(r#"{{"image": "a", "stop_signal": "{signal}"}}"#);
        assert_eq!(read(&json), Spec::new("a").stop_signal(Signal::USR1));
    }
    let json = r#"{"image": "a", "drop_capabilities": ["net_raw"]}"#;
    let spec = Spec::new("a").drop_capability(Capability::NetRaw);
    assert_eq!(read(json), spec);
}

#[test]
fn what_lets_somebody_in_is_not_shown() {
    let spec = Spec::new("https://me:secret@host/x.sif").env("KEY", "secret");
    let shown = format!("{spec:?}");
    assert!(!shown.contains("secret"), "{shown}");
    assert!(shown.contains("KEY"), "{shown}");
}
