//! What operators see: a log, and metrics.

use std::io::IsTerminal;
use std::net::SocketAddr;

use metrics_exporter_prometheus::PrometheusBuilder;
use tracing_subscriber::filter::LevelFilter;

use super::args::LogLevel;
use crate::exit::Stop;

/// Connections relayed since the start.
pub(super) const CONNECTIONS: &str = "headstart_connections_total";
/// Connections that are open.
pub(super) const OPEN: &str = "headstart_connections_open";
/// Bytes relayed, by `direction`.
pub(super) const BYTES: &str = "headstart_relayed_bytes_total";
/// Dials that failed.
pub(super) const DIAL_ERRORS: &str = "headstart_dial_errors_total";
/// Connections that broke.
pub(super) const BROKEN: &str = "headstart_connections_broken_total";
/// Races, by their `winner`.
pub(super) const RACES: &str = "headstart_races_total";

/// Starts the log on standard error.
pub(super) fn log(level: LogLevel) {
    let level = match level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Once per process: nobody else logs.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

/// Starts serving metrics, on the runtime that this is called in.
pub(super) fn metrics(address: Option<SocketAddr>) -> Result<(), Stop> {
    let Some(address) = address else {
        return Ok(());
    };
    PrometheusBuilder::new()
        .with_http_listener(address)
        .install()
        .map_err(|error| Stop::because(format_args!("serving metrics at {address}"), error))?;
    metrics::describe_counter!(CONNECTIONS, "Connections relayed");
    metrics::describe_gauge!(OPEN, "Connections that are open");
    metrics::describe_counter!(BYTES, "Bytes relayed, up from the client and down to it");
    metrics::describe_counter!(DIAL_ERRORS, "Dials that failed");
    metrics::describe_counter!(BROKEN, "Connections that broke");
    metrics::describe_counter!(RACES, "Races, by winner");
    // From the start, so that a rate can be taken of what has not happened yet.
    for name in [CONNECTIONS, DIAL_ERRORS, BROKEN] {
        metrics::counter!(name).absolute(0);
    }
    metrics::gauge!(OPEN).set(0.0);
    for direction in ["up", "down"] {
        metrics::counter!(BYTES, "direction" => direction).absolute(0);
    }
    Ok(())
}
