//! [`Sources`]: what the dispatcher knows of the sources, and which one is served next.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::attempt::Role;
use super::target::Target;
use crate::breaker::Prober;
use crate::store::Order;

/// The sources that may have due entries, and the sources that pause.
#[derive(Debug, Default)]
pub(super) struct Sources {
    states: HashMap<Arc<str>, SourceState>,
    /// The number of permits that sources have got so far.
    turns: u64,
}

#[derive(Debug)]
struct SourceState {
    may_have_due: bool,
    /// The turn in which the source got its last permit.
    last_turn: u64,
    /// The wait of entries that cannot be tried.
    not_tried_wait: Duration,
    /// The source is not leased before this time, because its entries cannot be tried.
    paused_until: Option<Instant>,
}

/// A call of [`QueueStore::lease`](crate::QueueStore::lease), with a permit for each entry.
#[derive(Debug)]
pub(super) struct LeaseCall {
    pub(super) target: Target,
    pub(super) permits: Vec<OwnedSemaphorePermit>,
    pub(super) role: Role,
    pub(super) not_tried_wait: Duration,
}

impl LeaseCall {
    /// The largest number of entries in one call, so that their bodies do not fill the memory.
    const MAX_ENTRIES: usize = 64;

    fn may_grow(&self) -> bool {
        let takes_several = self.target.order == Order::Any && self.role == Role::Usual;
        takes_several && self.permits.len() < Self::MAX_ENTRIES
    }
}

impl Default for SourceState {
    fn default() -> Self {
        Self {
            may_have_due: false,
            last_turn: 0,
            not_tried_wait: Self::FIRST_WAIT,
            paused_until: None,
        }
    }
}

impl SourceState {
    const FIRST_WAIT: Duration = Duration::from_secs(1);
    const MAX_WAIT: Duration = Duration::from_secs(30);

    fn is_ready(&self, now: Instant) -> bool {
        self.may_have_due && self.paused_until.is_none_or(|until| until <= now)
    }
}

impl Sources {
    /// Records whether a source may have due entries.
    pub(super) fn set_due(&mut self, source: &Arc<str>, may_have_due: bool) {
        match self.states.get_mut(source) {
            Some(state) => state.may_have_due = may_have_due,
            None if may_have_due => {
                let state = SourceState {
                    may_have_due,
                    ..SourceState::default()
                };
                self.states.insert(Arc::clone(source), state);
            }
            None => {}
        }
    }

    /// Forgets the sources that have no target.
    pub(super) fn retain(&mut self, targets: &[Target]) {
        if self.states.len() > targets.len() {
            let has_target = |source: &Arc<str>| targets.iter().any(|of| of.source == *source);
            self.states.retain(|source, _| has_target(source));
        }
    }

    /// Records that an entry of a source could be tried.
    pub(super) fn tried(&mut self, source: &Arc<str>) {
        if let Some(state) = self.states.get_mut(source) {
            state.not_tried_wait = SourceState::FIRST_WAIT;
            state.paused_until = None;
        }
    }

    /// Records that an entry of a source could not be tried. The source pauses, because the
    /// cause usually concerns all of its entries.
    pub(super) fn not_tried(&mut self, source: &Arc<str>) {
        let now = Instant::now();
        let state = self.states.entry(Arc::clone(source)).or_default();
        // Several entries of the same call fail together.
        if state.paused_until.is_none_or(|until| until <= now) {
            state.paused_until = Some(now + state.not_tried_wait);
            state.not_tried_wait = (2 * state.not_tried_wait).min(SourceState::MAX_WAIT);
        }
    }

    /// Returns the calls that are possible at `now`, with the permits of their upstreams.
    ///
    /// The free permits of an upstream are shared evenly by its sources. The source that has
    /// waited longest for one comes first.
    pub(super) fn lease_calls(&mut self, targets: &[Target], now: Instant) -> Vec<LeaseCall> {
        let mut ready: Vec<(u64, &Target)> = targets
            .iter()
            .filter_map(|target| {
                let state = self.states.get(&target.source)?;
                state.is_ready(now).then_some((state.last_turn, target))
            })
            .collect();
        ready.sort_by_key(|(last_turn, _)| *last_turn);
        let mut calls: Vec<LeaseCall> = ready
            .into_iter()
            .filter_map(|(_, target)| self.first_permit(target))
            .collect();
        let mut has_grown = true;
        while has_grown {
            has_grown = false;
            for call in calls.iter_mut().filter(|call| call.may_grow()) {
                if let Some(permit) = call.target.upstream.permit() {
                    call.permits.push(permit);
                    self.count_turn(&call.target.source);
                    has_grown = true;
                }
            }
        }
        calls
    }

    fn first_permit(&mut self, target: &Target) -> Option<LeaseCall> {
        let permit = target.upstream.permit()?;
        let breaker = target.upstream.breaker();
        let role = match breaker.probe_at() {
            None => Role::Usual,
            Some(_) if breaker.take_probe(Prober::Worker) => Role::Probe,
            Some(_) => return None,
        };
        self.count_turn(&target.source);
        let state = self.states.get(&target.source)?;
        Some(LeaseCall {
            target: target.clone(),
            permits: vec![permit],
            role,
            not_tried_wait: state.not_tried_wait,
        })
    }

    /// Records that a source has got a permit.
    fn count_turn(&mut self, source: &str) {
        self.turns += 1;
        if let Some(state) = self.states.get_mut(source) {
            state.last_turn = self.turns;
        }
    }

    /// Returns the next time after `now` at which a breaker or a pause lets a source proceed.
    pub(super) fn next_change(&self, targets: &[Target], now: Instant) -> Option<Instant> {
        let times = targets.iter().filter_map(|target| {
            let state = self.states.get(&target.source)?;
            if !state.may_have_due {
                return None;
            }
            state.paused_until.max(target.upstream.breaker().probe_at())
        });
        times.filter(|time| *time > now).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::RetrySchedule;
    use crate::workers::UpstreamGate;

    fn target(source: &str) -> Target {
        Target {
            source: source.into(),
            upstream: Arc::new(UpstreamGate::new(1)),
            order: Order::Any,
            schedule: RetrySchedule::DEFAULT,
            lease: Duration::from_secs(60),
            max_run: Duration::ZERO,
        }
    }

    #[test]
    fn sources_without_a_target_are_forgotten() {
        let mut sources = Sources::default();
        for number in 0..1_000 {
            let source = target(&format!("source {number}")).source;
            sources.set_due(&source, true);
        }
        sources.retain(&[target("source 7"), target("source 8")]);
        let mut kept: Vec<_> = sources.states.keys().map(|source| &**source).collect();
        kept.sort_unstable();
        assert_eq!(kept, ["source 7", "source 8"]);
    }

    #[test]
    fn a_source_that_never_had_an_entry_takes_no_memory() {
        let mut sources = Sources::default();
        sources.set_due(&target("idle").source, false);
        assert!(sources.states.is_empty());
    }
}
