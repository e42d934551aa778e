//! Who stands at the client's end of a run.

use crate::app::App;
use crate::driver::Driver;
use crate::rules::{self, Violation};
use crate::world::World;

/// A client, as the run loop sees it.
pub(crate) trait Party {
    /// When it is to be woken, or acts, though nothing happens.
    fn next_at(&self, world: &World<'_>) -> Option<u64>;

    /// Its time has come.
    fn is_due(&self, world: &World<'_>) -> bool;

    /// A socket that it waited for is ready, or its time has come.
    fn wake(&mut self, world: &mut World<'_>) -> Result<(), Violation>;

    /// Does something of its own accord; whether it did.
    fn act(&mut self, world: &mut World<'_>) -> bool;

    /// What must hold when nothing more happens at a moment.
    fn at_rest(&self, world: &World<'_>) -> Result<(), Violation>;

    /// Time has passed, and nothing has happened yet.
    fn before(&mut self, _world: &mut World<'_>) -> Result<(), Violation> {
        Ok(())
    }
}

/// A race, and the application that has its stream.
pub(crate) struct Ours<'a, D> {
    pub(crate) driver: D,
    pub(crate) app: App<'a>,
}

impl<D: Driver> Ours<'_, D> {
    /// When the driver is to be woken.
    fn deadline(&self, world: &World<'_>) -> Option<u64> {
        let deadline = self.driver.deadline()?;
        Some(world.at_clock(deadline.as_nanos()))
    }

    fn is_stale(&self, clock: u64) -> bool {
        let deadline = self.driver.deadline();
        deadline.is_some_and(|deadline| deadline.as_nanos() <= clock)
    }
}

impl<D: Driver> Party for Ours<'_, D> {
    fn next_at(&self, world: &World<'_>) -> Option<u64> {
        let times = [self.app.next_at(), self.deadline(world)];
        times.into_iter().flatten().min()
    }

    fn is_due(&self, world: &World<'_>) -> bool {
        self.is_stale(world.clock())
    }

    fn wake(&mut self, world: &mut World<'_>) -> Result<(), Violation> {
        let clock = world.clock();
        self.driver.wake(world);
        self.app.wake(self.driver.wakes());
        match self.is_stale(clock) {
            true => {
                let text = "a deadline that is not in the future";
                Err(Violation::new("poll", world.now, text))
            }
            false => Ok(()),
        }
    }

    fn act(&mut self, world: &mut World<'_>) -> bool {
        let acted = self.app.act(&mut self.driver, world);
        if acted {
            self.app.wake(self.driver.wakes());
        }
        acted
    }

    fn at_rest(&self, world: &World<'_>) -> Result<(), Violation> {
        rules::at_rest(&self.driver, &self.app, world)
    }

    /// When the application loses patience, it must not have been forgotten.
    fn before(&mut self, world: &mut World<'_>) -> Result<(), Violation> {
        let now = world.now;
        let quiet = world.next_at() != Some(now) && self.deadline(world) != Some(now);
        let loses = self.app.next_at() == Some(now) && now == self.app.patience();
        if !quiet || !loses {
            return Ok(());
        }
        let packets = world.counters.packets;
        self.driver.wake(world);
        let wakes = self.driver.wakes();
        if wakes.reader || wakes.writer || world.counters.packets != packets {
            let text = format!("a wake-up was lost: {wakes:?} when nobody had called");
            return Err(Violation::new("R16", now, text));
        }
        if let Some(what) = self.app.is_forgotten(&mut self.driver, world) {
            let text = format!("{what} was ready, and nobody had been woken for it");
            return Err(Violation::new("R16", now, text));
        }
        Ok(())
    }
}
