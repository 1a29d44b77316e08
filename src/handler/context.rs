//! What an earlier turn kept in the conversation.

use tracing::warn;

use super::lenient::read;
use super::{FromTurn, Read, Scope};
use crate::fail::Fail;
use crate::lang::Lang;
use crate::reply::Kept;

/// The active context of `T`; in CX the session parameter of that name.
///
/// Where it is not active, or cannot be read, the user hears that the thread is lost; a handler that can do without
/// takes `Option<Context<T>>`. What the context holds came back through the platform: it is the caller's word, no more
/// to be trusted than the caller. Who the user is, [`Verified`](super::Verified) tells.
///
/// ```
/// use rejoinder::{Context, Fail, Kept, Reply};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, Serialize)]
/// struct Order {
///     number: String,
/// }
///
/// impl Kept for Order {
///     const CONTEXT: &'static str = "order";
/// }
///
/// async fn status() -> Result<Reply, Fail> {
///     Ok(Reply::text("It has shipped.").keep(Order { number: "10042".to_owned() }))
/// }
///
/// async fn cancel(Context(order): Context<Order>) -> Result<Reply, Fail> {
///     Ok(Reply::text(format!("Order {} is cancelled.", order.number)).forget::<Order>())
/// }
/// # rejoinder::Bot::new().intent("Status", status).intent("Cancel", cancel).check().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Context<T>(pub T);

impl<T: Kept + Send> FromTurn for Context<T> {
    const READS: &'static [Read] = &[Read::Context(T::CONTEXT)];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        let kept = scope.turn.kept(T::CONTEXT).and_then(|kept| match read(kept) {
            Ok(kept) => Some(Self(kept)),
            Err(mismatch) => {
                warn!(
                    context.id = T::CONTEXT,
                    reason = mismatch.reason,
                    "context cannot be read; the turn goes on without"
                );
                None
            }
        });
        kept.ok_or_else(|| {
            let lang = Lang::new(scope.turn.language.as_str());
            Fail::say(lang.pick([
                (
                    "en",
                    "I have lost track of what that refers to. Could you tell me again?",
                ),
                (
                    "de",
                    "Ich weiß gerade nicht, worauf sich das bezieht. Können Sie es noch einmal sagen?",
                ),
            ]))
        })
    }
}
