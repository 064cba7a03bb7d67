//! Servers that do not tell the truth: a container's processes could be in their place.

use std::fs::{self, File};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::thread::JoinHandle;

use apptainer_sys::process::Seqpacket;

use super::copy::Job;
use super::depth::with_room;
use super::options::Options;
use super::tree_out::download_tree;
use crate::exec::files_protocol::{Entries, FileReply, FileRequest, Status};
use crate::files::session::{Remote, Session, Wire};
use crate::files::{FilesError, Metadata};

const DIRECTORY: u8 = 4;
const FILE: u8 = 8;
const LINK: u8 = 10;

fn status(kind: u8) -> Status {
    Status {
        mode: u32::from(kind) << 12 | 0o755,
        size: 4,
        uid: 0,
        gid: 0,
        links: 1,
        device: 0,
        inode: 0,
        modified: (0, 0),
    }
}

fn say(socket: &Seqpacket, reply: &FileReply<'_>, fds: &[BorrowedFd<'_>]) {
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    // Whom it is said to may have had enough.
    let _ = socket.send(&bytes, fds);
}

/// One whose directories hold these, and whose links lead to `../precious`.
/// What is in a directory named `twice` is a file.
fn server(socket: Seqpacket, entries: Vec<(u8, &'static [u8])>, file: File) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = match socket.receive(&mut buffer) {
                Ok(packet) if packet.length == 0 => return,
                Ok(packet) => packet.length,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                    continue;
                }
                Err(_) => return,
            };
            match FileRequest::decode(&buffer[..length]).unwrap() {
                FileRequest::List(path) => {
                    let is_inside = path.to_bytes().ends_with(b"twice");
                    let inside = [(FILE, &b"evil"[..])];
                    let entries = if is_inside { &inside[..] } else { &entries };
                    let mut bytes = Vec::new();
                    for (kind, name) in entries {
                        Entries::put(&mut bytes, *kind, name);
                    }
                    let entries = Entries::new(&bytes).unwrap();
                    say(&socket, &FileReply::Entries(entries), &[]);
                    say(&socket, &FileReply::Done, &[]);
                }
                FileRequest::Status { .. } => {
                    say(&socket, &FileReply::Found(status(DIRECTORY)), &[]);
                }
                FileRequest::ReadLink(_) => say(&socket, &FileReply::Link(b"../precious"), &[]),
                FileRequest::Open { .. } => {
                    say(&socket, &FileReply::Opened(status(FILE)), &[file.as_fd()]);
                }
                request => panic!("nobody asks for {request:?}"),
            }
        }
    })
}

fn download(
    entries: Vec<(u8, &'static [u8])>,
    file: File,
    destination: &Path,
) -> Result<(), FilesError> {
    let (ours, theirs) = Seqpacket::pair().unwrap();
    let server = server(theirs, entries, file);
    let wire = Wire::new(ours);
    let mut session = Session::new(wire.clone());
    let mut job = Job::new(&wire, Options::default());
    let root = Remote::new("/root").unwrap();
    let found = Metadata {
        status: status(DIRECTORY),
    };
    let result =
        with_room(|| download_tree(&mut session, &mut job, &root, &found, destination)).unwrap();
    drop((session, job, wire));
    server.join().unwrap();
    result
}

fn names(folder: &Path) -> Vec<std::ffi::OsString> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    for name in [
        &b".."[..],
        b".",
        b"",
        b"../evil",
        b"/evil",
        b"a/b",
        b"nul\0",
    ] {
        for kind in [DIRECTORY, FILE, LINK] {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join("there")).unwrap();
            for destination in ["new", "there"] {
                let path = folder.path().join(destination);
                let file = File::open("/etc/passwd").unwrap();
                let error = download(vec![(kind, name)], file, &path).unwrap_err();
                let is_told = matches!(error, FilesError::Escapes { .. } | FilesError::Path { .. });
                assert!(is_told, "{name:?}: {error:?}");
                assert_eq!(names(folder.path()), ["there"]);
                assert!(names(&folder.path().join("there")).is_empty());
            }
        }
    }
}

#[test]
fn what_is_a_link_and_then_a_directory_is_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let precious = folder.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::create_dir(folder.path().join("there")).unwrap();
    for destination in ["new", "there"] {
        let entries = vec![(LINK, &b"twice"[..]), (DIRECTORY, b"twice")];
        let file = File::open("/etc/passwd").unwrap();
        let path = folder.path().join(destination);
        download(entries, file, &path).unwrap_err();
    }
    assert!(names(&precious).is_empty());
}

#[test]
fn directories_without_an_end_come_to_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new");
    let file = File::open("/etc/passwd").unwrap();
    download(vec![(DIRECTORY, b"d")], file, &path).unwrap_err();
    assert!(names(folder.path()).is_empty());
}

#[test]
fn a_descriptor_of_something_else_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody writes to it, and a read would wait for that.
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let file = File::options().read(true).write(true).open(&pipe).unwrap();
    let path = folder.path().join("new");
    let error = download(vec![(FILE, b"file")], file, &path).unwrap_err();
    assert!(matches!(error, FilesError::Special { .. }), "{error:?}");
    assert!(!path.exists());
}

#[test]
fn a_file_that_is_longer_than_it_is_said_to_be_is_not_taken() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "longer than that").unwrap();
    let path = folder.path().join("new");
    let error = download(vec![(FILE, b"file")], File::open(file).unwrap(), &path).unwrap_err();
    assert!(matches!(error, FilesError::Changed { .. }), "{error:?}");
    assert!(!path.exists());
}
