use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use flate2::read::GzDecoder;
use tar::Archive;

use super::*;

/// An entry of a tar file, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    kind: EntryType,
    mode: u32,
    link: Vec<u8>,
    content: Vec<u8>,
}

struct Fixture {
    folder: tempfile::TempDir,
    root: RootFs,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root");
        fs::create_dir(&path).unwrap();
        let root = RootFs {
            path,
            ..RootFs::default()
        };
        Self { folder, root }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path.join(path)
    }

    fn put(&self, path: &str, content: &str, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn write(&self, renamed: &Renamed) -> Result<(Layer, Vec<u8>), ExportError> {
        let target = self.folder.path().join("layer");
        let written = write(&self.root, renamed, &target, &Stop::default());
        let bytes = fs::read(&target).unwrap();
        fs::remove_file(&target).unwrap();
        Ok((written?, bytes))
    }

    fn entries(&self) -> Vec<(String, Found)> {
        let (layer, bytes) = self.write(&Renamed::new()).unwrap();
        assert_eq!(layer.blob, Blob::of(&bytes));
        let mut content = Vec::new();
        GzDecoder::new(&bytes[..])
            .read_to_end(&mut content)
            .unwrap();
        assert_eq!(layer.diff_id, Blob::of(&content).digest);
        entries(&content)
    }
}

fn entries(content: &[u8]) -> Vec<(String, Found)> {
    let mut archive = Archive::new(content);
    let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let header = entry.header();
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (0, 0));
        let mut read = Found {
            kind: header.entry_type(),
            mode: header.mode().unwrap(),
            link: entry.link_name_bytes().unwrap_or_default().into_owned(),
            content: Vec::new(),
        };
        entry.read_to_end(&mut read.content).unwrap();
        (
            String::from_utf8(entry.path_bytes().into_owned()).unwrap(),
            read,
        )
    };
    archive.entries().unwrap().map(read).collect()
}

#[test]
fn files_of_all_kinds_are_in_it_by_name() {
    let mut fixture = Fixture::new();
    fixture.put("b/su", "program", 0o755);
    fixture.put("a", "content", 0o640);
    fs::hard_link(fixture.path("a"), fixture.path("b/another")).unwrap();
    symlink("./../nowhere//x", fixture.path("link")).unwrap();
    let _socket = UnixListener::bind(fixture.path("socket")).unwrap();
    fixture.root.lost_bits.insert("b/su".into(), 0o4000);
    fs::set_permissions(&fixture.root.path, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(fixture.path("b"), Permissions::from_mode(0o1777)).unwrap();
    let read = |kind, mode, link: &str, content: &str| Found {
        kind,
        mode,
        link: link.into(),
        content: content.into(),
    };
    let expected = [
        ("./", read(EntryType::Directory, 0o755, "", "")),
        ("a", read(EntryType::Regular, 0o640, "", "content")),
        ("b/", read(EntryType::Directory, 0o1777, "", "")),
        ("b/another", read(EntryType::Link, 0o640, "a", "")),
        ("b/su", read(EntryType::Regular, 0o4755, "", "program")),
        (
            "link",
            read(EntryType::Symlink, 0o777, "./../nowhere//x", ""),
        ),
    ];
    let expected: Vec<_> = expected.map(|(path, read)| (path.to_owned(), read)).into();
    assert_eq!(fixture.entries(), expected);
}

#[test]
fn names_of_any_length_arrive() {
    let fixture = Fixture::new();
    let long = ["x".repeat(99), "y".repeat(200), "z".repeat(100)].join("/");
    fixture.put(&long, "content", 0o600);
    symlink(&long, fixture.path("link")).unwrap();
    let entries = fixture.entries();
    let (path, read) = entries.last().unwrap();
    assert_eq!((path, &read.content[..]), (&long, &b"content"[..]));
    let link = entries.iter().find(|(path, _)| path == "link").unwrap();
    assert_eq!(link.1.link, long.as_bytes());
}

#[test]
fn the_same_files_make_the_same_bytes_whenever_they_are_read() {
    let fixture = Fixture::new();
    fixture.put("a", "content", 0o644);
    let (first, _) = fixture.write(&Renamed::new()).unwrap();
    fs::read(fixture.path("a")).unwrap();
    fs::set_permissions(fixture.path("a"), Permissions::from_mode(0o644)).unwrap();
    let (second, _) = fixture.write(&Renamed::new()).unwrap();
    assert_eq!(first.blob, second.blob);
    assert_eq!(first.diff_id, second.diff_id);
}

#[test]
fn extended_attributes_are_records_of_their_own() {
    let fixture = Fixture::new();
    fixture.put("a", "content", 0o644);
    let flags = rustix::fs::XattrFlags::empty();
    let set = rustix::fs::setxattr(fixture.path("a"), "user.test", b"va\0lue", flags);
    if set == Err(rustix::io::Errno::OPNOTSUPP) {
        return;
    }
    set.unwrap();
    let (_, bytes) = fixture.write(&Renamed::new()).unwrap();
    let mut archive = Archive::new(GzDecoder::new(&bytes[..]));
    let mut entry = archive.entries().unwrap().nth(1).unwrap().unwrap();
    let mut records = entry.pax_extensions().unwrap().unwrap();
    let record = records.next().unwrap().unwrap();
    assert_eq!(record.key().unwrap(), "SCHILY.xattr.user.test");
    assert_eq!(record.value_bytes(), b"va\0lue");
}

#[test]
fn a_file_may_have_another_name_in_it() {
    let fixture = Fixture::new();
    fixture.put("from", "content", 0o644);
    let renamed = [("from".into(), "to".into())].into();
    let (_, bytes) = fixture.write(&renamed).unwrap();
    let mut content = Vec::new();
    GzDecoder::new(&bytes[..])
        .read_to_end(&mut content)
        .unwrap();
    let entries = entries(&content);
    let names: Vec<_> = entries.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(names, ["./", "from", "to"]);
    let contents = entries[1..].iter().map(|(_, found)| &found.content[..]);
    assert!(contents.eq([&b""[..], b"content"]));
}

#[test]
fn a_name_that_says_that_a_file_was_removed_is_refused() {
    let fixture = Fixture::new();
    fixture.put("a/.wh.b", "", 0o644);
    let error = fixture.write(&Renamed::new()).unwrap_err();
    assert!(matches!(error, ExportError::Whiteout { path } if path == fixture.path("a/.wh.b")));
}

#[test]
fn a_file_that_cannot_be_read_is_named_unless_it_is_ours() {
    if nix::unistd::geteuid().is_root() {
        return;
    }
    let mut fixture = Fixture::new();
    fixture.put("a", "content", 0);
    let error = fixture.write(&Renamed::new()).unwrap_err();
    assert!(
        matches!(&error, ExportError::Read { path, .. } if *path == fixture.path("a")),
        "{error:?}"
    );
    fixture.root.is_ours = true;
    let entries = fixture.entries();
    assert_eq!(
        (entries[1].1.mode, &entries[1].1.content[..]),
        (0, &b"content"[..])
    );
}

#[test]
fn a_file_that_becomes_shorter_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "short").unwrap();
    let mut content = Content {
        file: File::open(&path).unwrap(),
        left: 6,
        error: None,
    };
    io::copy(&mut content, &mut io::sink()).unwrap_err();
    assert!(content.error.is_some());
}
