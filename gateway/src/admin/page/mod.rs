//! The files of the inspector's page, embedded in the binary, and their response headers.
//!
//! The page is a static shell: it holds no data, and needs no token. Its scripts read everything
//! from the API. A new file of the page is a line in [`ASSETS`].

/// The headers of every file of the page, beside `Content-Type` and `Content-Length`.
///
/// `require-trusted-types-for` makes the browser refuse `innerHTML` and its kin, so that no text of
/// a sender can become markup even by a mistake in a script.
pub(crate) const HEADERS: [(&str, &str); 6] = [
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
         img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cache-control", "no-cache"),
];

/// A file of the page.
pub(crate) struct Asset {
    /// The path under which the admin address serves the file.
    pub(crate) path: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) body: &'static [u8],
}

/// Returns the file of the page with this path, or nothing.
pub(crate) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! assets {
    ($($path:literal = $file:literal, $content_type:expr;)+) => {
        &[$(Asset {
            path: $path,
            content_type: $content_type,
            body: include_bytes!($file),
        }),+]
    };
}

const ASSETS: &[Asset] = assets! {
    "/" = "index.html", "text/html; charset=utf-8";
    "/page.css" = "page.css", "text/css; charset=utf-8";
    "/icon.svg" = "icon.svg", "image/svg+xml";
    "/page/acts.js" = "acts.js", JAVASCRIPT;
    "/page/api.js" = "api.js", JAVASCRIPT;
    "/page/body.js" = "body.js", JAVASCRIPT;
    "/page/chart.js" = "chart.js", JAVASCRIPT;
    "/page/detail.js" = "detail.js", JAVASCRIPT;
    "/page/dialog.js" = "dialog.js", JAVASCRIPT;
    "/page/dom.js" = "dom.js", JAVASCRIPT;
    "/page/entry.js" = "entry.js", JAVASCRIPT;
    "/page/filter.js" = "filter.js", JAVASCRIPT;
    "/page/format.js" = "format.js", JAVASCRIPT;
    "/page/json.js" = "json.js", JAVASCRIPT;
    "/page/keys.js" = "keys.js", JAVASCRIPT;
    "/page/list.js" = "list.js", JAVASCRIPT;
    "/page/main.js" = "main.js", JAVASCRIPT;
    "/page/queue.js" = "queue.js", JAVASCRIPT;
    "/page/queued.js" = "queued.js", JAVASCRIPT;
    "/page/reasons.js" = "reasons.js", JAVASCRIPT;
    "/page/router.js" = "router.js", JAVASCRIPT;
    "/page/row.js" = "row.js", JAVASCRIPT;
    "/page/status.js" = "status.js", JAVASCRIPT;
    "/page/stream.js" = "stream.js", JAVASCRIPT;
    "/page/summary.js" = "summary.js", JAVASCRIPT;
    "/page/text.js" = "text.js", JAVASCRIPT;
    "/page/theme.js" = "theme.js", JAVASCRIPT;
};
