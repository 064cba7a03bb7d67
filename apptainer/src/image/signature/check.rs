//! Checking the signatures of an image.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use apptainer_sys::command::{GlobalOptions, Verify};
use apptainer_sys::exit::Failure;
use apptainer_sys::process::Stdio;
use apptainer_sys::sif::Sif;

use super::group::Group;
use super::{SignatureError, SignaturePolicy, Signatures, Signer, Trust, verdict};
use crate::Apptainer;
use crate::blocking::blocking;
use crate::image::deadline;
use crate::process::{Keep, Run, RunError};

/// The most that is read of what `apptainer verify` prints, in bytes.
const MOST: usize = 16 << 20;

/// Checks the SIF file `sif`, which is not written to meanwhile. Reads all of it, unless nothing
/// is asked or it carries no signature.
///
/// Dropped midway it kills `apptainer`.
pub(crate) async fn check(
    client: &Apptainer,
    sif: &Path,
    policy: &SignaturePolicy,
    limit: Duration,
) -> Result<Signatures, SignatureError> {
    let (trust, is_required) = match policy {
        SignaturePolicy::Ignore => return Ok(Signatures::default()),
        SignaturePolicy::Warn => (&Trust::AnyKnown, false),
        SignaturePolicy::Require(trust) => (trust, true),
    };
    match examine(client, sif, trust, limit).await {
        Ok(signers) => Ok(Signatures {
            signers,
            problem: None,
        }),
        Err(error) if is_required => Err(error),
        Err(error) => {
            tracing::warn!(%error, "the image is used all the same");
            let signers = match &error {
                SignatureError::NotTrusted { signers, .. } => signers.clone(),
                _ => Vec::new(),
            };
            Ok(Signatures {
                signers,
                problem: Some(error),
            })
        }
    }
}

async fn examine(
    client: &Apptainer,
    sif: &Path,
    trust: &Trust,
    limit: Duration,
) -> Result<Vec<Signer>, SignatureError> {
    let started = Instant::now();
    let image = sif.to_owned();
    let groups = blocking(move || match Sif::open(&image) {
        Ok(sif) => Group::all(&image, &sif),
        Err(source) => Err(SignatureError::Invalid { image, source }),
    });
    let mut signers: Vec<Signer> = Vec::new();
    // One by one, almost always one: what is said of all of them together does not tell which
    // signer is whose.
    for group in groups.await? {
        let left = limit.saturating_sub(started.elapsed());
        let verified = verify(client, sif, trust, &group, left).await;
        let found = verified.map_err(|error| match error {
            SignatureError::TimedOut { image, .. } => SignatureError::TimedOut { image, limit },
            other => other,
        })?;
        for signer in found {
            if !signers.contains(&signer) {
                signers.push(signer);
            }
        }
    }
    Ok(signers)
}

/// Who signed the group, if it is good enough.
async fn verify(
    client: &Apptainer,
    sif: &Path,
    trust: &Trust,
    group: &Group,
    limit: Duration,
) -> Result<Vec<Signer>, SignatureError> {
    let image = || sif.to_owned();
    let mut command = Verify::new(sif);
    command.json(true).local(true).group_id(group.number);
    let run = Run {
        deadline: deadline(limit),
        stdout: Keep::Whole(MOST),
        heard: &mut |_| (),
    };
    let make = || {
        let mut spawn = client.invocation(&GlobalOptions::silent(), &command)?;
        spawn.stdout(Stdio::pipe());
        Ok(spawn)
    };
    let ended = run.run(make, ()).await.map_err(|error| match error {
        RunError::Make(error) => error,
        RunError::Spawn(error) => error.into(),
        RunError::Io(source) => SignatureError::Output {
            image: image(),
            source,
        },
        RunError::TimedOut => SignatureError::TimedOut {
            image: image(),
            limit,
        },
    })?;
    // It is printed whether or not the signatures are good.
    let verification = serde_json::from_slice(&ended.stdout);
    if ended.exit.success() {
        let verification = verification.map_err(|error| SignatureError::Output {
            image: image(),
            source: io::Error::from(error),
        })?;
        return verdict::accept(sif, group, trust, &verification);
    }
    let message = Failure::from_stderr(&ended.stderr).message;
    let verification = verification.unwrap_or_default();
    let refused = verdict::refuse(sif, group, &verification, &message);
    Err(refused.unwrap_or_else(|| SignatureError::Apptainer {
        image: image(),
        failure: Box::new(ended.into_failure()),
    }))
}
