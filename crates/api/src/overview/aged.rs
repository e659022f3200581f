//! What costs more to read is read less often.

use std::time::Duration;

use tokio::time::Instant;

/// What costs much is done for a tenth of the time at most.
const REST: u32 = 10;

/// Something that is read again after a while.
pub(super) struct Aged<T> {
    pub(super) value: Option<T>,
    next: Instant,
}

impl<T> Default for Aged<T> {
    fn default() -> Self {
        Self { value: None, next: Instant::now() }
    }
}

impl<T> Aged<T> {
    pub(super) fn is_due(&self) -> bool {
        self.value.is_none() || Instant::now() >= self.next
    }

    pub(super) fn set(&mut self, value: T, begun: Instant, least: Duration) {
        self.next = (begun + least).max(Instant::now() + begun.elapsed() * REST);
        self.value = Some(value);
    }

    /// What is there is worth nothing: it is read at the next chance.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }
}
