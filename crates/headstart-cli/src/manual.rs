//! `headstart manual`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::{fs, iter};

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::exit::{Done, Stop};

/// Those that have a page.
const COMMANDS: [&str; 10] = [
    "demo", "doctor", "probe", "race", "peers", "serve", "gate", "forward", "lab", "manual",
];

/// Arguments of `headstart manual`.
#[derive(Args, Debug)]
pub(crate) struct ManualArgs {
    /// The page of one command, such as race; otherwise that of headstart as a
    /// whole
    #[arg(value_name = "COMMAND", value_parser = COMMANDS, hide_possible_values = true)]
    command: Option<String>,

    /// Write every page into this directory instead, one file for each. It is
    /// made if it does not exist.
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    into: Option<PathBuf>,

    /// Print completions for this shell instead
    #[arg(long, value_enum, value_name = "SHELL", conflicts_with_all = ["command", "into"])]
    completions: Option<Shell>,
}

/// Runs the command.
pub(crate) fn run(args: &ManualArgs) -> Result<Done, Stop> {
    let mut whole = Cli::command();
    if args.completions.is_none() {
        // It would be named as a page, and has none.
        whole = whole.disable_help_subcommand(true);
    }
    // Fills in what commands inherit.
    whole.build();
    if let Some(directory) = &args.into {
        return write_all(&whole, directory);
    }
    let mut text = Vec::new();
    match (args.completions, &args.command) {
        (Some(shell), _) => clap_complete::generate(shell, &mut whole, "headstart", &mut text),
        (None, Some(name)) => {
            let command = whole.find_subcommand(name).cloned();
            let command =
                command.ok_or_else(|| Stop::Misused(format!("no such command: {name}")))?;
            page(command, &mut text)?;
        }
        (None, None) => page(whole, &mut text)?,
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(&text).and_then(|()| stdout.flush());
    written.map_err(Stop::output)?;
    Ok(Done::Well)
}

fn write_all(whole: &clap::Command, directory: &Path) -> Result<Done, Stop> {
    let cannot =
        |path: &Path, error| Stop::because(format_args!("writing {}", path.display()), error);
    fs::create_dir_all(directory).map_err(|error| cannot(directory, error))?;
    for command in iter::once(whole).chain(whole.get_subcommands()) {
        let file = directory.join(Man::new(command.clone()).get_filename());
        let mut text = Vec::new();
        page(command.clone(), &mut text)?;
        fs::write(&file, text).map_err(|error| cannot(&file, error))?;
    }
    Ok(Done::Well)
}

fn page(command: clap::Command, text: &mut Vec<u8>) -> Result<(), Stop> {
    Man::new(command).render(text).map_err(Stop::output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let whole = Cli::command();
        let names: Vec<_> = whole
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(names, COMMANDS);
    }
}
