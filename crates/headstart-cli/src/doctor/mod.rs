//! `headstart doctor`: what keeps Fast Open from working on this machine, in this namespace.
//! Reads only; at the end one Fast Open exchange with itself on loopback.

mod finding;
#[cfg(target_os = "linux")]
mod linux;
mod loopback;
#[cfg(not(target_os = "linux"))]
mod switches;

use std::time::{Duration, Instant};

use anstyle::Style;
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::exit::{self, Done, Stop};
use crate::output::{self, BAD, GOOD, ODD, styled};
use finding::{Finding, Place, Remedy, Status};

/// Runs the command.
pub(crate) fn run(args: &DoctorArgs) -> Result<Done, Stop> {
    let began = Instant::now();
    let examined = examine(args.port);
    let count = |status| {
        examined
            .findings
            .iter()
            .filter(|f| f.status == status)
            .count()
    };
    let document = Document {
        port: args.port,
        problems: count(Status::Problem),
        warnings: count(Status::Warning),
        took_ms: output::micros(began.elapsed()) / 1000,
        findings: &examined.findings,
    };
    exit::even_unread(match args.json {
        true => output::json(&document),
        false => print(&document, examined.places),
    })?;
    Ok(match document.problems {
        0 => Done::Well,
        _ => Done::Partly,
    })
}

/// What was found, and which remedies can be typed where the doctor runs.
struct Examined {
    findings: Vec<Finding>,
    places: &'static [Place],
}

#[cfg(target_os = "linux")]
fn examine(port: Option<u16>) -> Examined {
    let spinner = output::spinner("looking at the settings, and dialling itself");
    let place = linux::Namespace::read();
    let mut findings = linux::examine(port, &place);
    findings.push(loopback::finding());
    spinner.finish_and_clear();
    Examined {
        findings,
        places: place.remedies(),
    }
}

#[cfg(not(target_os = "linux"))]
fn examine(_port: Option<u16>) -> Examined {
    let mut findings = switches::findings();
    findings.push(loopback::finding());
    Examined {
        findings,
        places: &[Place::Now, Place::Boot, Place::Program, Place::Jail],
    }
}

/// Everything, for programs.
#[derive(Debug, Serialize)]
struct Document<'a> {
    /// The port that was asked about.
    port: Option<u16>,
    problems: usize,
    warnings: usize,
    took_ms: u64,
    findings: &'a [Finding],
}

fn print(document: &Document<'_>, places: &[Place]) -> Result<(), Stop> {
    for finding in document.findings {
        let (style, word) = look(finding.status);
        let word = styled(style, format_args!("{word:<8}"));
        output::line(format_args!(
            "{word} {:<22} {}",
            finding.name, finding.found
        ))?;
        if !finding.why.is_empty() {
            output::line(format_args!("{:9}{}", "", finding.why))?;
        }
        for remedy in fitting(finding, places) {
            let place = format!("{}:", remedy.place.words());
            output::line(format_args!("{:9}{place:<16}{}", "", remedy.command))?;
        }
    }
    let took = output::seconds(Duration::from_millis(document.took_ms));
    output::line(match (document.problems, document.warnings) {
        (0, 0) => format!("\n{} ({took})", styled(GOOD, "All is well")),
        (problems, warnings) => format!(
            "\n{}, {} ({took})",
            styled(
                if problems > 0 { BAD } else { GOOD },
                plural(problems, "problem")
            ),
            styled(
                if warnings > 0 { ODD } else { GOOD },
                plural(warnings, "warning")
            ),
        ),
    })
}

/// The remedies that can be typed here; all, if none can.
fn fitting<'a>(finding: &'a Finding, places: &[Place]) -> Vec<&'a Remedy> {
    let all = finding.remedies.iter();
    let fitting: Vec<_> = all.clone().filter(|r| places.contains(&r.place)).collect();
    match fitting.is_empty() {
        true => all.collect(),
        false => fitting,
    }
}

fn look(status: Status) -> (Style, &'static str) {
    match status {
        Status::Ok => (GOOD, "ok"),
        Status::Unknown => (ODD, "unknown"),
        Status::Warning => (ODD, "warning"),
        Status::Problem => (BAD, "problem"),
    }
}

fn plural(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
