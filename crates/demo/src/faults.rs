//! The fault server: one path for every way in which a web server can be slow,
//! broken or hostile.
//!
//! It is written on plain TCP because most of what it does is not HTTP. Every
//! request is logged with its time, so that a test can compare what lookout says
//! about a target with what reached it.

mod answers;
mod hostile;
mod log;
mod route;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;

use anyhow::Context;
use clap::Args;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use log::{Request, Stats};
pub use serve::Switch;

use crate::listen;
use serve::Shared;

/// Where the fault server listens.
#[derive(Debug, Clone, Args)]
pub struct FaultArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1")]
    pub host: String,

    /// Port to listen on, 0 for any free one
    #[arg(long, default_value_t = 8999)]
    pub port: u16,

    /// Append every request to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
}

/// What the paths do, for `--help`.
pub const PATHS_HELP: &str = "\
The path says what happens; a query (?t=17) is only logged.

 Well-behaved:
  /ok                 200 and 3 bytes
  /status/404         any status code
  /delay/50           200 after 50 ms
  /flaky/25           500 for 25 of every 100 requests
  /body/10485760      200 and that many bytes
  /gzip/10485760      200 and that many bytes, compressed
  /redirect/3         3 redirects, then /ok
  /redirect-to?url=…  a redirect to any address
  /echo               the request as JSON

 Slow:
  /hang               never answers
  /drip-head/100      a header without end, one byte every 100 ms
  /slow-body/100      a body without end, one byte every 100 ms

 Broken:
  /close              closes without an answer
  /reset              resets the connection
  /truncate           closes in the middle of the body
  /garbage            bytes that are not HTTP
  /bad-chunk          a chunked body with a chunk that has no size
  /bad-gzip           claims to be compressed, and is not

 Hostile:
  /loop               redirects to itself
  /endless-headers    headers without end
  /many-headers/10000 that many headers
  /big-header/1048576 one header of that many bytes
  /informational      1xx answers without end

 About the server:
  GET /_log           requests so far, one JSON object a line
  DELETE /_log        forgets them
  GET /_stats         counts

Try:
  curl -i http://127.0.0.1:8999/status/503
  curl -iL http://127.0.0.1:8999/redirect/3
  curl -s http://127.0.0.1:8999/_log";

/// A fault server that answers from the moment it exists until it is dropped.
#[derive(Debug)]
pub struct FaultServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl FaultServer {
    /// Listens on a free port of 127.0.0.1 and serves in a background task.
    ///
    /// # Errors
    /// No port can be had.
    pub async fn start() -> io::Result<Self> {
        Self::bind("127.0.0.1", 0).await
    }

    /// Listens where told and serves in a background task. Port 0 takes a free one.
    ///
    /// # Errors
    /// The address cannot be listened on; the error names it and the cause.
    pub async fn bind(host: &str, port: u16) -> io::Result<Self> {
        Self::serve(host, port, Shared::default()).await
    }

    /// Listens as the command line says and serves in a background task.
    ///
    /// # Errors
    /// The address cannot be listened on or the log file not opened; the error
    /// names which and the cause.
    pub async fn open(args: &FaultArgs) -> anyhow::Result<Self> {
        let shared = Shared::default();
        if let Some(path) = &args.log {
            shared.log.also_write_to(path).with_context(|| format!("cannot open the log file {}", path.display()))?;
        }
        Ok(Self::serve(&args.host, args.port, shared).await?)
    }

    /// Like [`start`](Self::start), on a thread with a runtime of its own: a test
    /// that keeps its runtime busy does not delay the answers or the log's times.
    ///
    /// # Errors
    /// No port, thread or runtime can be had.
    pub fn start_on_thread() -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared::default());
        let serving = (stop.clone(), Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("fault-server".to_owned()).spawn(move || {
            let (stop, shared) = serving;
            let outcome = on_this_thread(&sender, &shared, &stop);
            if let Err(error) = outcome {
                let _ = sender.send(Err(error));
            }
        })?;
        let addr = receiver.recv().map_err(|_| io::Error::other("the fault server's thread died"))??;
        Ok(Self { addr, shared, stop, thread: Some(thread) })
    }

    async fn serve(host: &str, port: u16, shared: Shared) -> io::Result<Self> {
        let listener = listen::listen(host, port).await?;
        let addr = listener.local_addr()?;
        let stop = CancellationToken::new();
        let shared = Arc::new(shared);
        tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self { addr, shared, stop, thread: None })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The address of a path that starts with a slash: `http://127.0.0.1:8999/ok`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// Changes what `/switch` does from the next request on. It starts as
    /// `Switch::Status(200)`.
    pub fn set_switch(&self, switch: Switch) {
        self.shared.set_switch(switch);
    }

    /// Every request so far, oldest first, without those to `/_log` and
    /// `/_stats`. The first five million are kept; [`Stats::unlogged`] counts the rest.
    pub fn log(&self) -> Vec<Request> {
        self.shared.log.all()
    }

    /// Forgets the requests so far, and starts counting them from 0.
    pub fn clear_log(&self) {
        self.shared.log.clear();
    }

    /// Writes what is buffered to the log file, if there is one.
    ///
    /// # Errors
    /// The log file could not be written, now or before.
    pub fn flush_log(&self) -> io::Result<()> {
        self.shared.log.flush()
    }

    /// Counts of requests and connections.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Serves the same paths on a stream that somebody else accepted, such as one
    /// with TLS, until it ends. `/reset` just drops it.
    pub fn serve_connection<S>(&self, stream: S) -> impl Future<Output = ()> + Send + use<S>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let shared = Arc::clone(&self.shared);
        async move {
            serve::connection(stream, &shared).await;
        }
    }
}

impl Drop for FaultServer {
    /// Stops listening and drops every connection. With a thread of its own that
    /// has happened when this returns; a task does so when it next runs.
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It only fails if the thread panicked, which was printed then.
            let _ = thread.join();
        }
    }
}

fn on_this_thread(
    started: &mpsc::Sender<io::Result<SocketAddr>>,
    shared: &Arc<Shared>,
    stop: &CancellationToken,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = listen::listen("127.0.0.1", 0).await?;
        // Nobody is waiting if the starter has gone; it has then stopped us, too.
        let _ = started.send(listener.local_addr());
        accept(listener, Arc::clone(shared), stop.clone()).await;
        Ok(())
    })
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let serving = listen::accept(listener, |stream| serve::tcp(stream, Arc::clone(&shared)));
    let flushing = shared.log.flush_regularly();
    tokio::select! {
        () = stop.cancelled() => {}
        () = serving => {}
        () = flushing => {}
    }
}
