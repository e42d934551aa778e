//! Rules as they are typed, listed and completed.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Arg, Command, Error};
use headstart_lab::Rule;

/// Takes a rule by its name, and a value behind `=` where it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct RuleParser {}

impl TypedValueParser for RuleParser {
    type Value = Rule;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<Rule, Error> {
        let text = StringValueParser::new().parse_ref(command, argument, value)?;
        text.parse().map_err(|error| {
            let argument = argument.map(ToString::to_string).unwrap_or_default();
            let why = format!("invalid value for '{argument}': {error}\n");
            Error::raw(ErrorKind::ValueValidation, why).with_cmd(command)
        })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(Rule::ALL.iter().map(possible)))
    }
}

fn possible(rule: &Rule) -> PossibleValue {
    let (summary, whole) = (rule.summary(), rule.to_string());
    // Its text has a value only if the rule does.
    let help = match whole.contains('=') {
        true => format!("{summary}; takes a value, and without is {whole}"),
        false => summary.to_owned(),
    };
    PossibleValue::new(rule.name()).help(help)
}
