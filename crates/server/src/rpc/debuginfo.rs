//! `debuginfo.v1alpha1.DebuginfoService`: senders are told that nothing is wanted, so that they send no executables.

use connectrpc::{ConnectError, ErrorCode, RequestContext, Response, ServiceRequest, ServiceResult};
use http::StatusCode;

use crate::error::ApiError;
use crate::proto::debuginfo::v1alpha1 as pb;

/// No executable was asked for, so none is taken.
pub(super) async fn upload() -> ApiError {
    ApiError::new(ErrorCode::FailedPrecondition, REASON).with_status(StatusCode::PRECONDITION_FAILED)
}

const REASON: &str = "this server keeps no debug information";

pub(super) struct Debuginfo;

impl pb::DebuginfoService for Debuginfo {
    async fn should_initiate_upload(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, pb::ShouldInitiateUploadRequest>,
    ) -> ServiceResult<pb::ShouldInitiateUploadResponse> {
        Response::ok(pb::ShouldInitiateUploadResponse { reason: REASON.to_owned(), ..Default::default() })
    }

    async fn upload_finished(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, pb::UploadFinishedRequest>,
    ) -> ServiceResult<pb::UploadFinishedResponse> {
        Err(ConnectError::not_found(REASON))
    }

    async fn list_debuginfo(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, pb::ListDebuginfoRequest>,
    ) -> ServiceResult<pb::ListDebuginfoResponse> {
        Response::ok(pb::ListDebuginfoResponse::default())
    }

    async fn delete_debuginfo(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, pb::DeleteDebuginfoRequest>,
    ) -> ServiceResult<pb::DeleteDebuginfoResponse> {
        Err(ConnectError::not_found(REASON))
    }
}
