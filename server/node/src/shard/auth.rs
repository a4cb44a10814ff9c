//! Owns the auth methods of a member without auth: an empty store of users and roles that stays
//! disabled. Invariant: questions get the answers that an empty store gives; what would fill it is
//! refused by name, never accepted and ignored.

use bytes::Bytes;
use prost::Message;
use wire::{ApiError, Method, Status, etcdserverpb as pb};

use super::Shard;
use super::admin::not_in_this_build;
use super::kv::decode;
use super::reply::full_header;
use crate::message::CallId;

impl Shard {
    /// Methods of the Auth service.
    pub(super) fn auth(
        &mut self,
        call: CallId,
        method: Method,
        message: Bytes,
    ) -> Result<(), Status> {
        let header = Some(full_header(self.header()));
        let reply = match method {
            Method::AuthStatus => {
                pb::AuthStatusResponse { header, enabled: false, auth_revision: 1 }.encode_to_vec()
            }
            Method::AuthDisable => pb::AuthDisableResponse { header }.encode_to_vec(),
            Method::UserList => {
                pb::AuthUserListResponse { header, users: Vec::new() }.encode_to_vec()
            }
            Method::RoleList => {
                pb::AuthRoleListResponse { header, roles: Vec::new() }.encode_to_vec()
            }
            other => return Err(refusal(other, message)?),
        };
        self.reply(call, Bytes::from(reply));
        Ok(())
    }
}

/// Why a method that would need a user, a role or auth itself cannot be done.
fn refusal(method: Method, message: Bytes) -> Result<Status, Status> {
    let error = match method {
        Method::Authenticate => ApiError::AuthNotEnabled,
        Method::AuthEnable => ApiError::RootUserNotExist,
        Method::UserAdd if decode::<pb::AuthUserAddRequest>(message.clone())?.name.is_empty() => {
            ApiError::UserEmpty
        }
        Method::RoleAdd if decode::<pb::AuthRoleAddRequest>(message.clone())?.name.is_empty() => {
            ApiError::RoleEmpty
        }
        Method::UserAdd | Method::RoleAdd => return Ok(not_in_this_build(method)),
        Method::RoleGrantPermission
            if decode::<pb::AuthRoleGrantPermissionRequest>(message)?.perm.is_none() =>
        {
            ApiError::PermissionNotGiven
        }
        Method::RoleGet
        | Method::RoleDelete
        | Method::RoleGrantPermission
        | Method::RoleRevokePermission => ApiError::RoleNotFound,
        _ => ApiError::UserNotFound,
    };
    Ok(error.into())
}
