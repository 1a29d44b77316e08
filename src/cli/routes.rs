//! `rejoinder routes`: the table of intents.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::out;
use crate::bot::Bot;

/// Prints the table of intents.
#[derive(Args)]
pub(super) struct Routes<B: Args> {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    bot: B,
}

impl<B: Args> Routes<B> {
    pub(super) fn print(self, bot: impl FnOnce(&B) -> Bot) -> anyhow::Result<ExitCode> {
        let bot = bot(&self.bot);
        bot.check()?;
        let rows: Vec<[&str; 3]> = bot
            .intents()
            .iter()
            .map(|intent| [intent.by.name(), intent.name.as_str(), intent.handler])
            .collect();
        if self.json {
            let rows: Vec<_> = rows
                .iter()
                .map(|[by, name, handler]| json!({"by": by, "name": name, "handler": handler}))
                .collect();
            out::print_json(&rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        let header = ["MATCHED BY", "NAME", "HANDLER"];
        let width = |column: usize| {
            rows.iter()
                .chain([&header])
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or_default()
        };
        let (first, second) = (width(0), width(1));
        for [by, name, handler] in [&header].into_iter().chain(&rows) {
            out::print(format_args!("{by:first$}  {name:second$}  {handler}"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
