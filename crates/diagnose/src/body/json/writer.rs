//! The serializer that wrote a text, as far as its style shows it.

use super::census::Census;
use super::character::Class;
use super::escaping;
use super::layout::{Layout, Lines};
use super::member::{Objects, Order};
use super::number::Form;

/// A kind of serializer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writer {
    JavaScript,
    Python,
    Pydantic,
    Php,
    Go,
    Jackson,
    Gson,
    DotNet,
    Jsonb,
    Formatter,
}

/// The parts of a text that a serializer may have changed. A part that it kept does not show its
/// style.
#[derive(Clone, Copy, Debug)]
pub(super) struct Changes {
    pub(super) numbers: bool,
    pub(super) order: bool,
}

impl Writer {
    /// Returns the serializer that has probably written the text of `census` in `layout`.
    /// `changes` are the parts of the text that it did not keep.
    pub(super) fn of(census: &Census<'_>, layout: Option<&Layout>, changes: Changes) -> Self {
        let escapes = escaping::own(census).escaped;
        let escapes = |class| escapes.contains(class);
        if let Some(writer) = Self::of_escapes(census, &escapes) {
            return writer;
        }
        let Some(layout) = layout else {
            return match escapes(Class::NonAscii) {
                true => Self::Python,
                false => Self::Formatter,
            };
        };
        match layout.lines {
            Lines::Members(_) => Self::Jackson,
            Lines::Each(_) if layout.colon == " : " => Self::Jackson,
            _ if escapes(Class::NonAscii) => Self::Python,
            Lines::One if layout.colon == ": " => {
                match changes.order && is_sorted(census.text, Order::Length) {
                    true => Self::Jsonb,
                    false => Self::Python,
                }
            }
            // Gson writes every number as a double.
            Lines::One if changes.numbers && census.numbers.changes(Form::Shortest) => {
                match census.numbers.has_integers() {
                    true => Self::Pydantic,
                    false => Self::Gson,
                }
            }
            Lines::One if changes.order && is_sorted(census.text, Order::Name) => Self::Go,
            Lines::One => Self::JavaScript,
            _ => Self::Formatter,
        }
    }

    /// Returns the serializer whose escapes are in the text, if they are special.
    fn of_escapes(census: &Census<'_>, escapes: &dyn Fn(Class) -> bool) -> Option<Self> {
        let tallies: Vec<_> = census.classes().map(|class| census.tally(class)).collect();
        let has_upper = tallies.iter().any(|tally| tally.has_upper);
        let has_lower = tallies.iter().any(|tally| tally.has_lower);
        let has_plain = |class| census.tally(class).has_plain;
        // With flags, PHP escapes ASCII in upper case, and all else in lower case.
        if escapes(Class::Slash) || (has_upper && has_lower) {
            return Some(Self::Php);
        }
        let html = [
            Class::Angle,
            Class::Ampersand,
            Class::Apostrophe,
            Class::Plus,
        ];
        if has_upper && html.into_iter().any(has_plain) {
            return Some(Self::Jackson);
        }
        if has_upper || escapes(Class::Plus) || escapes(Class::Quote) {
            return Some(Self::DotNet);
        }
        if escapes(Class::Equals) {
            return Some(Self::Gson);
        }
        if escapes(Class::Apostrophe) || (escapes(Class::Angle) && has_plain(Class::Ampersand)) {
            return Some(Self::DotNet);
        }
        (escapes(Class::Angle) || escapes(Class::Ampersand)).then_some(Self::Go)
    }

    /// Returns the name of the serializer, with its article if it needs one.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::JavaScript => "`JSON.stringify` of JavaScript",
            Self::Python => "`json.dumps` of Python",
            Self::Pydantic => "pydantic or orjson of Python",
            Self::Php => "`json_encode` of PHP",
            Self::Go => "`json.Marshal` of Go",
            Self::Jackson => "Jackson of Java",
            Self::Gson => "Gson of Java",
            Self::DotNet => "`JsonSerializer` of .NET",
            Self::Jsonb => "the `jsonb` type of PostgreSQL",
            Self::Formatter => "an editor or a formatter",
        }
    }

    /// Returns what to do, as one sentence.
    pub(crate) fn fix(self) -> &'static str {
        match self {
            Self::JavaScript => {
                "verify the raw body, in Express `express.raw({ type: 'application/json' })`, not \
                 `JSON.stringify(req.body)`"
            }
            Self::Python | Self::Pydantic => {
                "verify the raw body, in Flask `request.get_data()`, in Django `request.body` or \
                 in FastAPI `await request.body()`, not the parsed body written anew"
            }
            Self::Php => {
                "verify the raw body, in PHP `file_get_contents('php://input')` or in Laravel \
                 `$request->getContent()`, not `json_encode` of the parsed body"
            }
            Self::Go => {
                "verify the raw body, in Go `io.ReadAll(r.Body)` or in Rails `request.raw_post`, \
                 not `json.Marshal` or `to_json` of the parsed body"
            }
            Self::Jackson | Self::Gson => {
                "verify the raw body, in Spring a parameter `@RequestBody byte[] body`, not an \
                 object that Jackson or Gson writes anew"
            }
            Self::DotNet => {
                "verify the raw body, in ASP.NET Core the stream `Request.Body`, not \
                 `JsonSerializer.Serialize` of a model"
            }
            Self::Jsonb => {
                "store the raw body in a column of the type `bytea` or `text`, because `jsonb` \
                 keeps neither white space nor the order of members"
            }
            Self::Formatter => {
                "verify the bytes that arrived, not JSON that a framework, an editor or `jq` has \
                 formatted"
            }
        }
    }
}

/// Whether the members of all objects are sorted by `order`.
fn is_sorted(text: &[u8], order: Order) -> bool {
    Objects::of(text).is_some_and(|objects| objects.have_order() && objects.are_sorted(order))
}
