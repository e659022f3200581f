//! A bare server to be probed, which notes when each connection came and each answer went.
//!
//! One thread, one epoll, no HTTP library. `/t/7` is answered at once, `/d/7` exactly [`DELAY`]
//! after the connection was accepted (or, on a kept one, the request was read), `/h/7` never.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

use crate::machine;

/// How long `/d/…` takes.
pub(crate) const DELAY: Duration = Duration::from_millis(50);

/// Ports to be probed: one is not enough for the connections of some minutes.
pub(crate) const PORTS: usize = 100;

const CLOSING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
const KEEPING: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n";

/// One answered request. Microseconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stamp {
    pub(crate) target: u32,
    /// The connection was accepted; on a kept one: the request was there.
    pub(crate) came_us: i64,
    /// The answer was handed to the kernel; 0 for one that got none.
    pub(crate) answered_us: i64,
}

struct Connection {
    fd: OwnedFd,
    came_us: i64,
    is_first: bool,
    buffer: Vec<u8>,
}

struct Server {
    epoll: OwnedFd,
    connections: Vec<Option<Connection>>,
    stamps: Vec<Stamp>,
    /// Answers that are due: when, on which connection, for whom.
    due: VecDeque<(i64, usize, u32)>,
}

/// Serves until its input ends. Commands, a line each: `count`, `reset`, `dump FILE`.
pub(crate) fn serve() -> anyhow::Result<()> {
    machine::pin(machine::OTHERS);
    machine::hurry();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut listeners = Vec::new();
    for _ in 0..PORTS {
        // The standard library's queue of 128 overflows when many come at once.
        let fd = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None)?;
        rustix::net::bind(&fd, &std::net::SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
        rustix::net::listen(&fd, 4096)?;
        let listener = TcpListener::from(fd);
        listener.set_nonblocking(true)?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(listener.as_raw_fd() as u64), epoll::EventFlags::IN)?;
        listeners.push(listener);
    }
    let stdin = std::io::stdin();
    epoll::add(&epoll, &stdin, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
    let ports: Result<Vec<u16>, _> = listeners.iter().map(|one| one.local_addr().map(|at| at.port())).collect();
    println!("{}", serde_json::to_string(&ports?)?);

    let mut server = Server { epoll, connections: Vec::new(), stamps: Vec::new(), due: VecDeque::new() };
    let highest = listeners.iter().map(AsRawFd::as_raw_fd).max().unwrap_or_default();
    let mut events = Vec::with_capacity(256);
    loop {
        let wait_us = server.due.front().map(|(at, ..)| (at - now_us()).max(0));
        let wait = wait_us.map(|us| Timespec { tv_sec: us / 1_000_000, tv_nsec: us % 1_000_000 * 1000 });
        events.clear();
        match epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), wait.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            match event.data.u64() as i32 {
                0 => {
                    let mut line = [0; 1024];
                    let read = stdin.lock().read(&mut line)?;
                    if read == 0 {
                        return Ok(());
                    }
                    server.obey(std::str::from_utf8(&line[..read])?.trim())?;
                }
                fd if fd <= highest => match listeners.iter().find(|one| one.as_raw_fd() == fd) {
                    Some(listener) => server.accept(listener)?,
                    None => server.read(fd as usize),
                },
                fd => server.read(fd as usize),
            }
        }
        server.answer_due();
    }
}

impl Server {
    fn accept(&mut self, listener: &TcpListener) -> anyhow::Result<()> {
        loop {
            match accept_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                Ok(fd) => {
                    let number = fd.as_raw_fd() as usize;
                    let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
                    epoll::add(&self.epoll, &fd, epoll::EventData::new_u64(number as u64), flags)?;
                    if self.connections.len() <= number {
                        self.connections.resize_with(number + 1, || None);
                    }
                    let came_us = now_us();
                    self.connections[number] = Some(Connection { fd, came_us, is_first: true, buffer: Vec::new() });
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED) => {}
                Err(error) => bail!("accept: {error}"),
            }
        }
    }

    fn read(&mut self, number: usize) {
        let Some(connection) = self.connections.get_mut(number).and_then(Option::as_mut) else { return };
        let mut buffer = [0; 4096];
        match recv(&connection.fd, &mut buffer[..], RecvFlags::empty()) {
            Ok((0, _)) => self.connections[number] = None,
            Ok((_, read)) => {
                if !connection.is_first && connection.buffer.is_empty() {
                    connection.came_us = now_us();
                }
                connection.buffer.extend_from_slice(&buffer[..read]);
                if connection.buffer.ends_with(b"\r\n\r\n") {
                    self.take(number);
                }
            }
            Err(Errno::AGAIN) => {}
            Err(_) => self.connections[number] = None,
        }
    }

    /// A whole request is there.
    fn take(&mut self, number: usize) {
        let Some(connection) = self.connections[number].as_mut() else { return };
        let path = connection.buffer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
        let kind = path.get(1).copied();
        let target = std::str::from_utf8(path.get(3..).unwrap_or_default()).ok().and_then(|it| it.parse().ok());
        let (target, came_us) = (target.unwrap_or(u32::MAX), connection.came_us);
        match kind {
            Some(b'h') => {
                self.stamps.push(Stamp { target, came_us, answered_us: 0 });
                connection.buffer.clear();
            }
            Some(b'd') => self.due.push_back((came_us + DELAY.as_micros() as i64, number, target)),
            _ => self.answer(number, target),
        }
    }

    fn answer(&mut self, number: usize, target: u32) {
        let Some(connection) = self.connections[number].as_mut() else { return };
        let closes = connection.buffer.windows(7).any(|part| part.eq_ignore_ascii_case(b": close"));
        let sent = send(&connection.fd, if closes { CLOSING } else { KEEPING }, SendFlags::NOSIGNAL);
        let answered_us = now_us();
        self.stamps.push(Stamp { target, came_us: connection.came_us, answered_us });
        connection.buffer.clear();
        connection.is_first = false;
        if closes || sent.is_err() {
            self.connections[number] = None;
        }
    }

    fn answer_due(&mut self) {
        while let Some((at, number, target)) = self.due.front().copied()
            && at <= now_us()
        {
            self.due.pop_front();
            // The descriptor may be another connection's by now.
            let is_same = self.connections[number]
                .as_ref()
                .is_some_and(|it| it.came_us + DELAY.as_micros() as i64 == at && !it.buffer.is_empty());
            if is_same {
                self.answer(number, target);
            }
        }
    }

    fn obey(&mut self, command: &str) -> anyhow::Result<()> {
        if let Some(path) = command.strip_prefix("dump ") {
            let mut file = BufWriter::new(File::create(path)?);
            for stamp in &self.stamps {
                file.write_all(&stamp.target.to_le_bytes())?;
                file.write_all(&stamp.came_us.to_le_bytes())?;
                file.write_all(&stamp.answered_us.to_le_bytes())?;
            }
            file.flush()?;
        }
        println!("{}", self.stamps.len());
        if command == "reset" {
            self.stamps.clear();
        }
        Ok(())
    }
}

pub(crate) fn now_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// A target that runs beside us.
pub(crate) struct Target {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) ports: Vec<u16>,
}

impl Target {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("target")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the target")?;
        let input = child.stdin.take().context("no stdin")?;
        let mut output = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let ports = serde_json::from_str(&line).context("the target did not start")?;
        Ok(Self { child, input, output, ports })
    }

    fn ask(&mut self, command: &str) -> anyhow::Result<usize> {
        // In one piece: the target takes what it reads for a command.
        self.input.write_all(format!("{command}\n").as_bytes())?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        line.trim().parse().context("the target is gone")
    }

    /// Requests since the last reset.
    pub(crate) fn count(&mut self) -> anyhow::Result<usize> {
        self.ask("count")
    }

    pub(crate) fn reset(&mut self) -> anyhow::Result<()> {
        self.ask("reset").map(drop)
    }

    pub(crate) fn stamps(&mut self, file: &Path) -> anyhow::Result<Vec<Stamp>> {
        self.ask(&format!("dump {}", file.display()))?;
        let bytes = std::fs::read(file)?;
        std::fs::remove_file(file)?;
        let number = |bytes: &[u8]| bytes.try_into().map(i64::from_le_bytes).unwrap_or_default();
        Ok(bytes
            .chunks_exact(20)
            .map(|chunk| Stamp {
                target: chunk[..4].try_into().map(u32::from_le_bytes).unwrap_or_default(),
                came_us: number(&chunk[4..12]),
                answered_us: number(&chunk[12..]),
            })
            .collect())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
