//! Values that name a provider whose scheme does not read them.

use serde_json::Value;

use super::traits::Traits;

/// A value that names a provider.
#[derive(Clone, Copy, Debug)]
enum Mark {
    /// The name of a header.
    Header(&'static str),
    /// The beginning of the user agent.
    UserAgent(&'static str),
    /// A member of the JSON body, and the beginning of its text. Without a text, any value of
    /// the member counts.
    Member(&'static str, &'static str),
    /// The beginning of a secret.
    Secret(&'static str),
}

/// The marks, each from the documentation of its provider. Only providers that share a scheme
/// with others need any.
const MARKS: [(&str, Mark); 42] = [
    ("adyen", Mark::Member("/notificationItems", "")),
    ("airwallex", Mark::Member("/account_id", "acct_")),
    ("anthropic", Mark::UserAgent("Anthropic")),
    ("aws-sns", Mark::Member("/SigningCertURL", "https://sns.")),
    ("bitbucket", Mark::Header("x-event-key")),
    ("bitbucket", Mark::Header("x-hook-uuid")),
    ("clerk", Mark::Member("/object", "event")),
    ("clickup", Mark::Member("/webhook_id", "")),
    ("discord", Mark::Member("/event/type", "")),
    ("discord-interactions", Mark::Member("/token", "")),
    ("dodo-payments", Mark::Member("/business_id", "bus_")),
    ("instagram", Mark::Member("/object", "instagram")),
    ("instagram", Mark::UserAgent("facebookexternalua")),
    ("intercom", Mark::Member("/type", "notification_event")),
    ("jira", Mark::Member("/webhookEvent", "")),
    ("lemon-squeezy", Mark::Header("x-event-name")),
    ("lemon-squeezy", Mark::Member("/meta/event_name", "")),
    ("liveblocks", Mark::Member("/data/projectId", "")),
    ("mailgun", Mark::Member("/event-data", "")),
    ("meraki", Mark::Member("/sharedSecret", "")),
    ("messenger", Mark::Member("/object", "page")),
    ("messenger", Mark::UserAgent("facebookexternalua")),
    ("meta", Mark::Member("/entry/0/id", "")),
    ("meta", Mark::UserAgent("facebookexternalua")),
    ("meta", Mark::UserAgent("Webhooks/1.0 (https://fb.me")),
    ("microsoft-graph", Mark::Member("/value/0/clientState", "")),
    ("modern-treasury", Mark::Header("x-topic")),
    ("openai", Mark::Member("/object", "event")),
    ("polar", Mark::Secret("polar_whs_")),
    ("recall-ai", Mark::Member("/data/bot/id", "")),
    ("render", Mark::Member("/data/serviceId", "srv-")),
    (
        "replicate",
        Mark::Member("/urls/get", "https://api.replicate.com/"),
    ),
    ("resend", Mark::Member("/type", "email.")),
    ("snyk", Mark::Header("x-snyk-event")),
    ("stream", Mark::Header("x-api-key")),
    ("stytch", Mark::Member("/project_id", "project-")),
    ("supabase", Mark::Secret("v1,whsec_")),
    ("tebex", Mark::Member("/subject/transaction_id", "tbx-")),
    (
        "whatsapp",
        Mark::Member("/object", "whatsapp_business_account"),
    ),
    ("whatsapp", Mark::UserAgent("facebookexternalua")),
    ("whop", Mark::Member("/company_id", "biz_")),
    ("whop", Mark::Member("/data/company_id", "biz_")),
];

/// Returns the number of marks of the provider `name` that the delivery has.
pub(super) fn count(name: &str, traits: &Traits<'_>) -> usize {
    let marks = MARKS.iter().filter(|(provider, _)| *provider == name);
    marks.filter(|(_, mark)| mark.is_in(traits)).count()
}

impl Mark {
    fn is_in(self, traits: &Traits<'_>) -> bool {
        match self {
            Self::Header(name) => traits.headers.contains_key(name),
            Self::UserAgent(prefix) => traits.user_agent.starts_with(prefix),
            Self::Member(pointer, prefix) => match traits.member(pointer) {
                Some(Value::String(text)) => text.starts_with(prefix),
                Some(_) => prefix.is_empty(),
                None => false,
            },
            Self::Secret(prefix) => {
                let mut secrets = traits.secrets.iter();
                secrets.any(|secret| secret.expose().starts_with(prefix.as_bytes()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use hookgate_core::Provider;

    use super::*;

    #[test]
    fn every_marked_provider_is_in_the_catalogue() {
        for (name, _) in MARKS {
            assert!(Provider::named(name).is_ok(), "{name}");
        }
        assert!(MARKS.is_sorted_by_key(|(name, _)| *name));
    }
}
