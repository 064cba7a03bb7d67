//! Watching instances that somebody else started.

use std::sync::Arc;

use super::remnant::Remnant;
use super::watch::{Kind, Watch, Watched};
use super::{Service, Supervisor};
use crate::container::Settings;
use crate::exec::{Place, Slot};
use crate::instance::InstanceError;
use crate::instance::list::found;
use crate::instance::remains::{Naming, Remains};

impl Supervisor {
    /// Watches an instance of this user's that somebody else started, as `apptainer instance
    /// start` does.
    ///
    /// It is not noted, and goes on when this supervisor ends. How its payload ends is known where
    /// the kernel tells, from Linux 6.15 on.
    pub async fn adopt(&self, name: impl AsRef<str>) -> Result<Service, InstanceError> {
        let name = name.as_ref();
        if let Some(service) = self.service(name) {
            return Ok(service);
        }
        let (records, processes) = found(self.client(), name).await?;
        let remains = Remains::new(records.clone(), name, Naming::Given);
        let place = Place {
            client: self.client().clone(),
            image: format!("instance://{name}").into(),
            settings: Settings::default(),
            uses: None,
        };
        let watch = Watch::new(Watched {
            name: name.to_owned(),
            log_start: [0; 2],
            grace: super::GRACE,
            processes,
            kind: Kind::Foreign,
            slot: Arc::new(Slot::new(place)),
            records,
            remnant: Remnant::new(name, self.client(), None, remains, None),
        });
        let watch = watch.map_err(|source| InstanceError::Io {
            doing: "watch",
            name: name.to_owned(),
            source,
        })?;
        Ok(watch.begin(self))
    }
}
