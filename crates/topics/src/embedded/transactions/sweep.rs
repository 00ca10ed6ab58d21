//! The end of transactions that nobody ends, and of transactional ids that nobody uses.
//!
//! Owns: when they end.
//! Does not own: how (the coordinator).
//! Invariants: what is swept has a newer epoch than its producer, so that the producer hears of it.

use std::sync::Weak;
use std::time::Duration;

use base::Shutdown;

use super::super::shared::Shared;
use crate::error::AppendError;

/// How often somebody looks.
const EVERY: Duration = Duration::from_secs(1);

/// Sweeps until shutdown or until the log is gone. Holds no log, so that dropping it still ends it.
pub(crate) async fn run(shared: Weak<Shared>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = shutdown.requested() => return,
        }
        let Some(shared) = shared.upgrade() else { return };
        if shared.offline().is_some() {
            return;
        }
        if let Err(error) = once(&shared) {
            // Whatever could not be ended now is found again.
            tracing::warn!(%error, "cannot end transactions that have timed out");
        }
    }
}

/// Ends and forgets what is due now. Markers become durable with the next group.
pub(crate) fn once(shared: &Shared) -> Result<(), AppendError> {
    let now_ms = shared.clock.now_ms();
    let expiry_ms = i64::try_from(shared.settings.transactional_id_expiry.as_millis()).unwrap_or(i64::MAX);
    let idle_ms = now_ms.saturating_sub(expiry_ms);
    let mut coordinator = shared.transactions.lock();
    let due = |wanted: &dyn Fn(&crate::transactions::Transaction) -> bool| -> Vec<String> {
        coordinator.ids.iter().filter(|(_, t)| wanted(t)).map(|(id, _)| id.clone()).collect()
    };
    let (late, idle) = (due(&|t| t.is_timed_out(now_ms)), due(&|t| t.is_idle_since(idle_ms)));
    for id in late {
        tracing::info!(transactional_id = id, "aborts a transaction that has timed out");
        coordinator.abort_fenced(shared, &id)?;
    }
    for id in idle {
        coordinator.forget(shared, &id)?;
    }
    Ok(())
}
