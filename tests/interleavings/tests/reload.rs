//! A reload that removes a key while a delivery is checked: the delivery is forwarded only if it was
//! admitted before the reload.
//!
//! The gateway swaps its configuration by `arc_swap`, whose operations are single steps. A mutex
//! stands for it.

use std::sync::{Arc, LazyLock};

use hookgate_core::Head;
use hookgate_gate::{
    AcceptedHead, Admission, CheckedRequest, InboundRequest, Outcome, Refusal, Source,
};
use hookgate_interleavings::copies::replay::memory::MemoryStore;
use hookgate_interleavings::delivery::{Body, NEW, OLD, admit, gate, head, headers, source};
use hookgate_interleavings::explore;
use http::HeaderMap;
use shuttle::future::block_on;
use shuttle::sync::Mutex;
use shuttle::thread;

/// A source, and a delivery that its key signs.
static BEFORE: LazyLock<(Arc<Source>, HeaderMap)> = LazyLock::new(|| (source(OLD), headers(OLD)));
static AFTER: LazyLock<(Arc<Source>, HeaderMap)> = LazyLock::new(|| (source(NEW), headers(NEW)));

/// Whether a request sees that its source was replaced.
#[derive(Clone, Copy, PartialEq)]
enum Sees {
    Reloads,
    /// The control.
    Nothing,
}

struct Request {
    current: Arc<Mutex<Arc<Source>>>,
    body: Body,
    sees: Sees,
    /// Whether the source was replaced before the event was claimed, or soon after.
    is_late: bool,
}

impl Request {
    fn is_replaced(&self) -> bool {
        let current = self.current.lock().expect("no thread panics");
        !Arc::ptr_eq(&current, &BEFORE.0)
    }
}

impl InboundRequest for Request {
    type Route = Arc<Source>;

    fn head(&self) -> Head<'_> {
        head(&BEFORE.1)
    }

    fn declared_len(&self) -> Option<u64> {
        None
    }

    fn receive<'s>(
        &mut self,
        head: AcceptedHead<'s>,
    ) -> impl Future<Output = Result<CheckedRequest<'s>, Refusal>> + Send {
        head.receive(&mut self.body)
    }

    fn is_current(&self, source: &Arc<Source>) -> bool {
        let current = self.current.lock().expect("no thread panics");
        self.sees == Sees::Nothing || Arc::ptr_eq(&current, source)
    }

    async fn find_route(&mut self) -> Result<Arc<Source>, Refusal> {
        let current = self.current.lock().expect("no thread panics");
        Ok(Arc::clone(&current))
    }

    fn on_admitted(&mut self) {
        self.is_late |= self.is_replaced();
    }
}

/// A delivery that the old key has signed arrives while a reload replaces the key.
fn removed_key(sees: Sees) {
    let gate = gate(MemoryStore::new());
    let current = Arc::new(Mutex::new(Arc::clone(&BEFORE.0)));
    let delivering = {
        let (gate, current) = (gate.clone(), Arc::clone(&current));
        thread::spawn(move || {
            let mut route = Arc::clone(&current.lock().expect("no thread panics"));
            let mut request = Request {
                current,
                body: Body::new(),
                sees,
                is_late: false,
            };
            match block_on(gate.admit_current(&mut route, &mut request)) {
                Ok(Admission::Forward(delivery)) => {
                    assert!(!request.is_late, "a removed key counts");
                    block_on(delivery.settle(Outcome::Delivered));
                    true
                }
                Ok(other) => panic!("expected to forward or to refuse, got {other:?}"),
                Err(_) => false,
            }
        })
    };
    let reloading = thread::spawn(move || {
        *current.lock().expect("no thread panics") = Arc::clone(&AFTER.0);
    });
    reloading.join().expect("no thread panics");
    let is_delivered = delivering.join().expect("no thread panics");
    // A refused delivery has released its claim, so the sender's next one is forwarded.
    let again = block_on(admit(&gate, &AFTER.0, &AFTER.1)).expect("the new key is valid");
    assert_eq!(matches!(again, Admission::Duplicate(_)), is_delivered);
}

#[test]
fn a_key_that_a_reload_removes_counts_no_longer() {
    explore::holds(|| removed_key(Sees::Reloads));
}

#[test]
fn control_a_request_that_does_not_look_again_forwards_by_a_removed_key() {
    explore::fails(|| removed_key(Sees::Nothing), "a removed key counts");
}
