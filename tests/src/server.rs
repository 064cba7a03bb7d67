//! A server on loopback that says what a test wants.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// An HTTP server whose answers a closure writes, byte for byte: one for each connection, so that
/// a whole one has to say `Connection: close`.
///
/// It ends when this is dropped, with all its connections. What the closure panicked with is
/// raised there.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

/// What a client asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`.
    pub method: String,
    /// The path, with the query.
    pub path: String,
    headers: Vec<(String, String)>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    requests: Mutex<Vec<Request>>,
    connections: Mutex<Vec<(TcpStream, JoinHandle<()>)>>,
}

impl Server {
    /// Starts one, on a port that the kernel chooses.
    ///
    /// # Panics
    ///
    /// When there is no loopback.
    pub fn start(
        answer: impl Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there is a loopback");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let listening = std::thread::spawn(move || serve(&listener, &serving, &Arc::new(answer)));
        Self {
            address,
            shared,
            listening: Some(listening),
        }
    }

    /// Its host and port.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// A `docker://` reference to an image in it.
    pub fn reference(&self, image: &str) -> String {
        format!("docker://{}/{image}", self.address)
    }

    /// What it has been asked for.
    pub fn requests(&self) -> Vec<Request> {
        lock(&self.shared.requests).clone()
    }
}

impl Request {
    /// Reads one, without a body; `None` where the client says nothing, or does not speak HTTP.
    fn read(stream: &TcpStream) -> io::Result<Option<Self>> {
        let mut lines = Vec::new();
        for line in BufReader::new(stream).lines() {
            match line? {
                line if line.is_empty() => break,
                line => lines.push(line),
            }
        }
        let mut words = lines.first().into_iter().flat_map(|line| line.split(' '));
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Ok(None);
        };
        let headers = lines[1..].iter().filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
        Ok(Some(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.collect(),
        }))
    }

    /// The value of a header.
    pub fn header(&self, wanted: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let found = headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str())
    }

    /// Has another server answer, without logging it.
    ///
    /// # Errors
    ///
    /// When that cannot be asked.
    pub fn pass_on(&self, host: &str) -> io::Result<TcpStream> {
        let Self { method, path, .. } = self;
        let headers = self.headers.iter();
        let headers: Vec<_> = headers
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let headers = headers.concat();
        let text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n{headers}\r\n");
        let mut server = TcpStream::connect(host)?;
        server.write_all(text.as_bytes())?;
        Ok(server)
    }
}

/// Writes a whole answer: a status such as `200 OK`, headers that each end with `\r\n`, and a
/// body.
///
/// # Errors
///
/// When the client has gone.
pub fn respond(
    stream: &mut TcpStream,
    status: &str,
    headers: &str,
    body: impl AsRef<[u8]>,
) -> io::Result<()> {
    let body = body.as_ref();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    )?;
    stream.write_all(body)
}

fn serve<A>(listener: &TcpListener, shared: &Arc<Shared>, answer: &Arc<A>)
where
    A: Fn(&Request, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
{
    for stream in listener.incoming().flatten() {
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let Ok(mut serving) = stream.try_clone() else {
            continue;
        };
        let (answer, log) = (Arc::clone(answer), Arc::clone(shared));
        let thread = std::thread::spawn(move || {
            if let Ok(Some(request)) = Request::read(&serving) {
                lock(&log.requests).push(request.clone());
                // That the client has gone is no concern of the server's.
                let _ = answer(&request, &mut serving);
            }
            let _ = serving.shutdown(Shutdown::Both);
        });
        lock(&shared.connections).push((stream, thread));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        // It waits for somebody.
        let _ = TcpStream::connect(self.address);
        if let Some(listening) = self.listening.take() {
            let _ = listening.join();
        }
        let connections = std::mem::take(&mut *lock(&self.shared.connections));
        for (stream, thread) in connections {
            let _ = stream.shutdown(Shutdown::Both);
            if let Err(panic) = thread.join()
                && !std::thread::panicking()
            {
                std::panic::resume_unwind(panic);
            }
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
