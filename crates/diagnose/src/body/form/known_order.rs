//! The orders in which providers send fields that are signed as bytes.

use super::fields::Field;

/// The fields of a slash command of Slack, as its documentation and its deliveries order them.
const SLACK_COMMAND: &[&str] = &[
    "token",
    "team_id",
    "team_domain",
    "enterprise_id",
    "enterprise_name",
    "channel_id",
    "channel_name",
    "user_id",
    "user_name",
    "command",
    "text",
    "api_app_id",
    "is_enterprise_install",
    "response_url",
    "trigger_id",
];

/// Returns `fields` in the order of their provider, if the order is known.
pub(super) fn restore(fields: &[Field]) -> Option<Vec<Field>> {
    let place = |field: &Field| {
        let mut names = SLACK_COMMAND.iter();
        names.position(|name| name.as_bytes() == field.name)
    };
    if fields.len() < 2 || fields.iter().any(|field| place(field).is_none()) {
        return None;
    }
    let mut ordered = fields.to_vec();
    ordered.sort_by_key(place);
    Some(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fields_of_a_known_form_are_ordered() {
        let fields = |names: &[&str]| -> Vec<Field> {
            names.iter().map(|name| Field::new(*name, "x")).collect()
        };
        let sorted = fields(&["command", "team_id", "text", "token"]);
        let expected = fields(&["token", "team_id", "command", "text"]);
        assert_eq!(restore(&sorted), Some(expected));
        assert_eq!(restore(&fields(&["token", "other"])), None);
    }
}
