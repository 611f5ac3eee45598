//! Whose data a request is about.

use argand_model::TenantId;
use connectrpc::ErrorCode;
use http::HeaderMap;

use crate::error::ApiError;

const TENANT_HEADER: &str = "x-scope-orgid";

/// Most tenants that one federated query may name.
const MAX_FEDERATED_TENANTS: usize = 64;

/// How tenants are told apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tenancy {
    /// Whether the header counts; otherwise there is one tenant.
    pub(crate) multitenancy: bool,
}

impl Tenancy {
    /// The one tenant that a write, or a read that cannot be federated, is about.
    pub(crate) fn one(self, headers: &HeaderMap) -> Result<TenantId, ApiError> {
        if !self.multitenancy {
            return Ok(TenantId::anonymous());
        }
        parse(header_text(headers)?)
    }

    /// The tenants that a query is about: `a|b`, without repetitions, sorted.
    pub(crate) fn many(self, headers: &HeaderMap) -> Result<Vec<TenantId>, ApiError> {
        if !self.multitenancy {
            return Ok(vec![TenantId::anonymous()]);
        }
        let text = header_text(headers)?;
        let mut tenants: Vec<TenantId> =
            text.split('|').take(MAX_FEDERATED_TENANTS + 1).map(parse).collect::<Result<_, _>>()?;
        if tenants.len() > MAX_FEDERATED_TENANTS {
            return Err(ApiError::invalid(format!("a query may name at most {MAX_FEDERATED_TENANTS} tenants")));
        }
        tenants.sort();
        tenants.dedup();
        Ok(tenants)
    }
}

fn header_text(headers: &HeaderMap) -> Result<&str, ApiError> {
    let value = headers
        .get(TENANT_HEADER)
        .ok_or_else(|| ApiError::new(ErrorCode::Unauthenticated, "no org id: set the header X-Scope-OrgID"))?;
    value.to_str().map_err(|_| ApiError::invalid("X-Scope-OrgID is not plain text"))
}

fn parse(text: &str) -> Result<TenantId, ApiError> {
    text.trim().parse().map_err(|error| ApiError::invalid(format!("{error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(TENANT_HEADER.parse().unwrap(), value.parse().unwrap())])
    }

    fn many(value: &str) -> Result<Vec<String>, ErrorCode> {
        let tenants = Tenancy { multitenancy: true }.many(&headers(value));
        tenants.map(|t| t.iter().map(|id| id.to_string()).collect()).map_err(|e| e.code)
    }

    #[test]
    fn one_tenant_ignores_the_header() {
        let single = Tenancy { multitenancy: false };
        assert_eq!(single.one(&headers("../x")), Ok(TenantId::anonymous()));
        assert_eq!(single.many(&headers("a|b")), Ok(vec![TenantId::anonymous()]));
    }

    #[test]
    fn a_missing_header_is_unauthenticated() {
        let error = Tenancy { multitenancy: true }.one(&HeaderMap::new()).unwrap_err();
        assert_eq!(error.http_status(), 401);
    }

    #[test]
    fn queries_may_name_several_tenants() {
        assert_eq!(many("b|a|b"), Ok(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(many("a|"), Err(ErrorCode::InvalidArgument));
        assert_eq!(many(&vec!["x"; 65].join("|")), Err(ErrorCode::InvalidArgument));
    }

    #[test]
    fn writes_name_exactly_one() {
        let tenancy = Tenancy { multitenancy: true };
        assert_eq!(tenancy.one(&headers("team-a")).unwrap().as_str(), "team-a");
        for bad in ["a|b", "..", "a/b", ""] {
            assert_eq!(tenancy.one(&headers(bad)).unwrap_err().http_status(), 400, "{bad}");
        }
    }
}
