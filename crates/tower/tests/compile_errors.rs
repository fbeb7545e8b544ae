//! Programs that do not compile: the error of the compiler names the cause.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The part that the programs share: a layer, and a handler for it.
const SHARED: &str = r#"
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower_hookgate::{HookgateLayer, Secret, VerifiedBody};
use tower_layer::Layer;
use tower_service::Service;

type Answer = Response<Full<Bytes>>;

/// Has the bound of a server.
fn serve<B, S: Service<Request<B>>>(_: S, _: B) {}

/// Serves the layered `handler` with `body`.
macro_rules! call {
    ($handler:expr, $body:expr) => {
        let secret = Secret::new("whsec_5f0c8a6de2b94a13").unwrap();
        let layer = HookgateLayer::provider("stripe", secret).unwrap();
        serve(layer.layer($handler), $body);
    };
}

macro_rules! handler {
    ($name:ident, $body:ty) => {
        impl Service<Request<$body>> for $name {
            type Response = Answer;
            type Error = Infallible;
            type Future = Ready<Result<Answer, Infallible>>;
            fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                Poll::Ready(Ok(()))
            }
            fn call(&mut self, _: Request<$body>) -> Self::Future {
                ready(Ok(Response::default()))
            }
        }
    };
}
"#;

/// A program with the name of its binary and the texts that its error must contain.
struct Program {
    name: &'static str,
    code: &'static str,
    errors: &'static [&'static str],
}

const PROGRAMS: [Program; 4] = [
    // The control: without a fault, the program compiles.
    Program {
        name: "sound",
        code: "#[derive(Clone)] struct Handler; handler!(Handler, VerifiedBody);
               fn main() { call!(Handler, Full::<Bytes>::default()); }",
        errors: &[],
    },
    Program {
        name: "not_clone",
        code: "struct Handler; handler!(Handler, VerifiedBody);
               fn main() { call!(Handler, Full::<Bytes>::default()); }",
        errors: &[
            "`HookgateLayer` cannot wrap `Handler`",
            "`tower::buffer::BufferLayer`",
        ],
    },
    Program {
        name: "other_body",
        code: "#[derive(Clone)] struct Handler; handler!(Handler, String);
               fn main() { call!(Handler, Full::<Bytes>::default()); }",
        errors: &[
            "`HookgateLayer` cannot wrap `Handler`",
            "must take `http::Request<tower_hookgate::VerifiedBody>`",
        ],
    },
    Program {
        name: "no_body",
        code: "#[derive(Clone)] struct Handler; handler!(Handler, VerifiedBody);
               fn main() { call!(Handler, 7_u8); }",
        errors: &[
            "`HookgateLayer` cannot read the request body `u8`",
            "`http_body_util::Full`",
        ],
    },
];

/// Writes the programs as a package of their own, outside of the workspace.
fn package() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile-errors");
    let source = folder.join("src/bin");
    fs::create_dir_all(&source).unwrap();
    let this = env!("CARGO_MANIFEST_DIR");
    let manifest = format!(
        "[package]\nname = \"compile-errors\"\nedition = \"2024\"\n[workspace]\n[dependencies]\n\
         bytes = \"1\"\nhttp = \"1\"\nhttp-body-util = \"0.1\"\ntower-layer = \"0.3\"\n\
         tower-service = \"0.3\"\ntower-hookgate = {{ path = {this:?} }}\n"
    );
    fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    let lock = Path::new(this).join("../../Cargo.lock");
    fs::copy(lock, folder.join("Cargo.lock")).unwrap();
    for program in &PROGRAMS {
        let code = format!("{SHARED}\n{}\n", program.code);
        fs::write(source.join(program.name).with_extension("rs"), code).unwrap();
    }
    folder
}

#[test]
fn the_compiler_names_the_cause() {
    let folder = package();
    for program in &PROGRAMS {
        let output = Command::new(env!("CARGO"))
            .args(["check", "--offline", "--quiet", "--bin", program.name])
            .current_dir(&folder)
            .env("CARGO_TARGET_DIR", folder.join("target"))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        // The compiler breaks long notes into lines.
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (name, expected) = (program.name, program.errors.is_empty());
        assert_eq!(output.status.success(), expected, "{name}: {text}");
        for error in program.errors {
            assert!(text.contains(error), "{name}: {error:?} is not in {text}");
        }
    }
}
