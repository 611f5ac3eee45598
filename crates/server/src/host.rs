//! Guards a server on a loopback address against pages of other sites (DNS rebinding, cross-site posts).

use std::net::IpAddr;

use connectrpc::ErrorCode;
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Uri};

use crate::error::ApiError;

/// Which names a server goes by.
#[derive(Clone, Debug)]
pub(crate) struct HostGuard {
    /// `None` accepts every name.
    allowed: Option<Vec<String>>,
}

impl HostGuard {
    /// A guard for a server bound to `address`. One that other machines reach goes by names that we cannot know.
    pub(crate) fn new(address: IpAddr, allowed_hosts: &[String]) -> Self {
        let names = || allowed_hosts.iter().map(|name| name.to_ascii_lowercase()).collect();
        Self { allowed: address.is_loopback().then(names) }
    }

    /// Errors: 403 where `Host` or `Origin` is a name that is not ours.
    pub(crate) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        let Some(allowed) = &self.allowed else { return Ok(()) };
        let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        // HTTP/2 has the name in the URI, HTTP/1.0 clients have none.
        let host = uri.authority().map(|a| a.as_str()).or_else(|| text(HOST));
        let origin = text(ORIGIN).map(|origin| origin.split_once("://").map_or(origin, |(_, host)| host));
        match [host, origin].into_iter().flatten().find(|name| !is_allowed(name, allowed)) {
            None => Ok(()),
            Some(name) => {
                let message =
                    format!("host {name:?} is not allowed: add it to allowed_hosts, or listen on another address");
                Err(ApiError::new(ErrorCode::PermissionDenied, message))
            }
        }
    }
}

fn is_allowed(authority: &str, allowed: &[String]) -> bool {
    let name = without_port(authority).to_ascii_lowercase();
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost"
        || name.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback())
        || allowed.contains(&name)
}

fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bound: &str, name: http::HeaderName, value: &str) -> bool {
        let guard = HostGuard::new(bound.parse().unwrap(), &["Argand.example".to_owned()]);
        guard.check(&Uri::from_static("/"), &HeaderMap::from_iter([(name, value.parse().unwrap())])).is_ok()
    }

    #[test]
    fn loopback_servers_go_by_local_names() {
        for host in [
            "localhost",
            "LOCALHOST:4040",
            "127.0.0.1:4040",
            "127.8.8.8",
            "[::1]:4040",
            "a.localhost",
            "argand.example:80",
        ] {
            assert!(check("127.0.0.1", HOST, host), "{host}");
        }
        for host in ["evil.example", "evil.example:4040", "localhost.evil.example", "10.0.0.1", "[::2]", ""] {
            assert!(!check("127.0.0.1", HOST, host), "{host}");
        }
    }

    #[test]
    fn pages_of_other_sites_may_not_call() {
        assert!(check("::1", ORIGIN, "http://localhost:4040"));
        assert!(!check("::1", ORIGIN, "https://evil.example") && !check("::1", ORIGIN, "null"));
    }

    #[test]
    fn servers_on_the_network_go_by_any_name() {
        assert!(check("0.0.0.0", HOST, "evil.example"));
    }
}
