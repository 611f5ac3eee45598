//! The files of the user interface, from inside the binary.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// One file of `ui/dist`.
pub(crate) struct Asset {
    /// Relative to `ui/dist`.
    path: &'static str,
    /// Names the content.
    tag: &'static str,
    plain: &'static [u8],
    gzip: &'static [u8],
}

const ASSETS: &[Asset] = include!(concat!(env!("OUT_DIR"), "/ui_assets.rs"));

/// Paths that show the one page of the user interface; the older ones are in people's bookmarks.
pub(crate) const PAGES: [&str; 4] = ["/", "/explore", "/comparison", "/comparison-diff"];

/// Scripts and styles come from us alone, nothing may frame the page, and no text of a profile can become markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; \
    font-src 'self'; connect-src 'self'; worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types argand";

const PLACEHOLDER: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Argand</title>\n\
    <h1>Argand is running</h1>\n<p>This binary was built without the user interface. To include it, run \
    <code>npm ci &amp;&amp; npm run build</code> in <code>ui/</code> and build the binary again.</p>\n\
    <p>The API is described in <a href=\"api/openapi.json\">api/openapi.json</a>.</p>\n</html>\n";

/// Whether the binary contains the user interface.
pub(crate) fn is_embedded() -> bool {
    !ASSETS.is_empty()
}

/// The page itself.
pub(crate) fn page(headers: &HeaderMap) -> Response {
    match find(ASSETS, "index.html") {
        Some(asset) => answer(asset, headers),
        None => with_security(([(CONTENT_TYPE, "text/html; charset=utf-8")], PLACEHOLDER).into_response()),
    }
}

/// A file by its path relative to the page, if there is one.
pub(crate) fn file(path: &str, headers: &HeaderMap) -> Option<Response> {
    find(ASSETS, path).map(|asset| answer(asset, headers))
}

fn find<'a>(assets: &'a [Asset], path: &str) -> Option<&'a Asset> {
    assets.binary_search_by(|asset| asset.path.cmp(path)).ok().map(|index| &assets[index])
}

fn answer(asset: &Asset, headers: &HeaderMap) -> Response {
    let tag = format!("\"{}\"", asset.tag);
    let known = header_text(headers, &IF_NONE_MATCH).split(',').any(|t| t.trim().trim_start_matches("W/") == tag);
    let gzip = asset.gzip.len() < asset.plain.len() && accepts_gzip(header_text(headers, &ACCEPT_ENCODING));
    let mut response = Response::new(Body::empty());
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else {
        *response.body_mut() = Body::from(Bytes::from_static(if gzip { asset.gzip } else { asset.plain }));
    }
    let caching = if has_hashed_name(asset.path) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let set = response.headers_mut();
    set.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(asset.path)));
    set.insert(ETAG, HeaderValue::from_str(&tag).expect("tags are hexadecimal"));
    set.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
    set.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if gzip && !known {
        set.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    with_security(response)
}

fn with_security(mut response: Response) -> Response {
    let headers = [
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    response.headers_mut().extend(headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

fn header_text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

pub(crate) fn accepts_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|choice| {
        let (name, quality) = choice.split_once(';').unwrap_or((choice, ""));
        let refused = quality.trim().strip_prefix("q=").is_some_and(|q| q.trim().parse::<f32>() == Ok(0.0));
        matches!(name.trim(), "gzip" | "*") && !refused
    })
}

/// The bundler puts a hash of the content behind the last hyphen, such as `assets/index-DkZ3x_9a.js`.
fn has_hashed_name(path: &str) -> bool {
    let Some((stem, _)) = path.strip_prefix("assets/").and_then(|name| name.rsplit_once('.')) else { return false };
    let Some((at, _)) = stem.char_indices().rev().nth(8) else { return false };
    stem[at..].strip_prefix('-').is_some_and(|hash| {
        hash.len() == 8 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    })
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: Asset =
        Asset { path: "assets/index-DkZ3x_9a.js", tag: "0123", plain: b"console.log(1)", gzip: b"gz" };

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn hashed_files_may_be_kept_for_ever() {
        let response = answer(&SCRIPT, &HeaderMap::new());
        assert_eq!(response.headers()[CACHE_CONTROL], "public, max-age=31536000, immutable");
        assert_eq!(response.headers()[CONTENT_TYPE], "text/javascript; charset=utf-8");
        assert_eq!(response.headers().get(CONTENT_ENCODING), None);
        for path in ["index.html", "favicon.svg", "assets/index.js", "assets/a-b.js", "assets/ä-ööööö.js"] {
            assert!(!has_hashed_name(path), "{path}");
        }
    }

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        let sent =
            |accept: &str| answer(&SCRIPT, &headers(ACCEPT_ENCODING, accept)).headers().contains_key(CONTENT_ENCODING);
        assert!(sent("gzip, br") && sent("br;q=1, gzip;q=0.5") && sent("*"));
        assert!(!sent("br") && !sent("gzip;q=0") && !sent(""));
    }

    #[test]
    fn a_known_tag_is_not_sent_again() {
        for known in ["\"0123\"", "W/\"0123\"", "\"x\", \"0123\""] {
            assert_eq!(answer(&SCRIPT, &headers(IF_NONE_MATCH, known)).status(), 304, "{known}");
        }
        assert_eq!(answer(&SCRIPT, &headers(IF_NONE_MATCH, "\"0124\"")).status(), 200);
    }

    #[test]
    fn pages_forbid_foreign_scripts_and_frames() {
        let response = page(&HeaderMap::new());
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("require-trusted-types-for 'script'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
    }
}
