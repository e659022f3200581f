//! The file of endpoints, as one run of `lookout check` takes it.

use std::path::Path;
use std::time::Duration;

use common::{Connection, Interval, StatusRange, TargetSpec};
use settings::{Defaults, Mode, Problems};

/// Reads the endpoints of a file. Says on standard error what is probably not meant. `None` when something is wrong;
/// `problems` then says everything that is.
///
/// Of what is for the service, only `timeout` and `degraded_after` count here.
pub(super) fn read(path: &Path, degraded_after: Duration, problems: &mut Problems) -> Option<Vec<TargetSpec>> {
    // Without a timeout of its own a request may take all of its cycle; without an interval there is nothing to hold
    // a timeout against.
    let longest = Interval::new(Interval::MAX).expect("24 h is the longest interval");
    let defaults = Defaults { interval: longest, timeout: Interval::MAX, degraded_after, ..Defaults::default() };
    match settings::file::read(path, Mode::OneOff, &defaults) {
        Ok(mut list) => {
            for warning in &list.warnings {
                eprintln!("warning: {warning}");
            }
            for target in &mut list.targets {
                target.expect_status = vec![StatusRange::SUCCESS];
                target.connection = Connection::Fresh;
            }
            Some(list.targets)
        }
        Err(errors) => {
            problems.file(&errors);
            None
        }
    }
}
