//! Work that blocks, kept off the runtime's own threads.

/// Runs `work` on a thread that may block, and waits for it. Dropped midway, the
/// work is done all the same.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and drops this future with it.
            Err(_) => std::future::pending().await,
        },
    }
}
