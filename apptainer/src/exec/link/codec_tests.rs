//! Messages and frames as bytes, both ways.

use proptest::prelude::*;
use proptest::sample::select;

use super::frame::{HEADER, Header, Kind, MAX_PAYLOAD, Stream};
use super::protocol::{
    End, Hello, Limit, Limits, Listed, MAX_LIMITS, Orphans, Reply, Request, Scope, Spawn, Stage,
    Usage, Welcome, flags,
};

fn hello() -> impl Strategy<Value = Request<'static>> {
    let orphans = select(&[Orphans::Kill, Orphans::Keep][..]);
    let fields = (any::<(u16, u16)>(), orphans, any::<[u8; 16]>());
    fields.prop_map(|((oldest, newest), orphans, token)| {
        Request::Hello(Hello {
            oldest,
            newest,
            orphans,
            token,
        })
    })
}

fn plain_request() -> impl Strategy<Value = Request<'static>> {
    let scopes = select(&[Scope::Process, Scope::Group, Scope::Tree][..]);
    prop_oneof![
        hello(),
        any::<u64>().prop_map(Request::Ping),
        any::<u64>().prop_map(Request::List),
        any::<u64>().prop_map(Request::Attach),
        (1..=64_u8, scopes).prop_map(|(number, scope)| Request::Signal(number, scope)),
        any::<(u16, u16)>().prop_map(|(rows, columns)| Request::Resize(rows, columns)),
        select(
            &[
                Request::Goodbye,
                Request::Kill,
                Request::Release,
                Request::Terminate,
            ][..]
        ),
    ]
}

prop_compose! {
    fn end()(is_signal: bool, code: u8, signal in 1..=64_u8) -> End {
        if is_signal { End::Signal(signal) } else { End::Code(code) }
    }
}

prop_compose! {
    fn usage()(numbers: [u64; 9]) -> Usage {
        let [user, system, max_resident, minor_faults, major_faults, ..] = numbers;
        let [.., blocks_read, blocks_written, voluntary_switches, involuntary_switches] = numbers;
        Usage {
            user,
            system,
            max_resident,
            minor_faults,
            major_faults,
            blocks_read,
            blocks_written,
            voluntary_switches,
            involuntary_switches,
        }
    }
}

prop_compose! {
    fn listed()(id: u64, pid: u32, end in proptest::option::of(end())) -> Listed {
        Listed { id, pid, end }
    }
}

fn reply() -> impl Strategy<Value = Reply> {
    let welcome = any::<(u16, u32, [u8; 16])>().prop_map(|(version, pid, token)| Welcome {
        version,
        pid,
        token,
    });
    prop_oneof![
        welcome.prop_map(Reply::Welcome),
        any::<(u16, u16)>().prop_map(|(oldest, newest)| Reply::Refused { oldest, newest }),
        any::<u64>().prop_map(Reply::Pong),
        Just(Reply::Farewell),
        proptest::option::of(listed()).prop_map(Reply::Listed),
        any::<(u64, u32)>().prop_map(|(id, pid)| Reply::Started { id, pid }),
        (select(&Stage::ALL[..]), any::<i32>())
            .prop_map(|(stage, error)| Reply::Failed { stage, error }),
        (end(), usage()).prop_map(|(end, usage)| Reply::Exited { end, usage }),
    ]
}

fn limits() -> impl Strategy<Value = Vec<(u8, u64, u64)>> {
    proptest::collection::vec(any::<(u8, u64, u64)>(), 0..=MAX_LIMITS)
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(1..=u8::MAX, 0..20)
}

prop_compose! {
    fn header()(
        channel in 1..=u32::MAX,
        stream in select(&[Stream::Stdin, Stream::Stdout, Stream::Stderr][..]),
        kind in 0..8,
        length in 1..=u32::try_from(MAX_PAYLOAD).unwrap(),
    ) -> Header {
        let (kind, length) = match kind {
            0 => (Kind::Message, length),
            1 => (Kind::Words, length),
            2 => (Kind::Data(stream), length),
            3 => (Kind::End(stream), 0),
            4 => (Kind::Credit(stream), 4),
            5 => (Kind::Close(stream), 0),
            6 => (Kind::Drained(stream), 0),
            _ => (Kind::HangUp, 0),
        };
        Header { channel, kind, length }
    }
}

fn encoded(request: &Request<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    request.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn requests_are_read_as_they_were_written(request in plain_request()) {
        let bytes = encoded(&request);
        prop_assert_eq!(Request::decode(&bytes), Ok(request));
    }

    #[test]
    fn a_spawn_is_read_as_it_was_written(
        numbers: (u16, u16),
        flags in 0..=flags::ALL,
        umask in proptest::option::of(0..=0o777_u32),
        nice in -40..=40_i32,
        limits in limits(),
        words in [proptest::collection::vec(word(), 1..5), proptest::collection::vec(word(), 0..5)],
    ) {
        let mut all = vec![0];
        for word in words.iter().flatten() {
            all.extend_from_slice(word);
            all.push(0);
        }
        let mut encoded_limits = Vec::new();
        for (resource, soft, hard) in limits.iter().copied() {
            Limit { resource, soft, hard }.encode(&mut encoded_limits);
        }
        let count = |words: &[Vec<u8>]| u32::try_from(words.len()).unwrap();
        let is_apart = flags & flags::WORDS_APART != 0;
        let spawn = Spawn {
            flags,
            umask,
            nice,
            rows: numbers.0,
            columns: numbers.1,
            limits: Limits::new(&encoded_limits),
            args: count(&words[0]),
            set: count(&words[1]),
            removed: 0,
            words: if is_apart { &[] } else { &all },
        };
        prop_assert!(spawn.are_words(&all));
        let request = Request::Spawn(spawn);
        let bytes = encoded(&request);
        prop_assert_eq!(Request::decode(&bytes), Ok(request));
        let read = spawn.limits.iter().map(|limit| (limit.resource, limit.soft, limit.hard));
        prop_assert_eq!(read.collect::<Vec<_>>(), limits);
    }

    #[test]
    fn replies_are_read_as_they_were_written(reply in reply()) {
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        prop_assert!(bytes.len() <= Reply::MAX);
        prop_assert_eq!(Reply::decode(&bytes), Ok(reply));
    }

    #[test]
    fn frames_are_read_as_they_were_written(header in header()) {
        prop_assert_eq!(Header::decode(&header.encode()), Ok(header));
    }

    #[test]
    fn what_is_cut_short_or_has_more_behind_it_is_no_message(
        reply in reply(), request in plain_request(), more: u8,
    ) {
        let mut bytes = encoded(&request);
        prop_assert!(Request::decode(&bytes[..bytes.len() - 1]).is_err());
        bytes.push(more);
        prop_assert!(Request::decode(&bytes).is_err());
        let mut bytes = Vec::new();
        reply.encode(&mut bytes);
        prop_assert!(Reply::decode(&bytes[..bytes.len() - 1]).is_err());
        bytes.push(more);
        prop_assert!(Reply::decode(&bytes).is_err());
    }

    #[test]
    fn any_bytes_are_a_message_that_is_written_the_same_or_none(
        kind in prop_oneof![1..=6_u8, 16..=20_u8, 128..=132_u8, 144..=146_u8, any::<u8>()],
        rest: Vec<u8>,
    ) {
        let bytes = [&[kind], &rest[..]].concat();
        if let Ok(request) = Request::decode(&bytes) {
            prop_assert_eq!(encoded(&request), &bytes[..]);
        }
        if let Ok(reply) = Reply::decode(&bytes) {
            let mut written = Vec::new();
            reply.encode(&mut written);
            prop_assert_eq!(written, bytes);
        }
    }

    #[test]
    fn any_bytes_are_a_header_that_is_written_the_same_or_none(
        channel: [u8; 4], kind in 0..10_u8, stream in 0..4_u8, zero in 0..2_u8, length in 0..5_u8,
    ) {
        let [a, b, c, d] = channel;
        let bytes: [u8; HEADER] = [a, b, c, d, kind, stream, 0, zero, length, 0, 0, 0];
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes);
        }
    }
}
