//! Instances under supervision.

mod ended;
mod full_disk;
mod program;
mod recovered;
mod started;
mod watched;

use std::time::Duration;

use apptainer::instance::{Service, State, Stopped};

/// How the instance ends.
async fn end(service: &Service) -> State {
    let end = tokio::time::timeout(Duration::from_secs(60), service.ended());
    end.await.expect("it ends")
}

/// The same of one that stops.
async fn stopped(service: &Service) -> Stopped {
    match end(service).await {
        State::Stopped(stopped) => stopped,
        state => panic!("it is {state}"),
    }
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(tokio::time::Instant::now() < deadline, "not soon: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// A payload that runs until it is told to end.
const WAIT: [&str; 2] = ["sleep", "10000"];
