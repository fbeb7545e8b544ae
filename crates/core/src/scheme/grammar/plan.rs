//! Reads one way to sign: a scheme without `variants`, or one of its variants.

use http::{HeaderName, Method};

use super::values::{DeliveryMethod, SchemeAlgorithm};
use super::{SCHEME_KEYS, checks, handshake, pointers, signature};
use crate::document::{Section, Value};
use crate::limits::MAX_READINGS;
use crate::mac::{Algorithm, KeyEncodingScope, KeyReadings, KeyRule};
use crate::message_signature::Policy;
use crate::scheme::ambiguity::{FreeValue, SchemeContext};
use crate::scheme::delimiters::Delimiters;
use crate::scheme::field::TimeUnit;
use crate::scheme::handshake::{Condition, RequiredValue};
use crate::scheme::json::Pointer;
use crate::scheme::location::Location;
use crate::scheme::message::Message;
use crate::scheme::template::{self, Variable};
use crate::scheme::{
    BodyBinding, BodyForm, IdField, JwtAlgorithm, Plan, SignatureKind, TimestampField, UrlRule,
};
use crate::time::Window;

/// The keys that only a variant has.
#[derive(Default)]
struct VariantKeys {
    name: Option<String>,
    when: Vec<Condition>,
    opt_in: bool,
}

/// Reads a scheme without variants.
pub(super) fn read(section: &Section<'_>) -> Option<Plan> {
    for key in SCHEME_KEYS {
        section.value(key);
    }
    read_plan(section, VariantKeys::default())
}

/// Reads a variant.
pub(super) fn read_variant(section: &Section<'_>) -> Option<Plan> {
    let name = section.optional::<String>("name");
    let when = handshake::read_conditions(section, "when");
    let in_head =
        |location: &Location| matches!(location, Location::Header(_) | Location::Query(_));
    if !when.iter().all(|condition| in_head(&condition.location)) {
        section.wrong("when", "expected header:NAME or query:NAME");
    }
    let opt_in = section.optional("opt_in").unwrap_or(false);
    read_plan(section, VariantKeys { name, when, opt_in })
}

fn read_plan(section: &Section<'_>, variant: VariantKeys) -> Option<Plan> {
    let method = section.optional::<DeliveryMethod>("method");
    let (alg, algorithms) = read_algorithms(section);
    let key = read_key(section);
    let (policy, signature) = signature::read(section, alg);
    let timestamp = section.section("ts").and_then(|ts| read_timestamp(&ts));
    let (ids, mut exclude) = read_id(section);
    let event_type = section.optional::<Location>("type");
    let forbidden = section.list::<HeaderName>("forbid");
    let require = read_require(section, alg);
    let each = read_each(section);
    let body_form = section.optional::<BodyForm>("body").unwrap_or_default();
    let binds_body = section.optional::<bool>("binds_body");
    let bearer = section.optional::<bool>("bearer").unwrap_or(false);
    let url = read_url(section);
    let context = SchemeContext {
        timestamp: timestamp.as_ref().map(|ts| (&ts.location, ts.unit)),
        ids: &ids,
        json_body: body_form.is_delimited(),
        form_start: url.form_start.as_deref(),
    };
    let (kind, message) = match policy {
        Some(policy) => message_signature(policy),
        None => read_message(section, alg, algorithms, context, &mut exclude),
    };
    section.deny_unknown();

    let plan = Plan {
        name: variant.name,
        method: method.map_or(Method::POST, |method| method.0),
        when: variant.when,
        opt_in: variant.opt_in,
        // A wrong algorithm has been reported. Any value lets the checks of other keys run.
        algorithm: alg.map_or(Algorithm::HmacSha256, SchemeAlgorithm::algorithm),
        kind: kind?,
        key,
        signature: signature?,
        timestamp,
        id: (!ids.is_empty()).then_some(IdField {
            locations: ids,
            exclude,
            signed: false,
        }),
        event_type,
        message: message?,
        forbidden,
        require,
        each,
        body_form,
        body: BodyBinding::Unbound,
        bearer,
        detached: match alg {
            Some(SchemeAlgorithm::Jws(..)) => section.optional("msg"),
            _ => None,
        },
        url,
        constrains_body: false,
        two_readings: false,
        json: Vec::new(),
        multipart: false,
    };
    complete(section, plan, binds_body)
}

/// Derives from the other parts of `plan` how it reads the body, and checks it.
fn complete(section: &Section<'_>, mut plan: Plan, binds_body: Option<bool>) -> Option<Plan> {
    // The message of an element is known only after the whole body has been parsed.
    plan.message.streams &= plan.each.is_none() && !plan.signature.location.is_in_body();
    plan.body = checks::binding(&plan, binds_body);
    plan.two_readings = plan.url.toggle_port
        || plan
            .message
            .placeholders()
            .any(|value| matches!(value.variable, Variable::EitherCase(_)));
    plan.constrains_body = plan.body_form != BodyForm::Any
        || plan.body == BodyBinding::FormFields
        || plan.message.constrains_body();
    checks::check_plan(section, &mut plan, binds_body);
    let locations = plan.locations();
    let multipart = locations
        .iter()
        .any(|at| matches!(at, Location::Multipart(_)));
    plan.json = pointers(section, &locations)?;
    plan.multipart = multipart;
    Some(plan)
}

/// Reads `alg`. Returns the algorithm that signs, and all algorithms of a JSON Web Token.
///
/// A list has HMACs alone. If a public key were also the secret of an HMAC, a forger who has the
/// public key could choose that HMAC and sign.
fn read_algorithms(section: &Section<'_>) -> (Option<SchemeAlgorithm>, Vec<JwtAlgorithm>) {
    let is_list = matches!(section.value("alg"), Some(Value::Array(_)));
    let all = match is_list {
        true => section.required_list::<SchemeAlgorithm>("alg"),
        false => section.required("alg").into_iter().collect(),
    };
    let mut jwt = Vec::new();
    for one in &all {
        if let SchemeAlgorithm::Jwt(name, algorithm) | SchemeAlgorithm::Jws(name, algorithm) = *one
        {
            jwt.push(JwtAlgorithm { name, algorithm });
        }
    }
    let are_hmacs = jwt.len() == all.len()
        && !jwt
            .iter()
            .any(|jwt| matches!(jwt.algorithm, Algorithm::Public(_)));
    let are_distinct = (1..jwt.len()).all(|at| !jwt[..at].contains(&jwt[at]));
    if is_list && !(are_hmacs && are_distinct) {
        section.wrong(
            "alg",
            "expected one of the algorithms, or a list of different ones of jwt-hs256, jwt-hs384, \
             jwt-hs512",
        );
    }
    (all.first().copied(), jwt)
}

fn message_signature(policy: Policy) -> (Option<SignatureKind>, Option<Message>) {
    let kind = SignatureKind::MessageSignature(policy);
    (Some(kind), Some(Message::from_head()))
}

/// Reads the signed message, from `alg` and the template `msg`.
fn read_message(
    section: &Section<'_>,
    alg: Option<SchemeAlgorithm>,
    algorithms: Vec<JwtAlgorithm>,
    context: SchemeContext<'_>,
    exclude: &mut Delimiters,
) -> (Option<SignatureKind>, Option<Message>) {
    match alg {
        Some(SchemeAlgorithm::Plain(Algorithm::Token)) => {
            (Some(SignatureKind::Token), Some(Message::raw_body()))
        }
        Some(SchemeAlgorithm::Jwt(..)) => (
            Some(SignatureKind::Jwt { algorithms }),
            Some(Message::from_head()),
        ),
        Some(SchemeAlgorithm::Jws(..)) => {
            let message = read_template(section, "{jws-header}.", context, exclude);
            (Some(SignatureKind::Jwt { algorithms }), message)
        }
        None | Some(SchemeAlgorithm::Plain(_)) => {
            let Some(template) = section.required::<String>("msg") else {
                return (None, None);
            };
            let free = read_free(section);
            let message = Message::compile(&template, context, free.as_ref(), exclude)
                .map_err(|message| section.wrong("msg", message))
                .ok();
            (Some(SignatureKind::Message { template }), message)
        }
    }
}

/// Reads `msg`. The signature also covers `before`.
fn read_template(
    section: &Section<'_>,
    before: &str,
    context: SchemeContext<'_>,
    exclude: &mut Delimiters,
) -> Option<Message> {
    let template = section.required::<String>("msg")?;
    Message::compile(&format!("{before}{template}"), context, None, exclude)
        .map_err(|message| section.wrong("msg", message))
        .ok()
}

/// Reads `free`: the value that may contain any character in some deliveries.
fn read_free(section: &Section<'_>) -> Option<FreeValue> {
    let free = section.section("free")?;
    let location = free.required::<Location>("in");
    let mut when = handshake::read_conditions(&free, "when");
    let when = match (when.pop(), when.is_empty()) {
        (Some(condition), true) if condition.value.is_some() => Some(condition),
        _ => {
            free.wrong("when", "expected one location and its text");
            None
        }
    };
    free.deny_unknown();
    Some(FreeValue {
        location: location?,
        when: when?,
    })
}

/// Reads `key`: one table, or a list of tables with one reading of the secret each.
fn read_key(section: &Section<'_>) -> KeyReadings {
    let tables = match section.value("key") {
        Some(Value::Array(_)) => section.sections("key"),
        _ => section.section("key").into_iter().collect(),
    };
    if tables.len() > MAX_READINGS {
        section.wrong(
            "key",
            format!("expected one table, or a list of at most {MAX_READINGS}"),
        );
    }
    KeyReadings::new(tables.iter().map(read_key_rule).collect())
}

fn read_key_rule(key: &Section<'_>) -> KeyRule {
    let rule = KeyRule {
        only: key.optional("only"),
        strip: key.list("strip"),
        encoding: key.optional("enc").unwrap_or_default(),
        scope: match key.optional("if_prefixed") {
            Some(true) => KeyEncodingScope::IfPrefixed,
            _ => KeyEncodingScope::Always,
        },
        digest: key.optional("digest").unwrap_or_default(),
    };
    key.deny_unknown();
    rule
}

fn read_timestamp(ts: &Section<'_>) -> Option<TimestampField> {
    let location = ts.required::<Location>("in");
    let unit = ts.required::<TimeUnit>("unit");
    let past = ts.optional("past").unwrap_or(Window::DEFAULT.past());
    let future = ts.optional("future").unwrap_or(Window::DEFAULT.future());
    ts.deny_unknown();
    Some(TimestampField {
        location: location?,
        unit: unit?,
        window: Window::new(past, future),
    })
}

/// Reads `id`: a location, a list of locations, or a table with `in` and `exclude`. Returns the
/// locations and the excluded characters.
fn read_id(section: &Section<'_>) -> (Vec<Location>, Delimiters) {
    let Some(Value::Table(_)) = section.value("id") else {
        return (section.list::<Location>("id"), Delimiters::default());
    };
    let Some(id) = section.section("id") else {
        return (Vec::new(), Delimiters::default());
    };
    let location = id.required::<Location>("in");
    let exclude = id.optional::<String>("exclude").unwrap_or_default();
    id.deny_unknown();
    let exclude = Delimiters::new(exclude.into_bytes());
    (location.into_iter().collect(), exclude)
}

/// Reads `require` and, with a JSON Web Token, `claims`.
fn read_require(section: &Section<'_>, alg: Option<SchemeAlgorithm>) -> Vec<RequiredValue> {
    let mut require = handshake::read_required_values(section, "require");
    if !matches!(alg, Some(SchemeAlgorithm::Jwt(..))) {
        return require;
    }
    let Some(claims) = section.section("claims") else {
        return require;
    };
    for (name, value) in claims.raw() {
        match value.as_str().map(template::parse) {
            Some(Ok(template)) => require.push(RequiredValue {
                location: Location::Claim(name.as_str().into()),
                template,
            }),
            Some(Err(message)) => claims.wrong(name, message),
            None => claims.wrong(name, "expected a template"),
        }
    }
    require
}

fn read_each(section: &Section<'_>) -> Option<Pointer> {
    if section.value("each").and_then(Value::as_str) == Some("json:") {
        return Some(Pointer::root());
    }
    match section.optional::<Location>("each")? {
        Location::Json(pointer) => Some(pointer),
        _ => {
            section.wrong(
                "each",
                "expected json:/POINTER of an array, or json: for the whole body",
            );
            None
        }
    }
}

fn read_url(section: &Section<'_>) -> UrlRule {
    let Some(url) = section.section("url") else {
        return UrlRule::default();
    };
    let toggle_port = match url.optional::<String>("port").as_deref() {
        None => false,
        Some("toggle") => true,
        Some(_) => {
            url.wrong("port", "expected \"toggle\"");
            false
        }
    };
    let decode = url.optional::<String>("decode").unwrap_or_default();
    if !decode.bytes().all(|byte| byte.is_ascii_graphic())
        || decode.contains(['&', '=', '%', '#', '+', '{', '['])
    {
        url.wrong(
            "decode",
            "expected visible ASCII characters except & = % # + { [: these separate the fields of \
             a query or end a URL, and decoding them would make two URLs equal",
        );
    }
    let form_start = url.optional::<String>("form_start");
    if let Some(start) = &form_start
        && (start.is_empty()
            || start.starts_with(['?', '&'])
            || start.contains(|character| decode.contains(character)))
    {
        url.wrong(
            "form_start",
            "expected text that does not begin with ? or &, without characters of `decode`: an \
             escape in the query could otherwise become this text",
        );
    }
    url.deny_unknown();
    UrlRule {
        toggle_port,
        decode: decode.into_bytes(),
        form_start: form_start.map(Into::into),
    }
}
