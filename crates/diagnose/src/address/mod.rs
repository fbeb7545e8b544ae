//! Other spellings of the signed address, and other methods.

mod escapes;
pub(crate) mod forwarding;
mod host_kind;
mod method;
mod query;
mod sign;
mod spelling;
mod summary;
#[cfg(test)]
mod tests;
mod url;

use std::ops::ControlFlow;

use hookgate_core::Scheme;

use self::forwarding::Forwarding;
pub(crate) use self::sign::signs;
use self::spelling::Spellings;
use self::summary::Mismatch;
use self::url::Address;
use crate::attempt::{Case, Change, Edit, Effort, VisitEdit};

/// Visits the edits that may undo the cause, the most likely ones first.
pub(crate) fn each(case: Case<'_>, effort: Effort, visit: VisitEdit<'_>) -> ControlFlow<()> {
    method::each(case, effort, visit)?;
    if !signs_target(&case.setup.scheme) {
        return ControlFlow::Continue(());
    }
    let forwarding = Forwarding::of(&case.capture.headers, case.capture.target.as_ref());
    let Some(base) = verified(case, &forwarding) else {
        return ControlFlow::Continue(());
    };
    Spellings::new(&base, &forwarding, &case.capture.headers).each(effort, &mut |signed| {
        let parts = signed.differences(&base);
        let is_missing = case.setup.url.is_none() && case.setup.scheme.needs_url();
        if parts.is_empty() && !is_missing {
            return ControlFlow::Continue(());
        }
        let mismatch = Mismatch {
            setup: case.setup,
            signed: &signed,
            verified: &base,
            parts: &parts,
        };
        visit(Edit {
            cause: mismatch.cause(),
            change: Change::Url(signed.to_url()),
            cost: 1 + u8::try_from(parts.len()).unwrap_or(u8::MAX).max(1),
        })
    })
}

/// Whether the signature covers the address of the request, fully or partly.
fn signs_target(scheme: &Scheme) -> bool {
    scheme.needs_url()
        || scheme.variants().any(|variant| {
            let signed = variant.signed();
            // A sender may cover any component, beside the required ones (RFC 9421 §2).
            signed.starts_with("RFC 9421") || signed.contains("{path")
        })
}

/// Returns the address that was verified: the configured URL with the query of the request.
/// Without a configured URL, it is the address of the request.
fn verified(case: Case<'_>, forwarding: &Forwarding) -> Option<Address> {
    let Some(url) = &case.setup.url else {
        return forwarding.assembled();
    };
    let mut address = Address::parse(url)?;
    if let Some(target) = &case.capture.target {
        address.query = target.query().map(str::to_owned);
    }
    Some(address)
}
