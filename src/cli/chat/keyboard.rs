//! Where lines come from: a terminal, where they can be edited, or a pipe.

use std::io::{self, IsTerminal as _};
use std::sync::mpsc as blocking;
use std::thread;

use anyhow::Context as _;
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter};
use tokio::sync::mpsc;

const PROMPT: &str = "> ";

/// Lines, one at each asking.
pub(super) struct Keyboard {
    asked: blocking::Sender<()>,
    lines: mpsc::Receiver<anyhow::Result<Option<String>>>,
}

/// Prints above the line that is being edited.
pub(super) type Printer = Box<dyn ExternalPrinter + Send>;

impl Keyboard {
    /// Of the terminal, with its printer, where this runs in one; else of standard input.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub(super) fn open() -> anyhow::Result<(Self, Option<Printer>)> {
        let (asked, asking) = blocking::channel();
        let (sender, lines) = mpsc::channel(1);
        let mut printer: Option<Printer> = None;
        let mut read: Box<dyn FnMut() -> anyhow::Result<Option<String>> + Send> = Box::new(piped);
        if io::stdin().is_terminal() && io::stdout().is_terminal() {
            let mut editor = DefaultEditor::new().context("the terminal cannot be used")?;
            // A terminal that can do too little for it has lines all the same.
            printer = editor
                .create_external_printer()
                .ok()
                .map(|printer| Box::new(printer) as Printer);
            read = Box::new(move || edited(&mut editor));
        }
        thread::spawn(move || {
            while asking.recv().is_ok() {
                let line = read();
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
        });
        Ok((Self { asked, lines }, printer))
    }

    /// Asks for the next line.
    pub(super) fn ask(&self) {
        // The thread is there as long as this is.
        self.asked.send(()).ok();
    }

    /// The line that was asked for; `None` at the end: Ctrl-D, Ctrl-C, or the end of the file.
    pub(super) async fn line(&mut self) -> anyhow::Result<Option<String>> {
        self.lines.recv().await.unwrap_or(Ok(None))
    }
}

fn edited(editor: &mut DefaultEditor) -> anyhow::Result<Option<String>> {
    match editor.readline(PROMPT) {
        Ok(line) => {
            editor.add_history_entry(&line).ok();
            Ok(Some(line))
        }
        Err(ReadlineError::Eof | ReadlineError::Interrupted) => Ok(None),
        Err(error) => Err(error).context("the terminal cannot be read"),
    }
}

fn piped() -> anyhow::Result<Option<String>> {
    let mut line = String::new();
    let read = io::stdin()
        .read_line(&mut line)
        .context("standard input cannot be read")?;
    Ok((read > 0).then_some(line))
}
