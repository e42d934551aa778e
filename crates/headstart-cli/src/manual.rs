//! `headstart manual`.

use std::io::{self, Write};

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::exit::{Done, Stop};

/// Arguments of `headstart manual`.
#[derive(Args, Debug)]
pub(crate) struct ManualArgs {
    /// The page of one command, such as race; otherwise of all of them
    #[arg(value_name = "COMMAND")]
    command: Option<String>,

    /// Print completions for this shell instead
    #[arg(long, value_enum, value_name = "SHELL", conflicts_with = "command")]
    completions: Option<Shell>,
}

/// Runs the command.
pub(crate) fn run(args: &ManualArgs) -> Result<Done, Stop> {
    let mut whole = Cli::command();
    // Fills in what commands inherit.
    whole.build();
    let mut text = Vec::new();
    match (args.completions, &args.command) {
        (Some(shell), _) => clap_complete::generate(shell, &mut whole, "headstart", &mut text),
        (None, Some(name)) => {
            let command = whole.find_subcommand(name).cloned();
            let command =
                command.ok_or_else(|| Stop::Because(format!("no such command: {name}")))?;
            page(command, &mut text)?;
        }
        (None, None) => page(whole, &mut text)?,
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(&text).and_then(|()| stdout.flush());
    written.map_err(Stop::output)?;
    Ok(Done::Well)
}

fn page(command: clap::Command, text: &mut Vec<u8>) -> Result<(), Stop> {
    clap_mangen::Man::new(command)
        .render(text)
        .map_err(Stop::output)
}
