//! A follow-up event: another intent answers.

use serde_json::{Map, Value};

use super::{Kept, KeptContext, Target, keep};

/// The longest name that an intent's event can have, in characters.
const MAX_EVENT: usize = 150;

/// Sends the conversation on to the intent that has this event (ES). Dialogflow drops texts beside it, so it has none.
///
/// At most three intents may be chained so. CX takes no event from a webhook: there the conversation goes to the page of
/// [`FollowUp::or_go_to`]; without one the user hears that it cannot be done here, and the log says why.
///
/// ```
/// use rejoinder::{Fail, FollowUp};
///
/// async fn pay() -> Result<FollowUp, Fail> {
///     Ok(FollowUp::event("PAY").parameter("amount", 5))
/// }
/// # rejoinder::Bot::new().intent("Pay", pay).check().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct FollowUp {
    pub(crate) event: String,
    pub(crate) target: Option<Target>,
    pub(crate) parameters: Map<String, Value>,
    pub(crate) contexts: Vec<KeptContext>,
    pub(crate) broken: Option<String>,
}

impl FollowUp {
    /// Goes to the intent that has this event.
    pub fn event(name: impl Into<String>) -> Self {
        let event: String = name.into();
        let broken = (event.trim().is_empty() || event.chars().count() > MAX_EVENT).then(|| {
            format!(
                "a follow-up event needs a name of 1 to {MAX_EVENT} characters, found {}",
                event.chars().count()
            )
        });
        Self {
            event,
            target: None,
            parameters: Map::new(),
            contexts: Vec::new(),
            broken,
        }
    }

    /// Goes to this page or flow in CX, which takes no event.
    #[must_use]
    pub fn or_go_to(mut self, target: Target) -> Self {
        self.target = Some(target);
        self
    }

    /// Passes a parameter along; in CX it becomes a session parameter.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.parameters.insert(name.into(), value.into());
        self
    }

    /// Keeps `value` as the context of its type.
    #[must_use]
    pub fn keep<T: Kept>(mut self, value: T) -> Self {
        keep(&mut self.contexts, &mut self.broken, T::LIFESPAN, &value);
        self
    }
}
