//! Progress of long work, on standard error, for people only.
//!
//! Owns: one line that is rewritten while work goes on.
//! Does not own: results (standard output).
//! Invariants: writes nothing when standard error is no terminal.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// A line of progress.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    dirty: AtomicBool,
    last: Mutex<Option<Instant>>,
}

const PAUSE: Duration = Duration::from_millis(100);

impl Progress {
    /// Shown when standard error is a terminal.
    pub fn on_terminal() -> Self {
        Self::new(std::io::stderr().is_terminal())
    }

    /// Never shown.
    pub fn quiet() -> Self {
        Self::new(false)
    }

    fn new(shown: bool) -> Self {
        Self { shown, dirty: AtomicBool::new(false), last: Mutex::new(None) }
    }

    /// Shows `text` in place of what was shown; at most ten times a second.
    pub fn show(&self, text: &str) {
        if !self.shown {
            return;
        }
        let mut last = self.last.lock();
        if last.is_some_and(|at| at.elapsed() < PAUSE) {
            return;
        }
        *last = Some(Instant::now());
        self.dirty.store(true, Ordering::Relaxed);
        let mut out = std::io::stderr().lock();
        // A terminal that is gone is no reason to fail.
        let _ = write!(out, "\r\x1b[2K{text}");
        let _ = out.flush();
    }

    /// Clears the line, so that something lasting can be printed.
    pub fn clear(&self) {
        if self.dirty.swap(false, Ordering::Relaxed) {
            *self.last.lock() = None;
            eprint!("\r\x1b[2K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
