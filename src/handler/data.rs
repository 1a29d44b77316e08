//! What the bot shares with all its handlers.

use std::any::TypeId;
use std::ops::Deref;
use std::sync::Arc;

use super::{FromTurn, Read, Scope};
use crate::fail::Fail;

/// A value given to [`Bot::data`](crate::Bot::data), such as the bot's settings.
///
/// ```
/// use rejoinder::{Bot, Data, Fail, Reply};
///
/// struct Shop {
///     name: &'static str,
/// }
///
/// async fn who(shop: Data<Shop>) -> Result<Reply, Fail> {
///     Ok(Reply::text(format!("This is {}.", shop.name)))
/// }
///
/// let bot = Bot::new().data(Shop { name: "Example Post" }).intent("Who", who);
/// # bot.check().unwrap();
/// ```
#[derive(Debug)]
pub struct Data<T>(Arc<T>);

impl<T> Clone for Data<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Deref for Data<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Send + Sync + 'static> FromTurn for Data<T> {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        let shared = scope.services.data.get(&TypeId::of::<T>()).cloned();
        let value = shared.and_then(|shared| shared.downcast::<T>().ok());
        value.map(Self).ok_or_else(|| {
            Fail::bug(format_args!(
                "the bot has no Data<{0}>: give it one with Bot::data",
                std::any::type_name::<T>()
            ))
        })
    }
}
