//! Instances.

use apptainer_sys::command::instance::{List, Run, Start, StartOptions, Stop};
use apptainer_sys::command::{ActionOptions, Subcommand};
use insta::assert_snapshot;

use crate::action::set_all;
use crate::rendered;

#[test]
fn start_with_every_flag() {
    let mut start = Start::new("a.sif", "web", ["--port", "80"]);
    set_all(&mut start.action);
    start
        .start
        .boot(true)
        .dmtcp_launch("one")
        .dmtcp_restart("one")
        .pid_file("/run/web.pid");
    let flags = [ActionOptions::FLAGS, StartOptions::FLAGS];
    assert_snapshot!(rendered(&start, &flags), @r#"
        instance start
        --add-caps CAP_NET_RAW,CAP_SYS_PTRACE
        --allow-setuid
        --app tool
        --apply-cgroups /etc/limits.toml
        --authfile auth.json
        --bind /srv/a\:b
        --bind /srv/c:/c:ro
        --blkio-weight 500
        --blkio-weight-device /dev/sda:500
        --cleanenv
        --compat
        --contain
        --containall
        --containlibs /usr/lib/libcuda.so
        --containlibs "/opt/a,b.so"
        --cpu-shares 512
        --cpus 1.5
        --cpuset-cpus 0-3,8
        --cpuset-mems 0
        --disable-cache
        --dns 9.9.9.9
        --docker-host tcp://localhost:2375
        --docker-login
        --drop-caps CAP_CHOWN
        --env-file .env
        --env-file /etc/more.env
        --fakeroot
        --fusemount container:sshfs host:/ /mnt
        --home /srv/home:/root
        --hostname node
        --ignore-fakeroot-command
        --ignore-subuid
        --ignore-userns
        --intel-hpu
        --ipc
        --keep-privs
        --memory 512M
        --memory-reservation 256M
        --memory-swap -1
        --mount type=bind,"source=/a,b",destination=/c
        --mount type=bind,source=/d,destination=/e,ro
        --net
        --netns-path /run/netns/one
        --network bridge
        --network-args portmap=8080:80/tcp
        --no-env HOME
        --no-env LANG
        --no-eval
        --no-home
        --no-https
        --no-init
        --no-mount tmp
        --no-mount hostfs
        --no-nv
        --no-privs
        --no-rocm
        --no-umask
        --nv
        --nvccli
        --oom-kill-disable
        --overlay layer.img:ro
        --overlay upper
        --passphrase
        --pem-path key.pem
        --pids-limit 100
        --rocm
        --scratch /scratch
        --scratch /more
        --security seccomp:/etc/seccomp.json
        --tmpdir /var/tmp
        --underlay
        --unsquash
        --userns
        --uts
        --workdir /srv/work
        --writable
        --writable-tmpfs
        --boot
        --dmtcp-launch one
        --dmtcp-restart one
        --pid-file /run/web.pid a.sif web
        --port 80
    "#);
}

#[test]
fn run_with_its_own_flags() {
    let mut run = Run::new("a.sif", "web", ["--port", "80"]);
    run.action.containall(true);
    run.start.pid_file("/run/web.pid");
    run.runscript_timeout("30s");
    assert_snapshot!(rendered(&run, &[Run::FLAGS]), @r"
        instance run
        --containall
        --pid-file /run/web.pid
        --runscript-timeout 30s a.sif web
        --port 80
    ");
}

#[test]
fn list() {
    assert_eq!(List::all_names().argv(), ["instance", "list"]);
    let mut list = List::matching("web-*");
    list.all(true).json(true).logs(true).user("alice");
    assert_snapshot!(rendered(&list, &[List::FLAGS]), @r"
        instance list
        --all
        --json
        --logs
        --user alice web-*
    ");
}

#[test]
fn stop() {
    assert_eq!(Stop::all().argv(), ["instance", "stop", "--all"]);
    let mut stop = Stop::matching("web-*");
    stop.every(true)
        .force(true)
        .signal("TERM")
        .timeout(5_u32)
        .user("alice");
    assert_snapshot!(rendered(&stop, &[Stop::FLAGS]), @r"
        instance stop
        --all
        --force
        --signal TERM
        --timeout 5
        --user alice web-*
    ");
}
