//! The user who has shown who they are.

use super::{FromTurn, Memory, Read, Scope};
use crate::fail::Fail;
use crate::lang::Lang;

/// The id of the user who has verified their identity in this conversation, as [`Memory::identify`] has written it.
///
/// Where nobody has, or that was too long ago, the user is asked to; a handler that can do without takes
/// `Option<Verified>`, which costs a query in any case ([`Memory::verified`] asks only where it matters). It is read
/// from the database: no context and no session parameter makes it so.
///
/// ```
/// use rejoinder::{Fail, Reply, Verified};
///
/// async fn balance(Verified(customer): Verified) -> Result<Reply, Fail> {
///     Ok(Reply::text(format!("Customer {customer}, your balance is 12.")))
/// }
/// # rejoinder::Bot::new().intent("Balance", balance).check().unwrap();
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified(pub String);

impl FromTurn for Verified {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        let verified = Memory::from_turn(scope).await?.verified().await?;
        verified.map(Self).ok_or_else(|| {
            let lang = Lang::new(scope.turn.language.as_str());
            Fail::say(lang.pick([
                ("en", "Please verify your identity first."),
                ("de", "Bitte bestätigen Sie zuerst Ihre Identität."),
            ]))
        })
    }
}
