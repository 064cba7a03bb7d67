//! What a command is started with, and why it is not.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use apptainer::Command;
use apptainer::exec::{ExecError, Mechanism, Resource, StartStage};
use apptainer::sys::process::Signal;
use fixtures::World;

use super::ways::Ways;

/// Why it does not start: told alike by all that starts it.
async fn refusal(command: &mut Command) -> ExecError {
    let spawned = command.spawn().await.unwrap_err();
    let ran = command.status().await.unwrap_err();
    let collected = command.output().await.unwrap_err();
    assert_eq!(stage(&spawned), stage(&ran), "{command:?}");
    assert_eq!(stage(&spawned), stage(&collected), "{command:?}");
    spawned
}

fn stage(error: &ExecError) -> (StartStage, i32) {
    match error {
        ExecError::Start(error) => (error.stage(), error.code()),
        other => panic!("{other:?}"),
    }
}

async fn text(command: &mut Command) -> String {
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.to_vec()).unwrap()
}

#[tokio::test]
async fn a_command_goes_by_the_agent() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("true") {
        let mut child = command.spawn().await.unwrap();
        assert_eq!(child.mechanism(), Mechanism::Agent, "{way}");
        assert!(child.wait().await.unwrap().success(), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_program_that_is_not_there_is_told_when_it_is_spawned() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for program in ["nosuch", "/nosuch/program", "/etc/passwd/below", ""] {
        for (way, mut command) in ways.commands(program) {
            let error = refusal(&mut command).await;
            assert!(error.is_command_not_found(), "{way}: {error:?}");
            assert_eq!(stage(&error).0, StartStage::Exec, "{way}");
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_program_that_cannot_be_run_is_told_when_it_is_spawned() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for program in ["/etc/passwd", "/etc"] {
        for (way, mut command) in ways.commands(program) {
            let error = refusal(&mut command).await;
            assert!(error.is_command_not_executable(), "{way}: {error:?}");
            assert_eq!(stage(&error), (StartStage::Exec, 13), "{way}");
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_told_when_it_is_spawned() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for directory in ["/nosuch", "/etc/passwd", "relative/nosuch"] {
        for (way, mut command) in ways.commands("true") {
            let error = refusal(command.current_dir(directory)).await;
            assert!(error.is_working_directory(), "{way}: {error:?}");
            assert_eq!(stage(&error).0, StartStage::Directory, "{way}");
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_limit_that_cannot_be_set_is_told() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("true") {
        // Above the hard one.
        let error = refusal(command.rlimit(Resource::OpenFiles, 10, 5)).await;
        assert_eq!(stage(&error), (StartStage::Limits, 22), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn what_no_program_can_be_given_is_told_before_anything_starts() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("true") {
        let error = command.arg("a\0b").spawn().await.unwrap_err();
        assert!(matches!(error, ExecError::Nul), "{way}: {error:?}");
    }
    for name in ["", "a=b", "="] {
        for (way, mut command) in ways.commands("true") {
            let error = command.env(name, "value").spawn().await.unwrap_err();
            let is_told = matches!(error, ExecError::VariableName { .. });
            assert!(is_told, "{way}: {error:?}");
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn an_argument_list_that_is_too_long_is_told() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    // One word of more than 128 KiB, all of more than a quarter of the stack, more than
    // the agent takes, more words than it takes.
    let cases = [
        vec!["x".repeat(140_000)],
        vec!["x".repeat(100_000); 70],
        vec!["x".repeat(100_000); 90],
        vec![String::new(); (1 << 20) + 1],
    ];
    for args in cases {
        for (way, mut command) in ways.commands("true") {
            let error = command.args(&args).spawn().await.unwrap_err();
            assert!(error.is_argument_list_too_long(), "{way}: {error:?}");
            assert!(
                ways.link.ping().await.is_ok() && ways.instance.is_running().unwrap(),
                "{way}"
            );
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn all_that_the_kernel_takes_is_taken() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    // Words are at most 32 pages long, with their NUL. All of them may have a quarter of
    // the stack, of which their pointers and the variables take some, too.
    let longest = 32 * 4096 - 1;
    let cases = [
        (vec!["x".repeat(longest)], true),
        (vec!["x".repeat(longest + 1)], false),
        (vec!["x".repeat(longest); 15], true),
        (vec!["x".repeat(longest); 16], false),
    ];
    for (args, fits) in cases {
        for (way, mut command) in ways.commands("true") {
            command
                .args(&args)
                .rlimit(Resource::Stack, 8 << 20, 8 << 20);
            match command.status().await {
                Ok(status) => assert!(fits && status.success(), "{way}: {status}"),
                Err(error) => {
                    assert!(
                        !fits && error.is_argument_list_too_long(),
                        "{way}: {error:?}"
                    );
                }
            }
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn long_arguments_and_variables_arrive_whole() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    // Around the size from which on they are passed in a file, and about 1.5 MiB.
    for (length, count) in [(64_000, 1), (65_000, 1), (65_536, 1), (120_000, 12)] {
        let numbered = |number: usize| {
            let letter = char::from(b'a' + u8::try_from(number).unwrap());
            letter.to_string().repeat(length)
        };
        let args: Vec<String> = (0..count).map(numbered).collect();
        for (way, mut command) in ways.commands("sh") {
            let value = "v".repeat(100_000);
            command
                .args(["-c", r#"printf '%s\n' "$VALUE" "$@""#, "sh"])
                .args(&args)
                .env("VALUE", &value);
            let expected = [&[value], &args[..]].concat().join("\n") + "\n";
            assert!(text(&mut command).await == expected, "{way}: {length}");
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn many_small_words_arrive_whole() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    // More pointers than a slot has room for.
    let args: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    for (way, mut command) in ways.commands("printf") {
        command.arg("%s\n").args(&args);
        let expected = args.join("\n") + "\n";
        assert!(text(&mut command).await == expected, "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn words_of_any_bytes_arrive_as_they_are() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let all: Vec<u8> = (1..=255).collect();
    let all = OsStr::from_bytes(&all);
    for (way, mut command) in ways.commands("sh") {
        let output = command
            .args(["-c", r#"printf %s "$1"; printf "|%s|" "$ALL""#, "sh"])
            .arg(all)
            .env("ALL", all)
            .output()
            .await
            .unwrap();
        let expected = [all.as_bytes(), b"|", all.as_bytes(), b"|"].concat();
        assert_eq!(output.stdout, expected, "{way}");
    }
    // A shell would not pass on all of these.
    for (way, mut command) in ways.commands("env") {
        command
            .env(OsStr::from_bytes(b"odd-\xff.name %"), "odd")
            .env("1", "one")
            .env("HOME", "/elsewhere")
            .env("EMPTY", "");
        let output = command.output().await.unwrap();
        for line in [
            &b"odd-\xff.name %=odd"[..],
            b"1=one",
            b"HOME=/elsewhere",
            b"EMPTY=",
        ] {
            let mut lines = output.stdout.split(|byte| *byte == b'\n');
            assert!(lines.any(|it| it == line), "{way}: {output:?}");
        }
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn variables_are_set_replaced_removed_and_cleared() {
    let world = World::new().await;
    let container = world.container().await.env("FROM_CONTAINER", "container");
    let link = container.link().await.unwrap();
    let instance = container.start().await.unwrap();
    for mut command in [link.command("env"), instance.command("env")] {
        command.env("FROM_CONTAINER", "command").env("OWN", "own");
        let set = text(&mut command).await;
        assert_eq!(set.matches("FROM_CONTAINER=").count(), 1, "{set}");
        assert!(set.contains("FROM_CONTAINER=command\n"), "{set}");
        assert!(set.contains("OWN=own\n"), "{set}");

        command.env_remove("FROM_CONTAINER").env_remove("nosuch");
        let removed = text(&mut command).await;
        assert!(!removed.contains("FROM_CONTAINER"), "{removed}");
        assert!(removed.contains("OWN=own\n"), "{removed}");

        command.env_clear().env("PATH", "/bin");
        let cleared = text(&mut command).await;
        let mut names: Vec<_> = cleared.lines().map(|line| line.split('=').next()).collect();
        names.sort();
        assert_eq!(
            names,
            [Some("APPTAINER_RS_EXEC"), Some("PATH")],
            "{cleared}"
        );
    }
    link.close().await.unwrap();
    instance.stop().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn programs_are_looked_for_on_the_commands_own_path() {
    let world = World::new().await;
    let container = world.container().await.bind(world.folder(), "/work");
    let link = container.link().await.unwrap();
    let script = world.folder().join("mine");
    fs::write(&script, "echo mine \"$@\"\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&script, mode).unwrap();
    // A script that does not say by what it is run is a shell's.
    let mut command = link.command("mine");
    command.args(["a b", "c"]).env("PATH", "/nosuch:/work:/bin");
    assert_eq!(text(&mut command).await, "mine a b c\n");
    let mut command = link.command("./mine");
    command.current_dir("/work");
    assert_eq!(text(&mut command).await, "mine\n");
    let error = link.command("mine").spawn().await.unwrap_err();
    assert!(error.is_command_not_found(), "{error:?}");
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn a_mask_a_niceness_and_limits_reach_the_command() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    let nice = "cut -d' ' -f19 /proc/self/stat";
    let limits = "ulimit -Sn; ulimit -Hn; ulimit -St; ulimit -Hc; ulimit -v";
    let script = format!("umask; {nice}; {limits}");
    for (way, mut command) in ways.commands("sh") {
        command
            .args(["-c", &script])
            .umask(0o027)
            .nice(7)
            .rlimit(Resource::OpenFiles, 123, 456)
            .rlimit(Resource::Cpu, 77, 78)
            .rlimit(Resource::Core, 0, 0)
            .rlimit(Resource::AddressSpace, 1 << 30, 1 << 30);
        let expected = "0027\n7\n123\n456\n77\n0\n1048576\n";
        assert_eq!(text(&mut command).await, expected, "{way}");
    }
    // And no other command.
    for (way, mut command) in ways.commands("sh") {
        command.args(["-c", &format!("{nice}; ulimit -Sn")]);
        let other = text(&mut command).await;
        assert!(
            other.starts_with("0\n") && !other.contains("123"),
            "{way}: {other}"
        );
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn a_limit_ends_what_goes_beyond_it() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let started = Instant::now();
        command.args(["-c", "while :; do :; done"]);
        let status = command.rlimit(Resource::Cpu, 1, 1).status().await.unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL), "{way}");
        assert!(status.usage().user >= Duration::from_millis(500), "{way}");
        assert!(started.elapsed() < Duration::from_secs(30), "{way}");
    }
    ways.finish(world).await;
}

#[tokio::test]
async fn what_a_command_used_is_told_with_its_end() {
    let world = World::new().await;
    let ways = Ways::of(&world).await;
    for (way, mut command) in ways.commands("sh") {
        let script = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
        let started = Instant::now();
        let status = command.args(["-c", script]).status().await.unwrap();
        let usage = status.usage();
        assert!(usage.user > Duration::from_millis(20), "{way}: {usage:?}");
        let limit = started.elapsed() + Duration::from_millis(50);
        assert!(usage.user + usage.system < limit, "{way}: {usage:?}");
        assert!(usage.max_resident < 16 << 20, "{way}: {usage:?}");
    }
    for (way, mut command) in ways.commands("dd") {
        // Also of children that are waited for: here there are none.
        command.args(["if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]);
        let usage = command.output().await.unwrap().status.usage();
        assert!(usage.max_resident >= 64 << 20, "{way}: {usage:?}");
    }
    for (way, mut command) in ways.commands("true") {
        let usage = command.status().await.unwrap().usage();
        assert!(usage.max_resident > 0, "{way}: {usage:?}");
        assert!(usage.user < Duration::from_millis(100), "{way}: {usage:?}");
    }
    ways.finish(world).await;
}
