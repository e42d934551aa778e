//! `headstart probe` where the kernel does not tell enough.

use crate::cli::ProbeArgs;
use crate::exit::{Done, Stop};

/// Any name: nothing is sent.
pub(crate) fn server_name(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

/// Says that it cannot run here.
pub(crate) fn run(_: &ProbeArgs) -> Result<Done, Stop> {
    Err(Stop::Because(
        "the probe needs Linux: it reads what became of a SYN from TCP_INFO".into(),
    ))
}
