//! Answers of hostile upstreams over HTTP/1, after the classes of the literature on response
//! splitting. Each sender gets the answer to its own request or an error of the gateway, and each
//! delivery arrives once. A pipe in place of the gateway is the control.

mod script;
mod upstream;

use std::collections::HashSet;
use std::sync::Arc;

use self::script::{Case, cases};
use self::upstream::HostileUpstream;
use super::pipe_to;
use super::trial::{Lane, Middle, Trial, run_all, start_gateway};

/// The number of upstreams at once, without the one for [`LATE`].
const LANES: usize = 8;
/// The class of answers whose second part comes while the connection is idle. docs/network.md says
/// that such an upstream needs `max_idle = 0`.
const LATE: &str = "late";

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_answer_reaches_its_own_sender_or_becomes_an_error() {
    let cases = Arc::new(cases());
    let upstreams: Vec<_> = (0..=LANES)
        .map(|lane| {
            let upstream = HostileUpstream::start(Arc::clone(&cases));
            let lines = if lane == LANES { "max_idle = 0" } else { "" };
            (upstream.address, upstream.arrivals, lines)
        })
        .collect();
    let (_gateway, lanes) = start_gateway(&upstreams);
    let count = cases.len();
    let mistakes = run_all(trials(&cases), lanes, Middle::Gateway, lane_of).await;
    println!("{count} hostile answers, {} flagged", mistakes.len());
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}

/// The control.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_passes_hostile_answers_on() {
    let cases = Arc::new(cases());
    let mut lanes = Vec::new();
    for _ in 0..=LANES {
        let upstream = HostileUpstream::start(Arc::clone(&cases));
        lanes.push(Lane {
            front: pipe_to(upstream.address).await,
            path: "/".to_owned(),
            arrivals: upstream.arrivals,
        });
    }
    let count = cases.len();
    let mistakes = run_all(trials(&cases), lanes, Middle::Pipe, lane_of).await;
    println!(
        "{count} hostile answers behind a pipe, {} flagged",
        mistakes.len()
    );
    assert!(mistakes.len() * 2 > count, "{mistakes:#?}");
    assert!(!mistakes.contains_key("plain: length"), "{mistakes:#?}");
}

#[test]
fn the_table_has_120_different_answers() {
    let cases = cases();
    let titles: HashSet<_> = cases.iter().map(|case| case.trial.title()).collect();
    assert_eq!(titles.len(), cases.len(), "a name occurs twice");
    let classes: HashSet<_> = cases.iter().map(|case| case.trial.class).collect();
    assert!(cases.len() >= 120 && classes.len() >= 12, "{classes:?}");
}

fn trials(cases: &[Case]) -> Vec<Trial> {
    cases.iter().map(|case| case.trial.clone()).collect()
}

fn lane_of(trial: &Trial) -> usize {
    match trial.class {
        LATE => LANES,
        _ => trial.index % LANES,
    }
}
