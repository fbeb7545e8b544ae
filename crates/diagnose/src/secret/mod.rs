//! Other texts and readings of the configured secret, and signs that it is not a secret.
//!
//! # Security
//!
//! A summary names the kind of a mistake, never a character of a secret.

mod copies;
mod kinds;
mod pem;
mod placeholder;
mod readings;
mod signs;
#[cfg(test)]
mod tests;
mod typing;

use std::ops::ControlFlow;

use hookgate_core::internal::{Format, formats};

use self::copies::Copy;
pub(crate) use self::signs::signs;
use crate::attempt::{Case, Change, Edit, Effort, VisitEdit};
use crate::cause::{Cause, Code};
use crate::setup::SecretText;

/// Most edits of [`Effort::Common`].
const COMMON: usize = 40;

/// The highest cost of a reading that is tried together with changes of other inputs.
const USUAL: u8 = 3;

/// The longest text that is edited, in bytes. A private key in PEM fits; a longer text is another
/// file.
const MAX_EDITED: usize = 8 * 1024;

/// Visits the edits that may undo the cause, the most likely ones first.
pub(crate) fn each(case: Case<'_>, effort: Effort, visit: VisitEdit<'_>) -> ControlFlow<()> {
    let setup = case.setup;
    let Some(text) = setup.secrets.first() else {
        return ControlFlow::Continue(());
    };
    let formats = formats(&setup.scheme, setup.variant.as_deref());
    let mut candidates = Candidates {
        seen: vec![text.clone()],
        left: match effort {
            Effort::Common => COMMON,
            Effort::Full => usize::MAX,
        },
        visit,
    };
    candidates.further_secrets(&setup.secrets)?;
    if text.expose().len() > MAX_EDITED {
        return ControlFlow::Continue(());
    }
    let copies = copies::each(text);
    candidates.copies(&copies)?;
    if has_public_key(case) {
        for (code, copy) in pem::each(text, &formats) {
            candidates.visit(code, &copy)?;
        }
    }
    candidates.readings(text, &formats, effort)?;
    if effort == Effort::Common {
        return ControlFlow::Continue(());
    }
    for copy in &copies {
        candidates.readings_of_copy(copy, &formats)?;
    }
    typing::each(text, &mut |text, summary, cost| {
        (candidates.visit)(Edit {
            cause: Cause::new(Code::SecretCopiedBadly, summary),
            change: Change::Secret(text),
            cost,
        })
    })
}

/// Whether a variant of the scheme verifies with a public key.
fn has_public_key(case: Case<'_>) -> bool {
    let mut variants = case.setup.scheme.variants();
    variants.any(|variant| variant.has_public_key())
}

/// Passes each distinct candidate on.
struct Candidates<'v> {
    seen: Vec<SecretText>,
    left: usize,
    visit: VisitEdit<'v>,
}

impl Candidates<'_> {
    fn further_secrets(&mut self, secrets: &[SecretText]) -> ControlFlow<()> {
        for (text, number) in secrets.iter().zip(1..).skip(1) {
            let summary = format!(
                "the delivery is signed with the secret number {number}, not with the first one"
            );
            let fix = format!(
                "put the secret number {number} in front, or keep both while the provider \
                 replaces the secret"
            );
            let cause = Cause::new(Code::SecretOther, summary).with_fix(fix);
            self.pass(cause, text, 1)?;
        }
        ControlFlow::Continue(())
    }

    fn copies(&mut self, copies: &[Copy]) -> ControlFlow<()> {
        for copy in copies {
            self.visit(Code::SecretCopiedBadly, copy)?;
        }
        ControlFlow::Continue(())
    }

    fn readings(
        &mut self,
        text: &SecretText,
        formats: &[Format<'_>],
        effort: Effort,
    ) -> ControlFlow<()> {
        for reading in readings::each(text, formats) {
            if effort == Effort::Full || reading.cost <= USUAL {
                self.visit(Code::SecretDecoding, &reading)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Visits the readings of a text that was copied badly, too.
    fn readings_of_copy(&mut self, copy: &Copy, formats: &[Format<'_>]) -> ControlFlow<()> {
        for reading in readings::each(&copy.text, formats) {
            let both = Copy {
                summary: format!("{}, and {}", copy.summary, reading.summary),
                cost: copy.cost + reading.cost,
                text: reading.text,
            };
            self.visit(Code::SecretCopiedBadly, &both)?;
        }
        ControlFlow::Continue(())
    }

    fn visit(&mut self, code: Code, copy: &Copy) -> ControlFlow<()> {
        self.pass(
            Cause::new(code, copy.summary.clone()),
            &copy.text,
            copy.cost,
        )
    }

    fn pass(&mut self, cause: Cause, text: &SecretText, cost: u8) -> ControlFlow<()> {
        if self.left == 0 || self.seen.contains(text) {
            return ControlFlow::Continue(());
        }
        self.left -= 1;
        self.seen.push(text.clone());
        (self.visit)(Edit {
            cause,
            change: Change::Secret(text.clone()),
            cost,
        })
    }
}
