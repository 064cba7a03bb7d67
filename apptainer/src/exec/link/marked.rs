//! What an agent that was killed has left, known by its marks: see the agent's `mark.rs`.

use std::fs;
use std::io;

use apptainer_sys::process::{Pid, PidFd, Process, Signal};

/// The marks of one agent.
struct Marks {
    variable: String,
    /// The upper half of the soft limit on file locks.
    limit: u64,
}

/// Kills whatever an agent with this token has started.
pub(super) fn kill_marked(token: &[u8; 16]) -> io::Result<()> {
    // What it starts before it dies bears the marks too.
    const ROUNDS: usize = 16;
    let marks = Marks::of(token);
    for _ in 0..ROUNDS {
        let mut is_clean = true;
        for process in Process::all()? {
            let Ok(pidfd) = PidFd::open(process.pid) else {
                continue;
            };
            if marks.are_on(process.pid) {
                is_clean = false;
                let _ = pidfd.signal(Signal::KILL);
            }
        }
        if is_clean {
            break;
        }
    }
    Ok(())
}

impl Marks {
    fn of(token: &[u8; 16]) -> Self {
        let [b0, b1, b2, b3, ..] = *token;
        let digits = token.iter().map(|byte| format!("{byte:02x}"));
        Self {
            variable: format!("APPTAINER_RS_EXEC={}", digits.collect::<String>()),
            limit: u64::from(u32::from_le_bytes([b0, b1, b2, b3]) >> 1),
        }
    }

    /// Whether a process bears one. Those of others cannot be read, nor those of zombies.
    fn are_on(&self, pid: Pid) -> bool {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut variables = environ.split(|byte| *byte == 0);
        if variables.any(|variable| variable.starts_with(self.variable.as_bytes())) {
            return true;
        }
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap_or_default();
        file_locks(&limits).is_some_and(|soft| soft >> 32 == self.limit)
    }
}

/// The soft limit on file locks, if there is one, from `/proc/PID/limits`.
fn file_locks(limits: &str) -> Option<u64> {
    let mut lines = limits.lines();
    let limits = lines.find_map(|line| line.strip_prefix("Max file locks"))?;
    limits.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_on_file_locks_is_read() {
        let limits = "Max locked memory         8388608              8388608              bytes     \n\
            Max file locks            12884901891          unlimited            locks     \n";
        assert_eq!(file_locks(limits), Some(12_884_901_891));
        let none =
            "Max file locks            unlimited            unlimited            locks     \n";
        assert_eq!(file_locks(none), None);
    }

    #[test]
    fn an_unmarked_process_bears_no_marks() {
        let me = Pid::try_from(std::process::id()).unwrap();
        assert!(!Marks::of(&[7; 16]).are_on(me));
    }
}
