//! Creates the streams of a queue, or checks existing streams.

use async_nats::jetstream::stream::{Config, DiscardPolicy, Info, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode, context};

use super::config::NatsConfig;
use super::error::NatsConnectError;
use super::names::Names;
use super::{DUPLICATE_WINDOW, ENVELOPE_SPACE};

/// Creates the streams that are missing, and returns the state of the stream of entries.
///
/// # Errors
///
/// Returns [`NatsConnectError`] if a stream could lose an entry or refuse a large one.
pub(super) async fn prepare(
    jetstream: &Context,
    config: &NatsConfig,
    names: &Names,
) -> Result<Info, NatsConnectError> {
    let state = prepare_one(jetstream, state_stream(config, names)).await?;
    prepare_one(jetstream, dead_stream(config, names)).await?;
    let work = prepare_one(jetstream, work_stream(config, names)).await?;
    if work.is_new && !state.is_new {
        tracing::error!(
            stream = names.work,
            "the stream of the queue did not exist, but its streams of dead letters and of the \
             state did; if it was deleted, the deliveries that waited in it are lost"
        );
    }
    Ok(work.info)
}

struct Prepared {
    info: Info,
    is_new: bool,
}

async fn prepare_one(jetstream: &Context, wanted: Config) -> Result<Prepared, NatsConnectError> {
    let name = wanted.name.clone();
    let not_found = match jetstream.get_stream(&name).await {
        Ok(stream) => {
            let info = stream.cached_info().clone();
            return match problem(&wanted, &info.config) {
                None => Ok(Prepared {
                    info,
                    is_new: false,
                }),
                Some(problem) => Err(NatsConnectError::new(format!(
                    "the stream {name} cannot store the queue: {problem}"
                ))),
            };
        }
        Err(error) => error,
    };
    match not_found.kind() {
        context::GetStreamErrorKind::JetStream(error)
            if error.error_code() == ErrorCode::STREAM_NOT_FOUND => {}
        _ => {
            return Err(NatsConnectError::caused(
                format!(
                    "cannot read the stream {name}; enable JetStream on the servers and for the \
                     account, and allow the user $JS.API.>"
                ),
                not_found,
            ));
        }
    }
    match jetstream.create_stream(wanted).await {
        Ok(stream) => {
            tracing::info!(stream = name, "created the stream of the queue");
            Ok(Prepared {
                info: stream.cached_info().clone(),
                is_new: true,
            })
        }
        Err(error) => Err(NatsConnectError::caused(
            format!("cannot create the stream {name}"),
            error,
        )),
    }
}

fn work_stream(config: &NatsConfig, names: &Names) -> Config {
    Config {
        description: Some("Deliveries that wait for their upstream".to_owned()),
        retention: RetentionPolicy::WorkQueue,
        max_bytes: config.max_bytes.map_or(-1, |bytes| bytes.cast_signed()),
        ..stream(config, &names.work)
    }
}

fn dead_stream(config: &NatsConfig, names: &Names) -> Config {
    Config {
        description: Some("Dead letters".to_owned()),
        ..stream(config, &names.dead)
    }
}

/// The stream of the state has one message a subject. A new one replaces the last one.
fn state_stream(config: &NatsConfig, names: &Names) -> Config {
    Config {
        description: Some("The state of deliveries that were tried".to_owned()),
        discard: DiscardPolicy::Old,
        max_messages_per_subject: 1,
        ..stream(config, &names.state)
    }
}

fn stream(config: &NatsConfig, name: &str) -> Config {
    Config {
        name: name.to_owned(),
        subjects: vec![format!("{name}.>")],
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: config.replicas,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        duplicate_window: DUPLICATE_WINDOW,
        allow_direct: true,
        ..Config::default()
    }
}

/// Returns a description of the first wrong setting, and how to change it.
fn problem(wanted: &Config, found: &Config) -> Option<String> {
    let name = &wanted.name;
    let edit = |what: &str, option: &str| {
        Some(format!(
            "{what}; change it with `nats stream edit {name} {option}`"
        ))
    };
    if found.retention != wanted.retention {
        return Some(format!(
            "its retention is {:?}; expected {:?}. A stream cannot change its retention: copy its \
             messages, delete it, and start hookgate again, or configure another `stream`",
            found.retention, wanted.retention
        ));
    }
    if found.storage != StorageType::File {
        return Some(
            "it is in memory, so it loses its deliveries when the server restarts; delete it, and \
             start hookgate again"
                .to_owned(),
        );
    }
    if found.mirror.is_some() || found.sealed || found.no_ack {
        return Some("it is a mirror, sealed, or without acknowledgements; delete it".to_owned());
    }
    if !found.subjects.contains(&wanted.subjects[0]) {
        let option = format!("--subjects '{}'", wanted.subjects[0]);
        return edit("it lacks the subject", &option);
    }
    if found.discard != wanted.discard {
        let (what, option) = match wanted.discard {
            DiscardPolicy::New => (
                "it drops the oldest message when it is full",
                "--discard new",
            ),
            DiscardPolicy::Old => ("it refuses a message when it is full", "--discard old"),
        };
        return edit(what, option);
    }
    if !found.max_age.is_zero() {
        return edit("it drops messages by their age", "--max-age 0");
    }
    let per_subject = wanted.max_messages_per_subject;
    if found.max_messages_per_subject.max(0) != per_subject.max(0) {
        let option = format!("--max-msgs-per-subject {per_subject}");
        return edit("its limit of messages per subject differs", &option);
    }
    if found.duplicate_window < DUPLICATE_WINDOW {
        return edit(
            "its window for duplicates is shorter than 2 minutes",
            "--dupe-window 2m",
        );
    }
    if !found.allow_direct {
        return edit("its messages cannot be read directly", "--allow-direct");
    }
    if found.deny_delete || found.deny_purge {
        return Some("its messages cannot be deleted; create it without deny-delete".to_owned());
    }
    if found.num_replicas < wanted.num_replicas {
        let replicas = wanted.num_replicas;
        return edit("it has fewer replicas", &format!("--replicas {replicas}"));
    }
    None
}

/// Returns an error if a message with a body of `largest` bytes does not fit.
pub(super) fn check_largest_message(
    largest: u64,
    max_payload: usize,
    work: &Info,
) -> Result<(), NatsConnectError> {
    let needed = largest.saturating_add(ENVELOPE_SPACE);
    if (max_payload as u64) < needed {
        return Err(NatsConnectError::new(format!(
            "the servers accept messages of {max_payload} bytes, and the largest body limit of a \
             source is {largest} bytes; set `max_payload: {needed}` in the configuration of every \
             NATS server, or lower `body`"
        )));
    }
    let limit = work.config.max_message_size;
    if limit > 0 && u64::from(limit.unsigned_abs()) < needed {
        let name = &work.config.name;
        return Err(NatsConnectError::new(format!(
            "the stream {name} accepts messages of {limit} bytes, and the largest body limit of a \
             source is {largest} bytes; change it with `nats stream edit {name} --max-msg-size \
             {needed}`, or lower `body`"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    type Change = fn(&mut Config);

    #[test]
    fn a_stream_that_could_lose_an_entry_is_refused_with_what_to_change() {
        let config = NatsConfig::new("nats://queue").unwrap().with_replicas(3);
        let wanted = work_stream(&config, &Names::new("q"));
        assert_eq!(problem(&wanted, &wanted), None);
        let changes: [(&str, Change); 10] = [
            ("expected WorkQueue", |c| {
                c.retention = RetentionPolicy::Limits
            }),
            ("in memory", |c| c.storage = StorageType::Memory),
            ("sealed", |c| c.sealed = true),
            ("--subjects 'q.>'", |c| c.subjects = vec!["q.a".to_owned()]),
            ("--discard new", |c| c.discard = DiscardPolicy::Old),
            ("--max-age 0", |c| c.max_age = Duration::from_secs(1)),
            ("--max-msgs-per-subject -1", |c| {
                c.max_messages_per_subject = 1
            }),
            ("--dupe-window 2m", |c| {
                c.duplicate_window = Duration::from_secs(1)
            }),
            ("--allow-direct", |c| c.allow_direct = false),
            ("--replicas 3", |c| c.num_replicas = 1),
        ];
        for (expected, change) in changes {
            let mut found = wanted.clone();
            change(&mut found);
            let text = problem(&wanted, &found).unwrap_or_default();
            assert!(text.contains(expected), "{expected}: {text}");
        }
    }
}
