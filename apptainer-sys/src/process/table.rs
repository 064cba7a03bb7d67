//! The kernel's table of processes, as `/proc` shows it.

use std::fs;
use std::io;

/// A process id.
pub type Pid = i32;

/// What a process is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// Running, or ready to.
    Running,
    /// Waiting for something.
    Sleeping,
    /// Halted by a signal.
    Stopped,
    /// Ended and not yet waited for.
    Zombie,
    /// Something else.
    Other,
}

/// One process, as it was when it was read.
///
/// Source: `/proc/PID/stat`, proc(5).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// Its name: 15 bytes of the program's file name, or what it chose.
    pub name: String,
    /// What it is doing.
    pub state: State,
    /// Its parent.
    pub parent: Pid,
    /// Its process group.
    pub group: Pid,
    /// Its session.
    pub session: Pid,
    /// When it started, in clock ticks since boot: with the pid, this names a
    /// process for as long as the machine is up.
    pub started: u64,
}

impl Process {
    /// Reads one. `None` when there is no such process.
    pub fn read(pid: Pid) -> io::Result<Option<Self>> {
        match fs::read(format!("/proc/{pid}/stat")) {
            Ok(line) => Ok(Self::parse(&line)),
            Err(error) if gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads all that the caller may see. One that ends meanwhile may be missing.
    pub fn all() -> io::Result<Vec<Self>> {
        let mut all = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            if let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) {
                all.extend(Self::read(pid)?);
            }
        }
        Ok(all)
    }

    /// Its command line, word by word; empty for a zombie. `None` when there is no
    /// such process.
    pub fn command_line(pid: Pid) -> io::Result<Option<Vec<Vec<u8>>>> {
        let line = match fs::read(format!("/proc/{pid}/cmdline")) {
            Ok(line) => line,
            Err(error) if gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let words = line.split(|byte| *byte == 0).map(<[u8]>::to_vec);
        Ok(Some(words.filter(|word| !word.is_empty()).collect()))
    }

    /// The name stands in parentheses and may itself hold any byte but NUL.
    fn parse(line: &[u8]) -> Option<Self> {
        let open = line.iter().position(|byte| *byte == b'(')?;
        let close = line.iter().rposition(|byte| *byte == b')')?;
        let pid = std::str::from_utf8(&line[..open]).ok()?.trim();
        let name = line.get(open + 1..close)?;
        let rest = std::str::from_utf8(&line[close + 1..]).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<Pid>().ok();
        Some(Self {
            pid: pid.parse().ok()?,
            name: String::from_utf8_lossy(name).into_owned(),
            state: match *fields.first()? {
                "R" => State::Running,
                "S" | "D" | "I" => State::Sleeping,
                "T" | "t" => State::Stopped,
                "Z" | "X" => State::Zombie,
                _ => State::Other,
            },
            parent: number(1)?,
            group: number(2)?,
            session: number(3)?,
            started: fields.get(19)?.parse().ok()?,
        })
    }
}

/// A process may end between being listed and being read.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_is_no_obstacle() {
        let mut line = b"42 (a) (b c) S 7 8 9".to_vec();
        line.extend(b" 0".repeat(15));
        line.extend(b" 12345 0 0\n");
        let process = Process::parse(&line).unwrap();
        assert_eq!(process.name, "a) (b c");
        assert_eq!((process.pid, process.parent), (42, 7));
        assert_eq!((process.group, process.session), (8, 9));
        assert_eq!(process.started, 12345);
    }

    #[test]
    fn we_are_in_the_table() {
        let me = Pid::try_from(std::process::id()).unwrap();
        assert_eq!(Process::read(me).unwrap().unwrap().pid, me);
        assert!(
            Process::all()
                .unwrap()
                .iter()
                .any(|process| process.pid == me)
        );
    }

    #[test]
    fn a_process_that_is_not_there_is_none() {
        assert_eq!(Process::read(Pid::MAX).unwrap(), None);
    }

    proptest::proptest! {
        #[test]
        fn no_line_makes_the_parser_panic(line: Vec<u8>) {
            let _ = Process::parse(&line);
        }
    }
}
