//! What lines write and how they end, as the server tells it unasked.
//!
//! One socket is shared by all lines of a client, for a server has room for 50 of them. A line may
//! have ended before its number is known here, so what nobody waits for yet is kept while a line is
//! being started.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::AgentServerError;
use super::http::Http;
use super::socket::Socket;
use super::wire::{BashEvent, BashOutput};

const DOING: &str = "listen to what commands write";

/// How long the server may take to say that it has seen a message.
const SUBSCRIBING: Duration = Duration::from_secs(5);

/// The socket of a client, opened when it is first needed.
#[derive(Debug)]
pub(super) struct BashEvents {
    http: Arc<Http>,
    open: tokio::sync::Mutex<Option<Listening>>,
    board: Arc<Mutex<Board>>,
}

/// The task that reads the socket. Dropped, it ends.
#[derive(Debug)]
struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[derive(Debug, Default)]
struct Board {
    is_closed: bool,
    waiting: HashMap<String, UnboundedSender<BashOutput>>,
    /// How many lines are being started.
    starting: usize,
    /// What belongs to lines whose numbers are not known yet.
    early: Vec<BashOutput>,
}

/// A line that is being started.
#[derive(Debug)]
pub(super) struct Starting {
    board: Arc<Mutex<Board>>,
}

/// What a line writes. Ends where the socket does.
#[derive(Debug)]
pub(super) struct Outputs {
    board: Arc<Mutex<Board>>,
    id: String,
    receiver: UnboundedReceiver<BashOutput>,
}

impl BashEvents {
    pub(super) fn new(http: Arc<Http>) -> Self {
        Self {
            http,
            open: tokio::sync::Mutex::default(),
            board: Arc::default(),
        }
    }

    /// Announces a line. `None` where the server has no socket for us, so that it has to be asked.
    pub(super) async fn starting(&self) -> Option<Starting> {
        let mut open = self.open.lock().await;
        let is_open = |listening: &Listening| !listening.0.is_finished();
        if !open.as_ref().is_some_and(is_open) {
            if lock(&self.board).is_closed {
                return None;
            }
            match self.listen().await {
                Ok(listening) => *open = Some(listening),
                Err(error) => {
                    tracing::warn!(%error, "an agent server is asked again and again instead");
                    return None;
                }
            }
        }
        lock(&self.board).starting += 1;
        Some(Starting {
            board: Arc::clone(&self.board),
        })
    }

    async fn listen(&self) -> Result<Listening, AgentServerError> {
        let mut socket = Socket::open(&self.http, DOING, "sockets/bash-events").await?;
        // It says what is wrong with this once it tells us all else, too.
        socket.send(DOING, "{}".to_owned()).await?;
        let answered = tokio::time::timeout(SUBSCRIBING, socket.next(DOING)).await;
        let answered = answered.map_err(|_| AgentServerError::TimedOut {
            doing: DOING,
            limit: SUBSCRIBING,
        })?;
        if answered?.is_none() {
            return Err(AgentServerError::Lost {
                doing: DOING,
                reason: "it was closed".to_owned(),
            });
        }
        let board = Arc::clone(&self.board);
        let task = tokio::spawn(async move {
            let _ending = Ending(Arc::clone(&board));
            loop {
                match socket.next(DOING).await {
                    Ok(Some(text)) => lock(&board).post(&text),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::debug!(%error, "a socket of an agent server has ended");
                        break;
                    }
                }
            }
        });
        Ok(Listening(task.abort_handle()))
    }

    /// Lets go of the socket for good.
    pub(super) fn close(&self) {
        lock(&self.board).is_closed = true;
        if let Ok(mut open) = self.open.try_lock() {
            open.take();
        }
    }
}

impl Board {
    fn post(&mut self, text: &str) {
        let output = match serde_json::from_str(text) {
            Ok(BashEvent::Output(output)) => output,
            Ok(_) => return,
            Err(error) => {
                tracing::debug!(%error, "what an agent server says is not known");
                return;
            }
        };
        if let Some(sender) = self.waiting.get(&output.command_id) {
            // Whoever does not wait any more has no use for it.
            let _ = sender.send(output);
        } else if self.starting > 0 {
            self.early.push(output);
        }
    }
}

/// Has all who wait see that nothing comes any more.
struct Ending(Arc<Mutex<Board>>);

impl Drop for Ending {
    fn drop(&mut self) {
        lock(&self.0).waiting.clear();
    }
}

impl Starting {
    /// It has this number.
    pub(super) fn outputs(self, id: &str) -> Outputs {
        let (sender, receiver) = unbounded_channel();
        let mut board = lock(&self.board);
        let early = board.early.extract_if(.., |output| output.command_id == id);
        for output in early {
            let _ = sender.send(output);
        }
        board.waiting.insert(id.to_owned(), sender);
        drop(board);
        Outputs {
            board: Arc::clone(&self.board),
            id: id.to_owned(),
            receiver,
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let mut board = lock(&self.board);
        board.starting -= 1;
        if board.starting == 0 {
            board.early = Vec::new();
        }
    }
}

impl Outputs {
    /// The next one; `None` where no more are told. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<BashOutput> {
        self.receiver.recv().await
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        lock(&self.board).waiting.remove(&self.id);
    }
}

fn lock(board: &Mutex<Board>) -> MutexGuard<'_, Board> {
    board.lock().unwrap_or_else(PoisonError::into_inner)
}
