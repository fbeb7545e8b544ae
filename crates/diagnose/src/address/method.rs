//! Other methods that the provider may have signed.

use std::ops::ControlFlow;

use hookgate_core::Scheme;
use http::Method;

use crate::attempt::{Case, Change, Edit, Effort, VisitEdit};
use crate::cause::{Cause, Code};

const METHODS: [Method; 5] = [
    Method::POST,
    Method::GET,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
];
/// How many methods are tried together with other changes.
const COMMON: usize = 2;
/// Headers in which proxies and frameworks keep the method that the client used.
const ORIGINAL: [&str; 4] = [
    "x-original-method",
    "x-forwarded-method",
    "x-http-method-override",
    "x-method-override",
];

/// Visits the other methods that the provider may have signed.
pub(super) fn each(case: Case<'_>, effort: Effort, visit: VisitEdit<'_>) -> ControlFlow<()> {
    if !depends_on_method(&case.setup.scheme) {
        return ControlFlow::Continue(());
    }
    let headers = &case.capture.headers;
    let original = ORIGINAL.iter().filter_map(|name| {
        let method = Method::from_bytes(headers.get(*name)?.as_bytes()).ok()?;
        METHODS.contains(&method).then_some(method)
    });
    let mut tried = vec![case.capture.method.clone()];
    let count = match effort {
        Effort::Common => COMMON,
        Effort::Full => METHODS.len(),
    };
    for method in original.chain(METHODS) {
        if tried.contains(&method) || tried.len() > count {
            continue;
        }
        tried.push(method.clone());
        visit(Edit {
            cause: mismatch(&method, &case.capture.method),
            change: Change::Method(method),
            cost: 2,
        })?;
    }
    ControlFlow::Continue(())
}

/// Whether another method can change the verdict.
fn depends_on_method(scheme: &Scheme) -> bool {
    scheme.variants().any(|variant| {
        let signed = variant.signed();
        signed.contains("{method}")
            || signed.contains("@method")
            || *variant.method() != Method::POST
    })
}

fn mismatch(signed: &Method, arrived: &Method) -> Cause {
    Cause::new(
        Code::MethodMismatch,
        format!("the provider sent a {signed} request, but the request arrived as {arrived}"),
    )
    .with_fix(format!(
        "forward the request with the method {signed}, and check the proxies and redirects that \
         change it"
    ))
}
