//! Crash campaigns of the log alone: power cuts on a simulated disk, kill -9 of a real process, power cuts on images of
//! a real file system. Each prints its seed and is shown planted faults that it must find.

mod images;
mod killed;
mod model;
mod simulated;

/// Whether the long campaigns were asked for.
fn long() -> bool {
    std::env::var_os("FRAZIL_LONG").is_some()
}

/// The seed of a campaign: `FRAZIL_SEED`, so that a finding can be seen again, or one of its own.
fn seed(own: u64) -> u64 {
    std::env::var("FRAZIL_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(own)
}
