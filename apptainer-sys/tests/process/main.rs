//! Processes of the real kernel.
#![expect(clippy::unwrap_used, reason = "a test ends where something fails")]

mod descriptors;
mod life;
mod pty;
mod spawn;

use apptainer_sys::process::{Captured, Exit, Mechanism, Spawn, Stdio};

/// Makes two tests of each function: started with `clone3`, and with `posix_spawn`.
macro_rules! both_ways {
    ($(fn $name:ident($way:ident) $body:block)*) => { $(
        fn $name($way: Mechanism) $body

        mod $name {
            use super::*;

            #[test]
            fn by_clone3() {
                super::$name(Mechanism::Clone3);
            }

            #[test]
            fn by_posix_spawn() {
                super::$name(Mechanism::PosixSpawn);
            }
        }
    )* };
}
pub(crate) use both_ways;

fn program(way: Mechanism, path: impl Into<std::path::PathBuf>) -> Spawn {
    let mut spawn = Spawn::new(path);
    spawn.mechanism(way);
    spawn
}

fn shell(way: Mechanism, script: &str) -> Spawn {
    let mut spawn = program(way, "/bin/sh");
    spawn
        .args(["-c", script])
        .stdin(Stdio::Null)
        .stdout(Stdio::pipe())
        .stderr(Stdio::pipe());
    spawn
}

fn output(spawn: Spawn) -> Captured {
    spawn.spawn().unwrap().output().unwrap()
}

fn text(captured: &Captured) -> &str {
    assert_eq!(captured.exit, Exit::Code(0), "{captured:?}");
    std::str::from_utf8(&captured.stdout).unwrap().trim_end()
}
