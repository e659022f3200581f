//! The line between a program under test and Postgres, to be cut and mended.

use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use url::Url;

use super::TestDb;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Whole,
    /// Open connections break, new ones are closed at once.
    Cut,
    /// Connections stay open and nothing passes.
    Frozen,
}

/// A proxy before a test database.
#[derive(Debug)]
pub struct Cable {
    url: String,
    line: watch::Sender<Line>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone)]
enum Server {
    Socket(PathBuf),
    Tcp(String),
}

impl Cable {
    /// Lays a cable to the server of `db`.
    ///
    /// # Panics
    /// If no port can be had.
    pub async fn to(db: &TestDb) -> Self {
        Self::lay(db).await.unwrap_or_else(|error| panic!("no cable: {error}"))
    }

    async fn lay(db: &TestDb) -> io::Result<Self> {
        let mut url = Url::parse(&db.url).map_err(io::Error::other)?;
        let parameter =
            |name: &str| url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        let port = url.port().or_else(|| parameter("port")?.parse().ok()).unwrap_or(5432);
        let server = match parameter("host").or_else(|| url.host_str().map(str::to_owned)) {
            Some(directory) if directory.starts_with('/') => {
                Server::Socket(PathBuf::from(directory).join(format!(".s.PGSQL.{port}")))
            }
            Some(host) => Server::Tcp(format!("{host}:{port}")),
            None => Server::Tcp(format!("127.0.0.1:{port}")),
        };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let user = parameter("user").unwrap_or_else(|| url.username().to_owned());
        let password = url.password().map(|password| format!(":{password}")).unwrap_or_default();
        url.set_query(None);
        let database = url.path().trim_start_matches('/').to_owned();
        let url = format!("postgresql://{user}{password}@{address}/{database}?sslmode=disable");
        let (line, watched) = watch::channel(Line::Whole);
        let task = tokio::spawn(accept(listener, Arc::new(server), watched));
        Ok(Self { url, line, task })
    }

    /// The database's URL by way of this cable.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Breaks every connection and lets no new one through.
    pub fn cut(&self) {
        self.line.send_replace(Line::Cut);
    }

    /// Leaves connections open but passes nothing on, as a dropped network does.
    pub fn freeze(&self) {
        self.line.send_replace(Line::Frozen);
    }

    /// Lets new connections through again.
    pub fn mend(&self) {
        self.line.send_replace(Line::Whole);
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: Arc<Server>, line: watch::Receiver<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        let (server, mut line) = (Arc::clone(&server), line.clone());
        tokio::spawn(async move {
            let _ = client.set_nodelay(true);
            if *line.borrow_and_update() == Line::Cut {
                return;
            }
            let pass = async {
                match &*server {
                    Server::Socket(path) => join(client, UnixStream::connect(path).await?).await,
                    Server::Tcp(address) => join(client, TcpStream::connect(address.as_str()).await?).await,
                }
            };
            tokio::pin!(pass);
            loop {
                let state = *line.borrow_and_update();
                match state {
                    Line::Cut => return,
                    Line::Frozen => {
                        if line.changed().await.is_err() {
                            return;
                        }
                    }
                    Line::Whole => tokio::select! {
                        _ = &mut pass => return,
                        changed = line.changed() => if changed.is_err() { return },
                    },
                }
            }
        });
    }
}

async fn join(
    mut one: impl AsyncRead + AsyncWrite + Unpin,
    mut other: impl AsyncRead + AsyncWrite + Unpin,
) -> io::Result<()> {
    copy_bidirectional(&mut one, &mut other).await?;
    Ok(())
}
