//! People who ask the api, or a worker how it does.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

/// What came of a question.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) took: Duration,
    /// Head and body as they came.
    pub(crate) text: String,
}

/// One request over a connection of its own.
pub(crate) async fn ask(port: u16, path: &str) -> io::Result<Answer> {
    let begun = Instant::now();
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let text = timeout(Duration::from_secs(15), asked).await.map_err(|_| io::ErrorKind::TimedOut)??;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Ok(Answer { status, took: begun.elapsed(), text })
}

/// Somebody who asks all the time, one question after the other. On a thread of its own: what
/// else this program has to do is no part of an answer's time.
pub(crate) struct Regular {
    heard: Arc<Mutex<Heard>>,
    /// It asks for as long as this is here.
    _asks: oneshot::Sender<()>,
}

/// What a [`Regular`] heard since it was last asked.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) times: Vec<Duration>,
    /// Answers other than 200, and none; see [`REFUSED`].
    pub(crate) errors: Vec<String>,
}

/// How a 503 ends that says when to come again.
pub(crate) const REFUSED: &str = ": 503 and later";

impl Regular {
    /// Asks each of these in turn, with a pause between.
    pub(crate) fn start(port: u16, paths: &'static [&'static str], pause: Duration) -> Self {
        let heard = Arc::<Mutex<Heard>>::default();
        let note = Arc::clone(&heard);
        let (asks, ended) = oneshot::channel::<()>();
        let asking = async move {
            for path in paths.iter().cycle() {
                let answer = ask(port, path).await;
                {
                    let mut heard = note.lock().unwrap_or_else(PoisonError::into_inner);
                    match answer {
                        Ok(answer) if answer.status == 200 => heard.times.push(answer.took),
                        Ok(Answer { status: 503, text, .. })
                            if text.to_ascii_lowercase().contains("\r\nretry-after: ") =>
                        {
                            heard.errors.push(format!("{path}{REFUSED}"));
                        }
                        Ok(answer) => heard.errors.push(format!("{path}: {}", answer.status)),
                        Err(error) => heard.errors.push(format!("{path}: {error}")),
                    }
                }
                sleep(pause).await;
            }
        };
        let failed = Arc::clone(&heard);
        std::thread::spawn(move || match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(async {
                tokio::select! {
                    () = asking => {}
                    _ = ended => {}
                }
            }),
            Err(error) => {
                failed.lock().unwrap_or_else(PoisonError::into_inner).errors.push(format!("no runtime: {error}"));
            }
        });
        Self { heard, _asks: asks }
    }

    /// What it heard since this was last called.
    pub(crate) fn take(&self) -> Heard {
        std::mem::take(&mut self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Heard {
    /// How many were answered well.
    pub(crate) fn answered(&self) -> usize {
        self.times.len()
    }

    /// So long the worst but this share took, milliseconds.
    pub(crate) fn quantile_ms(&self, share: f64) -> f64 {
        quantile_ms(&self.times, share)
    }
}

/// Of these the one that such a share is no longer than, milliseconds; 0 of none.
pub(crate) fn quantile_ms(times: &[Duration], share: f64) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable();
    let at = (times.len().saturating_sub(1) as f64 * share) as usize;
    times.get(at).map_or(0.0, |time| time.as_secs_f64() * 1000.0)
}
