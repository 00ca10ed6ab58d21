//! What a materializing task waits for, and what it makes of a panic.
//!
//! Owns: these few futures.
//! Does not own: why it waits.

use base::Offset;
use futures::future::select_all;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) async fn sleep_until(instant: Option<Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// Resolves when one of the marks has moved; a partition that is gone never does.
pub(crate) async fn any_changed(marks: &mut [watch::Receiver<Offset>]) {
    if marks.is_empty() {
        return std::future::pending().await;
    }
    let waits = marks.iter_mut().map(|mark| {
        Box::pin(async move {
            if mark.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    });
    select_all(waits).await;
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
