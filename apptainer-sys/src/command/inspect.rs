//! `apptainer inspect`.

use std::ffi::{OsStr, OsString};

use super::options::{options, positional};

options! {
    /// Shows the metadata of an image: `apptainer inspect IMAGE`.
    ///
    /// Without a selector it shows the labels.
    pub command Inspect = ["inspect"] {
        groups {}
        positional {
            image: OsString,
        }
        flags {
            /// Everything, as JSON.
            all: switch = "--all";
            /// Of one SCIF app in the image.
            app: value(String) = "--app";
            /// The definition file that it was built from.
            deffile: switch = "--deffile";
            /// Its environment scripts.
            environment: switch = "--environment";
            /// Its help text.
            helpfile: switch = "--helpfile";
            /// As JSON.
            json: switch = "--json";
            /// Its labels.
            labels: switch = "--labels";
            /// The names of its SCIF apps.
            list_apps: switch = "--list-apps";
            /// What `run` runs.
            runscript: switch = "--runscript";
            /// What `instance start` runs.
            startscript: switch = "--startscript";
            /// What `test` runs.
            test: switch = "--test";
        }
    }
}

impl Inspect {
    /// Inspects `image`, a SIF file or a sandbox.
    pub fn new(image: impl AsRef<OsStr>) -> Self {
        Self {
            image: positional(image.as_ref()),
            ..Self::unset()
        }
    }
}
