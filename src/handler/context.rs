//! What an earlier turn kept in the conversation.

use super::lenient::read;
use super::{FromTurn, Read, Scope};
use crate::fail::Fail;
use crate::lang::Lang;
use crate::reply::Kept;

/// The active context of `T`; in CX the session parameter of that name.
///
/// Where it is not active the user hears that the thread is lost; a handler that can do without takes
/// `Option<Context<T>>`. What the context holds came back through the platform: it is the caller's word, no more to
/// be trusted than the caller.
#[derive(Clone, Debug)]
pub struct Context<T>(pub T);

impl<T: Kept + Send> FromTurn for Context<T> {
    const READS: &'static [Read] = &[Read::Context(T::CONTEXT)];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        let Some(kept) = scope.turn.kept(T::CONTEXT) else {
            let lang = Lang::new(scope.turn.language.as_str());
            return Err(Fail::say(lang.pick([
                (
                    "en",
                    "I have lost track of what that refers to. Could you tell me again?",
                ),
                (
                    "de",
                    "Ich weiß gerade nicht, worauf sich das bezieht. Können Sie es noch einmal sagen?",
                ),
            ])));
        };
        read(kept).map(Self).map_err(|mismatch| {
            Fail::bug(format_args!(
                "context {} cannot be read: {}",
                T::CONTEXT,
                mismatch.reason
            ))
        })
    }
}
