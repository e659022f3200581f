//! The doorbell of the store, and somebody who sits beside it.

use std::sync::{Arc, Mutex, PoisonError};

use store::doorbell::{Doorbell, Ring};
use tokio::sync::Notify;

/// Batches to be read at most; with more it is cheaper to begin anew.
const MOST_BATCHES: usize = 200;

/// What was heard since the last look.
#[derive(Default)]
pub(super) struct Heard {
    pub(super) batches: Vec<i64>,
    pub(super) is_lost: bool,
    pub(super) is_broken: bool,
}

/// A doorbell that somebody sits beside, so that none of its rings is lost half heard.
pub(super) struct Bell {
    heard: Arc<(Mutex<Heard>, Notify)>,
    task: tokio::task::JoinHandle<()>,
}

impl Bell {
    pub(super) fn hang(mut doorbell: Doorbell) -> Self {
        let heard: Arc<(Mutex<Heard>, Notify)> = Arc::default();
        let shared = Arc::clone(&heard);
        let task = tokio::spawn(async move {
            loop {
                let ring = doorbell.next().await;
                let is_broken = ring.is_err();
                {
                    let mut heard = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
                    match ring {
                        Ok(Ring::Batch(id)) if heard.batches.len() < MOST_BATCHES => heard.batches.push(id),
                        Ok(Ring::Incident) => {}
                        Ok(Ring::Batch(_) | Ring::Lost) => heard.is_lost = true,
                        Err(_) => heard.is_broken = true,
                    }
                }
                shared.1.notify_one();
                if is_broken {
                    return;
                }
            }
        });
        Self { heard, task }
    }

    pub(super) fn take(&self) -> Heard {
        std::mem::take(&mut *self.heard.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) async fn rung(&self) {
        self.heard.1.notified().await;
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.task.abort();
    }
}
