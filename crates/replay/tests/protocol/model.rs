//! The protocol as a state machine for the model checker.

use std::time::Instant;

use stateright::{Checker, Model, Property};

use crate::state::{Action, Entry, Lease, Line, Message, Outcome, Seen, State, Upstream};

// The promises.

pub(crate) const ONE_LEASE: &str = "no two forwards inside one lease";
pub(crate) const COMMITTED: &str = "no forward of a committed key";
pub(crate) const ONE_MORE: &str = "one more forward for each lease that ended or was released";
pub(crate) const NOT_LOST: &str = "an event that was not delivered can still be forwarded";
pub(crate) const TRUE_DUPLICATE: &str =
    "no event is reported as a duplicate before it was delivered";
pub(crate) const STORED_ONCE: &str = "no event is stored again after its entry was completed";
pub(crate) const TRUE_ATTEMPT: &str = "no repetition is forwarded as the first attempt";

// States that must be reachable.

pub(crate) const THIRD_ATTEMPT: &str = "an event is forwarded as its third attempt";
pub(crate) const STALE: &str = "a settlement arrives after another delivery has claimed the event";
pub(crate) const DONE: &str = "an event is done while another delivery of it is in flight";

/// The variant of the protocol that is checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Protocol {
    /// The maximum number of simultaneous deliveries.
    pub(crate) lines: usize,
    /// The total number of deliveries.
    pub(crate) sends: u8,
    pub(crate) guarantee: Guarantee,
    pub(crate) on_disconnect: Disconnect,
    pub(crate) record: Record,
    pub(crate) token: Token,
    pub(crate) release: Release,
    pub(crate) holder: Holder,
    pub(crate) queue: Queue,
    /// How often the operator makes the store forget the event.
    pub(crate) forgets: u8,
    pub(crate) forgetting: Forgetting,
}

/// The delivery guarantee of the source.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Guarantee {
    AtLeastOnce,
    /// The lease lasts for the retention, so it never ends in this model.
    AtMostOnce,
}

/// What happens to a call of the upstream when its sender disconnects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Disconnect {
    Continues,
    Drops,
}

/// When the store records an event.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Record {
    Claims,
    OnArrival,
    WhenDone,
}

/// Whether the store checks the token of a settlement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Token {
    Checked,
    Ignored,
}

/// Whether a release keeps the count of earlier leases that ended unsettled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Release {
    Forgets,
    RemembersEarlierAttempts,
}

/// How long the holder of a lease may wait before it forwards.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Holder {
    /// The holder forwards well before its lease ends, or not at all.
    Prompt,
    MayStall,
}

/// Whether deliveries are stored in a queue, and when their event is recorded as done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Queue {
    /// Deliveries are forwarded directly.
    Off,
    /// A delivery is stored before its event is recorded. A worker records the event again before
    /// it sends the entry.
    StoresFirst,
    /// The event is recorded before the delivery is stored.
    RecordsFirst,
    /// A delivery is stored before its event is recorded, and the worker only sends the entry.
    WorkersRecordNothing,
}

/// Whether the store forgets an event that is in flight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Forgetting {
    KeepsOpenLeases,
    EndsOpenLeases,
}

impl Protocol {
    /// The protocol that hookgate implements.
    pub(crate) const REAL: Self = Self {
        lines: 2,
        sends: 5,
        guarantee: Guarantee::AtLeastOnce,
        on_disconnect: Disconnect::Continues,
        record: Record::Claims,
        token: Token::Checked,
        release: Release::RemembersEarlierAttempts,
        holder: Holder::Prompt,
        queue: Queue::Off,
        forgets: 0,
        forgetting: Forgetting::KeepsOpenLeases,
    };

    /// Asserts that no order of steps breaks one of `promises`.
    pub(crate) fn holds(self, promises: &[&str]) {
        let start = Instant::now();
        let checker = self.checker().threads(2).spawn_bfs().join();
        for promise in promises {
            if let Some(path) = checker.discovery_of(promise) {
                panic!("{promise}: broken by {path:#?} of {self:?}");
            }
        }
        let (states, time) = (checker.unique_state_count(), start.elapsed());
        assert!(checker.is_done(), "every state is checked");
        eprintln!("{states} states in {time:.1?}: {promises:?}, of {self:?}");
    }

    /// Asserts that `promise` can be broken. Returns the shortest sequence of steps.
    pub(crate) fn fails(self, promise: &'static str) -> Vec<Action> {
        self.reaches(promise)
    }

    /// Asserts that a state with the property `name` can be reached, or that the property can be
    /// broken. Returns the shortest sequence of steps.
    pub(crate) fn reaches(self, name: &'static str) -> Vec<Action> {
        for depth in 2..20 {
            let checker = self.checker().target_max_depth(depth).spawn_bfs().join();
            if let Some(steps) = checker.discovery_of(name) {
                eprintln!("{name}: {steps:?}");
                return steps;
            }
        }
        panic!("{name}: not reached by {self:?}");
    }
}

/// Returns the steps to a state that a checker has found.
trait DiscoveryOf {
    fn discovery_of(&self, name: &str) -> Option<Vec<Action>>;
}

impl<C: Checker<Protocol>> DiscoveryOf for C {
    fn discovery_of(&self, name: &str) -> Option<Vec<Action>> {
        let path = self.discoveries().remove(name)?;
        Some(path.into_actions())
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            sent: 0,
            forgotten: 0,
            lines: vec![Line::Idle; self.lines],
            store: Entry::Absent {
                earlier_attempts: 0,
            },
            queued: false,
            attempts: 0,
            leases: 0,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        const MESSAGES: [Message; 3] = [Message::Answered, Message::ReplyLost, Message::Lost];
        const UPSTREAM: [Upstream; 4] = [
            Upstream::Applies,
            Upstream::AppliesButResponseIsLost,
            Upstream::Refuses,
            Upstream::IsUnreachable,
        ];
        // Idle lines are equivalent, so one of them is enough.
        let idle = state.lines.iter().position(|line| *line == Line::Idle);
        if let Some(line) = idle.filter(|_| state.sent < self.sends) {
            actions.extend([0, 1].map(|gateway| Action::Send { line, gateway }));
        }
        for (line, at) in state.lines.iter().enumerate() {
            match at {
                Line::Idle => {}
                Line::Arrived(_) => {
                    actions.extend(MESSAGES.map(|message| Action::Claim { line, message }));
                }
                Line::Claimed(..) if self.queue != Queue::Off => {
                    actions.extend(MESSAGES.map(|message| Action::Store { line, message }));
                    actions.push(Action::Disconnect { line });
                }
                Line::Stored(..) => {
                    actions.extend(MESSAGES.map(|message| Action::Record { line, message }));
                }
                Line::Claimed(..) => {
                    actions.extend([Action::Forward { line }, Action::Disconnect { line }]);
                }
                Line::Forwarded(..) => {
                    actions.extend(UPSTREAM.map(|does| Action::Upstream { line, does }));
                    if self.on_disconnect == Disconnect::Drops {
                        let does = Upstream::AppliesAfterDisconnect;
                        actions
                            .extend([Action::Disconnect { line }, Action::Upstream { line, does }]);
                    }
                }
                Line::Settling(..) => {
                    actions.extend(MESSAGES.map(|message| Action::Settle { line, message }));
                }
            }
        }
        if self.may_attempt(state) {
            actions.extend(UPSTREAM.map(|does| Action::Attempt { does }));
        }
        for token in 0..state.leases {
            if self.may_end(state, token) {
                actions.push(Action::LeaseEnds { token });
            }
        }
        if state.forgotten < self.forgets && self.may_forget(state) {
            actions.push(Action::Forget);
        }
        actions.extend([0, 1].map(|gateway| Action::Crash { gateway }));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Send { line, gateway } => {
                state.sent += 1;
                state.lines[line] = Line::Arrived(gateway);
            }
            Action::Claim { line, message } => self.claim(&mut state, line, message),
            Action::Forward { line } => state.forward(line),
            Action::Upstream { line, does } => {
                state.upstream(line, does);
                if does == Upstream::AppliesAfterDisconnect {
                    self.disconnect(&mut state, line);
                }
            }
            Action::Disconnect { line } => self.disconnect(&mut state, line),
            Action::Settle { line, message } => self.settle(&mut state, line, message),
            Action::Store { line, message } => {
                if self.queue == Queue::RecordsFirst {
                    state.store = Entry::Done;
                }
                state.store_in_queue(line, message);
            }
            Action::Record { line, message } => state.record(line, message),
            Action::Attempt { does } => {
                if self.queue != Queue::WorkersRecordNothing {
                    state.store = Entry::Done;
                }
                state.attempt(does);
            }
            Action::LeaseEnds { token } => state.end_lease(token),
            Action::Forget => state.forget(),
            // A message to the store arrives or is lost, like any message.
            Action::Crash { gateway: crashed } => {
                for line in &mut state.lines {
                    match *line {
                        Line::Claimed(gateway, _)
                        | Line::Forwarded(gateway, _)
                        | Line::Stored(gateway, _)
                            if gateway == crashed =>
                        {
                            *line = Line::Idle;
                        }
                        _ => {}
                    }
                }
            }
        }
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_LEASE, |_, state: &State| !state.seen.broken.one_lease),
            Property::always(COMMITTED, |_, state: &State| !state.seen.broken.committed),
            Property::always(ONE_MORE, |_, state: &State| !state.seen.broken.one_more),
            Property::always(TRUE_DUPLICATE, |_, state: &State| {
                !state.seen.broken.true_duplicate
            }),
            Property::always(TRUE_ATTEMPT, |_, state: &State| {
                !state.seen.broken.true_attempt
            }),
            Property::always(STORED_ONCE, |_, state: &State| {
                !state.seen.broken.stored_once
            }),
            Property::always(NOT_LOST, Self::can_still_be_forwarded),
            Property::sometimes(THIRD_ATTEMPT, |_, state: &State| {
                let is_third =
                    |line: &Line| matches!(line, Line::Forwarded(_, lease) if lease.attempt == 3);
                state.lines.iter().any(is_third)
            }),
            Property::sometimes(STALE, |_, state: &State| {
                let is_stale = |line: &Line| match (line, state.store) {
                    (Line::Settling(lease, _), Entry::InFlight { lease: current, .. }) => {
                        *lease != current
                    }
                    _ => false,
                };
                state.lines.iter().any(is_stale)
            }),
            Property::sometimes(DONE, |_, state: &State| {
                let is_settling = |line: &Line| matches!(line, Line::Settling(..));
                state.store == Entry::Done && state.lines.iter().any(is_settling)
            }),
        ]
    }
}

impl Protocol {
    fn claim(&self, state: &mut State, line: usize, message: Message) {
        let Line::Arrived(gateway) = state.lines[line] else {
            return;
        };
        // Without a reply the gateway responds with 503 and has nothing to settle.
        state.lines[line] = Line::Idle;
        if message == Message::Lost {
            return;
        }
        let attempt = match state.store {
            Entry::Absent { earlier_attempts } => earlier_attempts + 1,
            Entry::InFlight { lease, ended: true } => lease.attempt + 1,
            // The gateway responds with 503. A delivery that waits first equals a later one.
            Entry::InFlight { ended: false, .. } => return,
            Entry::Done => {
                state.seen.broken.true_duplicate |= !state.seen.applied && !state.queued;
                return;
            }
        };
        let token = state.leases;
        let lease = Lease { token, attempt };
        match self.record {
            Record::Claims => {
                let ended = false;
                state.store = Entry::InFlight { lease, ended };
            }
            Record::OnArrival => state.store = Entry::Done,
            Record::WhenDone => {}
        }
        state.leases += 1;
        state.seen.live |= lease.bit();
        if message == Message::Answered {
            state.lines[line] = Line::Claimed(gateway, lease);
        }
    }

    /// Releases the claim of a delivery that is dropped before its outcome is known.
    fn disconnect(&self, state: &mut State, line: usize) {
        state.lines[line] = match (state.lines[line], self.guarantee) {
            (Line::Forwarded(..), Guarantee::AtMostOnce) => Line::Idle,
            (Line::Claimed(_, lease) | Line::Forwarded(_, lease), _) => {
                Line::Settling(lease, Outcome::Failed)
            }
            (line, _) => line,
        };
    }

    fn settle(&self, state: &mut State, line: usize, message: Message) {
        let Line::Settling(lease, outcome) = state.lines[line] else {
            return;
        };
        state.lines[line] = Line::Idle;
        if message == Message::Lost {
            return;
        }
        let is_current = match (self.record, state.store) {
            (Record::Claims, Entry::InFlight { lease: current, .. }) => {
                self.token == Token::Ignored || current == lease
            }
            (Record::Claims, _) => false,
            (Record::OnArrival, _) => false,
            (Record::WhenDone, _) => outcome == Outcome::Delivered,
        };
        if !is_current {
            return;
        }
        state.seen.live &= !lease.bit();
        match outcome {
            Outcome::Delivered => {
                state.store = Entry::Done;
                state.seen.committed = true;
            }
            Outcome::Failed => {
                let earlier_attempts = match self.release {
                    Release::Forgets => 0,
                    Release::RemembersEarlierAttempts => lease.attempt - 1,
                };
                state.store = Entry::Absent { earlier_attempts };
                state.seen.reopened = true;
            }
        }
    }

    fn may_forget(&self, state: &State) -> bool {
        match state.store {
            Entry::Done | Entry::InFlight { ended: true, .. } => true,
            Entry::InFlight { ended: false, .. } => self.forgetting == Forgetting::EndsOpenLeases,
            Entry::Absent { earlier_attempts } => earlier_attempts > 0,
        }
    }

    /// Whether a worker may send the entry. A delivery that holds a claim is stored, or given up,
    /// well before an attempt ends.
    fn may_attempt(&self, state: &State) -> bool {
        const MAX_ATTEMPTS: u8 = 3;
        let is_claimed = |line: &Line| matches!(line, Line::Claimed(..));
        state.queued && state.attempts < MAX_ATTEMPTS && !state.lines.iter().any(is_claimed)
    }

    fn may_end(&self, state: &State, token: u8) -> bool {
        let is_live = state.seen.live & (1 << token) != 0;
        let is_about_to_forward = |line: &Line| match line {
            Line::Claimed(_, lease) => lease.token == token,
            _ => false,
        };
        is_live
            && self.guarantee == Guarantee::AtLeastOnce
            && (self.holder == Holder::MayStall || !state.lines.iter().any(is_about_to_forward))
    }

    /// Returns whether the event is delivered, or a further delivery is granted after those
    /// in flight and their leases have ended.
    fn can_still_be_forwarded(&self, state: &State) -> bool {
        let is_idle = state.lines.iter().all(|line| *line == Line::Idle);
        if state.seen.applied || state.queued || !is_idle {
            return true;
        }
        let mut state = state.clone();
        for token in 0..state.leases {
            if self.may_end(&state, token) {
                state.end_lease(token);
            }
        }
        state.lines[0] = Line::Arrived(0);
        self.claim(&mut state, 0, Message::Answered);
        matches!(state.lines[0], Line::Claimed(..))
    }
}
