//! Handlers: async functions whose arguments are extracted from the turn.

mod context;
mod data;
mod database;
mod gate;
mod identity;
mod lenient;
mod memory;
mod params;
mod plain;
mod pool;
pub(crate) mod reaction;
mod turn;
mod verified;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use self::context::Context;
pub use self::data::Data;
pub use self::database::{Db, Tx};
pub(crate) use self::identity::Identity;
pub use self::memory::{Fact, Facts, Memory, Preferences};
pub use self::params::Params;
pub(crate) use self::pool::Gates;
pub use self::pool::{Connection, Pool, Transaction};
pub(crate) use self::turn::Awaited;
pub use self::turn::{Deadline, Raw, Session};
pub use self::verified::Verified;
use crate::cache::Cache;
use crate::clock::Clock;
use crate::conversation::Conversation;
use crate::fail::Fail;
pub use crate::idempotency::key::Read;
use crate::idempotency::key::TurnKey;
use crate::lang::Lang;
use crate::postgres::Database;
use crate::reply::Answer;
use crate::turn::Turn;
use crate::upstream::Upstream;

/// An async function that answers a turn.
///
/// Its arguments, up to ten, are extracted in order and each implements [`FromTurn`]; the first that fails ends the
/// turn. It returns `Result<Reply, Fail>` or `Result<FollowUp, Fail>`. It must not block its thread: for work that
/// does, use `tokio::task::spawn_blocking`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler of turns",
    label = "one of its arguments, or what it returns, is not a handler's",
    note = "a handler is an async fn of up to ten arguments that returns Result<Reply, Fail> or Result<FollowUp, Fail>",
    note = "its arguments are Params<T> and Context<T> of a T that implements serde::Deserialize, Session, Lang, Db, Tx, Memory, \
            Verified, Cache, Upstream, Deadline, Raw, Data<T>, Arc<Turn>, Clock, or an Option of one of them"
)]
pub trait Handler<Args>: Clone + Send + Sync + 'static {
    /// Answers one turn.
    fn call(self, scope: Scope) -> BoxFuture<'static, Result<Answer, Fail>>;

    /// What its arguments can read of a turn.
    fn reads(&self) -> Vec<Read>;
}

/// Something a handler can ask for.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be extracted from a turn",
    note = "arguments of a handler are Params<T> and Context<T> of a T that implements serde::Deserialize, Session, Lang, Db, Tx, \
            Memory, Verified, Cache, Upstream, Deadline, Raw, Data<T>, Arc<Turn>, Clock, or an Option of one of them"
)]
pub trait FromTurn: Sized + Send {
    /// What it can read of the turn: all, unless it says otherwise.
    const READS: &'static [Read] = &[Read::Turn];

    /// Takes it out of the turn.
    ///
    /// # Errors
    /// What the user hears instead of the handler's reply.
    fn from_turn(scope: &Scope) -> impl Future<Output = Result<Self, Fail>> + Send;
}

/// What extractors extract from: the turn, and what the service has for it.
#[derive(Clone)]
pub struct Scope {
    /// The turn.
    pub turn: Arc<Turn>,
    /// The request that it came in.
    pub(crate) body: Bytes,
    pub(crate) services: Arc<Services>,
    /// Name of the handler, which keeps its cache entries apart.
    pub(crate) handler: &'static str,
    pub(crate) deadline: Deadline,
    pub(crate) key: TurnKey,
    pub(crate) transaction: database::TransactionSlot,
    pub(crate) identity: Identity,
}

impl Scope {
    /// The pools of the primary and of the replica, for this turn.
    fn pools(&self) -> (Pool, Pool) {
        let services = &self.services;
        services.gates.pools(&services.database, self.deadline.awaited())
    }
}

/// What outlives a turn.
pub(crate) struct Services {
    pub(crate) database: Database,
    pub(crate) gates: Gates,
    pub(crate) cache: Cache,
    pub(crate) upstream: Upstream,
    pub(crate) clock: Clock,
    pub(crate) conversation: Arc<Conversation>,
    pub(crate) data: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl FromTurn for Arc<Turn> {
    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(Self::clone(&scope.turn))
    }
}

impl FromTurn for Lang {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(Self::new(scope.turn.language.as_str()))
    }
}

impl FromTurn for Clock {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(scope.services.clock.clone())
    }
}

impl FromTurn for Cache {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(scope.services.cache.named(scope.handler))
    }
}

impl FromTurn for Upstream {
    const READS: &'static [Read] = &[];

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(scope.services.upstream.until(scope.deadline.handler_ends()))
    }
}

/// `None` where the extractor would have ended the turn.
impl<T: FromTurn> FromTurn for Option<T> {
    const READS: &'static [Read] = T::READS;

    async fn from_turn(scope: &Scope) -> Result<Self, Fail> {
        Ok(T::from_turn(scope).await.ok())
    }
}

macro_rules! handler_of {
    ($($arg:ident $value:ident),*) => {
        impl<F, Fut, R, $($arg),*> Handler<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Clone + Send + Sync + 'static,
            Fut: Future<Output = Result<R, Fail>> + Send + 'static,
            R: Into<Answer>,
            $($arg: FromTurn + 'static,)*
        {
            fn call(self, scope: Scope) -> BoxFuture<'static, Result<Answer, Fail>> {
                Box::pin(async move {
                    $(let $value = $arg::from_turn(&scope).await?;)*
                    drop(scope);
                    self($($value),*).await.map(Into::into)
                })
            }

            fn reads(&self) -> Vec<Read> {
                let reads: &[&[Read]] = &[$($arg::READS),*];
                reads.concat()
            }
        }
    };
}

handler_of!();
handler_of!(A a);
handler_of!(A a, B b);
handler_of!(A a, B b, C c);
handler_of!(A a, B b, C c, D d);
handler_of!(A a, B b, C c, D d, E e);
handler_of!(A a, B b, C c, D d, E e, G g);
handler_of!(A a, B b, C c, D d, E e, G g, H h);
handler_of!(A a, B b, C c, D d, E e, G g, H h, I i);
handler_of!(A a, B b, C c, D d, E e, G g, H h, I i, J j);
handler_of!(A a, B b, C c, D d, E e, G g, H h, I i, J j, K k);
