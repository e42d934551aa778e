//! `headstart demo` where there is no lab.

use crate::cli::DemoArgs;
use crate::exit::{Done, Stop};

/// Says that it cannot run here.
pub(crate) fn run(_: &DemoArgs) -> Result<Done, Stop> {
    Err(Stop::Because(
        "the demo needs Linux: it is made of network namespaces".into(),
    ))
}
