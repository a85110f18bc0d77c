//! A file server for this machine only. In: HTTP requests. Out: files under `web/`.

use crate::{build, run::root};
use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use tokio::net::TcpListener;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

/// What every answer carries: never a stale file, and the isolation that shared memory needs.
const HEADERS: [(HeaderName, &str); 5] = [
    (header::CACHE_CONTROL, "no-cache"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Build the page unless told not to, then serve it until stopped.
pub(crate) fn serve(port: u16, no_build: bool) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        // The port first: nobody should wait for a build to hear that it was taken.
        let listener = listen(port).await?;
        if !no_build {
            build::build(build::WEB)?;
        }
        println!("MotionLens is at http://{}/ (Ctrl+C stops it)", listener.local_addr()?);
        axum::serve(listener, router(&root()?.join("web"))).await.context("serving web/")
    })
}

async fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.with_context(|| {
        format!("port {port} of 127.0.0.1 is not free: choose another with `--port {}`", port ^ 1)
    })
}

fn router(web: &Path) -> Router {
    with_headers(Router::new().fallback_service(ServeDir::new(web)))
}

fn with_headers(router: Router) -> Router {
    HEADERS.into_iter().fold(router, |router, (name, value)| {
        router.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    })
}

/// Serve folders under paths (`/peers`) while this program goes on, and say at which address.
pub(crate) fn in_background(folders: &[(&str, PathBuf)]) -> Result<String> {
    let router = folders
        .iter()
        .fold(Router::new(), |router, (path, folder)| router.nest_service(path, ServeDir::new(folder)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let listener = runtime.block_on(listen(0))?;
    let address = format!("http://{}", listener.local_addr()?);
    std::thread::spawn(move || runtime.block_on(axum::serve(listener, with_headers(router)).into_future()));
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    /// One request to a server with a page and a secret beside it: the answer, head and body.
    fn ask(path: &str, headers: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let web = folder.path().join("web");
        std::fs::create_dir(&web).unwrap();
        std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        std::fs::write(web.join("index.html"), "the page").unwrap();
        std::fs::write(web.join("a.wasm"), "0123456789").unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let listener = runtime.block_on(listen(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        let client = std::thread::spawn(move || {
            let mut stream = std::net::TcpStream::connect(address).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        });
        runtime.block_on(async {
            let server = tokio::spawn(axum::serve(listener, router(&web)).into_future());
            let answer = tokio::task::spawn_blocking(|| client.join().unwrap()).await.unwrap();
            server.abort();
            answer
        })
    }

    #[test]
    fn the_page_is_served_fresh_and_isolated() {
        let answer = ask("/", "");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("the page"), "{answer}");
        for (name, value) in HEADERS {
            assert!(answer.contains(&format!("{name}: {value}")), "{answer}");
        }
    }

    #[test]
    fn wasm_has_the_type_that_streaming_compilation_needs() {
        assert!(ask("/a.wasm", "").contains("content-type: application/wasm"));
    }

    #[test]
    fn a_range_is_answered_with_that_range() {
        let answer = ask("/a.wasm", "Range: bytes=2-4\r\n");
        assert!(answer.starts_with("HTTP/1.1 206") && answer.ends_with("\r\n\r\n234"), "{answer}");
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        for path in ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/..%5csecret.txt", "/none"]
        {
            let answer = ask(path, "");
            assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("secret"), "{path}: {answer}");
        }
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let first = runtime.block_on(listen(0)).unwrap();
        let port = first.local_addr().unwrap().port();
        let message = runtime.block_on(listen(port)).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains(&port.to_string()) && message.contains("--port"), "{message}");
    }
}
