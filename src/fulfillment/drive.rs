//! Where a handler runs: its first step where it was asked for, if it is a quick one, and all else apart.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tracing::Instrument as _;

/// A step of a handler, from one await to the next, that takes longer holds up the other turns of its thread.
const LONG_STEP: Duration = Duration::from_millis(2);

/// After so many short steps in a row an intent is taken to be a quick one.
const SHORT_STEPS: u32 = 64;

/// How an intent's handler goes: by short steps, or by long ones, which block a thread.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU32);

impl Pace {
    fn is_quick(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= SHORT_STEPS
    }

    fn note(&self, step: Duration) {
        let steps = self.0.load(Ordering::Relaxed);
        if step > LONG_STEP {
            self.0.store(0, Ordering::Relaxed);
        } else if steps < SHORT_STEPS {
            self.0.store(steps + 1, Ordering::Relaxed);
        }
    }
}

/// Starts `run`; what is told by it is told by the run itself.
///
/// The first step of a quick intent runs on the connection's own thread, and often that is all of it, which saves the
/// way to another thread and back. All else runs in `runtime`, also when nobody waits for it any more; so a handler that
/// blocks its thread holds up no answer.
pub(super) async fn start(run: BoxFuture<'static, ()>, runtime: &Handle, pace: &Arc<Pace>) {
    let mut stepped = Stepped {
        run,
        pace: Arc::clone(pace),
    };
    if pace.is_quick() {
        // Timers and connections that it opens outlive this thread's own runtime.
        let entered = runtime.enter();
        if futures_util::poll!(&mut stepped).is_ready() {
            return;
        }
        drop(entered);
    }
    drop(runtime.spawn(stepped.in_current_span()));
}

/// A run that is timed step by step.
struct Stepped {
    run: BoxFuture<'static, ()>,
    pace: Arc<Pace>,
}

impl Future for Stepped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let began = Instant::now();
        let polled = self.run.as_mut().poll(context);
        self.pace.note(began.elapsed());
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_long_step_makes_an_intent_prove_itself_anew() {
        let pace = Pace::default();
        assert!(!pace.is_quick());
        (0..SHORT_STEPS).for_each(|_| pace.note(Duration::ZERO));
        assert!(pace.is_quick());
        pace.note(LONG_STEP * 2);
        assert!(!pace.is_quick());
    }

    #[tokio::test]
    async fn run_goes_on_when_nobody_waits_for_it() {
        let pace = Arc::<Pace>::default();
        (0..SHORT_STEPS).for_each(|_| pace.note(Duration::ZERO));
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (done, is_done) = tokio::sync::oneshot::channel();
        let run = Box::pin(async move {
            gone.await.unwrap();
            done.send("done").unwrap();
        });
        let handle = Handle::current();
        start(run, &handle, &pace).await;
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), "done");
    }
}
