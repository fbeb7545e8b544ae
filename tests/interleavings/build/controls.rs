//! The faults of the controls.

use super::{Control, Edit};

pub(super) const CONTROLS: &[Control] = &[
    Control {
        name: "replay_claims_without_a_lock",
        component: "replay",
        fault: Edit {
            file: "memory/mod.rs",
            from: "options: ClaimOptions) -> Claim {\n        let mut leased = self.stripe(key);",
            to: "options: ClaimOptions) -> Claim {\n        let mut leased = LeasedSlots::default();",
        },
    },
    Control {
        name: "replay_counts_after_the_check",
        component: "replay",
        fault: Edit {
            file: "memory/capacity.rs",
            from: "let (permit, before) = Permit::add_to(count);
        (before.total < self.max_entries && before.source < source_limit).then_some(permit)",
            to: "let before = count.entries.load(Ordering::Relaxed);
        let is_free = self.entries() < self.max_entries && before < source_limit;
        is_free.then(|| Permit::add_to(count).0)",
        },
    },
    Control {
        name: "replay_removes_a_count_in_use",
        component: "replay",
        fault: Edit {
            file: "memory/capacity.rs",
            from: "Arc::strong_count(count) > 1",
            to: "count.entries.load(Ordering::Relaxed) > 0",
        },
    },
    Control {
        name: "replay_subscribes_at_the_first_poll",
        component: "replay",
        fault: Edit {
            file: "memory/mod.rs",
            from: "        let settled = self.0.notifier.notified(key);
        async move { shuttle::future::yield_now().await; settled.await }\n",
            to: "        async move { shuttle::future::yield_now().await; self.0.notifier.notified(key).await }\n",
        },
    },
    Control {
        name: "paired_hash_returns_without_the_lock",
        component: "paired_hash",
        fault: Edit {
            file: "paired_hash.rs",
            from: "            *state = SlotState::Returned(hash);
            drop(state);",
            to: "            drop(state);
            *self.slot.state() = SlotState::Returned(hash);",
        },
    },
    Control {
        name: "queue_ignores_tokens",
        component: "queue",
        fault: Edit {
            file: "memory/state.rs",
            from: "(slot.token == Some(lease.token)).then_some(slot)",
            to: "slot.token.is_some().then_some(slot)",
        },
    },
    Control {
        name: "queue_probes_twice",
        component: "queue",
        fault: Edit {
            file: "breaker.rs",
            from: "        if is_due {\n            let until",
            to: "        drop(state);
        let mut state = self.state.lock();
        if is_due {\n            let until",
        },
    },
    Control {
        name: "lookups_end_before_their_result",
        component: "lookups",
        fault: Edit {
            file: "shared_lookups.rs",
            from: "            let found = lookup.await;\n            drop(entry);",
            to: "            drop(entry);\n            let found = lookup.await;",
        },
    },
];
