//! What has happened, in memory and bounded.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::agent_server::wire::{BashCommand, BashEvent, BashEventPage, BashOutput};

/// How many events are kept.
const MOST: usize = 10_000;

/// What an event takes besides its texts, about.
const OVERHEAD: usize = 512;

/// What has happened: events by their number.
#[derive(Debug)]
pub(super) struct Events {
    kept: Mutex<Kept>,
    /// How much of them may be kept, in bytes.
    limit: usize,
    /// How many there have been.
    count: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    events: BTreeMap<u64, Arc<Event>>,
    by_id: HashMap<String, u64>,
    /// Commands that run, and what has them end.
    running: HashMap<String, CancellationToken>,
    bytes: usize,
    next: u64,
    /// When the last one was, in microseconds.
    last: i64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) event: BashEvent,
    moment: i64,
    bytes: usize,
}

impl Event {
    fn id(&self) -> &str {
        match &self.event {
            BashEvent::Command(command) => &command.id,
            BashEvent::Output(output) => &output.id,
            BashEvent::Error(_) => "",
        }
    }

    fn output(&self) -> Option<&BashOutput> {
        match &self.event {
            BashEvent::Output(output) => Some(output),
            _ => None,
        }
    }

    /// The command that it is of.
    fn command(&self) -> &str {
        self.output().map_or(self.id(), |output| &output.command_id)
    }
}

/// Which events are searched for.
#[derive(Debug, Clone, Default)]
pub(super) struct Search {
    /// Only outputs, or only commands.
    pub(super) outputs: Option<bool>,
    /// Only outputs of this command.
    pub(super) command: Option<String>,
    pub(super) from: Option<i64>,
    pub(super) before: Option<i64>,
    pub(super) order_above: Option<i64>,
    pub(super) newest_first: bool,
    /// With which it begins.
    pub(super) page: Option<String>,
    pub(super) limit: usize,
}

impl Search {
    fn is_met(&self, event: &Event) -> bool {
        let output = event.output();
        let is_above = |output: &BashOutput| {
            let order = i64::try_from(output.order).unwrap_or(i64::MAX);
            self.order_above.is_none_or(|above| order > above)
        };
        let is_of = |command: &String| output.is_some_and(|output| output.command_id == *command);
        self.outputs.is_none_or(|wanted| output.is_some() == wanted)
            && self.command.as_ref().is_none_or(is_of)
            && self.from.is_none_or(|from| event.moment >= from)
            && self.before.is_none_or(|before| event.moment < before)
            && output.is_none_or(is_above)
    }
}

impl Events {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            kept: Mutex::default(),
            limit,
            count: watch::Sender::new(0),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells how many there have been, when that changes.
    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.count.subscribe()
    }

    /// How many there have been.
    pub(super) fn count(&self) -> u64 {
        self.kept().next
    }

    /// A command begins, which `stop` ends.
    pub(super) fn begin(
        &self,
        command: String,
        cwd: Option<String>,
        timeout: i64,
        stop: CancellationToken,
    ) -> BashCommand {
        let mut kept = self.kept();
        let moment = kept.moment();
        let command = BashCommand {
            id: new_id(),
            timestamp: text_of(moment),
            command,
            cwd,
            timeout,
        };
        kept.running.insert(command.id.clone(), stop);
        self.add(kept, moment, BashEvent::Command(command.clone()));
        command
    }

    /// It has written something.
    pub(super) fn wrote(&self, command: &str, order: u64, stdout: String, stderr: String) {
        self.output(command, order, None, stdout, stderr);
    }

    /// It has ended, having written this last.
    pub(super) fn ended(
        &self,
        command: &str,
        order: u64,
        code: i32,
        stdout: String,
        stderr: String,
    ) {
        self.output(command, order, Some(code), stdout, stderr);
    }

    fn output(
        &self,
        command: &str,
        order: u64,
        exit_code: Option<i32>,
        stdout: String,
        stderr: String,
    ) {
        let some = |text: String| (!text.is_empty()).then_some(text);
        let mut kept = self.kept();
        let moment = kept.moment();
        if exit_code.is_some() {
            kept.running.remove(command);
        }
        let output = BashOutput {
            id: new_id(),
            timestamp: text_of(moment),
            command_id: command.to_owned(),
            order,
            exit_code,
            stdout: some(stdout),
            stderr: some(stderr),
        };
        self.add(kept, moment, BashEvent::Output(output));
    }

    fn add(&self, mut kept: MutexGuard<'_, Kept>, moment: i64, event: BashEvent) {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let bytes = match &event {
            BashEvent::Command(command) => command.command.len() + length(&command.cwd),
            BashEvent::Output(output) => length(&output.stdout) + length(&output.stderr),
            BashEvent::Error(_) => 0,
        };
        let bytes = bytes + OVERHEAD;
        let event = Arc::new(Event {
            event,
            moment,
            bytes,
        });
        let number = kept.next;
        kept.next += 1;
        kept.bytes += bytes;
        kept.by_id.insert(event.id().to_owned(), number);
        kept.events.insert(number, event);
        kept.make_room(self.limit);
        let count = kept.next;
        drop(kept);
        self.count.send_replace(count);
    }

    /// Whether a command runs.
    pub(super) fn runs(&self, command: &str) -> bool {
        self.kept().running.contains_key(command)
    }

    /// What ends a command, if it runs.
    pub(super) fn running(&self, command: &str) -> Option<CancellationToken> {
        self.kept().running.get(command).cloned()
    }

    /// One of them.
    pub(super) fn get(&self, id: &str) -> Option<Arc<Event>> {
        let kept = self.kept();
        let number = kept.by_id.get(id)?;
        kept.events.get(number).cloned()
    }

    /// The next one from a number on, with its number.
    pub(super) fn from(&self, number: u64) -> Option<(u64, Arc<Event>)> {
        let kept = self.kept();
        let (number, event) = kept.events.range(number..).next()?;
        Some((*number, Arc::clone(event)))
    }

    /// Forgets all.
    pub(super) fn clear(&self) -> u64 {
        let mut kept = self.kept();
        let count = kept.events.len();
        kept.events.clear();
        kept.by_id.clear();
        kept.bytes = 0;
        u64::try_from(count).unwrap_or(u64::MAX)
    }

    pub(super) fn search(&self, search: &Search) -> BashEventPage {
        let kept = self.kept();
        // One that is not known begins at the beginning.
        let page = search.page.as_ref();
        let page = page.and_then(|page| kept.by_id.get(page)).copied();
        let found: Vec<_> = if search.newest_first {
            let to = page.map_or(Bound::Unbounded, Bound::Included);
            let events = kept.events.range((Bound::Unbounded, to)).rev();
            taken(events, search)
        } else {
            taken(kept.events.range(page.unwrap_or(0)..), search)
        };
        drop(kept);
        let next = found.get(search.limit).map(|event| event.id().to_owned());
        let items = found.into_iter().take(search.limit);
        BashEventPage {
            items: items.map(|event| event.event.clone()).collect(),
            next_page_id: next,
        }
    }

    /// All that is kept of what a command wrote, as one.
    pub(super) fn joined(&self, command: &str) -> BashOutput {
        let kept = self.kept();
        let outputs = kept.events.values().filter_map(|event| event.output());
        let mut joined: Option<BashOutput> = None;
        for output in outputs.filter(|output| output.command_id == command) {
            let Some(whole) = &mut joined else {
                joined = Some(output.clone());
                continue;
            };
            let before = (whole.stdout.take(), whole.stderr.take());
            let join = |before: Option<String>, more: &Option<String>| match (before, more) {
                (Some(before), Some(more)) => Some(before + more),
                (before, more) => before.or_else(|| more.clone()),
            };
            *whole = BashOutput {
                stdout: join(before.0, &output.stdout),
                stderr: join(before.1, &output.stderr),
                id: output.id.clone(),
                timestamp: output.timestamp.clone(),
                command_id: output.command_id.clone(),
                order: output.order,
                exit_code: output.exit_code,
            };
        }
        let mut joined = joined.unwrap_or_else(|| BashOutput {
            id: new_id(),
            timestamp: text_of(Timestamp::now().as_microsecond()),
            command_id: command.to_owned(),
            order: 0,
            exit_code: None,
            stdout: None,
            stderr: None,
        });
        joined.exit_code.get_or_insert(-1);
        joined
    }
}

/// Those that are searched for, and one more.
fn taken<'a>(
    events: impl Iterator<Item = (&'a u64, &'a Arc<Event>)>,
    search: &Search,
) -> Vec<Arc<Event>> {
    let met = events.filter(|(_, event)| search.is_met(event));
    let met = met.map(|(_, event)| Arc::clone(event));
    met.take(search.limit.saturating_add(1)).collect()
}

impl Kept {
    /// Now; later than the one before in any case.
    fn moment(&mut self) -> i64 {
        self.last = Timestamp::now().as_microsecond().max(self.last + 1);
        self.last
    }

    /// Forgets the oldest where there are too many: of commands that have ended, and then what those
    /// that run have written. The newest one stays.
    fn make_room(&mut self, limit: usize) {
        if self.bytes <= limit && self.events.len() <= MOST {
            return;
        }
        // More than has to be, so that it is not done for each.
        let (limit, most) = (limit / 10 * 9, MOST / 10 * 9);
        for takes_running in [false, true] {
            let last = self.next - 1;
            let (mut bytes, mut count) = (self.bytes, self.events.len());
            let mut gone = Vec::new();
            for (number, event) in self.events.range(..last) {
                if bytes <= limit && count <= most {
                    break;
                }
                let runs = self.running.contains_key(event.command());
                if !runs || (takes_running && event.output().is_some()) {
                    bytes -= event.bytes;
                    count -= 1;
                    gone.push(*number);
                }
            }
            for number in gone {
                if let Some(event) = self.events.remove(&number) {
                    self.by_id.remove(event.id());
                }
            }
            self.bytes = bytes;
        }
    }
}

fn new_id() -> String {
    Uuid::new_v4().simple().to_string()
}

/// A moment as RFC 3339 has it.
fn text_of(moment: i64) -> String {
    let moment = Timestamp::from_microsecond(moment).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::{Events, MOST, Search, text_of};
    use crate::agent_server::wire::{BashCommand, BashEvent};

    fn orders(events: &Events, search: &Search) -> Vec<u64> {
        let order = |event: &BashEvent| match event {
            BashEvent::Output(output) => Some(output.order),
            _ => None,
        };
        events
            .search(search)
            .items
            .iter()
            .filter_map(order)
            .collect()
    }

    fn begin(events: &Events, line: &str) -> BashCommand {
        events.begin(line.into(), None, 1, CancellationToken::new())
    }

    fn all() -> Search {
        Search {
            limit: 100,
            ..Search::default()
        }
    }

    #[test]
    fn moments_are_written_with_microseconds() {
        assert_eq!(text_of(1_000_002), "1970-01-01T00:00:01.000002Z");
    }

    #[test]
    fn pages_follow_each_other_in_both_directions() {
        let events = Events::new(1 << 20);
        let command = begin(&events, "a");
        for order in 0..7 {
            events.wrote(&command.id, order, order.to_string(), String::new());
        }
        for newest_first in [false, true] {
            let mut search = Search {
                outputs: Some(true),
                command: Some(command.id.clone()),
                newest_first,
                limit: 3,
                ..Search::default()
            };
            let mut found = Vec::new();
            loop {
                found.extend(orders(&events, &search));
                search.page = events.search(&search).next_page_id;
                if search.page.is_none() {
                    break;
                }
            }
            let mut expected: Vec<_> = (0..7).collect();
            if newest_first {
                expected.reverse();
            }
            assert_eq!(found, expected);
        }
        let above = Search {
            order_above: Some(4),
            ..all()
        };
        assert_eq!(orders(&events, &above), [5, 6]);
        assert_eq!(events.clear(), 8);
        assert!(events.search(&all()).items.is_empty());
    }

    #[test]
    fn the_oldest_of_what_has_ended_is_forgotten_first() {
        let events = Events::new(100_000);
        let runs = begin(&events, "runs");
        events.wrote(&runs.id, 0, "x".repeat(10_000), String::new());
        for _ in 0..50 {
            let ended = begin(&events, "ended");
            events.ended(&ended.id, 0, 0, "x".repeat(10_000), String::new());
            assert!(events.kept().bytes <= 100_000);
        }
        assert_eq!(events.joined(&runs.id).stdout.unwrap().len(), 10_000);
        for order in 1..50 {
            events.wrote(&runs.id, order, "x".repeat(10_000), String::new());
            assert!(events.kept().bytes <= 100_000);
        }
        assert!(events.get(&runs.id).is_some());
        events.ended(&runs.id, 50, 3, String::new(), String::new());
        assert_eq!(events.joined(&runs.id).exit_code, Some(3));
        for _ in 0..2 * MOST {
            events.wrote("none", 0, String::new(), String::new());
        }
        let kept = events.kept();
        assert!(kept.events.len() <= MOST && kept.by_id.len() == kept.events.len());
    }
}
