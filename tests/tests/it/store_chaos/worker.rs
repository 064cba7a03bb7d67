//! What a program does that is killed.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use apptainer::Apptainer;
use apptainer::image::{Definition, ExportMode, ImageError, Locking, Prune, PullPolicy, Store};

use super::images::{Named, age, is_expected};
use crate::dice::Dice;

pub(super) const STORE: &str = "APPTAINER_TESTS_STORE";
pub(super) const CONFIG: &str = "APPTAINER_TESTS_CONFIG";
pub(super) const IMAGES: &str = "APPTAINER_TESTS_IMAGES";
pub(super) const LEASES: &str = "APPTAINER_TESTS_LEASES";
pub(super) const EXPORTS: &str = "APPTAINER_TESTS_EXPORTS";
pub(super) const SEED: &str = "APPTAINER_TESTS_SEED";

#[derive(Debug, Clone, Copy)]
enum Operation {
    Pull,
    Run,
    List,
    Verify,
    Remove,
    Prune,
    Build,
    Export,
}

/// What is done, as often as it stands here.
const OPERATIONS: [Operation; 16] = [
    Operation::Pull,
    Operation::Pull,
    Operation::Pull,
    Operation::Pull,
    Operation::Run,
    Operation::Run,
    Operation::List,
    Operation::Verify,
    Operation::Remove,
    Operation::Remove,
    Operation::Prune,
    Operation::Prune,
    Operation::Build,
    Operation::Build,
    Operation::Export,
    Operation::Export,
];

const POLICIES: [PullPolicy; 5] = [
    PullPolicy::Always,
    PullPolicy::IfMissing,
    PullPolicy::IfMissing,
    PullPolicy::Never,
    PullPolicy::IfOlderThan(Duration::from_secs(2)),
];

struct Worker {
    client: Apptainer,
    store: Store,
    images: Vec<Named>,
    exports: PathBuf,
    has_leases: bool,
    dice: Dice,
}

/// Not a test: one of the programs that use the store. It says of each thing that it has done
/// how that went, and is killed.
#[tokio::test]
#[ignore = "run by other tests, as a process to kill"]
async fn worker() {
    let Some(store) = env::var_os(STORE).map(PathBuf::from) else {
        return;
    };
    let variable = |name| env::var(name).unwrap();
    let mut builder = Apptainer::builder()
        .store_dir(&store)
        .config_dir(variable(CONFIG));
    let has_leases = env::var_os(LEASES).is_some();
    if has_leases {
        builder = builder.locking(Locking::Lease);
    }
    let client = builder.build().await.unwrap();
    let mut worker = Worker {
        store: client.store(),
        client,
        images: Named::from_text(&variable(IMAGES)),
        exports: variable(EXPORTS).into(),
        has_leases,
        dice: Dice::new(variable(SEED).parse().unwrap()),
    };
    println!();
    loop {
        let operation = *worker.dice.one_of(&OPERATIONS);
        match worker.perform(operation).await {
            Ok(()) => println!("did {operation:?}"),
            Err(failure) => println!("failed {operation:?}: {failure}"),
        }
    }
}

impl Worker {
    async fn perform(&mut self, operation: Operation) -> Result<(), String> {
        if self.has_leases && matches!(operation, Operation::Remove | Operation::Prune) {
            age(self.client.store_dir());
        }
        match operation {
            Operation::Pull => self.pull(false).await,
            Operation::Run => self.pull(true).await,
            Operation::List => expected(self.store.list().await.map(drop)),
            Operation::Verify => self.verify().await,
            Operation::Remove => self.remove().await,
            Operation::Prune => self.prune().await,
            Operation::Build => self.build().await,
            Operation::Export => self.export().await,
        }
    }

    async fn pull(&mut self, and_run: bool) -> Result<(), String> {
        let image = self.dice.one_of(&self.images).clone();
        let policy = *self.dice.one_of(&POLICIES);
        match image.acquire(&self.client).policy(policy).await {
            Ok(found) if and_run => {
                let ran = image.run(&found).await;
                ran.map_err(|error| format!("{}: {error}", image.reference))
            }
            found => expected(found.map(drop)),
        }
    }

    /// Builds one of some images on another, which all programs build the same.
    async fn build(&mut self) -> Result<(), String> {
        let base = self.dice.one_of(&self.images).clone();
        let word = self.dice.below(3).to_string();
        let definition = Definition::from_image(&base.reference)
            .file_with(word.as_str(), "/word", 0o644)
            .post("cat /name /word > /built");
        let mut build = self.client.build(definition).no_https();
        if self.dice.below(3) == 0 {
            build = build.rebuild();
        }
        let image = match build.await {
            Ok(image) => image,
            failed => return expected(failed.map(drop)),
        };
        let said = image
            .container()
            .command("cat")
            .arg("/built")
            .output()
            .await;
        let said = said.map_err(|error| error.to_string())?.stdout;
        if said == base.holds(&word).as_bytes() {
            return Ok(());
        }
        Err(format!(
            "{}: it is not what was built: {said:?}",
            base.reference
        ))
    }

    /// Takes an image out, over what was there; what lies there is looked at by others.
    async fn export(&mut self) -> Result<(), String> {
        let named = self.dice.one_of(&self.images).clone();
        let image = match named.acquire(&self.client).await {
            Ok(image) => image,
            failed => return expected(failed.map(drop)),
        };
        let number = self.dice.below(2);
        let target = |what: &str| self.exports.join(format!("{number}.{what}"));
        let exported = match self.dice.below(3) {
            0 => {
                let export = image.export_sif(target("sif")).overwrite();
                export.mode(ExportMode::Copy).await.map(drop)
            }
            1 => image
                .export_oci_archive(target("tar"))
                .overwrite()
                .await
                .map(drop),
            _ => image
                .export_oci_layout(target("oci"))
                .overwrite()
                .await
                .map(drop),
        };
        exported.map_err(|error| format!("{error} ({error:?})"))
    }

    async fn verify(&mut self) -> Result<(), String> {
        let damaged = self.store.verify().await.map_err(said)?;
        if damaged.is_empty() {
            return Ok(());
        }
        Err(format!("{damaged:?}"))
    }

    async fn remove(&mut self) -> Result<(), String> {
        let images = self.store.list().await.map_err(said)?;
        if images.is_empty() {
            return Ok(());
        }
        let image = self.dice.one_of(&images);
        expected(self.store.remove(image).await)
    }

    async fn prune(&mut self) -> Result<(), String> {
        let policies = [
            Prune::new().unused_for(Duration::from_secs(1)),
            Prune::new().older_than(Duration::from_secs(2)),
            Prune::new().keep_bytes(8 << 20),
            Prune::new().unfinished_for(Duration::ZERO),
            Prune::new().unfinished_for(Duration::ZERO).keep_bytes(0),
        ];
        let policy = self.dice.one_of(&policies).clone();
        expected(self.store.prune(policy).await.map(drop))
    }
}

fn expected(done: Result<(), ImageError>) -> Result<(), String> {
    match done {
        Err(error) if !is_expected(&error) => Err(said(error)),
        _ => Ok(()),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is what map_err gives")]
fn said(error: ImageError) -> String {
    format!("{error} ({error:?})")
}
