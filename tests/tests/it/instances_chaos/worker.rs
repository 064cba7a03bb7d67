//! A program that starts, uses and stops instances, and is killed.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use apptainer::Apptainer;
use apptainer::instance::{
    EventKind, Health, InstanceError, Limits, Port, Privileges, Recovery, Service, Spec, State,
    Supervisor,
};
use tokio::io::AsyncReadExt;

use super::payload::{Named, Payload, Touched};
use super::{AT_ONCE, GUARD, leftovers};
use crate::dice::Dice;

pub(super) const FOLDER: &str = "APPTAINER_TESTS_FOLDER";
pub(super) const NAME: &str = "APPTAINER_TESTS_NAME";
pub(super) const MAIN: &str = "APPTAINER_TESTS_MAIN";
pub(super) const IMAGE: &str = "APPTAINER_TESTS_IMAGE";
pub(super) const SEED: &str = "APPTAINER_TESTS_SEED";

/// What a cycle came to, or what was wrong about it.
type Told = Result<&'static str, String>;

#[derive(Clone)]
struct Worker {
    folder: PathBuf,
    name: String,
    image: String,
    supervisor: Supervisor,
}

/// Not a test: one of the programs. It says of each instance how that went, and is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by other tests, as a process to kill"]
async fn worker() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let variable = |name| env::var(name).unwrap();
    let mut dice = Dice::new(variable(SEED).parse().unwrap());
    let builder = Apptainer::builder()
        .config_dir(folder.join("config"))
        .store_dir(folder.join("store"));
    let client = builder.build().await.unwrap();
    let recovery = *dice.one_of(&[Recovery::Reattach, Recovery::Reattach, Recovery::Reap]);
    let name = variable(NAME);
    let supervisor = client.supervisor(&name).recovery(recovery);
    let supervisor = supervisor.runtime_dir(folder.join("runtime"));
    // The harness has begun a line.
    println!();
    let supervisor = match supervisor.open().await {
        Ok(supervisor) => supervisor,
        Err(error) => panic!("failed to open: {error} ({error:?})"),
    };
    let worker = Worker {
        folder,
        name,
        image: variable(IMAGE),
        supervisor,
    };
    let found = worker.supervisor.services();
    tell("recovery", worker.check_found(&found));
    let mut tasks = Vec::new();
    for service in found {
        let (worker, dice) = (worker.clone(), Dice::new(dice.next()));
        tasks.push(tokio::spawn(async move {
            let name = service.name().to_owned();
            tell(
                &name,
                worker.within(&name, worker.go_on(service, dice)).await,
            );
        }));
    }
    let is_over = Arc::new(AtomicBool::new(false));
    for _ in 0..AT_ONCE {
        let (worker, is_over) = (worker.clone(), Arc::clone(&is_over));
        let mut dice = Dice::new(dice.next());
        tasks.push(tokio::spawn(async move {
            while !is_over.load(Ordering::Relaxed) {
                let instance = Named::by_chance(&worker.name, &mut dice);
                let cycle = worker.cycle(&instance, &mut dice);
                let told = worker.within(&instance.name, cycle).await;
                tell(&instance.name, told);
            }
        }));
    }
    // Its end is when it is to stop.
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
    is_over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    worker.supervisor.shut_down().await.unwrap();
}

fn tell(name: &str, told: Told) {
    match told {
        Ok(done) => println!("did {done}"),
        Err(failure) => println!("failed {name}: {failure}"),
    }
}

impl Worker {
    async fn within(&self, name: &str, cycle: impl Future<Output = Told>) -> Told {
        if let Ok(told) = tokio::time::timeout(GUARD, cycle).await {
            return told;
        }
        let service = self.supervisor.service(name);
        let state = service.map(|service| service.state());
        let touched = Touched::of(&self.folder, name);
        let left = leftovers::of_instance(&self.folder, name);
        Err(format!("it hangs: {state:?}, {touched:?}, {left:?}"))
    }

    /// What was left is what has been found, or is gone.
    fn check_found(&self, found: &[Service]) -> Told {
        let left = leftovers::of_instance(&self.folder, &format!("{}-", self.name));
        let is_known = |path: &&String| found.iter().any(|service| path.contains(service.name()));
        let unknown: Vec<_> = left.iter().filter(|path| !is_known(path)).collect();
        if unknown.is_empty() {
            return Ok("recovery");
        }
        Err(format!("left by the one before: {unknown:?}"))
    }

    async fn cycle(&self, instance: &Named, dice: &mut Dice) -> Told {
        let spec = self.spec(instance, dice);
        let start = self.supervisor.start(&spec);
        let started = if dice.below(12) == 0 {
            let patience = Duration::from_millis(400).mul_f64(dice.fraction());
            match tokio::time::timeout(patience, start).await {
                Ok(started) => started,
                Err(_) => return self.until_gone(instance).await,
            }
        } else {
            start.await
        };
        match started {
            Ok(service) => self.use_up(instance, &service, dice).await,
            Err(error) => {
                let touched = Touched::of(&self.folder, &instance.name);
                if !touched.by_killer() || error.is_name_taken() {
                    return Err(format!("{error} ({error:?}), {touched:?}"));
                }
                self.check_gone(instance)?;
                Ok("failed start")
            }
        }
    }

    fn spec(&self, instance: &Named, dice: &mut Dice) -> Spec {
        let mut spec = Spec::new(&self.image).name(&instance.name);
        if nix::unistd::geteuid().is_root() {
            spec = spec.privileges(Privileges::Drop);
        }
        spec = instance.run(spec);
        spec = spec.stop_grace(match instance.payload {
            Payload::Refuses => Duration::from_millis(100),
            _ => GUARD,
        });
        if dice.below(4) == 0 {
            let health = Health::command(["true"]);
            spec = spec.health(health.interval(Duration::from_millis(100)));
        }
        if dice.below(4) == 0 {
            spec = spec.temporary_overlay();
        }
        if dice.below(4) == 0 {
            spec = spec.port(Port::named("http").env("PORT"));
        }
        if dice.below(4) == 0 {
            spec = spec.limits(Limits::new().pids(100));
        }
        spec
    }

    /// One that an earlier program has started.
    async fn go_on(&self, service: Service, mut dice: Dice) -> Told {
        let Some(instance) = Named::parse(service.name()) else {
            return Err("it is none of ours".to_owned());
        };
        if service.state() == State::Paused
            && let Err(error) = service.resume().await
        {
            self.must_end(&instance, &service, &error).await?;
            return Ok("found and lost");
        }
        self.use_up(&instance, &service, &mut dice).await?;
        Ok("found again")
    }

    /// Uses it, and has it end.
    async fn use_up(&self, instance: &Named, service: &Service, dice: &mut Dice) -> Told {
        if let Err(error) = self.check_use(instance, service, dice).await {
            let Failed::Instance(error) = error else {
                return Err(error.to_string());
            };
            return self.must_end(instance, service, &error).await;
        }
        let ends_by_itself = instance.payload == Payload::Ends && dice.below(2) == 0;
        if !ends_by_itself {
            Touched::tell(&self.folder, &instance.name, "stop");
            let stopped = service.stop().await;
            stopped.map_err(|error| format!("cannot stop: {error} ({error:?})"))?;
        }
        self.check_end(instance, service).await
    }

    async fn check_use(
        &self,
        instance: &Named,
        service: &Service,
        dice: &mut Dice,
    ) -> Result<(), Failed> {
        service.ready().await?;
        let word = format!("{:x}", dice.next());
        let mut command = service.command("echo")?;
        let output = command.arg(&word).output().await;
        match output {
            Ok(output) if output.stdout.as_ref() == format!("{word}\n").as_bytes() => {}
            Ok(output) => {
                // It may have been cut off with its instance.
                if service.state().is_running() && output.status.success() {
                    return Err(Failed::Untrue(format!("it said {output:?}")));
                }
                return Err(Failed::Instance(format!("it ended: {output:?}")));
            }
            Err(error) => return Err(Failed::Instance(format!("{error} ({error:?})"))),
        }
        if instance.payload == Payload::Refuses {
            // By then it does.
            let mut lines = service.read_logs().follow(true).lines().await;
            let line = match &mut lines {
                Ok(lines) => lines.next().await,
                Err(error) => return Err(Failed::Instance(error.to_string())),
            };
            match line {
                Some(Ok(line)) if line.text() == "up" => {}
                Some(Ok(line)) => return Err(Failed::Untrue(format!("it wrote {line:?}"))),
                Some(Err(error)) => return Err(Failed::Instance(error.to_string())),
                None => return Err(Failed::Instance("its log has ended".to_owned())),
            }
        }
        if dice.below(8) == 0 {
            service.pause().await?;
            tokio::time::sleep(Duration::from_millis(50).mul_f64(dice.fraction())).await;
            service.resume().await?;
        }
        Ok(())
    }

    /// Something did not work, which is right of one that ends.
    async fn must_end(&self, instance: &Named, service: &Service, error: &impl ToString) -> Told {
        let touched = Touched::of(&self.folder, &instance.name);
        if !touched.by_killer() && instance.payload != Payload::Ends && !touched.by("stop") {
            return Err(format!("{}, of one that nobody touched", error.to_string()));
        }
        let ended = tokio::time::timeout(GUARD / 4, service.ended()).await;
        if ended.is_err() {
            let state = service.state();
            return Err(format!(
                "{}, and it is {state}: {touched:?}",
                error.to_string()
            ));
        }
        self.check_end(instance, service).await
    }

    async fn check_end(&self, instance: &Named, service: &Service) -> Told {
        let state = service.ended().await;
        self.check_gone(instance)?;
        let touched = Touched::of(&self.folder, &instance.name);
        if !instance.may_end(&state, &touched) {
            return Err(format!("it is {state:?}, after {touched:?}"));
        }
        self.check_events(service, &state).await?;
        Ok(match state {
            State::Stopped(stopped) if stopped.was_asked => "stopped",
            State::Stopped(_) => "ended",
            _ => "lost",
        })
    }

    /// What was told of it is in order, and whole.
    async fn check_events(&self, service: &Service, end: &State) -> Result<(), String> {
        let mut events = service.events();
        let mut all = Vec::new();
        while let Some(event) = events.next().await {
            all.push(event);
        }
        let is_numbered = all
            .iter()
            .zip(0..)
            .all(|(event, number)| event.number == number);
        let states: Vec<_> = all
            .iter()
            .filter_map(|event| match &event.kind {
                EventKind::State(state) => Some(state),
                _ => None,
            })
            .collect();
        let is_ordered = match states.as_slice() {
            [State::Starting, between @ .., State::Stopping, last] => {
                *last == end && between.iter().all(|state| state.is_running())
            }
            _ => false,
        };
        if is_numbered && is_ordered {
            return Ok(());
        }
        Err(format!("its events are {all:?}"))
    }

    /// Nothing is left of one that has ended.
    fn check_gone(&self, instance: &Named) -> Result<(), String> {
        let left = leftovers::of_instance(&self.folder, &instance.name);
        if left.is_empty() {
            return Ok(());
        }
        let touched = Touched::of(&self.folder, &instance.name);
        Err(format!("left behind: {left:?}, after {touched:?}"))
    }

    /// One whose start was dropped is taken away by another.
    async fn until_gone(&self, instance: &Named) -> Told {
        while !leftovers::of_instance(&self.folder, &instance.name).is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok("dropped")
    }
}

/// Why an instance could not be used.
enum Failed {
    /// It has ended, or seems to have.
    Instance(String),
    /// It did what it was not to.
    Untrue(String),
}

impl From<InstanceError> for Failed {
    fn from(error: InstanceError) -> Self {
        Self::Instance(format!("{error} ({error:?})"))
    }
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::Instance(text) | Self::Untrue(text)) = self;
        f.write_str(text)
    }
}
