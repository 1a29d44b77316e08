//! How recorded turns came out: a table with a diff for each mismatch, or JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Came, Mismatch, RecordedTurn};

/// How all turns of a run came out.
pub(crate) struct Report {
    /// Each turn, in the order played.
    pub(crate) played: Vec<Played>,
}

/// A turn that was played.
pub(crate) struct Played {
    /// The turn, as it was read.
    pub(crate) turn: RecordedTurn,
    /// How it came out.
    pub(crate) outcome: Outcome,
    /// The answer, if there was one.
    pub(crate) came: Option<Came>,
    /// How long the answer took.
    pub(crate) milliseconds: f64,
}

/// How a turn came out.
pub(crate) enum Outcome {
    /// As expected.
    Ok,
    /// Not as expected.
    Differs(Mismatch),
    /// Not as expected, and now its file expects it.
    Accepted(Mismatch),
    /// There was no answer, for this reason.
    Error(String),
}

impl Outcome {
    fn name(&self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Differs(_) => "differs",
            Self::Accepted(_) => "accepted",
            Self::Error(_) => "error",
        }
    }

    fn passed(&self) -> bool {
        match self {
            Self::Ok | Self::Accepted(_) => true,
            Self::Differs(_) | Self::Error(_) => false,
        }
    }

    fn mismatch(&self) -> Option<&Mismatch> {
        match self {
            Self::Differs(mismatch) | Self::Accepted(mismatch) => Some(mismatch),
            Self::Ok | Self::Error(_) => None,
        }
    }
}

impl Played {
    /// What to do about it.
    fn hint(&self) -> Option<&'static str> {
        let Outcome::Differs(mismatch) = &self.outcome else {
            return None;
        };
        match self.came.as_ref().map(|came| came.status) {
            Some(401 | 403) => Some("the service does not admit this caller; give credentials with --header"),
            Some(status) if !self.turn.may_accept(status) => Some("this status says nothing of the turn"),
            _ if mismatch.no_reply_yet => Some("the file has no reply yet; --accept writes what came into it"),
            _ => None,
        }
    }
}

impl Report {
    /// How many turns came out as expected.
    pub(crate) fn passed(&self) -> usize {
        self.played.iter().filter(|played| played.outcome.passed()).count()
    }

    /// How many did not.
    pub(crate) fn failed(&self) -> usize {
        self.played.len() - self.passed()
    }

    /// How many had no answer.
    pub(crate) fn errors(&self) -> usize {
        let error = |played: &&Played| matches!(played.outcome, Outcome::Error(_));
        self.played.iter().filter(error).count()
    }

    /// Makes the files of turns that differ expect what came.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn accept(&mut self) -> anyhow::Result<()> {
        for played in &mut self.played {
            let (Outcome::Differs(mismatch), Some(came)) = (&played.outcome, &played.came) else {
                continue;
            };
            if played.turn.may_accept(came.status) {
                played.turn.accepting(came).write()?;
                played.outcome = Outcome::Accepted(mismatch.clone());
            }
        }
        Ok(())
    }

    /// For people: a table, each mismatch, and the counts on the last line.
    pub(crate) fn text(&self, colour: bool) -> String {
        let mut text = self.table();
        for played in &self.played {
            let file = played.turn.file.display();
            if let Some(mismatch) = played.outcome.mismatch() {
                let _ = writeln!(text, "\n{file}");
                for difference in &mismatch.differences {
                    let _ = writeln!(text, "  {difference}");
                }
                text += &coloured(&mismatch.diff, colour);
            }
            if let Outcome::Error(reason) = &played.outcome {
                let _ = writeln!(text, "\n{file}\n  no answer: {reason}");
            }
            if let Some(hint) = played.hint() {
                let _ = writeln!(text, "  {hint}");
            }
        }
        text.push('\n');
        for played in &self.played {
            if matches!(played.outcome, Outcome::Accepted(_)) {
                let _ = writeln!(text, "changed {}", played.turn.file.display());
            }
        }
        let _ = writeln!(text, "{} passed, {} failed", self.passed(), self.failed());
        text
    }

    /// For scripts.
    pub(crate) fn json(&self) -> Value {
        let turns = self.played.iter().map(Played::json).collect::<Vec<_>>();
        json!({"passed": self.passed(), "failed": self.failed(), "turns": turns})
    }

    fn table(&self) -> String {
        let mut rows = vec![["TURN", "INTENT", "RESULT", "MS"].map(str::to_owned)];
        rows.extend(self.played.iter().map(|played| {
            [
                played.turn.file.display().to_string(),
                played.turn.intent(),
                played.outcome.name().to_owned(),
                format!("{:.1}", played.milliseconds),
            ]
        }));
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let [first, second, third, fourth] = [0, 1, 2, 3].map(width);
        let mut text = String::new();
        for [turn, intent, result, ms] in &rows {
            let _ = writeln!(text, "{turn:first$}  {intent:second$}  {result:third$}  {ms:>fourth$}");
        }
        text
    }
}

impl Played {
    fn json(&self) -> Value {
        let mut json = Map::from_iter([
            ("file".to_owned(), self.turn.file.display().to_string().into()),
            ("intent".to_owned(), self.turn.intent().into()),
            ("result".to_owned(), self.outcome.name().into()),
            ("milliseconds".to_owned(), self.milliseconds.into()),
        ]);
        if let Some(came) = &self.came {
            json.insert("status".to_owned(), came.status.into());
        }
        if let Some(mismatch) = self.outcome.mismatch() {
            let differences = mismatch.differences.iter().map(|difference| {
                let mut json = Map::from_iter([("path".to_owned(), difference.path.as_str().into())]);
                let sides = [("expected", &difference.expected), ("came", &difference.came)];
                json.extend(
                    sides
                        .into_iter()
                        .filter_map(|(key, side)| Some((key.to_owned(), side.clone()?))),
                );
                Value::Object(json)
            });
            json.insert("differences".to_owned(), differences.collect());
            json.insert("diff".to_owned(), mismatch.diff.as_str().into());
        }
        if let Outcome::Error(reason) = &self.outcome {
            json.insert("error".to_owned(), reason.as_str().into());
        }
        if let Some(hint) = self.hint() {
            json.insert("hint".to_owned(), hint.into());
        }
        Value::Object(json)
    }
}

fn coloured(diff: &str, colour: bool) -> String {
    if !colour {
        return diff.to_owned();
    }
    let line = |line: &str| {
        let colour = match line.as_bytes().first() {
            Some(b'-') => "31",
            Some(b'+') => "32",
            Some(b'@') => "36",
            _ => return format!("{line}\n"),
        };
        format!("\x1b[{colour}m{line}\x1b[0m\n")
    };
    diff.lines().map(line).collect()
}
