//! The hub: what is shown live, computed once and handed to everyone who looks.
//!
//! A notification is a doorbell. On it, at most four times a second, the hub brings
//! each view that somebody looks at up to date, serialises it once and puts it into a
//! channel that holds the latest state only: a client has no queue of its own here, so
//! one that is slow holds up nobody and costs nothing. While nobody looks, nothing is read.

mod bell;
#[cfg(test)]
mod contract;
mod cord;
mod frames;
mod hub;
mod line;
mod outgoing;
mod published;
#[cfg(test)]
mod tests;
mod views;

pub(crate) use cord::{Cord, on_connect};
pub(crate) use hub::{CLIENT_PATIENCE, Hub};
pub(crate) use line::{Line, Showed, bounded};
pub(crate) use outgoing::PIECE;
