//! Which descriptors a new process gets.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use apptainer_sys::process::{Inheritance, Mechanism, Signal, SpawnStage, Stdio};

use crate::{both_ways, output, shell, text};

/// A file that says its name.
fn named(folder: &tempfile::TempDir, name: &str) -> OwnedFd {
    let path = folder.path().join(name);
    fs::write(&path, name).unwrap();
    File::open(path).unwrap().into()
}

/// The same without close-on-exec, as C programs often leave them.
fn left_open(folder: &tempfile::TempDir, name: &str) -> OwnedFd {
    let file = named(folder, name);
    nix::fcntl::fcntl(
        file.as_fd(),
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    file
}

both_ways! {
    fn descriptors_get_the_numbers_that_were_asked_for(way) {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (named(&folder, "one"), named(&folder, "other"));
        // Each at the number that the other has here: one must not overwrite the other.
        let (low, high) = (one.as_raw_fd(), other.as_raw_fd());
        let mut spawn = shell(way, &format!("cat /proc/self/fd/{high} /proc/self/fd/{low}"));
        spawn.inherit(one, high).inherit(other, low);
        assert_eq!(text(&output(spawn)), "oneother");
    }

    fn a_number_is_given_once_and_not_to_a_stream(way) {
        let folder = tempfile::tempdir().unwrap();
        for numbers in [[3, 3], [2, 3], [-1, 3]] {
            let mut spawn = shell(way, "true");
            for number in numbers {
                spawn.inherit(named(&folder, "file"), number);
            }
            assert_eq!(spawn.spawn().unwrap_err().stage, SpawnStage::Arguments);
        }
        let mut spawn = shell(way, "true");
        spawn.inherit(named(&folder, "file"), i32::MAX);
        spawn.spawn().unwrap_err();
    }

    fn what_is_open_here_is_not_inherited(way) {
        // Whoever started the tests may have left something open for all below them.
        let before = output(shell(way, "ls /proc/self/fd"));
        let folder = tempfile::tempdir().unwrap();
        let _open = File::create(folder.path().join("open")).unwrap();
        let (_reader, _writer) = std::io::pipe().unwrap();
        let mut other = shell(way, "sleep 60");
        other.stdin(Stdio::pipe());
        let mut other = other.spawn().unwrap();
        assert_eq!(text(&output(shell(way, "ls /proc/self/fd"))), text(&before));
        other.signal(Signal::KILL).unwrap();
        other.wait().unwrap();
    }

    fn what_is_left_open_here_is_inherited_only_when_asked_for(way) {
        let folder = tempfile::tempdir().unwrap();
        let open = left_open(&folder, "open");
        let path = format!("/proc/self/fd/{}", open.as_raw_fd());
        let script = format!("cat {path} 2>/dev/null || echo closed");
        assert_eq!(text(&output(shell(way, &script))), "closed");
        let mut spawn = shell(way, &script);
        spawn.inheritance(Inheritance::Open);
        assert_eq!(text(&output(spawn)), "open");
    }

    fn what_lies_between_listed_numbers_is_not_inherited(way) {
        let folder = tempfile::tempdir().unwrap();
        let open: Vec<_> = (0..20).map(|_| left_open(&folder, "open")).collect();
        let numbers: Vec<_> = open.iter().map(AsRawFd::as_raw_fd).collect();
        let (low, high) = (numbers[3], numbers[12]);
        let mut spawn = shell(way, "ls /proc/$$/fd; true");
        spawn
            .inherit(named(&folder, "low"), low)
            .inherit(named(&folder, "high"), high);
        let listed = output(spawn);
        let mut inside: Vec<i32> = text(&listed)
            .lines()
            .map(|line| line.parse().unwrap())
            .filter(|number| *number > 2)
            .collect();
        inside.sort_unstable();
        assert_eq!(inside, [low, high]);
    }
}
