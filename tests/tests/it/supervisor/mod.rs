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

/// A payload that runs until it is told to end.
const WAIT: [&str; 2] = ["sleep", "10000"];
