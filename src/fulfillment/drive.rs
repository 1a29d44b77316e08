//! Who runs a handler: the connection that asked, while it waits; the runtime's own threads from then on.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::runtime::Handle;
use tracing::{Instrument as _, Span};

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

/// Runs `run` to its end. Whoever stops waiting does not stop it: what is left goes on in `runtime`.
///
/// The handler of a quick intent runs on the connection's own thread, which saves the way to another and back. Others
/// run apart from the start, so that a handler that blocks its thread holds up no answer.
pub(super) async fn drive(run: BoxFuture<'static, ()>, runtime: &Handle, pace: &Arc<Pace>) {
    let stepped = Stepped {
        run: Some(run),
        pace: Arc::clone(pace),
    };
    if pace.is_quick() {
        let here = Here {
            stepped,
            runtime: runtime.clone(),
            span: Span::current(),
        };
        here.await;
    } else {
        // The outcome is told by the run itself.
        drop(runtime.spawn(stepped.in_current_span()));
    }
}

/// A run that is timed step by step.
struct Stepped {
    run: Option<BoxFuture<'static, ()>>,
    pace: Arc<Pace>,
}

impl Future for Stepped {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(run) = &mut self.run else {
            return Poll::Ready(());
        };
        let began = Instant::now();
        let polled = run.as_mut().poll(context);
        self.pace.note(began.elapsed());
        if polled.is_ready() {
            self.run = None;
        }
        polled
    }
}

/// A run on the connection's thread.
struct Here {
    stepped: Stepped,
    runtime: Handle,
    span: Span,
}

impl Future for Here {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let here = &mut *self;
        // Timers and connections that it opens outlive this thread's own runtime.
        let _entered = here.runtime.enter();
        pin!(&mut here.stepped).poll(context)
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        if let Some(run) = self.stepped.run.take() {
            let rest = Stepped {
                run: Some(run),
                pace: Arc::clone(&self.stepped.pace),
            };
            drop(self.runtime.spawn(rest.instrument(self.span.clone())));
        }
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
        let mut driven = Box::pin(drive(run, &handle, &pace));
        assert!(futures_util::poll!(&mut driven).is_pending());
        drop(driven);
        go.send(()).unwrap();
        assert_eq!(is_done.await.unwrap(), "done");
    }
}
