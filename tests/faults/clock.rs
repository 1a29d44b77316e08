//! The machine's clock is stepped, forward and back, by seconds and by weeks.

use std::sync::Arc;

use chrono::TimeDelta;
use rejoinder::Clock;

use crate::claims;
use crate::sender::{Senders, Sent};
use crate::site::{SECRET, Site, eventually};

#[tokio::test]
async fn clock_that_is_stepped_loses_nothing_and_keeps_the_order() {
    let site = Site::start().await;
    let stepped = Clock::held(Clock::system().now());
    let bot = site
        .bot(site.database.options(), |settings| settings.clock = Some(stepped))
        .await;
    let senders = Arc::new(Senders::by(bot.clock().clone(), SECRET));
    senders.aim([bot.url("")]);
    // Nobody follows them: a message is due when its event was applied, so one that is not said yet when the clock goes
    // back is said later than what comes after it.
    let entities: Vec<String> = (0..8).map(|entity| format!("entity {entity}")).collect();

    let steps = [
        TimeDelta::hours(1),
        TimeDelta::hours(-1),
        TimeDelta::seconds(-90),
        TimeDelta::seconds(90),
        TimeDelta::weeks(3),
        TimeDelta::weeks(-3),
        TimeDelta::days(-7),
        TimeDelta::days(7),
        TimeDelta::hours(1),
    ];
    let mut n = 0;
    for by in steps {
        for _ in 0..3 {
            n += 1;
            for entity in &entities {
                senders.deliver(&Sent::step(entity, n)).await;
            }
        }
        bot.clock().advance(by);
        // Known as a duplicate wherever the clock stands within the time for which senders repeat.
        if by < TimeDelta::weeks(1) {
            for entity in &entities {
                let answer = senders.post(&bot.url(""), &Sent::step(entity, n)).await.unwrap();
                assert_eq!(answer.status(), 200, "after a step of {by}");
            }
        }
        eventually("all is applied", async || {
            site.number(
                "select count(*) from rejoinder.facts where name = 'last' and value::text::bigint = (select max(
                (payload->>'n')::bigint) from rejoinder.event_log)",
            )
            .await
                == entities.len() as i64
        })
        .await;
    }
    claims::hold(&site, &senders).await;
    bot.stop().await;
}
