//! The state of the model, its actions, and the steps that do not depend on the protocol.

/// The deliveries, the store and the observations.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    /// The number of deliveries that the sender has sent to a gateway.
    pub(crate) sent: u8,
    /// The number of times that the operator has made the store forget the event.
    pub(crate) forgotten: u8,
    pub(crate) lines: Vec<Line>,
    pub(crate) store: Entry,
    /// Whether an entry of the queue holds the delivery.
    pub(crate) queued: bool,
    /// The number of attempts that a worker has made.
    pub(crate) attempts: u8,
    /// The number of granted leases.
    pub(crate) leases: u8,
    pub(crate) seen: Seen,
}

/// The observations of an omniscient observer. No step of the protocol depends on them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// A bit for each lease that has neither ended nor been settled by its holder.
    pub(crate) live: u32,
    /// A bit for each lease during which any delivery was forwarded.
    pub(crate) used: u32,
    pub(crate) forwarded: bool,
    /// Whether a lease has ended or was released, or the event was forgotten, since the last
    /// forward.
    pub(crate) reopened: bool,
    /// Whether the upstream has processed the event, since it was forgotten last.
    pub(crate) applied: bool,
    pub(crate) committed: bool,
    /// Whether a worker has completed the entry of the event.
    pub(crate) completed: bool,
    pub(crate) broken: Broken,
}

/// A flag for each promise that was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Broken {
    pub(crate) one_lease: bool,
    pub(crate) committed: bool,
    pub(crate) one_more: bool,
    pub(crate) true_duplicate: bool,
    pub(crate) true_attempt: bool,
    pub(crate) stored_once: bool,
}

/// A connection that carries one delivery at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Line {
    Idle,
    Arrived(Gateway),
    Claimed(Gateway, Lease),
    /// The delivery is on its way to the upstream.
    Forwarded(Gateway, Lease),
    /// The queue has stored the delivery. Its event is not recorded yet.
    Stored(Gateway, Lease),
    /// The upstream has responded.
    Settling(Lease, Outcome),
}

/// The number of a gateway.
pub(crate) type Gateway = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) token: u8,
    pub(crate) attempt: u8,
}

impl Lease {
    pub(crate) fn bit(self) -> u32 {
        1 << self.token
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Delivered,
    Failed,
}

/// The state of the key in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Entry {
    Absent { earlier_attempts: u8 },
    InFlight { lease: Lease, ended: bool },
    Done,
}

/// A step of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    Send {
        line: usize,
        gateway: Gateway,
    },
    Claim {
        line: usize,
        message: Message,
    },
    Forward {
        line: usize,
    },
    Upstream {
        line: usize,
        does: Upstream,
    },
    Disconnect {
        line: usize,
    },
    Settle {
        line: usize,
        message: Message,
    },
    /// The gateway stores the delivery in the queue.
    Store {
        line: usize,
        message: Message,
    },
    /// The gateway records the event of a stored delivery as done.
    Record {
        line: usize,
        message: Message,
    },
    /// A worker sends the entry.
    Attempt {
        does: Upstream,
    },
    LeaseEnds {
        token: u8,
    },
    Forget,
    Crash {
        gateway: Gateway,
    },
}

/// What happens to a request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Message {
    Answered,
    /// The request took effect, but the gateway does not know.
    ReplyLost,
    Lost,
}

/// The effect of a delivery on the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Upstream {
    Applies,
    AppliesButResponseIsLost,
    AppliesAfterDisconnect,
    Refuses,
    IsUnreachable,
}

impl State {
    pub(crate) fn forward(&mut self, line: usize) {
        let Line::Claimed(gateway, lease) = self.lines[line] else {
            return;
        };
        self.lines[line] = Line::Forwarded(gateway, lease);
        let Seen { live, used, .. } = self.seen;
        let broken = &mut self.seen.broken;
        broken.one_lease |= live & used != 0;
        broken.committed |= self.seen.committed;
        broken.one_more |= self.seen.forwarded && !self.seen.reopened;
        broken.true_attempt |= self.seen.applied && lease.attempt == 1;
        self.seen.used |= live;
        self.seen.forwarded = true;
        self.seen.reopened = false;
    }

    pub(crate) fn upstream(&mut self, line: usize, does: Upstream) {
        let Line::Forwarded(_, lease) = self.lines[line] else {
            return;
        };
        if let Upstream::Applies
        | Upstream::AppliesButResponseIsLost
        | Upstream::AppliesAfterDisconnect = does
        {
            self.seen.applied = true;
        }
        self.lines[line] = match does {
            Upstream::Applies => Line::Settling(lease, Outcome::Delivered),
            Upstream::Refuses => Line::Settling(lease, Outcome::Failed),
            // The outcome is unknown, so the gateway does not settle the claim.
            Upstream::AppliesButResponseIsLost | Upstream::IsUnreachable => Line::Idle,
            Upstream::AppliesAfterDisconnect => return,
        };
    }

    /// Stores the delivery of a line, unless the queue holds its event.
    pub(crate) fn store_in_queue(&mut self, line: usize, message: Message) {
        let Line::Claimed(gateway, lease) = self.lines[line] else {
            return;
        };
        // Without a reply, the gateway responds with 503, and the claim stays.
        self.lines[line] = match message {
            Message::Answered => Line::Stored(gateway, lease),
            Message::ReplyLost | Message::Lost => Line::Idle,
        };
        if message != Message::Lost {
            self.seen.broken.stored_once |= self.seen.completed;
            self.queued = true;
        }
    }

    /// Records the event of a stored delivery. The gateway responds with success, whether the
    /// request arrives or not.
    pub(crate) fn record(&mut self, line: usize, message: Message) {
        let Line::Stored(_, lease) = self.lines[line] else {
            return;
        };
        self.lines[line] = Line::Idle;
        if message != Message::Lost {
            self.seen.live &= !lease.bit();
            self.store = Entry::Done;
        }
    }

    /// Makes one attempt of a worker.
    pub(crate) fn attempt(&mut self, does: Upstream) {
        self.attempts += 1;
        match does {
            Upstream::Applies => {
                self.seen.applied = true;
                self.seen.completed = true;
                self.queued = false;
            }
            // The process ends before it records the result, or the upstream responds too late.
            Upstream::AppliesButResponseIsLost | Upstream::AppliesAfterDisconnect => {
                self.seen.applied = true;
            }
            Upstream::Refuses | Upstream::IsUnreachable => {}
        }
    }

    /// Removes the record of the event. The operator wants the event to be delivered again.
    pub(crate) fn forget(&mut self) {
        self.forgotten += 1;
        self.store = Entry::Absent {
            earlier_attempts: 0,
        };
        self.seen.reopened = true;
        self.seen.committed = false;
        self.seen.applied = false;
    }

    pub(crate) fn end_lease(&mut self, token: u8) {
        self.seen.live &= !(1 << token);
        self.seen.reopened = true;
        if let Entry::InFlight { lease, ended } = &mut self.store
            && lease.token == token
        {
            *ended = true;
        }
    }
}
