//! No Docker daemon takes part: none can be reached, and none is started.

use std::os::unix::net::UnixStream;

use apptainer::sys::process::Process;

use crate::Result;
use crate::report::note;

/// Where Docker's clients look for a daemon unless `DOCKER_HOST` says otherwise.
const SOCKET: &str = "/var/run/docker.sock";

/// Programs that would run containers for somebody else.
const DAEMONS: [&str; 5] = ["dockerd", "containerd", "podman", "crio", "buildkitd"];

/// Refuses to begin where a daemon could be reached by way of `DOCKER_HOST`.
pub(crate) fn refuse() -> Result<()> {
    let host = std::env::var("DOCKER_HOST").unwrap_or_default();
    if host != NOWHERE {
        return Err(format!("set DOCKER_HOST to {NOWHERE}, or run scripts/demo").into());
    }
    note(format!("DOCKER_HOST is {host}: nobody listens there"));
    Ok(())
}

/// A socket that cannot be connected to.
const NOWHERE: &str = "unix:///dev/null";

/// Says what there is of Docker on this machine.
pub(crate) fn confirm() -> Result<()> {
    let mut found: Vec<String> = Process::all()?
        .into_iter()
        .map(|process| process.name)
        .filter(|name| DAEMONS.contains(&name.as_str()))
        .collect();
    if UnixStream::connect(SOCKET).is_ok() {
        found.push(SOCKET.to_owned());
    }
    note(match found.as_slice() {
        [] => format!(
            "no Docker: none of {} runs, and nobody answers at {SOCKET}",
            DAEMONS.join(", ")
        ),
        found => format!("not asked, though it is here: {}", found.join(", ")),
    });
    Ok(())
}
