//! What must be true in the end, whatever happened on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::sender::Senders;
use crate::site::Site;

/// What was found once nothing was left to be applied or sent: all of it must be 0.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Events that were acknowledged and are not in the log.
    pub(crate) not_stored: i64,
    /// Events that are in the log and were not applied.
    pub(crate) not_applied: i64,
    /// Messages, calls and orders that should have come of events, and did not.
    pub(crate) without_effect: i64,
    /// Events that are in the log more than once.
    pub(crate) stored_twice: i64,
    /// Events that were applied more than once.
    pub(crate) applied_twice: i64,
    /// Messages that were said, and orders that were settled, more than once; calls under more than one id.
    pub(crate) done_twice: i64,
    /// Entities whose events were applied in another order than their senders', or not one by one.
    pub(crate) out_of_order: i64,
    /// Dead letters.
    pub(crate) dead: i64,
}

/// Events of types of which each must have an outcome of its own.
const ALONE: &str =
    "(select l.position, (select count(*) from rejoinder.event_outcomes o where o.position = l.position) as times
    from rejoinder.event_log l where l.event_type like 'step.%') l";

/// Of each order, how many halves are known, how often it was settled, and whether in time.
const ORDERS: &str = "(select o.name, o.halves,
        (select count(*) from rejoinder.event_log l where l.entity_id = o.name and l.event_type = 'order.ready') as ready,
        (select count(*) from rejoinder.event_log l where l.entity_id = o.name
            and l.event_type in ('order.late', 'order.punctual')) as settled
    from (select payload->>'order' as name, count(distinct event_type) as halves from rejoinder.event_log
          where event_type in ('order.paid', 'order.packed') group by 1) o) o";

/// Of each step, how often it was said.
const SAID: &str = "(select l.position, count(m.id) as times from rejoinder.event_log l
    left join rejoinder.chat_messages m on m.event_id = l.event_id and m.session = l.entity_id
    where l.event_type = 'step.taken' and exists (select from rejoinder.follows f where f.entity_id = l.entity_id)
    group by 1) s";

impl Faults {
    /// Looks for them in what the processes of a site have left.
    pub(crate) async fn find(site: &Site, senders: &Senders) -> Self {
        // The questions below ask by entity, often.
        site.run("create index if not exists event_log_entity_id on rejoinder.event_log (entity_id)")
            .await;
        let acknowledged = senders.acknowledged();
        let not_stored: i64 = sqlx::query_scalar(
            "select count(*) from unnest($1::text[]) id where not exists (
                 select from rejoinder.event_log l where l.event_id = id and l.source = 'generic')",
        )
        .bind(&acknowledged)
        .fetch_one(&site.pool)
        .await
        .unwrap();
        let count = async |from: &str, where_: &str| {
            site.number(&format!("select count(*) from {from} where {where_}"))
                .await
        };
        let (uncalled, called_twice) = Self::of_calls(site).await;
        let steps = "(select entity_id, count(*) as n,
                bool_and(n = at) as in_order from (
                    select entity_id, (payload->>'n')::bigint as n, row_number() over (
                        partition by entity_id, event_type order by position) as at, event_type
                    from rejoinder.event_log where event_type in ('step.taken', 'step.counted')) l
            group by entity_id, event_type) l";
        let heard = "(select session, bool_and(text::bigint = at) as in_order from (
                select session, text, row_number() over (partition by session order by position) as at
                from rejoinder.chat_messages) m group by session) m";
        let remembered = "not exists (select from rejoinder.facts f where f.subject = l.entity_id and f.name = 'last'
                and f.value::text::bigint = l.n)
            or not exists (select from rejoinder.facts f where f.subject = l.entity_id and f.name = 'counted'
                and f.value::text::bigint = l.n)";
        Self {
            not_stored,
            not_applied: count(ALONE, "times = 0").await,
            without_effect: count(ORDERS, "settled = 0 or (halves = 2 and ready = 0)").await
                + count(SAID, "times = 0").await
                + uncalled,
            stored_twice: site
                .number("select count(*) - count(distinct (source, event_id)) from rejoinder.event_log")
                .await,
            applied_twice: count(ALONE, "times > 1").await,
            done_twice: count(ORDERS, "settled > 1 or ready > 1 or (halves = 1 and ready > 0)").await
                + count(SAID, "times > 1").await
                + called_twice,
            out_of_order: count("rejoinder.facts", "name = 'gap'").await
                + count(steps, &format!("not in_order or {remembered}")).await
                + count(heard, "not in_order").await,
            dead: count("rejoinder.dead_letters", "true").await,
        }
    }

    /// Steps that were to be called and were not, and steps or ids that were called in more than one way.
    async fn of_calls(site: &Site) -> (i64, i64) {
        let (mut ids_of, mut steps_of) = (BTreeMap::new(), BTreeMap::new());
        for (id, body) in site.receiver.calls() {
            let step = format!("{}/{}", body["entity"].as_str().unwrap(), body["n"]);
            ids_of
                .entry(step.clone())
                .or_insert_with(BTreeSet::new)
                .insert(id.clone());
            steps_of.entry(id).or_insert_with(BTreeSet::new).insert(step);
        }
        let wanted: Vec<String> = sqlx::query_scalar(
            "select event_id from rejoinder.event_log where event_type = 'step.taken' and (payload->>'n')::bigint % 4 = 0",
        )
        .fetch_all(&site.pool)
        .await
        .unwrap();
        let missing = wanted.iter().filter(|step| !ids_of.contains_key(*step)).count();
        let twice = ids_of.values().filter(|ids| ids.len() > 1).count()
            + steps_of.values().filter(|steps| steps.len() > 1).count();
        (missing as i64, twice as i64)
    }
}

/// Waits until nothing is left, and fails the test if anything was lost, done twice or out of order.
pub(crate) async fn hold(site: &Site, senders: &Senders) {
    site.drain().await;
    let found = Faults::find(site, senders).await;
    assert_eq!(found, Faults::default(), "{}", site.log());
    println!(
        "{} events acknowledged; none lost, done twice or out of order",
        senders.acknowledged().len()
    );
}
