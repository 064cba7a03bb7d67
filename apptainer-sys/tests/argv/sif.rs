//! `apptainer sif ..`

use apptainer_sys::command::sif::{Add, Del, Dump, Header, Info, List, NewFile, SetPrim};
use apptainer_sys::sif::{Arch, DataType, FsType, HashType, PartitionType, SbomFormat};
use insta::assert_snapshot;

use crate::rendered;

#[test]
fn header() {
    assert_snapshot!(rendered(&Header::new("a.sif"), &[]), @"sif header a.sif");
}

#[test]
fn list() {
    assert_snapshot!(rendered(&List::new("a.sif"), &[]), @"sif list a.sif");
}

#[test]
fn new_file() {
    assert_snapshot!(rendered(&NewFile::new("a.sif"), &[]), @"sif new a.sif");
}

#[test]
fn info() {
    assert_snapshot!(rendered(&Info::new(2, "a.sif"), &[]), @"sif info 2 a.sif");
}

#[test]
fn dump() {
    assert_snapshot!(rendered(&Dump::new(2, "a.sif"), &[]), @"sif dump 2 a.sif");
}

#[test]
fn del() {
    assert_snapshot!(rendered(&Del::new(2, "a.sif"), &[]), @"sif del 2 a.sif");
}

#[test]
fn setprim() {
    assert_snapshot!(rendered(&SetPrim::new(2, "a.sif"), &[]), @"sif setprim 2 a.sif");
}

#[test]
fn add() {
    let mut command = Add::new("a.sif", "root.squashfs", DataType::Partition);
    command
        .alignment(4096_u32)
        .filename("recipe")
        .groupid(1_u32)
        .link(2_u32)
        .partarch(Arch::Amd64)
        .partfs(FsType::Squashfs)
        .parttype(PartitionType::PrimarySystem)
        .sbomformat(SbomFormat::SpdxJson)
        .signentity("433FE984")
        .signhash(HashType::Sha256);
    assert_snapshot!(rendered(&command, &[Add::FLAGS]), @r"
        sif add
        --alignment 4096
        --datatype 4
        --filename recipe
        --groupid 1
        --link 2
        --partarch 2
        --partfs 1
        --parttype 2
        --sbomformat spdx-json
        --signentity 433FE984
        --signhash 1 a.sif root.squashfs
    ");
}
