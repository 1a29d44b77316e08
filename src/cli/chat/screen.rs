//! What is shown of a conversation: what is said as it is, all else in parentheses, and dim on a terminal.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};

use serde_json::{Map, Value};

use super::super::out;
use super::keyboard::Printer;
use crate::config;
use crate::platform::dialogflow::Active;
use crate::running::Said;

/// Where the conversation is shown.
pub(super) struct Screen {
    /// Of the terminal whose lines are edited: it leaves the line alone that is being typed.
    printer: Option<Printer>,
    is_styled: bool,
}

impl Screen {
    pub(super) fn new(printer: Option<Printer>) -> Self {
        Self {
            is_styled: io::stdout().is_terminal() && !config::no_color(),
            printer,
        }
    }

    /// What the user hears.
    pub(super) fn say(&mut self, text: impl Display) -> anyhow::Result<()> {
        self.print(visible(text))
    }

    /// What stands behind it.
    pub(super) fn note(&mut self, note: impl Display) -> anyhow::Result<()> {
        let note = self.styled("2", format_args!("({note})"));
        self.print(note)
    }

    /// What went wrong.
    pub(super) fn error(&mut self, error: impl Display) -> anyhow::Result<()> {
        let error = self.styled("31", format_args!("error: {error}"));
        self.print(error)
    }

    /// What arrives unasked.
    pub(super) fn unasked(&mut self, said: &Said) -> anyhow::Result<()> {
        let mark = match &said.topic {
            Some(topic) => format!("(unasked, {topic})"),
            None => "(unasked)".to_owned(),
        };
        let mark = self.styled("36", mark);
        self.print(format!("{mark} {}", visible(&said.text)))
    }

    /// A context, with what it holds for the agent.
    pub(super) fn context(&mut self, context: &Active) -> anyhow::Result<()> {
        let Active { id, lifespan, .. } = context;
        let turns = match lifespan {
            0 => return self.note(format_args!("context {id} ends")),
            1 => "1 turn".to_owned(),
            turns => format!("{turns} turns"),
        };
        self.note(format_args!("context {id}, {turns}{}", told(&context.parameters)))
    }

    fn styled(&self, style: &str, text: impl Display) -> String {
        match self.is_styled {
            true => format!("\x1b[{style}m{}\x1b[0m", visible(text)),
            false => visible(text),
        }
    }

    fn print(&mut self, text: String) -> anyhow::Result<()> {
        match &mut self.printer {
            Some(printer) => Ok(printer.print(format!("{text}\n"))?),
            None => Ok(out::print(text)?),
        }
    }
}

/// Without what would move the cursor or colour the terminal: what is said comes from outside.
fn visible(text: impl Display) -> String {
    let is_escape = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.to_string()
        .replace(is_escape, char::REPLACEMENT_CHARACTER.encode_utf8(&mut [0; 4]))
}

/// `: number=10043 date="on Monday"`: what is filled of parameters, without what is written for the machine.
pub(super) fn told(parameters: &Map<String, Value>) -> String {
    let is_told = |name: &str, value: &Value| {
        !Active::is_for_the_machine(name)
            && !value.is_null()
            && *value != ""
            && value.as_array().is_none_or(|list| !list.is_empty())
    };
    let parameters = parameters.iter().filter(|(name, value)| is_told(name, value));
    let parameters = parameters.map(|(name, value)| match value.as_str() {
        Some(text) if !text.contains([' ', '"']) => format!(" {name}={text}"),
        Some(_) | None => format!(" {name}={value}"),
    });
    let parameters: String = parameters.collect();
    if parameters.is_empty() {
        parameters
    } else {
        format!(":{parameters}")
    }
}

#[cfg(test)]
mod tests {
    use super::visible;

    #[test]
    fn what_is_said_leaves_the_terminal_alone() {
        assert_eq!(
            visible("red \x1b[31m\u{9b}2J\rline\none\ttab"),
            "red \u{fffd}[31m\u{fffd}2J\u{fffd}line\none\ttab"
        );
    }
}
