//! What makes images.

use apptainer_sys::command::{Access, Bind, Build, Mount, Pull, Section, Subcommand};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn pull_with_every_flag() {
    let mut pull = Pull::new("a.sif", "docker://alpine:3");
    pull.arch("arm64")
        .arch_variant("v8")
        .authfile("auth.json")
        .dir("/srv/images")
        .disable_cache(true)
        .docker_host("tcp://localhost:2375")
        .docker_login(true)
        .force(true)
        .library("https://library.example.org")
        .no_cleanup(true)
        .no_https(true)
        .reproducible(true)
        .sandbox(true)
        .tmpdir("/var/tmp");
    assert_snapshot!(rendered(&pull, &[Pull::FLAGS]), @r"
        pull
        --arch arm64
        --arch-variant v8
        --authfile auth.json
        --dir /srv/images
        --disable-cache
        --docker-host tcp://localhost:2375
        --docker-login
        --force
        --library https://library.example.org
        --no-cleanup
        --no-https
        --reproducible
        --sandbox
        --tmpdir /var/tmp a.sif docker://alpine:3
    ");
}

#[test]
fn build_with_every_flag() {
    let mut build = Build::new("a.sif", "a.def");
    build
        .arch("arm64")
        .arch_variant("v8")
        .authfile("auth.json")
        .bind(Bind::new("/srv/a:b"))
        .bind(Bind::new("/srv/c").to("/c").read_only())
        .build_arg("VERSION=1")
        .build_arg("NAME=a,b")
        .build_arg_file("build.args")
        .buildkit_host("unix:///run/buildkit.sock")
        .data(true)
        .disable_cache(true)
        .docker_host("tcp://localhost:2375")
        .docker_login(true)
        .encrypt(true)
        .fakeroot(true)
        .fix_perms(true)
        .force(true)
        .ignore_fakeroot_command(true)
        .ignore_proot(true)
        .ignore_subuid(true)
        .ignore_userns(true)
        .json(true)
        .library("https://library.example.org")
        .mksquashfs_args("-comp zstd")
        .mount(Mount::bind("/a,b", "/c"))
        .mount(Mount::bind("/d", "/e").access(Access::ReadOnly))
        .no_cleanup(true)
        .no_https(true)
        .notest(true)
        .nv(true)
        .nvccli(true)
        .passphrase(true)
        .pem_path("key.pem")
        .reproducible(true)
        .rocm(true)
        .sandbox(true)
        .section(Section::Post)
        .section(Section::Test)
        .tmpdir("/var/tmp")
        .update(true)
        .userns(true)
        .warn_unused_build_args(true)
        .writable_tmpfs(true);
    assert_snapshot!(rendered(&build, &[Build::FLAGS]), @r#"
        build
        --arch arm64
        --arch-variant v8
        --authfile auth.json
        --bind /srv/a\:b
        --bind /srv/c:/c:ro
        --build-arg VERSION=1
        --build-arg "NAME=a,b"
        --build-arg-file build.args
        --buildkit-host unix:///run/buildkit.sock
        --data
        --disable-cache
        --docker-host tcp://localhost:2375
        --docker-login
        --encrypt
        --fakeroot
        --fix-perms
        --force
        --ignore-fakeroot-command
        --ignore-proot
        --ignore-subuid
        --ignore-userns
        --json
        --library https://library.example.org
        --mksquashfs-args -comp zstd
        --mount type=bind,"source=/a,b",destination=/c
        --mount type=bind,source=/d,destination=/e,ro
        --no-cleanup
        --no-https
        --notest
        --nv
        --nvccli
        --passphrase
        --pem-path key.pem
        --reproducible
        --rocm
        --sandbox
        --section post
        --section test
        --tmpdir /var/tmp
        --update
        --userns
        --warn-unused-build-args
        --writable-tmpfs a.sif a.def
    "#);
}

#[test]
fn files_whose_names_look_like_flags() {
    assert_eq!(
        Build::new("-a.sif", "--sandbox").argv(),
        ["build", "./-a.sif", "./--sandbox"]
    );
}
