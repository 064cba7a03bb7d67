//! Exec agents that are out of what their group is allowed.

use apptainer::Link;

use super::*;

/// A link whose agent is in this group.
async fn link_in(group: &Group, world: &World) -> Link {
    let link = world.container().await.link().await.unwrap();
    group.add(link.pid().unwrap()).unwrap();
    link
}

#[tokio::test]
async fn without_processes_it_says_so_and_goes_on() {
    let Some(group) = Group::new("agent-pids") else {
        return;
    };
    let world = World::new().await;
    let link = link_in(&group, &world).await;
    group.limit(&Limits::new().pids(10)).unwrap();
    let mut children = Vec::new();
    let error = loop {
        match link.command("sleep").arg("1000").spawn().await {
            Ok(child) => children.push(child),
            Err(error) => break error,
        }
        assert!(children.len() <= 10, "there is no room for more");
    };
    assert!(error.is_out_of_processes(), "{error:?}");
    // The agent is one of them.
    assert_eq!(children.len(), 9);
    link.ping().await.unwrap();
    for child in &mut children {
        assert_eq!(child.try_wait().unwrap(), None);
    }
    children.pop().unwrap().kill().await.unwrap();
    assert!(link.command("true").status().await.unwrap().success());
    drop(children);
    link.close().await.unwrap();
    world.finish();
}

#[tokio::test]
async fn without_memory_it_loses_the_command_that_takes_it_and_goes_on() {
    let Some(group) = Group::new("agent-memory") else {
        return;
    };
    let world = World::new().await;
    let link = link_in(&group, &world).await;
    group
        .limit(&Limits::new().memory(32 << 20).swap(0))
        .unwrap();
    let mut other = link.command("sleep").arg("1000").spawn().await.unwrap();
    for _ in 0..3 {
        let mut command = link.command("dd");
        command.args(["if=/dev/zero", "of=/dev/null", "bs=200M", "count=1"]);
        let status = command.status().await.unwrap();
        assert_eq!(status.signal(), Some(Signal::KILL));
        link.ping().await.unwrap();
    }
    assert_eq!(other.try_wait().unwrap(), None);
    assert!(link.command("true").status().await.unwrap().success());
    other.kill().await.unwrap();
    link.close().await.unwrap();
    world.finish();
}
