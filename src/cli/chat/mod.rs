//! `rejoinder chat`: a conversation with a running service, in the terminal.

mod keyboard;
mod line;
mod screen;
mod window;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::{Map, Value};
use tokio::signal::unix::{SignalKind, signal};

use self::keyboard::Keyboard;
use self::line::{HELP, Line};
use self::screen::{Screen, told};
use self::window::{Window, WindowNews};
use super::failed;
use super::service_url::ServiceUrl;
use crate::agent::spoken::{self, Open, Spoken, Understood};
use crate::clock::Clock;
use crate::platform::dialogflow::{Heard, Taken, Talk};
use crate::running::{Came, NoAnswer, Running};
use crate::session::SessionName;

/// The agent that is taken where it is there.
const AGENT: &str = "agents/es";

/// So many events in a row a reply may lead to.
const MOST_EVENTS: usize = 5;

/// A turn that gets no answer is given up: the service answers ES within five seconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Talk with a running service
///
/// Type a sentence: the training phrases of the agent choose the intent, plainly and here, so less is understood than by
/// Dialogflow. What was understood is shown, then the reply, the contexts it keeps, and whatever arrives unasked. Contexts
/// are carried on as Dialogflow ES does. `/intent NAME key=value` is a turn of an intent by its name; `/help` tells the rest.
/// From a pipe, each line is a turn.
///
/// The exit code is 0 at the end of the conversation, 1 when the service has refused a turn, and 2 when it has not answered
/// one or a file cannot be read.
#[derive(Args)]
#[group(skip)]
pub(super) struct Chat {
    /// Directory of the agent's sources (Dialogflow ES); agents/es when it is not given and that is there
    #[arg(long, value_name = "DIR")]
    agent: Option<PathBuf>,
    /// Name of the session: the full one, or its last part (1 is projects/demo/agent/sessions/1); a new one when it is not given
    #[arg(long, value_name = "NAME", value_parser = Talk::session_named)]
    session: Option<SessionName>,
    /// The language that is spoken
    #[arg(long, value_name = "TAG", default_value = "en")]
    language: String,
    #[command(flatten)]
    service: ServiceUrl,
    /// A header to send with each request, for credentials; may be given several times
    #[arg(long = "header", value_name = "NAME: VALUE")]
    headers: Vec<String>,
}

impl Chat {
    pub(super) fn run(self) -> ExitCode {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let ended = runtime
            .context("cannot start the runtime")
            .and_then(|runtime| runtime.block_on(self.talk()));
        ended.unwrap_or_else(|error| failed(&error, ExitCode::from(2)))
    }

    async fn talk(self) -> anyhow::Result<ExitCode> {
        let running = Running::new(self.service.client()?, &self.service.url(), &self.headers)?;
        let dir = self
            .agent
            .clone()
            .or_else(|| Path::new(AGENT).is_dir().then(|| AGENT.into()));
        let agent = dir.as_ref().map(|dir| Spoken::read(dir, &self.language)).transpose()?;
        let session = match &self.session {
            Some(session) => session.to_string(),
            None => Talk::new_session(),
        };
        // Before anything is said, so that nothing is missed.
        let mut window = match Window::open(&running, &session).await? {
            Ok(window) => window,
            Err(came) => return Ok(failed(&anyhow::anyhow!("{}", refusal(&came)), ExitCode::FAILURE)),
        };
        let (mut keyboard, printer) = Keyboard::open()?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?;
        let mut conversation = Conversation {
            running,
            agent,
            language: self.language,
            clock: Clock::system(),
            talk: Talk::begin(&session),
            screen: Screen::new(printer),
            open: None,
            last: None,
            worst: 0,
        };
        conversation.greet(dir.as_deref())?;
        keyboard.ask();
        loop {
            tokio::select! {
                line = keyboard.line() => {
                    let Some(line) = line? else { break };
                    let goes_on = tokio::select! {
                        goes_on = conversation.hear(&line) => goes_on?,
                        _ = interrupt.recv() => false,
                    };
                    if !goes_on {
                        break;
                    }
                    keyboard.ask();
                }
                news = window.news() => conversation.tell(news)?,
                _ = interrupt.recv() => break,
            }
        }
        Ok(ExitCode::from(conversation.worst))
    }
}

/// A conversation that goes on.
struct Conversation {
    running: Running,
    agent: Option<Spoken>,
    language: String,
    clock: Clock,
    talk: Talk,
    screen: Screen,
    /// What the agent has asked.
    open: Option<Open>,
    /// What was typed last, and is no command of the chat itself.
    last: Option<Line>,
    /// The exit code.
    worst: u8,
}

impl Conversation {
    fn greet(&mut self, dir: Option<&Path>) -> anyhow::Result<()> {
        let session = self.talk.session().to_owned();
        match (&self.agent, dir) {
            (Some(agent), Some(dir)) => {
                let (dir, intents) = (dir.display(), agent.intents());
                let greeting = format!("session {session}; {dir} understands {intents} intents; /help tells more");
                self.screen.note(greeting)
            }
            _ => self.screen.note(format_args!(
                "session {session}; there is no {AGENT}, so no sentence is understood: type /intent NAME key=value, or name an agent with --agent"
            )),
        }
    }

    /// Does what a line asks for; `false` at the end.
    async fn hear(&mut self, line: &str) -> anyhow::Result<bool> {
        let line = match Line::read(line) {
            Ok(Line::Again) => match self.last.clone() {
                Some(last) => last,
                None => {
                    return self
                        .screen
                        .error("/again: found no line before it, expected one")
                        .map(|()| true);
                }
            },
            Ok(line) => line,
            Err(error) => return self.screen.error(error).map(|()| true),
        };
        if matches!(line, Line::Said(_) | Line::Intent(..)) {
            self.last = Some(line.clone());
        }
        match line {
            Line::Said(text) => self.said(&text).await?,
            Line::Intent(name, parameters) => {
                self.open = None;
                let taken = match &self.agent {
                    Some(agent) => agent.named(&name, parameters),
                    None => spoken::taken(&name, parameters),
                };
                self.turn(taken).await?;
            }
            Line::Contexts => self.contexts()?,
            Line::Session => self.screen.say(self.talk.session())?,
            Line::Help => {
                for (usage, what) in HELP {
                    self.screen.say(format_args!("{usage:25} {what}"))?;
                }
            }
            Line::Quit => return Ok(false),
            Line::Nothing | Line::Again => {}
        }
        Ok(true)
    }

    async fn said(&mut self, text: &str) -> anyhow::Result<()> {
        let open = self.open.take();
        match &self.agent {
            Some(agent) => {
                let understood = agent.understand(text, &self.talk, open, self.clock.now());
                self.goes_on(understood).await
            }
            None => self
                .screen
                .error("found a sentence and no agent, expected /intent NAME key=value"),
        }
    }

    /// What comes of what was understood, and of the events that replies lead to.
    async fn goes_on(&mut self, mut understood: Understood) -> anyhow::Result<()> {
        for _ in 0..MOST_EVENTS {
            let event = match understood {
                Understood::Turn(taken) => self.turn(taken).await?,
                Understood::Own(taken) => {
                    self.understood(&taken)?;
                    // It counts as a turn for the contexts.
                    self.talk.turn(&taken, &self.language);
                    return self.screen.say(&taken.own_text);
                }
                Understood::Asks(open) => {
                    self.screen
                        .note(format_args!("{} asks for {}", open.name, open.parameter))?;
                    self.screen.say(&open.prompt)?;
                    self.open = Some(open);
                    return Ok(());
                }
                Understood::Nothing => return self.screen.note("no intent of the agent, and it has no fallback"),
            };
            let (Some((event, parameters)), Some(agent)) = (event, &self.agent) else {
                return Ok(());
            };
            understood = match agent.on_event(&event, &parameters, &self.talk) {
                Some(understood) => understood,
                None => return self.screen.note("no intent of the agent has this event"),
            };
        }
        self.screen
            .error(format_args!("found {MOST_EVENTS} events in a row, expected a reply"))
    }

    /// Posts a turn and shows the reply; the event that it leads to, if any.
    async fn turn(&mut self, taken: Taken) -> anyhow::Result<Option<(String, Map<String, Value>)>> {
        self.understood(&taken)?;
        let turn = self.talk.turn(&taken, &self.language);
        let posted = tokio::time::timeout(PATIENCE, self.running.post(turn.to_string())).await;
        let came = match posted {
            Ok(Ok(came)) => came,
            Ok(Err(NoAnswer::NothingListens(reason))) => {
                return self.unanswered(&self.running.nothing_listens(&reason));
            }
            Ok(Err(NoAnswer::Other(reason))) => return self.unanswered(&reason),
            Err(_) => return self.unanswered("the service has not answered"),
        };
        if came.status != 200 {
            self.worst = self.worst.max(1);
            self.screen.error(refusal(&came))?;
            return Ok(None);
        }
        let heard = Heard::of(&came.body);
        for line in &heard.lines {
            self.screen.say(line)?;
        }
        match self.talk.keep(&came.body) {
            Ok(kept) => kept.iter().try_for_each(|context| self.screen.context(context))?,
            Err(name) => self
                .screen
                .error(format_args!("found the context {name}, expected one of this session"))?,
        }
        if let Some((event, parameters)) = &heard.follow_up {
            self.screen
                .note(format_args!("goes on with the event {event}{}", told(parameters)))?;
        }
        Ok(heard.follow_up)
    }

    fn unanswered<T>(&mut self, reason: &str) -> anyhow::Result<Option<T>> {
        self.worst = 2;
        self.screen.error(reason)?;
        Ok(None)
    }

    fn understood(&mut self, taken: &Taken) -> anyhow::Result<()> {
        self.screen
            .note(format_args!("{}{}", taken.intent, told(&taken.parameters)))
    }

    fn contexts(&mut self) -> anyhow::Result<()> {
        let mut contexts = self.talk.contexts().peekable();
        if contexts.peek().is_none() {
            return self.screen.note("no context is active");
        }
        contexts.try_for_each(|context| self.screen.context(context))
    }

    fn tell(&mut self, news: WindowNews) -> anyhow::Result<()> {
        match news {
            WindowNews::Said(said) => self.screen.unasked(&said),
            WindowNews::Cut(reason) => self
                .screen
                .note(format_args!("the stream is cut: {reason}; it is tried again")),
            WindowNews::Back => self.screen.note("the stream is back"),
        }
    }
}

/// What the service says where it takes no turn.
fn refusal(came: &Came) -> String {
    let message = came.body["error"]["message"].as_str().or(came.body.as_str());
    format!(
        "the service answers {}: {}",
        came.status,
        message.unwrap_or("no reason")
    )
}
