//! What the supervisor makes of a description, once that has been found to hold.

use std::ffi::OsString;
use std::time::Duration;

use crate::Image;
use crate::container::Settings;
use crate::instance::remains::Naming;

/// What runs in an instance.
#[derive(Debug, Clone)]
pub(super) enum Program {
    /// Nothing but what is asked for.
    Nothing,
    /// The image's startscript, which the instance outlives.
    Startscript(Vec<OsString>),
    /// The image's runscript.
    Runscript(Vec<OsString>),
    /// A program in the container.
    Command(Vec<OsString>),
}

/// An instance to start.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) name: String,
    pub(super) naming: Naming,
    pub(super) image: Image,
    pub(super) settings: Settings,
    pub(super) program: Program,
    /// How long starting may take.
    pub(super) deadline: Duration,
    /// How long it may take to obey when it is told to end.
    pub(super) grace: Duration,
}

/// Scripts of an image, one of which the agent takes the place of.
const STARTSCRIPT: &str = "/.singularity.d/startscript";
const RUNSCRIPT: &str = "/.singularity.d/runscript";

impl Program {
    /// Whether the agent is in the place of the runscript, so that the other can be run.
    pub(super) fn takes_runscript(&self) -> bool {
        matches!(self, Self::Startscript(_))
    }

    /// What the agent takes the place of.
    pub(super) fn agent_place(&self) -> &'static str {
        if self.takes_runscript() {
            RUNSCRIPT
        } else {
            STARTSCRIPT
        }
    }

    /// The words to start it with, if there is something to start.
    pub(super) fn argv(&self) -> Option<Vec<OsString>> {
        let script = |path: &str, args: &[OsString]| {
            let path = OsString::from(path);
            Some(std::iter::once(path).chain(args.iter().cloned()).collect())
        };
        match self {
            Self::Nothing => None,
            Self::Startscript(args) => script(STARTSCRIPT, args),
            Self::Runscript(args) => script(RUNSCRIPT, args),
            Self::Command(argv) => Some(argv.clone()),
        }
    }

    /// Whether the instance ends with it.
    pub(super) fn is_awaited(&self) -> bool {
        matches!(self, Self::Runscript(_) | Self::Command(_))
    }
}
