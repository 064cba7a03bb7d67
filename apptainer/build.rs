//! Compiles the agent, for `src/exec/link/program.rs` to embed.
//!
//! With the compiler that compiles everything else and nothing more: the agent needs no
//! library but `core`, which is there for every target that the crate is built for.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=agent");
    println!("cargo::rustc-check-cfg=cfg(has_agent)");
    let architecture = variable("CARGO_CFG_TARGET_ARCH");
    let is_linux = variable("CARGO_CFG_TARGET_OS") == "linux";
    // Elsewhere every command is an `apptainer exec`.
    if !is_linux || !["x86_64", "aarch64"].contains(&architecture.as_str()) {
        return;
    }
    let program = Path::new(&variable("OUT_DIR")).join("agent");
    let mut rustc = Command::new(variable("RUSTC"));
    rustc
        .args(["--edition", "2024", "--crate-type", "bin"])
        .args(["--crate-name", "apptainer_agent"])
        .args(["--target", &variable("TARGET")])
        .args(["-C", "panic=abort", "-C", "relocation-model=static"])
        .args([
            "-C",
            "opt-level=s",
            "-C",
            "lto=fat",
            "-C",
            "codegen-units=1",
        ])
        .args(["-C", "debuginfo=0", "-C", "strip=symbols"])
        .args(["-C", "link-arg=-nostartfiles", "-C", "link-arg=-nostdlib"])
        .args(["-C", "link-arg=-static", "-C", "link-arg=-no-pie"])
        .args(["--cap-lints", "warn"])
        .arg("-o")
        .arg(&program)
        .arg("agent/main.rs");
    if let Some(linker) = env::var_os("RUSTC_LINKER") {
        let mut flag = std::ffi::OsString::from("linker=");
        flag.push(linker);
        rustc.arg("-C").arg(flag);
    }
    let output = rustc.output().expect("cargo's own compiler can be run");
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "the agent does not compile:\n{messages}"
    );
    for line in messages.lines().filter(|line| line.starts_with("warning")) {
        println!("cargo::warning=agent: {line}");
    }
    println!("cargo::rustc-cfg=has_agent");
}

fn variable(name: &str) -> String {
    println!("cargo::rerun-if-env-changed={name}");
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
