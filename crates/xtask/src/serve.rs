//! A small file server for this machine only. In: HTTP requests. Out: files under `web/`.

use crate::{build, run::root};
use anyhow::{Result, anyhow};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tiny_http::{Header, Method, Request, Response, Server};

/// Requests answered at the same time; a video element holds one open while it plays.
const THREADS: usize = 8;

/// Build the page unless told not to, then serve it until stopped.
pub(crate) fn serve(port: u16, no_build: bool) -> Result<()> {
    // The port first: nobody should wait for a build to hear that it was taken.
    let server = listen(port)?;
    if !no_build {
        build::build(build::WEB)?;
    }
    let web = root()?.join("web");
    println!("MotionLens is at http://{}/ (Ctrl+C stops it)", server.server_addr());
    let server = Arc::new(server);
    let workers: Vec<_> = (0..THREADS)
        .map(|_| {
            let (server, web) = (server.clone(), web.clone());
            std::thread::spawn(move || {
                while let Ok(request) = server.recv() {
                    // A browser that went away in the middle of an answer is no error of ours.
                    let _ = answer(&web, request);
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().map_err(|_| anyhow!("a thread of the server panicked"))?;
    }
    Ok(())
}

fn listen(port: u16) -> Result<Server> {
    Server::http(("127.0.0.1", port)).map_err(|error| {
        anyhow!("port {port} of 127.0.0.1 is not free ({error}): choose another with `--port {}`", port ^ 1)
    })
}

fn answer(web: &Path, request: Request) -> std::io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(plain(405, "only GET and HEAD"));
    }
    let opened = resolve(web, request.url()).and_then(|path| File::open(&path).ok().map(|file| (path, file)));
    let Some((path, mut file)) = opened else {
        return request.respond(plain(404, "no such file"));
    };
    let length = file.metadata()?.len();
    let wanted = request.headers().iter().find(|header| header.field.equiv("Range"));
    let (status, range) = match wanted.map(|header| parse_range(header.value.as_str(), length)) {
        None => (200, 0..length),
        Some(Some(range)) => (206, range),
        Some(None) => {
            let unsatisfied = header("Content-Range", &format!("bytes */{length}"));
            return request.respond(plain(416, "no such range").with_header(unsatisfied));
        }
    };
    file.seek(SeekFrom::Start(range.start))?;
    let size = range.end - range.start;
    let mut response =
        Response::new(status.into(), headers(), file.take(size), usize::try_from(size).ok(), None)
            .with_chunked_threshold(usize::MAX)
            .with_header(header("Content-Type", content_type(&path)));
    if status == 206 {
        let content_range = format!("bytes {}-{}/{length}", range.start, range.end - 1);
        response.add_header(header("Content-Range", &content_range));
    }
    request.respond(response)
}

/// The file of a URL, or nothing for anything that is not a plain file under `web`.
fn resolve(web: &Path, url: &str) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = percent_encoding::percent_decode_str(path).decode_utf8().ok()?;
    let inside = Path::new(path.as_ref());
    if path.contains('\\') || !inside.components().all(|part| matches!(part, Component::Normal(_))) {
        return None;
    }
    let mut file = web.join(inside);
    if file.is_dir() {
        file.push("index.html");
    }
    // A link may point anywhere: only what really lies under `web` is served.
    let (file, web) = (file.canonicalize().ok()?, web.canonicalize().ok()?);
    (file.starts_with(web) && file.is_file()).then_some(file)
}

/// The one byte range of a `Range` header, or nothing when it lies outside the file.
fn parse_range(value: &str, length: u64) -> Option<Range<u64>> {
    let (first, last) = value.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => first..last.saturating_add(1).min(length),
        (Ok(first), Err(_)) if last.is_empty() => first..length,
        (Err(_), Ok(suffix)) if first.is_empty() => length.saturating_sub(suffix)..length,
        _ => return None,
    };
    (range.start < range.end).then_some(range)
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()).unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "md" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// What every answer carries: never a stale file, and the isolation that shared memory needs.
fn headers() -> Vec<Header> {
    vec![
        header("Cache-Control", "no-cache"),
        header("Accept-Ranges", "bytes"),
        header("X-Content-Type-Options", "nosniff"),
        header("Cross-Origin-Opener-Policy", "same-origin"),
        header("Cross-Origin-Embedder-Policy", "require-corp"),
        header("Cross-Origin-Resource-Policy", "same-origin"),
    ]
}

fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).expect("our header names and values are printable ASCII")
}

fn plain(status: u16, text: &str) -> Response<std::io::Cursor<Vec<u8>>> {
    let mut response = Response::from_string(text).with_status_code(status);
    headers().into_iter().for_each(|header| response.add_header(header));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_under_web_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let web = folder.path().join("web");
        std::fs::create_dir_all(web.join("a b")).unwrap();
        std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        std::fs::write(web.join("index.html"), "page").unwrap();
        std::fs::write(web.join("a b/c.js"), "code").unwrap();
        let found = |url| resolve(&web, url);
        assert!(found("/").is_some_and(|file| file.ends_with("index.html")));
        assert!(found("/index.html?x=1").is_some());
        assert!(found("/a%20b/c.js").is_some());
        let escapes = ["/../secret.txt", "/%2e%2e/secret.txt", "/a%20b/../../secret.txt", "/..%5csecret.txt"];
        for url in escapes.into_iter().chain(["//etc/passwd", "/a%20b", "/none", "secret.txt", "/%ff"]) {
            assert_eq!(found(url), None, "{url}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_web_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let web = folder.path().join("web");
        std::fs::create_dir(&web).unwrap();
        std::fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        std::os::unix::fs::symlink("../secret.txt", web.join("link.txt")).unwrap();
        assert_eq!(resolve(&web, "/link.txt"), None);
    }

    #[test]
    fn ranges_are_those_of_the_standard() {
        assert_eq!(parse_range("bytes=0-3", 10), Some(0..4));
        assert_eq!(parse_range("bytes=4-", 10), Some(4..10));
        assert_eq!(parse_range("bytes=-3", 10), Some(7..10));
        assert_eq!(parse_range("bytes=4-99", 10), Some(4..10));
        for wrong in
            ["bytes=10-", "bytes=5-4", "bytes=-0", "bytes=a-b", "rows=0-1", "bytes=0-18446744073709551615x"]
        {
            assert_eq!(parse_range(wrong, 10), None, "{wrong}");
        }
        assert_eq!(parse_range("bytes=0-18446744073709551615", 10), Some(0..10));
        assert_eq!(parse_range("bytes=-99", 10), Some(0..10));
        assert_eq!(parse_range("bytes=0-0", 0), None);
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let first = listen(0).unwrap();
        let port = first.server_addr().to_ip().unwrap().port();
        let message = listen(port).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains(&port.to_string()) && message.contains("--port"), "{message}");
    }

    #[test]
    fn wasm_has_the_type_that_streaming_compilation_needs() {
        assert_eq!(content_type(Path::new("a/b.wasm")), "application/wasm");
        assert_eq!(content_type(Path::new("model.safetensors")), "application/octet-stream");
    }
}
