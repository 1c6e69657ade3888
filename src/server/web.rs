//! Files for browsers: a page that speaks, and the module that any other page can use.
//!
//! The files are in the binary. Their links are relative, so that they work behind a proxy under any
//! path.

use crate::guide;
use crate::ws::handshake::Rejection;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH, REFERRER_POLICY, UPGRADE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Method, Request, Response, StatusCode};

/// Content Security Policy of the page: it may load only from this server, and open WebSockets, which some
/// browsers do not count as `'self'`.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Folder of the manual's pages, `NAME.md`.
const GUIDE: &str = "/guide/";

/// A file and its audience.
#[derive(Clone, Copy)]
struct File {
    path: &'static str,
    content_type: &'static str,
    content: &'static [u8],
    audience: Audience,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Audience {
    /// Pages everywhere.
    Anyone,
    /// The page of this server.
    Demo,
}

/// Puts what the page has to know of this build before its script.
macro_rules! script {
    ($has_mp3:literal) => {
        concat!(
            "const VERSION = \"",
            env!("CARGO_PKG_VERSION"),
            "\";\nconst HAS_MP3 = ",
            $has_mp3,
            ";\n",
            include_str!("web/demo.js")
        )
    };
}

#[cfg(feature = "mp3")]
const SCRIPT: &str = script!(true);
#[cfg(not(feature = "mp3"))]
const SCRIPT: &str = script!(false);

const ICON: File = File {
    path: "/icon.svg",
    content_type: "image/svg+xml",
    content: include_bytes!("web/icon.svg"),
    audience: Audience::Demo,
};

const FILES: &[File] = &[
    File {
        path: "/aloud.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_bytes!("web/aloud.js"),
        audience: Audience::Anyone,
    },
    File {
        path: "/aloud.d.ts",
        content_type: "text/plain; charset=utf-8",
        content: include_bytes!("web/aloud.d.ts"),
        audience: Audience::Anyone,
    },
    File {
        path: "/",
        content_type: "text/html; charset=utf-8",
        content: include_bytes!("web/index.html"),
        audience: Audience::Demo,
    },
    File {
        path: "/demo.js",
        content_type: "text/javascript; charset=utf-8",
        content: SCRIPT.as_bytes(),
        audience: Audience::Demo,
    },
    File {
        path: "/demo.css",
        content_type: "text/css; charset=utf-8",
        content: include_bytes!("web/demo.css"),
        audience: Audience::Demo,
    },
    ICON,
    // Browsers that do not read the page's link, and crawlers, ask for this name.
    File { path: "/favicon.ico", ..ICON },
];

/// Answers a request for one of the files; `None` for another path, and for a handshake, which gets a
/// better answer elsewhere. hyper leaves the body out for HEAD.
pub(super) fn answer<B>(request: &Request<B>, has_demo: bool) -> Option<Response<Full<Bytes>>> {
    let file = file(request.uri().path())?;
    let upgrades = |to: &HeaderValue| to.as_bytes().eq_ignore_ascii_case(b"websocket");
    if (file.audience == Audience::Demo && !has_demo) || request.headers().get(UPGRADE).is_some_and(upgrades)
    {
        return None;
    }
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let refused = Rejection::method_not_allowed("GET, HEAD");
        return Some(refused.response().map(|sentence| Full::from(Bytes::from(sentence))));
    }
    let etag = file.etag();
    let is_known = request.headers().get_all(IF_NONE_MATCH).iter().any(|known| matches(known, &etag));
    let content = if is_known { Bytes::new() } else { Bytes::from_static(file.content) };
    let mut response = Response::new(Full::from(content));
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    let mut insert = |name, value| headers.insert(name, HeaderValue::from_static(value));
    insert(CONTENT_TYPE, file.content_type);
    insert(X_CONTENT_TYPE_OPTIONS, "nosniff");
    // Asked for every time, and answered with 304: a server that was updated is not met by an old page.
    insert(CACHE_CONTROL, "no-cache");
    match file.audience {
        Audience::Anyone => {
            insert(ACCESS_CONTROL_ALLOW_ORIGIN, "*");
            // Pages that isolate themselves load only what says that it may be.
            headers.insert("cross-origin-resource-policy", HeaderValue::from_static("cross-origin"));
        }
        Audience::Demo => {
            insert(CONTENT_SECURITY_POLICY, PAGE_POLICY);
            insert(REFERRER_POLICY, "no-referrer");
        }
    }
    headers.insert(ETAG, HeaderValue::try_from(etag).expect("hexadecimal digits in quotes"));
    Some(response)
}

fn file(path: &str) -> Option<File> {
    let page = path.strip_prefix(GUIDE).and_then(|name| guide::topic(name.strip_suffix(".md")?));
    page.map_or_else(
        || FILES.iter().copied().find(|file| file.path == path),
        |page| {
            Some(File {
                path: GUIDE,
                content_type: "text/plain; charset=utf-8",
                content: page.text.as_bytes(),
                audience: Audience::Demo,
            })
        },
    )
}

impl File {
    /// A strong validator (RFC 9110 §8.8.3): other content has another.
    fn etag(&self) -> String {
        format!("\"{:08x}-{:x}\"", crc32fast::hash(self.content), self.content.len())
    }
}

/// True if `If-None-Match` names this entity tag, weak or not (RFC 9110 §13.1.2).
fn matches(known: &HeaderValue, etag: &str) -> bool {
    let Ok(known) = known.to_str() else { return false };
    known.split(',').map(str::trim).any(|one| one == "*" || one.trim_start_matches("W/") == etag)
}
