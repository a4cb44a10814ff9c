//! Owns every error that the etcd interface names, each with its gRPC code and full text.
//! Decides nothing. Invariant: one row is one error; code and text stand nowhere else.

use std::borrow::Cow;
use std::fmt;

use crate::status::{Code, Status};

macro_rules! api_errors {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:ident, $text:literal;)+) => {
        /// What a call to the v3 API can be refused with, by the rules of etcd 3.7.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum ApiError {
            $($(#[doc = $doc])+ $name,)+
            /// Anything without a row: code UNKNOWN with the bare text.
            Unknown(String),
        }

        impl ApiError {
            /// Every error that has a row.
            pub const ALL: &'static [ApiError] = &[$(ApiError::$name,)+];

            /// The gRPC code as it is sent.
            pub fn code(&self) -> Code {
                match self {
                    $(ApiError::$name => Code::$code,)+
                    ApiError::Unknown(_) => Code::Unknown,
                }
            }

            /// The whole text as it is sent.
            pub fn message(&self) -> &str {
                match self {
                    $(ApiError::$name => $text,)+
                    ApiError::Unknown(text) => text,
                }
            }

            fn into_text(self) -> Cow<'static, str> {
                match self {
                    $(ApiError::$name => Cow::Borrowed($text),)+
                    ApiError::Unknown(text) => Cow::Owned(text),
                }
            }
        }
    };
}

api_errors! {
    /// A request or compare without a key.
    EmptyKey = InvalidArgument, "etcdserver: key is not provided";
    /// `ignore_value` or `ignore_lease` on a missing key, or a txn operation without a body.
    KeyNotFound = InvalidArgument, "etcdserver: key not found";
    /// `ignore_value` together with a value.
    ValueProvided = InvalidArgument, "etcdserver: value is provided";
    /// `ignore_lease` together with a lease.
    LeaseProvided = InvalidArgument, "etcdserver: lease is provided";
    /// More than `--max-txn-ops` in one list of a txn.
    TooManyOps = InvalidArgument, "etcdserver: too many operations in txn request";
    /// One branch of a txn puts a key twice, or puts and deletes it.
    DuplicateKey = InvalidArgument, "etcdserver: duplicate key given in txn request";
    /// `client-api-version` is not UTF-8.
    InvalidClientApiVersion = InvalidArgument, "etcdserver: invalid client api version";
    /// Sort order or target out of its enum.
    InvalidSortOption = InvalidArgument, "etcdserver: invalid sort option";
    /// The revision is below the compact revision.
    Compacted = OutOfRange, "etcdserver: mvcc: required revision has been compacted";
    /// The revision is above the current one.
    FutureRevision = OutOfRange, "etcdserver: mvcc: required revision is a future revision";
    /// The quota is reached or its alarm is on.
    NoSpace = ResourceExhausted, "etcdserver: mvcc: database space exceeded";
    /// No such lease.
    LeaseNotFound = NotFound, "etcdserver: requested lease not found";
    /// The lease ID is taken.
    LeaseExists = FailedPrecondition, "etcdserver: lease already exists";
    /// TTL above 9,000,000,000 s.
    LeaseTtlTooLarge = OutOfRange, "etcdserver: too large lease TTL";
    /// The watch ended.
    WatchCanceled = Canceled, "etcdserver: watch canceled";
    /// The member ID is taken.
    MemberExists = FailedPrecondition, "etcdserver: member ID already exist";
    /// A peer URL is taken.
    PeerUrlExists = FailedPrecondition, "etcdserver: Peer URLs already exists";
    /// Strict reconfiguration: too few started members. UNKNOWN on the wire, as in etcd.
    MemberNotEnoughStarted = Unknown,
        "etcdserver: re-configuration failed due to not enough started members";
    /// No peer URLs or malformed ones.
    MemberBadUrls = InvalidArgument, "etcdserver: given member URLs are invalid";
    /// No such member.
    MemberNotFound = NotFound, "etcdserver: member not found";
    /// Promotion of a voter.
    MemberNotLearner = FailedPrecondition, "etcdserver: can only promote a learner member";
    /// Promotion of a learner that lags.
    MemberLearnerNotReady = FailedPrecondition,
        "etcdserver: can only promote a learner member which is in sync with leader";
    /// The limit of learners is reached.
    TooManyLearners = FailedPrecondition, "etcdserver: too many learner members in cluster";
    /// A peer of another cluster.
    ClusterIdMismatch = FailedPrecondition, "etcdserver: cluster ID mismatch";
    /// Over `--max-request-bytes`.
    RequestTooLarge = InvalidArgument, "etcdserver: request is too large";
    /// Applying lags too far behind. UNKNOWN on the wire, as in etcd.
    TooManyRequests = Unknown, "etcdserver: too many requests";
    /// Enabling auth without the user `root`.
    RootUserNotExist = FailedPrecondition, "etcdserver: root user does not exist";
    /// Enabling auth while `root` lacks the role `root`.
    RootRoleNotExist = FailedPrecondition, "etcdserver: root user does not have root role";
    /// The user name is taken.
    UserAlreadyExist = FailedPrecondition, "etcdserver: user name already exists";
    /// No user name, or no token while auth is on.
    UserEmpty = InvalidArgument, "etcdserver: user name is empty";
    /// No such user.
    UserNotFound = FailedPrecondition, "etcdserver: user name not found";
    /// The role name is taken.
    RoleAlreadyExist = FailedPrecondition, "etcdserver: role name already exists";
    /// No such role.
    RoleNotFound = FailedPrecondition, "etcdserver: role name not found";
    /// No role name.
    RoleEmpty = InvalidArgument, "etcdserver: role name is empty";
    /// Wrong user or password.
    AuthFailed = InvalidArgument,
        "etcdserver: authentication failed, invalid user ID or password";
    /// A grant without a permission.
    PermissionNotGiven = InvalidArgument, "etcdserver: permission not given";
    /// Not allowed.
    PermissionDenied = PermissionDenied, "etcdserver: permission denied";
    /// Revoking a role that the user lacks.
    RoleNotGranted = FailedPrecondition, "etcdserver: role is not granted to the user";
    /// Revoking a permission that the role lacks.
    PermissionNotGranted = FailedPrecondition,
        "etcdserver: permission is not granted to the role";
    /// Authenticating while auth is off.
    AuthNotEnabled = FailedPrecondition, "etcdserver: authentication is not enabled";
    /// A bad or expired token.
    InvalidAuthToken = Unauthenticated, "etcdserver: invalid auth token";
    /// A change of auth that would lock everybody out, or an invalid range in a grant.
    InvalidAuthManagement = InvalidArgument, "etcdserver: invalid auth management";
    /// A token of an older auth revision.
    AuthOldRevision = InvalidArgument, "etcdserver: revision of auth store is old";
    /// A password for a user that has none.
    NoPasswordUser = Unknown,
        "auth: authentication failed, password was given for no password user";
    /// The member knows no leader.
    NoLeader = Unavailable, "etcdserver: no leader";
    /// Only the leader does this.
    NotLeader = FailedPrecondition, "etcdserver: not leader";
    /// Leadership moved while the request waited.
    LeaderChanged = Unavailable, "etcdserver: leader changed";
    /// The cluster version does not offer it, or is not known yet.
    NotCapable = FailedPrecondition, "etcdserver: not capable";
    /// The member is stopping.
    Stopped = Unavailable, "etcdserver: server stopped";
    /// Proposed but not applied in time, or no quorum for a read.
    Timeout = Unavailable, "etcdserver: request timed out";
    /// As [`ApiError::Timeout`], after losing the leader.
    TimeoutLeaderFailure = Unavailable,
        "etcdserver: request timed out, possibly due to previous leader failure";
    /// As [`ApiError::Timeout`], with peers unreachable.
    TimeoutConnectionLost = Unavailable,
        "etcdserver: request timed out, possibly due to connection lost";
    /// The applied index did not reach the read index in time.
    TimeoutAppliedIndex = Unavailable,
        "etcdserver: request timed out, waiting for the applied index took too long";
    /// Moving the leader took too long.
    TimeoutLeaderTransfer = Unknown,
        "etcdserver: request timed out, leader transfer took too long";
    /// Too few members are connected for this change.
    Unhealthy = Unavailable, "etcdserver: unhealthy cluster";
    /// The CORRUPT alarm is on.
    Corrupt = DataLoss, "etcdserver: corrupt cluster";
    /// A learner serves only serializable reads, status and streams.
    NotSupportedForLearner = FailedPrecondition, "etcdserver: rpc not supported for learner";
    /// The target of a leader move is missing or a learner.
    BadLeaderTransferee = FailedPrecondition, "etcdserver: bad leader transferee";
    /// A renewal reached a member that no longer leads.
    NotPrimaryLessor = Unknown, "not a primary lessor";
    /// A downgrade target that is no version.
    DowngradeVersionFormat = InvalidArgument,
        "etcdserver: wrong downgrade target version format";
    /// A downgrade target that is not one minor below.
    DowngradeVersionInvalid = InvalidArgument, "etcdserver: invalid downgrade target version";
    /// The cluster version is not known.
    ClusterVersionUnavailable = FailedPrecondition,
        "etcdserver: cluster version not found during downgrade";
    /// A downgrade is under way.
    DowngradeInProgress = FailedPrecondition,
        "etcdserver: cluster has a downgrade job in progress";
    /// No downgrade to cancel.
    NoInflightDowngrade = FailedPrecondition, "etcdserver: no inflight downgrade job";
    /// An action out of its enum.
    UnknownMethod = Unknown, "etcdserver: unknown method";
    /// The caller gave up.
    RequestCanceled = Canceled, "etcdserver: request canceled";
    /// The time ran out before a leader was found.
    DeadlineExceeded = DeadlineExceeded, "etcdserver: context deadline exceeded";
    /// A streamed range cannot sort.
    RangeStreamSort = Unimplemented, "RangeStream does not support custom sort orders";
    /// A streamed range cannot filter by revision.
    RangeStreamFilter = Unimplemented, "RangeStream does not support revision filters";
    /// Health of a service other than the empty name.
    HealthUnknownService = NotFound, "unknown service";
    /// Proclaim or resign without a leader key.
    ElectionLeaderMissing = Unknown, "\"leader\" field must be provided";
    /// The leader key is no longer ours.
    ElectionNotLeader = Unknown, "election: not leader";
    /// Nobody leads the election.
    ElectionNoLeader = Unknown, "election: no leader";
}

/// Why a watch was refused at creation or ended by the server, besides errors of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchRefusal {
    /// `range_end` is not above `key`.
    EmptyRange,
    /// The watch ID is in use on the stream.
    DuplicateId,
    /// A negative start revision.
    Compacted,
}

impl WatchRefusal {
    /// The text in `cancel_reason`.
    pub fn reason(self) -> &'static str {
        match self {
            WatchRefusal::EmptyRange => "mvcc: watcher range is empty",
            WatchRefusal::DuplicateId => "mvcc: duplicate watch ID provided on the WatchStream",
            WatchRefusal::Compacted => "etcdserver: mvcc: required revision has been compacted",
        }
    }
}

impl From<ApiError> for Status {
    fn from(error: ApiError) -> Status {
        Status { code: error.code(), message: error.into_text() }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for ApiError {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_errors_share_a_text() {
        let texts: BTreeSet<_> = ApiError::ALL.iter().map(ApiError::message).collect();
        assert_eq!(texts.len(), ApiError::ALL.len());
    }

    #[test]
    fn an_error_becomes_its_status() {
        let status = Status::from(ApiError::PermissionDenied);
        assert_eq!(
            status.to_string(),
            "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
        );
        let status = Status::from(ApiError::Unknown("lease: odd".to_owned()));
        assert_eq!((status.code, &*status.message), (Code::Unknown, "lease: odd"));
    }

    #[test]
    fn codes_of_errors_that_clients_branch_on() {
        assert_eq!(ApiError::Compacted.code(), Code::OutOfRange);
        assert_eq!(ApiError::NoSpace.code(), Code::ResourceExhausted);
        assert_eq!(ApiError::NoLeader.code(), Code::Unavailable);
        assert_eq!(ApiError::InvalidAuthToken.code(), Code::Unauthenticated);
        assert_eq!(ApiError::TooManyRequests.code(), Code::Unknown);
    }
}
