//! The causes that a rewritten form proves.

use crate::cause::{Cause, Code};

pub(super) fn form_rewritten() -> Cause {
    Cause::new(
        Code::BodyFormRewritten,
        "the fields of the form were decoded, and then encoded in another way",
    )
}

pub(super) fn form_reordered() -> Cause {
    Cause::new(
        Code::BodyFormRewritten,
        "the fields of the form were decoded, and then encoded in another order",
    )
}

pub(super) fn field_edited() -> Cause {
    Cause::new(
        Code::BodyFormRewritten,
        "a field was added to the form, or the blanks around one value were removed",
    )
}

pub(super) fn decoded_field() -> Cause {
    Cause::new(
        Code::BodyFormRewritten,
        "the provider sent a form, and the body is only the decoded JSON of one field",
    )
    .with_fix("verify the raw bytes of the form, and read the JSON in its field afterwards")
}

pub(super) fn form_became_json() -> Cause {
    Cause::new(
        Code::BodyTypeChanged,
        "the provider sent a form, and its fields were written as JSON",
    )
}

pub(super) fn json_became_form() -> Cause {
    Cause::new(
        Code::BodyTypeChanged,
        "the provider sent JSON, and a parser of forms has read it",
    )
}

pub(super) fn became_multipart() -> Cause {
    Cause::new(
        Code::BodyTypeChanged,
        "the fields of the body were written as `multipart/form-data`",
    )
}

pub(super) fn was_multipart() -> Cause {
    Cause::new(
        Code::BodyTypeChanged,
        "the provider sent `multipart/form-data`, and its fields were written in another type",
    )
}
