//! The program `frazil` with faults that can be planted, so that checkers can be seen to find them.
//!
//! Owns: the switch `FRAZIL_SABOTAGE`. Does not own: anything else; the rest is the real program.

use std::process::ExitCode;
use std::sync::atomic::Ordering;

fn main() -> ExitCode {
    match std::env::var("FRAZIL_SABOTAGE").as_deref() {
        Err(_) => {}
        Ok("range-fence-off") => tables::sabotage::RANGE_FENCE_OFF.store(true, Ordering::SeqCst),
        Ok(name) => match topics::sabotage::switch(name) {
            Some(switch) => switch.store(true, Ordering::SeqCst),
            None => {
                eprintln!("error: no sabotage `{name}`");
                return ExitCode::from(2);
            }
        },
    }
    frazil::main()
}
