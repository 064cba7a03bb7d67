//! Messages to and from file servers as bytes, both ways.

use std::ffi::{CStr, CString};

use proptest::prelude::*;
use proptest::sample::select;

use super::files_protocol::{
    Attributes, Entries, FileReply, FileRequest, MAX_PATH, Removal, Status, opening,
};

prop_compose! {
    fn path()(bytes in proptest::collection::vec(1..=u8::MAX, 0..40)) -> CString {
        CString::new(bytes).unwrap()
    }
}

prop_compose! {
    fn time()(seconds: i64, nanoseconds in 0..1_000_000_000_u32) -> (i64, u32) {
        (seconds, nanoseconds)
    }
}

prop_compose! {
    fn attributes()(
        mode in proptest::option::of(0..=0o7777_u32),
        modified in proptest::option::of(time()),
    ) -> Attributes {
        Attributes { mode, modified }
    }
}

prop_compose! {
    fn status()(
        mode: u32, size: u64, ids: (u32, u32, u32), device: u64, inode: u64, modified in time(),
    ) -> Status {
        let (uid, gid, links) = ids;
        Status { mode, size, uid, gid, links, device, inode, modified }
    }
}

/// One of each kind, of these.
fn requests(
    [path, other]: [&CStr; 2],
    [yes, no]: [bool; 2],
    mode: u32,
    attributes: Attributes,
) -> Vec<FileRequest<'_>> {
    let flags = if yes { opening::ALL } else { opening::READ };
    vec![
        FileRequest::Open { flags, mode, path },
        FileRequest::Status { follows: no, path },
        FileRequest::ReadLink(path),
        FileRequest::List(path),
        FileRequest::MakeDirectory {
            mode,
            is_temporary: yes,
            path,
        },
        FileRequest::MakeLink {
            is_temporary: yes,
            target: other,
            path,
        },
        FileRequest::Remove(Removal::File, path),
        FileRequest::Remove(Removal::Directory, path),
        FileRequest::Remove(Removal::All, path),
        FileRequest::Rename {
            replaces: yes,
            syncs: no,
            attributes,
            from: path,
            to: other,
        },
        FileRequest::Set {
            follows: no,
            attributes,
            path,
        },
    ]
}

fn written(request: &FileRequest<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    bytes
}

fn written_reply(reply: &FileReply<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    reply.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn requests_are_read_as_they_were_written_and_not_otherwise(
        paths in [path(), path()],
        flags: [bool; 2],
        mode in 0..=0o7777_u32,
        attributes in attributes(),
        more: u8,
    ) {
        let paths = paths.each_ref().map(CString::as_c_str);
        for request in requests(paths, flags, mode, attributes) {
            let mut bytes = written(&request);
            prop_assert_eq!(FileRequest::decode(&bytes), Ok(request));
            prop_assert!(FileRequest::decode(&bytes[..bytes.len() - 1]).is_err());
            bytes.push(more);
            prop_assert!(FileRequest::decode(&bytes).is_err());
        }
    }

    #[test]
    fn replies_are_read_as_they_were_written(
        status in status(),
        error: i32,
        version: u16,
        target: Vec<u8>,
        names in proptest::collection::vec((any::<u8>(), any::<Vec<u8>>()), 0..5),
    ) {
        let mut entries = Vec::new();
        for (kind, name) in &names {
            Entries::put(&mut entries, *kind, name);
        }
        let entries = Entries::new(&entries).unwrap();
        let read = entries.iter().map(|(kind, name)| (kind, name.to_vec()));
        prop_assert_eq!(read.collect::<Vec<_>>(), names);
        for reply in [
            FileReply::Ready { version },
            FileReply::Done,
            FileReply::Failed(error),
            FileReply::Opened(status),
            FileReply::Found(status),
            FileReply::Link(&target),
            FileReply::Entries(entries),
        ] {
            let bytes = written_reply(&reply);
            prop_assert_eq!(FileReply::decode(&bytes), Ok(reply));
        }
    }

    #[test]
    fn any_bytes_are_a_message_that_is_written_the_same_or_none(
        kind in prop_oneof![1..=9_u8, 128..=134_u8, any::<u8>()],
        rest: Vec<u8>,
    ) {
        let bytes = [&[kind], &rest[..]].concat();
        if let Ok(request) = FileRequest::decode(&bytes) {
            prop_assert_eq!(written(&request), &bytes[..]);
        }
        if let Ok(reply) = FileReply::decode(&bytes) {
            prop_assert_eq!(written_reply(&reply), bytes);
        }
    }

    #[test]
    fn what_is_no_path_mode_or_time_is_refused(
        at in 0..6_usize,
        kind in select(&[3_u8, 4][..]),
    ) {
        // A NUL within, none at the end, too long.
        let mut bytes = vec![kind, 6, 0, b'p', b'a', b't', b'h', b's', 0];
        prop_assert!(FileRequest::decode(&bytes).is_ok());
        bytes[3 + at] = if at == 5 { b'x' } else { 0 };
        prop_assert!(FileRequest::decode(&bytes).is_err());
        let long = CString::new(vec![b'x'; MAX_PATH]).unwrap();
        let bytes = written(&FileRequest::List(&long));
        prop_assert!(FileRequest::decode(&bytes).is_err());
        for attributes in [
            Attributes { mode: Some(0o10000), modified: None },
            Attributes { mode: None, modified: Some((0, 1_000_000_000)) },
        ] {
            let bytes = written(&FileRequest::Set { follows: true, attributes, path: c"x" });
            prop_assert!(FileRequest::decode(&bytes).is_err());
        }
    }
}
