//! The end of a wait: a database that says nothing is given up, where the network alone would let us wait for ever.

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What `work` comes to, as long as something happens in it every so often: an answer comes, a time-out of its own is over.
/// However long it takes, work that goes on is left alone.
///
/// To be called in a task that does nothing else meanwhile, for whatever wakes the task is a sign of life.
///
/// # Errors
/// Those of `work`, and that nothing has happened for as long as `limit`. Then it is dropped, and what it has begun in the
/// database may still be done.
pub(super) async fn unless_silent<T, E: From<sqlx::Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let mut work = pin!(work);
    let mut end = pin!(sleep(limit));
    std::future::poll_fn(|context| {
        let is_over = end.as_mut().poll(context).is_ready();
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(done);
        }
        if is_over {
            return Poll::Ready(Err(silent().into()));
        }
        end.as_mut().reset(Instant::now() + limit);
        match end.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Err(silent().into())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// What `step` comes to, if it does within `limit`.
pub(super) async fn in_time<T>(limit: Duration, step: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let done = tokio::time::timeout(limit, step).await;
    done.unwrap_or_else(|_| Err(silent()))
}

fn silent() -> sqlx::Error {
    io::Error::new(ErrorKind::TimedOut, "the database says nothing").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(35);

    #[tokio::test(start_paused = true)]
    async fn work_that_goes_on_is_left_alone_and_work_that_is_silent_ends() {
        let goes_on = async {
            for _ in 0..10 {
                sleep(Duration::from_secs(30)).await;
            }
            Ok::<_, sqlx::Error>("done")
        };
        assert_eq!(unless_silent(LIMIT, goes_on).await.unwrap(), "done");
        let began = Instant::now();
        let stalls = async {
            sleep(Duration::from_secs(30)).await;
            std::future::pending::<sqlx::Result<()>>().await
        };
        unless_silent(LIMIT, stalls).await.unwrap_err();
        assert_eq!(began.elapsed().as_secs(), 65);
    }
}
