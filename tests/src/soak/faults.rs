//! Faults that are aimed at processes: killed, stopped, started again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Soak;
use crate::env::empty_group;
use crate::{PATIENCE, poll_until, proc};

/// Between two of these, so that the broker does not take the scanner for one that keeps ending.
const SCANNER_PAUSE: Duration = Duration::from_secs(32);
/// Longest time for which a process is stopped, in milliseconds.
const STOP_MS: usize = 500;

/// How often something was done, by what it was.
#[derive(Debug, Clone, Default)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// Counts one.
    pub fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    /// How often.
    #[must_use]
    pub fn count(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(what, count)| (*what, *count))
    }

    /// Whether the broker went away from then to now.
    #[must_use]
    pub fn lost_broker(&self, now: &Self) -> bool {
        [BROKER, RESTART, DISPATCHER].iter().any(|what| now.count(what) > self.count(what))
    }

    /// At most how many innocent files may have been given up from then to now: one whose workers
    /// were killed twice, or taken away four times, is blamed for it. If there are files that end
    /// workers, they may have done the first half.
    #[must_use]
    pub fn blameable(&self, now: &Self, beside_guilty: bool) -> u64 {
        let since = |what| now.count(what) - self.count(what);
        let workers = since(KILLS[0].1);
        let taken = since(KILLS[2].1) + since(SUPERVISOR) + since(BROKER) + since(DISPATCHER);
        workers.saturating_sub(u64::from(!beside_guilty)) + if taken >= 4 { 128 } else { 0 }
    }
}

/// Names of processes that are killed at random, and what that is called.
const KILLS: [(&str, &str); 3] = [
    ("fdscand-worker", "worker killed"),
    ("fdb-opener", "opener killed"),
    ("fdscand-templat", "template killed"),
];
const SUPERVISOR: &str = "supervisor killed and started again";
const BROKER: &str = "broker killed and started again";
const RESTART: &str = "broker stopped and started again";
const DISPATCHER: &str = "dispatcher killed, broker started again";

/// A process that is stopped for a while.
#[derive(Debug)]
pub struct Stopped {
    pid: u32,
    name: &'static str,
    until: Instant,
}

fn send(pid: u32, signal: Signal) -> bool {
    i32::try_from(pid).is_ok_and(|pid| kill(Pid::from_raw(pid), signal).is_ok())
}

impl Soak {
    /// Aims a fault at something.
    ///
    /// # Errors
    /// What does not come back.
    pub fn inject(&mut self) -> Result<(), String> {
        match self.random.below(100) {
            0..=34 => self.kill_some(KILLS[0]),
            35..=54 => self.kill_some(KILLS[1]),
            55..=64 => self.kill_client(),
            65..=89 => self.stop_some(),
            90..=95 if self.scanner_rested() => {
                self.scanner_fault = Some(Instant::now());
                match self.random.below(2) {
                    0 => self.kill_some(KILLS[2]),
                    _ => return self.restart_scanner(),
                }
            }
            96.. if self.may_restart() => return self.restart_broker(),
            _ => {}
        }
        Ok(())
    }

    /// Whether a scanner that is lost now is replaced at once.
    fn scanner_rested(&self) -> bool {
        self.scanner_fault.is_none_or(|at| at.elapsed() >= SCANNER_PAUSE)
    }

    fn may_restart(&self) -> bool {
        let pause = self.plan.restart_pause;
        self.scanner_rested() && self.restarted.elapsed() >= pause
    }

    /// Processes of broker and scanner by name.
    #[must_use]
    pub fn named(&self, name: &str) -> Vec<u32> {
        let pids: Vec<u32> = self.processes().iter().map(|entry| entry.pid).collect();
        proc::named(&pids, name)
    }

    fn kill_some(&mut self, (name, what): (&'static str, &'static str)) {
        let pids = self.named(name);
        if let Some(pid) = self.random.pick(&pids).copied()
            && send(pid, Signal::SIGKILL)
        {
            self.tally.add(what);
        }
    }

    fn kill_client(&mut self) {
        let nth = self.random.below(self.scans.len());
        if let Some(scan) = self.scans.get_mut(nth) {
            scan.killed = true;
            scan.running.signal(Signal::SIGKILL);
            self.tally.add("client killed");
        }
    }

    fn stop_some(&mut self) {
        let names = ["fdscand-worker", "fdb-opener", "fdb-dispatcher", "fdbroker", "fdscand"];
        let Some(name) = self.random.pick(&names).copied() else { return };
        let pids = self.named(name);
        let Some(pid) = self.random.pick(&pids).copied() else { return };
        if send(pid, Signal::SIGSTOP) {
            let until = Instant::now() + self.random.milliseconds(STOP_MS);
            self.stopped.push(Stopped { pid, name, until });
            self.tally.add("process stopped for a while");
        }
    }

    /// Lets processes go on whose time is over, or all.
    pub fn let_go_on(&mut self, all: bool) {
        let now = Instant::now();
        let (over, stopped) = std::mem::take(&mut self.stopped)
            .into_iter()
            .partition(|stopped| all || stopped.until <= now);
        self.stopped = stopped;
        let over: Vec<Stopped> = over;
        for Stopped { pid, name, .. } in over {
            // It may have been killed meanwhile, and its number be that of another.
            if proc::status(pid).is_some_and(|status| status.name == name) {
                send(pid, Signal::SIGCONT);
            }
        }
    }

    fn restart_scanner(&mut self) -> Result<(), String> {
        let Some(mut scanner) = self.scanner.take() else {
            // The broker starts it again.
            self.kill_some(("fdscand", SUPERVISOR));
            return Ok(());
        };
        self.tally.add(SUPERVISOR);
        scanner.signal(Signal::SIGKILL);
        scanner.ended_within(PATIENCE).ok_or("a killed supervisor does not end")?;
        empty_group(scanner.pid())?;
        self.start_scanner();
        Ok(())
    }

    fn restart_broker(&mut self) -> Result<(), String> {
        self.let_go_on(true);
        (self.restarted, self.scanner_fault) = (Instant::now(), Some(Instant::now()));
        let dispatchers = self.named("fdb-dispatcher");
        let mut broker = self.env.take_broker();
        let what = match self.random.below(3) {
            0 => {
                broker.signal(Signal::SIGKILL);
                BROKER
            }
            1 => {
                broker.signal(Signal::SIGTERM);
                RESTART
            }
            _ => {
                if dispatchers.first().is_none_or(|pid| !send(*pid, Signal::SIGKILL)) {
                    return Err(format!("no dispatcher: {dispatchers:?}"));
                }
                DISPATCHER
            }
        };
        self.tally.add(what);
        broker.ended_within(PATIENCE).ok_or(format!("{what}: it does not end"))?;
        empty_group(broker.pid())?;
        self.env.start_broker();
        let served = || proc::is_listening(&self.env.client_socket()).then_some(());
        poll_until("a broker that serves again", PATIENCE, served)
    }
}
