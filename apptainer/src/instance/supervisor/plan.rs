//! What is made of a description, once that has been found to hold.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, fs, io};

use crate::container::Settings;
use crate::exec::{Defaults, Resource};
use crate::instance::remains::Naming;
use crate::instance::start::generated_name;
use crate::instance::{InstanceError, Payload, Spec};
use crate::{Apptainer, Image, OverlayLayer};

/// An instance to start.
#[derive(Debug, Clone)]
pub(in crate::instance) struct Plan {
    pub(super) name: String,
    pub(super) naming: Naming,
    pub(super) image: Image,
    pub(super) spec: Spec,
    pub(super) layer: Layer,
}

/// What is in its temporary layer from the beginning.
#[derive(Clone, Default)]
pub(super) struct Layer(Option<Arc<FillLayer>>);

/// Fills the folder of a layer, whose `upper` is what is seen. Blocks.
pub(crate) type FillLayer = dyn Fn(&Path) -> io::Result<()> + Send + Sync;

impl Layer {
    /// Makes it. Blocks.
    pub(super) fn make(&self, folder: &Path) -> io::Result<()> {
        fs::create_dir(folder)?;
        self.0.as_ref().map_or(Ok(()), |fill| fill(folder))
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Layer").field(&self.0.is_some()).finish()
    }
}

impl Plan {
    /// With this in its temporary layer.
    pub(super) fn filled(mut self, fill: Arc<FillLayer>) -> Self {
        self.layer = Layer(Some(fill));
        self
    }

    /// The same of another instance: under a name of its own, unless it was given one.
    pub(in crate::instance) fn again(&self) -> Self {
        let name = match self.naming {
            Naming::Given => self.name.clone(),
            Naming::Generated => generated_name(),
        };
        Self {
            name,
            ..self.clone()
        }
    }

    /// How long a start may take.
    pub(in crate::instance) fn deadline(&self) -> Duration {
        self.spec.time_to_start()
    }
}

/// Scripts of an image, one of which the agent takes the place of.
const STARTSCRIPT: &str = "/.singularity.d/startscript";
const RUNSCRIPT: &str = "/.singularity.d/runscript";

impl Spec {
    /// Whether it ends with its payload: not where that is a startscript, as with Apptainer.
    pub(super) fn ends_with_payload(&self) -> bool {
        matches!(self.payload, Payload::Run(_) | Payload::Command(_))
    }

    /// Whether the agent is in the place of the runscript, so that the other can be run.
    pub(super) fn takes_runscript(&self) -> bool {
        matches!(self.payload, Payload::Start(_))
    }

    /// What the agent takes the place of.
    pub(in crate::instance) fn agent_place(&self) -> &'static str {
        if self.takes_runscript() {
            RUNSCRIPT
        } else {
            STARTSCRIPT
        }
    }

    /// The words to start the payload with, if it has one.
    pub(super) fn argv(&self) -> Option<Vec<OsString>> {
        let script = match &self.payload {
            Payload::Nothing => return None,
            Payload::Start(_) => Some(STARTSCRIPT),
            Payload::Run(_) => Some(RUNSCRIPT),
            Payload::Command(_) => None,
        };
        let words = self.payload.words().iter().map(OsString::from);
        Some(
            script
                .map(OsString::from)
                .into_iter()
                .chain(words)
                .collect(),
        )
    }

    /// What shapes the container, with these ports and this temporary layer.
    pub(super) fn settled(&self, ports: &[(String, u16)], layer: Option<OverlayLayer>) -> Settings {
        let mut settings = self.settings();
        for port in &self.ports {
            let number = ports.iter().find(|(name, _)| *name == port.name);
            if let (Some(variable), Some((_, number))) = (&port.env, number) {
                let value = number.to_string();
                settings.env.push((variable.into(), value.into()));
            }
        }
        settings.overlays.extend(layer);
        settings
    }

    /// What the payload and commands are like, with these limits.
    pub(super) fn command_defaults(&self, limits: Vec<(Resource, u64, u64)>) -> Defaults {
        Defaults {
            current_dir: self.current_dir.clone(),
            umask: self.umask.map(|mask| mask.0),
            limits,
        }
    }

    /// It as it is noted on disk: without what is code.
    pub(in crate::instance) fn noted(&self) -> Self {
        let mut spec = self.clone();
        let is_code = |health: &crate::instance::Health| health.is_custom();
        if spec.health.as_ref().is_some_and(is_code) {
            spec.health = None;
        }
        spec
    }

    /// Finds everything that is wrong with it, and has its image.
    pub(super) async fn plan(&self, client: &Apptainer) -> Result<Plan, InstanceError> {
        self.validate_for(client).await?;
        let image = client.image(&self.image.0).await?;
        let (name, naming) = match &self.name {
            Some(name) => (name.clone(), Naming::Given),
            None => (generated_name(), Naming::Generated),
        };
        Ok(Plan {
            name,
            naming,
            image,
            spec: self.clone(),
            layer: Layer::default(),
        })
    }
}
