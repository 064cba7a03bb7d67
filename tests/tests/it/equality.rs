//! A command is by an agent what it is by an `apptainer exec`: all that can be seen of it
//! from within is compared, line by line.

mod probe;

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command as Program, Stdio};

use apptainer::exec::Mechanism;
use apptainer::{Command, Contain, Container};
use fixtures::World;

use self::probe::{FILES, LINKS, Lines};

/// Whether a line may be another by an agent: the list of what is, which is in the
/// documentation of [`Mechanism`] with its reasons.
fn may_differ(name: &str, by_cli: Option<&str>, by_agent: Option<&str>) -> bool {
    match name {
        // Its marks.
        "variable APPTAINER_RS_EXEC" => by_cli.is_none(),
        "limit Max file locks" => {
            let hard = |values: Option<&str>| Some(values?.split_once(' ')?.1.to_owned());
            hard(by_cli) == hard(by_agent)
        }
        // It can be killed without others.
        "leads its group" | "leads its session" => by_agent == Some("true"),
        // It has no descriptors that its caller has left open.
        name => name.starts_with("fd ") && by_agent.is_none(),
    }
}

/// What Apptainer makes of it by hand and by us is the same.
fn may_not_differ(_: &str, _: Option<&str>, _: Option<&str>) -> bool {
    false
}

/// A kind of container.
struct Mode {
    /// What Apptainer is told.
    flags: &'static [&'static str],
    /// The same, as we are told.
    shape: fn(Container) -> Container,
}

/// Where a probe is made.
struct Place<'a> {
    world: &'a World,
    /// What Apptainer calls it.
    name: String,
    flags: Vec<&'a str>,
}

/// A value that each command is given.
const VALUE: &str = "a 'b' \"c\"";

impl Place<'_> {
    /// By the program, as a person would.
    fn by_hand(&self) -> Lines {
        let [files, links] = [FILES, LINKS].map(|(program, args)| {
            let mut command = Program::new("apptainer");
            for (name, _) in std::env::vars_os() {
                let bytes = name.as_encoded_bytes();
                if bytes.starts_with(b"APPTAINER") || bytes.starts_with(b"SINGULARITY") {
                    command.env_remove(name);
                }
            }
            command
                .args(["--silent", "exec"])
                .args(&self.flags)
                .arg(&self.name)
                .arg(program)
                .args(args)
                .env("APPTAINER_CONFIGDIR", self.world.folder().join("config"))
                .env("APPTAINERENV_EQUAL", VALUE)
                .stdin(Stdio::null());
            let output = command.output().unwrap();
            assert!(!output.stdout.is_empty(), "{command:?}: {output:?}");
            output.stdout
        });
        probe::read(&files, &links)
    }
}

/// By us.
async fn by_us(command: impl Fn(&str) -> Command, mechanism: Mechanism) -> Lines {
    let mut outputs = Vec::new();
    for (program, args) in [FILES, LINKS] {
        let mut command = command(program);
        command.args(args).env("EQUAL", VALUE).mechanism(mechanism);
        let output = command.output().await.unwrap();
        assert!(!output.stdout.is_empty(), "{command:?}: {output:?}");
        outputs.push(output.stdout);
    }
    probe::read(&outputs[0], &outputs[1])
}

/// Fails on every line that differs and may not, naming all of them.
fn compare(
    what: &str,
    expected: &Lines,
    found: &Lines,
    may_differ: fn(&str, Option<&str>, Option<&str>) -> bool,
) {
    assert!(expected.len() > 60, "{what}: only {expected:#?}");
    let names: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let mut differences = Vec::new();
    for name in names {
        let [expected, found] = [expected, found].map(|lines| lines.get(name).map(String::as_str));
        if expected != found && !may_differ(name, expected, found) {
            differences.push(format!("{name}: {expected:?} is {found:?}"));
        }
    }
    assert!(differences.is_empty(), "{what}: {differences:#?}");
}

/// What is as it is on no machine by itself, so that it shows whether it is passed on.
fn be_unusual(world: &World) {
    let me = std::process::id().to_string();
    let run = |program: &str, args: &[&str]| {
        let output = Program::new(program).args(args).output().unwrap();
        assert!(output.status.success(), "{program}: {output:?}");
    };
    let limits = [
        "--nofile=700:900",
        "--core=4096:8192",
        "--stack=16777216:33554432",
        "--nproc=30000:31000",
    ];
    run("prlimit", &[&["--pid", &me], &limits[..]].concat());
    // A niceness is a thread's.
    let thread = nix::unistd::gettid().to_string();
    run("renice", &["-n", "3", "-p", &thread]);
    fs::write("/proc/self/oom_score_adj", "321").unwrap();
    fs::write("/proc/self/coredump_filter", "0x3f").unwrap();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o027));
    std::env::set_current_dir(world.folder()).unwrap();
}

/// Checks that what was set by [`be_unusual`] is what has been compared.
fn check_unusual(lines: &Lines) {
    for (name, value) in [
        ("limit Max open files", "700 900"),
        ("limit Max core file size", "4096 8192"),
        ("limit Max processes", "30000 31000"),
        ("nice", "3"),
        ("oom_score_adj", "321"),
        ("variable EQUAL", VALUE),
    ] {
        assert_eq!(lines.get(name).map(String::as_str), Some(value), "{name}");
    }
}

async fn is_equal(mode: &Mode) {
    let world = World::new().await;
    let container = (mode.shape)(world.container().await);
    be_unusual(&world);
    let mut flags = mode.flags.to_vec();
    if nix::unistd::geteuid().is_root() {
        flags.push("--no-privs");
    }

    let image = container.image().path().to_str().unwrap().to_owned();
    let place = |name| Place {
        world: &world,
        name,
        flags: flags.clone(),
    };
    let by_hand = place(image).by_hand();
    let by_cli = by_us(|program| container.command(program), Mechanism::Cli).await;
    let link = container.link().await.unwrap();
    let by_agent = by_us(|program| link.command(program), Mechanism::Agent).await;
    link.close().await.unwrap();
    check_unusual(&by_hand);
    let [by_hand, by_cli, by_agent] =
        [by_hand, by_cli, by_agent].map(probe::without_own_namespaces);
    compare("by us, of an image", &by_hand, &by_cli, may_not_differ);
    compare("by an agent, of an image", &by_cli, &by_agent, may_differ);

    let instance = container.start().await.unwrap();
    let by_hand = place(format!("instance://{}", instance.name())).by_hand();
    let by_cli = by_us(|program| instance.command(program), Mechanism::Cli).await;
    let by_agent = by_us(|program| instance.command(program), Mechanism::Agent).await;
    check_unusual(&by_hand);
    compare("by us, in an instance", &by_hand, &by_cli, may_not_differ);
    compare(
        "by an agent, in an instance",
        &by_cli,
        &by_agent,
        may_differ,
    );
    instance.stop().await.unwrap();
    std::env::set_current_dir("/").unwrap();
    world.finish();
}

#[tokio::test]
async fn in_a_container_as_apptainer_makes_them() {
    is_equal(&Mode {
        flags: &[],
        shape: |container| container,
    })
    .await;
}

#[tokio::test]
async fn as_root_of_its_own() {
    if nix::unistd::geteuid().is_root() {
        eprintln!("not tested: it takes an ordinary user");
        return;
    }
    is_equal(&Mode {
        flags: &["--fakeroot"],
        shape: Container::fakeroot,
    })
    .await;
}

#[tokio::test]
async fn in_a_contained_one() {
    is_equal(&Mode {
        flags: &["--containall"],
        shape: |container| container.contain(Contain::All),
    })
    .await;
}

#[tokio::test]
async fn in_one_like_dockers() {
    is_equal(&Mode {
        flags: &["--compat"],
        shape: |container| container.contain(Contain::Docker),
    })
    .await;
}

#[tokio::test]
async fn with_a_clean_environment() {
    is_equal(&Mode {
        flags: &["--cleanenv"],
        shape: Container::clean_env,
    })
    .await;
}
