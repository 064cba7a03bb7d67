//! Commands that stand alone.

use apptainer_sys::command::{ConfGen, Delete, Push, RunHelp, Search, Shell, Sign, Test, Verify};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn shell() {
    let mut command = Shell::new("a.sif");
    command.shell("/bin/bash");
    assert_snapshot!(rendered(&command, &[Shell::FLAGS]), @r"
        shell
        --shell /bin/bash a.sif
    ");
}

#[test]
fn test() {
    assert_snapshot!(rendered(&Test::new("a.sif", ["-l"]), &[]), @"test a.sif -l");
}

#[test]
fn push() {
    let mut command = Push::new("a.sif", "oras://ghcr.io/a/tool:1");
    command
        .allow_unsigned(true)
        .authfile("auth.json")
        .description("a tool")
        .docker_host("tcp://localhost:2375")
        .library("https://library.example.org")
        .no_https(true);
    assert_snapshot!(rendered(&command, &[Push::FLAGS]), @r"
        push
        --allow-unsigned
        --authfile auth.json
        --description a tool
        --docker-host tcp://localhost:2375
        --library https://library.example.org
        --no-https a.sif oras://ghcr.io/a/tool:1
    ");
}

#[test]
fn delete() {
    let mut command = Delete::new("oras://ghcr.io/a/tool:1");
    command
        .arch("arm64")
        .force(true)
        .library("https://library.example.org")
        .no_https(true)
        .timeout(5_u32);
    assert_snapshot!(rendered(&command, &[Delete::FLAGS]), @r"
        delete
        --arch arm64
        --force
        --library https://library.example.org
        --no-https
        --timeout 5 oras://ghcr.io/a/tool:1
    ");
}

#[test]
fn search() {
    let mut command = Search::new("tool");
    command
        .arch("arm64")
        .library("https://library.example.org")
        .signed(true);
    assert_snapshot!(rendered(&command, &[Search::FLAGS]), @r"
        search
        --arch arm64
        --library https://library.example.org
        --signed tool
    ");
}

#[test]
fn sign() {
    let mut command = Sign::new("a.sif");
    command
        .group_id(2_u32)
        .key("key.pem")
        .keyidx(1_u32)
        .sif_id(3_u32);
    assert_snapshot!(rendered(&command, &[Sign::FLAGS]), @r"
        sign
        --group-id 2
        --key key.pem
        --keyidx 1
        --sif-id 3 a.sif
    ");
}

#[test]
fn verify() {
    let mut command = Verify::new("a.sif");
    command
        .all(true)
        .certificate("cert.pem")
        .certificate_intermediates("more.pem")
        .certificate_roots("roots.pem")
        .group_id(2_u32)
        .json(true)
        .key("key.pem")
        .legacy_insecure(true)
        .local(true)
        .ocsp_verify(true)
        .sif_id(3_u32)
        .url("https://keys.example.org");
    assert_snapshot!(rendered(&command, &[Verify::FLAGS]), @r"
        verify
        --all
        --certificate cert.pem
        --certificate-intermediates more.pem
        --certificate-roots roots.pem
        --group-id 2
        --json
        --key key.pem
        --legacy-insecure
        --local
        --ocsp-verify
        --sif-id 3
        --url https://keys.example.org a.sif
    ");
}

#[test]
fn run_help() {
    let mut command = RunHelp::new("a.sif");
    command.app("tool");
    assert_snapshot!(rendered(&command, &[RunHelp::FLAGS]), @r"
        run-help
        --app tool a.sif
    ");
}

#[test]
fn confgen() {
    assert_snapshot!(rendered(&ConfGen::fresh("new.conf"), &[]), @"confgen new.conf");
    assert_snapshot!(rendered(&ConfGen::from_old("old.conf", "new.conf"), &[]), @"confgen old.conf new.conf");
}
