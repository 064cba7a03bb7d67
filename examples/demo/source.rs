//! Where the demo's image comes from.

use std::ffi::{OsStr, OsString};

use apptainer::Apptainer;
use fixtures::{Login, Registry, busybox_archive};

use crate::Result;
use crate::report::{size, step};

const IMAGE: &str = "busybox:demo";

/// An image that can be asked for.
pub(crate) enum Source {
    /// Of busybox, in a registry on loopback. It and its store go with the demo.
    Own {
        registry: Registry,
        reference: OsString,
        store: tempfile::TempDir,
    },
    /// The user's.
    Given(OsString),
}

impl Source {
    pub(crate) async fn new(given: Option<OsString>) -> Result<Self> {
        if let Some(reference) = given {
            return Ok(Self::Given(reference));
        }
        let archive = step("make an image", async {
            let archive = busybox_archive();
            let bytes = size(std::fs::metadata(&archive)?.len());
            Ok((archive, format!("this machine's busybox, {bytes}")))
        })
        .await?;
        let registry = step("start a registry", async {
            let registry = Registry::start(Login::None);
            let host = registry.host().to_owned();
            Ok((registry, format!("docker-registry at {host}")))
        })
        .await?;
        step("push", async {
            registry.push(&archive, IMAGE);
            Ok(((), IMAGE.to_owned()))
        })
        .await?;
        Ok(Self::Own {
            reference: registry.reference(IMAGE).into(),
            registry,
            store: tempfile::tempdir()?,
        })
    }

    pub(crate) fn reference(&self) -> &OsStr {
        match self {
            Self::Own { reference, .. } | Self::Given(reference) => reference,
        }
    }

    pub(crate) async fn client(&self) -> Result<Apptainer> {
        let builder = match self {
            Self::Own {
                registry, store, ..
            } => Apptainer::builder()
                .http_registry(registry.host())
                .store_dir(store.path()),
            Self::Given(_) => Apptainer::builder(),
        };
        Ok(builder.build().await?)
    }
}
