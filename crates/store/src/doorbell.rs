//! Hearing that something was stored. A notification says only that there is
//! something to read, and may be lost: whoever listens reads anew after that.

use sqlx::PgPool;
use sqlx::postgres::PgListener;

use crate::{StoreError, batches, incidents};

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ring {
    /// This batch was stored.
    Batch(i64),
    /// An incident opened or closed.
    Incident,
    /// The line broke and is mended: anything may have happened meanwhile.
    Lost,
}

/// A connection that listens.
#[derive(Debug)]
pub struct Doorbell(PgListener);

impl Doorbell {
    /// Begins to listen.
    ///
    /// # Errors
    /// Whatever Postgres reports.
    pub async fn listen(pool: &PgPool) -> Result<Self, StoreError> {
        let mut listener = PgListener::connect_with(pool).await?;
        listener.listen_all([batches::CHANNEL, incidents::CHANNEL]).await?;
        Ok(Self(listener))
    }

    /// Waits for the next ring. May be dropped while it waits.
    ///
    /// # Errors
    /// The line broke and could not be mended.
    pub async fn next(&mut self) -> Result<Ring, StoreError> {
        let Some(notification) = self.0.try_recv().await? else { return Ok(Ring::Lost) };
        Ok(match notification.payload().parse() {
            Ok(batch_id) if notification.channel() == batches::CHANNEL => Ring::Batch(batch_id),
            _ => Ring::Incident,
        })
    }
}
