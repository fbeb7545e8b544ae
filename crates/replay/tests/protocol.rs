//! The protocol of claims, checked in every order that its steps can take.
//!
//! Two gateways share a store. The sender, or whoever replays what it sent, delivers
//! one event again and again, some of it at the same time. At any step a gateway may
//! crash, a lease may end, a message to the store or its reply may be lost, and so may
//! the answer of the upstream. What is checked covers one retention: within it, what
//! is done stays done.

use std::time::Instant;

use stateright::{Checker, Model, Property};

const ONE_LEASE: &str = "no two forwards inside one lease";
const COMMITTED: &str = "no forward of a committed key";
const ONE_MORE: &str = "one more forward for each lease that ended or was given back";
const NOT_LOST: &str = "what was not delivered can be forwarded yet";
const TRUE_ANSWER: &str = "no duplicate is acknowledged of what was not delivered";
const ANNOUNCED: &str = "no repetition is announced as the first attempt";

/// What holds whatever is promised. [`NOT_LOST`] is for delivery at least once;
/// [`ANNOUNCED`] has a test of its own.
const ALWAYS: [&str; 4] = [ONE_LEASE, COMMITTED, ONE_MORE, TRUE_ANSWER];
const AT_LEAST_ONCE: [&str; 5] = [ONE_LEASE, COMMITTED, ONE_MORE, TRUE_ANSWER, NOT_LOST];

const THIRD_ATTEMPT: &str = "an event is forwarded as its third attempt";
const STALE: &str = "a settlement comes when its lease is another's";
const DONE: &str = "an event is done while others of it are under way";

#[test]
fn at_least_once_forwards_once_a_lease_and_loses_nothing() {
    Protocol::REAL.holds(&AT_LEAST_ONCE);
    let dropping = Protocol {
        hang_up: HangUp::Drops,
        ..Protocol::REAL
    };
    dropping.holds(&AT_LEAST_ONCE);
}

#[test]
fn three_deliveries_at_a_time_change_nothing() {
    let checked = Protocol {
        lines: 3,
        sends: 5,
        ..Protocol::REAL
    };
    checked.holds(&AT_LEAST_ONCE);
}

#[test]
fn at_most_once_forwards_again_only_after_a_known_failure() {
    for hang_up in [HangUp::RunsOn, HangUp::Drops] {
        let checked = Protocol {
            promise: Promise::AtMostOnce,
            hang_up,
            ..Protocol::REAL
        };
        checked.holds(&ALWAYS);
    }
}

#[test]
fn at_most_once_pays_with_events_that_are_lost() {
    let at_most_once = Protocol {
        promise: Promise::AtMostOnce,
        ..Protocol::REAL
    };
    // Nothing needs to be forwarded for it: a reply of the store that is lost will do.
    let (line, gateway, message) = (0, 0, Message::ReplyLost);
    assert_eq!(
        at_most_once.fails(NOT_LOST),
        [
            Action::Send { line, gateway },
            Action::Claim { line, message }
        ]
    );
}

/// That nothing bad was seen says little where nothing happens.
#[test]
fn the_cases_that_promises_are_about_are_reached() {
    for case in [THIRD_ATTEMPT, STALE, DONE] {
        Protocol::REAL.shows(case);
    }
}

// === Controls: what is left out is missed. ===

#[test]
fn without_the_token_a_late_settlement_opens_and_closes_the_lease_of_another() {
    let without = Protocol {
        token: Token::Ignored,
        ..Protocol::REAL
    };
    // By a late release, and by a late commit.
    without.fails(ONE_LEASE);
    without.fails(COMMITTED);
}

#[test]
fn remembering_an_event_when_it_arrives_loses_it() {
    let on_arrival = Protocol {
        remember: Remember::OnArrival,
        ..Protocol::REAL
    };
    on_arrival.fails(NOT_LOST);
    on_arrival.fails(TRUE_ANSWER);
}

#[test]
fn remembering_an_event_when_it_is_done_forwards_it_twice() {
    let when_done = Protocol {
        remember: Remember::WhenDone,
        ..Protocol::REAL
    };
    when_done.fails(ONE_LEASE);
    when_done.fails(COMMITTED);
}

/// Why a lease must be longer than any delivery takes: no token is checked on the way
/// to the upstream. A gateway that stands still between claim and forward for longer
/// than the lease, as a machine that is suspended does, forwards into another's.
#[test]
fn a_holder_that_stalls_for_longer_than_the_lease_forwards_into_another() {
    let stalling = Protocol {
        holder: Holder::MayStall,
        sends: 3,
        ..Protocol::REAL
    };
    stalling.fails(ONE_LEASE);
    stalling.fails(COMMITTED);
    stalling.holds(&[NOT_LOST, TRUE_ANSWER]);
}

#[test]
fn a_release_that_forgets_the_leases_before_it_announces_a_repetition_as_new() {
    Protocol::REAL.holds(&[ANNOUNCED]);
    let forgetting = Protocol {
        release: Release::Forgets,
        ..Protocol::REAL
    };
    forgetting.fails(ANNOUNCED);
}

/// A known limit: what is dropped while it is under way is given back, as if it had
/// failed.
#[test]
fn a_delivery_that_is_dropped_under_way_is_announced_as_new() {
    let dropping = Protocol {
        hang_up: HangUp::Drops,
        ..Protocol::REAL
    };
    dropping.fails(ANNOUNCED);
}

// === The model. ===

/// What is checked.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    /// Deliveries under way at a time.
    lines: usize,
    /// Deliveries in all.
    sends: u8,
    promise: Promise,
    hang_up: HangUp,
    remember: Remember,
    token: Token,
    release: Release,
    holder: Holder,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Promise {
    AtLeastOnce,
    /// The lease is as long as the retention, and so never ends here.
    AtMostOnce,
}

/// What becomes of a call to the upstream when its sender hangs up.
#[derive(Clone, Copy, Debug, PartialEq)]
enum HangUp {
    RunsOn,
    Drops,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Remember {
    Claims,
    OnArrival,
    WhenDone,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token {
    Checked,
    Ignored,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Release {
    Forgets,
    RemembersEarlierAttempts,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Holder {
    /// Forwards well before its lease ends, or not at all.
    Prompt,
    MayStall,
}

impl Protocol {
    const REAL: Self = Self {
        lines: 2,
        sends: 5,
        promise: Promise::AtLeastOnce,
        hang_up: HangUp::RunsOn,
        remember: Remember::Claims,
        token: Token::Checked,
        release: Release::RemembersEarlierAttempts,
        holder: Holder::Prompt,
    };

    /// Asserts that no order of steps breaks any of `promises`.
    fn holds(self, promises: &[&str]) {
        let start = Instant::now();
        let checker = self.checker().threads(2).spawn_bfs().join();
        for promise in promises {
            if let Some(path) = checker.discovery_of(promise) {
                panic!("{promise}: broken by {path:#?}, of {self:?}");
            }
        }
        let (states, time) = (checker.unique_state_count(), start.elapsed());
        assert!(checker.is_done(), "every state is looked at");
        eprintln!("{states} states in {time:.1?}: {promises:?}, of {self:?}");
    }

    /// The fewest steps that break `promise`.
    fn fails(self, promise: &'static str) -> Vec<Action> {
        self.shows(promise)
    }

    /// The fewest steps to a state that is told by the name of a property.
    fn shows(self, name: &'static str) -> Vec<Action> {
        for depth in 2..20 {
            let checker = self.checker().target_max_depth(depth).spawn_bfs().join();
            if let Some(steps) = checker.discovery_of(name) {
                eprintln!("{name}: {steps:?}");
                return steps;
            }
        }
        panic!("{name}: nothing found, of {self:?}");
    }
}

/// How a checker found something.
trait DiscoveryOf {
    fn discovery_of(&self, name: &str) -> Option<Vec<Action>>;
}

impl<C: Checker<Protocol>> DiscoveryOf for C {
    fn discovery_of(&self, name: &str) -> Option<Vec<Action>> {
        let path = self.discoveries().remove(name)?;
        Some(path.into_actions())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    sent: u8,
    lines: Vec<Line>,
    store: Entry,
    /// Leases that were granted.
    leases: u8,
    seen: Seen,
}

/// What an onlooker has seen who knows everything, and by whom nothing is decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Seen {
    /// Leases, as bits, that neither ended nor were settled by their holders.
    live: u32,
    /// Those in which something was forwarded, by whomever.
    used: u32,
    forwarded: bool,
    /// Whether a lease ended or was given back since the last forward.
    reopened: bool,
    /// Whether the upstream has done what the event asks for.
    applied: bool,
    committed: bool,
    broken: Broken,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Broken {
    one_lease: bool,
    committed: bool,
    one_more: bool,
    true_answer: bool,
    announced: bool,
}

/// One delivery at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Line {
    Idle,
    Arrived(Gateway),
    Claimed(Gateway, Lease),
    /// The upstream may see it.
    Sent(Gateway, Lease),
    /// The upstream has answered.
    Settling(Lease, Outcome),
}

type Gateway = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Lease {
    token: u8,
    attempt: u8,
}

impl Lease {
    fn bit(self) -> u32 {
        1 << self.token
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Outcome {
    Delivered,
    Failed,
}

/// What the store remembers of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Entry {
    Absent { earlier_attempts: u8 },
    InFlight { lease: Lease, ended: bool },
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Action {
    Send { line: usize, gateway: Gateway },
    Claim { line: usize, message: Message },
    Forward { line: usize },
    Upstream { line: usize, does: Upstream },
    HangUp { line: usize },
    Settle { line: usize, message: Message },
    LeaseEnds { token: u8 },
    Crash { gateway: Gateway },
}

/// What becomes of a question to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Message {
    Answered,
    /// It took effect, and nobody was told.
    ReplyLost,
    Lost,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Upstream {
    Applies,
    AppliesAndAnswerIsLost,
    AppliesAndNobodyWaits,
    Refuses,
    IsNotReached,
}

impl Model for Protocol {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            sent: 0,
            lines: vec![Line::Idle; self.lines],
            store: Entry::Absent {
                earlier_attempts: 0,
            },
            leases: 0,
            seen: Seen::default(),
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        const MESSAGES: [Message; 3] = [Message::Answered, Message::ReplyLost, Message::Lost];
        const UPSTREAM: [Upstream; 4] = [
            Upstream::Applies,
            Upstream::AppliesAndAnswerIsLost,
            Upstream::Refuses,
            Upstream::IsNotReached,
        ];
        // One idle line is as good as another.
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
                Line::Claimed(..) => {
                    actions.extend([Action::Forward { line }, Action::HangUp { line }]);
                }
                Line::Sent(..) => {
                    actions.extend(UPSTREAM.map(|does| Action::Upstream { line, does }));
                    if self.hang_up == HangUp::Drops {
                        let does = Upstream::AppliesAndNobodyWaits;
                        actions.extend([Action::HangUp { line }, Action::Upstream { line, does }]);
                    }
                }
                Line::Settling(..) => {
                    actions.extend(MESSAGES.map(|message| Action::Settle { line, message }));
                }
            }
        }
        for token in 0..state.leases {
            if self.may_end(state, token) {
                actions.push(Action::LeaseEnds { token });
            }
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
                if does == Upstream::AppliesAndNobodyWaits {
                    self.hang_up(&mut state, line);
                }
            }
            Action::HangUp { line } => self.hang_up(&mut state, line),
            Action::Settle { line, message } => self.settle(&mut state, line, message),
            Action::LeaseEnds { token } => state.end(token),
            // What is on its way to the store goes on, or is lost as any message is.
            Action::Crash { gateway: crashed } => {
                for line in &mut state.lines {
                    match *line {
                        Line::Claimed(gateway, _) | Line::Sent(gateway, _)
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
            Property::always(TRUE_ANSWER, |_, state: &State| {
                !state.seen.broken.true_answer
            }),
            Property::always(ANNOUNCED, |_, state: &State| !state.seen.broken.announced),
            Property::always(NOT_LOST, Self::can_be_forwarded_yet),
            Property::sometimes(THIRD_ATTEMPT, |_, state: &State| {
                let is_third =
                    |line: &Line| matches!(line, Line::Sent(_, lease) if lease.attempt == 3);
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
        // Whoever is not told answers 503, and has nothing to settle.
        state.lines[line] = Line::Idle;
        if message == Message::Lost {
            return;
        }
        let attempt = match state.store {
            Entry::Absent { earlier_attempts } => earlier_attempts + 1,
            Entry::InFlight { lease, ended: true } => lease.attempt + 1,
            // 503. That it waits before makes it a delivery that arrived later.
            Entry::InFlight { ended: false, .. } => return,
            Entry::Done => {
                state.seen.broken.true_answer |= !state.seen.applied;
                return;
            }
        };
        let token = state.leases;
        let lease = Lease { token, attempt };
        match self.remember {
            Remember::Claims => {
                let ended = false;
                state.store = Entry::InFlight { lease, ended };
            }
            Remember::OnArrival => state.store = Entry::Done,
            Remember::WhenDone => {}
        }
        state.leases += 1;
        state.seen.live |= lease.bit();
        if message == Message::Answered {
            state.lines[line] = Line::Claimed(gateway, lease);
        }
    }

    /// What is dropped before its outcome is known is given back.
    fn hang_up(&self, state: &mut State, line: usize) {
        state.lines[line] = match (state.lines[line], self.promise) {
            (Line::Sent(..), Promise::AtMostOnce) => Line::Idle,
            (Line::Claimed(_, lease) | Line::Sent(_, lease), _) => {
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
        let is_current = match (self.remember, state.store) {
            (Remember::Claims, Entry::InFlight { lease: current, .. }) => {
                self.token == Token::Ignored || current == lease
            }
            (Remember::Claims, _) => false,
            (Remember::OnArrival, _) => false,
            (Remember::WhenDone, _) => outcome == Outcome::Delivered,
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

    fn may_end(&self, state: &State, token: u8) -> bool {
        let is_live = state.seen.live & (1 << token) != 0;
        let is_about_to_forward = |line: &Line| match line {
            Line::Claimed(_, lease) => lease.token == token,
            _ => false,
        };
        is_live
            && self.promise == Promise::AtLeastOnce
            && (self.holder == Holder::MayStall || !state.lines.iter().any(is_about_to_forward))
    }

    /// Unless the event is delivered, one more delivery of it is granted once those
    /// under way have come to their ends, and the lease to its own.
    fn can_be_forwarded_yet(&self, state: &State) -> bool {
        let is_quiet = state.lines.iter().all(|line| *line == Line::Idle);
        if state.seen.applied || !is_quiet {
            return true;
        }
        let mut state = state.clone();
        for token in 0..state.leases {
            if self.may_end(&state, token) {
                state.end(token);
            }
        }
        state.lines[0] = Line::Arrived(0);
        self.claim(&mut state, 0, Message::Answered);
        matches!(state.lines[0], Line::Claimed(..))
    }
}

impl State {
    fn forward(&mut self, line: usize) {
        let Line::Claimed(gateway, lease) = self.lines[line] else {
            return;
        };
        self.lines[line] = Line::Sent(gateway, lease);
        let Seen { live, used, .. } = self.seen;
        let broken = &mut self.seen.broken;
        broken.one_lease |= live & used != 0;
        broken.committed |= self.seen.committed;
        broken.one_more |= self.seen.forwarded && !self.seen.reopened;
        broken.announced |= self.seen.applied && lease.attempt == 1;
        self.seen.used |= live;
        self.seen.forwarded = true;
        self.seen.reopened = false;
    }

    fn upstream(&mut self, line: usize, does: Upstream) {
        let Line::Sent(_, lease) = self.lines[line] else {
            return;
        };
        if let Upstream::Applies
        | Upstream::AppliesAndAnswerIsLost
        | Upstream::AppliesAndNobodyWaits = does
        {
            self.seen.applied = true;
        }
        self.lines[line] = match does {
            Upstream::Applies => Line::Settling(lease, Outcome::Delivered),
            Upstream::Refuses => Line::Settling(lease, Outcome::Failed),
            // The outcome is not known: nothing is settled.
            Upstream::AppliesAndAnswerIsLost | Upstream::IsNotReached => Line::Idle,
            Upstream::AppliesAndNobodyWaits => return,
        };
    }

    fn end(&mut self, token: u8) {
        self.seen.live &= !(1 << token);
        self.seen.reopened = true;
        if let Entry::InFlight { lease, ended } = &mut self.store
            && lease.token == token
        {
            *ended = true;
        }
    }
}
