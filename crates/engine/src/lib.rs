//! Incidents: when an endpoint fell below its objective, when it came back, and
//! which change went before each of the two.
//!
//! Events go in, transitions come out. There is no clock, no network and no
//! database here, and no floating point in any decision: the same events give
//! the same incidents on every machine, live or from a file.
//!
//! # What the engine promises
//!
//! - **An endpoint is judged by its own requests alone**, once each time one of
//!   them arrives. Neither other requests nor changes nor time that passes move it.
//! - **The window trails** and is half open: of the requests so far it holds those
//!   with `clock - window < at <= clock`, where the clock is the latest timestamp of
//!   a request to this endpoint. The request that is judged is one of them.
//! - **Healthy is `good / all >= objective`**, compared as `good * 10^9 >= objective *
//!   all` in integers. Below it an incident opens; at or above it closes. Both are
//!   stamped with the clock.
//! - **A change is blamed by order, not by date**: the last one of the service that
//!   came before the request in the stream.
//! - **Late requests count by their own timestamp**, if that is still inside.
//! - **A request costs O(1)** amortised when it comes in order, O(log n) when late.
//!   Memory is what lies inside the windows; an idle endpoint is about 150 bytes.
//! - **State can be taken out and put back** ([`Engine::snapshot`],
//!   [`Engine::restore`], [`Engine::recall`]): a process that starts again and
//!   reloads what it had seen goes on as if it had never stopped.
//!
//! # Where to look
//!
//! [`Engine`] is the arithmetic on numbered endpoints and services. [`Monitor`] puts
//! names, texts and lists around it. [`Replay`] and [`replay`] feed it a stream of
//! bytes. [`ServiceMonitor`] is what people ask in the end:
//!
//! ```
//! use engine::{Info, Mode, ServiceMonitor};
//!
//! let info = Info::parse(include_bytes!("../tests/streams/example.info.json"))?;
//! let stream = include_bytes!("../tests/streams/example.jsonl");
//! let report = engine::replay(&info, Mode::Strict, [stream])?;
//!
//! assert_eq!(report.mttr().unwrap().to_string(), "2.02");
//! let details = report.incident_details();
//! let incident = details.get("nonexpulsion").unwrap()[0];
//! assert_eq!(incident.start.to_string(), "1543443091.2745");
//! assert_eq!(incident.end.unwrap().to_string(), "1543443093.2896");
//! assert_eq!(incident.breaking.as_deref(), Some("191b6ce2fc724b37a063e8b07065f80b"));
//! assert_eq!(report.api_histogram().get("kioea"), Some(&1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod decimal;
mod engine;
mod fields;
mod goal;
mod info;
mod json;
mod line;
mod monitor;
mod python;
mod report;
mod stream;
mod time;
mod window;

pub use engine::{ChangeId, EndpointId, Engine, Event, OpenIncident, ServiceId, Snapshot, Transition};
pub use goal::{GoalError, Objective, Window};
pub use info::{EndpointInfo, Info, InfoError, InfoReason};
pub use line::{Access, Change, Envelope, Id, Reason, Rejection, Status};
pub use monitor::Monitor;
pub use report::{ByService, Incident, Mttr, RejectedLines, Report, ServiceMonitor};
pub use stream::{Mode, RejectedLine, Replay, replay};
pub use time::{Nanos, OutOfRange};
