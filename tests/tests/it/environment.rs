//! Variables, as they arrive in the container.

use apptainer::exec::ExecError;
use apptainer::sys::command::CommandError;
use apptainer::{Contain, Container};
use fixtures::World;

const ODD: [(&str, &str); 9] = [
    ("COMMAS", "a,b=c,d"),
    ("QUOTES", "\"quoted\" and 'single'"),
    ("BACKSLASHES", "a\\b\\\\c\\"),
    ("BACKSLASH_QUOTE", "\\\""),
    ("DOLLARS", "$HOME ${HOME} $(id) `id`"),
    ("LINES", "one\ntwo\n\n"),
    ("EMPTY", ""),
    ("UNICODE", "grüße \u{1f980}"),
    ("SPACES", "  a  b  "),
];

async fn arrives(container: &Container) {
    let mut command = container.command("sh");
    command.envs(ODD);
    let names: Vec<String> = ODD.iter().map(|(name, _)| format!("\"${name}\"")).collect();
    command.args(["-c", &format!("printf '%s|' {}", names.join(" "))]);
    let output = command.output().await.unwrap();
    let expected: String = ODD.map(|(_, value)| format!("{value}|")).concat();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[tokio::test]
async fn values_arrive_whatever_they_hold() {
    let world = World::new().await;
    arrives(&world.container().await).await;
    world.finish();
}

#[tokio::test]
async fn values_arrive_where_no_shell_reads_them() {
    let world = World::new().await;
    let container = world.container().await;
    arrives(&container.clone().contain(Contain::Docker)).await;
    let literal = container.flags(|flags| {
        flags.no_eval(true);
    });
    arrives(&literal).await;
    world.finish();
}

#[tokio::test]
async fn an_instances_variables_are_its_commands_variables_too() {
    let world = World::new().await;
    let container = world
        .container()
        .await
        .env("COLOUR", "blue")
        .env("SIZE", "1");
    let instance = container.start().await.unwrap();
    let output = instance
        .command("sh")
        .args(["-c", "echo $COLOUR $SIZE"])
        .env("SIZE", "2")
        .output()
        .await
        .unwrap();
    assert_eq!(&output.stdout[..], b"blue 2\n");
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn what_apptainer_cannot_carry_is_refused_before_anything_starts() {
    let world = World::new().await;
    let container = world.container().await;
    for (name, value) in [("1A", "x"), ("A B", "x"), ("HOME", "/x"), ("A", "nul\0")] {
        let error = container.command("true").env(name, value).output().await;
        let is_refused = matches!(
            error,
            Err(ExecError::Command(CommandError::Variable(_)) | ExecError::Nul)
        );
        assert!(is_refused, "{name}: {error:?}");
    }
    world.finish();
}

#[tokio::test]
async fn a_clean_environment_has_none_of_the_hosts() {
    let world = World::new().await;
    let container = world.container().await;
    let seen = async |container: &Container| {
        let output = container.command("env").output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().any(|line| line.starts_with("NEXTEST="))
    };
    assert!(seen(&container).await);
    assert!(!seen(&container.clone().clean_env()).await);
    world.finish();
}
