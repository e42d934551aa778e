//! The runtimes under test, and one way to write for all of them.

use std::future::Future;
use std::io;
use std::time::Duration;

use headstart::{Framing, ListenOptions, Options, Peer};
use headstart_async_std::AsyncStd;
use headstart_io::{AsyncIo, Dialer, DialerBuilder, Gate, GateBuilder, Runtime};
use headstart_smol::Smol;
use headstart_tokio::Tokio;

use super::PATIENCE;
use super::conn::{Conn, Race};

/// A runtime under test.
pub trait Rt: Copy + Send + Sync + 'static {
    const NAME: &'static str;
    type Runtime: Runtime<
            Options = Options,
            ListenOptions = ListenOptions,
            RaceStream: Race,
            GateStream: Conn,
        >;
    /// Where its tasks run.
    type Tasks: Clone + Send + Sync + 'static;

    /// Runs work on the calling thread, and so in its network namespace.
    fn block_on<T>(work: impl AsyncFnOnce(Here<Self>) -> io::Result<T>) -> io::Result<T>;

    fn spawn(tasks: &Self::Tasks, task: impl Future<Output = ()> + Send + 'static);

    fn sleep(time: Duration) -> impl Future<Output = ()> + Send;
}

/// A runtime that is running.
#[derive(Clone)]
pub struct Here<X: Rt> {
    runtime: X::Runtime,
    tasks: X::Tasks,
}

impl<X: Rt> Here<X> {
    pub fn dialer(&self) -> DialerBuilder<X::Runtime> {
        Dialer::builder_on(self.runtime.clone())
    }

    /// A dialer that races under a Token, each time as if it were the first.
    pub fn token_dialer(&self) -> DialerBuilder<X::Runtime> {
        self.dialer().token().peer(Peer::FirstCome).memory(None)
    }

    pub fn gate(&self, framing: Framing) -> GateBuilder<X::Runtime> {
        Gate::builder_on(self.runtime.clone(), framing)
    }

    /// Runs a task, and gives what it comes to.
    pub fn spawn<T: Send + 'static>(
        &self,
        task: impl Future<Output = io::Result<T>> + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> + Send + 'static {
        let (done, result) = smol::channel::bounded(1);
        X::spawn(&self.tasks, async move {
            let _ = done.send(task.await).await;
        });
        async move {
            let lost = || Err(io::Error::other("the task panicked"));
            result.recv().await.unwrap_or_else(|_| lost())
        }
    }

    /// Fails what takes too long.
    pub async fn within<T>(
        &self,
        what: &str,
        work: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        self.until(PATIENCE, work).await.unwrap_or_else(|| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("too long: {what}"),
            ))
        })
    }

    /// What work comes to, unless it takes longer.
    pub async fn until<T>(&self, time: Duration, work: impl Future<Output = T>) -> Option<T> {
        smol::future::or(async { Some(work.await) }, async {
            X::sleep(time).await;
            None
        })
        .await
    }
}

/// tokio, with one thread.
#[derive(Clone, Copy, Debug)]
pub struct TokioOne;

/// tokio, with several threads.
#[derive(Clone, Copy, Debug)]
pub struct TokioMany;

/// smol, with an executor of the test's.
#[derive(Clone, Copy, Debug)]
pub struct SmolOne;

/// async-std, with an executor of the test's.
#[derive(Clone, Copy, Debug)]
pub struct AsyncStdOne;

impl Rt for TokioOne {
    const NAME: &'static str = "tokio";
    type Runtime = Tokio;
    type Tasks = tokio::runtime::Handle;

    fn block_on<T>(work: impl AsyncFnOnce(Here<Self>) -> io::Result<T>) -> io::Result<T> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        on_tokio(&runtime, work)
    }

    fn spawn(tasks: &Self::Tasks, task: impl Future<Output = ()> + Send + 'static) {
        tasks.spawn(task);
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
}

impl Rt for TokioMany {
    const NAME: &'static str = "tokio-threads";
    type Runtime = Tokio;
    type Tasks = tokio::runtime::Handle;

    fn block_on<T>(work: impl AsyncFnOnce(Here<Self>) -> io::Result<T>) -> io::Result<T> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()?;
        on_tokio(&runtime, work)
    }

    fn spawn(tasks: &Self::Tasks, task: impl Future<Output = ()> + Send + 'static) {
        tasks.spawn(task);
    }

    async fn sleep(time: Duration) {
        tokio::time::sleep(time).await;
    }
}

fn on_tokio<X, T>(
    runtime: &tokio::runtime::Runtime,
    work: impl AsyncFnOnce(Here<X>) -> io::Result<T>,
) -> io::Result<T>
where
    X: Rt<Runtime = Tokio, Tasks = tokio::runtime::Handle>,
{
    runtime.block_on(async {
        let here = Here {
            runtime: Tokio::current()?,
            tasks: runtime.handle().clone(),
        };
        work(here).await
    })
}

/// An executor of the test's: a global one's threads would be in the
/// namespace of whoever came first.
type Executor = std::sync::Arc<smol::Executor<'static>>;

async fn on_executor<X, E, T>(work: impl AsyncFnOnce(Here<X>) -> io::Result<T>) -> io::Result<T>
where
    X: Rt<Runtime = AsyncIo<E>, Tasks = Executor>,
    E: headstart_io::Executor,
{
    let tasks = Executor::default();
    let spawner = tasks.clone();
    let here = Here {
        runtime: AsyncIo::on(move |task| spawner.spawn(task).detach()),
        tasks: tasks.clone(),
    };
    tasks.run(work(here)).await
}

impl Rt for SmolOne {
    const NAME: &'static str = "smol";
    type Runtime = Smol;
    type Tasks = Executor;

    fn block_on<T>(work: impl AsyncFnOnce(Here<Self>) -> io::Result<T>) -> io::Result<T> {
        smol::block_on(on_executor(work))
    }

    fn spawn(tasks: &Executor, task: impl Future<Output = ()> + Send + 'static) {
        tasks.spawn(task).detach();
    }

    async fn sleep(time: Duration) {
        smol::Timer::after(time).await;
    }
}

impl Rt for AsyncStdOne {
    const NAME: &'static str = "async-std";
    type Runtime = AsyncStd;
    type Tasks = Executor;

    fn block_on<T>(work: impl AsyncFnOnce(Here<Self>) -> io::Result<T>) -> io::Result<T> {
        // Boxed: it moves its future from hand to hand.
        async_std::task::block_on(Box::pin(on_executor(work)))
    }

    fn spawn(tasks: &Executor, task: impl Future<Output = ()> + Send + 'static) {
        tasks.spawn(task).detach();
    }

    async fn sleep(time: Duration) {
        async_std::task::sleep(time).await;
    }
}
