//! Which handler answers a turn of CX.

use rejoinder::testing::TestBot;
use rejoinder::{Bot, Fail, Reply};
use rstest::rstest;
use serde_json::json;

async fn ordered() -> Result<Reply, Fail> {
    Ok(Reply::text("ordered"))
}

async fn other() -> Result<Reply, Fail> {
    Ok(Reply::text("other"))
}

#[rstest]
#[case::of_an_intent("Order", "", "ordered")]
#[case::of_an_intent_before_the_one_matched("Order", "Other", "ordered")]
#[case::of_its_own("Both", "", "other")]
#[case::of_none("unknown", "Other", "other")]
#[tokio::test]
async fn tag_that_is_the_name_of_an_intent_finds_its_handler(
    #[case] tag: &str,
    #[case] intent: &str,
    #[case] said: &str,
) {
    let bot = Bot::new()
        .intent("Order", ordered)
        .intent("Other", other)
        .intent("Both", ordered)
        .tag("Both", other);
    let turn = json!({
        "fulfillmentInfo": {"tag": tag},
        "intentInfo": {"displayName": intent},
        "sessionInfo": {"session": "projects/p/locations/global/agents/a/sessions/s"},
    });
    let reply = TestBot::start(bot).await.turn(&turn).await;
    assert_eq!(reply["fulfillmentResponse"]["messages"][0]["text"]["text"][0], said);
}
